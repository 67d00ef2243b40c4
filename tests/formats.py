"""Small files of the exact formats in which the data sets and weights are published."""

import csv
import io
import pickle
import shutil
import tarfile
import zlib

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from contrastive_inversion.data import imagenet_classes
from contrastive_inversion.distort import names

WNIDS = imagenet_classes.wnids("imagenet100_wnids.txt")


def photo(path, size=(60, 40), mode="RGB", kind="JPEG", **options):
    """An image file of noise, size (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(path.name))
    Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), np.uint8)).convert(mode).save(path, kind, **options)


def imagenet(root, wnids=WNIDS, size=lambda i: (30 + i, 40)):
    """One training and one validation image of each class, and three odd training files: 103 and 100 for WNIDS."""
    for i, wnid in enumerate(wnids):
        photo(root / "train" / wnid / f"{wnid}_{i}.JPEG", size(i))
        photo(root / "val" / wnid / f"ILSVRC2012_val_{i + 1:08d}.JPEG", size(i))
    photo(root / "train" / WNIDS[3] / "cmyk.JPEG", mode="CMYK")
    photo(root / "train" / WNIDS[4] / "png.JPEG", kind="PNG")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    photo(root / "train" / WNIDS[5] / "rotated.JPEG", size=(51, 21), exif=rotated)


def flat_imagenet(root, folders):
    """The same images with the validation set in one folder and the development kit beside it."""
    (root / "val").mkdir(parents=True)
    (root / "train").symlink_to(folders / "train")
    for path in folders.glob("val/*/*"):
        (root / "val" / path.name).symlink_to(path)
    development_kit(root, folders)


def development_kit(root, folders):
    """ILSVRC2012_devkit_t12, which numbers classes in an order of its own."""
    kit, wnids = (
        root / "ILSVRC2012_devkit_t12/data",
        sorted((path.name for path in folders.glob("val/*")), reverse=True),
    )
    kit.mkdir(parents=True)
    kind = [("ILSVRC2012_ID", float), ("WNID", "O"), ("words", "O")]
    savemat(kit / "meta.mat", {"synsets": np.array([(i, wnid, "words") for i, wnid in enumerate(wnids, 1)], kind)})
    pictures = sorted(folders.glob("val/*/*"), key=lambda path: path.name)
    numbers = [wnids.index(path.parent.name) + 1 for path in pictures]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in numbers))


def kaggle_imagenet(root, folders):
    """Kaggle's ImageNet Object Localization Challenge."""
    base = root / "ILSVRC/Data/CLS-LOC"
    (base / "val").mkdir(parents=True)
    (base / "train").symlink_to(folders / "train")
    lines = ["ImageId,PredictionString"]
    for path in sorted(folders.glob("val/*/*"), reverse=True):
        (base / "val" / path.name).symlink_to(path)
        lines.append(f"{path.stem},{path.parent.name} 85 1 499 272 {path.parent.name} 1 1 30 40 ")
    (root / "LOC_val_solution.csv").write_text("\n".join(lines) + "\n")


def tars_of_imagenet(root, folders):
    """The official archives: one tar of a tar for each class, one of the validation images, the packed kit."""
    root.mkdir()
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        for folder in sorted(folders.glob("train/*"), reverse=True):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for path in sorted(folder.iterdir(), reverse=True):
                    archive.add(path, path.name)
            member = tarfile.TarInfo(f"{folder.name}.tar")
            member.size = inner.tell()
            inner.seek(0)
            outer.addfile(member, inner)
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as archive:
        for path in sorted(folders.glob("val/*/*"), key=lambda path: path.name):
            archive.add(path, path.name)
    development_kit(root / "unpacked", folders)
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        archive.add(root / "unpacked/ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    shutil.rmtree(root / "unpacked")


def parquet_of_imagenet(root, folders, shards=(3, 2)):
    """Hugging Face's ILSVRC/imagenet-1k: shuffled rows, the class in the name of each."""
    import pyarrow
    from pyarrow import parquet

    (root / "data").mkdir(parents=True)
    wnids = sorted(path.name for path in folders.glob("train/*"))
    for folder, split, count in (("train", "train", shards[0]), ("val", "validation", shards[1])):
        paths = sorted(folders.glob(f"{folder}/*/*"), key=lambda path: zlib.crc32(path.name.encode()))
        rows = [
            {
                "image": {"bytes": path.read_bytes(), "path": f"{path.stem}_{path.parent.name}.JPEG"},
                "label": wnids.index(path.parent.name),
            }
            for path in paths
        ]
        for i in range(count):
            table = pyarrow.Table.from_pylist(rows[i::count])
            parquet.write_table(table, root / f"data/{split}-{i:05d}-of-{count:05d}.parquet", row_group_size=10)


def imagenet_c(root, wnids=WNIDS):
    """One image of each class, corruption and severity, as released; its colour tells the place."""
    for c, corruption in enumerate(names.IMAGENET_C):
        for severity in range(1, 6):
            folder = root / corruption / str(severity)
            folder.mkdir(parents=True)
            picture = folder / "picture"
            Image.new("RGB", (224, 224), (10 * c, 40 * severity, 0)).save(picture, "JPEG", quality=100)
            for i, wnid in enumerate(wnids):
                (folder / wnid).mkdir()
                (folder / wnid / f"ILSVRC2012_val_{i:08d}.JPEG").hardlink_to(picture)
            picture.unlink()


def pickled(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


def cifar(root, images=1):
    """Both archives, unpacked, with so many images in each batch. Their checksums are not the official ones."""
    random = np.random.default_rng(0)

    def batch(label_name, classes):
        labels = [i % classes for i in range(3, 3 + images)]
        return {"data": random.integers(0, 255, (images, 3072), np.uint8), label_name: labels}

    ten, hundred = root / "cifar-10-batches-py", root / "cifar-100-python"
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        pickled(ten / name, batch("labels", 10))
    pickled(ten / "batches.meta", {"label_names": list("abcdefghij")})
    for name in ("train", "test"):
        pickled(hundred / name, batch("fine_labels", 100))
    pickled(hundred / "meta", {"fine_label_names": [str(i) for i in range(100)]})


def stl10(root, images=10):
    """STL-10's binary files; labels count from 1."""
    base = root / "stl10_binary"
    base.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        random.integers(0, 255, (images, 3, 96, 96), np.uint8).tofile(base / f"{split}_X.bin")
        (np.arange(images, dtype=np.uint8) % 10 + 1).tofile(base / f"{split}_y.bin")
    (base / "class_names.txt").write_text("\n".join(f"class {i}" for i in range(10)) + "\n")


def coronahack(root, rows):
    """The metadata and the flat folders; rows: (file name, label, split)."""
    for name, _, split in rows:
        photo(root / "Coronahack-Chest-XRay-Dataset" / split.lower() / name, size=(80, 60), mode="L")
    with open(root / "Chest_xray_Corona_Metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["", "X_ray_image_name", "Label", "Dataset_type", "Label_2_Virus_category", "Label_1_Virus_category"]
        )
        writer.writerows([[i, *row, "", ""] for i, row in enumerate(rows)])


class Archive(torch.nn.Module):
    """As in OpenAI's archive, the image tower lies under `visual`."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual

    def forward(self, images):
        return self.visual(images)


def clip_archive(path):
    """CLIP RN101 with random weights as a TorchScript archive. Returns the open_clip model."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("RN101-quickgelu").eval()
    torch.jit.trace(Archive(model.visual), torch.rand(2, 3, 224, 224)).save(str(path))
    return model


def resnet101(path):
    """torchvision's ResNet-101 with random weights as a state dict. Returns the model."""
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.resnet101().eval()
    torch.save(model.state_dict(), path)
    return model
