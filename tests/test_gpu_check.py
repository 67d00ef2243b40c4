"""What is checked on a GPU, tried on the CPU: against itself everything is exact, against a fault it is not."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from contrastive_inversion.run import rehearsal
from ledgers import study_but

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("gpu_check")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", ["masks", "normals", "blurs", "loss_values"])
def test_a_cpu_computes_what_it_computes(check, name):
    found = getattr(check, name)("cpu")
    assert found["ok"] and found["found"] == 0


def test_embeddings_and_a_training_that_is_taken_up_are_exact(check):
    assert check.embeddings(check.SMALL, "cpu")["found"] == 0
    assert check.resumption(check.SMALL, "cpu") == {"ok": True, "found": 0, "allowed": 0}
    assert check.slot([])["ok"]


def test_a_fault_is_seen(check, monkeypatch):
    calls = []

    def faulty(op, device, right=check.drawn):
        calls.append(device)
        return right(op, device) + 1e-4 * (len(calls) == 1)

    monkeypatch.setattr(check, "drawn", faulty)
    assert not check.masks("cpu")["ok"]
    calls.clear()
    assert not check.blurs("cpu")["ok"]
    ones = torch.ones(4)
    assert check.close("losses", ones, ones)["ok"] and not check.close("losses", ones * 1.001, ones)["ok"]

    def drifting(model, *rest, right=check.fit):
        right(model, *rest)
        calls.append("trained")
        model.trunk[0].weight.data.add_(len(calls))

    monkeypatch.setattr(check, "fit", drifting)
    assert not check.resumption(check.SMALL, "cpu")["ok"]


def test_a_machine_without_a_gpu_is_told_so_in_a_sentence_and_at_once():
    nowhere = {"PATH": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, str(BENCHMARKS / "gpu_check.py")]
    ended = subprocess.run(line, capture_output=True, text=True, env=nowhere, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: there is no GPU to check: nvidia-smi lists none\n"


# --- beside the authors' way ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(check, tmp_path_factory):
    """The paper's study with a small network, rehearsed on a few pictures."""
    small = {"architecture": "convnet", "model": "embedding-128/48", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
    restore = {"deep_decoder": {"upsamplings": 4}}
    study = study_but("paper", image_size=48, networks={"student": small}, restore=restore)
    study = rehearsal.lowered(study, on_gpu=False)
    return check.authors_way.furnished(study, tmp_path_factory.mktemp("authors"), "cpu", threads=1)


def test_both_ways_embed_the_same_pictures_and_draw_noise_of_the_same_size(check, place):
    way = check.authors_way
    (ours,), (theirs,) = (views(place, "clean", 1) for views in (way.our_views, way.their_views))
    assert ours.shape == theirs.shape == (16, 128) and (ours - theirs).abs().max() < 1e-4 * ours.abs().max()
    ours, theirs = (torch.stack(views(place, "gn30", 3)) for views in (way.our_views, way.their_views))
    moved = [(each - torch.stack(way.our_views(place, "clean", 1))).square().mean() for each in (ours, theirs)]
    assert len({*ours.sum(dim=(1, 2)).tolist()}) == 3 and 0.8 < moved[0] / moved[1] < 1.25


def test_both_ways_take_steps_that_learn(check, place):
    way = check.authors_way
    for losses in (way.our_steps(place, 24, resident=True), way.their_steps(place, 24)):
        values = torch.tensor([float(loss) for loss in losses])
        assert len(values) == 24 and values[-6:].mean() < values[:6].mean()
    fed = [float(loss) for loss in way.our_steps(place, 4, resident=False)]
    assert len({*fed}) == 4


def test_the_three_numbers_of_a_card(check, place):
    found = check.authors_way.ratios(place, count=4, instantiations=2)
    assert set(found) == {"distillation step", "evaluation", "feed"}
    assert found["feed"]["share"] == found["feed"]["resident_s"] / found["feed"]["fed_s"]
    for name in ("distillation step", "evaluation"):
        assert found[name]["ratio"] == found[name]["authors_s"] / found[name]["ours_s"]
