"""Contrasts of measured quantities, with what is uncertain of them.

The variance of a contrast is the sum, over its quantities, of

    standard error^2            the draw of the distortions, with n - 1 degrees of freedom
    spread^2 / n                what a repetition draws anew (`ledger.spreads`), n our trainings; measured spreads are
                                pooled over the reading's quantities of a kind
    p (1 - p) (1/m - 1/M)       the draw of the test images, where others in the contrast are measured on M > m of them

and its degrees of freedom are those of Welch and Satterthwaite. A standard error that is compared itself is told of as
many test images as the print's. Of a censored quantity a bound is known; a contrast with one is open towards the other
side. Imports no torch.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from contrastive_inversion.ledger import joint, spreads
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.joint import Contrast
from contrastive_inversion.ledger.measurements import most_images
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.spreads import Part, Pooled
from contrastive_inversion.ledger.statements import Comparison
from contrastive_inversion.ledger.study import Study

Value = Callable[[Quantity], Estimate | None]


def contrast_of(
    comparison: Comparison, value: Value, study: Study[Any], measured: Pooled | None = None
) -> Contrast | None:
    """The contrast of a comparison, None where a value lacks; measured: the spreads by kind that trainings showed."""
    weights = comparison.weights
    known = {q: each for q in weights if (each := taken(comparison, q, value(q), study)) is not None}
    if len(known) < len(weights):
        return None
    draws = list(drawn(comparison, known, study, measured or {}))
    signs = tuple(int(math.copysign(1, weights[quantity])) for quantity, _, _ in draws)
    parts = [replace(part, variance=part.variance * weights[quantity] ** 2) for quantity, _, part in draws]
    total = sum(weight * known[quantity].mean for quantity, weight in weights.items())
    censored = [weight for quantity, weight in weights.items() if known[quantity].censored]
    return Contrast(
        total, joint.together(parts, signs), tuple((q, n) for q, n, _ in draws), signs,
        open_above=any(weight > 0 for weight in censored), open_below=any(weight < 0 for weight in censored),
    )  # fmt: skip


def taken(comparison: Comparison, quantity: Quantity, estimate: Estimate | None, study: Study[Any]) -> Estimate | None:
    """What a comparison is of: an Estimate, or one training's standard error in the place of its mean.

    A draw of the distortions makes each image right or wrong by itself, so the error of their share falls with the root
    of their number: it is told of as many as the print's, where that number is known.
    """
    if comparison.of == "mean" or estimate is None:
        return estimate
    if estimate.se is None:
        return None
    ours, theirs = estimate.images, study.paper.images.get(quantity.data)
    ratio = ours / theirs if ours and theirs else 1.0
    return replace(estimate, mean=estimate.se * math.sqrt(estimate.trainings * ratio), censored=False)


def drawn(
    comparison: Comparison, known: Mapping[Quantity, Estimate], study: Study[Any], measured: Pooled
) -> Iterator[tuple[Quantity, int, Part]]:
    """What is drawn behind a contrast's quantities: each quantity, the number of the part within it, and the part."""
    most = most_images(known)
    for quantity, estimate in known.items():
        if comparison.of == "error":
            parts = [error_of_error(comparison, estimate)]
        else:
            parts = uncertain(quantity, estimate, most[quantity.data], study, measured)
        for number, part in enumerate(parts):
            yield quantity, number, part


def uncertain(quantity: Quantity, estimate: Estimate, images: int, study: Study[Any], measured: Pooled) -> list[Part]:
    """The variances of one quantity in a contrast whose largest set of test images has so many."""
    known = spreads.parts(quantity, estimate, study, measured, others=0)
    known += spreads.sampling(quantity, (estimate.images, images), estimate.mean, study)
    return known if estimate.se is None else [spreads.evaluation(estimate), *known]


def error_of_error(comparison: Comparison, estimate: Estimate) -> Part:
    """The variance of a standard error at its bound: bound^2 / (2 df), as Fisher's root of a chi-squared has it."""
    bound = comparison.high if math.isfinite(comparison.high) else comparison.low
    return Part(bound**2 / (2 * spreads.evaluation(estimate).df))
