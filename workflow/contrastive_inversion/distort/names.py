"""Names of distortions, and the typed operations that they stand for. Imports no torch.

    clean         no distortion                     rm90       90 % of the pixels masked
    rm50to95      masks of 50-95 %, one per image   gn50       additive Gaussian noise, sigma 0.5
    gn10to30      noise of sigma 0.1-0.3 per image  gb21       Gaussian blur, kernel 21 at 224 px

A study names further ones under `distortions:`, as another name or as a list of operations.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, model_validator

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.settings import Name, NotNegative, Range, Settings, Share, Shares, refused

IMAGENET_C = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise",
    "gaussian_blur", "spatter", "saturate",
)  # fmt: skip
PERCENT = re.compile(r"(rm|gn)(\d{1,2})(?:to(\d{1,2}))?")
LEAST = 0.01  # of a blur's deviation and of what scales it: one of 0 is no number
BLUR = re.compile(r"gb(\d{1,3})")


def odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise refused(f"{kernel} is even: a kernel has a centre")
    return kernel


def wide(bounds: list[float]) -> list[float]:
    if bounds[0] < LEAST:
        raise refused(f"{bounds}: a blur's deviation is {LEAST} at least")
    return bounds


Length = Annotated[float, Field(ge=LEAST)]
Kernel = Annotated[int, Field(ge=1, le=999), AfterValidator(odd)]


class Sometimes(Settings):
    """What every operation has."""

    probability: Share | None = Field(None, description="applies to an image with this probability, else to all")


class Mask(Sometimes):
    """Set a share of an image's pixels to 0."""

    op: Literal["mask"]
    fraction: Shares = Field(description="bounds of the share, drawn uniformly for each image")


class Noise(Sometimes):
    """Add Gaussian noise, not clipped."""

    op: Literal["noise"]
    sigma: Range = Field(description="bounds of its deviation on the [0, 1] scale, drawn for each image")


class Blur(Sometimes):
    """Gaussian blur with reflect padding."""

    op: Literal["blur"]
    kernel: Kernel = Field(description="its size in pixels at 224 px")
    sigma: Annotated[Range, AfterValidator(wide)] = Field(
        description="bounds of its deviation in pixels at 224 px, drawn for each image"
    )


class Jitter(Sometimes):
    """torchvision's ColorJitter, drawn for each image."""

    op: Literal["jitter"]
    brightness: NotNegative = Field(0, description="factors lie within 1 ± this")
    contrast: NotNegative = Field(0, description="factors lie within 1 ± this")
    saturation: NotNegative = Field(0, description="factors lie within 1 ± this")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(0, description="shifts lie within ± this, in turns")


class Grey(Sometimes):
    """All channels alike."""

    op: Literal["grey"]
    mean: bool = Field(False, description="the channels' mean instead of their luma")


Operation = Annotated[Mask | Noise | Blur | Jitter | Grey, Field(discriminator="op")]
Specification = list[Operation]
SPECIFICATION: TypeAdapter[Specification] = TypeAdapter(Specification)


class Vocabulary(Settings):
    """A study's own words for distortions, and how lengths scale with its images."""

    pixel_scale: Length = Field(description="lengths of a blur are written for 224 px and multiplied by this")
    blur_sigmas: dict[Kernel, Length] = Field(description="the deviation of a blur by its kernel: `gb21` is kernel 21")
    distortions: dict[Name, str | Specification] = Field(description="further names: another name, or its operations")

    @model_validator(mode="after")
    def meaningful(self) -> Self:
        """Refuse a name for a distortion that means nothing, or itself."""
        for name, meaning in self.distortions.items():
            if means_something(name, self):
                raise refused("it has a meaning of its own: take another name", f"distortions.{name}")
            seen = [name]
            while isinstance(meaning, str) and meaning in self.distortions:
                if meaning in seen:
                    raise refused(f"'{meaning}' stands for itself", f"distortions.{name}")
                seen.append(meaning)
                meaning = self.distortions[meaning]
            if isinstance(meaning, str):
                check_name(meaning, self, f"distortions.{name}")
        return self


def means_something(name: str, words: Vocabulary) -> bool:
    """Whether a distortion's name has a meaning that no study gives it."""
    blur = BLUR.fullmatch(name)
    return name == "clean" or bool(PERCENT.fullmatch(name)) or bool(blur and int(blur[1]) in words.blur_sigmas)


def operations(*content: dict[str, Any]) -> Specification:
    """A specification from plain values. Raises pydantic's ValidationError for what is no operation."""
    return SPECIFICATION.validate_python(list(content))


def check_name(name: str, words: Vocabulary, key: str) -> None:
    """Raise a validator's error for a distortion's name that means nothing."""
    try:
        specification(name, words)
    except UserError as error:
        raise refused(str(error), key) from None


def check_kernels(spec: Sequence[Operation], size: int, key: str) -> None:
    """Raise a validator's error for a blur too large for images of a size: its padding reflects them once."""
    for op in spec:
        if isinstance(op, Blur) and op.kernel // 2 >= size:
            raise refused(f"a kernel of {op.kernel} px is too large for images of {size} px", key)


def is_deterministic(spec: Sequence[Operation]) -> bool:
    """True if the distortion draws nothing, so that one instantiation says all."""
    return all(isinstance(op, Blur) and op.sigma[0] == op.sigma[1] and op.probability is None for op in spec)


def specification(name: str, words: Vocabulary) -> Specification:
    """The operations that a distortion's name stands for in a study; none for `clean`.

    Raises UserError, with the nearest known name, for a name that means nothing.
    """
    named = words.distortions.get(name)
    if isinstance(named, str):
        return specification(named, words)
    if named is not None:
        return [scaled(op, words.pixel_scale) for op in named]
    if name == "clean":
        return []
    if match := PERCENT.fullmatch(name):
        if int(match[2]) > int(match[3] or match[2]):
            raise UserError(f"'{name}' is no range: its lower bound comes first")
        return operations(percent_operation(*match.groups()))
    if (match := BLUR.fullmatch(name)) and int(match[1]) in words.blur_sigmas:
        sigma = words.blur_sigmas[int(match[1])]
        return [scaled(Blur(op="blur", kernel=int(match[1]), sigma=[sigma, sigma]), words.pixel_scale)]
    known = [*words.distortions, "clean", "rm90", "rm50to95", "gn50", "gn10to30"]
    known += [f"gb{kernel}" for kernel in words.blur_sigmas]
    raise UserError(f"unknown distortion '{name}'{nearest(name, known)}")


def percent_operation(kind: str, low: str, high: str | None) -> dict[str, Any]:
    """A mask's range of fractions or a noise's range of sigmas from the percentages in its name."""
    bounds = [int(low) / 100, int(high or low) / 100]
    return {"op": "mask", "fraction": bounds} if kind == "rm" else {"op": "noise", "sigma": bounds}


def scaled(op: Operation, scale: float) -> Operation:
    """A blur's lengths, written for 224 px, at a study's image size; the kernel to the nearest odd number."""
    if not isinstance(op, Blur):
        return op
    kernel = 2 * round((op.kernel * scale - 1) / 2) + 1
    return op.model_copy(update={"kernel": kernel, "sigma": [round(sigma * scale, 6) for sigma in op.sigma]})


def label(name: str) -> str:
    """What a person reads for a distortion's name."""
    if match := PERCENT.fullmatch(name):
        kind, low, high = match.groups()
        if kind == "rm":
            return f"mask {low}–{high} %" if high else f"mask {low} %"
        sigma = f"{int(low) / 100:g}–{int(high) / 100:g}" if high else f"{int(low) / 100:g}"
        return f"noise σ = {sigma}"
    if match := BLUR.fullmatch(name):
        return f"blur n = {match[1]}"
    return name.replace("_", " ")


def position(name: str) -> float:
    """A level's place on an axis: percent of pixels, a standard deviation, or the number that the name is."""
    match = PERCENT.fullmatch(name)
    if not match:
        return float(name)
    return int(match[2]) if match[1] == "rm" else int(match[2]) / 100
