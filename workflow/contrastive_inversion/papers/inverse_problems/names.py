"""The paper's names: its encoders, its metrics, and the levels that quantities are measured at. Imports no torch."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.distort import names
from contrastive_inversion.ledger import quantities
from contrastive_inversion.ledger.paper import Metric
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

STUDENT = re.compile(r"student(?:-(?P<loss>ss|both|ntxent|mse))?-(?P<distortion>[a-z]\w*)(?:-seed(?P<seed>\d+))?")
BASELINE, BASELINE100 = (
    re.compile(rf"{name}-(?P<distortion>\w+)(?:-seed(?P<seed>\d+))?") for name in ("baseline", "baseline100")
)
TEACHER, RESNET, RESNET100 = map(re.compile, ("teacher", "resnet", "resnet100"))
EXAMPLES = (
    "teacher", "resnet", "resnet100", "student-rm90", "student-mse-rm50to95", "baseline-rm90", "baseline100-rm90",
)  # fmt: skip
METRICS = {
    "top1": Metric("Top-1 accuracy (%)", share=True),
    "top5": Metric("Top-5 accuracy (%)", share=True),
    "mrr": Metric("Mean reciprocal rank (%)"),
    "auc": Metric("Area under the ROC curve", point=0.01),
    "cosine": Metric("Cosine between representations", point=0.01, compares=True),
}
RESTORATIONS = {"nlm": "denoised", "dd": "inpainted"}  # the folders of their images
# `gn10`, `nlm-gn10` after a restoration, and `gn10-of-nlm`: the images that are restored, before they are
LEVEL = re.compile(r"(?!.+-.+-of-)(?:(?P<restored>nlm|dd)-)?(?P<distortion>.+?)(?:-of-(?P<images>nlm|dd))?")
# test images behind the print (of ImageNet-C, of each severity); those under label shift are not said
IMAGES = {
    "imagenet100": 5000, "imagenet100b": 5000, "imagenet100c": 5000, "cifar10": 10000, "cifar100": 10000, "stl10": 8000,
    "covid": 624,
}  # fmt: skip


def distortion_of(level: str) -> str:
    """The distortion of a level's images: `gn10` of `nlm-gn10`, of `gn10-of-nlm`, and of `gn10` itself."""
    match = LEVEL.fullmatch(level)
    return match["distortion"] if match else level


def restoration(level: str) -> str | None:
    """The restoration, one of RESTORATIONS, that a level's images went through; None where there was none."""
    match = LEVEL.fullmatch(level)
    return match and match["restored"]


def restored_by(level: str) -> str | None:
    """The restoration whose images a level is measured on before they are restored; None for all test images."""
    match = LEVEL.fullmatch(level)
    return match and match["images"]


def measured_alone(quantity: Quantity) -> bool:
    """Whether a quantity's level has a file of its own: tables without restored images do not wait for any."""
    return bool(restoration(quantity.distortion) or restored_by(quantity.distortion))


def images_restored(method: str, study: Study[Any]) -> int | None:
    """How many test images one of RESTORATIONS restores; None where it is all."""
    restore = study.settings.restore
    count: int | None = (restore.nlm if method == "nlm" else restore.deep_decoder).images
    return count


def on_same_images(compared: Iterable[Quantity], study: Study[Any]) -> dict[Quantity, Quantity]:
    """What to compare in place of some quantities, where others beside them are of restored images.

    Nothing where all test images are restored, or what is beside them has been restored otherwise.
    """
    compared = list(compared)
    methods = {method for each in compared if (method := restoration(each.distortion))}
    method = methods.pop() if len(methods) == 1 else None
    if method is None or images_restored(method, study) is None:
        return {}
    plain = [each for each in compared if not restoration(each.distortion)]
    return {each: replace(each, distortion=f"{each.distortion}-of-{method}") for each in plain}


def is_imagenet_c(data: str, study: Study[Any]) -> bool:
    """Whether a data set's distortions are ImageNet-C's corruptions."""
    return str(study.settings.data[data].source).endswith("imagenet-c")


def check_level(quantity: Quantity, study: Study[Any]) -> None:
    """Raise UserError for a quantity whose distortions, of the level, the encoder or the probe, mean nothing."""
    probe = quantities.probe_of(quantity, study.paper)
    for encoder in {quantity.encoder, probe.encoder if probe else quantity.encoder}:
        names.specification(study.paper.trained_under(encoder) or "clean", study.settings)
    if probe:
        names.specification(probe.distortion, study.settings)
    check_beside(quantity, study)
    if not is_imagenet_c(quantity.data, study):
        names.specification(distortion_of(quantity.distortion), study.settings)
    elif quantity.distortion not in names.IMAGENET_C:
        raise UserError(f"unknown distortion '{quantity.distortion}'{nearest(quantity.distortion, names.IMAGENET_C)}")


def check_beside(quantity: Quantity, study: Study[Any]) -> None:
    """Raise UserError where representations cannot be compared: of two networks, or of images made elsewhere."""
    other = quantities.beside(quantity)
    if other is None:
        return
    if has_student_s_network(quantity.encoder) != has_student_s_network(other):
        raise UserError(f"'{quantity.encoder}' and '{other}' are two networks, whose representations do not compare")
    if restoration(quantity.distortion) or is_imagenet_c(quantity.data, study):
        raise UserError(
            "representations are compared where the distortion is drawn here, on images that are not restored"
        )


def has_student_s_network(encoder: str) -> bool:
    """Whether an encoder has the students' network, and not the baselines'."""
    return bool(STUDENT.fullmatch(encoder) or TEACHER.fullmatch(encoder))


def level_label(name: str, study: Study[Any]) -> str:
    """What people read for a distortion, by its own name where the study gives it another."""
    named = study.settings.distortions.get(name, name)
    return names.label(named if isinstance(named, str) else name)


FAR = ("rm96", "rm97", "rm98", "rm99")  # masks where accuracy falls off steeply, and spreads with it


def spread(quantity: Quantity) -> str:
    """Which training spread a quantity has: its metric's, apart under label shift, on COVID and under far masks.

    And on the images that a restoration takes, which may be few: the fewer, the further a training moves their share.
    """
    if quantity.data == "label_shift":
        return "label_shift"
    if quantity.data == "covid" and quantity.metric != "auc":
        return f"{quantity.metric}@covid"
    if method := restoration(quantity.distortion) or restored_by(quantity.distortion):
        return f"{quantity.metric}@{method}"
    return f"{quantity.metric}@far" if quantity.distortion in FAR else quantity.metric


def redrawn(quantity: Quantity) -> tuple[str, ...]:
    """What more has a declared spread: a Deep Decoder's initial weights and input noise, fitted once to each image.

    Non-local means draw nothing, and the noise below them is drawn ten times.
    """
    return ("restoration",) if restoration(quantity.distortion) == "dd" else ()
