"""Spreads: how far a number moves when what is behind it is made once more, and how sure that spread is itself.

A quantity has a spread for each thing behind it that a repetition of the study would draw anew:

    its encoder         where the study trains it; its own head is fitted with it      kind: the paper's `spread`
    that one's start    where the study trains it, once for all encoders that start    kind: the same
                        from it; it is taken to move them as far as their own training
    its head            a probe on an encoder that is not trained, or moved here       kind: `head_` and the former
    what else is drawn  such as a restoration's fits                                   kinds: the paper's `redrawn`

A kind is of a metric and, after an `@`, of a level where that spreads otherwise. A spread is measured where a quantity
was measured on several trainings, pooled over the cells of one table (the comparisons of one reading) that have the
same kind. Otherwise it is what the study that `spreads` names has measured (`ledger.measured_spreads`), and until that
has run the study's declared `training_spread`, which is assumed. Pooled, it has n - 1 degrees of freedom for each
encoder, not for each cell: the cells of one encoder move together; where encoders spread unequally it has fewer. A
declared one is taken as known, with infinitely many.

Sums of variances have the degrees of freedom of Welch (1947, Biometrika 34) and Satterthwaite (1946, Biometrics
Bulletin 2): (sum v_i)^2 / sum (v_i^2 / df_i). Imports no torch.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.ledger.estimates import Estimate, Spread
from contrastive_inversion.ledger.quantities import Quantity, beside, probe_of
from contrastive_inversion.ledger.study import Study

LARGEST_FACTOR = 100.0  # of the spread, at which a verdict is looked at
STEPS = 16  # of a bisection


@dataclass(frozen=True)
class Drawn:
    """Something behind a quantity that is drawn: its kind of spread, and what it is.

    Quantities that name the same source share the draw; repeated: whether a further training draws it anew.
    """

    kind: str
    source: str
    repeated: bool = True


@dataclass(frozen=True)
class Part:
    """A part of a variance, in squared units of the quantity.

    df: the degrees of freedom of its estimate; drawn, spread: behind it, None where it comes of no spread.
    """

    variance: float
    df: float = math.inf
    drawn: Drawn | None = None
    spread: Spread | None = None

    def at(self, factor: float) -> "Part":
        """The part with spreads so many times as large; what is no spread stays as it is."""
        return replace(self, variance=self.variance * factor**2) if self.spread else self


@dataclass(frozen=True)
class Difference:
    """A sum of quantities with signs, in their units, and the parts of its variance."""

    value: float
    parts: tuple[Part, ...]

    @property
    def se(self) -> float:
        """Its standard error."""
        return math.sqrt(sum(part.variance for part in self.parts))

    @property
    def df(self) -> float:
        """The degrees of freedom of that."""
        return degrees_of_freedom(self.parts)

    def at(self, factor: float) -> Self:
        """The same with spreads so many times as large."""
        return replace(self, parts=tuple(part.at(factor) for part in self.parts))


Pooled = Mapping[str, Spread]


def behind(quantity: Quantity, study: Study[Any]) -> list[Drawn]:
    """What behind a quantity a repetition of the study would draw anew."""
    family = study.paper.family(quantity.encoder)[0]
    retrained = family.retrained
    kind, probe = study.paper.spread(quantity), probe_of(quantity, study.paper)
    draws = [Drawn(kind, quantity.encoder)] if retrained else []
    if probe and (not retrained or probe.encoder != quantity.encoder):
        source = f"{probe.encoder} | {probe.key} | {quantity.data}"
        draws.append(Drawn(f"head_{kind}", source, repeated=not retrained))
    for other in (family.starts_from, beside(quantity)):
        if other and study.paper.family(other)[0].retrained:  # seeds are those of the encoder on the left
            draws.append(Drawn(kind, other, repeated=False))
    return draws + [Drawn(each, str(quantity), repeated=False) for each in study.paper.redrawn(quantity)]


def declared(kind: str, quantity: Quantity, study: Study[Any]) -> Spread:
    """The spread of a kind that another study measured, else the one that the study assumes.

    `top1@far` is a kind with a level: without a spread of its own it has that of `top1`. Raises UserError where there
    is none.
    """
    assumed = study.settings.training_spread
    for name in (kind, kind.partition("@")[0]):
        if name in study.spreads:
            return study.spreads[name]
        if name in assumed:
            return Spread(assumed[name])
    raise UserError(f"{study.place(f'training_spread.{kind}')}: missing, '{quantity}' needs it{nearest(kind, assumed)}")


def pooled(measured: Iterable[tuple[Quantity, Estimate | None]], study: Study[Any]) -> Pooled:
    """The spreads that quantities of several trainings show together, by kind; empty where there was one training.

    Trainings that agree to the last digit show none: what is declared stands for that.
    """
    kinds: dict[str, dict[str, list[tuple[float, int]]]] = {}
    for quantity, estimate in measured:
        drawn = [each for each in behind(quantity, study) if each.repeated]
        if estimate is None or estimate.shown_sd is None or not drawn:
            continue
        df = estimate.trainings - 1
        of_encoder = kinds.setdefault(drawn[0].kind, {}).setdefault(drawn[0].source, [])
        of_encoder.append((estimate.shown_sd**2 * df, df))
    found = {kind: pooled_spread(list(encoders.values())) for kind, encoders in kinds.items()}
    return {kind: spread for kind, spread in found.items() if spread.value}


def pooled_spread(encoders: Sequence[Sequence[tuple[float, int]]]) -> Spread:
    """The spread behind the sums of squares, with their degrees of freedom, of the cells of some encoders.

    The variance is the mean of theirs. Its degrees of freedom are Welch's (1947, with those of each variance estimated
    and so n + 1 in place of n - 1), sum^2 / sum (squares^2 / (n + 1)) - 2, and at most the sum of the encoders': fewer
    where they spread unequally.
    """
    squares = [sum(square for square, _ in cells) for cells in encoders]  # (encoders,)
    own = [cells[0][1] for cells in encoders]
    doubt = sum(square**2 / (df + 2) for square, df in zip(squares, own, strict=True))
    df = min(sum(own), sum(squares) ** 2 / doubt - 2) if doubt else sum(own)
    return Spread(math.sqrt(sum(squares) / sum(df for cells in encoders for _, df in cells)), df, assumed=False)


def parts(quantity: Quantity, ours: Estimate, study: Study[Any], measured: Pooled, others: int) -> list[Part]:
    """The variances of what was drawn behind an Estimate: s^2 (others + 1/n), others being repetitions elsewhere.

    n: our trainings, for what each of them draws; otherwise 1.
    """
    summands = []
    for drawn in behind(quantity, study):
        spread = measured.get(drawn.kind) or declared(drawn.kind, quantity, study)
        variance = spread.value**2 * (others + 1 / (ours.trainings if drawn.repeated else 1))
        summands.append(Part(variance, spread.df, drawn, spread))
    return summands


def evaluation(estimate: Estimate) -> Part:
    """The variance of an Estimate's own standard error, of its n instantiations in each training."""
    return Part((estimate.se or 0.0) ** 2, max((estimate.n - 1) * estimate.trainings, 1))


def sampling(quantity: Quantity, images: tuple[int | None, int | None], mean: float, study: Study[Any]) -> list[Part]:
    """The draw of the test images, where our share is of other images than the number beside it: p (1 - p) |1/m - 1/M|.

    images: m, M, ours and those of the other side; none is known to be drawn where one is None. The smaller set is
    taken for a part of the larger; the same number for the same images. mean: the share in percent, on the larger set
    where that is known. p is (1 + m mean) / (2 + m), so that 0 and 100 % are not taken as exact.
    """
    m, other = images
    if not (m and other and m != other and study.paper.metric(quantity.metric).share):
        return []
    p = (1 + m * mean / 100) / (2 + m)
    return [Part(100**2 * p * (1 - p) * abs(1 / m - 1 / other))]


def degrees_of_freedom(summands: Iterable[Part]) -> float:
    """Of the sum of some variances, by Welch and Satterthwaite; infinitely many where all are known, or are 0.

    Parts of one kind rest on one estimate of its spread, so they count as one.
    """
    variances: dict[Any, float] = {}
    for number, part in enumerate(summands):
        key = (part.drawn.kind if part.drawn else number, part.df)
        variances[key] = variances.get(key, 0.0) + part.variance
    doubt = sum(variance**2 / df for (_, df), variance in variances.items())
    return sum(variances.values()) ** 2 / doubt if doubt else math.inf


def resting_on(summands: Iterable[Part]) -> str:
    """What the spreads among some variances rest on: `assumed` where any does, else `measured`; empty without any."""
    known = [part.spread for part in summands if part.spread and part.variance]
    return ("assumed" if any(spread.assumed for spread in known) else "measured") if known else ""


def own_spread(summands: Iterable[Part]) -> float:
    """The standard deviation of one repetition of all that is drawn behind a number."""
    return math.sqrt(sum(part.spread.value**2 for part in summands if part.spread))


def flip_factor(verdict_at: Callable[[float], object]) -> float | None:
    """By how much spreads must be multiplied for a verdict to change; None where it stays from 0 to LARGEST_FACTOR.

    verdict_at: the verdict at a factor. Found by bisection, to LARGEST_FACTOR / 2^STEPS.
    """
    now = verdict_at(1.0)
    there = next((far for far in (0.0, LARGEST_FACTOR) if verdict_at(far) != now), None)
    if there is None:
        return None
    here = 1.0
    for _ in range(STEPS):
        middle = (here + there) / 2
        here, there = (middle, there) if verdict_at(middle) == now else (here, middle)
    return there
