import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any test imports torch


@pytest.fixture(autouse=True)
def no_places(monkeypatch):
    """A test's own data folders and weights end with it."""
    from contrastive_inversion.base import machine

    monkeypatch.setenv(machine.VARIABLE, "{}")
