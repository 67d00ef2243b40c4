"""What stores of pictures and the reading of them take. Imports no torch."""

from collections.abc import Mapping

from contrastive_inversion.base import machine
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.work import GB, Amounts, Work
from contrastive_inversion.data.imagenet_classes import labels_of
from contrastive_inversion.data.settings import (
    PUBLISHED,
    Archive,
    Characters,
    CoronaHack,
    CorruptedPhotographs,
    DataSet,
    Drawn,
    GeneratedImageNetC,
    ImageNet,
    ImageNetC,
    Imagenette,
    Images,
    Photographs,
)
from contrastive_inversion.distort.names import IMAGENET_C

BYTES_OF_PHOTO = 615_000  # decoded, the mean over ImageNet
BYTES_OF_XRAY = 3_900_000  # estimated: 1.3 megapixels as RGB
BYTES_OF_NAME = 60
CLASSES = 100  # of most data sets, where nothing says it
POOL = 1419  # characters, with the fonts of matplotlib 3.11
SCANS = 1797  # of scikit-learn's digits
SEVERITIES = 5
Behind = Mapping[str, Recipe]  # the recipes of a job's inputs and of theirs, by product


def count(settings: DataSet, split: str) -> int:
    """How many pictures a split of a data set has; of the released ImageNet-C, each of its levels."""
    if settings.source in PUBLISHED:
        return int(getattr(PUBLISHED[settings.source], split, 0))
    if settings.source == "digits" and split == "test":
        return SCANS - int(settings.train or 0)
    each = classes_of(settings) if isinstance(settings, Characters) else 1
    return int(getattr(settings, split) or 0) * each


def split_size(product: str, split: str, behind: Behind) -> int:
    """How many pictures a split of an image store has, `images/cifar10`, say; of ImageNet-C, each of its levels."""
    source = behind[product]
    if not isinstance(source, Images):
        return 0
    if isinstance(source.settings, GeneratedImageNetC):
        return of_a_level(source.settings, behind)
    return count(source.settings, split)


def of_a_level(settings: GeneratedImageNetC, behind: Behind) -> int:
    """How many pictures each level has of an ImageNet-C that is made from another store's."""
    source = behind[f"images/{settings.classes_of}"]
    return settings.images_per_class * (classes_of(source.settings) if isinstance(source, Images) else 0)


def classes_of(settings: DataSet) -> int:
    """How many classes a data set has, as far as its settings tell; of others, as many as most have here."""
    if isinstance(settings, ImageNet | Imagenette):
        return len(labels_of(settings.classes))
    if isinstance(settings, Characters):
        return len(settings.pairs or range(*(settings.classes or (0, POOL))))
    return CLASSES


def every_picture(settings: DataSet, behind: Behind) -> int:
    """How many pictures a store holds."""
    levels = len(IMAGENET_C) * SEVERITIES
    if isinstance(settings, GeneratedImageNetC):
        return levels * of_a_level(settings, behind)
    if isinstance(settings, ImageNetC):
        return levels * count(settings, "test")
    return sum(count(settings, split) for split in ("train", "validation", "test"))


def is_packed(settings: DataSet) -> bool:
    """Whether a data set's files are decoded into a store of photographs."""
    return isinstance(settings, ImageNet | Imagenette | CoronaHack) and machine.stores_pixels()


def bytes_of_picture(recipe: Images) -> int:
    """What a picture takes in its store."""
    match recipe.settings:
        case Drawn(stored=side):
            return 3 * side**2
        case Archive() as archive:
            return 3 * archive.side**2
        case GeneratedImageNetC():
            return 3 * recipe.image_size**2
    if not is_packed(recipe.settings):
        return BYTES_OF_NAME
    return BYTES_OF_XRAY if isinstance(recipe.settings, CoronaHack) else BYTES_OF_PHOTO


def store(recipe: Images, behind: Behind) -> Work:
    """What making an image store takes."""
    pictures = every_picture(recipe.settings, behind)
    size = pictures * bytes_of_picture(recipe) / GB
    host: dict[str, float] = {"write": size, "hash": size}
    match recipe.settings:
        case Characters() | Photographs():
            host["draw"] = pictures
        case GeneratedImageNetC():
            host["corrupt_photo" if isinstance(recipe, CorruptedPhotographs) else "corrupt"] = pictures
        case ImageNet() | Imagenette() | ImageNetC() | CoronaHack() as settings:
            host["header"] = pictures
            host["decode"] = pictures * is_packed(settings) * bytes_of_picture(recipe) / BYTES_OF_PHOTO
    in_memory = 0 if is_packed(recipe.settings) else 2 * size
    return Work(host=host, ram_gb=1 + in_memory, kept_gb=size)


def reading(product: str, split: str, views: int, behind: Behind) -> Amounts:
    """What the picture threads do for so many training or test views of an image store's pictures."""
    source = behind[product]
    if not isinstance(source, Images):
        return {}
    if isinstance(source.settings, Drawn | GeneratedImageNetC) or source.settings.resize is None:
        return {"square": views}
    decoded = isinstance(source.settings, ImageNetC) or not (
        machine.stores_pixels() or isinstance(source.settings, Archive)
    )
    return {"crop" if split == "train" else "centre": views} | ({"decode": views} if decoded else {})
