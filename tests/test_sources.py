"""The readers of the published data sets, on small files of the exact published formats, good and bad."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import formats
from contrastive_inversion.base import files, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.data import crops, packing, prepare, readers, store
from contrastive_inversion.distort import names
from contrastive_inversion.run import jobs
from formats import WNIDS


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """A folder with a space and an umlaut in its name, an image of each class and split, the odd ones among them."""
    root = tmp_path / "Bilder für ImageNet"
    formats.imagenet(root)
    use(imagenet=root)
    return root


def use(**folders):
    machine.export({"data": {key: str(path) for key, path in folders.items()}})


def recipe(**settings):
    common = {"source": "imagenet", "classes": "imagenet100_wnids.txt", "train": 103, "test": 100, "resize": 256}
    return {
        "kind": "images",
        "data": "imagenet100",
        "settings": common | settings,
        "image_size": 224,
        "inputs": {},
        "seed": 1,
    }


def store_of(tmp_path, found):
    """A data set's store as its job writes it."""
    jobs.run("images/imagenet100", tmp_path / "results", json.dumps(found | {"version": 1}))
    return tmp_path / "results/images/imagenet100.safetensors"


def packed(tmp_path, found):
    job = Job("images/imagenet100", tmp_path / "results", "hash")
    content, _ = prepare.make(found, job, None)
    record = {"recipe": found, "recipe_hash": "hash", "content_hash": content.content_hash()}
    path = tmp_path / "results/images/imagenet100.safetensors"
    content.finish(path, record)
    return path


def test_a_packed_store_holds_every_picture_as_decoded(imagenet, tmp_path):
    path = packed(tmp_path, recipe())
    train = store.split(path, "hash", "train")
    entries = readers.entries(recipe())["train"]
    assert len(train) == 103 and train.labels.tolist() == [entry.label for entry in entries]
    for i, entry in enumerate(entries):
        assert np.array_equal(train.pixels[i].numpy(), readers.decode(entry.path))
    assert files.load(path)[1]["recipe_hash"] == "hash"
    store.load.cache_clear()


def test_odd_files_load_as_the_authors_loader_did(imagenet):
    for name, shape in (("cmyk", (40, 60, 3)), ("png", (40, 60, 3)), ("rotated", (21, 51, 3))):
        path = next(imagenet.rglob(f"{name}.JPEG"))
        with open(path, "rb") as file:
            expected = np.asarray(Image.open(file).convert("RGB"))
        assert readers.decode(path).shape == shape  # the EXIF rotation is left alone
        assert np.array_equal(readers.decode(path), expected)


def test_batches_of_a_packed_store_are_torchvision_s_crops(imagenet, tmp_path):
    data = store.split(packed(tmp_path, recipe()), "hash", "test")
    settings = {"image_size": 224, "crop": "resized", "flip": 0.5}
    index = torch.tensor([7, 0, 99])
    batch = store.test_batch(data, index, settings)
    expected = crops.for_testing(data.pixels[7].numpy(), 256, 224)
    assert batch.shape == (3, 3, 224, 224)
    assert torch.equal(batch[0], torch.from_numpy(expected.copy()).permute(2, 0, 1).float() / 255)
    first, again = (store.training_batch(data, index, settings, 1, 0) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, store.training_batch(data, index, settings, 1, 1))
    assert torch.equal(store.training_batch(data, index.flip(0), settings, 1, 0), first.flip(0))
    store.load.cache_clear()


def test_files_decoded_on_the_fly_give_the_batches_of_a_packed_store(imagenet, tmp_path, monkeypatch):
    """`store: jpeg` writes names instead of pixels, and nothing else changes."""
    settings, index = {"image_size": 224, "crop": "resized", "flip": 0.5}, torch.tensor([3, 50, 101])
    packed_store = store_of(tmp_path / "packed", recipe())
    machine.export({"data": {"imagenet": str(imagenet)}, "store": "jpeg"})
    listed_store = store_of(tmp_path / "listed", recipe())
    assert listed_store.stat().st_size < packed_store.stat().st_size / 20
    both = [store.split(path, None, "train") for path in (packed_store, listed_store)]
    assert torch.equal(both[0].labels, both[1].labels)
    first, second = (store.training_batch(data, index, settings, 1, 0) for data in both)
    assert torch.equal(first, second)


def test_the_released_imagenet_c_is_read_in_both_layouts(tmp_path):
    imagenet_c = tmp_path / "imagenet-c"
    formats.imagenet_c(imagenet_c)
    use(imagenet_c=imagenet_c)
    found = recipe(source="imagenet-c", test=100, train=None, resize=224)
    path = store_of(tmp_path / "upstream", found)
    level = store.split(path, None, "frost/4")
    assert level.labels.tolist() == list(range(100))
    settings = {"image_size": 224, "crop": "resized"}
    colour = store.test_batch(level, torch.tensor([99]), settings)[0, :, 100, 100] * 255
    assert (colour - torch.tensor([10.0 * names.IMAGENET_C.index("frost"), 160, 0])).abs().max() < 4
    sliced = tmp_path / "sliced"
    for number, corruption in enumerate(names.IMAGENET_C):
        group = readers.CORRUPTION_GROUPS[number % 5]
        (sliced / group).mkdir(parents=True, exist_ok=True)
        (sliced / group / corruption).symlink_to(imagenet_c / corruption)
    use(imagenet_c=sliced)
    assert len(readers.entries(found)) == 19 * 5
    (imagenet_c / "fog" / "3" / WNIDS[7]).rename(tmp_path / "away")
    with pytest.raises(UserError, match=f"data.imagenet_c: .*fog/3 lacks 1 of 100 classes .{WNIDS[7]}."):
        readers.entries(found)
    (imagenet_c / "fog").rename(tmp_path / "fog")
    with pytest.raises(UserError, match="data.imagenet_c: .* lacks the corruption fog; expected the folder with"):
        readers.entries(found)


def test_packing_resumes_after_a_kill_with_the_same_bytes(imagenet, tmp_path, monkeypatch):
    whole = packed(tmp_path / "whole", recipe()).read_bytes()
    monkeypatch.setattr(packing, "IMAGES_BETWEEN_NOTES", 10)
    decoded = []

    def failing(path):
        decoded.append(path)
        if len(decoded) == 57:
            raise KeyboardInterrupt
        return readers.decode(path)

    monkeypatch.setattr(packing, "decode", failing)
    with pytest.raises(KeyboardInterrupt):
        packed(tmp_path / "hit", recipe())
    resumed = packed(tmp_path / "hit", recipe()).read_bytes()
    assert len(decoded) == 57 + 203 - 50 and resumed == whole


def test_a_full_disk_is_refused_before_anything_is_decoded(imagenet, tmp_path, monkeypatch):
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    monkeypatch.setattr(packing, "decode", lambda path: pytest.fail("decoded"))
    with pytest.raises(UserError, match="the store needs 0.0 GB and the disk has 0.0 GB free"):
        packed(tmp_path, recipe())


def test_the_flat_validation_set_takes_its_classes_from_the_development_kit(imagenet, monkeypatch):
    flat = imagenet.parent / "flat"
    (flat / "train").parent.mkdir()
    (flat / "train").symlink_to(imagenet / "train")
    kit = flat / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    order = WNIDS[::-1]  # the kit numbers its classes in an order of its own
    for i in range(100):
        formats.photo(flat / "val" / f"ILSVRC2012_val_{i + 1:08d}.JPEG")
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{i + 1}\n" for i in range(100)))
    kind = [("ILSVRC2012_ID", float), ("WNID", "O"), ("words", "O")]
    savemat(kit / "meta.mat", {"synsets": np.array([(i + 1, wnid, "words") for i, wnid in enumerate(order)], kind)})
    use(imagenet=flat)
    found = readers.entries(recipe())["test"]
    assert [entry.label for entry in found] == [WNIDS.index(wnid) for wnid in order]


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
            f"config.yaml: data.imagenet: .*val lacks 1 of 100 classes .{WNIDS[8]}.; expected the folder with train/",
        ),
        (spoil_count, "train has 104 images of these classes, expected 103"),
        (spoil_truncated, "JPEG: cannot be read .*truncated.*; fetch this file again"),
        (spoil_page, "JPEG: not an image .*; fetch this file again"),
        (spoil_empty, f"{WNIDS[2]} holds no images; expected"),
    ],
)
def test_wrong_data_is_one_clear_line(imagenet, tmp_path, spoil, message):
    spoil(imagenet)
    with pytest.raises(UserError, match=message) as error:
        packed(tmp_path, recipe())
    assert "\n" not in str(error.value)


def test_an_unreadable_file_is_one_clear_line(imagenet, tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UserError, match="x.JPEG: cannot be read .Permission denied.; fetch this file again"):
        readers.decode(tmp_path / "x.JPEG")


def test_the_folders_of_data_are_only_read(imagenet, tmp_path):
    """A data folder may be mounted read-only."""
    everything = [imagenet, *imagenet.rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in everything}
    packed(tmp_path, recipe())
    assert {path: path.stat().st_mtime_ns for path in [imagenet, *imagenet.rglob("*")]} == before


def test_extra_classes_do_no_harm(imagenet, tmp_path):
    formats.photo(imagenet / "train" / "n99999999" / "x.JPEG")
    assert len(readers.entries(recipe())["train"]) == 103


def test_a_folder_that_is_not_set_or_not_there_names_the_key(monkeypatch, tmp_path):
    use()
    with pytest.raises(UserError, match="config.yaml: data.imagenet: not set; it is the folder with train/<wnid>"):
        readers.entries(recipe())
    use(imagenet=tmp_path / "nowhere")
    with pytest.raises(UserError, match="data.imagenet: there is no folder .*nowhere"):
        readers.entries(recipe())


def test_label_shift_takes_five_classes_and_their_new_labels(imagenet):
    for wnid in readers.label_shift_classes():
        for i in range(2):
            formats.photo(imagenet / "val" / wnid / f"{i}.JPEG")
    found = readers.entries(recipe(classes="label_shift.csv", test=10, train=None))
    assert sorted({entry.label for entry in found["test"]}) == [8, 21, 40, 53, 68]


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


def test_archives_that_are_not_the_official_ones_are_refused(tmp_path, monkeypatch):
    formats.cifar(tmp_path)
    use(cifar=tmp_path)
    with pytest.raises(UserError, match="data.cifar: .* is not whole .*corrupted.*; expected the folder with cifar"):
        readers.official("cifar10", "cifar")


def test_official_archives_are_read_by_torchvision(tmp_path, monkeypatch):
    formats.cifar(tmp_path)
    use(cifar=tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    found = readers.official("cifar10", "cifar")
    assert found["train"][0].shape == (5, 32, 32, 3) and found["test"][1].tolist() == [3]


def test_stl10_is_read_by_torchvision(tmp_path, monkeypatch):
    formats.stl10(tmp_path)
    use(stl10=tmp_path)
    monkeypatch.setattr("torchvision.datasets.stl10.check_integrity", lambda path, md5: True)
    found = readers.official("stl10", "stl10")
    assert found["train"][0].shape == (10, 96, 96, 3) and found["test"][1].tolist() == list(range(10))


def test_jobs_pack_and_record(imagenet, tmp_path):
    text = json.dumps(recipe() | {"version": 1})
    jobs.run("images/imagenet100", tmp_path / "paper", text)
    tensors, record = files.load(tmp_path / "paper/images/imagenet100.safetensors")
    assert record["recipe"]["data"] == "imagenet100" and len(record["content_hash"]) == 64
    assert tensors["train/labels"].shape == (103,)
