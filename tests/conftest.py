import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any test imports torch


@pytest.fixture(autouse=True)
def no_places(monkeypatch):
    """A test's own data folders, weights and studies end with it."""
    from contrastive_inversion import papers
    from contrastive_inversion.base import machine

    monkeypatch.setenv(machine.VARIABLE, "{}")
    monkeypatch.delenv(papers.OWN_STUDIES, raising=False)


@pytest.fixture
def study_of(tmp_path, monkeypatch):
    """A function that writes a study of the user's own and reads it."""
    from contrastive_inversion import papers

    folder = tmp_path / "own studies"
    folder.mkdir()

    def write(text, name="mine", parent="demo"):
        (folder / f"{name}.yaml").write_text(f"inherits: {parent}\n{text}" if parent else text, encoding="utf-8")
        monkeypatch.setenv(papers.OWN_STUDIES, str(folder))
        papers.study.cache_clear()
        return papers.study(name)

    yield write
    papers.study.cache_clear()
