"""What is said before anything runs: the doctor's lines, the workflow's refusal, and fetching from a network."""

import functools
import hashlib
import http.server
import threading
import time
from pathlib import Path

import pytest

import formats
from contrastive_inversion import papers
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import download, readers
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import cli, doctor
from test_workflow import run


def images_of(name):
    product = f"images/{name}"
    return {product: plan.recipe_of(product, papers.study("paper"))}


def amiss(recipes):
    return doctor.problems(recipes, papers.study("paper"), Path("results"), here=False)


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
    for key in ("data.imagenet:", "data.imagenet_c:", "data.cifar:", "weights.clip:", "weights.resnet101:"):
        assert output.count(f"✗ config.yaml: {key} not set; it is the ") == 1
    assert "GB needed" in output and "✓ versions: Python" in output


def test_the_demo_needs_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv(machine.VARIABLE)
    (tmp_path / "config.yaml").write_text("study: demo\n")
    assert cli.main(["--config", str(tmp_path / "config.yaml"), "doctor"]) == 0
    output = capsys.readouterr().out
    assert "✗" not in output and "GPUs: none needed" in output


def test_only_what_a_target_needs_is_asked_for():
    study = papers.study("paper")
    named = plan.with_inputs(plan.behind_targets(["figure_11"], study), study)
    assert list(named) == ["galleries/figure_11", "images/imagenet100"]
    assert len(plan.with_inputs(plan.behind_targets([], study), study)) > 150
    with pytest.raises(UserError, match="study paper has no target 'table_15'; did you mean 'table_"):
        plan.behind_targets(["table_15"], study)


def test_a_data_set_that_is_not_as_published_is_told(imagenet):
    problem = amiss(images_of("imagenet100"))
    assert len(problem) == 1 and "train has 103 images of these classes, expected 126689" in problem[0]
    product, recipe = next(iter(images_of("imagenet100").items()))
    smaller = recipe.settings.model_copy(update={"train": 103, "test": 100})
    lines = doctor.of_files({product: recipe.model_copy(update={"settings": smaller})})
    assert [line.ok for line in lines] == [True] and "103 images for train, 100 images for test" in str(lines[0])
    assert amiss(images_of("cifar10")) == [f"config.yaml: data.cifar: not set; it is {machine.expected('data.cifar')}"]


def test_a_run_without_its_data_stops_before_any_job(tmp_path):
    started = time.time()
    status, output = run(tmp_path, "--resources", "gpu=1", study="paper")
    assert status == 1 and "Traceback" not in output
    assert output.count("✗ config.yaml: data.imagenet: not set") == 1
    assert not (tmp_path / "results/paper").exists() and time.time() - started < 60
    status, output = run(tmp_path, "table_3", "--resources", "gpu=1", study="paper")
    assert status == 0, output  # it needs no data


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A web server of this test's own, for a folder with one file."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "weights.pth").write_bytes(b"some weights")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_file_is_fetched_whole_or_not_at_all(server, tmp_path):
    path = tmp_path / "new folder" / "weights.pth"
    right = hashlib.sha256(b"some weights").hexdigest()
    with pytest.raises(UserError, match="invalid hash value.*; nothing was kept, try again"):
        download.download(f"{server}/weights.pth", path, "0" * 64)
    assert list(path.parent.iterdir()) == []
    download.download(f"{server}/weights.pth", path, right)
    assert path.read_bytes() == b"some weights"
    with pytest.raises(UserError, match="cannot be fetched .*; fetch it where there is a network and put it at"):
        download.download(f"{server}/none.pth", tmp_path / "none.pth", right)
    with pytest.raises(UserError, match="cannot be fetched"):
        download.download("http://127.0.0.1:9/none.pth", tmp_path / "none.pth", right)


def test_weights_are_fetched_to_the_place_that_the_config_names(server, tmp_path, monkeypatch, capsys):
    right = hashlib.sha256(b"some weights").hexdigest()
    monkeypatch.setattr(download, "WEIGHTS", dict.fromkeys(("clip", "resnet101"), f"{server}/weights.pth"))
    export(weights={"clip": str(tmp_path / "a.pt"), "resnet101": str(tmp_path / "b.pth")})
    download.fetch_weights({"clip": right, "resnet101": right[:8]})
    assert (tmp_path / "a.pt").exists() and capsys.readouterr().out.count("sha256 as published") == 2
    (tmp_path / "a.pt").write_text("<html>")
    with pytest.raises(UserError, match="a.pt: sha256 .* it is another file"):
        download.fetch_weights({"clip": right})


def test_the_weights_that_a_study_starts_from():
    assert {name: digits[:8] for name, digits in doctor.weights_of(papers.study("paper")).items()} == {
        "clip": "8fa8567b", "resnet101": "63fe2227"
    }  # fmt: skip
    assert doctor.weights_of(papers.study("simclr")) == {}
    assert cli.main(["fetch", "weights", "--study", "simclr"]) == 1


def test_archives_are_fetched_by_torchvision_and_the_rest_is_said(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(readers, "torchvision_set", lambda *arguments, download: asked.append(arguments[0]))
    export(data={"cifar": str(tmp_path / "cifar"), "stl10": str(tmp_path / "stl")})
    assert cli.main(["fetch", "data", "--study", "paper"]) == 0
    assert set(asked) == {"cifar10", "cifar100", "stl10"}
    output = capsys.readouterr().out
    assert "data.imagenet: fetch by hand: ILSVRC 2012" in output and "data.coronahack: fetch by hand" in output
