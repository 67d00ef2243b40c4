"""Typed settings of learning: networks, trainings, and where first weights come from. Imports no torch."""

import functools
import json
import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, model_validator

from contrastive_inversion.base.errors import nearest
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import (
    Epochs,
    Name,
    Pixels,
    Positive,
    Rate,
    Settings,
    Share,
    Unit,
    refused,
)
from contrastive_inversion.data.settings import (
    Archive,
    Characters,
    DataSet,
    Digits,
    Drawn,
    GeneratedImageNetC,
    Photographs,
    training_size,
)
from contrastive_inversion.ledger.study import StudySettings

Triple = Annotated[list[Share], Field(min_length=3, max_length=3)]
PositiveTriple = Annotated[list[Positive], Field(min_length=3, max_length=3)]


FORMS = {
    "convnet": (r"(embedding-128|flattened)/(32|48|64|80|96|112)", "such as embedding-128/48 or flattened/32"),
    "simclr_resnet": (r"[1-9]\d?(-[1-9]\d?){0,4}/(4|8|16|32|64|128|256)", "such as 3-4-6-3/64: blocks and channels"),
}  # fmt: skip


def installed(package: str) -> Path | None:
    """The folder of an installed package, which is not imported for that."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


@functools.cache
def published_networks(family: str) -> list[str]:
    """The networks of open_clip, or those of torchvision that end in `fc`, by their files; none where not installed."""
    folder = installed(family)
    if not folder:
        return []
    if family == "open_clip":
        return [path.stem for path in folder.glob("model_configs/*.json")]
    files = (folder / "models" / f"{name}.py" for name in ("resnet", "regnet", "shufflenetv2"))
    registered = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)", re.M)
    return [name for path in files for name in registered.findall(path.read_text(encoding="utf-8"))]


ANY_SIZE = ("convnext", "fastvit")  # towers that end in a mean over places; others attend to places of their own


@functools.cache
def size_of_tower(model: str) -> int | None:
    """The side in pixels that a tower of open_clip takes alone; None of one that takes any, or is not installed."""
    folder = installed("open_clip")
    if not folder:
        return None
    tower = json.loads((folder / f"model_configs/{model}.json").read_text(encoding="utf-8"))["vision_cfg"]
    return None if tower.get("timm_model_name", "").startswith(ANY_SIZE) else int(tower.get("image_size", 224))


class Network(Settings):
    """A network and the constants that normalise its input."""

    architecture: Literal["convnet", "simclr_resnet", "open_clip", "torchvision"] = Field(description="its family")
    model: str = Field(description="which of the family, such as `RN101-quickgelu` or `flattened/48`")
    mean: Triple = Field(description="of the channels, subtracted from pixels in [0, 1]")
    std: PositiveTriple = Field(description="of the channels, by which the rest is divided")
    input: Literal["fp32", "fp16"] = Field("fp32", description="rounding of what the trunk sees")

    @model_validator(mode="after")
    def known(self) -> Self:
        """Refuse a network that its family does not have."""
        form, examples = FORMS.get(self.architecture, ("", ""))
        if form and not re.fullmatch(form, self.model):
            raise refused(f"model: '{self.model}' is no {self.architecture}; {examples}")
        names = [] if form else published_networks(self.architecture)
        if names and self.model not in names:
            raise refused(
                f"model: {self.architecture} has no '{self.model}' that serves here{nearest(self.model, names)}"
            )
        return self

    def takes(self, size: int) -> bool:
        """Whether images of a size fit: a convnet's is in its name, most towers' in open_clip's configuration."""
        if self.architecture == "open_clip":
            return size_of_tower(self.model) in (None, size)
        return self.architecture != "convnet" or self.model.endswith(f"/{size}")


def share(fraction: float, count: float) -> int:
    """A percentage of some images, rounded up."""
    # rounding keeps 10 % of 30 images at 3 where floating point has 3.0000000000000004
    return math.ceil(round(fraction * count / 100, 9))


READ_BY = {"stalled_cosine": ["period"], "stairs": ["factor", "every"], "milestones": ["factor", "milestones"]}


def check_schedule(settings: Any) -> None:
    """Raise a validator's error for settings whose schedule reads others that they do not say."""
    for key in READ_BY.get(settings.schedule, []):
        if getattr(settings, key) is None:
            raise refused(f"schedule: {settings.schedule} needs `{key}`")


class Schedule(Settings):
    """How a learning rate runs (see `learn.schedules.learning_rate`)."""

    lr: Rate = Field(description="the learning rate, at its highest")
    schedule: Literal["constant", "cosine", "step", "stalled_cosine", "stairs", "milestones"] = Field(
        "constant", description="how the learning rate runs over the training"
    )
    warmup: Share = Field(0, description="share of the training over which the learning rate rises from 0")
    period: Annotated[float, Field(gt=0), Unit("epochs")] | None = Field(
        None, description="of a stalled cosine, in epochs"
    )
    hold: Annotated[float, Field(ge=0), Unit("epochs")] = Field(0, description="epochs before a stalled cosine begins")
    factor: Positive | None = Field(None, description="of each of the stairs or milestones")
    every: Epochs | None = Field(None, description="epochs between stairs")
    milestones: list[Share] | None = Field(None, description="shares of the training at which the factor applies")

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse a schedule without the settings that it alone reads."""
        check_schedule(self)
        return self


class Training(Schedule):
    """What the training loop reads."""

    epochs: Epochs = Field(description="passes over the training images")
    batch: Annotated[int, Field(ge=2, le=10**6), Unit("images")] = Field(description="images of one step")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(description="torch's optimiser of that name")
    momentum: Share = Field(0, description="of sgd")
    weight_decay: Share = Field(0, description="of the optimiser")
    order: Literal["shuffled", "fixed"] = Field(
        "shuffled", description="of images; `fixed` drops the last, smaller batch"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="that a GPU computes the trunk in")
    compile: bool = Field(False, description="compile the trunk")
    recompute: bool = Field(False, description=(
        "keep the inputs of residual blocks alone and compute the rest anew in the backward pass: the same numbers in "
        "half of the GPU memory, and a third more time"
    ))  # fmt: skip

    @model_validator(mode="after")
    def possible(self) -> Self:
        """Refuse to compile what is computed anew in the backward pass: torch's compiler stops at it."""
        if self.compile and self.recompute:
            raise refused("compile and recompute cannot both be true: set one of them to false")
        return self


class Published(Settings):
    """First weights from a published file."""

    weights: Literal["clip", "resnet101"] = Field(description="which of config.yaml's `weights`")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] = Field(
        description="of the file, its first digits at least"
    )


def origin(content: Any) -> str:
    """Whether settings of first weights say that they are trained here or read from a published file."""
    weights = content.get("weights") if isinstance(content, dict) else getattr(content, "weights", None)
    return "trained" if weights in ("trained", None) else "published"


ByOrigin = Discriminator(origin)


def classes_shown(settings: DataSet) -> int | None:
    """How many classes a data set shows; None where its files or characters with others' labels tell."""
    if isinstance(settings, Characters) and settings.classes:
        return len(range(*settings.classes))
    size = training_size(settings) if isinstance(settings, Archive | Digits | Photographs) else None
    return size and size[1]


class PictureSettings(StudySettings):
    """What every study of pictures says."""

    image_size: Pixels = Field(description="the side of what a network sees, in pixels")
    data: dict[Name, DataSet] = Field(description="the data sets by the names that quantities use")
    networks: Settings

    @model_validator(mode="after")
    def fitting(self) -> Self:
        """Refuse networks and data sets that do not fit the size of images, and labels that the lender lacks."""
        for name, network in self.networks:
            if isinstance(network, Network) and not network.takes(self.image_size):
                text = f"{network.model} takes no images of {self.image_size} px, which is image_size"
                raise refused(text, f"networks.{name}.model")
        for name, settings in self.data.items():
            side = settings.stored if isinstance(settings, Drawn) else settings.resize
            side = settings.side if side is None and isinstance(settings, Archive) else side
            if side is not None and side < self.image_size:
                text = f"pictures of {side} px are smaller than image_size, {self.image_size} px"
                raise refused(text, f"data.{name}")
            self.check_classes(name, settings)
            self.check_lender(name, settings)
        return self

    @model_validator(mode="after")
    def standing_in(self) -> Self:
        """Refuse words for what stands in for a data set that is not there, which no table would say."""
        for name in self.stand_ins:
            if name not in self.data:
                raise refused(f"unknown data set '{name}'{nearest(name, self.data)}", f"stand_ins.{name}")
        return self

    def check_classes(self, name: str, settings: DataSet) -> None:
        """Raise a validator's error for a data set of one class, or of more than the one has whose heads test it."""
        shown, lender = classes_shown(settings), self.data.get(settings.classes_of or "")
        known = classes_shown(lender) if lender else None
        if shown == 1 and not lender:
            raise refused("one class, which leaves nothing to tell apart", f"data.{name}")
        if shown and known and shown > known:
            text = f"'{settings.classes_of}' has {known} classes, fewer than the {shown} here"
            raise refused(text, f"data.{name}.classes_of")

    def check_lender(self, name: str, settings: DataSet) -> None:
        """Raise a validator's error for a data set whose lender lacks the test pictures or the labels that it needs."""
        lender = self.data.get(settings.classes_of or "")
        if not isinstance(lender, Characters):
            return
        if isinstance(settings, GeneratedImageNetC) and not lender.test:
            raise refused(f"no test pictures, which '{name}' is made of", f"data.{settings.classes_of}")
        pairs = settings.pairs if isinstance(settings, Characters) else None
        for label in (pairs or {}).values():
            if not lender.shows(label):
                raise refused(f"'{label}' is no class of '{settings.classes_of}'", f"data.{name}.pairs")


class Weights(Recipe):
    """The recipe of an encoder whose weights are published."""

    network: Network
    settings: Published
