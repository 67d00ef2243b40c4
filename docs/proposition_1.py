"""The page proposition-1.md: is Proposition 1 of the paper true? A small optimisation on the sphere.

`python docs/proposition_1.py` writes the page; tests/test_proposition_1.py has the same numbers.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from scipy import optimize, special
from tabulate import tabulate

PAGE = Path(__file__).with_name("proposition-1.md")
HEADINGS = ("N", "d", "τ", "not stationary by", "slope", "angle", "gain")
STARTS, SEED = 25, 0
CASES = [
    (3, 2, 0.5),
    (4, 3, 0.5),
    (5, 3, 0.5),
    (6, 3, 0.5),
    (7, 3, 0.5),
    (9, 3, 0.5),
    (11, 3, 0.5),
    (11, 3, 0.1),
    (13, 5, 0.5),
]


def on_sphere(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., d) of length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def tangential(gradient: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What of a gradient lies along the sphere: (..., d), at unit vectors of the same shape."""
    return gradient - (gradient * at).sum(-1, keepdims=True) * at


def weights(s: np.ndarray, teacher: np.ndarray, tau: float) -> np.ndarray:
    """The softmax of similarities over the teacher's embeddings: (n, d), (N, d) -> (n, N)."""
    return special.softmax(s @ teacher.T / tau, axis=1)


def uniformity(flat: np.ndarray, n: int, tau: float) -> tuple[float, np.ndarray]:
    """The proposition's uniformity term of n embeddings, given without a length, and its gradient."""
    raw = flat.reshape(n, -1)
    r = on_sphere(raw)
    w = weights(r, r, tau)
    gradient = tangential((w + w.T) @ r / tau, r) / np.linalg.norm(raw, axis=1, keepdims=True)
    return float(special.logsumexp(r @ r.T / tau, axis=1).sum()), gradient.ravel()


def loss(raw: np.ndarray, target: np.ndarray, teacher: np.ndarray, tau: float) -> tuple[float, np.ndarray]:
    """The contrastive loss of one student embedding, times tau, and its gradient; target: its image's teacher's."""
    s = on_sphere(raw)
    value = -s @ target + tau * special.logsumexp(teacher @ s / tau)
    gradient = tangential(weights(s[None], teacher, tau)[0] @ teacher - target, s) / np.linalg.norm(raw)
    return float(value), gradient


def minimise(function: object, start: np.ndarray, *arguments: object) -> optimize.OptimizeResult:
    """A local minimum, as exact as doubles allow."""
    options = {"gtol": 1e-13, "ftol": 1e-16, "maxiter": 20000, "maxfun": 40000}
    return optimize.minimize(function, start, arguments, "L-BFGS-B", jac=True, options=options)


def teacher_of(n: int, d: int, tau: float, starts: int = STARTS) -> np.ndarray:
    """The best of some local minimisers of the uniformity term: (n, d)."""
    random = np.random.default_rng(SEED)
    found = [minimise(uniformity, random.normal(size=n * d), n, tau) for _ in range(starts)]
    return on_sphere(min(found, key=lambda each: each.fun).x.reshape(n, d))


@dataclass(frozen=True)
class Check:
    """How far a teacher is from minimising, and how far students that minimise are from it.

    stationary: the largest tangential gradient of the uniformity term, which is to be 0; slope: that of a student's
    loss at the teacher's own embedding, which the proposition says is 0; degrees: the largest angle between a
    minimising student and the teacher; gain: by how much its loss is below the teacher's.
    """

    stationary: float
    slope: float
    degrees: float
    gain: float


def check(teacher: np.ndarray, tau: float) -> Check:
    """The proposition, put to a teacher's embeddings (N, d)."""
    stationary = np.linalg.norm(uniformity(teacher.ravel(), len(teacher), tau)[1].reshape(teacher.shape), axis=1)
    slopes, angles, gains = [], [], []
    for target in teacher:
        found = minimise(loss, target, target, teacher, tau)
        slopes.append(np.linalg.norm(loss(target, target, teacher, tau)[1]))
        chord = np.linalg.norm(on_sphere(found.x) - target)
        angles.append(2 * np.degrees(np.arcsin(chord / 2)))
        gains.append(loss(target, target, teacher, tau)[0] - found.fun)
    return Check(stationary.max(), max(slopes), max(angles), max(gains))


TEXT = """# Proposition 1, checked

Written by `python docs/proposition_1.py`. The proposition says: if the teacher's embeddings R minimise the uniformity
term, then every student that minimises the contrastive loss recovers them exactly. It is a theorem, so no measurement
decides it; this is a numerical check.

The teacher is the best of {starts} local minimisers of the uniformity term over N unit vectors in d dimensions. *Not
stationary by* is the largest gradient that is left, which shows how exact it is. *Slope* is the largest gradient of a
student's loss at the teacher's own embedding: the proposition needs 0. *Angle* is the largest one, in degrees, between
the student that minimises, started at the teacher, and the teacher; *gain* how much lower its loss is.

{grid}

**Result.** Where the minimiser is a simplex (N at most d + 1) or as regular, the student is where the proposition has
it. For 9 and 11 images in 3 dimensions the slope is far above what the optimiser leaves: a student a little off the
teacher has a lower loss, so the proposition as printed is not exact at finite N. The misses are small, and no global
optimiser was used: a better minimiser than the best of {starts} is not excluded.

**Why.** A stationary teacher has the sum over j of (w_i(j) + w_j(i)) R_j along R_i, where w_i is the softmax of R_i's
similarities: R_i stands in its own term and in everyone else's. A student stands in its own term alone and needs the
sum of w_i(j) R_j along R_i. The two agree where w_i(j) = w_j(i), that is where all R_i have the same sum of
similarities, as in a simplex, and as in the limit of many images spread evenly. The paper's proof uses that the R_j add
up to 0, which holds in that limit, and bounds a change of a similarity by delta where the square root of 2 delta is
the bound.
"""


def grid(rows: Iterable[tuple[tuple[int, int, float], Check]]) -> str:
    """A Markdown table."""
    cells = [[*case, *map(told, astuple(found))] for case, found in rows]
    return tabulate(cells, HEADINGS, "github", disable_numparse=True)


def told(value: float) -> str:
    """A number to two digits, and what is nothing but rounding as such."""
    return "< 1e-6" if value < 1e-6 else f"{value:.1e}"


def page() -> str:
    """The whole page."""
    rows = [(case, check(teacher_of(*case), case[2])) for case in CASES]
    return TEXT.format(starts=STARTS, grid=grid(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
