"""Typed settings of the paper's studies. Imports no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator

from contrastive_inversion.base.settings import (
    Count,
    Draws,
    Epochs,
    Length,
    NotNegative,
    Part,
    Percent,
    Positive,
    Rate,
    Samples,
    Settings,
    Share,
    Steps,
    Unique,
    Unit,
    refused,
)
from contrastive_inversion.distort.names import Blur, Vocabulary, check_kernels, check_name, scaled
from contrastive_inversion.learn.settings import (
    ByOrigin,
    Network,
    PictureSettings,
    Published,
    Training,
    check_schedule,
)

LossName = Literal["st", "ss", "both", "ntxent", "summed_ntxent", "mse", "raw_mse"]
Precision = Literal["fp32", "tf32", "bf16"]
Flip = Field(None, exclude=True, description="probability of a mirrored training picture, in place of the study's")


class Repeated(Settings):
    """Draws that the authors' data loaders repeated (docs/PROTOCOL.md)."""

    workers: Count = Field(description="that drew alike")
    batch: Count = Field(description="images of one worker's batch")


class Sharded(Training):
    """What distillation and supervised training share."""

    flip: Share | None = Flip
    shards: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="parts of a batch, each with batch statistics of its own, as on so many GPUs"
    )
    repeated_draws: Repeated | None = Field(None, description="masks and levels that repeat as the authors' did")


class Distill(Sharded):
    """A student's training."""

    temperature: Positive = Field(description="of the contrastive losses")
    loss: LossName | None = Field(None, description="set by `losses` and the encoder's name")
    teacher_mode: Literal["eval", "train"] = Field("eval", description="of the teacher's batch normalisation")
    targets: Literal["computed", "kept"] = Field(
        "computed",
        exclude=True,
        description="the teacher's embeddings: in every step, or once for all students, whose "
        "results are the same; `kept` takes 2 or 4 bytes x epochs x images x dimensions of disk and memory",
    )
    input: Literal["fp32", "fp16"] = Field(
        "fp32", exclude=True, description="rounding of what the student sees, normalised, in training and in tests"
    )


class Supervised(Sharded):
    """A classifier's training end to end."""

    weights: Literal["trained"] | None = Field(None, description="`trained`: no published file")
    sha256: None = Field(None, description="of no file")
    frozen: bool = Field(False, description="train the linear head alone")


class Clip(Training):
    """The training of the embedded study's teacher."""

    weights: Literal["trained"] = Field(description="`trained`: no published file")
    sha256: None = Field(None, description="of no file")
    temperature: Positive = Field(description="of the contrastive loss")


class Losses(Settings):
    """The loss behind each name of the ablation."""

    st: LossName = Field(description="of students whose names say no loss")
    ss: LossName = Field(description="of `student-ss-…`")
    both: LossName = Field(description="of `student-both-…`")
    ntxent: LossName = Field(description="of `student-ntxent-…`")
    mse: LossName = Field(description="of `student-mse-…`")


class ProbeFit(Settings):
    """How one linear probe is fitted, by Adam."""

    epochs: Epochs = Field(description="passes over its labelled images")
    batch: Count = Field(description="images of one step")
    lr: Rate = Field(description="the learning rate, at its highest")
    schedule: Literal["cosine", "stalled_cosine"] = Field("cosine", description="how the learning rate runs")
    period: Annotated[float, Field(gt=0), Unit("epochs")] | None = Field(
        None, description="of a stalled cosine, in epochs"
    )

    @model_validator(mode="after")
    def whole(self) -> Self:
        """Refuse a stalled cosine without its period."""
        check_schedule(self)
        return self


class Probes(Settings):
    """How linear probes are fitted."""

    flip: Share | None = Flip
    share_of: Literal["class", "mean_class"] = Field(
        "class", description="a part of the labels is one of every class, or as many of each as of the mean class"
    )
    full: ProbeFit = Field(description="probes on all labels")
    subset: ProbeFit = Field(description="probes on a part of the labels")
    transfer: ProbeFit | None = Field(None, exclude=True, description="in place of `full` away from ImageNet-100")
    clean: ProbeFit | None = Field(None, description="probes on undistorted images, in place of the others")
    precision: Precision = Field("fp32", description="that a GPU computes embeddings in; heads are fitted in float32")

    def fit_of(self, fraction: float, on_clean: bool) -> ProbeFit:
        """How a probe on so many percent of the labels is fitted, on undistorted images or on others."""
        if self.clean and on_clean:
            return self.clean
        return self.full if fraction == 100 else self.subset


class Networks(Settings):
    """The two networks of a study."""

    student: Network = Field(description="of students and their teacher")
    baseline: Network = Field(description="of supervised baselines")


class Evaluate(Settings):
    """How encoders are measured."""

    instantiations: Annotated[int, Field(ge=2, le=1000)] = Field(
        description="draws of each distortion that draws anything"
    )
    split: Literal["test", "validation"] = Field("test", description="that is measured on, where a data set has it")
    batch: Count = Field(description="images at a time; it changes nothing but memory")
    precision: Precision = Field("fp32", description="that a GPU computes embeddings in")


Blocks = Annotated[int, Field(ge=1, le=10_000)]
IN_BLOCKS = "parts that the images are restored in, each a job with a file of its own; one an image at most"


class NonLocalMeans(Settings):
    """scikit-image's non-local means."""

    patch_size: Length = Field(description="side of the patches that are compared")
    patch_distance: Length = Field(description="how far away patches are looked for")
    h: Positive = Field(description="cut-off distance")
    images: Samples | None = Field(None, description="test images that are restored; all where not set")
    blocks: Blocks = Field(1, exclude=True, description=IN_BLOCKS)
    instantiations: Draws | None = Field(None, description="draws of the noise; 10 where not set")
    constants: Literal["student", "baseline"] | None = Field(
        None, exclude=True, description="the network whose normalising constants restored images are tested with"
    )

    @property
    def draws(self) -> int:
        """Draws of the noise."""
        return self.instantiations or 10


class DeepDecoder(Settings):
    """Deep Decoder fits."""

    channels: Annotated[int, Field(ge=1, le=4096)] = Field(description="of each layer")
    upsamplings: Annotated[int, Field(ge=1, le=10)] = Field(description="layers that double the side")
    steps: Steps = Field(description="of each image's fit")
    lr: Rate = Field(description="of Adam")
    input_noise: NotNegative = Field(description="deviation of the noise on the input, at first")
    images: Samples | None = Field(None, description="test images that are restored; all where not set")
    blocks: Blocks = Field(1, exclude=True, description=IN_BLOCKS)
    precision: Literal["fp32", "tf32"] = Field("fp32", description="of the fits, on a GPU")
    compile: bool = Field(False, description="compile the decoder")
    mask: Literal["own", "stale"] = Field("own", description="that a fit knows: its image's own, or the first image's")


class Restore(Settings):
    """Restoration in pixel space."""

    nlm: NonLocalMeans = Field(description="denoising, Table 7")
    deep_decoder: DeepDecoder = Field(description="inpainting, Table 8")


class Gallery(Settings):
    """Sample images of Figures 1 and 11."""

    images: Count = Field(description="shown of the test split")


class InverseProblems(PictureSettings, Vocabulary):
    """All settings of a study of this paper."""

    crop: Literal["resized", "random"] = Field(
        description="of training pictures: RandomResizedCrop, or a random square"
    )
    flip: Share = Field(description="probability of a mirrored training picture")
    fractions: Annotated[Unique[Percent], Field(min_length=1)] = Field(
        description="labelled shares of Figures 3 and 7, in percent, rounded up per class"
    )
    networks: Networks
    teacher: Annotated[Annotated[Published, Tag("published")] | Annotated[Clip, Tag("trained")], ByOrigin] = Field(
        description="of the students: published weights, or a training"
    )
    resnet: Annotated[Annotated[Published, Tag("published")] | Annotated[Supervised, Tag("trained")], ByOrigin] = Field(
        description="that baselines start from: published weights, or a training on `imagenet`"
    )
    resnet100: Supervised = Field(description="the start of Table 11's second baselines, trained on ImageNet-100")
    distill: Distill
    losses: Losses = Field(description="the ablation's losses")
    finetune: Supervised = Field(description="the baselines' training")
    clean_baseline: Part[Supervised] | None = Field(
        None, description="what differs for the baseline without distortion"
    )
    probe: Probes
    probe_distortions: dict[str, str] = Field(
        {}, description="what probes are trained under, where it is not the encoder's"
    )
    evaluate: Evaluate
    restore: Restore
    gallery: Gallery

    @model_validator(mode="after")
    def drawable(self) -> Self:
        """Refuse blurs larger than images, and probes under distortions that mean nothing."""
        for kernel, sigma in self.blur_sigmas.items():
            blur = scaled(Blur(op="blur", kernel=kernel, sigma=[sigma, sigma]), self.pixel_scale)
            check_kernels([blur], self.image_size, f"blur_sigmas.{kernel}")
        for name, meaning in self.distortions.items():
            if not isinstance(meaning, str):
                check_kernels([scaled(op, self.pixel_scale) for op in meaning], self.image_size, f"distortions.{name}")
        for name, other in self.probe_distortions.items():
            for each in (name, other):
                check_name(each, self, f"probe_distortions.{name}")
        return self

    @model_validator(mode="after")
    def restorable(self) -> Self:
        """Refuse decoders whose images have another size: they double a side, of more than one pixel, so many times."""
        times = self.restore.deep_decoder.upsamplings
        side, rest = divmod(self.image_size, 2**times)
        if rest or side < 2:
            text = f"{times} doublings give no images of {self.image_size} px, which is image_size"
            raise refused(text, "restore.deep_decoder.upsamplings")
        return self
