"""Whether this machine has what a study needs, a line for each thing: data, weights, disk, GPUs, versions.

The workflow asks the same of what a run is about to read, before any job starts.
"""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrastive_inversion.base import files, gpus, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.data import readers
from contrastive_inversion.data.settings import Archive, ImageNetC, Images
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.paper import JobKind
from contrastive_inversion.ledger.study import Study

PACKAGES = ("torch", "torchvision", "open_clip_torch", "snakemake", "pillow", "numpy")
SLOWER_IN_FP32 = 2.5  # than what a kind of job's images per second are for
BYTES_PER_PICTURE = 615_000  # decoded, the mean over ImageNet
BYTES_PER_MODEL, BYTES_PER_STATE = 230e6, 900e6  # of a ResNet-101; of one with its optimiser's state
Recipes = Mapping[str, Recipe]


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, and whether it will do."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.text}"


def checked(text: str, function: Callable[..., str], *arguments: Any) -> Check:
    """A Check that holds unless the function raises UserError, whose message is then the text."""
    try:
        told = function(*arguments)
    except UserError as error:
        return Check(False, str(error))
    return Check(True, f"{text}: {told}")


def data_set(recipe: Images) -> str:
    """Look at a data set's files without reading them. Returns what is there; raises UserError for what is amiss."""
    settings, key = recipe.settings, readers.KEYS[recipe.settings.source]
    root = machine.folder(key)
    if isinstance(settings, Archive):
        folder = root / readers.ARCHIVES[settings.source]
        if not folder.is_dir():
            raise machine.wrong(key, root, f"has no {folder.name}")
        return str(folder)
    counts = {split: len(entries) for split, entries in readers.entries(settings).items()}  # type: ignore[arg-type]
    if isinstance(settings, ImageNetC):
        return f"{root}, {len(counts)} folders of {next(iter(counts.values()))} images"
    return f"{root}, " + ", ".join(f"{count:,} images for {split}" for split, count in counts.items())


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
            checks.append(checked(f"data, {recipe.data}", data_set, recipe))
        if isinstance(recipe, Weights):
            checks.append(checked(f"weights, {product.split('/')[1]}", weights, recipe, thorough))
    return list(dict.fromkeys(checks))  # a folder that is missing is missed once


def kinds(recipes: Recipes, study: Study[Any]) -> list[tuple[Recipe, JobKind]]:
    """Some products' recipes, each with its kind of job."""
    return [(recipe, study.paper.jobs[study.paper.kind_of(recipe)]) for recipe in recipes.values()]


def weights_of(study: Study[Any]) -> dict[str, str]:
    """The published weights that a study starts from: {config.yaml's name: sha256}."""
    recipes = plan.with_inputs(plan.behind_targets([], study), study).values()
    return {r.settings.weights: r.settings.sha256 for r in recipes if isinstance(r, Weights)}


def disk_needed(recipes: Recipes, study: Study[Any]) -> float:
    """Bytes that a run writes, roughly: packed pictures, models, and the state of trainings under way."""
    packed = [r.settings for r in recipes.values() if isinstance(r, Images) and r.settings.source == "imagenet"]
    pictures = sum((s.train or 0) + (s.test or 0) for s in packed) if machine.stores_pixels() else 0
    trainings = sum(kind.trains for _, kind in kinds(recipes, study))
    models = trainings + sum(isinstance(recipe, Weights) for recipe in recipes.values())
    return pictures * BYTES_PER_PICTURE + models * BYTES_PER_MODEL + trainings * BYTES_PER_STATE


def of_disk(recipes: Recipes, study: Study[Any], results: Path) -> Check:
    """Whether the disk has room for a run."""
    needed, free = disk_needed(recipes, study), shutil.disk_usage(results if results.exists() else ".").free
    remedy = "" if free > needed else "; free some space, move results, or set store: jpeg in config.yaml"
    return Check(free > needed, f"disk: about {needed / 1e9:.0f} GB needed, {free / 1e9:.0f} GB free{remedy}")


def of_gpus(recipes: Recipes, study: Study[Any]) -> list[Check]:
    """Whether there are GPUs, each large enough, where the study needs them."""
    if not study.settings.gpu:
        return [Check(True, "GPUs: none needed")]
    installed = gpus.installed()
    if not installed:
        return [Check(False, "GPUs: none visible (nvidia-smi finds none); this study trains on GPUs")]
    needed = max((kind.gpu_gib for _, kind in kinds(recipes, study)), default=0)
    return [gpu_check(name, gib, needed) for name, gib in installed]


def gpu_check(name: str, gib: float, needed: float) -> Check:
    """Whether one GPU is large enough."""
    advice = "" if gib > needed else f"; the largest training takes about {needed:.0f} GiB"
    return Check(gib > needed, f"GPU: {name}, {gib:.0f} GiB{advice}")


def versions() -> Check:
    """The versions of what computes, and whether Pillow's is one that resizes as the others did."""
    listed = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    pillow = int(importlib.metadata.version("pillow").split(".")[0])
    remedy = "" if pillow < 13 else "; Pillow 13 resizes differently: pip install 'pillow<13'"
    return Check(pillow < 13, f"versions: Python {platform.python_version()}, {listed}{remedy}")


def gpu_hours(recipes: Recipes, study: Study[Any]) -> float:
    """H100 hours of all jobs whose rate is known."""
    train = {name: r.settings.train or 0 for name, r in recipes.items() if isinstance(r, Images)}
    seconds = 0.0
    for recipe, kind in kinds(recipes, study):
        if kind.passes and kind.images_per_second:
            settings: Any = getattr(recipe, "settings", None)
            slower = SLOWER_IN_FP32 if getattr(settings, "precision", "fp32") == "fp32" else 1
            seconds += slower * kind.passes(recipe) * train[getattr(recipe, "train", "")] / kind.images_per_second
    return seconds / 3600


def work(recipes: Recipes, study: Study[Any]) -> str:
    """What a run has to do, in one line."""
    trainings = sum(kind.trains for _, kind in kinds(recipes, study))
    line = f"{len(recipes)} jobs to measure, {trainings} of them trainings"
    hours = gpu_hours(recipes, study)
    if not (study.settings.gpu and hours):
        return line
    origin = "worked out from published throughputs, not measured"
    return f"{line}; about {hours:.0f} GPU hours on H100s, without the tests ({origin})"


def examine(study: Study[Any], targets: Iterable[str], results: Path) -> tuple[list[Check], str]:
    """All checks of a study on this machine, and a sentence on the work that it is."""
    recipes = plan.with_inputs(plan.behind_targets(targets, study), study)
    checks = [*of_files(recipes), of_disk(recipes, study, results), *of_gpus(recipes, study), versions()]
    return checks, work(recipes, study)


def problems(recipes: Recipes) -> list[str]:
    """What is amiss with the files that some products are read from, a line each; fast, reads no file."""
    return [check.text for check in of_files(recipes, thorough=False) if not check.ok]
