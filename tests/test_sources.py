"""The readers of the published data sets, on small files of the exact published formats, good and bad."""

import csv
import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from contrastive_inversion import artifacts, crops, datasets, images, jobs, packing, sources
from contrastive_inversion.errors import UserError
from contrastive_inversion.state import Job

WNIDS = sources.wnids("imagenet100_wnids.txt")


def photo(path, size=(60, 40), mode="RGB", kind="JPEG", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(path.name))
    Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), np.uint8)).convert(mode).save(path, kind, **options)


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """A folder with a space and an umlaut in its name, two images of each class, the odd ones among them."""
    root = tmp_path / "Bilder für ImageNet"
    for i, wnid in enumerate(WNIDS):
        for split, name in (("train", f"{wnid}_{i}.JPEG"), ("val", f"ILSVRC2012_val_{i:08d}.JPEG")):
            photo(root / split / wnid / name, size=(30 + i, 40))
    photo(root / "train" / WNIDS[3] / "cmyk.JPEG", mode="CMYK")
    photo(root / "train" / WNIDS[4] / "png.JPEG", kind="PNG")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    photo(root / "train" / WNIDS[5] / "rotated.JPEG", size=(50, 20), exif=rotated)
    use(monkeypatch, imagenet=root)
    return root


def use(monkeypatch, **folders):
    monkeypatch.setenv(sources.PATHS, json.dumps({key: str(path) for key, path in folders.items()}))


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


def packed(tmp_path, found):
    job = Job("images/imagenet100", tmp_path / "results", "hash")
    content, _ = datasets.make(found, job, None)
    record = {"recipe": found, "recipe_hash": "hash", "content_hash": content.content_hash()}
    path = tmp_path / "results/images/imagenet100.safetensors"
    content.finish(path, record)
    return path


def test_a_packed_store_holds_every_picture_as_decoded(imagenet, tmp_path):
    path = packed(tmp_path, recipe())
    train = images.split(path, "hash", "train")
    entries = sources.entries(recipe())["train"]
    assert len(train) == 103 and train.labels.tolist() == [entry.label for entry in entries]
    for i, entry in enumerate(entries):
        assert np.array_equal(train.pixels[i].numpy(), sources.decode(entry.path))
    assert artifacts.load(path)[1]["recipe_hash"] == "hash"
    images.load.cache_clear()


def test_odd_files_load_as_the_authors_loader_did(imagenet):
    for name, shape in (("cmyk", (40, 60, 3)), ("png", (40, 60, 3)), ("rotated", (20, 50, 3))):
        path = next(imagenet.rglob(f"{name}.JPEG"))
        with open(path, "rb") as file:
            expected = np.asarray(Image.open(file).convert("RGB"))
        assert sources.decode(path).shape == shape  # the EXIF rotation is left alone
        assert np.array_equal(sources.decode(path), expected)


def test_batches_of_a_packed_store_are_torchvision_s_crops(imagenet, tmp_path):
    data = images.split(packed(tmp_path, recipe()), "hash", "test")
    settings = {"image_size": 224, "crop": "resized", "flip": 0.5}
    index = torch.tensor([7, 0, 99])
    batch = images.test_batch(data, index, settings)
    expected = crops.for_testing(data.pixels[7].numpy(), 256, 224)
    assert batch.shape == (3, 3, 224, 224)
    assert torch.equal(batch[0], torch.from_numpy(expected.copy()).permute(2, 0, 1).float() / 255)
    first, again = (images.training_batch(data, index, settings, 1, 0) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, images.training_batch(data, index, settings, 1, 1))
    assert torch.equal(images.training_batch(data, index.flip(0), settings, 1, 0), first.flip(0))
    images.load.cache_clear()


def test_packing_resumes_after_a_kill_with_the_same_bytes(imagenet, tmp_path, monkeypatch):
    whole = packed(tmp_path / "whole", recipe()).read_bytes()
    monkeypatch.setattr(packing, "IMAGES_BETWEEN_NOTES", 10)
    decoded = []

    def failing(path):
        decoded.append(path)
        if len(decoded) == 57:
            raise KeyboardInterrupt
        return sources.decode(path)

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
        photo(flat / "val" / f"ILSVRC2012_val_{i + 1:08d}.JPEG")
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{i + 1}\n" for i in range(100)))
    kind = [("ILSVRC2012_ID", float), ("WNID", "O"), ("words", "O")]
    savemat(kit / "meta.mat", {"synsets": np.array([(i + 1, wnid, "words") for i, wnid in enumerate(order)], kind)})
    use(monkeypatch, imagenet=flat)
    found = sources.entries(recipe())["test"]
    assert [entry.label for entry in found] == [WNIDS.index(wnid) for wnid in order]


def spoil_missing_class(root):
    (root / "val" / WNIDS[8]).rename(root / "elsewhere")


def spoil_count(root):
    photo(root / "train" / WNIDS[0] / "one_more.JPEG")


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
            f"config.yaml: data.imagenet: .*val lacks 1 of 100 classes .{WNIDS[8]}.; expected train/",
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


def test_extra_classes_do_no_harm(imagenet, tmp_path):
    photo(imagenet / "train" / "n99999999" / "x.JPEG")
    assert len(sources.entries(recipe())["train"]) == 103


def test_a_folder_that_is_not_set_or_not_there_names_the_key(monkeypatch, tmp_path):
    use(monkeypatch)
    with pytest.raises(UserError, match="config.yaml: data.imagenet: not set; it is the folder with train/<wnid>"):
        sources.entries(recipe())
    use(monkeypatch, imagenet=tmp_path / "nowhere")
    with pytest.raises(UserError, match="data.imagenet: there is no folder .*nowhere"):
        sources.entries(recipe())


def test_label_shift_takes_five_classes_and_their_new_labels(imagenet):
    for wnid in sources.label_shift_classes():
        for i in range(2):
            photo(imagenet / "val" / wnid / f"{i}.JPEG")
    found = sources.entries(recipe(classes="label_shift.csv", test=10, train=None))
    assert sorted({entry.label for entry in found["test"]}) == [8, 21, 40, 53, 68]


def test_coronahack_is_split_by_its_metadata(tmp_path, monkeypatch):
    rows = [("a.jpeg", "Normal", "TRAIN"), ("b.jpeg", "Pnemonia", "TRAIN"), ("c.jpeg", "Pnemonia", "TEST")]
    for name, _, split in rows:
        photo(tmp_path / "Coronahack-Chest-XRay-Dataset" / split.lower() / name, mode="L")
    with open(tmp_path / "Chest_xray_Corona_Metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["", "X_ray_image_name", "Label", "Dataset_type", "Label_2_Virus_category", "Label_1_Virus_category"]
        )
        writer.writerows([[i, *row, "", ""] for i, row in enumerate(rows)])
    use(monkeypatch, coronahack=tmp_path)
    found = sources.coronahack()
    assert [entry.label for entry in found["train"]] == [1, 0]  # INFECTED is 0, the positive class
    assert [entry.label for entry in found["test"]] == [0]
    (tmp_path / "Coronahack-Chest-XRay-Dataset/test/c.jpeg").unlink()
    with pytest.raises(UserError, match="names c.jpeg, which no test folder"):
        sources.coronahack()


def cifar10_files(folder):
    """CIFAR-10's python archive, unpacked, with one image per batch."""
    base = folder / "cifar-10-batches-py"
    base.mkdir()
    random = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        content = {"data": random.integers(0, 255, (1, 3072), np.uint8), "labels": [3]}
        (base / name).write_bytes(pickle.dumps(content))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))


def test_archives_that_are_not_the_official_ones_are_refused(tmp_path, monkeypatch):
    cifar10_files(tmp_path)
    use(monkeypatch, cifar=tmp_path)
    with pytest.raises(UserError, match="data.cifar: .*not found or corrupted.*; expected cifar-10-batches-py"):
        sources.official("cifar10", "cifar")


def test_official_archives_are_read_by_torchvision(tmp_path, monkeypatch):
    cifar10_files(tmp_path)
    use(monkeypatch, cifar=tmp_path)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    found = sources.official("cifar10", "cifar")
    assert found["train"][0].shape == (5, 32, 32, 3) and found["test"][1].tolist() == [3]


def test_jobs_pack_and_record(imagenet, tmp_path):
    text = json.dumps(recipe() | {"version": 1})
    jobs.run("images/imagenet100", tmp_path / "paper", text)
    tensors, record = artifacts.load(tmp_path / "paper/images/imagenet100.safetensors")
    assert record["recipe"]["data"] == "imagenet100" and len(record["content_hash"]) == 64
    assert tensors["train/labels"].shape == (103,)
