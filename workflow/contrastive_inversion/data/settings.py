"""Typed settings of data: where a data set's pictures come from, and how they are cropped. Imports no torch."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Count, Name, Pixels, Settings, Share, Shares, refused
from contrastive_inversion.data.characters import FIRST, SHIFTED
from contrastive_inversion.data.imagenet_classes import wnids


def rising(bounds: list[int]) -> list[int]:
    if bounds[0] >= bounds[1]:
        raise refused(f"{bounds} holds no class: the first is below the last")
    return bounds


def listed(name: str) -> str:
    try:
        wnids(name)
    except UserError as error:
        raise refused(str(error)) from None
    return name


Pool = Annotated[list[Annotated[int, Field(ge=0, le=1400)]], Field(min_length=2, max_length=2), AfterValidator(rising)]
ClassList = Annotated[str, AfterValidator(listed)]


class Crops(Settings):
    """How training pictures are cropped and flipped."""

    crop: Literal["resized", "random", "padded"] = Field(
        description="RandomResizedCrop; a random square of stored squares; the same after a margin"
    )
    flip: Share = Field(0, description="probability of a mirrored picture")
    scale: Shares | None = Field(None, description="bounds of the share that RandomResizedCrop keeps")


class Pictures(Crops):
    """What training and testing must know of pictures."""

    image_size: Pixels = Field(description="the side of what a network sees, in pixels")


class Source(Settings):
    """What every data set may say."""

    train: Count | None = Field(
        None, description="training pictures: of each class where they are made here, else of all"
    )
    validation: Count | None = Field(None, description="pictures of each class to choose settings on")
    test: Count | None = Field(None, description="test pictures: of each class where they are made here, else of all")
    resize: Pixels | None = Field(None, description="the shorter side is resized to this before the centre is cropped")
    classes_of: str | None = Field(None, description="the data set whose classes and heads this one is tested with")
    flip: Share | None = Field(None, description="probability of a mirrored training picture, in place of the study's")
    training_crop: Literal["whole"] | None = Field(None, description="train on the whole picture, resized")


class Drawn(Source):
    """Pictures that are made here, stored as squares."""

    stored: Pixels = Field(description="the side of the stored squares, in pixels")


class Characters(Drawn):
    """Characters rendered from matplotlib's fonts."""

    source: Literal["glyphs"]
    classes: Pool | None = Field(None, description="first and last (exclusive) of the pool of characters")
    pairs: dict[str, str] | None = Field(
        None, description="of a label shift: characters shown, and the class that each counts as"
    )
    drawn: Pixels | None = Field(None, description="the side at which they are drawn before they are enlarged")
    purpose: str = Field("images", description="pictures of another purpose are other draws of the same characters")

    @model_validator(mode="after")
    def drawable(self) -> Self:
        """Refuse a data set without pictures or with both kinds of classes, and pairs of other characters."""
        if not (self.train or self.validation or self.test):
            raise refused("no pictures: say `train`, `validation` or `test`")
        if self.classes and self.pairs:
            raise refused("either `classes` or `pairs`")
        for character, label in (self.pairs or {}).items():
            if len(character) != 1 or character not in SHIFTED:
                raise refused(f"pairs: '{character}' is none of {SHIFTED}")
            if len(label) != 1 or label not in FIRST:
                raise refused(f"pairs: '{label}' is none of {FIRST}")
        return self

    def shows(self, label: str) -> bool:
        """Whether a character of FIRST is the class of that number here."""
        first, end = self.classes or (0, len(FIRST))
        return first == 0 and FIRST.index(label) < end


class Digits(Drawn):
    """scikit-learn's scans of handwritten digits."""

    source: Literal["digits"]
    train: Annotated[int, Field(ge=1, le=1796)] = Field(description="of the 1,797 scans; the others are for tests")
    validation: None = Field(None, description="there is none")
    test: None = Field(None, description="the scans that are not for training")


class Photographs(Drawn):
    """Patches of scikit-learn's two photographs."""

    source: Literal["photographs"]
    stored: Annotated[int, Field(ge=8, le=224)] = Field(description="the side of the patches, in pixels")
    train: Annotated[int, Field(ge=2, le=10**9)] = Field(description="training patches, half of each photograph")
    validation: None = Field(None, description="there is none")
    test: Annotated[int, Field(ge=2, le=10**9)] = Field(description="test patches, half of each photograph")


class AsReleased(Source):
    """What has the pictures that it has, all of which are taken."""

    train: None = Field(None, description="those that there are")
    validation: None = Field(None, description="there is none")
    test: None = Field(None, description="those that there are")


class GeneratedImageNetC(AsReleased):
    """ImageNet-C's corruptions, made here of another data set's test pictures."""

    source: Literal["generated-imagenet-c"]
    classes_of: Name = Field(description="the data set whose test pictures are corrupted and whose heads are tested")
    images_per_class: Count = Field(description="test pictures of each class that are corrupted")
    reference: Pixels = Field(112, description=(
        "the side of the frames that the corruptions' lengths are for, in pixels: 224 for photographs, as released; a "
        "stroke of a small character stands twice of them"
    ))  # fmt: skip


class Photos(Source):
    """Pictures of any size."""

    resize: Pixels = Field(description="the shorter side is resized to this before the centre is cropped")


class ImageNet(Photos):
    """Some classes of ImageNet."""

    source: Literal["imagenet"]
    classes: ClassList = Field(description="the list of classes, a file in data/class_lists")


class Imagenette(Photos):
    """Ten classes of ImageNet at their full size, or dogs of ten breeds, from archives that need no registration."""

    source: Literal["imagenette", "imagewoof"]
    classes: ClassList = Field(description="the list of classes, a file in data/class_lists")


class ImageNetC(Photos):
    """Some classes of the released ImageNet-C; `test` counts each of its levels."""

    source: Literal["imagenet-c"]
    classes: ClassList = Field(description="the list of classes, a file in data/class_lists")


class Archive(AsReleased):
    """A small data set from its official archive."""

    source: Literal["cifar10", "cifar100", "stl10"]

    @property
    def side(self) -> int:
        """Of its pictures, in pixels."""
        return 96 if self.source == "stl10" else 32


class CoronaHack(AsReleased, Photos):
    """Kaggle's chest X-rays."""

    source: Literal["coronahack"]


DataSet = Annotated[
    Characters | Digits | Photographs | GeneratedImageNetC | ImageNet | Imagenette | ImageNetC | Archive | CoronaHack,
    Field(discriminator="source"),
]


class Published(NamedTuple):
    """How many training pictures, test pictures and classes a published data set has."""

    train: int
    test: int
    classes: int


PUBLISHED = {
    "cifar10": Published(50_000, 10_000, 10), "cifar100": Published(50_000, 10_000, 100),
    "stl10": Published(5_000, 8_000, 10), "coronahack": Published(5_286, 624, 2),
}  # fmt: skip


def training_size(settings: DataSet) -> tuple[int, int] | None:
    """How many training pictures and classes a data set has; None where only its files can tell."""
    if isinstance(settings, Archive):
        published = PUBLISHED[settings.source]
        return published.train, published.classes
    if isinstance(settings, Characters) and settings.train and settings.classes:
        classes = settings.classes[1] - settings.classes[0]
        return settings.train * classes, classes
    if isinstance(settings, Digits | Photographs):
        return (settings.train, 10) if isinstance(settings, Digits) else (settings.train // 2 * 2, 2)
    return (settings.train, 1) if isinstance(settings, ImageNet | Imagenette) and settings.train else None


DATA_SET: TypeAdapter[DataSet] = TypeAdapter(DataSet)


class Images(Recipe):
    """The recipe of a data set's store."""

    data: str
    settings: DataSet
    image_size: Pixels


class CorruptedPhotographs(Images):
    """The recipe of an ImageNet-C that is made of photographs at the released size, by the released formulas."""
