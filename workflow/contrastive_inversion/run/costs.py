"""What every job of a study costs: its time, its memory and its disk, from its work and the rates of a machine."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from contrastive_inversion.base import rates
from contrastive_inversion.base.rates import Measured, Speeds
from contrastive_inversion.base.work import Amounts, Work
from contrastive_inversion.data.settings import Photos
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study

CARD = "H100"  # that plans are for where no rehearsal has seen another one
CUDA_GB, HOST_GB = 1.5, 3.0  # of a GPU and of RAM, that a process takes for CUDA alone
SLACK, LEAST_MINUTES = 3, 30  # a time limit is for the worst day, a memory limit for the worst guess
MEMORY_SLACK = 1.3
SNAKEMAKES_MB = 500  # of RAM, that the two Snakemakes which start a scheduler's job may take beside it


@dataclass(frozen=True)
class Cost:
    """What a job costs: seconds of its life, of a GPU and of cores; GB at the peak; GB on the disk.

    busy_seconds: without the start of the process; origin: where its time is from; written_gb counts every checkpoint,
    scratch_gb what lies there until it is done.
    """

    kind: str
    seconds: float
    busy_seconds: float
    gpu_seconds: float
    cpu_seconds: float
    gpu_gb: float
    ram_gb: float
    kept_gb: float
    scratch_gb: float
    written_gb: float
    origin: str


@dataclass(frozen=True, eq=False)
class Machine:
    """What a plan is for: a card by its name (None: CPUs), and what a rehearsal found on it, by kind of job.

    elsewhere: what it found where it had another device, or none: it says something of jobs that need none.
    """

    card: str | None
    measured: Mapping[str, Measured]
    elsewhere: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def speeds(self) -> Speeds:
        """Of its device."""
        return rates.published().device(self.card)

    def found(self, kind: str, by_device: bool) -> Measured | None:
        """What was measured of a kind of job that a device computes, or a core."""
        return self.measured.get(kind) or (None if by_device else self.elsewhere.get(kind))


@functools.cache
def machine_of(study: Study[Any], results: Path, card: str | None = None) -> Machine:
    """The machine that a study's plan is for: a named card, else the one that was rehearsed on, else an H100."""
    rehearsed = rates.rehearsed(results)
    rehearsed_card = rehearsed.device if rehearsed else None
    on_gpu = study.settings.gpu and not (card and rates.published().known(card) == "CPU")
    chosen = (card or rehearsed_card or CARD) if on_gpu else None
    known, ours = rehearsed.kinds if rehearsed else {}, f"{study.paper.name}/"
    found = {key.removeprefix(ours): measured for key, measured in known.items() if key.startswith(ours)}
    return Machine(chosen, found) if rehearsed_card == chosen else Machine(chosen, {}, found)


@functools.cache
def work_of(product: str, study: Study[Any]) -> Work:
    """The work of the job that makes a product."""
    recipe = plan.recipe_of(product, study)
    behind = plan.with_inputs(recipe.inputs, study)
    return study.paper.jobs[study.paper.kind_of(recipe)].work(recipe, behind)


def by_device(product: str, study: Study[Any]) -> bool:
    """Whether a product's job computes on a device, a GPU where there is one; not if it reads a file or copies."""
    return study.paper.product(product).on_gpu and study.settings.measured and bool(work_of(product, study).device)


def gpus(product: str, study: Study[Any]) -> int:
    """The GPUs that a product's job holds."""
    return study.settings.gpu if by_device(product, study) else 0


def picture_threads(product: str, study: Study[Any]) -> int:
    """The threads that read and crop pictures for a product's job; on a CPU a job is one thread."""
    return study.settings.picture_threads if gpus(product, study) else 1


def cores(product: str, study: Study[Any]) -> int:
    """The cores that a scheduler should bind a product's job to: image files are packed by a thread for each."""
    packs = isinstance(getattr(plan.recipe_of(product, study), "settings", None), Photos)
    return study.settings.picture_threads if packs else picture_threads(product, study)


@functools.cache
def cost(product: str, study: Study[Any], machine: Machine) -> Cost:
    """What the job that makes a product costs."""
    kind, work = study.paper.kind_of(plan.recipe_of(product, study)), work_of(product, study)
    measured = machine.found(kind, by_device(product, study))
    gpu = gpus(product, study) if machine.card else 0
    device = on_device(work.device, machine.speeds if gpu else rates.published().device(None))
    feed, host, start = on_core(work.feed), on_core(work.host), on_core({"start": 1})
    threads = picture_threads(product, study) if gpu else 1
    times = measured or Measured(ratio=1, work="")
    busy = times.ratio * (host + (max(device, feed / threads) if gpu else device + feed))
    return Cost(
        kind=kind,
        seconds=start + busy,
        busy_seconds=busy,
        gpu_seconds=start + busy if gpu else 0.0,
        cpu_seconds=start + (max(feed, busy) if gpu else busy),
        gpu_gb=times.gpu * (work.gpu_gb + CUDA_GB) if gpu else 0.0,
        ram_gb=times.ram * (work.ram_gb + (HOST_GB if gpu else work.gpu_gb)),
        kept_gb=work.kept_gb,
        scratch_gb=work.state_gb,
        written_gb=work.kept_gb + work.saves * work.state_gb,
        origin=f"measured here ({measured.work})" if measured else machine.speeds.origin,
    )


def on_device(amounts: Amounts, speeds: Speeds) -> float:
    """Seconds of a device."""
    return sum(amount / speeds.of[unit] for unit, amount in amounts.items())


def on_core(amounts: Amounts) -> float:
    """Seconds of one core."""
    seconds = rates.published().host.of
    return sum(amount * seconds[unit] for unit, amount in amounts.items())


@functools.cache
def tails(study: Study[Any], machine: Machine) -> Mapping[str, float]:
    """For every product of a study the seconds until the end of the longest chain of jobs that begins with its own."""
    recipes = plan.everything(study)
    inputs = {name: recipe.waits_for for name, recipe in recipes.items()}
    return longest_tails(inputs, {name: cost(name, study, machine).seconds for name in recipes})


def longest_tails(inputs: Mapping[str, list[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """For every job the seconds of the longest chain from its start to the end; inputs: what each job waits for."""
    users: dict[str, list[str]] = {name: [] for name in inputs}
    for name, needed in inputs.items():
        for other in needed:
            users[other].append(name)
    known: dict[str, float] = {}

    def tail(name: str) -> float:
        if name not in known:
            known[name] = seconds[name] + max(map(tail, users[name]), default=0.0)
        return known[name]

    return {name: tail(name) for name in inputs}


def priority(product: str, study: Study[Any], machine: Machine) -> int:
    """Of the job that makes a product: the seconds of the longest chain of jobs that begins with it."""
    here = tails(study, machine).get(product)
    return round(cost(product, study, machine).seconds if here is None else here)


def memory_mb(product: str, study: Study[Any], machine: Machine) -> int:
    """RAM that a scheduler should keep for a job."""
    return ceil(1000 * MEMORY_SLACK * cost(product, study, machine).ram_gb)


def runtime_minutes(product: str, study: Study[Any], machine: Machine) -> int:
    """The time after which a scheduler may take a job for lost."""
    return LEAST_MINUTES + ceil(SLACK * cost(product, study, machine).seconds / 60)


def disk_mb(product: str, study: Study[Any], machine: Machine) -> int:
    """Disk that a job needs for its product and what it writes meanwhile."""
    job = cost(product, study, machine)
    return ceil(1000 * (job.kept_gb + job.scratch_gb)) + 1
