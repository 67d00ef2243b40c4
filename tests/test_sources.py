"""The readers of the published data sets, on small files of the exact published formats, good and bad."""

import dataclasses
import errno
import hashlib
import itertools
import json
import pickle
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import formats
from contrastive_inversion.base import files, machine, rng
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Input, Job
from contrastive_inversion.data import batches, crops, imagenet_classes, packing, prepare, readers, store
from contrastive_inversion.data import entries as entries_of
from contrastive_inversion.data.settings import Images, Pictures
from contrastive_inversion.distort import names
from contrastive_inversion.papers import paper
from contrastive_inversion.run import jobs
from formats import WNIDS

PICTURES = Pictures(image_size=224, crop="resized", flip=0.5)


@pytest.fixture
def imagenet(tmp_path):
    """A folder with a space and an umlaut in its name, an image of each class and split, the odd ones among them."""
    root = tmp_path / "Bilder für ImageNet"
    formats.imagenet(root)
    use(imagenet=root)
    return root


def use(store="pixels", **folders):
    places = {"data": {key: str(path) for key, path in folders.items()}, "store": store}
    machine.export(machine.Config.model_validate(places))


def recipe(**settings):
    common = {"source": "imagenet", "classes": "imagenet100_wnids.txt", "train": 103, "test": 100, "resize": 256}
    return Images.of(data="imagenet100", settings=common | settings, image_size=224, seed=1)


def recipe_of(source):
    return Images.of(data=source, settings={"source": source}, image_size=224, seed=1)


def entries(**settings):
    return readers.entries(recipe(**settings).settings)


def store_of(root, wanted):
    """A data set's store as its job writes it."""
    text = canonical({"kind": "images", "version": 1} | wanted.said())
    jobs.run("images/imagenet100", paper("inverse_problems"), root, text)
    return Input(root / "images/imagenet100.safetensors", digest(text))


def packed(root):
    """A packed store, its record written."""
    job = Job("images/imagenet100", root, "hash")
    content, _ = prepare.make(recipe(), job)
    record = {"recipe": recipe().said(), "recipe_hash": "hash", "content_hash": content.content_hash()}
    content.finish(job.path, record)
    return Input(job.path, "hash")


def test_a_packed_store_holds_every_picture_as_decoded(imagenet, tmp_path):
    source = packed(tmp_path)
    train = store.split(source, "train")
    listed = entries()["train"]
    assert len(train) == 103 and train.labels.tolist() == [entry.label for entry in listed]
    for i, entry in enumerate(listed):
        assert np.array_equal(train.picture(i), entries_of.decode(entry))
    assert train.settings == recipe().settings and (train.name, train.classes) == ("train", 100)
    tensors, record = store.load(source)
    digests = [hashlib.sha256(train.picture(i).tobytes()).digest() for i in range(103)]
    assert tensors["train/pixels.sha256"].numpy().tobytes() == b"".join(digests)
    index = {name: tensor for name, tensor in tensors.items() if not name.endswith("pixels")}
    assert record["content_hash"] == files.content_hash(index) == files.content_hash(tensors)


def test_a_damaged_picture_is_named_when_it_is_read_and_its_neighbours_are_used(imagenet, tmp_path):
    source = packed(tmp_path)
    train, content = store.split(source, "train"), bytearray(source.path.read_bytes())
    place = content.index(train.picture(7).tobytes())
    expected = [train.picture(i).copy() for i in (6, 8)]
    content[place + 100] ^= 4
    damaged = tmp_path / "images/damaged.safetensors"
    damaged.write_bytes(content)
    train = store.split(Input(damaged, "hash"), "train")
    assert all(np.array_equal(train.picture(i), picture) for i, picture in zip((6, 8), expected, strict=True))
    with pytest.raises(UserError, match="damaged.safetensors: damaged or incomplete .picture 7 is not what was packed"):
        train.picture(7)


@pytest.mark.parametrize("tensor", ["labels", "sizes", "offsets", "pixels.sha256"])
def test_a_damaged_index_is_named_before_a_picture_is_read(imagenet, tmp_path, tensor):
    source = packed(tmp_path)
    content = bytearray(source.path.read_bytes())
    place = content.index(store.load(source)[0][f"train/{tensor}"].numpy().tobytes())
    content[place + 9] ^= 1
    damaged = tmp_path / "images/damaged.safetensors"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged.safetensors: damaged or incomplete .its content is not what was"):
        store.split(Input(damaged, "hash"), "train")


def test_odd_files_load_as_the_authors_loader_did(imagenet):
    for name, shape in (("cmyk", (40, 60, 3)), ("png", (40, 60, 3)), ("rotated", (21, 51, 3))):
        path = next(imagenet.rglob(f"{name}.JPEG"))
        with open(path, "rb") as file:
            expected = np.asarray(Image.open(file).convert("RGB"))
        found = entries_of.decode(entries_of.Entry(path, 0))
        assert found.shape == shape and np.array_equal(found, expected)  # the EXIF rotation is left alone


def test_batches_of_a_packed_store_are_torchvision_s_crops(imagenet, tmp_path):
    data = store.split(packed(tmp_path), "test")
    index = torch.tensor([7, 0, 99])
    batch = batches.test_batch(data, index, PICTURES)
    expected = crops.for_testing(data.picture(7), 256, 224)
    assert batch.shape == (3, 3, 224, 224)
    assert torch.equal(batch[0], torch.from_numpy(expected.copy()).permute(2, 0, 1).float() / 255)
    first, again = (batches.training_batch(data, index, PICTURES, 1, 0) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, batches.training_batch(data, index, PICTURES, 1, 1))
    assert torch.equal(batches.training_batch(data, index.flip(0), PICTURES, 1, 0), first.flip(0))
    expected = crops.for_training(data.picture(99), crops.draws_of(1, "test", index, 0)[2], 224, 0.5, crops.SCALE)
    assert torch.equal(first[2], torch.from_numpy(expected.copy()).permute(2, 0, 1).float() / 255)


def test_a_share_of_the_study_s_own_and_a_flip_of_the_data_set_s_own_are_obeyed(imagenet, tmp_path):
    data = store.split(packed(tmp_path), "train")
    index, draws = torch.arange(30), crops.draws_of(1, "train", torch.arange(30), 0)
    part = batches.training_batch(data, index, PICTURES.but(scale=[0.9, 1.0], flip=0), 1, 0)
    expected = [crops.for_training(data.picture(i), draws[i], 224, 0, (0.9, 1.0)) for i in range(30)]
    assert torch.equal(part, batches.as_floats(batches.stacked(expected)))
    always = dataclasses.replace(data, settings=data.settings.but(flip=1))
    mirrored = batches.training_batch(always, index, PICTURES.but(scale=[0.9, 1.0], flip=0), 1, 0)
    assert torch.equal(mirrored, part.flip(3))
    whole = dataclasses.replace(data, settings=data.settings.but(training_crop="whole", flip=0))
    expected = [crops.for_testing(data.picture(i), 224, 224) for i in range(30)]
    assert torch.equal(
        batches.training_batch(whole, index, PICTURES, 1, 0), batches.as_floats(batches.stacked(expected))
    )


def test_threads_make_the_same_batches_in_the_same_order(imagenet, tmp_path, monkeypatch):
    data, index, asked, pool = store.split(packed(tmp_path), "train"), torch.arange(40), [], batches.pool
    monkeypatch.setattr(batches, "pool", lambda threads: asked.append(threads) or pool(threads))
    several = Job("", tmp_path, "", threads=4)
    for make in (lambda job: batches.training_batch(data, index, PICTURES, 1, 0, job),
                 lambda job: batches.test_batch(data, index, PICTURES, job)):  # fmt: skip
        assert torch.equal(make(several), make(batches.CPU))
    assert asked == [4, 4]  # a job of one thread starts no other


def test_batches_are_made_on_the_job_s_device(imagenet, tmp_path):
    packed_data, squares = store.split(packed(tmp_path), "train"), store.Split(SQUARES, torch.arange(6), "train")
    job, random = Job("", tmp_path, "", device="meta"), Pictures(image_size=16, crop="random")
    for data, pictures in ((packed_data, PICTURES), (squares, random)):
        made = [batches.training_batch(data, torch.arange(4), pictures, 1, 0, job)]
        made += next(iter(batches.test_batches(data, pictures, 4, job)))
        assert [tensor.device.type for tensor in made] == ["meta"] * 3


SQUARES = torch.arange(6 * 20 * 24 * 3, dtype=torch.int32).remainder(251).to(torch.uint8).view(6, 20, 24, 3)


@pytest.mark.parametrize("crop", ["random", "padded"])
@pytest.mark.parametrize("flip", [0, 0.5, 1])
def test_squares_are_cut_out_of_stored_squares_where_their_draws_say(crop, flip):
    data, index = store.Split(SQUARES, torch.arange(6), "train"), torch.tensor([4, 0, 5, 4])
    pictures = Pictures(image_size=16, crop=crop, flip=flip)
    batch = batches.training_batch(data, index, pictures, 3, 2)
    assert batch.dtype == torch.float32 and batch.is_contiguous(memory_format=torch.channels_last)
    margin = 4 if crop == "padded" else 0
    for square, i, (down, right, mirror) in zip(
        batch, index, rng.uniform(3, 3, "crop/train", index, 2).tolist(), strict=True
    ):
        stored = np.pad(SQUARES[i].numpy(), ((margin, margin), (margin, margin), (0, 0)))
        top, left = int(down * (20 + 2 * margin - 16 + 1)), int(right * (24 + 2 * margin - 16 + 1))
        expected = stored[top : top + 16, left : left + 16]
        expected = expected[:, ::-1] if mirror < flip else expected
        assert np.array_equal((square.permute(1, 2, 0) * 255).round().byte().numpy(), expected)


def test_stored_squares_are_tested_at_their_centre_in_batches():
    data = store.Split(SQUARES, torch.arange(6), "test")
    found = list(batches.test_batches(data, Pictures(image_size=16, crop="random"), 4))
    assert [index.tolist() for index, _ in found] == [[0, 1, 2, 3], [4, 5]]
    centres = SQUARES[:, 2:18, 4:20].permute(0, 3, 1, 2).float() / 255
    assert torch.equal(torch.cat([batch for _, batch in found]), centres)
    chosen = torch.tensor([5, 1])
    ((index, batch),) = batches.test_batches(data, Pictures(image_size=16, crop="random"), 4, chosen=chosen)
    assert torch.equal(index, chosen) and torch.equal(batch, centres[chosen])


def test_pictures_of_any_size_are_no_squares(imagenet, tmp_path):
    data = store.split(packed(tmp_path), "train")
    with pytest.raises(UserError, match="the train pictures have sizes of their own: they need `crop: resized`"):
        batches.training_batch(data, torch.arange(2), PICTURES.but(crop="random"), 1, 0)
    unsized = dataclasses.replace(data, settings=data.settings.model_copy(update={"resize": None}))
    with pytest.raises(UserError, match="they need `crop: resized` and a `resize`"):
        batches.test_batch(unsized, torch.arange(2), PICTURES)


def test_positions_are_chosen_by_class_and_evenly():
    data = store.Split(SQUARES, torch.tensor([2, 0, 2, 1, 0, 2]), "test")
    assert data.first_of_each_class(1).tolist() == [0, 1, 3]
    assert data.first_of_each_class(2).tolist() == [0, 1, 2, 3, 4]
    assert data.first_of_each_class().tolist() == list(range(6)) and data.classes == 3
    assert data.spread(3).tolist() == [0, 2, 5] and data.spread(9).tolist() == list(range(6))


def test_files_decoded_on_the_fly_give_the_batches_of_a_packed_store(imagenet, tmp_path):
    """`store: jpeg` writes names instead of pixels, and nothing else changes."""
    index = torch.tensor([3, 50, 101])
    sources = [store_of(tmp_path / "packed", recipe())]
    use(store="jpeg", imagenet=imagenet)
    sources.append(store_of(tmp_path / "listed", recipe()))
    assert sources[1].path.stat().st_size < sources[0].path.stat().st_size / 20
    both = [store.split(source, "train") for source in sources]
    assert isinstance(both[1].pixels, store.Listed) and torch.equal(both[0].labels, both[1].labels)
    first, second = (batches.training_batch(data, index, PICTURES, 1, 0) for data in both)
    assert torch.equal(first, second)


@pytest.mark.parametrize("kept", [0, 20, 160])
def test_files_decoded_on_the_fly_have_headers_from_the_beginning(imagenet, tmp_path, kept):
    path = next((imagenet / "val" / WNIDS[60]).iterdir())
    path.write_bytes(path.read_bytes()[:kept])
    use(store="jpeg", imagenet=imagenet)
    with pytest.raises(UserError, match=f"{path.name}: .*; fetch this file again") as error:
        store_of(tmp_path, recipe())
    assert "\n" not in str(error.value) and not (tmp_path / "images/imagenet100.safetensors").exists()


@pytest.fixture
def imagenet_c(tmp_path, monkeypatch):
    """The released ImageNet-C of five classes, which are all that the list has."""
    monkeypatch.setattr(imagenet_classes, "wnids", lambda name: WNIDS[:5])
    formats.imagenet_c(tmp_path / "imagenet-c", WNIDS[:5])
    use(imagenet_c=tmp_path / "imagenet-c")
    return tmp_path / "imagenet-c"


RELEASED = {"source": "imagenet-c", "test": 5, "train": None, "resize": 224}


def test_the_released_imagenet_c_is_read_in_both_layouts(imagenet_c, tmp_path):
    level = store.split(store_of(tmp_path / "upstream", recipe(**RELEASED)), "frost/4")
    assert level.labels.tolist() == list(range(5))
    assert isinstance(level.pixels, store.Listed), "71 GB of pixels that are read once are stored nowhere"
    colour = batches.test_batch(level, torch.tensor([4]), PICTURES)[0, :, 100, 100] * 255
    assert (colour - torch.tensor([10.0 * names.IMAGENET_C.index("frost"), 160, 0])).abs().max() < 4
    sliced = tmp_path / "sliced"
    for number, corruption in enumerate(names.IMAGENET_C):
        group = readers.CORRUPTION_GROUPS[number % 5]
        (sliced / group).mkdir(parents=True, exist_ok=True)
        (sliced / group / corruption).symlink_to(imagenet_c / corruption)
    use(imagenet_c=sliced)
    assert len(entries(**RELEASED)) == 19 * 5


def test_a_released_imagenet_c_that_is_not_whole_is_one_clear_line(imagenet_c, tmp_path):
    with pytest.raises(UserError, match="data.imagenet_c: .*gaussian_noise/1 has 5 images .*, expected 4"):
        entries(**RELEASED | {"test": 4})
    (imagenet_c / "fog" / "3" / WNIDS[2]).rename(tmp_path / "away")
    with pytest.raises(UserError, match=f"data.imagenet_c: .*fog/3 lacks images of 1 of 5 classes .{WNIDS[2]}."):
        entries(**RELEASED)
    (imagenet_c / "fog").rename(tmp_path / "fog")
    with pytest.raises(UserError, match="data.imagenet_c: .* lacks the corruption fog; expected the folder with"):
        entries(**RELEASED)


def test_packing_resumes_after_a_kill_with_the_same_bytes(imagenet, tmp_path, monkeypatch):
    whole = packed(tmp_path / "whole").path.read_bytes()
    monkeypatch.setattr(packing, "IMAGES_BETWEEN_NOTES", 10)
    decoded = []

    def failing(path):
        decoded.append(path)
        if len(decoded) == 57:
            raise KeyboardInterrupt
        return entries_of.decode(path)

    monkeypatch.setattr(packing, "decode", failing)
    with pytest.raises(KeyboardInterrupt):
        packed(tmp_path / "hit")
    before = len(decoded)
    resumed = packed(tmp_path / "hit").path.read_bytes()
    assert before <= 60 and len(decoded) - before == 203 - 50 and resumed == whole


def stop_packing(root, monkeypatch, after):
    """Kill a packing after some images."""
    rest = iter(range(after))

    def failing(path):
        if next(rest, None) is None:
            raise KeyboardInterrupt
        return entries_of.decode(path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(packing, "decode", failing)
        packed(root)


def test_what_was_not_noted_or_is_of_other_files_is_packed_again(imagenet, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "IMAGES_BETWEEN_NOTES", 10)
    stop_packing(tmp_path / "soon", monkeypatch, 5)
    assert packed(tmp_path / "soon").path.read_bytes() == packed(tmp_path / "calm").path.read_bytes()
    stop_packing(tmp_path / "changed", monkeypatch, 57)
    picture = imagenet / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    formats.photo(picture, (70, 80))
    assert packed(tmp_path / "changed").path.read_bytes() == packed(tmp_path / "anew").path.read_bytes()
    stop_packing(tmp_path / "renamed", monkeypatch, 57)
    with Image.open(picture) as image:
        other = image.transpose(Image.Transpose.ROTATE_180)
    picture.unlink()
    other.save(picture.with_stem(f"{picture.stem}a"))  # another picture of the same size
    assert packed(tmp_path / "renamed").path.read_bytes() == packed(tmp_path / "other").path.read_bytes()


def test_a_record_has_its_room_in_the_header_and_no_more():
    room = packing.HEADER_BYTES - 8 - len(json.dumps({"__metadata__": files.metadata_of({"note": ""})}))
    empty = packing.Layout({}, {})
    assert len(packing.header(empty, {"note": "a" * room})) == packing.HEADER_BYTES
    with pytest.raises(UserError, match="the record of an image store outgrew its header"):
        packing.header(empty, {"note": "a" * (room + 1)})


def test_a_store_s_space_is_taken_before_anything_is_decoded(imagenet, tmp_path, monkeypatch):
    """Of the disk, not only of the file's length; where there is none, an error in one line leaves nothing behind."""
    partial = tmp_path / "state/images/imagenet100/store.partial"

    def looked_at(entry):
        found = partial.stat()
        assert found.st_blocks * 512 >= found.st_size > packing.HEADER_BYTES + 10**5
        return entries_of.decode(entry)

    monkeypatch.setattr(packing, "decode", looked_at)
    packed(tmp_path)

    def none_left(handle, start, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing.os, "posix_fallocate", none_left, raising=False)
    monkeypatch.setattr(packing, "decode", lambda entry: pytest.fail("decoded"))
    with pytest.raises(UserError, match="store.partial: the disk is full; free some space and run again"):
        packed(tmp_path)
    assert partial.stat().st_size == 0


@pytest.mark.parametrize("reserves", [True, False])
def test_a_disk_that_fills_while_pictures_are_packed_is_one_line_and_the_end_is_the_same(
    imagenet, small_disk, tmp_path, monkeypatch, reserves
):
    """Another program took what was free; with a file system that reserves space, and with one that does not."""
    folder, enlarge = small_disk
    monkeypatch.setattr(packing, "IMAGES_BETWEEN_NOTES", 10)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    if not reserves:
        monkeypatch.delattr(packing.os, "posix_fallocate")
    for size in (400, 600, 800):
        with pytest.raises(UserError, match="the disk is full; free some space and run again") as error:
            packed(folder)
        assert "\n" not in str(error.value)
        enlarge(size)
    enlarge(20_000)
    assert packed(folder).path.read_bytes() == packed(tmp_path / "calm").path.read_bytes()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows its memory maps")
def test_a_store_is_mapped_read_only_and_shared_whatever_its_size(imagenet, tmp_path):
    """A private map counts against a machine's memory: one larger than that would not open."""
    source = packed(tmp_path)
    data = store.split(source, "train")
    assert data.picture(3).shape[2] == 3
    maps = [
        line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(source.path))
    ]
    assert {flags for _, flags, *_ in maps} == {"r--s"}


def test_packing_uses_every_core_and_keeps_the_order(imagenet, tmp_path, monkeypatch):
    monkeypatch.setattr(packing.machine, "cores", lambda: 4)
    monkeypatch.setattr(packing, "IMAGES_BETWEEN_NOTES", 16)
    together, met, calls = threading.Barrier(4), [], itertools.count()

    def waiting(entry):
        if next(calls) < 4:  # the first four wait for one another
            met.append(together.wait(60))
        return entries_of.decode(entry)

    with monkeypatch.context() as patched:
        patched.setattr(packing, "decode", waiting)
        several = packed(tmp_path / "four").path.read_bytes()
    monkeypatch.setattr(packing.machine, "cores", lambda: 1)
    assert packed(tmp_path / "one").path.read_bytes() == several and sorted(met)[:4] == [0, 1, 2, 3]


def test_a_full_disk_is_refused_before_anything_is_decoded(imagenet, tmp_path, monkeypatch):
    """A gibibyte is left to others; half as much is too little."""
    needed = packing.layout_of(entries()).length
    free_of = lambda gib: lambda path: SimpleNamespace(free=needed + int(gib * 2**30))  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(packing.shutil, "disk_usage", free_of(0.5))
        patch.setattr(packing, "decode", lambda path: pytest.fail("decoded"))
        with pytest.raises(UserError, match="the store needs 0.0 GB and the disk has 0.5 GB free"):
            packed(tmp_path)
    monkeypatch.setattr(packing.shutil, "disk_usage", free_of(1.5))
    assert packed(tmp_path).path.exists()


@pytest.mark.parametrize("change", [10, -10])
def test_a_picture_of_another_size_than_its_header_s_is_named_and_its_neighbours_stay(
    imagenet, tmp_path, monkeypatch, change
):
    listed = entries()["train"]
    wrong = listed[50]

    def decode(entry):
        height, width, _ = (found := entries_of.decode(entry)).shape
        return np.resize(found, (height + change, width, 3)) if entry == wrong else found

    monkeypatch.setattr(packing, "decode", decode)
    late = lambda row: isinstance(row, tuple) and row[0] == wrong  # noqa: E731 - when its neighbours are written
    monkeypatch.setattr(packing, "on_all_cores", lambda make, items: map(make, sorted(items, key=late)))
    with pytest.raises(UserError, match=f"{wrong.path.name}: its header promises another size than it holds; fetch"):
        packed(tmp_path)
    written = (tmp_path / "state/images/imagenet100/store.partial").read_bytes()[packing.HEADER_BYTES :]
    places = packing.layout_of(entries()).places("train")
    for entry, (start, digest_at) in zip(listed, places, strict=True):
        pixels = entries_of.decode(entry)
        sha256 = hashlib.sha256(written[start : start + pixels.size]).digest()
        assert entry == wrong or written[digest_at : digest_at + 32] == sha256 == hashlib.sha256(pixels).digest()


FORMS = {
    "flat": formats.flat_imagenet, "kaggle": formats.kaggle_imagenet, "tars": formats.tars_of_imagenet,
    "parquet": formats.parquet_of_imagenet,
}  # fmt: skip


@pytest.fixture
def with_awkward_names(imagenet):
    """Names that sort in another way when something follows them."""
    for number, side in ((100, 35), (1002, 45), (10, 55)):
        formats.photo(imagenet / "train" / WNIDS[0] / f"{WNIDS[0]}_{number}.JPEG", (side, 40))
    return imagenet


@pytest.fixture
def form(request, with_awkward_names):
    """The same ImageNet in another form."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    root = with_awkward_names.parent / "another form"
    FORMS[request.param](root, with_awkward_names)
    return root


@pytest.mark.parametrize("form", FORMS, indirect=True)
def test_every_form_of_imagenet_gives_the_same_store(form, with_awkward_names, tmp_path):
    stores = []
    for folder in (with_awkward_names, form):
        use(imagenet=folder)
        stores.append(store_of(tmp_path / folder.name, recipe(train=106)))
    expected, found = (files.record_in(source.path) for source in stores)
    assert found["content_hash"] == expected["content_hash"]
    assert len(store.split(stores[1], "train")) == 106


@pytest.mark.parametrize("form", ["tars"], indirect=True)
def test_files_in_tars_are_decoded_on_the_fly(form, tmp_path):
    use(store="jpeg", imagenet=form)
    listed = store.split(store_of(tmp_path / "listed", recipe(train=106)), "train")
    assert isinstance(listed.pixels, store.Listed)
    for i, entry in enumerate(entries(train=106)["train"]):
        assert np.array_equal(listed.picture(i), entries_of.decode(entry))


@pytest.mark.parametrize("form", ["parquet"], indirect=True)
def test_shards_are_packed_only_and_have_to_be_all_there(form, tmp_path):
    use(store="jpeg", imagenet=form)
    with pytest.raises(UserError, match="store: jpeg: .*parquet cannot be read image by image; set store: pixels"):
        store_of(tmp_path, recipe(train=106))
    (form / "data/train-00001-of-00003.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="train-00001-of-00003.parquet: cannot be read .*; fetch this file again"):
        entries(train=106)
    (form / "data/train-00001-of-00003.parquet").unlink()
    with pytest.raises(UserError, match="data.imagenet: .*data has 2 of 3 shards train-.*; fetch the others"):
        entries(train=106)


@pytest.mark.parametrize("form", ["parquet"], indirect=True)
def test_shards_of_another_form_say_what_they_lack(form):
    import pyarrow
    from pyarrow import parquet

    use(imagenet=form)
    path = form / "data/train-00000-of-00003.parquet"
    parquet.write_table(pyarrow.table({"jpg": [b""], "cls": [1]}), path)
    with pytest.raises(UserError, match="train-00000-of-00003.parquet: has no columns image.bytes and image.path"):
        entries(train=106)
    nameless = {"image": {"bytes": b"", "path": "1.webp"}, "label": 0}
    parquet.write_table(pyarrow.Table.from_pylist([nameless]), path)
    with pytest.raises(UserError, match="image.path is '1.webp', expected a name such as n01440764_10026_n01440764"):
        entries(train=106)


def test_parquet_without_its_reader_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train-00000-of-00001.parquet").touch()
    use(imagenet=tmp_path)
    with pytest.raises(UserError, match=r"read by pyarrow: pip install 'contrastive-inversion\[parquet\]'"):
        entries()


@pytest.mark.parametrize("form", ["tars"], indirect=True)
def test_a_truncated_archive_is_one_clear_line(form):
    path = form / "ILSVRC2012_img_train.tar"
    path.write_bytes(path.read_bytes()[:30_000])
    use(imagenet=form)
    with pytest.raises(UserError, match="ILSVRC2012_img_train.tar: cannot be read as a tar archive .*; fetch this"):
        entries(train=106)


@pytest.mark.parametrize("form", ["kaggle"], indirect=True)
def test_the_inner_folder_of_kaggle_s_tree_will_do(form):
    use(imagenet=form / "ILSVRC/Data/CLS-LOC")
    assert len(entries(train=106)["test"]) == 100
    (form / "LOC_val_solution.csv").unlink()
    with pytest.raises(UserError, match="cannot be read .*their classes are in ILSVRC2012_devkit_t12 or in Kaggle"):
        entries(train=106)


def test_classes_of_other_images_are_refused(form_of_flat):
    truth = form_of_flat / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    truth.write_text(truth.read_text() + "1\n")
    with pytest.raises(UserError, match="val: 101 classes for its 100 images"):
        entries()


@pytest.fixture
def form_of_flat(imagenet):
    root = imagenet.parent / "flat"
    formats.flat_imagenet(root, imagenet)
    use(imagenet=root)
    return root


@pytest.mark.parametrize(
    ("files_there", "resembles"),
    [
        (["Train/n01558993/x.JPEG", "Val/x.JPEG"], "it resembles class folders.*; it has Train, Val"),
        (
            ["ILSVRC/Data/CLS-LOC/train/x", "LOC_train_solution.csv"],
            "it resembles Kaggle's tree.*; it has ILSVRC, LOC_",
        ),
        (["imagenet1k-train-0000.tar"], "it resembles the official tars.*; it has imagenet1k-train-0000.tar"),
        (["data/dataset.arrow", "data/x.parquet"], "it resembles Hugging Face's shards"),
        (["readme"], "it resembles none"),
    ],
)
def test_any_other_form_is_told_which_are_understood(tmp_path, files_there, resembles):
    for name in files_there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    use(imagenet=tmp_path)
    with pytest.raises(UserError, match="holds no train images in a form understood .class folders.*shards") as error:
        entries()
    assert re.search(resembles, str(error.value)) and "\n" not in str(error.value)


ORIGINALS = np.array([(375, 500)] * 50 + [(333, 500)] * 25 + [(500, 375)] * 20 + [(480, 640)] * 4 + [(1200, 1600)])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda s: s, None),
        (lambda s: (s * 256 / s.min(1, keepdims=True)).round(), "100% have a shorter side of 256 px"),
        (lambda s: np.full_like(s, 64), "100% have a shorter side of 64 px"),
        (lambda s: (s * 320 / s.max(1, keepdims=True)).round(), "100% have a longer side of 320 px"),
        (lambda s: (s * np.minimum(1, 600 / s.max(1, keepdims=True))).round(), "none is larger than 600 px"),
    ],
)
def test_resized_copies_are_known_by_their_sizes(change, found):
    assert readers.resized(change(ORIGINALS).astype(int)) == found


def test_a_resized_copy_is_refused_with_its_numbers(tmp_path):
    for i, wnid in enumerate(WNIDS):
        for k in range(10):
            formats.photo(tmp_path / "val" / wnid / f"{i}_{k}.JPEG", (8 + k, 8))
    use(imagenet=tmp_path)
    with pytest.raises(UserError, match="val is a resized copy: of 1000 of its pictures 100% have a shorter side of 8"):
        readers.some_of_imagenet(
            "imagenet", tmp_path, imagenet_classes.labels_of("imagenet100_wnids.txt"), {"test": None}
        )


def spoil_missing_class(root):
    (root / "val" / WNIDS[8]).rename(root / "elsewhere")


def spoil_count(root):
    formats.photo(root / "train" / WNIDS[0] / "one_more.JPEG")


def spoil_truncated(root):
    path = next((root / "train" / WNIDS[1]).iterdir())
    path.write_bytes(path.read_bytes()[:-300])


def spoil_page(root):
    next((root / "train" / WNIDS[1]).iterdir()).write_text("<html>Not found</html>")


def spoil_empty(root):
    next((root / "train" / WNIDS[2]).iterdir()).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_missing_class,
            f"config.yaml: data.imagenet: .*val lacks images of 1 of 100 classes .{WNIDS[8]}.",
        ),
        (spoil_count, "train has 104 images of these classes, expected 103"),
        (spoil_truncated, "JPEG: cannot be read .*truncated.*; fetch this file again"),
        (spoil_page, "JPEG: not an image; fetch this file again"),
        (spoil_empty, f"train lacks images of 1 of 100 classes .{WNIDS[2]}."),
    ],
)
def test_wrong_data_is_one_clear_line(imagenet, tmp_path, spoil, message):
    spoil(imagenet)
    with pytest.raises(UserError, match=message) as error:
        packed(tmp_path)
    assert "\n" not in str(error.value)


def test_an_unreadable_file_is_one_clear_line(imagenet, tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UserError, match="x.JPEG: cannot be read .Permission denied.; fetch this file again"):
        entries_of.decode(entries_of.Entry(tmp_path / "x.JPEG", 0))


def test_the_folders_of_data_are_only_read(imagenet, tmp_path):
    """A data folder may be mounted read-only."""
    everything = [imagenet, *imagenet.rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in everything}
    packed(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in [imagenet, *imagenet.rglob("*")]} == before


def test_extra_classes_do_no_harm(imagenet, tmp_path):
    formats.photo(imagenet / "train" / "n99999999" / "x.JPEG")
    assert len(entries()["train"]) == 103


def test_a_folder_that_is_not_set_or_not_there_names_the_key(monkeypatch, tmp_path):
    use()
    with pytest.raises(UserError, match="config.yaml: data.imagenet: not set; it is the folder with train/<wnid>"):
        entries()
    use(imagenet=tmp_path / "nowhere")
    with pytest.raises(UserError, match="data.imagenet: there is no folder .*nowhere"):
        entries()


def test_label_shift_takes_five_classes_and_their_new_labels(imagenet):
    for wnid in imagenet_classes.labels_of("label_shift.csv"):
        for i in range(2):
            formats.photo(imagenet / "val" / wnid / f"{i}.JPEG")
    shift = {"classes": "label_shift.csv", "test": 10, "train": None}
    assert sorted({entry.label for entry in entries(**shift)["test"]}) == [8, 21, 40, 53, 68]
    assert readers.class_names(recipe(**shift).settings) == [
        shown.name for shown in imagenet_classes.label_shift("label_shift.csv")
    ]


def test_coronahack_is_split_by_its_metadata(tmp_path, monkeypatch):
    formats.coronahack(
        tmp_path, [("a.jpeg", "Normal", "TRAIN"), ("b.jpeg", "Pnemonia", "TRAIN"), ("c.jpeg", "Pnemonia", "TEST")]
    )
    use(coronahack=tmp_path)
    found = readers.coronahack()
    assert [entry.label for entry in found["train"]] == [1, 0]  # INFECTED is 0, the positive class
    assert [entry.label for entry in found["test"]] == [0]
    (tmp_path / "Coronahack-Chest-XRay-Dataset/test/c.jpeg").unlink()
    with pytest.raises(UserError, match="names c.jpeg, which no test folder"):
        readers.coronahack()


def test_archives_that_are_not_the_official_ones_are_refused(tmp_path):
    formats.cifar(tmp_path)
    use(cifar=tmp_path)
    with pytest.raises(UserError, match="data.cifar: .* is not whole .*corrupted.*; expected the folder with cifar"):
        readers.archive("cifar10")


@pytest.mark.parametrize("source", ["cifar10", "cifar100"])
def test_official_archives_are_read_by_torchvision(tmp_path, monkeypatch, source):
    formats.cifar(tmp_path)
    use(cifar=tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    tensors, facts = prepare.make(recipe_of(source), Job("", tmp_path, ""))
    images, count = tensors["train/images"], 5 if source == "cifar10" else 1
    assert facts == {} and images.shape == (count, 32, 32, 3) and tensors["test/labels"].tolist() == [3]
    file = tmp_path / readers.ARCHIVES[source] / ("data_batch_1" if source == "cifar10" else "train")
    planes = pickle.loads(file.read_bytes())["data"][0].reshape(3, 32, 32)  # as published: channel by channel
    assert images.is_contiguous() and np.array_equal(images[0].numpy(), planes.transpose(1, 2, 0))


def test_stl10_is_read_by_torchvision(tmp_path, monkeypatch):
    formats.stl10(tmp_path)
    use(stl10=tmp_path)
    monkeypatch.setattr("torchvision.datasets.stl10.check_integrity", lambda path, md5: True)
    tensors = readers.archive("stl10")
    assert tensors["train/images"].shape == (10, 96, 96, 3) and tensors["test/labels"].tolist() == list(range(10))
    planes = np.fromfile(tmp_path / "stl10_binary/test_X.bin", np.uint8, 3 * 96 * 96).reshape(3, 96, 96)
    assert np.array_equal(tensors["test/images"][0].numpy(), planes.transpose(2, 1, 0))  # columns first, as published


def test_jobs_pack_and_record(imagenet, tmp_path):
    source = store_of(tmp_path / "paper", recipe())
    tensors, record = files.load(source.path, source.recipe_hash)
    assert record["recipe"]["data"] == "imagenet100" and len(record["content_hash"]) == 64
    assert record["classes"][:3] == ["robin", "Gila monster", "hognose snake"] and len(record["classes"]) == 100
    assert tensors["train/labels"].shape == (103,)
