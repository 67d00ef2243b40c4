"""The report's names: its encoders, its metrics, and the attacks that its quantities are measured under.

An encoder's name says how it was trained, on what share of the labels in percent, and with what weight of the penalty:
`supervised-labels10`, `contrastive-lambda0.1`. Imports no torch.
"""

import re
from dataclasses import replace
from typing import Any

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.ledger import quantities
from contrastive_inversion.ledger.paper import Metric
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

SEED, LAMBDA, LABELS = (
    r"(?:-seed(?P<seed>\d+))?",
    r"(?:-lambda(?P<strength>\d{1,4}(?:\.\d+)?))?",
    r"(?:-labels(?P<labels>\d{1,3}(?:\.\d+)?))?",
)
CONTRASTIVE = re.compile(f"contrastive{LAMBDA}{SEED}")
SUPERVISED = re.compile(f"supervised{LABELS}{LAMBDA}{SEED}")
FINETUNED = re.compile(f"finetuned{LABELS}{LAMBDA}{SEED}")
EXAMPLES = ("supervised", "supervised-labels10", "contrastive-lambda0.1", "finetuned-labels10")
# of all attacks in L2 on a model: an image counts as misclassified where any of them found it so
STRONGEST = "strongest"
# where quantities have a distortion; beside them a study's own `attacks.checks`
ATTACKS = ("clean", "pgd", "plb", STRONGEST)
# `all@x`: misclassified within a distance x, of all images; `printed@x`: of those that the report's figure counts
METRICS = {
    "top1": Metric("Top-1 accuracy (%)", share=True),
    "all": Metric("Images misclassified (%)", takes_value=True, share=True),
    "printed": Metric("Counted images misclassified (%)", takes_value=True),
    "median": Metric("Median distance", point=0.01),
    "failed": Metric("Images classified correctly on which the attack failed (%)", share=True),
}


def check_level(quantity: Quantity, study: Study[Any]) -> None:
    """Raise UserError for an unknown attack, a probe on anything but clean images, and a transfer from no model.

    For a metric that is not measured there, too.
    """
    probe = quantities.probe_of(quantity, study.paper)
    if probe and probe.distortion != "clean":
        raise UserError("a probe sees clean images here: say 'probe F% on clean'")
    checks = study.settings.attacks.checks
    known = (*ATTACKS, *checks)
    if quantity.distortion not in known:
        raise UserError(f"unknown attack '{quantity.distortion}'{nearest(quantity.distortion, known)}")
    check_metric(quantity)
    if quantity.distortion in checks and study.settings.attacks.named(quantity.distortion).transferred:
        counterpart(quantity)


def check_metric(quantity: Quantity) -> None:
    """Raise UserError for an accuracy under an attack, and for a distance without one."""
    if (quantity.metric == "top1") != (quantity.distortion == "clean"):
        where = "on clean images, not under" if quantity.metric == "top1" else "under an attack, not on"
        raise UserError(f"'{quantity.metric}' is measured {where} '{quantity.distortion}'")


def counterpart(quantity: Quantity) -> Quantity:
    """The same of the other family's model of the same penalty and seed, trained on all labels.

    Raises UserError for a model that has none.
    """
    contrastive, supervised = CONTRASTIVE.fullmatch(quantity.encoder), SUPERVISED.fullmatch(quantity.encoder)
    if contrastive:
        return replace(quantity, encoder=quantity.encoder.replace("contrastive", "supervised"), head="own")
    if supervised and not supervised["labels"]:
        name = quantity.encoder.replace("supervised", "contrastive")
        return replace(quantity, encoder=name, head="probe 100% on clean")
    raise UserError(
        f"no other model's attack can be shown to '{quantity.encoder}': it has none of its penalty beside it"
    )


def spread(quantity: Quantity) -> str:
    """Which training spread a quantity has: its metric's, apart for penalised models, of which some hardly train."""
    kind = quantity.metric.partition("@")[0]
    return f"{kind}@penalised" if "-lambda" in quantity.encoder else kind
