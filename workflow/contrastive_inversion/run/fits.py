"""Whether jobs fit into a machine's disk, its RAM and its GPUs' memory, and the setting that lets them."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from contrastive_inversion.base import gpus, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.base.work import GB
from contrastive_inversion.data.settings import Images
from contrastive_inversion.data.work import is_packed
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.paper import JobKind
from contrastive_inversion.ledger.study import Study, changed
from contrastive_inversion.run import costs
from contrastive_inversion.run.costs import Cost, Machine
from contrastive_inversion.run.findings import Check, checked

ROUNDING = 1 + 1e-6  # a job that was measured to fill a card fits into it
JOBS_AT_ONCE = 8  # whose checkpoints lie on the disk together


@dataclass(frozen=True)
class Wanted:
    """Jobs of a study, each with what it costs on a machine."""

    study: Study[Any]
    machine: Machine
    costs: Mapping[str, Cost]

    def under(self, setting: str) -> "Wanted | None":
        """The same, where the study has another setting, `section.key: value`; None where it refuses that one.

        Jobs that it spares are left out.
        """
        section, _, said = setting.partition(".")
        try:
            study = changed(self.study, {section: yaml.safe_load(said)})
        except UserError:
            return None
        spared = plan.everything(self.study).keys() - plan.everything(study).keys()
        return wanted(self.costs.keys() - spared, study, self.machine)

    def remedy(self, settings: Iterable[str], fits: Callable[["Wanted"], bool]) -> str | None:
        """The first of some settings with which these jobs fit."""
        return next((each for each in settings if (other := self.under(each)) and fits(other)), None)

    def kind(self, product: str) -> JobKind:
        """The kind of job that makes a product."""
        return self.study.paper.jobs[self.costs[product].kind]


def wanted(products: Iterable[str], study: Study[Any], ours: Machine) -> Wanted:
    """The jobs that make some products, and what they cost on a machine."""
    return Wanted(study, ours, {product: costs.cost(product, study, ours) for product in products})


def disk(jobs: Wanted, results: Path) -> str:
    """Look whether the disk has room for what is not there yet. Raises UserError with the remedy where it has not."""
    needed, free = absent_gb(jobs, results), shutil.disk_usage(nearest_folder(results)).free / GB
    told = f"about {size(needed)} needed, {size(free)} free"
    if needed > free:
        exact = dict.fromkeys(chain.from_iterable(jobs.kind(product).exact for product in jobs.costs))
        setting = jobs.remedy(exact, lambda other: absent_gb(other, results) <= free)
        spared = f"set `{setting}` in the study file, where the numbers stay the same, " if setting else ""
        raise UserError(f"disk: {told}; {spared}free some space, move results, or set store: jpeg in config.yaml")
    return told


def absent_gb(jobs: Wanted, results: Path) -> float:
    """What jobs will write whose products are not there, with the checkpoints of those that run at once."""
    folder = results / jobs.study.name
    absent = [cost for product, cost in jobs.costs.items() if not (folder / file_of(product)).exists()]
    at_once = sorted((cost.scratch_gb for cost in absent), reverse=True)[:JOBS_AT_ONCE]
    return sum(cost.kept_gb for cost in absent) + sum(at_once)


def size(gigabytes: float) -> str:
    """A number of GB for a reader; a small one in MB."""
    return f"{gigabytes:.0f} GB" if gigabytes >= 1 else f"{1000 * gigabytes:.0f} MB"


def nearest_folder(path: Path) -> Path:
    """A folder, or the first above it that is there."""
    return next(folder for folder in [path, *path.absolute().parents] if folder.exists())


def ram(jobs: Wanted) -> str:
    """Look whether every job fits into the machine's RAM. Raises UserError with the remedy for one that does not."""
    return memory(jobs, "ram_gb", machine.ram_gb(), "RAM: {} takes about {}, and this machine has {}")


def uncached(jobs: Wanted) -> list[Check]:
    """A line where the largest store of pixels is no smaller than the RAM: every epoch then waits for the disk.

    It is no fault, so the line holds; the plan's times have no such wait.
    """
    stores = {product: cost.kept_gb for product, cost in jobs.costs.items() if is_of_pixels(product, jobs.study)}
    product, there = max(stores, key=lambda each: stores[each], default=""), machine.ram_gb()
    if stores.get(product, 0) < there:
        return []
    told = f"{product} has {size(stores[product])} and this machine's RAM {size(there)}, which cannot keep it at hand"
    remedy = "where the disk is slow set store: jpeg in config.yaml, or use a machine of more RAM"
    return [Check(True, f"store: {told}: every epoch reads the disk; {remedy}")]


def is_of_pixels(product: str, study: Study[Any]) -> bool:
    """Whether a product is a store of decoded image files."""
    recipe = plan.recipe_of(product, study)
    return isinstance(recipe, Images) and is_packed(recipe.settings)


def gpu_memory(jobs: Wanted, card: gpus.Card) -> str:
    """Look whether every job fits into a GPU's memory. Raises UserError with the remedy for one that does not."""
    refusal = f"GPU: {{}} takes about {{}} of memory, and {card.name} has {{}}"
    return memory(jobs, "gpu_gb", card.gib * 2**30 / GB, refusal)


def memory(jobs: Wanted, which: str, there: float, refusal: str) -> str:
    """Look whether the largest job fits into what is there of a memory, by a cost's name for it."""
    product = max(jobs.costs, key=lambda each: getattr(jobs.costs[each], which))
    taken = getattr(jobs.costs[product], which)
    if taken > there * ROUNDING:
        remedy = smaller(product, jobs, which, there)
        raise UserError(f"{refusal.format(product, size(taken), size(there))}; {remedy}")
    return f"{size(there)}, the largest job takes about {size(taken)}"


def smaller(product: str, jobs: Wanted, which: str, there: float) -> str:
    """The setting that lets a job fit into some memory, in words: one that changes no number where there is one."""

    def fits(other: Wanted) -> bool:
        return product not in other.costs or getattr(other.costs[product], which) <= there

    kind, images = jobs.kind(product), images_that_fit(product, jobs, which, there)
    alone = Wanted(jobs.study, jobs.machine, {product: jobs.costs[product]})
    setting = alone.remedy([*kind.exact, *(f"{batch}: {images}" for batch in kind.batches)], fits)
    if setting is None:
        return "no setting lets it fit: use a larger machine"
    exact = setting in kind.exact or not kind.trains
    meaning = "and the numbers stay the same" if exact else "which is another training"
    return f"with `{setting}` in the study file it would fit, {meaning}"


def images_that_fit(product: str, jobs: Wanted, which: str, there: float) -> int:
    """How many images at a time let a job fit into some memory; 0 where their number is not what fills it."""
    work, taken = costs.work_of(product, jobs.study), getattr(jobs.costs[product], which)
    planned = getattr(costs.cost(product, jobs.study, Machine(jobs.machine.card, {})), which)
    image_gb = work.image_gb * taken / planned
    return work.batch - ceil((taken - there) / image_gb) if image_gb else 0


def of_machine(jobs: Wanted, results: Path) -> list[Check]:
    """Checks of disk, RAM and each GPU's memory: all that can be looked at without torch."""
    if not jobs.costs:
        return [Check(True, "disk and memory: none needed")]
    checks = [checked("disk", disk, jobs, results), checked("RAM", ram, jobs), *uncached(jobs)]
    if any(cost.gpu_gb for cost in jobs.costs.values()):
        checks += [checked(f"GPU {card.number}, {card.name}", gpu_memory, jobs, card) for card in gpus.visible()]
    return checks


def of_study(study: Study[Any], ours: Machine, results: Path) -> list[Check]:
    """Checks of memory and disk for the whole of a study, by what it costs on a machine."""
    return of_machine(wanted(plan.everything(study), study, ours), results)
