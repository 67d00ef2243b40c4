"""Files that jobs hand on: written in one piece, with their record, and read with one-line errors."""

import errno
import hashlib

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError

TENSORS = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor([0.5, -1.0]), "c": torch.ones(0, 4, dtype=torch.uint8)}


def test_a_file_appears_whole_with_its_folders(tmp_path):
    path = tmp_path / "new folder" / "x.txt"
    with files.atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
        temporary.write_text("whole")
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_stays_as_it_was_where_writing_fails(tmp_path):
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/x.txt: cannot be written \(.+\); nothing was lost, mend this"):
        files.write_text(tmp_path / "file" / "x.txt", "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), "x.safetensors: the disk is full; free some space and run again"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "x.safetensors: the disk is full"),
        (SafetensorError("I/O error (os error 5)"), r"x.safetensors: cannot be written \(I/O error \(os error 5\)\)"),
    ],
)
def test_a_failing_disk_is_one_clear_error(tmp_path, monkeypatch, error, message):
    def fail(tensors, path, metadata):
        path.write_bytes(b"a part")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(UserError, match=message):
        files.save(tmp_path / "x.safetensors", TENSORS, {})
    assert list(tmp_path.iterdir()) == []


def test_tensors_and_record_come_back_as_they_were(tmp_path):
    path, record = tmp_path / "x.safetensors", {"recipe_hash": "abc", "note": "Übung", "losses": [1.5]}
    files.save(path, TENSORS | {"d": TENSORS["b"].T}, record)
    for recipe_hash in (None, "abc"):
        tensors, found = files.load(path, recipe_hash)
        assert found == record | {"content_hash": files.content_hash(tensors)} and tensors.keys() == {*TENSORS, "d"}
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
        assert torch.equal(tensors["d"], TENSORS["b"].T) and tensors["c"].dtype == torch.uint8
    arrays, _ = files.load(path, framework="np")
    assert isinstance(arrays["b"], np.ndarray) and arrays["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert files.record_in(path) == found
    with pytest.raises(
        UserError, match="x.safetensors: made by recipe abc, but the study asks for 0{12}; run snakemake"
    ):
        files.load(path, "0" * 64)


def test_a_file_without_a_record_is_no_product(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors")
    for read in (files.record_in, files.load):
        with pytest.raises(UserError, match=r"x.safetensors: damaged or incomplete \(it has no record\); delete it"):
            read(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["x.safetensors", "x.json"])
def test_a_missing_or_damaged_file_is_one_clear_error(tmp_path, name):
    path = tmp_path / name
    readers = [files.record_in, files.read_json if name == "x.json" else files.load]
    for read in readers:
        with pytest.raises(UserError, match=f"{name}: missing; run snakemake to make it"):
            read(path)
    if name == "x.json":
        files.write_json(path, {"record": {"recipe_hash": "abc", "note": "ü"}, "rows": [1]})
        assert files.record_in(path) == {"recipe_hash": "abc", "note": "ü"} and files.read_json(path)["rows"] == [1]
    else:
        files.save(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:-9])
    for read in readers:
        with pytest.raises(UserError, match=f"{name}: damaged or incomplete .*; delete it and run again"):
            read(path)


def test_json_is_read_by_people_too(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": "ü"})
    assert (tmp_path / "x.json").read_bytes() == '{\n "a": "ü"\n}\n'.encode()
    (tmp_path / "x.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match="damaged or incomplete"):
        files.read_json(tmp_path / "x.json")


def test_a_content_hash_covers_names_types_shapes_and_bytes_whatever_their_order():
    expected = hashlib.sha256()
    for header, values in (
        (b"a torch.float32 (2,)", np.array([0.5, -1.0], "<f4")),
        (b"b torch.int64 (2, 3)", np.arange(6, dtype="<i8")),
        (b"c torch.uint8 (0, 4)", np.zeros(0, np.uint8)),
    ):
        expected.update(header + values.tobytes())
    assert files.content_hash(TENSORS) == expected.hexdigest()
    assert files.content_hash(dict(reversed(TENSORS.items()))) == expected.hexdigest()
    assert files.content_hash(TENSORS | {"b": TENSORS["b"].T.contiguous().T}) == expected.hexdigest()


def test_a_file_s_checksum_begins_with_the_published_digits(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"abc")
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    files.check_sum(path, published)
    files.check_sum(path, published[:8])
    for wrong in ("ca7816bf", published[:-1] + "e"):
        with pytest.raises(
            UserError, match=f"sha256 ba7816bf8f01cfea..., expected {wrong[:16]}...; it is another file"
        ):
            files.check_sum(path, wrong)
