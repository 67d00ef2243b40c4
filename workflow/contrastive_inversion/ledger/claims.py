"""Claims: what the paper says in words, as predicates over measured quantities, decided with uncertainty.

A claim in `workflow/published/claims.yaml` is a list of comparisons and how many of them must be true. A
comparison is a contrast of quantities, `plus` minus `minus`, that must lie above a bound (`above`), or between a
bound and its negative (`within`). It is true or false if the contrast is beyond its bounds by Z standard errors,
and open otherwise; the claim then holds, fails or is undecided according to how many are surely or possibly true.
Imports no torch.
"""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from contrastive_inversion.base import files, studies
from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.ledger import quantities, verdicts
from contrastive_inversion.ledger.measurements import Measurements

Z = 1.645  # one-sided 5 % for each comparison
KEYS = {"id", "section", "sentence", "for", "compare", "at_least", "at_most"}


@dataclass(frozen=True)
class Comparison:
    """One contrast of a claim: its value, standard error, and whether it is True, False or None for open."""

    text: str
    value: float | None
    se: float | None
    truth: bool | None


def load(study):
    """All claims of a study's ledger, as their file has them. Raises UserError on an unknown key."""
    path = quantities.ledger_of(study) / "claims.yaml"
    found = studies.read_yaml(path)
    for claim in found:
        for key in claim.keys() - KEYS:
            raise UserError(f"{path}: {claim['id']}: unknown key '{key}'{nearest(key, KEYS)}")
    return found


def expanded(claim):
    """The comparisons of a claim with the names of its `for` put in, one for each combination."""
    names = claim.get("for", {})
    for values in itertools.product(*names.values()):
        binding = dict(zip(names, values, strict=True))
        for comparison in claim["compare"]:
            yield {key: filled(value, binding) for key, value in comparison.items()}


def filled(value, binding):
    if isinstance(value, list):
        return [filled(item, binding) for item in value]
    if isinstance(value, str):
        for name, replacement in binding.items():
            value = value.replace("{" + name + "}", str(replacement))
    return value


def quantities_of(claim):
    """Every quantity that a claim is about."""
    return [
        quantities.parse(text)
        for comparison in expanded(claim)
        for text in [*comparison["plus"], *comparison.get("minus", [])]
    ]


def contrast(comparison, value, study):
    """The contrast of a comparison and its standard error: evaluation and training spread of every quantity.

    (None, None) where a quantity has no value.
    """
    total, variance = 0.0, 0.0
    for sign, key in ((1, "plus"), (-1, "minus")):
        terms = comparison.get(key, [])
        for text in terms:
            quantity = quantities.parse(text)
            estimate = value(quantity)
            if estimate is None:
                return None, None
            total += sign * estimate.mean
            variance += (estimate.se or 0.0) ** 2 + training_variance(quantity, estimate, study)
    return total, math.sqrt(variance)


def training_variance(quantity, estimate, study):
    """The variance of a mean over trainings: measured where there were several, else the declared spread's."""
    if estimate.training_se is not None:
        return estimate.training_se**2
    return verdicts.training_spread(quantity, study) ** 2


def truth(comparison, value, se):
    """Whether a contrast is beyond its bound by Z standard errors: True, False, or None where it is open."""
    if value is None:
        return None
    if "within" in comparison:
        bound = comparison["within"]
        if abs(value) + Z * se < bound:
            return True
        return False if abs(value) - Z * se > bound else None
    margin = value - comparison["above"]
    if abs(margin) <= Z * se:
        return None
    return margin > 0


def decide(claim, truths):
    """holds, fails or undecided, from the truths of a claim's comparisons."""
    wanted = claim.get("at_least", "all")
    least = {"all": len(truths), "most": len(truths) // 2 + 1}.get(wanted, wanted)
    most = claim.get("at_most", len(truths))
    surely, possibly = sum(t is True for t in truths), sum(t is not False for t in truths)
    if surely >= least and possibly <= most:
        return "holds"
    if possibly < least or surely > most:
        return "fails"
    return "undecided"


def judge(claim, value, study):
    """A claim's verdict, its comparisons, and its margin: the contrast that decides it, beyond its bound.

    value: a function from a Quantity to its Estimate or None.
    """
    compared = []
    for comparison in expanded(claim):
        contrasted, se = contrast(comparison, value, study)
        compared.append(Comparison(described(comparison), contrasted, se, truth(comparison, contrasted, se)))
    return decide(claim, [c.truth for c in compared]), compared, margin(claim, compared)


def margin(claim, compared):
    """How far the weakest comparison that must be true lies above its bound, in points; None if one is missing."""
    distances = []
    for comparison, item in zip(expanded(claim), compared, strict=True):
        if item.value is None:
            return None
        inside = "within" in comparison
        distances.append(comparison["within"] - abs(item.value) if inside else item.value - comparison["above"])
    wanted = claim.get("at_least", "all")
    needed = {"all": len(distances), "most": len(distances) // 2 + 1}.get(wanted, wanted)
    return sorted(distances, reverse=True)[max(needed, 1) - 1]


def described(comparison):
    """A comparison in words that fit a line."""
    left = " + ".join(comparison["plus"])
    right = " − ".join(["", *comparison.get("minus", [])])
    bound = f"within ±{comparison['within']}" if "within" in comparison else f"> {comparison['above']}"
    return f"{left}{right} {bound}"


def relevant(study):
    """The claims whose quantities a study measures, all of them."""
    wanted = set(quantities.of_study(study))
    return [claim for claim in load(study) if set(quantities_of(claim)) <= wanted]


def of_study(study_name, results="results"):
    """For each claim that the study can judge: (claim, verdict, comparisons, margin)."""
    study, measured = studies.load(study_name), Measurements(study_name, results)
    return [(claim, *judge(claim, measured.of, study)) for claim in relevant(study)]


def evidence(comparison):
    """A comparison's outcome in a few words."""
    if comparison.value is None:
        return f"{comparison.text}: no number"
    outcome = {True: "true", False: "false", None: "open"}[comparison.truth]
    return f"{comparison.text}: {comparison.value:.2f} ± {comparison.se:.2f}, {outcome}"


def write(study_name, results="results"):
    """Write claims.csv of a study. Raises UserError if a measurement is missing or unsound."""
    lines = [
        {
            "claim": claim["id"], "section": claim["section"], "sentence": claim["sentence"], "verdict": verdict,
            "margin": None if margin is None else round(margin, 4),
            "evidence": "; ".join(evidence(c) for c in compared),
        }
        for claim, verdict, compared, margin in of_study(study_name, results)
    ]  # fmt: skip
    table = pd.DataFrame(lines, columns=["claim", "section", "sentence", "verdict", "margin", "evidence"])
    files.write_text(Path(results) / study_name / "claims.csv", table.to_csv(index=False, lineterminator="\n"))
