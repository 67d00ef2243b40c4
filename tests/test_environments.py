"""The environments' files: one set of versions, each file enough by itself."""

import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
ENVS = REPOSITORY / "envs"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = {"render": [], "compute": ["compute"]}
OF_TORCH = {"torch", "torchvision", "open-clip-torch", "timm", "triton"}


def pins(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.lstrip().startswith("#")]
    return [Requirement(line) for line in lines]


def canonical(name):
    return name.lower().replace("_", "-")


def needed(extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for lines in lists for line in lines]


@pytest.mark.parametrize("name", EXTRAS)
def test_an_environment_names_every_package_itself(name):
    """Snakemake builds it from a copy in another folder, where nothing beside the file is to be found."""
    write = runpy.run_path(str(ENVS / "write.py"))
    assert (ENVS / f"{name}.yaml").read_text() == write["environment"](name), "type: make lock"
    *_, pip = yaml.safe_load((ENVS / f"{name}.yaml").read_text())["dependencies"]
    assert [str(Requirement(line)) for line in pip["pip"]] == [str(pin) for pin in pins(ENVS / f"{name}.txt")]


@pytest.mark.parametrize(("lock", "extras"), [*((f"envs/{n}.txt", e) for n, e in EXTRAS.items())])
def test_a_lock_has_what_the_project_asks_for(lock, extras):
    versions = {canonical(pin.name): pin.specifier for pin in pins(REPOSITORY / lock)}
    for wish in needed(extras):
        (version,) = versions[canonical(wish.name)]
        assert wish.specifier.contains(version.version), wish


@pytest.mark.parametrize("name", EXTRAS)
def test_every_environment_has_the_versions_of_the_one_lock(name):
    """Where a platform needs a package for more than one reason, the lock says so in fewer words."""
    found, locked = (
        {f"{canonical(pin.name)}{pin.specifier}" for pin in pins(path)}
        for path in (ENVS / f"{name}.txt", REPOSITORY / "requirements.lock")
    )
    assert found and found <= locked


def test_what_renders_is_installed_without_torch():
    names = {canonical(pin.name) for pin in pins(ENVS / "render.txt")}
    assert not names & OF_TORCH and not [name for name in names if name.startswith(("nvidia", "cuda"))]


@pytest.mark.slow
def test_the_small_set_verifies_the_kept_run(tmp_path):
    """A reviewer's two commands, in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", ENVS / "render.txt"], check=True)
    places = ["results=results/reference", f"figures={tmp_path}/figures"]
    verify = [python.with_name("snakemake"), "--cores", "1", "verify", "--config", *places]
    found = subprocess.run(verify, cwd=REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 0 and "measurement files are sound" in found.stdout, found.stderr
    compute = [python.with_name("snakemake"), "--cores", "1", "--config", "study=smoke", f"results={tmp_path}/results"]
    found = subprocess.run(compute, cwd=REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 1 and "torch is not installed; type: pip install -e '.[compute]'" in found.stderr
    assert "Traceback" not in found.stderr
