"""Files that jobs hand on: safetensors or JSON, written in one piece, carrying the record of how they were made."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path

from contrastive_inversion.base.errors import UserError


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; move it there when the block ends well, remove it when not.

    Raises UserError on a full disk or a folder that cannot be written; `path` itself is then untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(write_failure(path, error)) from None
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise UserError(write_failure(path, error)) from None
    finally:
        Path(name).unlink(missing_ok=True)


def write_failure(path, error):
    if error.errno == errno.ENOSPC:
        return f"{path}: the disk is full; free some space and run again, finished work is kept"
    return f"{path}: cannot be written ({error.strerror or error}); nothing was lost, mend this and run again"


def write_text(path, text):
    """Write a text file in one piece."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, content):
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def save(path, tensors, record):
    """Write torch tensors and a record (a JSON-able dict) as one safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(contiguous, temporary, {"record": json.dumps(record, ensure_ascii=False)})
        except SafetensorError as error:  # how safetensors reports a failing disk
            full = "os error 28" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from None


@contextlib.contextmanager
def opened(path, framework):
    """A safetensors file opened for reading. Raises UserError for a missing or damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run snakemake to make it") from None
    except SafetensorError as error:
        raise UserError(f"{path}: damaged or incomplete ({error}); delete it and run again") from None


def load(path, recipe_hash=None, framework="pt"):
    """The tensors (torch, or numpy with framework="np") and the record of a safetensors file.

    Raises UserError if the file is missing, damaged, or made by another recipe than `recipe_hash`.
    """
    with opened(path, framework) as file:
        record = json.loads((file.metadata() or {}).get("record", "{}"))
        check_recipe(path, record, recipe_hash)
        return {name: file.get_tensor(name) for name in file.keys()}, record  # noqa: SIM118, it is no dict


def read_json(path):
    """A JSON file's content. Raises UserError for a missing or truncated file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run snakemake to make it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged or incomplete ({error}); delete it and run again") from None


def check_recipe(path, record, recipe_hash):
    """Raise UserError if a record's recipe is not the one that the study asks for."""
    found = record.get("recipe_hash")
    if recipe_hash is not None and found != recipe_hash:
        raise UserError(
            f"{path}: made by recipe {str(found)[:12]}, but the study asks for {recipe_hash[:12]}; "
            "run snakemake to make it anew, or delete it"
        )


def content_hash(tensors):
    """sha256 over names, types, shapes and bytes of torch tensors: the identity of their content."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def check_sum(path, expected):
    """Raise UserError unless a file's sha256 begins with the expected digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    if not digest.hexdigest().startswith(expected):
        raise UserError(
            f"{path}: sha256 {digest.hexdigest()[:16]}..., expected {expected[:16]}...; "
            "it is another file, or was not fetched whole: fetch it again"
        )
