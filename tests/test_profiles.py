"""The profiles for schedulers, where the scheduler or Snakemake's plugin for it is missing."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.run import costs, slurm
from flow import REPOSITORY, snakemake

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


def planned(folder):
    """The resources of every job that makes a product, as a dry run prints them."""
    (folder / "own.yaml").write_text("inherits: smoke\ngpu: 1\n")
    (folder / "config.yaml").write_text("study: own\nstudies: .\n")
    said = snakemake(folder, "--dry-run", "--workflow-profile", "profile").check()
    blocks = re.findall(r"^rule (\w+):\n.*?^    resources: (.*?)$", said.out, re.M | re.S)
    jobs = [dict(pair.split("=", 1) for pair in f"rule={rule}, {line}".split(", ")) for rule, line in blocks]
    return [job for job in jobs if "devices" in job]


def edited(folder, **lines):
    """The Slurm profile as a lab may edit it: some of its lines, which are comments, with values."""
    text = (REPOSITORY / "profiles" / "slurm" / "profile.yaml").read_text()
    for key, value in lines.items():
        text, count = re.subn(rf"^  # {key}: .*$", f"  {key}: {value}", text, flags=re.M)
        assert count == 1
    (folder / "profile").mkdir()
    (folder / "profile" / "profile.yaml").write_text(text)


@pytest.mark.parametrize(
    ("lines", "asked"),
    [({"gpu_model": "h100", "slurm_partition": "gpu", "cpu_partition": "cpu"}, "--gpus=h100:1"), ({}, "--gpus=1")],
)
def test_under_slurm_a_gpu_is_asked_for_by_those_jobs_that_hold_one(tmp_path, lines, asked):
    """By the executor plugin, and by the question to Slurm before the first job; and a partition for either kind."""
    utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    edited(tmp_path, **lines)
    jobs = planned(tmp_path)
    assert {job["devices"] for job in jobs} == {"0", "1"}
    for job in jobs:
        expected = asked if job["devices"] == "1" else ""
        assert utils.set_gres_string(SimpleNamespace(resources=job)).strip() == expected
        assert " ".join(flag for flag in slurm.request(job) if flag.startswith("--gpus")) == expected
        partition = lines and f"--partition={'gpu' if expected else 'cpu'}"
        assert [flag for flag in slurm.request(job) if flag.startswith("--part")] == ([partition] if lines else [])


def test_the_profile_s_example_of_a_longer_time_reaches_the_jobs_of_its_rule_alone(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    edited(tmp_path, slurm_partition="gpu")
    profile = tmp_path / "profile" / "profile.yaml"
    text = profile.read_text().replace("# set-resources:\n#   encoders", "set-resources:\n  encoders")
    profile.write_text(text)
    said = {(job["runtime"], job["mem_mb"]) for job in planned(tmp_path) if job["rule"] == "encoders"}
    assert said == {("2880", "32000")}
    assert not said & {(job["runtime"], job["mem_mb"]) for job in planned(tmp_path) if job["rule"] != "encoders"}


RESOURCES = [
    {"gpu": 2, "gpu_model": "h100", "_cores": 4, "mem_mb": 5000, "runtime": 90, "cpus_per_gpu": 3, "qos": "high"},
    {"gpu": 1, "_cores": 4, "cpus_per_task": 6, "cpus_per_gpu": 3, "nodes": 1, "clusters": "one"},
    {"gres": "gpu:a100:1", "_cores": 2, "cpus_per_gpu": 5, "constraint": "a100&nvlink", "slurm_cluster": "two"},
    {"_cores": 1, "cpus_per_gpu": 5, "mem_mb": 4000, "mem_mb_per_cpu": 2000, "slurm_extra": "--exclude=a1,a2 -x 'b c'"},
    {"_cores": 3, "cpus_per_task": -1, "mem_mb": 4000, "slurm_partition": "cpu", "slurm_account": "lab", "runtime": 5},
]
SHORT = {"-t": "--time", "-C": "--constraint", "-A": "--account", "-p": "--partition", "-x": "--exclude"}
OF_ITS_OWN = {"--ntasks=1", "--parsable", "--job-name=x", "--output=x", "--export=ALL", "--comment=x", "-D=x"}


class Resources(dict):
    __getattr__ = dict.__getitem__


def long(command):
    """The flags of a command with their values, each as --flag=value."""
    words = iter(shlex.split(command))
    pairs = [(word, "") if "=" in word or word == "--parsable" else (word, f"={next(words)}") for word in words]
    return {SHORT.get(flag, flag) + value for flag, value in pairs}


@pytest.mark.parametrize("resources", RESOURCES)
@pytest.mark.parametrize("settings", [{}, {"qos": "low", "reservation": "course"}])
def test_slurm_is_asked_for_what_the_executor_plugin_will_ask(resources, settings):
    """Both, word for word, but for the words that no request can be refused for."""
    submit = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string")
    utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    of_all = SimpleNamespace(**{"qos": None, "reservation": None, "requeue": False, "no_requeue": False} | settings)
    job = SimpleNamespace(resources=Resources(resources), threads=resources["_cores"])
    words = dict.fromkeys(["run_uuid", "slurm_logfile", "comment_str", "workdir"], "x") | {
        key: f"{flag} {resources[name]}" if name in resources else ""
        for key, flag, name in [("account", "-A", "slurm_account"), ("partition", "-p", "slurm_partition")]
    }
    call = submit.get_submit_command(job, words, of_all).removeprefix("sbatch ") + utils.set_gres_string(job)
    assert long(shlex.join(slurm.request(resources, of_all))) == long(call) - OF_ITS_OWN


def refusing(folder, *lines):
    """The environment of a machine whose sbatch refuses everything, in some words."""
    (folder / "bin").mkdir()
    script = "\n".join(["#!/bin/sh", *(f"echo '{line}' >&2" for line in lines), "exit 1"])
    (folder / "bin" / "sbatch").write_text(script)
    (folder / "bin" / "sbatch").chmod(0o755)
    return {"PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["sbatch: error: Memory is too low", "allocation failure: No such node"], "Memory is too low; No such node"),
        ([], "it does not say why"),
    ],
)
def test_a_refusal_has_all_of_slurm_s_words_and_every_key(tmp_path, monkeypatch, capsys, lines, words):
    monkeypatch.setenv("PATH", refusing(tmp_path, *lines)["PATH"])
    with pytest.raises(UserError) as error:
        slurm.check([("a", {"mem_mb": 5, "_cores": 1}), ("b", {"mem_mb": 5, "_cores": 1}), ("c", {"runtime": 1})])
    assert f"Slurm refuses a (--mem=5 --cpus-per-task=1): {words}; see slurm_account" in str(error.value)
    assert "--set-resources RULE:runtime=MINUTES RULE:mem_mb=MB" in str(error.value)
    assert capsys.readouterr().err == "asking Slurm about 3 jobs: sbatch --test-only, 2 different requests\n"


STUDY = """inherits: smoke
gpu: 1
picture_threads: 3
"""


def test_a_scheduler_binds_a_job_that_packs_image_files_to_the_cores_that_do():
    """And no other one: a node may have fewer."""
    for study, product, threads in [
        ("paper", "images/imagenet100", 4), ("paper", "images/cifar10", 1), ("smoke", "images/imagenet", 1),
    ]:  # fmt: skip
        assert costs.cores(product, papers.study(study)) == threads


def test_under_slurm_a_job_asks_for_the_snakemakes_beside_it(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    (tmp_path / "own.yaml").write_text(STUDY)
    (tmp_path / "config.yaml").write_text("study: own\nstudies: .\n")
    profile, target = REPOSITORY / "profiles" / "slurm", "results/own/images/imagenet.safetensors"
    said = snakemake(tmp_path, "--workflow-profile", profile, target, **refusing(tmp_path, "no"))
    assert said.status == 1 and "asking Slurm about 1 jobs" in said.err, said.text
    memory = int(re.search(r"mem_mb=(\d+)", snakemake(tmp_path, "--dry-run", target, cores=1).out)[1])
    assert f"--mem={memory + 500} --cpus-per-task=1" in said.err and memory < 2000
