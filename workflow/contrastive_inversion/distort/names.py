"""Names of distortions and what they mean. Names are the same in every study; this module needs no torch.

    clean         no distortion                     rm90       90 % of the pixels masked
    rm50to95      masks of 50-95 %, one per image   gn50       additive Gaussian noise, sigma 0.5
    gn10to30      noise of sigma 0.1-0.3 per image  gb21       Gaussian blur, kernel 21 at 224 px

A study names further ones under `distortions:`, as another name or as a list of operations. A specification
is a list of operations, each a dict with `op` and its parameters; `probability` defaults to 1.
"""

import re

from contrastive_inversion.base.errors import UserError, nearest

IMAGENET_C = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise",
    "gaussian_blur", "spatter", "saturate",
)  # fmt: skip
PERCENT = re.compile(r"(rm|gn)(\d{1,2})(?:to(\d{1,2}))?")
BLUR = re.compile(r"gb(\d+)")


def is_deterministic(spec):
    """True if the distortion draws nothing, so that one instantiation says all."""
    return all(op["op"] == "blur" and op["sigma"][0] == op["sigma"][1] and "probability" not in op for op in spec)


def specification(name, study):
    """The list of operations that a distortion's name stands for in a study.

    Raises UserError, with the nearest known name, for a name that means nothing.
    """
    named = study["distortions"].get(name)
    if isinstance(named, str):
        return specification(named, study)
    if named is not None:
        return [scaled(op, study["pixel_scale"]) for op in named]
    if name == "clean":
        return []
    if match := PERCENT.fullmatch(name):
        return [percent_operation(*match.groups())]
    if (match := BLUR.fullmatch(name)) and int(match[1]) in study["blur_sigmas"]:
        kernel = int(match[1])
        sigma = study["blur_sigmas"][kernel]
        return [scaled({"op": "blur", "kernel": kernel, "sigma": [sigma, sigma]}, study["pixel_scale"])]
    known = [*study["distortions"], "clean", "rm90", "rm50to95", "gn50", "gn10to30"]
    known += [f"gb{kernel}" for kernel in study["blur_sigmas"]]
    raise UserError(f"unknown distortion '{name}'{nearest(name, known)}")


def percent_operation(kind, low, high):
    """A mask's range of fractions or a noise's range of sigmas from the percentages in its name."""
    parameter = [int(low) / 100, int(high or low) / 100]
    return {"op": "mask", "fraction": parameter} if kind == "rm" else {"op": "noise", "sigma": parameter}


def scaled(op, scale):
    """A blur's lengths, written for 224 px, at a study's image size; the kernel to the nearest odd number."""
    if op["op"] != "blur":
        return op
    kernel = 2 * round((op["kernel"] * scale - 1) / 2) + 1
    return op | {"kernel": kernel, "sigma": [round(sigma * scale, 6) for sigma in op["sigma"]]}


def label(name):
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
