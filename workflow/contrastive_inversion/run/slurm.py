"""Before the first job of a run under Slurm: whether the scheduler would take such jobs at all."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from contrastive_inversion.base.errors import UserError

FLAGS = {"slurm_account": "--account", "slurm_partition": "--partition", "runtime": "--time", "mem_mb": "--mem"}
KEYS = "slurm_account, slurm_partition and gpu_model under default-resources in profiles/slurm/profile.yaml"


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
        raise UserError(f"Slurm refuses {name} ({' '.join(flags)}): {words}; see {KEYS}")
