"""Before the first job of a run under Slurm: whether the scheduler would take such jobs, and which it has already."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contrastive_inversion.base.errors import UserError

# What the executor plugin makes of a job's resources; of several in one line it takes the first.
FLAGS = {
    "--account": ["slurm_account"],
    "--partition": ["slurm_partition"],
    "--clusters": ["cluster", "clusters", "slurm_cluster"],
    "--time": ["runtime"],
    "--constraint": ["constraint"],
    "--qos": ["qos"],
    "--nodes": ["nodes"],
    "--gres": ["gres"],
}
PROFILE = "profiles/slurm/profile.yaml"
KEYS = (
    f"slurm_account, slurm_partition and gpu_model under default-resources in {PROFILE}, gpu and picture_threads in "
    f"the study file; time and memory: --set-resources RULE:runtime=MINUTES RULE:mem_mb=MB, or the same in {PROFILE}"
)


def check(jobs: Iterable[tuple[str, Mapping[str, Any]]], settings: object = None) -> None:
    """Ask Slurm about each different set of resources; nothing is queued.

    jobs: names of jobs, each with Snakemake's resources for it; settings: the executor plugin's, of all jobs.
    Raises UserError if there is no Slurm here, or with Slurm's own words and the keys to change for a job it refuses.
    """
    if not shutil.which("sbatch"):
        raise UserError("the Slurm profile needs a machine that can submit jobs, and sbatch is not on the path here")
    requests: dict[tuple[str, ...], list[str]] = {}
    for name, resources in jobs:
        requests.setdefault(tuple(request(resources, settings)), []).append(name)
    total = sum(map(len, requests.values()))
    print(f"asking Slurm about {total} jobs: sbatch --test-only, {len(requests)} different requests", file=sys.stderr)
    for flags, names in requests.items():
        ask(names[0], flags)


def request(resources: Mapping[str, Any], settings: object = None) -> list[str]:
    """What sbatch is told of a job, as the executor plugin will."""
    said = {flag: next(filter(None, map(resources.get, keys)), None) for flag, keys in FLAGS.items()}
    said |= memory(resources) | cores(resources)
    if gpus := resources.get("gpu"):
        model = resources.get("gpu_model")
        said["--gpus"] = f"{model}:{gpus}" if model else gpus
    flags = [f"{flag}={value}" for flag, value in said.items() if value]
    flags += shlex.split(resources.get("slurm_extra") or "")
    of_all = {name: getattr(settings, name, None) for name in ("qos", "reservation")}
    return flags + [f"--{name}={value}" for name, value in of_all.items() if value]


def memory(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The flag for a job's memory and its value: of each core, else of all of it."""
    if each := resources.get("mem_mb_per_cpu"):
        return {"--mem-per-cpu": each}
    return {"--mem": resources.get("mem_mb")}


def cores(resources: Mapping[str, Any]) -> dict[str, Any]:
    """The flag for a job's cores and their number: as many as it has threads; a number below nought asks for none."""
    on_gpu = resources.get("gpu") or "gpu" in (resources.get("gres") or "")
    said = {"--cpus-per-task": resources.get("_cores")}
    if each := on_gpu and resources.get("cpus_per_gpu"):
        said = {"--cpus-per-gpu": each}
    if count := resources.get("cpus_per_task"):
        said = {"--cpus-per-task": count}
    return {flag: count for flag, count in said.items() if count and count > 0}


def ask(name: str, flags: tuple[str, ...]) -> None:
    """Raise UserError if Slurm would refuse a job with these flags."""
    answer = subprocess.run(["sbatch", "--test-only", *flags, "--wrap=true"], capture_output=True, text=True)
    if answer.returncode:
        words = "; ".join(without_senders(answer.stderr)) or "it does not say why"
        raise UserError(f"Slurm refuses {name} ({' '.join(flags)}): {words}; see {KEYS}")


def without_senders(text: str) -> list[str]:
    """The lines that sbatch says, without its word for where each is from."""
    return [
        re.sub(r"^(sbatch: |error: |allocation failure: )*", "", line) for line in text.splitlines() if line.strip()
    ]


def wait_for_queued(folder: str, comments: Sequence[str], poll_seconds: float = 5) -> bool:
    """Wait for jobs that an earlier Snakemake left in the queue, waiting or running; it says so.

    folder: where Snakemake was started; comments: what its executor plugin calls the jobs of this run. Returns whether
    there was one. Raises UserError if the queue cannot be read.
    """
    waited = False
    while ids := queued(folder, comments):
        if not waited:
            told = f"waiting for Slurm's jobs of an earlier run: {' '.join(ids)} (scancel what is not to be waited for)"
            print(told, file=sys.stderr)
        waited = True
        time.sleep(poll_seconds)
    return waited


def queued(folder: str, comments: Sequence[str]) -> list[str]:
    """Slurm's numbers of this user's jobs from a folder with one of some comments."""
    answer = subprocess.run(["squeue", "--me", "--noheader", "-o", "%A %k %Z"], capture_output=True, text=True)
    if answer.returncode:
        raise UserError(f"squeue cannot be asked: {answer.stderr.strip()}")
    rows = [line.split(" ", 2) for line in answer.stdout.splitlines()]
    return [number for number, comment, place in rows if comment in comments and place == folder]
