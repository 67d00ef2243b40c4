"""The profiles for schedulers, where the scheduler or Snakemake's plugin for it is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
