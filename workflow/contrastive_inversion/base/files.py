"""Files that jobs hand on: safetensors or JSON, written in one piece, carrying the record of how they were made."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.records import Record
from contrastive_inversion.base.settings import misfit

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well, remove it when not.

    Raises UserError on a full disk or a folder that cannot be written; `path` itself is then untouched.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        with writable(path):
            yield Path(name)
            Path(name).chmod(0o644)
            Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def durable(path: Path) -> Iterator[Path]:
    """`atomic`, and on the disk before it is moved: should the machine die, the old file or the new one is whole."""
    with atomic(path) as temporary:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Raise UserError on a full disk or a place that cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "the disk is full; free some space and run again, finished work is kept"
        else:
            remedy = f"cannot be written ({error.strerror or error}); nothing was lost, mend this and run again"
        raise UserError(f"{path}: {remedy}") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file in one piece. Raises ValueError on NaN."""
    with durable(path) as temporary:
        temporary.write_text(
            json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def save(path: Path, tensors: Mapping[str, "torch.Tensor"], record: Mapping[str, Any]) -> None:
    """Write tensors and a record (a JSON-able dict), which gets their content hash, as one safetensors file.

    Raises UserError on a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with durable(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata_of({**record, "content_hash": content_hash(contiguous)}))
        except SafetensorError as error:  # how safetensors reports a failing disk
            full = "os error 28" in str(error)
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from None


def metadata_of(record: Mapping[str, Any]) -> dict[str, str]:
    """A record as a safetensors file's metadata have it, with its own sha256: networks are built by what it says."""
    text = json.dumps(record, ensure_ascii=False)
    return {"record": text, "sha256": digest(text)}


def damaged(path: Path, reason: object) -> UserError:
    return UserError(f"{path}: damaged or incomplete ({reason}); delete it and run again")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise UserError for a file that is missing, may not be read, or is none."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run snakemake to make it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


@contextlib.contextmanager
def opened(path: Path, framework: str) -> Iterator[Any]:
    """A safetensors file opened for reading. Raises UserError for a missing or damaged file."""
    from safetensors import SafetensorError, safe_open

    with readable(path), open(path, "rb"):
        pass  # safetensors calls a file missing that it may not read
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        raise damaged(path, error) from None


def record_in(path: Path, model: type[Record] = Record) -> dict[str, Any]:
    """The record of a product's file, its content left unread. Raises UserError if it is missing or damaged.

    model: what the record has to say.
    """
    if path.suffix == ".json":
        content = read_json(path)
        record = content.get("record") if isinstance(content, dict) else None
    else:
        with opened(path, "np") as file:
            record = record_of(file.metadata() or {}, path)
    if not isinstance(record, dict) or not record:
        raise damaged(path, "it has no record")
    if problem := misfit(model, record):
        raise damaged(path, f"its record says of {problem}")
    return record


def record_of(metadata: Mapping[str, str], path: Path) -> Any:
    """The record in a safetensors file's metadata; older files have it without its sha256. Raises UserError."""
    text = metadata.get("record", "{}")
    if metadata.keys() - {"record", "sha256"} or metadata.get("sha256", digest(text)) != digest(text):
        raise damaged(path, "its record is not what was written")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def load(path: Path, recipe_hash: str | None = None, framework: str = "pt") -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors (torch, or numpy with framework="np") and the record of a safetensors file.

    A tensor with digests of its parts beside it may be larger than memory: it is `mapped`, and its file is numpy's.
    Raises UserError if the file is missing, made by another recipe than `recipe_hash`, or damaged: if one bit of it is
    not what was written.
    """
    record = record_in(path)
    check_recipe(path, record, recipe_hash)
    large = in_parts(path)
    # torch's reader maps a whole file privately, which a kernel refuses beyond its memory
    with opened(path, "np" if large else framework) as file:
        tensors = {name: file.get_tensor(name) for name in set(file.keys()) - large}
    tensors |= {name: mapped(path, name) for name in large}
    check_content(path, tensors, record)
    return tensors, record


def in_parts(path: Path) -> set[str]:
    """The tensors of a file that stand beside digests of their parts."""
    with opened(path, "np") as file:
        names = set(file.keys())
    return {name for name in names if f"{name}.sha256" in names}


def mapped(path: Path, name: str) -> np.ndarray:
    """The bytes of a tensor as a read-only map that processes share: uint8, flat, and none of it in memory yet."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start, stop = json.loads(file.read(length))[name]["data_offsets"]
    return np.memmap(path, np.uint8, "r", 8 + length + start, stop - start)


def check_content(path: Path, tensors: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raise UserError unless the tensors of a file have the content hash of its record, where that holds one."""
    if record.get("content_hash") not in (None, content_hash(tensors)):
        raise damaged(path, "its content is not what was written")


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises UserError for a missing or damaged file."""
    try:
        with readable(path):
            return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def read_note(path: Path, model: type[BaseModel]) -> Any:
    """A small JSON file's content. Raises UserError for a missing or damaged file, or what does not fit a model."""
    content = read_json(path)
    if problem := misfit(model, content):
        raise damaged(path, problem)
    return content


def check_recipe(path: Path, record: Mapping[str, Any], recipe_hash: str | None) -> None:
    """Raise UserError if a record's recipe is not the one that the study asks for."""
    made_by = record.get("recipe_hash")
    if recipe_hash is not None and made_by != recipe_hash:
        raise UserError(
            f"{path}: made by recipe {str(made_by)[:12]}, but the study asks for {recipe_hash[:12]}; "
            "run snakemake to make it anew, or delete it"
        )


def content_hash(tensors: Mapping[str, Any]) -> str:
    """sha256 over names, types, shapes and bytes of tensors, sorted by name: the identity of their content.

    tensors: torch's or numpy's, with the same result. One that stands beside digests of its parts, `<name>.sha256`, is
    left out: these are hashed, and its parts are checked as they are read.
    """
    sha256 = hashlib.sha256()
    for name in sorted(name for name in tensors if f"{name}.sha256" not in tensors):
        tensor = tensors[name]
        array = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor
        sha256.update(f"{name} torch.{array.dtype} {tuple(array.shape)}".encode())
        sha256.update(array.reshape(-1).view("uint8"))
    return sha256.hexdigest()


def sha256(path: Path) -> str:
    """A file's sha256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sum(path: Path, expected: str) -> None:
    """Raise UserError unless a file's sha256 begins with the expected digits."""
    digits = sha256(path)
    if not digits.startswith(expected):
        raise UserError(
            f"{path}: sha256 {digits[:16]}..., expected {expected[:16]}...; "
            "it is another file, or was not fetched whole: fetch it again"
        )
