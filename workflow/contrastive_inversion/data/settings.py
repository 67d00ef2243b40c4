"""Typed settings of data: where a data set's pictures come from, and how they are cropped. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Count, Pixels, Settings, Share, Shares


class Pictures(Settings):
    """What training and testing must know of pictures."""

    image_size: Pixels = Field(description="the side of what a network sees, in pixels")
    crop: Literal["resized", "random", "padded"] = Field(
        description="of training pictures: RandomResizedCrop; a random square of the stored one; that after a margin"
    )
    flip: Share = Field(0, description="probability of a mirrored training picture")
    scale: Shares | None = Field(None, description="bounds of the share that RandomResizedCrop keeps")


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
    classes: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None, description="first and last (exclusive) of the pool of characters"
    )
    pairs: dict[str, str] | None = Field(
        None, description="of a label shift: characters shown, and the class that each counts as"
    )
    drawn: Pixels | None = Field(None, description="the side at which they are drawn before they are enlarged")
    purpose: str = Field("images", description="pictures of another purpose are other draws of the same characters")


class Digits(Drawn):
    """scikit-learn's scans of handwritten digits."""

    source: Literal["digits"]
    train: Count = Field(description="scans that are trained on, the first ones; the others are for tests")


class Photographs(Drawn):
    """Patches of scikit-learn's two photographs."""

    source: Literal["photographs"]
    train: Count = Field(description="patches of the left sides, half of each photograph")
    test: Count = Field(description="patches of the right sides, half of each photograph")


class GeneratedImageNetC(Source):
    """ImageNet-C's corruptions, made here of another data set's test pictures."""

    source: Literal["generated-imagenet-c"]
    images_per_class: Count = Field(description="test pictures of each class that are corrupted")


class ImageNet(Source):
    """Some classes of ImageNet."""

    source: Literal["imagenet"]
    classes: str = Field(description="the list of classes, a file in data/class_lists")


class ImageNetC(Source):
    """Some classes of the released ImageNet-C; `test` counts each of its levels."""

    source: Literal["imagenet-c"]
    classes: str = Field(description="the list of classes, a file in data/class_lists")


class Archive(Source):
    """A small data set from its official archive."""

    source: Literal["cifar10", "cifar100", "stl10"]


class CoronaHack(Source):
    """Kaggle's chest X-rays."""

    source: Literal["coronahack"]


DataSet = Annotated[
    Characters | Digits | Photographs | GeneratedImageNetC | ImageNet | ImageNetC | Archive | CoronaHack,
    Field(discriminator="source"),
]
DATA_SET: TypeAdapter[DataSet] = TypeAdapter(DataSet)


class Images(Recipe):
    """The recipe of a data set's store."""

    data: str
    settings: DataSet
    image_size: Pixels
