"""What is said before anything runs: the doctor's lines, the workflow's refusal, and fetching from a network."""

import functools
import hashlib
import http.server
import threading
import time

import pytest

import formats
from contrastive_inversion.base import machine, studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import download, readers
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import cli, doctor
from test_workflow import run


def images_of(name):
    product = f"images/{name}"
    return {product: plan.parse(plan.recipe(product, "paper"))}


@pytest.fixture
def imagenet(tmp_path):
    formats.imagenet(tmp_path / "imagenet")
    machine.export({"data": {"imagenet": str(tmp_path / "imagenet")}})
    return tmp_path / "imagenet"


def test_a_whole_study_is_examined_line_by_line(capsys, tmp_path):
    (tmp_path / "config.yaml").write_text("study: paper\n")
    assert cli.main(["doctor", "--study", "paper", "--config", str(tmp_path / "config.yaml")]) == 1
    output = capsys.readouterr().out
    assert "37 of them trainings" in output and "GPU hours on H100s" in output
    for key in ("data.imagenet:", "data.imagenet_c:", "data.cifar:", "weights.clip:", "weights.resnet101:"):
        assert output.count(f"✗ config.yaml: {key} not set; it is the ") == 1
    assert "GB needed" in output and "✓ versions: Python" in output


def test_the_demo_needs_nothing(capsys, tmp_path):
    (tmp_path / "config.yaml").write_text("study: demo\n")
    assert cli.main(["doctor", "--study", "demo", "--config", str(tmp_path / "config.yaml")]) == 0
    output = capsys.readouterr().out
    assert "✗" not in output and "GPUs: none needed" in output


def test_only_what_a_target_needs_is_asked_for():
    named = doctor.products_for(["figure_11"], "paper")
    assert list(named) == ["galleries/figure_11", "images/imagenet100"]
    assert len(doctor.products_for([], "paper")) > 150
    with pytest.raises(UserError, match="study paper has no target 'table_15'; known: table_1"):
        doctor.products_for(["table_15"], "paper")


def test_a_data_set_that_is_not_as_published_is_told(imagenet):
    problem = doctor.problems(images_of("imagenet100"))
    assert len(problem) == 1 and "train has 103 images of these classes, expected 126689" in problem[0]
    product, recipe = next(iter(images_of("imagenet100").items()))
    recipe["settings"] |= {"train": 103, "test": 100}
    lines = doctor.of_files({product: recipe})
    assert [line.ok for line in lines] == [True] and "103 images for train, 100 images for test" in str(lines[0])
    assert doctor.problems(images_of("cifar10")) == [
        f"config.yaml: data.cifar: not set; it is {machine.EXPECTED['data.cifar']}"
    ]


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
    study = {"teacher": {"weights": "clip", "sha256": right}, "resnet": {"weights": "resnet101", "sha256": right[:8]}}
    monkeypatch.setattr(studies, "load", lambda name: study)
    monkeypatch.setattr(download, "WEIGHTS", dict.fromkeys(("clip", "resnet101"), f"{server}/weights.pth"))
    machine.export({"weights": {"clip": str(tmp_path / "a.pt"), "resnet101": str(tmp_path / "b.pth")}})
    download.fetch_weights("paper")
    assert (tmp_path / "a.pt").exists() and capsys.readouterr().out.count("sha256 as published") == 2
    (tmp_path / "a.pt").write_text("<html>")
    with pytest.raises(UserError, match="a.pt: sha256 .* it is another file"):
        download.fetch_weights("paper")


def test_archives_are_fetched_by_torchvision_and_the_rest_is_said(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(readers, "torchvision_set", lambda *arguments, download: asked.append(arguments[0]))
    machine.export({"data": {"cifar": str(tmp_path / "cifar"), "stl10": str(tmp_path / "stl")}})
    download.fetch_data("paper")
    assert set(asked) == {"cifar10", "cifar100", "stl10"}
    output = capsys.readouterr().out
    assert "data.imagenet: fetch by hand: ILSVRC 2012" in output and "data.coronahack: fetch by hand" in output
