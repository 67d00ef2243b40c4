"""The profiles for schedulers, where the scheduler or Snakemake's plugin for it is missing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from contrastive_inversion.run import slurm

REPOSITORY = Path(__file__).resolve().parents[1]
WITHOUT_PLUGIN = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.startswith("snakemake_executor") else find(name, *rest)
from snakemake.cli import main
main()
"""


def run(folder, profile, *start, environment=None):
    shutil.copy(REPOSITORY / "config.yaml", folder)
    options = ["--workflow-profile", str(REPOSITORY / "profiles" / profile), "--config", "study=smoke"]
    command = [sys.executable, *start, "--snakefile", str(REPOSITORY / "Snakefile"), *options]
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("profile", "remedy"),
    [
        ("slurm", "pip install -e '.[compute,slurm]'"),
        ("kubernetes", "pip install snakemake-executor-plugin-kubernetes snakemake-storage-plugin-s3"),
    ],
)
def test_a_missing_executor_plugin_is_a_line_with_its_remedy(tmp_path, profile, remedy):
    status, output = run(tmp_path, profile, "-c", WITHOUT_PLUGIN)
    *_, line = output.splitlines()
    assert status == 1 and line == f"Error: executor: {profile} needs its plugin; type: {remedy}"
    assert "usage:" not in output and "Traceback" not in output


def test_without_slurm_the_profile_says_so(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    (tmp_path / "bin").mkdir()
    for command in {path.name: path for path in [*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()]}.values():
        if command.name != "sbatch":
            (tmp_path / "bin" / command.name).symlink_to(command)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(tmp_path / "bin")])
    status, output = run(tmp_path, "slurm", "-m", "snakemake", environment=os.environ | {"PATH": path})
    assert status == 1 and "sbatch is not on the path" in output and "Traceback" not in output


def planned(folder, profile):
    """The resources of every job that makes a product, as a dry run prints them."""
    (folder / "own.yaml").write_text("inherits: smoke\ngpu: 1\n")
    (folder / "config.yaml").write_text("study: own\nstudies: .\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--dry-run"]
    found = subprocess.run([*command, "--workflow-profile", profile], cwd=folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    lines = re.findall(r"^rule .*?^    resources: (.*?)$", found.stdout, re.M | re.S)
    jobs = [dict(pair.split("=", 1) for pair in line.split(", ")) for line in lines]
    return [job for job in jobs if "devices" in job]


@pytest.mark.parametrize(
    ("uncommented", "asked"), [("gpu_model: h100", "--gpus=h100:1"), ("# gpu_model: h100", "--gpus=1")]
)
def test_under_slurm_a_gpu_is_asked_for_by_those_jobs_that_hold_one(tmp_path, uncommented, asked):
    """By the executor plugin, and by the question to Slurm before the first job."""
    utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    profile = (REPOSITORY / "profiles" / "slurm" / "profile.yaml").read_text()
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "profile.yaml").write_text(profile.replace("# gpu_model: h100", uncommented))
    jobs = planned(tmp_path, "profile")
    assert {job["devices"] for job in jobs} == {"0", "1"}
    for job in jobs:
        expected = asked if job["devices"] == "1" else ""
        assert utils.set_gres_string(SimpleNamespace(resources=job)).strip() == expected
        assert " ".join(flag for flag in slurm.request(job) if flag.startswith("--gpus")) == expected
