"""Running one job: a recipe and the files of its inputs become one file, written in one piece with its record."""

import gc
import importlib
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, alone, file_of, is_measurement
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.records import identities
from contrastive_inversion.ledger import measurements, plan
from contrastive_inversion.ledger.paper import JobKind, Paper
from contrastive_inversion.run import origins

# of a CPU, CUDA's context, its libraries, and a convolution none of whose algorithms found room
LACKING = (
    "can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine",
)  # fmt: skip


def run(
    product: str, paper: Paper, root: Path, recipe_text: str, device: str = "cpu", threads: int = 1,
    take_device: Callable[[], object] | None = None,
) -> None:  # fmt: skip
    """Make a product of a study.

    product: its name (see `ledger.plan`); root: the study's folder of results; recipe_text: the canonical recipe;
    device: `cpu` or `cuda`; threads: how many may read and crop pictures; take_device: is called once the product is
    this job's to make, so that no card is held while another process makes it.
    A product that is there already, made by this very recipe, is kept. Raises UserError for anything amiss.
    """
    kind, recipe = plan.read(recipe_text, paper)
    job = Job(product, root, digest(recipe_text), recipe.inputs, device, threads)
    with alone(job):
        if is_made(job):
            print(f"{product}: made already by this recipe")
            job.forget()
            return
        if take_device:
            take_device()
        # read before: where an input is replaced meanwhile, what was made of the old one is out of date
        started, behind = time.time(), origins.records_behind(job)
        code = origins.began_with(job, origins.code_of(kind), origins.read_of(behind))
        content, facts = computed(kind, recipe, job)
        check_finite(content, job)
        write(job, content, origins.record_of(job, json.loads(recipe_text), started, behind, code) | facts)
        job.forget()


def is_made(job: Job) -> bool:
    """Whether the job's file is there, whole to the bit, and made by its recipe; it says of one that is not."""
    if not job.path.exists():
        return False
    try:
        if is_measurement(job.product):
            record = measurements.read(job.path, job.recipe_hash)["record"]
        else:
            _, record = files.load(job.path, job.recipe_hash)
        check_inputs(record, job)
    except UserError as error:
        print(f"Warning: {error}. It is made again now.", flush=True)
        return False
    return True


def check_inputs(record: Mapping[str, Any], job: Job) -> None:
    """Raise UserError if a finished product was made from other inputs than those that are there."""
    for name, made in record.get("inputs", {}).items():
        path = job.root / file_of(name)
        if path.exists() and made not in identities(files.record_in(path)):
            raise UserError(f"{job.path}: made from another {name}")


def computed(kind: JobKind, recipe: Recipe, job: Job) -> tuple[Any, dict[str, Any]]:
    """The content of a job's file and the facts for its record; the function's module is imported only now."""
    if kind.computes:
        prepare_torch()
        leave_compiler()
    module, _, function = kind.run.partition(":")
    run = getattr(importlib.import_module(f"contrastive_inversion.{module}"), function)
    gc.enable()
    try:
        if job.device == "cuda":
            prepare_gpu()
        made: tuple[Any, dict[str, Any]] = run(recipe, job)
    except (MemoryError, RuntimeError) as error:
        if lacks_memory(error):
            raise UserError(too_large(kind, job)) from None
        raise
    return made


def prepare_gpu() -> None:
    """Let torch compute on the GPU that this job holds, the same numbers every time.

    Raises UserError with torch's own first sentence where it cannot.
    """
    import torch

    try:
        torch.ones(1, device="cuda").sum().item()  # a card that torch has no kernels for says so only when one is run
    except (AssertionError, RuntimeError) as error:  # the first: a torch built for CPUs
        if lacks_memory(error):
            raise
        sentence = str(error).split(". ")[0].splitlines()[0]
        held = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise UserError(f"this job holds GPU {held}, and torch cannot use it: {sentence}") from None
    steady_attention()


def steady_attention() -> None:
    """Let attention add up its gradients in one order: on a GPU its faster kernels take one of chance."""
    import torch

    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)


def lacks_memory(error: Exception) -> bool:
    """Whether an error is that of torch or Python for memory that was not to be had, on a GPU or not."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(words in str(error) for words in LACKING)


def too_large(kind: JobKind, job: Job) -> str:
    """The line that a job ends with whose memory does not suffice."""
    on_gpu = job.device == "cuda"
    where, spare = ("the GPU's", kind.recomputing) if on_gpu else ("the machine's", kind.exact)
    exact = f"set {' or '.join(spare)}, where the numbers stay the same" if spare else ""
    lower = f"lower {' or '.join(kind.batches)}" if kind.batches else ""
    remedy = ", or ".join(filter(None, [exact, lower, "use a larger machine"]))
    in_file = "in the study file " if exact or lower else ""
    return f"{job.product}: {where} memory does not suffice; {in_file}{remedy}; finished epochs are kept"


def check_finite(content: Any, job: Job) -> None:
    """Raise UserError for rows or tensors that hold NaN or an infinity, before any file is written."""
    if is_measurement(job.product):
        broken = [f"{row['head']} on {row['distortion']}" for row in content if not is_finite(row)]
    else:
        tensors = {} if is_store(content) else content
        broken = [name for name, tensor in tensors.items() if not np.isfinite(tensor.numpy(force=True)).all()]
    if broken:
        raise UserError(
            f"{job.product}: {broken[0]} holds a value that is no finite number, so nothing was written; look at the "
            "learning rate in the study file, and at what this is made from"
        )


def is_store(content: Any) -> bool:
    """Whether a job's content is a store too large for memory (`data.packing`), which writes itself."""
    return hasattr(content, "finish")


def is_finite(row: Mapping[str, Any]) -> bool:
    """Whether a row of a measurement holds neither NaN nor an infinity."""
    try:
        canonical(row)
    except ValueError:
        return False
    return True


def prepare_torch() -> None:
    """Let torch compute the same numbers every time, on one thread."""
    import torch

    torch.backends.cudnn.deterministic = True
    # Float32 means float32, whatever a container's environment allows; a study's `precision` is what rounds.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(1)  # two jobs of two threads on two cores are 10-50 times slower


def leave_compiler() -> None:
    """Let optimisers do without torch's compiler, which most of them never meet: it takes two seconds to load.

    Each of their methods here wraps one that says what it says, and only hides it from a compiler.
    """
    from torch import no_grad, optim

    for kind in (optim.SGD, optim.Adam, optim.AdamW):
        kind.step = no_grad()(inspect.unwrap(kind.step))  # type: ignore[method-assign]
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        setattr(optim.Optimizer, name, inspect.unwrap(getattr(optim.Optimizer, name)))


def write(job: Job, content: Any, record: dict[str, Any]) -> None:
    """Write a job's file with its record: rows as JSON, tensors or a store too large for memory as safetensors."""
    if is_measurement(job.product):
        record["content_hash"] = measurements.content_hash(content, record)
        files.write_json(job.path, {"record": record, "rows": content})
    elif is_store(content):
        record["content_hash"] = content.content_hash()
        content.finish(job.path, record)
    else:
        files.save(job.path, content, record)
