"""Estimates: a quantity's mean, its standard error, how both come from raw values; and the spread of repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A measured quantity: mean and its standard error over n draws, and where it comes from.

    Drawn are instantiations of a distortion or, of an attack's distances, images. Percent for top1 and top5, a fraction
    for auc. se is None where the quantity was measured once. With several
    training seeds, mean and se are those of the mean over trainings, training_sd the standard deviation (ddof 1)
    of the trainings' means. censored: all that is known is that the true value is at least the mean.
    """

    mean: float
    se: float | None
    n: int
    images: int | None = None
    origin: str = ""
    trainings: int = 1
    training_sd: float | None = None
    censored: bool = False

    @property
    def shown_sd(self) -> float | None:
        """How far its trainings are seen to spread; None where there was one, or only a bound of one is known."""
        return None if self.censored else self.training_sd

    @property
    def training_se(self) -> float | None:
        """Standard error of the mean over trainings; None where there was one."""
        return None if self.training_sd is None else self.training_sd / math.sqrt(self.trainings)


@dataclass(frozen=True)
class Spread:
    """The standard deviation of a kind of quantity over repetitions, in its units; df: the estimate's own."""

    value: float
    df: float = math.inf
    assumed: bool = True


def standard_error(values: Sequence[float]) -> float | None:
    """Sample standard deviation (ddof 1) over sqrt(n); None for one value."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def over_trainings(estimates: Sequence[Estimate]) -> Estimate:
    """One Estimate of several trainings of the same quantity."""
    if len(estimates) == 1:
        return estimates[0]
    means, errors = [e.mean for e in estimates], [e.se for e in estimates if e.se is not None]
    se = float(np.linalg.norm(errors)) / len(errors) if len(errors) == len(means) else None
    sd = float(np.std(means, ddof=1))
    return replace(
        estimates[0], mean=float(np.mean(means)), se=se, trainings=len(means), training_sd=sd,
        censored=any(e.censored for e in estimates),
    )  # fmt: skip
