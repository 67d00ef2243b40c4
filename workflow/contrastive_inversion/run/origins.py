"""Where products come from: the code, the inputs and the machine that made them, for their records."""

import datetime
import functools
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrastive_inversion import __version__
from contrastive_inversion.base import files, fingerprint
from contrastive_inversion.base.fingerprint import Fingerprint
from contrastive_inversion.base.job import KEPT, Job
from contrastive_inversion.base.records import Said, identity
from contrastive_inversion.ledger.paper import JobKind

CODE = "code.json"  # in a job's folder: what it began with
BEGINNINGS = {
    "recipe_hash": "with another recipe",
    "inputs": "from other inputs",
    "device": "on another kind of device",
}


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


@functools.cache
def code_of(kind: JobKind) -> Fingerprint:
    """The code that makes a kind of product: all that its function and the class of its recipes reach."""
    starts = [kind.run, f"{kind.recipe.__module__.removeprefix('contrastive_inversion.')}:{kind.recipe.__qualname__}"]
    prepared = ["run.jobs:prepare_torch", "run.jobs:steady_attention"] if kind.computes else []
    return fingerprint.of(*starts, *prepared)


def began_with(job: Job, code: Fingerprint, inputs: Mapping[str, str | None]) -> str:
    """The digest of the code that makes a product: today's, with that of before the job was killed where it goes on.

    What a killed job left is taken up only with the recipe, the inputs and the kind of device that its note says it
    began with. What the digest stands for is kept in the study's folder `code`, so that a change can be named.
    """
    now = {"recipe_hash": job.recipe_hash, "inputs": dict(inputs), "device": job.device}
    if has_left_something(job):
        said = files.read_note(job.state / CODE, Beginning) if (job.state / CODE).exists() else {}
        if other := [words for key, words in BEGINNINGS.items() if said.get(key) != now[key]]:
            how = other[0] if said else "by an unknown recipe"
            print(f"{job.product}: was begun {how}; it begins anew", flush=True)
            job.forget()
        else:
            code = (recorded_code(job.root, said["code"]) or Fingerprint({}, {})).joined(code)
    known = job.root / "code" / f"{code.digest}.json"
    if not known.exists():
        files.write_json(known, {"definitions": code.definitions, "libraries": code.libraries})
    files.write_json(job.state / CODE, now | {"code": code.digest})
    return code.digest


def has_left_something(job: Job) -> bool:
    """Whether a killed job left what could be taken up; a folder is another product's, damaged files are set aside."""
    left = [path.name for path in job.state.iterdir() if path.is_file() and ".damaged." not in path.name]
    return bool(set(left) - {CODE, *KEPT})


def recorded_code(root: Path, code: str) -> Fingerprint | None:
    """What a recorded digest of code stands for; None where that was not kept with a study's results."""
    path = root / "code" / f"{code}.json"
    if not path.exists():
        return None
    said = files.read_note(path, Code)
    return Fingerprint(said["definitions"], said["libraries"])


def records_behind(job: Job) -> dict[str, Any]:
    """The records of a job's inputs. Raises UserError for one that is missing or damaged."""
    return {name: files.record_in(job.input(name).path) for name in job.inputs}


def read_of(behind: Mapping[str, Any]) -> dict[str, str | None]:
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
        "seconds": round(time.time() - started, 2), "inputs": read_of(behind), "made_by": made_by,
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
