"""Readers of the published data sets, from the files that their publishers distribute.

Every reader checks what it finds against what was published (class lists, counts) before anything is decoded, and
raises one UserError that names the key in config.yaml, the folder and the tree that it expects.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.distort.names import IMAGENET_C
from contrastive_inversion.ledger.quantities import PUBLISHED

IMAGE_ENDINGS = {".jpeg", ".jpg", ".png"}
CORRUPTION_GROUPS = ("blur", "digital", "extra", "noise", "weather")
SEVERITIES = range(1, 6)
# Sets that torchvision reads: the folder that each unpacks to.
ARCHIVES = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "stl10": "stl10_binary"}


@dataclass(frozen=True)
class Entry:
    """An image file and its label."""

    path: Path
    label: int


def decode(path):
    """An image file as the authors' loader read it: uint8 (H, W, 3), converted to RGB, EXIF orientation left alone.

    CMYK files and PNGs named .JPEG are among ImageNet's. Raises UserError for a truncated or unreadable file.
    """
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError:
        raise UserError(f"{path}: not an image; fetch this file again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); fetch this file again") from None


def wnids(list_name):
    """The classes of a published list, sorted: a label is a wnid's position here."""
    return sorted((PUBLISHED / list_name).read_text().split())


def label_shift_classes():
    """{wnid: label}: the classes of Table 3 with the positions of their new labels among ImageNet-100's classes."""
    order = wnids("imagenet100_wnids.txt")
    with open(PUBLISHED / "label_shift.csv", newline="", encoding="utf-8") as file:
        return {row["wnid"]: order.index(row["label_wnid"]) for row in csv.DictReader(file)}


def images_in(path):
    return sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_ENDINGS)


def class_folders(root, labels, key):
    """The entries of <root>/<wnid>/*; folders of other classes are left alone.

    Raises UserError naming the classes that have no folder or no image.
    """
    absent = [wnid for wnid in labels if not (root / wnid).is_dir()]
    if absent:
        listed = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise machine.wrong(key, root, f"lacks {len(absent)} of {len(labels)} classes ({listed})")
    entries = []
    for wnid, label in sorted(labels.items()):
        found = images_in(root / wnid)
        if not found:
            raise machine.wrong(key, root / wnid, "holds no images")
        entries += [Entry(path, label) for path in found]
    return entries


def check_count(entries, expected, root, key):
    """Raise UserError unless a split has the published number of images."""
    if expected is not None and len(entries) != expected:
        raise UserError(
            f"config.yaml: data.{key}: {root} has {len(entries)} images of these classes, expected {expected}"
        )


def imagenet(labels, counts):
    """{split: entries} of some ImageNet classes. labels: {wnid: label}; counts: the published numbers by split."""
    root = machine.folder("imagenet")
    found = {}
    for split, name in (("train", "train"), ("test", "val")):
        if split not in counts:
            continue
        flat = split == "test" and not any((root / name / wnid).is_dir() for wnid in labels)
        found[split] = flat_validation(root, labels) if flat else class_folders(root / name, labels, "imagenet")
        check_count(found[split], counts[split], root / name, "imagenet")
    return found


def flat_validation(root, labels):
    """The official validation set, one flat folder, with its classes from the development kit."""
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    images = images_in(root / "val") if (root / "val").is_dir() else []
    truth = kit / "ILSVRC2012_validation_ground_truth.txt"
    if not images or not truth.exists():
        raise machine.wrong("imagenet", root / "val", f"has no class folders, and there is no {truth}")
    numbers = [int(line) for line in truth.read_text().split()]
    if len(numbers) != len(images):
        raise UserError(f"{truth}: {len(numbers)} classes for the {len(images)} images of {root / 'val'}")
    names = synsets(kit / "meta.mat")
    return [
        Entry(path, labels[names[number]])
        for path, number in zip(images, numbers, strict=True)
        if names.get(number) in labels
    ]


def synsets(path):
    """{ILSVRC2012 id: wnid} from the development kit's meta.mat."""
    from scipy.io import loadmat

    try:
        rows = loadmat(path, squeeze_me=True)["synsets"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); it comes with ILSVRC2012_devkit_t12") from None
    return {int(row[0]): str(row[1]) for row in rows}


def imagenet_c(labels, count):
    """{`<corruption>/<severity>`: entries} of the released ImageNet-C, in either layout, for some classes."""
    root = machine.folder("imagenet_c")
    found = {}
    for corruption in IMAGENET_C:
        folder = corruption_folder(root, corruption)
        for severity in SEVERITIES:
            entries = class_folders(folder / str(severity), labels, "imagenet_c")
            check_count(entries, count, folder / str(severity), "imagenet_c")
            found[f"{corruption}/{severity}"] = entries
    return found


def corruption_folder(root, corruption):
    """<root>/<corruption>, or <root>/<group>/<corruption> as the authors sliced it. Raises UserError without either."""
    candidates = [root / corruption, *(root / group / corruption for group in CORRUPTION_GROUPS)]
    path = next((path for path in candidates if path.is_dir()), None)
    if path is None:
        raise machine.wrong("imagenet_c", root, f"lacks the corruption {corruption}")
    return path


def coronahack():
    """{split: entries} of the CoronaHack chest X-rays: INFECTED (any pneumonia) is label 0, NORMAL label 1.

    5,286 and 624 images. It is mostly pneumonia against normal, whatever the name COVID says.
    """
    root = machine.folder("coronahack")
    table = next(root.rglob("Chest_xray_Corona_Metadata.csv"), None)
    if table is None:
        raise machine.wrong("coronahack", root, "has no metadata")
    found = {"train": [], "test": []}
    with open(table, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            split = row["Dataset_type"].strip().lower()
            path = next(iter(root.rglob(f"{split}/{row['X_ray_image_name']}")), None)
            if path is None:
                raise UserError(f"{table}: names {row['X_ray_image_name']}, which no {split} folder of {root} holds")
            found[split].append(Entry(path, int(row["Label"].strip() == "Normal")))
    return found


def arrays(images, labels):
    """torchvision's arrays of a small data set, (N, 3, H, W) or (N, H, W, 3), as uint8 (N, H, W, 3) and int64 (N,)."""
    import torch

    images = np.asarray(images)
    if images.shape[1] == 3:
        images = images.transpose(0, 2, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(images)), torch.as_tensor(np.asarray(labels), dtype=torch.int64)


def torchvision_set(name, root, split, download=False):
    """torchvision's data set of a name in ARCHIVES. Raises RuntimeError where its files are not whole."""
    from torchvision import datasets

    classes = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}
    which = {"split": split} if name == "stl10" else {"train": split == "train"}
    return classes[name](root, download=download, **which)


def official(name, key):
    """{split: (images, labels)} of CIFAR-10, CIFAR-100 or STL-10 from the official archives, unpacked.

    torchvision reads them and checks the checksums. Raises UserError where they are not whole.
    """
    root, found = machine.folder(key), {}
    for split in ("train", "test"):
        try:
            loaded = torchvision_set(name, root, split)
        except RuntimeError as error:
            raise machine.wrong(key, root, f"is not whole ({error})") from None
        found[split] = arrays(loaded.data, loaded.labels if name == "stl10" else loaded.targets)
    return found


def entries(recipe):
    """{split: entries} of a data set that lies in image files. Raises UserError for anything amiss."""
    settings = recipe["settings"]
    if settings["source"] == "coronahack":
        return coronahack()
    if settings["classes"].endswith(".csv"):
        return imagenet(label_shift_classes(), {"test": settings.get("test")})
    labels = {wnid: i for i, wnid in enumerate(wnids(settings["classes"]))}
    if settings["source"] == "imagenet-c":
        return imagenet_c(labels, settings.get("test"))
    return imagenet(labels, {split: settings.get(split) for split in ("train", "test")})


def class_names(settings):
    """What a person reads for each class of a data set in image files, in the order of its labels."""
    if settings["source"] == "coronahack":
        return ["infected", "normal"]
    from timm.data import ImageNetInfo

    name = ImageNetInfo().label_name_to_description
    target = "imagenet100_wnids.txt" if settings["classes"].endswith(".csv") else settings["classes"]
    return [name(wnid).split(",")[0] for wnid in wnids(target)]


def key_of(source):
    """The key in config.yaml of a source that lies in files; None for one that is made here."""
    keys = {"imagenet-c": "imagenet_c", "cifar10": "cifar", "cifar100": "cifar"}
    key = keys.get(source, source)
    return key if f"data.{key}" in machine.EXPECTED else None


def decoded_on_the_fly(settings):
    """Whether a data set's files are read whenever they are needed: ImageNet-C, 71 GB of pixels that are read once."""
    return settings["source"] == "imagenet-c" or not machine.stores_pixels()
