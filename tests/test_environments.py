"""The environments' files: one set of versions, each file enough by itself."""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from contrastive_inversion.run import environment

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


PRODUCT = "results/published/measurements/teacher/imagenet100.json"
CONDA = """#!/bin/bash
case "$*" in
  --version) echo conda 25.1.0 ;;
  info*) echo '{{"conda_prefix": "{base}", "platform": "linux-64"}}' ;;
  config*) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  *create*) mkdir -p "${{@: -1}}/bin"; cp "{base}/python3" "${{@: -1}}/bin" ;;
esac
"""
PYTHON = """#!/bin/bash
[[ $PYTHONPATH != *site-packages* ]] || {{ echo "libraries of another Python: $PYTHONPATH" >&2; exit 3; }}
PYTHONPATH="$PYTHONPATH:{libraries}" exec {python} -S "$@"
"""  # it finds no package by itself that is installed from a checkout


@pytest.fixture
def conda(tmp_path):
    """The bin of a conda whose environments hold the libraries at work here, and not this package."""
    base = tmp_path / "conda"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "activate").write_text('export PATH="$1/bin:$PATH"\n')
    (base / "bin" / "conda").write_text(CONDA.format(base=base))
    (base / "python3").write_text(PYTHON.format(libraries=sysconfig.get_path("purelib"), python=sys.executable))
    for script in (base / "bin" / "conda", base / "python3"):
        script.chmod(0o755)
    return base / "bin"


@pytest.fixture
def installed(tmp_path):
    """A copy of the workflow without the package, which lies among a Python's libraries instead."""
    libraries = tmp_path / "host" / "site-packages"
    libraries.mkdir(parents=True)
    (libraries / "contrastive_inversion").symlink_to(REPOSITORY / "workflow" / "contrastive_inversion")
    for part in ("Snakefile", "envs", "workflow/rules", "workflow/report"):
        copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy
        (tmp_path / "copy" / part).parent.mkdir(parents=True, exist_ok=True)
        copy(REPOSITORY / part, tmp_path / "copy" / part)
    return tmp_path / "copy", libraries


@pytest.fixture
def checkout():
    return REPOSITORY, REPOSITORY / "workflow"


@pytest.mark.parametrize("place", ["checkout", "installed"])
def test_a_job_in_an_environment_of_conda_finds_the_package_and_no_library_beside_it(request, tmp_path, conda, place):
    """Snakemake takes PYTHONPATH from such a job. Twice, as the second run finds what the first left."""
    root, package = request.getfixturevalue(place)
    shutil.copy(REPOSITORY / "config.yaml", tmp_path)
    environment = os.environ | {"PATH": f"{conda}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(package)}
    run = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--cores", "1", "--sdm=conda"]
    options = ["--config", "study=published"]
    for product in (PRODUCT, PRODUCT.replace("teacher", "baseline-rm50to95")):
        command = [*run, product, *options]
        found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert found.returncode == 0 and (tmp_path / product).exists(), found.stdout + found.stderr


def test_a_missing_image_is_a_line_before_the_first_job(tmp_path, installed):
    """Only the version of apptainer is asked for until then."""
    root, package = installed
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text("#!/bin/sh\n[ $1 = --version ] && echo apptainer version 1.3.0\n")
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    shutil.copy(REPOSITORY / "config.yaml", tmp_path)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(package)}
    run = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--cores=1", "--sdm=apptainer"]
    command = [*run, PRODUCT, "--config", "study=published"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("Error: ")]
    assert found.returncode == 1 and f"there is no image {root}/envs/contrastive-inversion.sif" in line
    assert line.endswith("apptainer build envs/contrastive-inversion.sif envs/apptainer.def")
    assert "rule measurements" not in found.stdout + found.stderr


def test_the_package_s_place_among_libraries_that_moved_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("a/site-packages", "b/dist-packages"):
        monkeypatch.setattr(environment, "__file__", str(tmp_path / place / "contrastive_inversion/run/environment.py"))
        folder = environment.package_folder()
        (link,) = folder.iterdir()
        assert link.readlink() == tmp_path / place / "contrastive_inversion" and folder.is_absolute()
