"""Running one job: a recipe and the files of its inputs become one file, written in one piece with its record."""

import datetime
import functools
import gc
import importlib
import inspect
import json
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contrastive_inversion import __version__
from contrastive_inversion.base import files, fingerprint
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.fingerprint import Fingerprint
from contrastive_inversion.base.job import KEPT, Job, alone
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.records import Said, identity
from contrastive_inversion.ledger import measurements, plan
from contrastive_inversion.ledger.paper import JobKind, Paper

# of a CPU, CUDA's context, its libraries, and a convolution none of whose algorithms found room
LACKING = (
    "can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine",
)  # fmt: skip
WITHOUT_TORCH = "ledger."  # where functions lie that compute nothing
CODE = "code.json"  # in a job's folder: the code that it began with


class Beginning(Said):
    """What a job notes of its beginning: what it is made by and from; older notes lack what has a default here."""

    recipe_hash: str
    code: str
    device: str | None = None
    inputs: dict[str, str | None] | None = None


class Code(Said):
    """What is kept of the code that made a product."""

    definitions: dict[str, str]
    libraries: dict[str, str | None]


def run(product: str, paper: Paper, root: Path, recipe_text: str, device: str = "cpu", threads: int = 1) -> None:
    """Make a product of a study.

    product: its name (see `ledger.plan`); root: the study's folder of results; recipe_text: the canonical recipe;
    device: `cpu` or `cuda`; threads: how many may read and crop pictures.
    A product that is there already, made by this very recipe, is kept. Raises UserError for anything amiss.
    """
    kind, recipe = plan.read(recipe_text, paper)
    job = Job(product, root, digest(recipe_text), recipe.inputs, device, threads)
    with alone(job):
        if is_made(job):
            print(f"{product}: made already by this recipe")
            job.forget()
            return
        # read before: where an input is replaced meanwhile, what was made of the old one is out of date
        started, behind = time.time(), records_behind(job)
        code = began_with(job, code_of(kind), identities(behind))
        content, facts = computed(kind, recipe, job)
        check_finite(content, job)
        write(job, content, record_of(job, json.loads(recipe_text), started, behind, code) | facts)
        job.forget()


def prepare_environment() -> None:
    """Let every job find the Python at work here, where it has no environment of its own."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def package_folder() -> Path:
    """A folder that holds this very package, and no other library.

    A conda environment or a container brings the libraries alone, so a change of the code asks for no new one. Beside
    an installed package lie the libraries of the Python at work here, which would hide theirs; a link to it lies alone.
    """
    package = Path(__file__).parents[1]
    if package.parent.name not in ("site-packages", "dist-packages"):
        return package.parent
    folder = Path(".snakemake/package").absolute()
    link = folder / package.name
    if not link.is_symlink() or link.readlink() != package:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / uuid.uuid4().hex
        new.symlink_to(package)
        new.replace(link)  # in one step, since other Snakemakes begin meanwhile
    return folder


def is_made(job: Job) -> bool:
    """Whether the job's file is there, whole to the bit, and made by its recipe; it says of one that is not."""
    if not job.path.exists():
        return False
    try:
        if job.path.suffix == ".json":
            measurements.check(files.read_json(job.path), job.path, job.recipe_hash)
        else:
            files.load(job.path, job.recipe_hash)
    except UserError as error:
        print(f"Warning: {error}. It is made again now.", flush=True)
        return False
    return True


def computed(kind: JobKind, recipe: Recipe, job: Job) -> tuple[Any, dict[str, Any]]:
    """The content of a job's file and the facts for its record; the function's module is imported only now."""
    if needs_torch(kind):
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
    if job.path.suffix == ".json":
        broken = [f"{row['head']} on {row['distortion']}" for row in content if not is_finite(row)]
    else:
        tensors = {} if hasattr(content, "finish") else content
        broken = [name for name, tensor in tensors.items() if not np.isfinite(tensor.numpy(force=True)).all()]
    if broken:
        raise UserError(
            f"{job.product}: {broken[0]} holds a value that is no finite number, so nothing was written; look at the "
            "learning rate in the study file, and at what this is made from"
        )


def is_finite(row: Mapping[str, Any]) -> bool:
    """Whether a row of a measurement holds neither NaN nor an infinity."""
    try:
        canonical(row)
    except ValueError:
        return False
    return True


def needs_torch(kind: JobKind) -> bool:
    """Whether a kind of job computes, or only copies printed numbers."""
    return not kind.run.startswith(WITHOUT_TORCH)


@functools.cache
def code_of(kind: JobKind) -> Fingerprint:
    """The code that makes a kind of product: all that its function and the class of its recipes reach."""
    starts = [kind.run, f"{kind.recipe.__module__.removeprefix('contrastive_inversion.')}:{kind.recipe.__qualname__}"]
    prepared = ["run.jobs:prepare_torch", "run.jobs:steady_attention"] if needs_torch(kind) else []
    return fingerprint.of(*starts, *prepared)


def began_with(job: Job, code: Fingerprint, inputs: Mapping[str, str | None]) -> str:
    """The digest of the code that makes a product: today's, with that of before the job was killed where it goes on.

    What a killed job left is taken up only with the recipe, the inputs and the kind of device that it began with. What
    the digest stands for is kept in the study's folder `code`, so that a change can be named.
    """
    now = {"recipe_hash": job.recipe_hash, "inputs": dict(inputs), "device": job.device}
    if {path.name for path in job.state.iterdir()} - {CODE, *KEPT} and (job.state / CODE).exists():
        said = files.read_note(job.state / CODE, Beginning)
        if other := [key for key, value in now.items() if said.get(key) not in (None, value)]:
            print(f"{job.product}: was begun with another {other[0].replace('_', ' ')}; it begins anew", flush=True)
            job.forget()
        else:
            code = (recorded_code(job.root, said["code"]) or Fingerprint({}, {})).joined(code)
    known = job.root / "code" / f"{code.digest}.json"
    if not known.exists():
        files.write_json(known, {"definitions": code.definitions, "libraries": code.libraries})
    files.write_json(job.state / CODE, now | {"code": code.digest})
    return code.digest


def recorded_code(root: Path, code: str) -> Fingerprint | None:
    """What a recorded digest of code stands for; None where that was not kept with a study's results."""
    path = root / "code" / f"{code}.json"
    if not path.exists():
        return None
    said = files.read_note(path, Code)
    return Fingerprint(said["definitions"], said["libraries"])


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


def records_behind(job: Job) -> dict[str, Any]:
    """The records of a job's inputs. Raises UserError for one that is missing or damaged."""
    return {name: files.record_in(job.input(name).path) for name in job.inputs}


def identities(behind: Mapping[str, Any]) -> dict[str, str | None]:
    """What a job reads of its inputs, as hashes, by their records."""
    return {name: identity(record) for name, record in behind.items()}


def record_of(
    job: Job, recipe: dict[str, Any], started: float, behind: Mapping[str, Any], code: str = ""
) -> dict[str, Any]:
    """Where a product comes from: recipe, code, seed, device, durations, inputs.

    behind: its inputs' records; code: the digest of the code that made it, where that is known. In what is returned,
    inputs: hashes of what was read of them; made_by: the code behind the product and all that it is made from.
    """
    torch = sys.modules.get("torch")
    made_by = {name: made for record in behind.values() for name, made in record.get("made_by", {}).items()}
    if code:
        made_by[job.product] = code
    return {
        "product": job.product, "recipe": recipe, "recipe_hash": job.recipe_hash, "seed": recipe["seed"],
        "code": code_version(), "torch": torch and torch.__version__, "device": device_name(job.device),
        "started": datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 2), "inputs": identities(behind), "made_by": made_by,
    } | gpu_memory(job)  # fmt: skip


def gpu_memory(job: Job) -> dict[str, float]:
    """The peak of the GPU's memory in GB, for a record; nothing of a job on a CPU."""
    if job.device == "cpu":
        return {}
    return {"gpu_gb": round(sys.modules["torch"].cuda.max_memory_reserved() / 1e9, 2)}


def device_name(device: str) -> str:
    """What a person calls the device."""
    if device == "cpu":
        return f"{platform.machine()} CPU, 1 thread"
    return str(sys.modules["torch"].cuda.get_device_name(device))


def device_kind(name: str) -> str:
    """`cpu` or `cuda`, of what a person calls a device."""
    return "cpu" if not name or name.endswith("CPU, 1 thread") else "cuda"


def code_version() -> str:
    """The package's version, with the commit where the code lies in a git checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+{commit.strip()}"


def write(job: Job, content: Any, record: dict[str, Any]) -> None:
    """Write a job's file with its record: rows as JSON, tensors or a store too large for memory as safetensors."""
    if job.path.suffix == ".json":
        record["content_hash"] = measurements.content_hash(content, record)
        files.write_json(job.path, {"record": record, "rows": content})
    elif hasattr(content, "finish"):  # a store too large for memory
        record["content_hash"] = content.content_hash()
        content.finish(job.path, record)
    else:
        files.save(job.path, content, record)
