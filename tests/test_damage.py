"""Damaged files: one flipped bit or a missing end is named before the file is used, or changes nothing."""

import errno
import json
import random
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tiny
from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Input, Job, Progress, file_of, is_locked
from contrastive_inversion.base.records import Origin
from contrastive_inversion.data import entries, store
from contrastive_inversion.learn import checkpoints, networks
from contrastive_inversion.learn.checkpoints import Checkpoint
from contrastive_inversion.ledger import measurements, plan
from contrastive_inversion.run import jobs, origins
from contrastive_inversion.show import progress
from test_reference import REFERENCE

RECORD = {"recipe_hash": "abc", "recipe": {"network": {"mean": [0.5, 0.25]}}, "classes": ["dog", "Übung"]}
NAMED = {"head": "own", "distortion": "rm90", "metric": "top1"}
WEIGHTS = {"b": torch.arange(12.0).reshape(3, 4), "a": torch.tensor(3), "c": torch.ones(2, dtype=torch.uint8)}


def flipped(content, place):
    """The bytes of a file with one bit turned."""
    return content[: place // 8] + bytes([content[place // 8] ^ 1 << place % 8]) + content[place // 8 + 1 :]


def versions(content, count, seed=0):
    """Damaged versions of a file: one bit turned at seeded places, and its end lost."""
    random_ = random.Random(seed)
    for _ in range(count):
        yield flipped(content, random_.randrange(8 * len(content)))
        yield content[: random_.randrange(len(content))]


def same(found, expected):
    """Whether two nests of mappings, lists and tensors are equal to the bit."""
    if isinstance(expected, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == expected


def counted(read, path, content, expected, number):
    """Read damaged versions of a file: how many were named. Those that were not must change nothing."""
    named = 0
    for version in versions(content, number):
        path.write_bytes(version)
        try:
            assert same(read(), expected)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            named += 1
    return named


def test_no_bit_of_a_product_s_tensors_or_record_changes_in_silence(tmp_path):
    path = tmp_path / "x.safetensors"
    files.save(path, WEIGHTS, RECORD)
    expected = WEIGHTS, RECORD | {"content_hash": files.content_hash(WEIGHTS)}
    tensors, record = files.load(path)
    assert same(tensors, expected[0]) and record == expected[1]
    read = lambda: list(files.load(path))  # noqa: E731
    assert counted(read, path, path.read_bytes(), list(expected), 300) > 590  # all but a few blanks behind the header


def test_no_bit_of_a_measurement_changes_in_silence(tmp_path):
    path = tmp_path / "x.json"
    record = {
        "recipe_hash": "abc", "seed": 3, "product": "measurements/x", "code": "1", "device": "cpu", "seconds": 2,
        "torch": "2",
    }  # fmt: skip
    rows = [{**NAMED, "over": "severities", "images": 9, "values": [1.5, 82.96]}]
    jobs.write(Job("measurements/x", tmp_path, "abc"), rows, record)
    (tmp_path / "measurements/x.json").rename(path)

    def read():
        content = files.read_json(path)
        measurements.check(content, path, "abc")
        return content

    assert counted(read, path, path.read_bytes(), read(), 300) > 500  # of blanks between its words a few


@pytest.mark.parametrize("text", ["no JSON", "[]", '"a"', "3", "null", "[" * 100_000, '{"a": 1' + "0" * 5000])
def test_a_record_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "x.safetensors"
    save_file(WEIGHTS, path, {"record": text})
    for read in (files.record_in, files.load):
        with pytest.raises(UserError, match=r"x.safetensors: damaged or incomplete \(.*\); delete it and run again"):
            read(path)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, "it has no record"),
        ({"recipe": {}}, "its record says of recipe_hash: missing"),
        ({"recipe": 3}, "recipe: 3 is not of type mapping"),
        ({"recipe": {"settings": 3}}, "recipe.settings: 3 is not of type mapping"),
        ({"inputs": [1]}, "inputs: .1. is not of type mapping"),
        ({"made_by": "x"}, "made_by: 'x' is not of type mapping"),
        ({"made_by": {"images/x": 3}}, "made_by.images/x: 3 is not of type string"),
        ({"device": 3}, "device: 3 is not of type string"),
    ],
)
def test_a_record_that_says_nonsense_is_named(tmp_path, said, problem):
    path = tmp_path / "x.safetensors"
    said = {"recipe_hash": "abc", **said} if "missing" not in problem and said else said
    save_file(WEIGHTS, path, {"record": json.dumps(said)})
    for read in (files.record_in, files.load):
        with pytest.raises(UserError, match=rf"x.safetensors: damaged or incomplete \(.*{problem}\); delete it and"):
            read(path)


def test_a_record_is_checked_without_reading_what_stands_behind_it(tmp_path):
    """Two hundred are before a workflow plans, some of files of gigabytes."""
    record = files.read_json(next((REFERENCE / "demo/measurements").rglob("*.json")))["record"]
    path = tmp_path / "x.safetensors"
    files.save(path, WEIGHTS, record)
    content = path.read_bytes()
    path.write_bytes(flipped(content, 8 * len(content) - 4))
    assert files.record_in(path, Origin) == record | {"content_hash": files.content_hash(WEIGHTS)}
    with pytest.raises(UserError, match="its content is not what was written"):
        files.load(path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "3", '{"record": []}', '{"record": {}, "rows": []}', '{"record": [], "rows": []}', "[" * 9**5],
)
def test_a_measurement_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UserError, match="x.json: .*(delete it|run snakemake)"):
        measurements.check(files.read_json(path), path, "abc")
    if text != '{"record": {}, "rows": []}':
        with pytest.raises(UserError, match=r"x.json: damaged or incomplete \(.*\); delete it and run again"):
            files.record_in(path)


def test_files_without_the_newer_checks_are_read_as_before(tmp_path):
    save_file(WEIGHTS, tmp_path / "x.safetensors", {"record": json.dumps(RECORD)})
    assert files.load(tmp_path / "x.safetensors")[1] == RECORD
    hashed = RECORD | {"content_hash": files.content_hash(WEIGHTS)}
    save_file(WEIGHTS, tmp_path / "y.safetensors", {"record": json.dumps(hashed)})
    assert files.load(tmp_path / "y.safetensors")[1] == hashed


def test_numpy_s_arrays_have_the_content_hash_of_torch_s_tensors():
    arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
    assert files.content_hash(arrays) == files.content_hash(WEIGHTS)


@pytest.mark.parametrize(("product", "read"), [("encoders/x", networks.load), ("images/x", store.load)])
def test_a_product_with_a_turned_bit_is_not_used(tmp_path, product, read):
    tiny.encoder(tmp_path, "x")
    tiny.store(tmp_path, "x", test=tiny.pictures(3))
    path = tmp_path / file_of(product)
    path.write_bytes(flipped(path.read_bytes(), 8 * path.stat().st_size - 4))
    with pytest.raises(UserError, match="x.safetensors: damaged or incomplete .its content is not what was written."):
        read(Input(path, tiny.HASH))


STUDY = papers.study("published")
PRODUCT = "measurements/student-rm90/imagenet100"


def test_a_damaged_product_is_made_again_and_the_log_says_so(tmp_path, capsys):
    recipe = plan.recipe(PRODUCT, STUDY)
    for _ in range(2):
        jobs.run(PRODUCT, STUDY.paper, tmp_path, recipe)
    assert "made already by this recipe" in capsys.readouterr().out
    path = tmp_path / file_of(PRODUCT)
    whole = files.read_json(path)["rows"]
    path.write_text(path.read_text().replace("82.96", "82.97", 1))
    jobs.run(PRODUCT, STUDY.paper, tmp_path, recipe)
    assert re.search(r"Warning: .*imagenet100.json: altered .* It is made again now", capsys.readouterr().out)
    assert files.read_json(path)["rows"] == whole


def test_a_job_takes_no_device_before_the_product_is_its_own_to_make(tmp_path):
    """While it waits for another process, or finds the product made, its card is another job's."""
    recipe, taken = plan.recipe(PRODUCT, STUDY), []

    def take_device():
        taken.append((is_locked(tmp_path / "state" / PRODUCT), (tmp_path / file_of(PRODUCT)).exists()))

    for _ in range(2):
        jobs.run(PRODUCT, STUDY.paper, tmp_path, recipe, take_device=take_device)
    assert taken == [(True, False)]


def training(root, seed=0):
    """A checkpoint of a small network and its optimiser in the folder of a job."""
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    job = Job("encoders/x", root, "recipe")
    job.state.mkdir(parents=True, exist_ok=True)
    return model, Checkpoint({"model": model, "optimizer": optimizer}, job)


def test_no_bit_of_a_checkpoint_changes_in_silence(tmp_path, capsys):
    _, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5])
    content, expected = checkpoint.path.read_bytes(), checkpoints.read(checkpoint.path.read_bytes())
    aside, anew = checkpoint.path.with_suffix(".damaged.pt"), 0
    for version in versions(content, 300):
        checkpoint.path.write_bytes(version)
        found = checkpoint.content()
        assert same(found, expected) or (found == {} and aside.read_bytes() == version)
        anew += found == {}
    assert anew > 400  # the archive is padded, so that its tensors begin at multiples of 64 bytes
    assert capsys.readouterr().out.count("begins anew") == anew


def test_a_training_begins_anew_after_a_damaged_checkpoint_and_ends_the_same(tmp_path, capsys):
    model, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert checkpoint.resumed() == (1, [0.5]) and same(dict(model.state_dict()), before)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-50])
    other, again = training(tmp_path, seed=1)
    untouched = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    assert again.resumed() == (0, []) and same(dict(other.state_dict()), untouched)
    assert re.search(
        r"Warning: .*checkpoint.damaged.pt: damaged checkpoint .*; encoders/x begins anew", capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"epoch": None}, "epoch: None is not of type integer"),
        ({"epoch": True}, "epoch: True is not of type integer"),
        ({"history": 3}, "history: 3 is not of type list"),
        ({"optimizer": 3}, "optimizer: 3 is not of type mapping"),
        ({"model": 3}, "'int' object has no attribute 'items'"),
    ],
)
def test_a_checkpoint_of_nonsense_begins_anew(tmp_path, capsys, said, problem):
    _, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5, float("inf")])
    content = checkpoints.read(checkpoint.path.read_bytes())
    torch.save(content | said, checkpoint.path)
    assert checkpoint.resumed() == (0, [])
    assert f"checkpoint.damaged.pt: damaged checkpoint ({problem}); encoders/x begins anew" in capsys.readouterr().out
    torch.save(content | {"optimizer": {"state": 3, "param_groups": 3}}, checkpoint.path)
    with pytest.raises(
        UserError, match="checkpoint.pt: does not fit this network .*; delete it to begin this training"
    ):
        checkpoint.resumed()


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"recipe_hash": "abc"}', '{"definitions": 3, "libraries": {}}'])
def test_a_note_of_code_that_is_none_is_named(tmp_path, text):
    job = Job("encoders/x", tmp_path, "abc")
    for folder in (job.state, tmp_path / "code"):
        folder.mkdir(parents=True)
    for path in (job.state / origins.CODE, job.state / "checkpoint.pt", tmp_path / "code/abc.json"):
        path.write_text(text)
    with pytest.raises(UserError, match=r"code.json: damaged or incomplete \(.*\); delete it and run again"):
        origins.began_with(job, None, {})
    with pytest.raises(UserError, match=r"code/abc.json: damaged or incomplete \(.*\); delete it and run again"):
        origins.recorded_code(tmp_path, "abc")


def test_a_checkpoint_of_another_network_is_named_and_kept(tmp_path):
    _, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5])
    checkpoint.parts["model"] = torch.nn.Linear(3, 3)
    with pytest.raises(
        UserError, match="checkpoint.pt: does not fit this network .*; delete it to begin this training"
    ):
        checkpoint.resumed()
    assert checkpoint.path.exists()


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch, failing):
    """Half of it is on the disk when that is full, or all of it beside the earlier one when it cannot be moved."""
    model, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.weight.data += 1
    write_bytes = type(checkpoint.path).write_bytes

    def fail(path, content):
        if failing == "write_bytes":
            write_bytes(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="checkpoint.pt: the disk is full"):
        patch.setattr(type(checkpoint.path), failing, fail)
        checkpoint.save(2, [0.5, 0.4])
    assert checkpoint.resumed() == (1, [0.5]) and same(dict(model.state_dict()), before)
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["checkpoint.pt"]


def test_a_disk_that_cannot_be_read_is_no_reason_to_begin_anew(tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    _, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5])
    monkeypatch.setattr(type(checkpoint.path), "read_bytes", fail)
    with pytest.raises(UserError, match=r"checkpoint.pt: cannot be read \(Input/output error\)"):
        checkpoint.resumed()
    assert checkpoint.path.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_not_kept(tmp_path, value, capsys):
    model, checkpoint = training(tmp_path)
    checkpoint.save(1, [0.5])
    model.weight.data[0, 0] = value
    with pytest.raises(
        UserError, match="encoders/x: weight is no finite number after epoch 2; lower the learning rate"
    ):
        checkpoint.save(2, [0.5, 0.4])
    assert checkpoint.resumed() == (1, [0.5])
    content = checkpoints.read(checkpoint.path.read_bytes())
    content["model"]["bias"][1] = value
    torch.save(content, checkpoint.path)
    assert checkpoint.resumed() == (0, []) and "bias is no finite number" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"product": "a", "state": "dead", "updated": 3}', "\xff"])
def test_a_damaged_report_of_progress_is_a_line_of_the_screen(tmp_path, text):
    Progress(Job("encoders/whole", tmp_path / "demo", ""), epochs=2, images=3).close()
    path = tmp_path / "demo/state/encoders/broken/progress.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    lines = {
        line.split("|")[2].strip(): line for line in progress.screen(tmp_path, None).splitlines() if "encoders/" in line
    }
    assert "report damaged" in lines["encoders/broken"] and "finished" in lines["encoders/whole"]
    path.unlink()
    path.mkdir()
    assert re.search(r"encoders/broken +\| report damaged", progress.screen(tmp_path, None))


def test_a_header_of_a_gigabyte_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        file.write((1 << 30).to_bytes(8, "little"))
        file.truncate((1 << 30) + 8)
    with pytest.raises(UserError, match="x.safetensors: damaged or incomplete"):
        files.load(path)


def chunk(kind, content):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_picture_that_unfolds_to_gigabytes_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    for read in (entries.size_of, entries.decode):
        with pytest.raises(UserError, match=r"bomb.png: cannot be read \(Image size .3600000000 pixels. exceeds limit"):
            read(entries.Entry(path, 0))


def test_a_damaged_picture_is_read_or_named_and_nothing_else(tmp_path):
    seen = 0
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    for ending in ("png", "jpeg", "gif"):
        path = tmp_path / f"x.{ending}"
        Image.fromarray(picture).save(path)
        for version in versions(path.read_bytes(), 100):
            path.write_bytes(version)
            try:
                assert entries.decode(entries.Entry(path, 0)).dtype == np.uint8
            except UserError as error:
                assert str(path) in str(error)
                seen += 1
    assert seen > 200
