"""Whether this machine has what a study needs, a line for each thing: data, weights, disk, GPUs, versions.

The workflow asks the same of what a run is about to read, before any job starts.
"""

import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from contrastive_inversion.base import files, fingerprint, gpus, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import one_line
from contrastive_inversion.data import readers
from contrastive_inversion.data.entries import Entry
from contrastive_inversion.data.settings import Archive, DataSet, ImageNetC, Images
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.run import costs, fits, jobs
from contrastive_inversion.run.costs import Cost
from contrastive_inversion.run.findings import Check, checked

SECONDS_FOR_AN_ANSWER = 300  # of torch, where a card is lost
LEAVE_OUT = "mend it, or leave that card out in CUDA_VISIBLE_DEVICES"
PACKAGES = ("torch", "torchvision", "open_clip_torch", "snakemake", "pillow", "numpy")
Recipes = Mapping[str, Recipe]


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
    """The data sets that a study reads from files, without those that it leaves out or that no target of it needs."""
    recipes = plan.everything(study).values()
    return [r.settings for r in recipes if isinstance(r, Images) and r.settings.source in readers.KEYS]


def of_gpus(job_costs: Mapping[str, Cost]) -> list[Check]:
    """Whether torch can compute on the GPUs, where the study needs any."""
    if not any(cost.gpu_gb for cost in job_costs.values()):
        return [Check(True, "GPUs: none needed")]
    return [checked("GPUs", usable)]


def gpu_problems() -> list[str]:
    """What is amiss with the GPUs, a line; a process of its own asks torch, which takes seconds and half a GB."""
    line = [sys.executable, "-m", f"{fingerprint.PACKAGE}.run.doctor"]
    try:
        asked = subprocess.run(
            line, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=SECONDS_FOR_AN_ANSWER
        )
    except subprocess.TimeoutExpired:
        return [f"GPUs: torch has not answered for {SECONDS_FOR_AN_ANSWER} s; {LEAVE_OUT}"]
    said = asked.stderr.splitlines() or [f"GPUs: torch ended with status {asked.returncode}; {LEAVE_OUT}"]
    return said[-1:] if asked.returncode else []


def usable() -> str:
    """Let torch compute on every GPU. Raises UserError, with what torch says, for one that it cannot use.

    One that other programs have is no fault: a job waits for it.
    """
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"GPUs: {none_usable()}")
    taken = 0
    for number in range(torch.cuda.device_count()):
        try:
            torch.ones(8, 8, device=f"cuda:{number}").matmul(torch.ones(8, 8, device=f"cuda:{number}")).sum().item()
        except RuntimeError as error:
            if jobs.lacks_memory(error) or "busy" in str(error):
                taken += 1
                continue
            name = torch.cuda.get_device_name(number)
            raise UserError(
                f"GPUs: torch {torch.__version__} cannot use {name}: {str(error).splitlines()[0]}; {LEAVE_OUT}"
            ) from None
    others = f"; {taken} more are busy or full" if taken else ""
    return f"torch {torch.__version__} computes on {torch.cuda.device_count() - taken}{others}"


def none_usable() -> str:
    """Why torch has no GPU to compute on, in words."""
    import torch

    there = ", ".join(card.name for card in gpus.installed())
    if not there:
        return "there is none"
    if torch.version.cuda is None:
        return f"nvidia-smi lists {there}, but torch {torch.__version__} was built without CUDA"
    driver = f"is the driver older than CUDA {torch.version.cuda} needs?"
    return f"nvidia-smi lists {there}, but torch {torch.__version__} can use none; {driver}"


def versions() -> Check:
    """The versions of what computes, and whether Pillow's is one that resizes as the others did."""
    found = {name: fingerprint.version(name) for name in PACKAGES}
    listed = ", ".join(f"{name} {version or 'not installed'}" for name, version in found.items())
    fine = not found["pillow"] or int(found["pillow"].split(".")[0]) < 13
    remedy = "" if fine else "; Pillow 13 resizes differently: pip install 'pillow<13'"
    return Check(fine, f"versions: Python {platform.python_version()}, {listed}{remedy}")


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
    wanted = fits.wanted(recipes, study, costs.machine_of(study, results))
    checks = [*of_files(recipes), *fits.of_machine(wanted, results), *of_gpus(wanted.costs), versions()]
    return checks, work(wanted.costs, study)


def problems(recipes: Recipes, study: Study[Any], results: Path, here: bool) -> list[str]:
    """What is amiss with files, disk and memory for some products, a line each; fast, reads no file.

    here: whether the jobs run on this machine. A cluster's have a node's memory, and the disk that is seen from here.
    """
    wanted = fits.wanted(recipes, study, costs.machine_of(study, results))
    on_machine = fits.of_machine(wanted, results) if here else [checked("disk", fits.disk, wanted, results)]
    return [check.text for check in [*of_files(recipes, thorough=False), *on_machine] if not check.ok]


if __name__ == "__main__":
    of_torch = checked("GPUs", usable)
    sys.exit(None if of_torch.ok else of_torch.text)
