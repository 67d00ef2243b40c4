"""What is checked on a GPU, tried on the CPU: against itself everything is exact, against a fault it is not."""

import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu_check.py"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
