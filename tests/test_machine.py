"""config.yaml: its keys and values, the places that it names, and what a mistake in it looks like."""

import re
from pathlib import Path

import pytest

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.machine import Config

REPOSITORY = Path(__file__).resolve().parent.parent


def written(path, text):
    path.write_text(text)
    return path


def test_the_repository_s_own_config_is_read_with_its_defaults():
    config = machine.read_config(REPOSITORY / "config.yaml")
    assert config == Config(study="demo")
    assert (config.results, config.figures, config.store, config.compare) == ("results", "figures", "pixels", None)


def test_every_line_that_the_config_offers_is_a_key_and_every_key_is_offered(tmp_path):
    """Its commented examples, uncommented; what few people need stands in config/README.md alone."""
    text = re.sub(r"^# ( *\w+:.*)$", r"\1", (REPOSITORY / "config.yaml").read_text(), flags=re.M)
    config = machine.read_config(written(tmp_path / "config.yaml", text))
    assert config.model_fields_set == Config.model_fields.keys() - {"changed", "results", "figures"}
    assert config.data.model_fields_set == machine.Data.model_fields.keys()
    assert config.weights.model_fields_set == machine.WeightFiles.model_fields.keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("studdy: demo", "config.yaml: top level: unknown key 'studdy'; did you mean 'study'?"),
        ("data: {imagnet: /data}", "config.yaml: data: unknown key 'imagnet'; did you mean 'imagenet'?"),
        ("weights: {clip: 3}", "config.yaml: weights.clip: 3 is not of type string"),
        ("store: png", "config.yaml: store: 'png' is not one of pixels, jpeg"),
        ("study: [", "config.yaml: not valid YAML: "),
    ],
)
def test_a_mistake_names_the_key_and_what_is_allowed(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        machine.read_config(written(tmp_path / "config.yaml", text))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_missing_config_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="config.yaml: there is no such file; .* name it with --config"):
        machine.read_config(tmp_path / "config.yaml")


def test_places_reach_every_process_that_is_started_from_here(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = "study: x\ndata: {imagenet: ~/imagenet, cifar: ''}\nweights: {clip: /w/RN101.pt}\nstore: jpeg\nresults: r\n"
    machine.export(machine.read_config(written(tmp_path / "config.yaml", text)))
    assert machine.place("data.imagenet") == tmp_path / "imagenet" and not machine.stores_pixels()
    assert machine.place("weights.clip") == Path("/w/RN101.pt")
    assert machine.exported().results == "results"  # what is no place stays here
    assert machine.place("data.stl10") == Path("data/stl10")  # where it is fetched to
    with pytest.raises(UserError, match=f"config.yaml: data.cifar: not set; it is {machine.expected('data.cifar')}"):
        machine.place("data.cifar")
    monkeypatch.delenv(machine.VARIABLE)
    assert machine.stores_pixels() and machine.exported() == Config()


def test_a_folder_and_a_file_that_are_not_there_are_named(tmp_path):
    (tmp_path / "stl10").mkdir()
    places = {"data": {"stl10": str(tmp_path / "stl10"), "cifar": str(tmp_path / "none")}}
    machine.export(
        Config.model_validate(places | {"weights": {"clip": str(tmp_path), "resnet101": str(tmp_path / "w")}})
    )
    (tmp_path / "w").write_text("")
    assert machine.folder("stl10") == tmp_path / "stl10" and machine.weights_file("resnet101") == tmp_path / "w"
    with pytest.raises(UserError, match="data.cifar: there is no folder .*none; expected the folder with cifar-10-b"):
        machine.folder("cifar")
    with pytest.raises(
        UserError, match="weights.clip: there is no file .*; expected .*RN101.pt.*; `snakemake weights` f"
    ):
        machine.weights_file("clip")
    wrong = str(machine.wrong("stl10", tmp_path, "is empty"))
    assert wrong == f"config.yaml: data.stl10: {tmp_path} is empty; expected the folder with stl10_binary"


def test_a_misspelt_name_is_answered_with_the_nearest_or_with_all():
    assert nearest("dmeo", ["paper", "demo"]) == "; did you mean 'demo'?"
    assert nearest(12, [2, "xyz", 2]) == "; did you mean '2'?"
    assert nearest("table", ["tabxyz"]) == "; did you mean 'tabxyz'?"  # about half of it is the same
    assert nearest("q", ["b", "a"]) == "; known: a, b" and nearest("q", []) == ""


def test_ram_is_no_more_than_what_slurm_gave_to_a_job(monkeypatch):
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    whole = machine.ram_gb()
    for said, expected in {"100": 0.1048576, "0": whole, "99999999": whole}.items():
        monkeypatch.setenv("SLURM_MEM_PER_NODE", said)
        assert machine.ram_gb() == pytest.approx(expected)
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    for cores, expected in {"": whole, "4": 0.4194304}.items():
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", cores)
        assert machine.ram_gb() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("own", "limited"),
    [
        ("0::/slurm/job_7/step_0\n", "slurm/job_7/memory.max"),
        ("0::/slurm/job_7/step_0\n", "slurm/memory.max"),
        ("0::/\n", "memory.max"),
        ("0::/../elsewhere\n", "memory.max"),
        ("12:cpu,cpuacct:/x\n4:memory:/slurm/job_7\n0::/\n", "memory/slurm/job_7/memory.limit_in_bytes"),
        ("4:memory:/docker/abc\n", "memory/memory.limit_in_bytes"),
    ],
)
def test_ram_is_no_more_than_what_any_group_above_this_process_has(tmp_path, monkeypatch, own, limited):
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text(own)
    whole = machine.ram_gb()
    path = tmp_path / "groups" / limited
    path.parent.mkdir(parents=True)
    for text, expected in {"max": whole, "1000000000": 1.0}.items():
        path.write_text(f"{text}\n")
        assert machine.ram_gb() == pytest.approx(expected)


@pytest.mark.parametrize("number", ["²", "many", ""])
def test_what_slurm_says_that_is_no_number_limits_nothing(number, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", number)
    assert machine.said_number("SLURM_MEM_PER_NODE") == 0


def test_places_that_no_workflow_has_said_are_refused_by_the_name_of_their_variable(monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "junk")
    with pytest.raises(UserError, match=f"{machine.VARIABLE}: is not what a workflow hands on"):
        machine.exported()
