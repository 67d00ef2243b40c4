"""Running one job: a recipe and the files of its inputs become one file, written in one piece with its record."""

import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from contrastive_inversion import __version__
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, alone
from contrastive_inversion.ledger import measurements, plan


def run(product, root, recipe_text, device="cpu", threads=1):
    """Make a product of a study.

    product: its name (see `recipes`); root: the study's folder of results; recipe_text: the canonical recipe;
    threads: how many may read and crop pictures.
    A product that is there already, made by this very recipe, is kept. Raises UserError for anything amiss.
    """
    job = Job(product, Path(root), plan.digest(recipe_text), device, threads)
    with alone(job):
        if is_made(job):
            print(f"{product}: made already by this recipe")
            return
        started = time.time()
        recipe = plan.parse(recipe_text)
        content, facts = MAKERS[recipe["kind"]](recipe, job, loader(job.root, recipe))
        record = record_of(job, recipe, started) | facts
        write(job, content, record)


def put_command_on_path():
    """Let jobs find the command beside the interpreter that runs Snakemake, its environment activated or not."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def is_made(job):
    path = job.root / plan.file_of(job.product)
    if not path.exists():
        return False
    try:
        return record_in(path).get("recipe_hash") == job.recipe_hash
    except UserError:
        return False  # damaged: make it again


def record_in(path):
    """The record of a product's file. Raises UserError if the file is missing or damaged."""
    if str(path).endswith(".json"):
        return files.read_json(path)["record"]
    with files.opened(path, "np") as file:
        return json.loads((file.metadata() or {}).get("record", "{}"))


def loader(root, recipe):
    """A function from an input product to its path and to the hash of the recipe that it must have."""

    def load(product):
        return root / plan.file_of(product), recipe["inputs"][product]

    return load


def record_of(job, recipe, started):
    """Where a product comes from: recipe, code, seed, device, durations, inputs."""
    torch = sys.modules.get("torch")
    inputs = {name: record_in(job.root / plan.file_of(name)).get("content_hash") for name in recipe["inputs"]}
    return {
        "product": job.product, "recipe": recipe, "recipe_hash": job.recipe_hash, "seed": recipe["seed"],
        "code": code_version(), "torch": torch and torch.__version__, "device": device_name(job.device),
        "started": datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 2), "inputs": inputs,
    }  # fmt: skip


def device_name(device):
    if device == "cpu":
        return f"{platform.machine()} CPU, 1 thread"
    return sys.modules["torch"].cuda.get_device_name(device)


def code_version():
    """The package's version, with the commit where the code lies in a git checkout."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+{found}"


def write(job, content, record):
    path = job.root / plan.file_of(job.product)
    if str(path).endswith(".json"):
        record["content_hash"] = measurements.content_hash(content, record)
        files.write_json(path, {"record": record, "rows": content})
    elif hasattr(content, "finish"):  # a store too large for memory
        record["content_hash"] = content.content_hash()
        content.finish(path, record)
    else:
        record["content_hash"] = files.content_hash(content)
        files.save(path, content, record)


def maker(module, function):
    """A job's function that computes with torch, its module imported only when the job runs."""

    def make(recipe, job, load):
        import torch

        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False  # float32 means float32; a study's `precision` is what rounds
        torch.set_num_threads(1)  # two jobs of two threads on two cores are 10-50 times slower
        return getattr(importlib.import_module(f"contrastive_inversion.{module}"), function)(recipe, job, load)

    return make


def transcribe(recipe, job, load):
    return recipe["rows"], {}


MAKERS = {
    "images": maker("data.prepare", "make"),
    "weights": maker("learn.published_weights", "read"),
    "clip": maker("papers.inverse_problems.teacher", "train"),
    "supervised": maker("papers.inverse_problems.baselines", "train"),
    "distill": maker("papers.inverse_problems.students", "train"),
    "contrastive": maker("papers.contrastive_robustness.pretraining", "train"),
    "classifier": maker("papers.contrastive_robustness.classifiers", "train"),
    "finetuned": maker("papers.contrastive_robustness.classifiers", "finetune"),
    "logistic": maker("papers.contrastive_robustness.probes", "fit"),
    "attack": maker("papers.contrastive_robustness.distances", "measure"),
    "heads": maker("papers.inverse_problems.probes", "fit"),
    "restore": maker("distort.restoration", "restore"),
    "measure": maker("papers.inverse_problems.accuracy", "measure"),
    "gallery": maker("papers.inverse_problems.samples", "make"),
    "transcribe": transcribe,
}
