"""Typed settings of the report's studies. Imports no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contrastive_inversion.base.settings import (
    Count,
    Epochs,
    Name,
    NotNegative,
    Part,
    Positive,
    Samples,
    Settings,
    Share,
    Steps,
    Unique,
    laid_over,
    refused,
)
from contrastive_inversion.data.settings import Crops
from contrastive_inversion.distort.names import Specification, check_kernels
from contrastive_inversion.learn.settings import Network, PictureSettings, Schedule, Training
from contrastive_inversion.papers.contrastive_robustness.names import ATTACKS

Rounds = Annotated[int, Field(ge=1, le=1000)]  # and as many steps of each


class Pretrain(Training):
    """Training without labels, as a job is told it."""

    temperature: Positive = Field(description="of NT-Xent")
    augmentation: Specification = Field(description="of each of the two views, after its crop")
    strength: NotNegative = Field(0, description="weight of the penalty, from the encoder's name")


class Labelled(Settings):
    """What trainings with labels share."""

    subset: Literal["stratified", "uniform"] = Field(
        "stratified", description="how labels are chosen: by class, or from all alike"
    )
    selection: Literal["final", "best_test"] = Field(
        "final", description="of the weights: the last, or the epoch best on the test set"
    )


class Classify(Training, Labelled):
    """Supervised training, as a job is told it."""

    penalty: Literal["per_image", "summed", "mean_loss"] = Field(
        "per_image", description="scale of the penalty: Eq. 2, Eq. 3's form, or the code's"
    )
    strength: NotNegative = Field(0, description="weight of the penalty, from the encoder's name")


class Finetune(Training, Labelled):
    """Fine-tuning, as a job is told it."""

    encoder: Literal["trained", "detached"] = Field("trained", description="`detached` trains the head alone")


Images = Field(exclude=True, description="crops of training images")


class Contrastive(Pretrain):
    """Encoders without labels, and what differs with and without a penalty."""

    images: Crops = Images
    regularised: Part[Pretrain] | None = Field(None, exclude=True, description="what differs with a penalty")
    unregularised: Part[Pretrain] | None = Field(None, exclude=True, description="what differs without one")


class Supervised(Classify):
    """Supervised classifiers, and what differs with a penalty or few labels."""

    images: Crops = Images
    part: Part[Classify] | None = Field(None, exclude=True, description="what differs on a part of the labels")
    tenth: Part[Classify] | None = Field(None, exclude=True, description="what differs from that on 10 % and more")
    regularised: Part[Classify] | None = Field(None, exclude=True, description="what differs with a penalty")
    unregularised: Part[Classify] | None = Field(None, exclude=True, description="what differs without one")


class Finetuned(Finetune):
    """Fine-tuned encoders, and what differs with few labels."""

    images: Crops = Images
    part: Part[Finetune] | None = Field(None, exclude=True, description="what differs on a part of the labels")


class Regression(Schedule):
    """Logistic regression on frozen features, by SGD."""

    epochs: Epochs = Field(description="passes over the labelled images")
    batch: Count = Field(description="images of one step")


class Probes(Regression, Labelled):
    """Logistic regression, and what differs with few labels."""

    part: Part[Regression] | None = Field(None, description="what differs on a part of the labels")


class Networks(Settings):
    """The two networks of a study."""

    contrastive: Network = Field(description="of encoders without labels")
    supervised: Network = Field(description="of supervised classifiers")


class Evaluate(Settings):
    """Where encoders are measured."""

    split: Literal["test", "validation"] = Field("test", description="that is measured on")


class Pgd(Settings):
    """Projected gradient descent."""

    norm: Literal["l2", "linf"] = Field("l2", description="of the distance")
    epsilon: Annotated[float, Field(gt=0, le=55)] = Field(description="largest distance; 55 is the diagonal at 32 px")
    steps: Steps = Field(description="of each image")
    step: Positive = Field(description="length of a step")
    loss: Literal["ce", "margin"] = Field(description="that is raised: cross-entropy, or the margin of the logits")
    random_start: bool = Field(False, description="begin at a random point at the largest distance")
    transferred: bool = Field(
        False, description="images are made on the other family's model of the same penalty, and shown to this one"
    )
    misplaced: bool = Field(
        False, description="gradients land on other images, as in the published code: of probes, on L2 alone"
    )

    @model_validator(mode="after")
    def possible(self) -> Self:
        """Refuse what no attack does: misplaced gradients in another norm, and a radius beyond the box."""
        if self.norm == "linf" and self.epsilon > 1:
            raise refused(f"{self.epsilon:g} is above 1, the box, in linf", "epsilon")
        if self.misplaced and (self.norm != "l2" or self.random_start or self.transferred):
            raise refused("the published code has no other norm, random start or transfer", "misplaced")
        if self.transferred and self.random_start:
            raise refused("a transferred attack begins at the image", "random_start")
        return self


class Plb(Settings):
    """The proximal log-barrier attack."""

    outer: Rounds = Field(description="rounds, each with a weaker barrier")
    inner: Rounds = Field(description="steps of a round")
    step: Positive = Field(description="of the gradient")
    barrier: Positive = Field(description="its weight in the first round")
    decay: Annotated[float, Field(gt=0, le=1)] = Field(description="of that weight from round to round")
    back: Annotated[float, Field(gt=0, lt=1)] = Field(description="share of a step that backing up keeps")
    strength: Positive = Field(description="of the proximal step")
    start_noise: Positive = Field(description="deviation of the first start")
    polish: Annotated[int, Field(ge=0, le=10**6)] = Field(
        0, description="walks to the boundary afterwards, which the report's attack did not have"
    )
    keep_best: bool = Field(True, description="false: a step that gives up loses its image, as in the published code")


class Attacks(Settings):
    """Which images are attacked, and how."""

    images: Samples = Field(description="attacked, the same for every model")
    regularised_images: Samples | None = Field(
        None, exclude=True, description="attacked on regularised contrastive models"
    )
    batch: Count = Field(description="images attacked at a time; it changes nothing but memory")
    features: Literal["normalised", "raw"] = Field(description="that probes see under attack")
    pgd: Pgd = Field(exclude=True)
    plb: Plb = Field(exclude=True)
    checks: dict[Name, Part[Pgd]] = Field(
        default_factory=dict, exclude=True, description="further attacks by their names, and how each differs from pgd"
    )

    @model_validator(mode="after")
    def further(self) -> Self:
        """Refuse a check by the name of what it would take the place of."""
        for name in filter(ATTACKS.__contains__, self.checks):
            raise refused(f"'{name}' has a meaning of its own: give this attack another name", f"attacks.checks.{name}")
        return self

    def in_l2(self, name: str) -> bool:
        """Whether the attack of a name measures distances in L2."""
        attack = self.named(name)
        return isinstance(attack, Plb) or attack.norm == "l2"

    def named(self, name: str) -> Pgd | Plb:
        """The settings of an attack: `pgd`, `plb`, or one of the checks."""
        if name in self.checks:
            return self.checks[name].over(self.pgd.but(misplaced=False))
        return self.pgd if name == "pgd" else self.plb


class ContrastiveRobustness(PictureSettings):
    """All settings of a study of this report."""

    crop: Literal["resized", "random"] = Field(description="of images that probes and tests see")
    flip: Share = Field(0, description="probability of a mirrored picture, of those")
    distances: Annotated[Unique[Positive], Field(min_length=1)] = Field(description="thresholds of Figure 2")
    counted: Literal["all", "printed"] = Field(description="images that Figure 2 counts: all, or as the report did")
    networks: Networks
    contrastive: Contrastive
    supervised: Supervised
    finetuned: Finetuned
    probe: Probes
    evaluate: Evaluate
    attacks: Attacks

    @property
    def distances_of_pgd(self) -> list[float]:
        """Thresholds of Figure 2 within the radius of PGD, beyond which it finds nothing."""
        return [distance for distance in self.distances if distance <= self.attacks.pgd.epsilon]

    @model_validator(mode="after")
    def drawable(self) -> Self:
        """Refuse blurs larger than images."""
        for family in (self.contrastive, self.contrastive.regularised, self.contrastive.unregularised):
            check_kernels(getattr(family, "augmentation", None) or [], self.image_size, "contrastive.augmentation")
        return self

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse what differs on few labels, or in an attack, where the settings with it laid over them are none."""
        with laid_over("probe.part"):
            if self.probe.part:
                self.probe.part.over(self.probe)
        for name in self.attacks.checks:
            with laid_over(f"attacks.checks.{name}"):
                self.attacks.named(name)
        return self
