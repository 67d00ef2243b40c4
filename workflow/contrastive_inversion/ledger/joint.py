"""Several comparisons decided together, so that what is said of all, or of most, of them is wrong with a known chance.

A reading of a claim is true where at least m of its k comparisons are. It is *surely* true where the partial
conjunction hypothesis "at most m - 1 are true" is rejected at LEVEL (Benjamini and Heller 2008, Biometrics 64): with
p_(m) the m-th smallest of the comparisons' p-values, where no r = k - m + 1 of them that all lie at their bounds would
show one as small as that. That chance is at most r p_(m), whatever the dependence, and at most the chance over all k,
which a parametric bootstrap gives: every quantity draws its deviations once for all contrasts that it stands in, with
the variances and Student's degrees of freedom that `ledger.spreads` gives it. The smaller of the two counts. "At least
m are true" is surely false in the same way, with m and r exchanged.

The further correlation between two quantities of one encoder is not known. Between contrasts it is taken as none, which
makes the smallest of the p-values smallest (Slepian 1962, Bell System Technical Journal 41); within a contrast, as the
whole where the two have the same sign, which makes its variance largest. Imports no torch.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from contrastive_inversion.ledger.spreads import Difference, Part

LEVEL = 0.05  # the chance of a wrong "holds", and of a wrong "fails"
DRAWS = 4000  # of the bootstrap
REPEATS = 50  # of that, where it is too close to LEVEL to tell


@dataclass(frozen=True)
class Contrast(Difference):
    """A sum of quantities with weights.

    keys: what each part is drawn for, which the same part of another contrast shares; signs: of its weight;
    open_above, open_below: whether censored quantities allow the true value to lie anywhere on that side of this one.
    """

    keys: tuple[Hashable, ...] = ()
    signs: tuple[int, ...] = ()
    open_above: bool = False
    open_below: bool = False

    @property
    def bound(self) -> str:
        """What the true value is to this one, where quantities are censored: `≥`, `≤`, or `≶` for either."""
        return {(True, False): "≥", (False, True): "≤", (True, True): "≶"}.get((self.open_above, self.open_below), "")


def together(parts: Sequence[Part], signs: Sequence[int]) -> tuple[Part, ...]:
    """The parts of one contrast, those of one source and sign enlarged so that their standard deviations add up."""
    sources = [(part.drawn and part.drawn.source, sign) for part, sign in zip(parts, signs, strict=True)]
    sums: dict[Hashable, float] = {}
    for part, source in zip(parts, sources, strict=True):
        sums[source] = sums.get(source, 0.0) + math.sqrt(part.variance)
    return tuple(
        replace(part, variance=math.sqrt(part.variance) * sums[source]) if part.drawn else part
        for part, source in zip(parts, sources, strict=True)
    )


def tail(distance: float, contrast: Contrast) -> float:
    """The chance that a contrast at a bound lies so far beyond it, in its units: Student's t."""
    if contrast.se == 0:
        return 0.0 if distance > 0 else 1.0
    t = distance / contrast.se
    return float(scipy.special.ndtr(-t) if math.isinf(contrast.df) else scipy.special.stdtr(contrast.df, -t))


def inside(contrast: Contrast, low: float, high: float) -> float:
    """The p-value against a contrast that is not between two bounds: the larger of two one-sided tests."""
    if (contrast.open_below and low > -math.inf) or (contrast.open_above and high < math.inf):
        return 1.0
    return max(tail(contrast.value - low, contrast), tail(high - contrast.value, contrast))


def outside(contrast: Contrast, low: float, high: float) -> float:
    """The p-value against a contrast that is between two bounds; both tails count where both are finite."""
    below = -math.inf if contrast.open_above else low - contrast.value
    above = -math.inf if contrast.open_below else contrast.value - high
    near = max(below, above)
    if near == -math.inf:
        return 1.0
    return min(tail(near, contrast) + tail(near + high - low, contrast), 1.0)


def surely(
    p_values: Sequence[float], needed: int, contrasts: Sequence[Contrast], signs: Sequence[int], repeats: int = REPEATS
) -> bool:
    """Whether at least `needed` of some hypotheses are true, at LEVEL.

    p_values: against each, 1 where nothing is known; contrasts, signs: those known, and on which side each is tested;
    repeats: of the bootstrap, where it comes within four standard errors of LEVEL; if their mean is still within two,
    the answer is no.
    """
    p, rest = sorted(p_values)[needed - 1], len(p_values) - needed + 1
    if p > LEVEL or p * rest <= LEVEL:
        return p <= LEVEL
    chance, error = chance_of_any(p, contrasts, signs), math.sqrt(LEVEL * (1 - LEVEL) / DRAWS)
    if repeats == 1 or abs(chance - LEVEL) > 4 * error:
        return chance <= LEVEL
    chance = float(np.mean([chance_of_any(p, contrasts, signs, seed) for seed in range(repeats)]))
    return chance + 2 * error / math.sqrt(repeats) <= LEVEL


def chance_of_any(p: float, contrasts: Sequence[Contrast], signs: Sequence[int], seed: int = 0) -> float:
    """The chance that any of some contrasts has a one-sided p-value of at most p where all lie at their bounds."""
    random = np.random.default_rng(seed)
    errors = random.standard_normal((DRAWS, len(names_of(contrasts)))) @ loadings(contrasts, signs)  # (DRAWS, k)
    scale = np.sqrt(told(contrasts, random))
    t = np.divide(errors, scale, out=np.zeros_like(errors), where=scale > 0)  # what is known exactly stays at its bound
    return float(np.mean((t >= [quantile(each.df, p) for each in contrasts]).any(axis=1)))


def quantile(df: float = math.inf, level: float = LEVEL) -> float:
    """The one-sided quantile at a level of Student's t; of a standard normal for infinitely many degrees of freedom."""
    return float(-scipy.special.ndtri(level) if math.isinf(df) else -scipy.special.stdtrit(df, level))


def names_of(contrasts: Sequence[Contrast]) -> dict[Hashable, int]:
    """The places of everything that is drawn for some contrasts."""
    return {key: place for place, key in enumerate(dict.fromkeys(key for each in contrasts for key in each.keys))}


def loadings(contrasts: Sequence[Contrast], signs: Sequence[int]) -> np.ndarray:
    """How much each draw moves each contrast towards the side that is tested: (draws, contrasts)."""
    places = names_of(contrasts)
    loaded = np.zeros((len(places), len(contrasts)))
    for i, contrast in enumerate(contrasts):
        for key, sign, part in zip(contrast.keys, contrast.signs, contrast.parts, strict=True):
            loaded[places[key], i] += signs[i] * sign * math.sqrt(part.variance)
    return loaded


def told(contrasts: Sequence[Contrast], random: np.random.Generator) -> np.ndarray:
    """The variances that samples would tell of some contrasts: (DRAWS, k). One estimate of a spread serves all."""
    estimates: dict[Hashable, np.ndarray] = {}
    variances = np.zeros((DRAWS, len(contrasts)))
    for i, contrast in enumerate(contrasts):
        for key, part in zip(contrast.keys, contrast.parts, strict=True):
            name = (part.drawn.kind if part.drawn else key, part.df)
            if name not in estimates:
                estimates[name] = np.ones(DRAWS) if math.isinf(part.df) else random.chisquare(part.df, DRAWS) / part.df
            variances[:, i] += part.variance * estimates[name]
    return variances
