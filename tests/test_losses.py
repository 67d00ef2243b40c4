"""Losses against an elementwise loop, another library and closed forms."""

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import NTXentLoss

from contrastive_inversion.learn.losses import LOSSES

TAU = 0.1


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(9, 5, dtype=torch.float64, generator=generator) for _ in range(2)]


def value(name, student, teacher, tau=TAU):
    return LOSSES[name](student, teacher, tau).item()


def by_elements(name, student, teacher):
    """The formulas of `losses`, element by element in Python floats."""
    s, t = (
        [np.array(row) / math.sqrt(sum(x * x for x in row)) for row in rows.tolist()] for rows in (student, teacher)
    )
    n, total = len(s), 0.0

    def k(a, b):
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / TAU)

    for i in range(n):
        st = sum(k(s[i], t[j]) for j in range(n))
        ss = sum(k(s[i], s[j]) for j in range(n) if j != i)
        ts = sum(k(t[i], s[j]) for j in range(n))
        tt = sum(k(t[i], t[j]) for j in range(n) if j != i)
        uniformity = {
            "st": math.log(st), "ss": math.log(ss), "both": math.log(ss + st),
            "ntxent": (math.log(ss + st) + math.log(ts + tt)) / 2,
            "summed_ntxent": math.log(ss + st) + math.log(ts + tt),
        }[name]  # fmt: skip
        total += uniformity - math.log(k(s[i], t[i]))
    return total / n


@pytest.mark.parametrize("name", ["st", "ss", "both", "ntxent", "summed_ntxent"])
def test_losses_equal_an_elementwise_loop(embeddings, name):
    assert value(name, *embeddings) == pytest.approx(by_elements(name, *embeddings), rel=1e-12)


def test_the_library_has_the_same_nt_xent_and_student_teacher_loss(embeddings):
    student, teacher = embeddings
    library, numbers = NTXentLoss(temperature=TAU), torch.arange(len(student))
    both_as_anchors = library(torch.cat([student, teacher]), numbers.repeat(2)).item()
    assert value("ntxent", student, teacher) == pytest.approx(both_as_anchors, rel=1e-6)
    students_alone = library(student, numbers, ref_emb=teacher, ref_labels=numbers.clone()).item()
    assert value("st", student, teacher) == pytest.approx(students_alone, rel=1e-6)


N, AXES = 6, torch.eye(6, dtype=torch.float64)
PEAK = math.exp(1 / TAU)  # what an embedding gives with itself; orthogonal ones give 1 with one another


@pytest.mark.parametrize(
    ("name", "same", "agreeing", "mismatched"),
    [
        ("st", N, PEAK + N - 1, PEAK + N - 1),
        ("ss", N - 1, N - 1, N - 1),
        ("both", 2 * N - 1, PEAK + 2 * (N - 1), PEAK + 2 * (N - 1)),
        ("ntxent", 2 * N - 1, PEAK + 2 * (N - 1), PEAK + 2 * (N - 1)),
    ],
)
def test_closed_forms_of_the_sums_of_exponentials(name, same, agreeing, mismatched):
    """All embeddings alike; the student's and the teacher's on the same axes; on axes that belong to other images.

    The loss is the logarithm of such a sum, less the positive pair's similarity over the temperature.
    """
    ones = torch.ones(N, 3, dtype=torch.float64)
    assert value(name, ones, 2 * ones) == pytest.approx(math.log(same))
    assert value(name, 3 * AXES, AXES) == pytest.approx(math.log(agreeing) - 1 / TAU)
    assert value(name, AXES, AXES.roll(1, 0)) == pytest.approx(math.log(mismatched))


def test_closed_forms_of_the_appendix_s_nt_xent():
    """Both sums in full, the positive pair counted once."""
    assert value("summed_ntxent", AXES, 3 * AXES) == pytest.approx(2 * math.log(PEAK + 2 * (N - 1)) - 1 / TAU)
    assert value("summed_ntxent", AXES, AXES.roll(1, 0)) == pytest.approx(2 * math.log(PEAK + 2 * (N - 1)))


def test_closed_forms_of_the_mean_squared_errors():
    """Eq. 1 is half the squared distance of unit vectors, less 1: the cosine alone; the code's is of raw ones."""
    assert value("mse", AXES, 5 * AXES) == pytest.approx(-1) and value("mse", AXES, -AXES) == pytest.approx(1)
    assert value("mse", AXES, AXES.roll(1, 0)) == pytest.approx(0)
    assert value(
        "mse", torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    ) == pytest.approx(-0.8)
    assert value("raw_mse", torch.tensor([[0.0, 1.0], [2.0, 5.0]]), torch.tensor([[0.0, 3.0], [2.0, 1.0]])) == 5


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_reach_the_student_and_are_those_of_finite_differences(embeddings, name):
    student, teacher = embeddings
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, teacher, TAU), student.clone().requires_grad_())
    assert torch.autograd.grad(LOSSES[name](student.requires_grad_(), teacher, TAU), student)[0].abs().max() > 1e-3


def test_large_similarities_do_not_overflow():
    x = torch.eye(4) * 1e4
    peak = 1000.0  # 1 / tau
    expected = {
        "st": 0,
        "ss": math.log(3) - peak,
        "both": 0,
        "ntxent": 0,
        "summed_ntxent": peak,
        "mse": -1,
        "raw_mse": 0,
    }
    assert {name: value(name, x, x, 0.001) for name in LOSSES} == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_computed_where_the_embeddings_lie(name):
    elsewhere = torch.empty(4, 3, device="meta")
    assert LOSSES[name](elsewhere, elsewhere, TAU).device.type == "meta"
