import contextlib
import os
import subprocess

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any test imports torch


@pytest.fixture(autouse=True)
def no_places(monkeypatch):
    """A test's own data folders, weights and studies end with it."""
    from contrastive_inversion import papers
    from contrastive_inversion.base import machine

    monkeypatch.setenv(machine.VARIABLE, "{}")
    monkeypatch.setenv(papers.OWN_STUDIES, "")
    yield
    if os.environ.get(papers.OWN_STUDIES):
        papers.study.cache_clear()


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

    return write


@pytest.fixture
def nobody(tmp_path):
    """A context in which this process has the rights of nobody, where it has those of root; who has not is as he is."""

    @contextlib.contextmanager
    def without_rights():
        mine = os.geteuid()
        if mine == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(mine)

    for folder in [tmp_path, *tmp_path.parents]:
        if "pytest-of-" in str(folder):
            folder.chmod(0o755)  # pytest's are root's alone
    return without_rights


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 100 kB, and a function that makes the disk larger."""
    if os.getuid():
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
