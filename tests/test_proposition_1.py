"""Proposition 1: exact on simplices, which are known minimisers; not exact on nine points in three dimensions."""

import numpy as np
import pytest
from scipy import optimize

from test_docs import DOCS, script

proposition = script("proposition_1")


def simplex(n):
    """n unit vectors of n dimensions whose similarities are all -1 / (n - 1)."""
    return proposition.on_sphere(np.eye(n) - 1 / n)


@pytest.mark.parametrize("n", [3, 5])
def test_on_a_simplex_the_student_is_the_teacher(n):
    found = proposition.check(simplex(n), 0.5)
    assert found.stationary < 1e-12 and found.slope < 1e-12 and found.degrees < 1e-5 and found.gain < 1e-12


def test_on_nine_points_in_three_dimensions_a_student_does_better_than_the_teacher():
    """The teacher's gradient is 0 to 1e-7, the student's at the teacher is not: 8e-4, which no rounding makes."""
    found = proposition.check(proposition.teacher_of(9, 3, 0.5, starts=8), 0.5)
    assert found.stationary < 1e-6 and 7e-4 < found.slope < 1e-3 and found.degrees > 0.02 and found.gain > 1e-8


def test_the_gradients_are_those_of_finite_differences():
    random = np.random.default_rng(0)
    teacher, raw = proposition.on_sphere(random.normal(size=(5, 3))), random.normal(size=15)
    for function, at, arguments in (
        (proposition.uniformity, raw, (5, 0.3)),
        (proposition.loss, raw[:3], (teacher[0], teacher, 0.3)),
    ):
        numeric = optimize.approx_fprime(at, lambda x, f=function, a=arguments: f(x, *a)[0], 1e-7)
        assert function(at, *arguments)[1] == pytest.approx(numeric, abs=1e-5)


def test_the_page_has_the_table_of_the_script():
    text = (DOCS / "proposition-1.md").read_text(encoding="utf-8")
    assert "{" not in text and text.count("\n| ") == len(proposition.CASES) + 1
    row = proposition.grid([((9, 3, 0.5), proposition.check(proposition.teacher_of(9, 3, 0.5), 0.5))]).splitlines()[-1]
    assert row.split() in [line.split() for line in text.splitlines()]  # columns there are as wide as the widest case
