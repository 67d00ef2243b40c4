"""What is said before anything runs: the doctor's lines, and the workflow's refusal."""

import os
from types import SimpleNamespace

import pytest
import torch
from torchvision import datasets

import formats
from contrastive_inversion import papers
from contrastive_inversion.base import gpus, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import readers
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import cli, costs, doctor, fits
from flow import snakemake
from ledgers import study_but


def images_of(name):
    product = f"images/{name}"
    return {product: plan.recipe_of(product, papers.study("paper"))}


def amiss(recipes):
    return [check.text for check in doctor.of_files(recipes, thorough=False) if not check.ok]


def export(**places):
    machine.export(machine.Config.model_validate(places))


@pytest.fixture
def imagenet(tmp_path):
    formats.imagenet(tmp_path / "imagenet")
    export(data={"imagenet": str(tmp_path / "imagenet")})
    return tmp_path / "imagenet"


def test_a_whole_study_is_examined_line_by_line(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv(machine.VARIABLE)
    (tmp_path / "config.yaml").write_text("study: paper\n")
    assert cli.main(["--config", str(tmp_path / "config.yaml"), "doctor"]) == 1
    output = capsys.readouterr().out
    assert "37 of them trainings" in output and "GPU hours (`contrastive-inversion plan`" in output
    assert output.count("✗ config.yaml: data.imagenet: not set; it is the ") == 1
    for key in ("data.imagenet_c:", "data.cifar:", "weights.clip:", "weights.resnet101:"):
        assert output.count(f"✗ config.yaml: {key} there is no ") == 1
    assert "GB needed" in output and "✓ versions: Python" in output


def test_the_demo_needs_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv(machine.VARIABLE)
    (tmp_path / "config.yaml").write_text("study: demo\n")
    assert cli.main(["--config", str(tmp_path / "config.yaml"), "doctor"]) == 0
    output = capsys.readouterr().out
    assert "✗" not in output and "GPUs: none needed" in output


@pytest.mark.parametrize(
    ("built_for", "cards", "said"),
    [
        (None, ["H100", "A100"], "GPUs: nvidia-smi lists H100, A100, but torch 2.11 was built without CUDA"),
        ("13.0", ["H100"], "GPUs: nvidia-smi lists H100, but torch 2.11 can use none; is the driver older than CUDA "
                           "13.0 needs?"),
        ("13.0", [], "GPUs: there is none"),
    ],
)  # fmt: skip
def test_why_torch_has_no_gpu_to_compute_on_is_told(built_for, cards, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "__version__", "2.11")
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(gpus, "installed", lambda: [gpus.Card("0", "GPU-a", name, 80, 0) for name in cards])
    with pytest.raises(UserError) as error:
        doctor.usable()
    assert str(error.value) == said


def test_a_table_of_no_measurements_needs_nothing(capsys):
    assert cli.main(["doctor", "table_3", "--study", "paper"]) == 0
    output = capsys.readouterr().out
    assert "✗" not in output and "✓ disk and memory: none needed" in output


def test_only_what_a_target_needs_is_asked_for():
    study = papers.study("paper")
    named = plan.with_inputs(plan.behind_targets(["figure_11"], study), study)
    assert list(named) == ["galleries/figure_11", "images/imagenet100"]
    assert len(plan.everything(study)) > 150
    with pytest.raises(UserError, match="study paper has no target 'table_15'; did you mean 'table_"):
        plan.behind_targets(["table_15"], study)


@pytest.mark.parametrize(("here", "said"), [(True, ["disk", "RAM"]), (False, ["disk"])])
def test_a_cluster_s_jobs_have_its_disk_but_not_the_login_node_s_memory(tmp_path, monkeypatch, here, said):
    monkeypatch.setattr(fits.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e6))
    monkeypatch.setattr(machine, "ram_gb", lambda: 0.5)
    monkeypatch.setattr(gpus, "installed", lambda: [])
    product, study = "encoders/resnet100", papers.study("paper")
    found = doctor.problems({product: plan.recipe_of(product, study)}, study, tmp_path, here)
    assert [problem.partition(":")[0] for problem in found] == said


@pytest.mark.parametrize(("ram", "store", "said"), [(64, "pixels", True), (96, "pixels", False), (64, "jpeg", False)])
def test_a_store_that_ram_cannot_keep_is_told_and_stops_nothing(ram, store, said, tmp_path, monkeypatch):
    export(store=store)
    monkeypatch.setattr(machine, "ram_gb", lambda: ram)
    monkeypatch.setattr(gpus, "installed", lambda: [])
    monkeypatch.setattr(fits.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e15))
    study = study_but("paper")  # of its own, for what a store takes is worked out once for a study
    here = costs.machine_of(study, tmp_path)
    found = fits.of_machine(fits.wanted(["images/imagenet100b", "images/cifar10"], study, here), tmp_path)
    assert all(check.ok for check in found)
    assert [check.text for check in found if check.text.startswith("store")] == said * [
        "store: images/imagenet100b has 82 GB and this machine's RAM 64 GB, which cannot keep it at hand: every epoch "
        "reads the disk; where the disk is slow set store: jpeg in config.yaml, or use a machine of more RAM"
    ]


def test_a_data_set_that_is_not_as_published_is_told(imagenet):
    problem = amiss(images_of("imagenet100"))
    assert len(problem) == 1 and "train has 103 images of these classes, expected 126689" in problem[0]
    product, recipe = next(iter(images_of("imagenet100").items()))
    smaller = recipe.settings.model_copy(update={"train": 103, "test": 100})
    lines = doctor.of_files({product: recipe.model_copy(update={"settings": smaller})})
    assert [line.ok for line in lines] == [True] and "103 images for train, 100 images for test" in str(lines[0])
    assert amiss(images_of("cifar10")) == [
        f"config.yaml: data.cifar: there is no folder data/cifar; expected {machine.expected('data.cifar')}; "
        "`snakemake download` fetches it"
    ]


def test_a_damaged_archive_is_told_by_the_reader_of_the_job_and_a_lacking_batch_before_every_run(tmp_path, monkeypatch):
    formats.cifar(tmp_path)
    export(data={"cifar": str(tmp_path)})
    recipes = images_of("cifar10")
    assert amiss(recipes) == []
    (line,) = doctor.of_files(recipes)  # not the published checksums
    assert not line.ok and f"data.cifar: {tmp_path} is not whole" in line.text and "\n" not in line.text
    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
        (line,) = doctor.of_files(recipes)
    assert line.ok and line.text.endswith("cifar-10-batches-py, 5 images for train, 1 images for test")
    (tmp_path / "cifar-10-batches-py/data_batch_3").unlink()
    (problem,) = amiss(recipes)
    assert f"data.cifar: {tmp_path} has no cifar-10-batches-py/data_batch_3; expected" in problem


@pytest.mark.parametrize("source", readers.BATCHES)
def test_the_batches_that_are_looked_for_are_those_that_torchvision_reads(source):
    published = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}[source]
    listed = [name for name, _ in (*published.train_list, *published.test_list)]
    assert set(readers.BATCHES[source]) == {name for name in listed if "unlabeled" not in name}


def test_a_run_without_its_data_stops_before_any_job(tmp_path):
    said = snakemake(tmp_path, "--resources", "gpu=1", study="paper")
    assert said.status == 1 and "Traceback" not in said.text
    assert said.text.count("✗ config.yaml: data.imagenet: not set") == 1
    assert not (tmp_path / "results/paper").exists()


def test_cards_that_torch_cannot_use_stop_a_run_before_hours_of_packing(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0, GPU-a, 81559, 0, NVIDIA A\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / "own.yaml").write_text("inherits: smoke\ngpu: 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    training = "results/own/encoders/teacher.safetensors"
    said = snakemake(tmp_path, training, "--resources", "gpu=1", study="own", config=[f"studies={tmp_path}"])
    assert said.status == 1 and "Traceback" not in said.text and not (tmp_path / "results/own").exists()
    assert said.text.count("✗ ") == said.text.count("✗ GPUs: nvidia-smi lists NVIDIA A, but torch") == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), None),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), None),
        (
            RuntimeError("CUDA error: no kernel image\nis available"),
            "use NVIDIA A: CUDA error: no kernel image; mend it, or leave",
        ),
    ],
)
def test_a_card_that_other_programs_have_is_no_fault_and_one_without_kernels_is(error, said, monkeypatch):
    def fail(*shape, device):
        raise error

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "NVIDIA A")
    monkeypatch.setattr(torch, "ones", fail)
    if said is None:
        assert doctor.usable().endswith("computes on 0; 1 more are busy or full")
    else:
        with pytest.raises(UserError, match=said):
            doctor.usable()


NOTHING_IS_FETCHED = """
import os
import sys

if "contrastive_inversion" in sys.orig_argv and {"fetch", "verify"} & set(sys.orig_argv):
    os._exit(0)
"""


@pytest.mark.parametrize("target", ["weights", "download", "verify", "table_3"])
def test_what_needs_no_gpu_is_begun_though_nobody_says_how_many_there_are(target, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(NOTHING_IS_FETCHED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    said = snakemake(tmp_path, target, study="paper").check()
    assert f"localrule {'table' if target == 'table_3' else target}:" in said.text.splitlines()


def test_the_weights_that_a_study_starts_from(capsys):
    assert {name: digits[:8] for name, digits in doctor.weights_of(papers.study("paper")).items()} == {
        "clip": "8fa8567b", "resnet101": "63fe2227"
    }  # fmt: skip
    assert doctor.weights_of(papers.study("simclr")) == {}
    assert cli.main(["fetch", "weights", "--study", "simclr"]) == 0
    assert capsys.readouterr().out == "Study simclr needs no weights to be fetched.\n"


@pytest.mark.parametrize("study", ["demo", "published"])
def test_data_that_is_made_here_is_not_fetched(study, capsys):
    assert cli.main(["fetch", "data", "--study", study]) == 0
    assert capsys.readouterr().out == f"Study {study} needs no data to be fetched.\n"
