"""Typed settings of learning: networks, trainings, and where first weights come from. Imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Epochs, NotNegative, Positive, Settings, Share, Unit

Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
PositiveTriple = Annotated[list[Positive], Field(min_length=3, max_length=3)]


class Network(Settings):
    """A network and the constants that normalise its input."""

    architecture: Literal["convnet", "simclr_resnet", "open_clip", "torchvision"] = Field(description="its family")
    model: str = Field(description="which of the family, such as `RN101-quickgelu` or `flattened/48`")
    mean: Triple = Field(description="of the channels, subtracted from pixels in [0, 1]")
    std: PositiveTriple = Field(description="of the channels, by which the rest is divided")


class Schedule(Settings):
    """How a learning rate runs (see `learn.loop.learning_rate`)."""

    lr: Positive = Field(description="the learning rate, at its highest")
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


class Training(Schedule):
    """What the training loop reads."""

    epochs: Epochs = Field(description="passes over the training images")
    batch: Annotated[int, Field(ge=2), Unit("images")] = Field(description="images of one step")
    optimizer: Literal["adam", "adamw", "sgd"] = Field(description="torch's optimiser of that name")
    momentum: Share = Field(0, description="of sgd")
    weight_decay: NotNegative = Field(0, description="of the optimiser")
    order: Literal["shuffled", "fixed"] = Field(
        "shuffled", description="of images; `fixed` drops the last, smaller batch"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="that a GPU computes the trunk in")
    compile: bool = Field(False, description="compile the trunk")


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


class Weights(Recipe):
    """The recipe of an encoder whose weights are published."""

    network: Network
    settings: Published


__all__ = ["ByOrigin", "Network", "Published", "Schedule", "Tag", "Training", "Weights"]
