"""Readers of the published data sets, from the files that their publishers distribute.

Every reader checks what it finds against what was published (class lists, counts) before anything is decoded, and
raises one UserError that names the key in config.yaml, the folder and the tree that it expects. Imports no torch
before an archive is read: the checks before a run use it.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import imagenet, imagenet_classes
from contrastive_inversion.data.entries import Entry, size_of
from contrastive_inversion.data.settings import CoronaHack, ImageNet, ImageNetC, Imagenette
from contrastive_inversion.distort.names import IMAGENET_C

if TYPE_CHECKING:
    import torch

CORRUPTION_GROUPS = ("blur", "digital", "extra", "noise", "weather")
# The folder that each archive unpacks to.
ARCHIVES = {
    "cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "stl10": "stl10_binary",
    "imagenette": "imagenette2", "imagewoof": "imagewoof2",
}  # fmt: skip
# The files in those folders that torchvision reads.
BATCHES = {
    "cifar10": [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"],
    "cifar100": ["train", "test"],
    "stl10": ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"],
}  # fmt: skip
# The key in config.yaml's `data` of every source that lies in files.
KEYS = {
    "imagenet": "imagenet", "imagenet-c": "imagenet_c", "cifar10": "cifar", "cifar100": "cifar", "stl10": "stl10",
    "coronahack": "coronahack", "imagenette": "imagenette", "imagewoof": "imagewoof",
}  # fmt: skip
FOLDERS = {"train": "train", "test": "val"}  # ImageNet's names of the splits
JUDGED, ALIKE = 2000, 0.9  # images whose sizes are looked at; the share of them that is alike in a resized copy only
COMMON_SIDE, LARGE = 500, 768  # px: the longer side of most originals; many of thousands are larger than this
InFiles = ImageNet | Imagenette | ImageNetC | CoronaHack


def class_folders(root: Path, labels: Mapping[str, int], key: str) -> list[Entry]:
    """The entries of <root>/<wnid>/*; folders of other classes are left alone.

    Raises UserError naming the classes that have no folder or no image.
    """
    listed = sorted(imagenet.in_class_folders(root, labels))
    imagenet.check_classes(f"config.yaml: data.{key}: {root}", labels, {picture.wnid for picture in listed})
    return [Entry(picture.path, labels[picture.wnid]) for picture in listed]


def check_count(listed: Sequence[Entry], expected: int | None, folder: Path, key: str) -> None:
    """Raise UserError unless a split has the published number of images."""
    if expected is not None and len(listed) != expected:
        raise UserError(
            f"config.yaml: data.{key}: {folder} has {len(listed)} images of these classes, expected {expected}"
        )


def some_of_imagenet(
    key: str, root: Path, labels: Mapping[str, int], counts: Mapping[str, int | None]
) -> dict[str, list[Entry]]:
    """{split: entries} of some ImageNet classes. labels: {wnid: label}; counts: the published numbers by split."""
    splits = {}
    for split, name in FOLDERS.items():
        if split in counts:
            splits[split] = imagenet.split(key, root, name, labels)
            check_count(splits[split], counts[split], root / name, key)
            check_original(splits[split], root / name, key)
    return splits


def check_original(listed: Sequence[Entry], folder: Path, key: str) -> None:
    """Raise UserError, with the numbers, for a copy whose pictures were resized; a thousand and more can tell."""
    if len(listed) < JUDGED // 2:
        return
    if listed[0].path.suffix == ".parquet":  # shuffled as published; a row group is read as a whole
        sample = sorted(listed, key=lambda entry: entry.place)[:JUDGED]
    else:
        sample = [listed[i] for i in np.linspace(0, len(listed) - 1, min(JUDGED, len(listed))).astype(int)]
    if sides := resized(np.array([size_of(entry) for entry in sample])):
        raise UserError(
            f"config.yaml: data.{key}: {folder} is a resized copy: of {len(sample)} of its pictures {sides}; the "
            "study needs the original files"
        )


def resized(sizes: np.ndarray) -> str | None:
    """What shows that pictures were resized, in words; None for originals. sizes: int (N, 2)."""
    for name, sides in (("shorter", sizes.min(1)), ("longer", sizes.max(1))):
        values, counts = np.unique(sides, return_counts=True)
        side, share = int(values[counts.argmax()]), counts.max() / len(sides)
        if share > ALIKE and (name, side) != ("longer", COMMON_SIDE):
            return f"{share:.0%} have a {name} side of {side} px"
    largest = int(sizes.max())
    return f"none is larger than {largest} px" if largest <= LARGE else None


def released_imagenet_c(labels: Mapping[str, int], count: int | None) -> dict[str, list[Entry]]:
    """{`<corruption>/<severity>`: entries} of the released ImageNet-C, in either layout, for some classes."""
    root = machine.folder("imagenet_c")
    levels = {}
    for corruption in IMAGENET_C:
        folder = corruption_folder(root, corruption)
        for severity in range(1, 6):
            listed = class_folders(folder / str(severity), labels, "imagenet_c")
            check_count(listed, count, folder / str(severity), "imagenet_c")
            levels[f"{corruption}/{severity}"] = listed
    return levels


def corruption_folder(root: Path, corruption: str) -> Path:
    """<root>/<corruption>, or <root>/<group>/<corruption> as it is released. Raises UserError without either."""
    candidates = [root / corruption, *(root / group / corruption for group in CORRUPTION_GROUPS)]
    path = next((path for path in candidates if path.is_dir()), None)
    if path is None:
        raise machine.wrong("imagenet_c", root, f"lacks the corruption {corruption}")
    return path


def coronahack() -> dict[str, list[Entry]]:
    """{split: entries} of the CoronaHack chest X-rays: INFECTED (any pneumonia) is label 0, NORMAL label 1.

    5,286 and 624 images. It is mostly pneumonia against normal, whatever the name COVID says.
    """
    root = machine.folder("coronahack")
    table = next(root.rglob("Chest_xray_Corona_Metadata.csv"), None)
    if table is None:
        raise machine.wrong("coronahack", root, "has no metadata")
    paths = {(path.parent.name, path.name): path for path in root.rglob("*.*")}
    splits: dict[str, list[Entry]] = {"train": [], "test": []}
    with open(table, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            split, name = row["Dataset_type"].strip().lower(), row["X_ray_image_name"]
            if (split, name) not in paths:
                raise UserError(f"{table}: names {name}, which no {split} folder of {root} holds")
            splits[split].append(Entry(paths[split, name], int(row["Label"].strip() == "Normal")))
    return splits


def entries(settings: InFiles) -> dict[str, list[Entry]]:
    """{split: entries} of a data set that lies in image files. Raises UserError for anything amiss."""
    if isinstance(settings, CoronaHack):
        return coronahack()
    labels = imagenet_classes.labels_of(settings.classes)
    if isinstance(settings, ImageNetC):
        return released_imagenet_c(labels, settings.test)
    key, counts = KEYS[settings.source], {"train": settings.train, "test": settings.test}
    if settings.classes.endswith(".csv"):  # a label shift is tested only
        del counts["train"]
    return some_of_imagenet(key, machine.folder(key) / ARCHIVES.get(settings.source, ""), labels, counts)


def class_names(settings: InFiles) -> list[str]:
    """What a person reads for each class that is shown, in the order of its labels but for a label shift."""
    if isinstance(settings, CoronaHack):
        return ["infected", "normal"]
    from timm.data import ImageNetInfo

    describe = ImageNetInfo().label_name_to_description
    return [describe(wnid).split(",")[0] for wnid in imagenet_classes.labels_of(settings.classes)]


def archive(source: str) -> dict[str, "torch.Tensor"]:
    """The tensors of CIFAR-10, CIFAR-100 or STL-10 from the official archives, unpacked.

    `<split>/images` uint8 (N, H, W, 3) and `<split>/labels` int64 (N,). torchvision reads them and checks the
    checksums. Raises UserError where they are not whole.
    """
    import torch

    root, tensors = machine.folder(KEYS[source]), {}
    for split in ("train", "test"):
        try:
            published = torchvision_set(source, root, split)
        except RuntimeError as error:
            raise machine.wrong(KEYS[source], root, f"is not whole ({error})") from None
        images = published.data.transpose(0, 2, 3, 1) if source == "stl10" else published.data  # (N, H, W, 3)
        labels = published.labels if source == "stl10" else published.targets
        tensors[f"{split}/images"] = torch.from_numpy(np.ascontiguousarray(images))
        tensors[f"{split}/labels"] = torch.as_tensor(labels, dtype=torch.int64)
    return tensors


def torchvision_set(source: str, root: Path, split: str) -> Any:
    """torchvision's data set of a source in ARCHIVES. Raises RuntimeError where its files are not whole."""
    from torchvision import datasets

    if source == "stl10":
        return datasets.STL10(root, split=split)
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[source]
    return kind(root, train=split == "train")


def decoded_on_the_fly(settings: InFiles) -> bool:
    """Whether a data set's files are read whenever they are needed: ImageNet-C, 71 GB of pixels that are read once."""
    return isinstance(settings, ImageNetC) or not machine.stores_pixels()


def check_random_access(splits: Mapping[str, Sequence[Entry]]) -> None:
    """Raise UserError for images in parquet: one of them costs the reading of a row group, about a hundred."""
    for entry in (entry for listed in splits.values() for entry in listed[:1]):
        if entry.path.suffix == ".parquet":
            raise UserError(f"config.yaml: store: jpeg: {entry.path} cannot be read image by image; set store: pixels")
