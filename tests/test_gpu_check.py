"""What is checked on a GPU, tried on the CPU: against itself everything is exact, against a fault it is not."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.rates import Rehearsed
from contrastive_inversion.learn.checkpoints import Checkpoint
from contrastive_inversion.learn.settings import Network
from contrastive_inversion.run import rehearsal
from ledgers import study_but

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


SMALL = {"architecture": "convnet", "model": "embedding-128/48", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25]}
NETWORK = Network.model_validate(SMALL)
RESTORE = {"deep_decoder": {"upsamplings": 4}}  # 48 px have four halves
DISTILL = papers.study("paper").settings.distill.but(batch=8, loss="st")


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("gpu_check")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("name", ["masks", "normals", "blurs", "loss_values"])
def test_a_cpu_that_is_compared_with_itself_differs_nowhere(check, name):
    found = getattr(check, name)("cpu")
    assert found["ok"] and found["found"] == 0


def test_embeddings_and_a_training_that_is_taken_up_are_exact(check, monkeypatch):
    assert check.embeddings(NETWORK, "cpu")["found"] == 0
    assert check.slot("cpu")["ok"]
    begun = []

    def fit(model, parameters, batch_of, loss_of, data, recipe, job, right=check.fit):
        begun.append((job.threads, recipe.settings.precision, len(data), (job.state / "checkpoint.pt").exists()))
        return right(model, parameters, batch_of, loss_of, data, recipe, job)

    monkeypatch.setattr(check, "fit", fit)
    assert check.resumption(NETWORK, DISTILL, "cpu") == {"ok": True, "found": 0, "allowed": 0}
    # two steps an epoch, of what the study says, fed by a lane; the last one goes on from a checkpoint
    assert begun == [(4, "fp16", 16, False), (4, "fp16", 16, False), (4, "fp16", 16, True)]


def test_a_supervised_training_that_is_taken_up_and_decoders_that_are_fitted_twice_are_exact(check, monkeypatch):
    exact = {"ok": True, "found": 0, "allowed": 0}
    assert check.resumption(NETWORK, papers.study("paper").settings.finetune.but(batch=8), "cpu") == exact
    decoder = papers.study("paper").settings.restore.deep_decoder.but(channels=4)
    assert check.restorations(decoder, "cpu") == exact
    moved = iter([0.0, 1e-6])

    def restored(*given, right=check.inpainted):
        return right(*given) + next(moved)

    monkeypatch.setattr(check, "inpainted", restored)
    assert not check.restorations(decoder, "cpu")["ok"]


def test_a_training_that_forgets_its_optimiser_is_seen(check, monkeypatch):
    def forgetful(self, right=Checkpoint.resumed):
        self.parts = {"model": self.parts["model"]}
        return right(self)

    monkeypatch.setattr(Checkpoint, "resumed", forgetful)
    found = check.resumption(NETWORK, DISTILL, "cpu")
    assert not found["ok"] and found["found"] > 0


def test_the_study_s_own_student_is_checked(check, monkeypatch):
    study, asked = papers.study("authors"), []
    every = [
        "slot", "masks", "normals", "blurs", "embeddings", "embeddings", "loss_values", "compiled", "overflows",
        "resumption", "resumption", "restorations",
    ]  # fmt: skip
    for name in every:
        monkeypatch.setattr(check, name, lambda *given: asked.append(given) or {"ok": True, "found": 0, "allowed": 0})
    assert len(check.checks(study, "cpu")) == len(every)
    (network, settings, _), (theirs, _, _), (decoder, _) = asked[-3:]
    assert network.input == "fp16" and settings.precision == "fp32" and settings.shards == 4
    assert (network.architecture, theirs.architecture) == ("open_clip", "torchvision") and decoder.channels == 256


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
    assert check.close("losses", ones, ones * torch.nan) == {"ok": False, "found": "it computes nan", "allowed": 1e-4}
    assert check.close("losses", ones, ones)["ok"] and not check.close("losses", ones * 1.001, ones)["ok"]

    def drifting(model, *rest, right=check.fit):
        right(model, *rest)
        calls.append("trained")
        model.trunk[0].weight.data.add_(len(calls))

    monkeypatch.setattr(check, "fit", drifting)
    assert not check.resumption(NETWORK, DISTILL, "cpu")["ok"]


def test_a_check_that_cannot_be_made_is_not_passed_and_what_cannot_be_compiled_has_no_other_numbers(check, monkeypatch):
    def failing(*arguments, **how):
        raise RuntimeError("no kernel image\nfor this card")

    said = "failed (RuntimeError: no kernel image)"
    assert check.attempted(failing) == {"ok": False, "found": said, "allowed": 0}
    monkeypatch.setattr(check.torch.nn.Module, "compile", failing)
    assert check.compiled(NETWORK, "cpu") == {"ok": True, "found": said, "allowed": 1e-3}


def test_a_machine_without_a_gpu_is_told_so_in_a_sentence_and_at_once():
    nowhere = {"PATH": "/nonexistent", "PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, str(BENCHMARKS / "gpu_check.py")]
    ended = subprocess.run(line, capture_output=True, text=True, env=nowhere, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Error: there is no GPU to check: nvidia-smi lists none\n"


# --- speeds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def timed(check, monkeypatch):
    """What gpu_speeds finds on a CPU, of a study with small networks."""
    speeds = check.gpu_speeds
    sizes = {"image_size": 48, "networks": {"student": SMALL, "baseline": SMALL}, "restore": RESTORE}
    study = study_but("paper", **sizes, distill={"batch": 4}, finetune={"batch": 4})
    for name, value in {"BATCH": 2, "WARM": 1, "COUNTED": 1}.items():
        monkeypatch.setattr(speeds, name, value)
    ways = ("eager", "contiguous", "compiled")
    return lambda until=float("inf"): speeds.speeds(study, "cpu", ways, until)


def test_what_cannot_be_compiled_is_told_in_words_and_all_else_is_timed(check, timed, monkeypatch):
    def failing(*arguments, **how):
        raise RuntimeError("no compiler\nin this image")

    monkeypatch.setattr(torch.nn.Module, "compile", failing)
    monkeypatch.setattr(torch, "compile", failing)
    found, said = timed(), "failed (RuntimeError: no compiler)"
    steps = {way: {each[way] for what, each in found.items() if "step" in what} for way in ("eager", "contiguous")}
    assert all(isinstance(each, float) and each > 0 for times in steps.values() for each in times)
    assert found.keys() == {"noise", "mask", "blur", "student's step", "baseline's step"}
    assert {each["compiled"] for each in found.values()} == {said}
    assert all(found[name]["eager"] > 0 for name in check.gpu_speeds.DRAWN)


def test_what_comes_too_late_is_not_begun(timed):
    found = timed(until=0)
    assert {took for each in found.values() for took in each.values()} == {"left out, as the time was over"}


def test_the_ways_of_a_step_are_what_they_are_called(check, monkeypatch):
    small = {"networks": {"student": SMALL}, "restore": RESTORE, "distill": {"batch": 4}}
    study, laid = study_but("paper", image_size=48, **small), {}
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, dynamic: compiled.append(self))
    for way in ("eager", "contiguous", "compiled"):

        def keep(module, given, output, way=way):
            laid[way] = [each.is_contiguous(memory_format=torch.channels_last) for each in (given[0], module.weight)]

        def build(network, keep=keep, right=check.networks.build):
            encoder = right(network)
            encoder.trunk[0].register_forward_hook(keep)
            return encoder

        with monkeypatch.context() as patch:
            patch.setattr(check.networks, "build", build)
            check.gpu_speeds.training_step("encoders/student-gn30", study, "cpu", way)()
    assert laid == {"eager": [True, True], "contiguous": [False, False], "compiled": [True, True]}
    assert len(compiled) == 1


def test_a_report_says_of_each_speed_whether_it_is_reached(check, capsys):
    ratios = {"distillation step": {"ratio": 5.1}, "evaluation": {"ratio": 14.9}, "feed": {"share": 0.95}}
    times = {"noise": {"eager": 1.9, "compiled": "failed (E)"}, "mask": {"eager": 2.1}, "blur": {"eager": 0.2}}
    found = check.wanted(ratios, times)
    assert [each["reached"] for each in found.values()] == [True, False, True, True, False, False, True]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "distillation step: 5.1, at least 5 wanted: reached"
    assert lines[1] == "evaluation: 14.9, at least 15 wanted: not reached"
    assert lines[4] == "noise of a batch, compiled, ms: failed (E), at most 2 wanted: not timed"
    untimed = check.wanted("failed (E)", times)
    assert [each["reached"] for each in untimed.values()][:3] == [False] * 3
    assert untimed["feed"]["found"] == "failed (E)"


def test_what_memory_does_not_suffice_for_stands_in_the_report(check, tmp_path, monkeypatch):
    def too_small(*given):
        raise UserError("the GPU's memory does not suffice")

    stand_in_for_a_card(check, monkeypatch)
    monkeypatch.setattr(check.rehearsal, "rehearse", too_small)
    monkeypatch.setattr(check, "beside_the_authors", too_small)
    assert check.main(tmp_path) == 1
    report = files.read_json(tmp_path / "a-card.json")
    assert "does not suffice" in report["rehearsal"] and "does not suffice" in report["beside the authors"]
    assert report["checks"]["masks"]["ok"]


def stand_in_for_a_card(check, monkeypatch, exact=True):
    slow = {"distillation step": {"ratio": 0.1}, "evaluation": {"ratio": 0.1}, "feed": {"share": 0.1}}
    stand_ins = {
        check.gpus: {"installed": lambda: ["a card"], "acquire": lambda: "0"},
        check.jobs: {"prepare_gpu": lambda: None},
        check.rehearsal: {"rehearse": lambda *given: Rehearsed(device="A Card", kinds={})},
        check.torch.cuda: {"get_device_name": lambda number: "A Card"},
        check.gpu_speeds: {"speeds": lambda *given: dict.fromkeys(check.gpu_speeds.DRAWN, {"eager": 99.0})},
        check: {
            "checks": lambda *given: {"masks": {"ok": exact}, "blur": {"ok": True}},
            "beside_the_authors": lambda *given: slow,
        },
    }
    for place, names in stand_ins.items():
        for name, value in names.items():
            monkeypatch.setattr(place, name, value)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])


@pytest.mark.parametrize("exact", [True, False])
def test_the_exit_status_is_that_of_exactness_whatever_the_speed(check, exact, tmp_path, monkeypatch):
    stand_in_for_a_card(check, monkeypatch, exact)
    assert check.main(tmp_path) == (0 if exact else 1)
    report = files.read_json(tmp_path / "a-card.json")
    assert not any(each["reached"] for each in report["wanted"].values()) and report["checks"]["masks"]["ok"] == exact


# --- beside the authors' way ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(check, tmp_path_factory):
    """The paper's study with a small network, rehearsed on a few pictures."""
    small = study_but("paper", image_size=48, networks={"student": SMALL}, restore=RESTORE)
    study = rehearsal.lowered(small, on_gpu=False)
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


def test_what_the_authors_way_has_no_memory_for_leaves_the_other_numbers(check, place, monkeypatch):
    def too_large(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(check.authors_way, "their_steps", too_large)
    found = check.authors_way.ratios(place, count=4, instantiations=2)
    assert found["distillation step"] == "failed (OutOfMemoryError: CUDA out of memory)"
    assert found["feed"]["share"] > 0 and found["evaluation"]["ratio"] > 0
    assert check.at_least(found, "distillation step", "ratio", 5)["found"] == found["distillation step"]


def test_the_three_numbers_of_a_card(check, place):
    found = check.authors_way.ratios(place, count=4, instantiations=2)
    assert set(found) == {"distillation step", "evaluation", "feed"}
    assert found["feed"]["share"] == found["feed"]["resident_s"] / found["feed"]["fed_s"]
    for name in ("distillation step", "evaluation"):
        assert found[name]["ratio"] == found[name]["authors_s"] / found[name]["ours_s"]
