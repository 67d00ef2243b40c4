"""Whether this machine has what a study needs, a line for each thing: data, weights, disk, GPUs, versions.

The workflow asks the same of what a run is about to read, before any job starts.
"""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from contrastive_inversion.base import files, gpus, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import one_line
from contrastive_inversion.base.work import GB
from contrastive_inversion.data import readers
from contrastive_inversion.data.entries import Entry
from contrastive_inversion.data.settings import Archive, DataSet, ImageNetC, Images
from contrastive_inversion.data.work import is_packed
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.paper import JobKind
from contrastive_inversion.ledger.study import Study, changed
from contrastive_inversion.run import costs
from contrastive_inversion.run.costs import Cost, Machine

PACKAGES = ("torch", "torchvision", "open_clip_torch", "snakemake", "pillow", "numpy")
JOBS_AT_ONCE = 8  # whose checkpoints lie on the disk together
Recipes = Mapping[str, Recipe]


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, and whether it will do."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.text}"


def checked(text: str, function: Callable[..., str], *arguments: Any) -> Check:
    """A Check that holds unless the function raises UserError, whose message is then the text, or cannot read."""
    try:
        told = function(*arguments)
    except UserError as error:
        return Check(False, str(error))
    except OSError as error:
        return Check(False, f"{text}: {error.filename} cannot be read ({error.strerror}); ask its owner, or move it")
    return Check(True, f"{text}: {told}")


def data_set(recipe: Images, thorough: bool) -> str:
    """Look at a data set's files. Returns what is there; raises UserError for what is amiss.

    Archives are read as a job reads them where there is time for it; of image files names and numbers are looked at.
    """
    settings, key = recipe.settings, readers.KEYS[recipe.settings.source]
    root = machine.folder(key)
    if isinstance(settings, Archive):
        return unpacked(settings.source, root, thorough)
    counts = {split: len(entries) for split, entries in listed(settings, root, key).items()}  # type: ignore[arg-type]
    if isinstance(settings, ImageNetC):
        return f"{root}, {len(counts)} folders of {next(iter(counts.values()))} images"
    return f"{root}, " + ", ".join(f"{count:,} images for {split}" for split, count in counts.items())


def unpacked(source: str, root: Path, thorough: bool) -> str:
    """Look for the files of an unpacked archive, and whether they are as published where there is time for it."""
    folder = root / readers.ARCHIVES[source]
    missing = [name for name in readers.BATCHES[source] if not (folder / name).is_file()]
    if missing:
        raise machine.wrong(readers.KEYS[source], root, f"has no {folder.name}/{missing[0]}")
    if not thorough:
        return str(folder)
    counts = {split: len(tensors) for split, tensors in readers.archive(source).items() if split.endswith("labels")}
    return f"{folder}, " + ", ".join(f"{count:,} images for {name.split('/')[0]}" for name, count in counts.items())


def listed(settings: readers.InFiles, root: Path, key: str) -> Mapping[str, Sequence[Entry]]:
    """The entries of a data set in image files. Raises UserError for whatever is amiss with their lists and names."""
    try:
        splits = readers.entries(settings)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # csv, tarfile, scipy and pyarrow raise many kinds for a foreign file
        raise machine.wrong(key, root, one_line(f"cannot be read ({type(error).__name__}: {error})")) from None
    for entry in chain(*splits.values()):
        if not str(entry.path).isprintable():  # a store of names holds one in each line
            raise machine.wrong(key, root, f"holds {str(entry.path)!r}, a name that is no plain text: rename it")
    return splits


def weights(recipe: Weights, thorough: bool) -> str:
    """Look at a file of published weights, its checksum too where there is time for it."""
    path = machine.weights_file(recipe.settings.weights)
    if thorough:
        files.check_sum(path, recipe.settings.sha256)
    return f"{path}, sha256 as published" if thorough else str(path)


def of_files(recipes: Recipes, thorough: bool = True) -> list[Check]:
    """Checks of every data set and every file of weights that some products are read from."""
    checks = []
    for product, recipe in recipes.items():
        if isinstance(recipe, Images) and recipe.settings.source in readers.KEYS:
            checks.append(checked(f"data, {recipe.data}", data_set, recipe, thorough))
        if isinstance(recipe, Weights):
            checks.append(checked(f"weights, {product.split('/')[1]}", weights, recipe, thorough))
    return list(dict.fromkeys(checks))  # a folder that is missing is missed once


def weights_of(study: Study[Any]) -> dict[str, str]:
    """The published weights that a study starts from: {config.yaml's name: sha256}."""
    recipes = plan.everything(study).values()
    return {r.settings.weights: r.settings.sha256 for r in recipes if isinstance(r, Weights)}


def data_of(study: Study[Any]) -> list[DataSet]:
    """The data sets that a study reads: one that it leaves out, or that no target of it needs, is not among them."""
    return [r.settings for r in plan.everything(study).values() if isinstance(r, Images)]


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
    if taken > there:
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


def of_gpus(job_costs: Mapping[str, Cost]) -> list[Check]:
    """Whether torch can compute on the GPUs, where the study needs any."""
    if not any(cost.gpu_gb for cost in job_costs.values()):
        return [Check(True, "GPUs: none needed")]
    return [checked("GPUs", usable)]


def usable() -> str:
    """Let torch compute on every GPU. Raises UserError, with what torch says, for one that it cannot use."""
    import torch

    if not torch.cuda.is_available():
        there = [card.name for card in gpus.installed()]
        known = (
            f"nvidia-smi lists {', '.join(there)}, but torch {torch.__version__} cannot use" if there else "there is"
        )
        raise UserError(
            f"GPUs: {known} none{'; is its driver older than CUDA ' + str(torch.version.cuda) if there else ''}"
        )
    for number in range(torch.cuda.device_count()):
        try:
            torch.ones(8, 8, device=f"cuda:{number}").matmul(torch.ones(8, 8, device=f"cuda:{number}")).sum().item()
        except RuntimeError as error:
            name = torch.cuda.get_device_name(number)
            raise UserError(
                f"GPUs: torch {torch.__version__} cannot use {name}: {str(error).splitlines()[0]}"
            ) from None
    return f"torch {torch.__version__} computes on {torch.cuda.device_count()}"


def versions() -> Check:
    """The versions of what computes, and whether Pillow's is one that resizes as the others did."""
    listed = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    pillow = int(importlib.metadata.version("pillow").split(".")[0])
    remedy = "" if pillow < 13 else "; Pillow 13 resizes differently: pip install 'pillow<13'"
    return Check(pillow < 13, f"versions: Python {platform.python_version()}, {listed}{remedy}")


def work(job_costs: Mapping[str, Cost], study: Study[Any]) -> str:
    """What a run has to do, in one line."""
    trainings = sum(study.paper.jobs[cost.kind].trains for cost in job_costs.values())
    line = f"{len(job_costs)} jobs, {trainings} of them trainings"
    hours = sum(cost.gpu_seconds for cost in job_costs.values()) / 3600
    if not hours:
        return f"{line}; about {sum(cost.cpu_seconds for cost in job_costs.values()) / 3600:.1f} CPU hours"
    return f"{line}; about {hours:.0f} GPU hours (`contrastive-inversion plan` has the whole)"


def examine(study: Study[Any], targets: Iterable[str], results: Path) -> tuple[list[Check], str]:
    """All checks of a study on this machine, and a sentence on the work that it is."""
    recipes = plan.with_inputs(plan.behind_targets(targets, study), study)
    jobs = wanted(recipes, study, costs.machine_of(study, results))
    checks = [*of_files(recipes), *of_machine(jobs, results), *of_gpus(jobs.costs), versions()]
    return checks, work(jobs.costs, study)


def problems(recipes: Recipes, study: Study[Any], results: Path, here: bool) -> list[str]:
    """What is amiss with files, disk and memory for some products, a line each; fast, reads no file.

    here: whether the jobs run on this machine. A cluster's have a node's memory, and the disk that is seen from here.
    """
    jobs = wanted(recipes, study, costs.machine_of(study, results))
    on_machine = of_machine(jobs, results) if here else [checked("disk", disk, jobs, results)]
    return [check.text for check in [*of_files(recipes, thorough=False), *on_machine] if not check.ok]
