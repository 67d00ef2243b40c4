"""ImageNet in the forms in which people have it: class folders, the flat validation set with its classes beside it,
Kaggle's tree, the official tars, Hugging Face's parquet shards.

All give the same image files in the same order: sorted by class, then by the original's file name.
"""

import csv
import io
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import ContainerIO

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import parquet
from contrastive_inversion.data.entries import Entry

IMAGE_ENDINGS = {".jpeg", ".jpg", ".png"}
KAGGLE, SOLUTION = Path("ILSVRC/Data/CLS-LOC"), "LOC_val_solution.csv"
TARS = {"train": "ILSVRC2012_img_train.tar", "val": "ILSVRC2012_img_val.tar"}
KIT = "ILSVRC2012_devkit_t12"
TRUTH, META = f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt", f"{KIT}/data/meta.mat"
PARQUET_SPLITS = {"train": "train", "val": "validation"}
# What a form consists of, and what betrays that a folder was meant to be of it, as patterns below the folder.
FORMS = {
    "class folders: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG": ("[Tt]rain*", "[Vv]al*", "n[0-9]*"),
    f"a flat validation set: val/*.JPEG with {KIT}": (f"{KIT}*", "val/ILSVRC2012_val_*"),
    f"Kaggle's tree: {KAGGLE}/{{train,val}} with {SOLUTION}": ("ILSVRC", "Data", "CLS-LOC", "LOC_*"),
    f"the official tars: {TARS['train']}, {TARS['val']} and {KIT}.tar.gz": ("*.tar", "*/*.tar"),
    "Hugging Face's shards: data/train-*-of-00294.parquet and data/validation-*-of-00014.parquet":
        ("*.parquet", "*/*.parquet", "*.arrow"),
}  # fmt: skip


class Picture(NamedTuple):
    """An image file: its class, the original's file name, the file that holds it and where in there."""

    wnid: str
    name: str
    path: Path
    within: tuple[int, int] | None = None


def split(key: str, root: Path, name: str, labels: Mapping[str, int]) -> list[Entry]:
    """The images of some classes in ImageNet's `train` or `val`, sorted by class and name.

    key: of config.yaml's `data`; labels: {wnid: label}.

    Raises UserError for a folder of none of the forms, one that cannot be read, and classes without images.
    """
    place = f"config.yaml: data.{key}: {root}"
    try:
        listing = pictures(root, name, labels)
        if listing is None:
            raise UserError(f"{place} {unknown(root, name)}")
        listed = sorted(listing)
    except OSError as error:
        raise UserError(f"{place}: {error.filename} cannot be read ({error.strerror})") from None
    check_classes(f"{place}: {name}", labels, {picture.wnid for picture in listed})
    return [Entry(p.path, labels[p.wnid], p.within, f"{p.wnid}/{p.name}") for p in listed]


def pictures(root: Path, name: str, wnids: Collection[str]) -> Iterable[Picture] | None:
    """The image files of a split in whichever form it is there; None where it is in none."""
    folder, tar = (root / KAGGLE if (root / KAGGLE).is_dir() else root) / name, root / TARS[name]
    if any((folder / wnid).is_dir() for wnid in wnids):
        return in_class_folders(folder, wnids)
    if name == "val" and folder.is_dir() and (names := pictures_in(folder)):
        return classified((Picture("", path.name, path) for path in names), folder, truth(root), wnids)
    if tar.is_file():
        return in_tars(tar, wnids) if name == "train" else classified(in_tar(tar), tar, truth(root), wnids)
    if shards := parquet.shards(root, PARQUET_SPLITS[name]):
        return [Picture(wnid, n, path, at) for path in shards for wnid, n, at in parquet.pictures(path, wnids)]
    return None


def pictures_in(folder: Path) -> list[Path]:
    """The image files of a folder, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)


def in_class_folders(folder: Path, wnids: Iterable[str]) -> Iterator[Picture]:
    """The image files of <folder>/<wnid>/*; folders of other classes are left alone."""
    for wnid in wnids:
        if (folder / wnid).is_dir():
            yield from (Picture(wnid, path.name, path) for path in pictures_in(folder / wnid))


def classified(
    flat: Iterable[Picture], place: Path, classes: Mapping[str, str], wnids: Collection[str]
) -> list[Picture]:
    """Validation images with their classes, those of some classes. classes: {name without ending: wnid}.

    Raises UserError where classes and images are not of one another.
    """
    listing = list(flat)
    strange = [picture.name for picture in listing if Path(picture.name).stem not in classes]
    if strange or len(listing) != len(classes):
        which = f", {strange[0]} without one" if strange else ""
        raise UserError(
            f"config.yaml: data.imagenet: {place}: {len(classes)} classes for its {len(listing)} images{which}"
        )
    named = (picture._replace(wnid=classes[Path(picture.name).stem]) for picture in listing)
    return [picture for picture in named if picture.wnid in wnids]


def in_tar(path: Path, start: int = 0, length: int | None = None) -> Iterator[Picture]:
    """The files of a tar archive, or of one that begins in there at some byte. Raises UserError for a damaged one."""
    try:
        with open(path, "rb") as file:
            part = ContainerIO.ContainerIO(file, start, path.stat().st_size if length is None else length)
            with tarfile.open(fileobj=part, mode="r:") as archive:
                for member in archive:
                    if member.isfile():
                        yield Picture("", Path(member.name).name, path, (start + member.offset_data, member.size))
    except tarfile.TarError as error:
        raise UserError(f"{path}: cannot be read as a tar archive ({error}); fetch this file again") from None


def in_tars(path: Path, wnids: Collection[str]) -> Iterator[Picture]:
    """The image files of some classes in the official training archive, which holds a tar of each class."""
    for archive in in_tar(path):
        wnid = archive.name.removesuffix(".tar")
        if wnid in wnids and archive.within:
            yield from (picture._replace(wnid=wnid) for picture in in_tar(path, *archive.within))


def truth(root: Path) -> dict[str, str]:
    """{name without ending: wnid} of the validation images, from the development kit or from Kaggle's solution.

    Raises UserError where there is neither.
    """
    solution = next((f / SOLUTION for f in (root, *root.resolve().parents[:3]) if (f / SOLUTION).is_file()), None)
    if solution:
        with open(solution, newline="", encoding="utf-8") as file:
            return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
    numbers = [int(line) for line in kit_file(root, TRUTH).split()]
    names = synsets(root)
    return {f"ILSVRC2012_val_{position:08d}": names[number] for position, number in enumerate(numbers, 1)}


def kit_file(root: Path, name: str) -> bytes:
    """A file of the development kit, unpacked or not. Raises UserError where it is missing or damaged."""
    packed = root / f"{KIT}.tar.gz"
    try:
        if not packed.is_file():
            return (root / name).read_bytes()
        with tarfile.open(packed) as archive, archive.extractfile(name) as file:  # type: ignore[union-attr]
            return file.read()
    except (tarfile.TarError, OSError, KeyError, EOFError) as error:
        what = getattr(error, "strerror", None) or error
        raise UserError(
            f"config.yaml: data.imagenet: {root / name}: cannot be read ({' '.join(str(what).split())}); the "
            f"validation images lie in no class folders, and their classes are in {KIT} or in Kaggle's {SOLUTION}"
        ) from None


def synsets(root: Path) -> dict[int, str]:
    """{ILSVRC2012 id: wnid} from the development kit's meta.mat."""
    from scipy.io import loadmat

    try:
        rows = loadmat(io.BytesIO(kit_file(root, META)), squeeze_me=True)["synsets"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{root / META}: cannot be read ({error}); it comes with {KIT}") from None
    return {int(row[0]): str(row[1]) for row in rows}


def check_classes(place: str, wnids: Collection[str], present: Collection[str]) -> None:
    """Raise UserError unless every class has images."""
    absent = [wnid for wnid in wnids if wnid not in present]
    if absent:
        first = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        raise UserError(f"{place} lacks images of {len(absent)} of {len(wnids)} classes ({first})")


def unknown(root: Path, name: str) -> str:
    """What to say of a folder in none of the forms: all forms, and the one that it resembles most."""
    signs = {
        form: [s.name for pattern in marks for s in sorted(root.glob(pattern))[:2]] for form, marks in FORMS.items()
    }
    likely = max(signs, key=lambda form: len(signs[form]))
    resembles = (
        f"it resembles {likely}; it has {', '.join(signs[likely][:4])}" if signs[likely] else "it resembles none"
    )
    return f"holds no {name} images in a form understood ({'; '.join(FORMS)}); {resembles}"
