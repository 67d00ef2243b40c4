"""Before the first job of a run under Slurm: whether the scheduler would take such jobs, and which it has already."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contrastive_inversion.base.errors import UserError

FLAGS = {
    "slurm_account": "--account",
    "slurm_partition": "--partition",
    "runtime": "--time",
    "mem_mb": "--mem",
    "_cores": "--cpus-per-task",
}
KEYS = "slurm_account, slurm_partition and gpu_model under default-resources in profiles/slurm/profile.yaml"
STUDY_KEYS = "gpu and picture_threads in the study file"


def check(jobs: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Ask Slurm about each different set of resources; nothing is queued.

    jobs: names of jobs, each with Snakemake's resources for it.
    Raises UserError if there is no Slurm here, or with Slurm's own words and the keys to change for a job it refuses.
    """
    if not shutil.which("sbatch"):
        raise UserError("the Slurm profile needs a machine that can submit jobs, and sbatch is not on the path here")
    requests: dict[tuple[str, ...], str] = {}
    for name, resources in jobs:
        requests.setdefault(tuple(request(resources)), name)
    for flags, name in requests.items():
        ask(name, flags)


def request(resources: Mapping[str, Any]) -> list[str]:
    """What sbatch is told of a job, as the executor plugin will."""
    flags = [f"{flag}={resources[key]}" for key, flag in FLAGS.items() if resources.get(key)]
    if gpus := resources.get("gpu"):
        model = resources.get("gpu_model")
        flags.append(f"--gpus={model}:{gpus}" if model else f"--gpus={gpus}")
    return flags


def ask(name: str, flags: tuple[str, ...]) -> None:
    """Raise UserError if Slurm would refuse a job with these flags."""
    answer = subprocess.run(["sbatch", "--test-only", *flags, "--wrap=true"], capture_output=True, text=True)
    if answer.returncode:
        words = answer.stderr.strip().splitlines()[-1].removeprefix("allocation failure: ")
        raise UserError(f"Slurm refuses {name} ({' '.join(flags)}): {words}; see {KEYS}, {STUDY_KEYS}")


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
