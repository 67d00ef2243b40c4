"""Whether this machine has what a study needs, a line for each thing: data, weights, disk, GPUs, versions.

The workflow asks the same of what a run is about to read, before any job starts.
"""

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import dataclass

from contrastive_inversion.base import machine, studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import readers
from contrastive_inversion.ledger import plan

PACKAGES = ("torch", "torchvision", "open_clip_torch", "snakemake", "pillow", "numpy")
# Images per second of one H100 (16 bits, channels last, not compiled), worked out from published throughputs of
# ResNets; not measured here. In float32 without TF32 about 2.5 times fewer.
RATES = {"distill": 1150, "supervised": 1700, "embed": 6000}
SLOWER_IN_FP32 = 2.5
TRAININGS = ("clip", "supervised", "distill", "contrastive", "classifier", "finetuned")
BYTES_PER_PICTURE = 615_000  # decoded, the mean over ImageNet
LARGE = ("weights", "supervised", "distill")  # products that hold a ResNet-101
BYTES_PER_MODEL, BYTES_PER_STATE = 230e6, 900e6  # of one that is finished; of one with its optimiser's state
STUDENT_GIB = 30  # GPU memory of a student at batch 256, worked out, not measured


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, and whether it will do."""

    ok: bool
    text: str

    def __str__(self):
        return f"{'✓' if self.ok else '✗'} {self.text}"


def checked(text, function, *arguments):
    """A Check that holds unless the function raises UserError, whose message is then the text."""
    try:
        found = function(*arguments)
    except UserError as error:
        return Check(False, str(error))
    return Check(True, text + (f": {found}" if found else ""))


def products_for(targets, study_name):
    """All products behind some targets (`table_1`, `figure_3`), of the whole study where none is named."""
    from contrastive_inversion.show import figures, tables

    study = studies.load(study_name)
    known = {f"table_{n}": (tables, n) for n in study["tables"]} | {
        f"figure_{n}": (figures, n) for n in study["figures"]
    }
    found = {}
    for target in targets or [*known, "measurements"]:
        if target not in known and target != "measurements":
            raise UserError(f"study {study_name} has no target '{target}'; known: {', '.join(known)}")
        module, number = known.get(target, (None, None))
        for product in module.needed(number, study_name) if module else plan.study_measurements(study_name):
            add_with_inputs(product, study_name, found)
    return found


def add_with_inputs(product, study_name, found):
    """Put a product and all that it is made from into `found`: {product: parsed recipe}."""
    if product not in found:
        found[product] = plan.parse(plan.recipe(product, study_name))
        for needed in found[product]["inputs"]:
            add_with_inputs(needed, study_name, found)


def data_set(recipe):
    """Look at a data set's files without reading them. Returns what was found; raises UserError for what is amiss."""
    source = recipe["settings"]["source"]
    root = machine.folder(readers.key_of(source))
    if source in readers.ARCHIVES:
        folder = readers.ARCHIVES[source]
        if not (root / folder).is_dir():
            raise machine.wrong(readers.key_of(source), root, f"has no {folder}")
        return str(root / folder)
    counts = {split: len(entries) for split, entries in readers.entries(recipe).items()}
    if source == "imagenet-c":
        return f"{root}, {len(counts)} folders of {next(iter(counts.values()))} images"
    return f"{root}, " + ", ".join(f"{count:,} images for {split}" for split, count in counts.items())


def weights(recipe, thorough):
    """Look at a file of published weights, its checksum too where there is time for it."""
    from contrastive_inversion.base.files import check_sum

    path = machine.weights_file(recipe["settings"]["weights"])
    if thorough:
        check_sum(path, recipe["settings"]["sha256"])
    return f"{path}, sha256 as published" if thorough else str(path)


def of_files(products, thorough=True):
    """Checks of every data set and every file of weights that some products are read from."""
    checks = []
    for product, recipe in products.items():
        if recipe["kind"] == "images" and readers.key_of(recipe["settings"]["source"]):
            checks.append(checked(f"data, {recipe['data']}", data_set, recipe))
        if recipe["kind"] == "weights":
            checks.append(checked(f"weights, {product.split('/')[1]}", weights, recipe, thorough))
    return list(dict.fromkeys(checks))  # a folder that is missing is missed once


def disk_needed(products):
    """Bytes that a run writes, roughly: packed pictures, models, and the state of trainings under way."""
    pictures = 0
    if machine.stores_pixels():
        packed = [r["settings"] for r in products.values() if r["kind"] == "images"]
        packed = [s for s in packed if s["source"] == "imagenet"]
        pictures = sum(s.get("train", 0) + s.get("test", 0) for s in packed)
    large = [recipe["kind"] for recipe in products.values() if recipe["kind"] in LARGE]
    trainings = sum(kind != "weights" for kind in large)
    return pictures * BYTES_PER_PICTURE + len(large) * BYTES_PER_MODEL + trainings * BYTES_PER_STATE


def of_disk(products, results):
    needed, free = disk_needed(products), shutil.disk_usage(results if results.exists() else ".").free
    remedy = "" if free > needed else "; free some space, move results, or set store: jpeg in config.yaml"
    return Check(free > needed, f"disk: about {needed / 1e9:.0f} GB needed, {free / 1e9:.0f} GB free{remedy}")


def gpus():
    """Every GPU's name and memory in GiB."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []
    return [(name.strip(), float(mib) / 1024) for name, mib in (line.rsplit(",", 1) for line in listed)]


def of_gpus(study, products):
    if not study["gpu"]:
        return [Check(True, "GPUs: none needed")]
    found = gpus()
    if not found:
        return [Check(False, "GPUs: none visible (nvidia-smi finds none); this study trains on GPUs")]
    needed = STUDENT_GIB if any(recipe["kind"] == "distill" for recipe in products.values()) else 0
    return [gpu_check(name, gib, needed) for name, gib in found]


def gpu_check(name, gib, needed):
    advice = "" if gib > needed else f"; a student at batch 256 takes about {needed} GiB"
    return Check(gib > needed, f"GPU: {name}, {gib:.0f} GiB{advice}")


def versions():
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    pillow = int(importlib.metadata.version("pillow").split(".")[0])
    remedy = "" if pillow < 13 else "; Pillow 13 resizes differently: pip install 'pillow<13'"
    return Check(pillow < 13, f"versions: Python {platform.python_version()}, {found}{remedy}")


def gpu_hours(products):
    """H100 hours of all trainings and of the probes' passes, from RATES."""
    images = {name: r["settings"].get("train", 0) for name, r in products.items() if r["kind"] == "images"}
    seconds = 0.0
    for recipe in products.values():
        if recipe["kind"] in ("distill", "supervised"):
            slower = 1 if recipe["settings"].get("precision", "fp32") != "fp32" else SLOWER_IN_FP32
            seconds += slower * recipe["settings"]["epochs"] * images[recipe["train"]] / RATES[recipe["kind"]]
        if recipe["kind"] == "heads":
            passes = {str(probe["distortion"]): recipe["settings"]["full"]["epochs"] for probe in recipe["probes"]}
            seconds += SLOWER_IN_FP32 * sum(passes.values()) * images[recipe["train"]] / RATES["embed"]
    return seconds / 3600


def work(products):
    """What a run has to do, in one line."""
    trainings = sum(recipe["kind"] in TRAININGS for recipe in products.values())
    return f"{len(products)} jobs to measure, {trainings} of them trainings"


def examine(study_name, targets, results):
    """All checks of a study on this machine, and a sentence on the work that it is."""
    study, products = studies.load(study_name), products_for(targets, study_name)
    checks = [*of_files(products), of_disk(products, results), *of_gpus(study, products), versions()]
    said = work(products)
    hours = gpu_hours(products)
    if study["gpu"] and hours:
        said += (
            f"; about {hours:.0f} GPU hours on H100s, without the tests "
            "(worked out from published throughputs, not measured)"
        )
    return checks, said


def problems(products):
    """What is amiss with the files that some products are read from, a line each; fast, reads no file."""
    return [check.text for check in of_files(products, thorough=False) if not check.ok]
