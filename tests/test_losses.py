import math

import pytest
import torch
import torch.nn.functional as F

from contrastive_inversion.learn.losses import LOSSES

TAU = 0.1


@pytest.fixture
def embeddings():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(9, 5, dtype=torch.float64, generator=generator) for _ in range(2)]


def reference(name, s, t):
    """The formulas of `losses`, element by element in Python floats."""
    s, t = F.normalize(s, dim=1).tolist(), F.normalize(t, dim=1).tolist()
    n = len(s)

    def k(a, b):
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / TAU)

    total = 0.0
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
    assert LOSSES[name](*embeddings, TAU).item() == pytest.approx(reference(name, *embeddings), rel=1e-12)


def test_student_teacher_is_cross_entropy_of_the_similarities(embeddings):
    s, t = (F.normalize(x, dim=1) for x in embeddings)
    expected = F.cross_entropy(s @ t.T / TAU, torch.arange(len(s)))
    assert torch.equal(LOSSES["st"](*embeddings, TAU), expected)


def test_mse_variants(embeddings):
    s, t = embeddings
    expected = (0.5 * (F.normalize(s, dim=1) - F.normalize(t, dim=1)).square().sum(dim=1) - 1).mean()
    assert LOSSES["mse"](s, t, TAU).item() == pytest.approx(expected.item(), rel=1e-12)
    assert LOSSES["raw_mse"](s, t, TAU).item() == pytest.approx(((s - t) ** 2).mean().item(), rel=1e-12)


def test_closed_forms_when_all_embeddings_agree():
    ones = torch.ones(6, 3, dtype=torch.float64)
    assert LOSSES["st"](ones, ones, TAU).item() == pytest.approx(math.log(6))
    assert LOSSES["ss"](ones, ones, TAU).item() == pytest.approx(math.log(5))
    assert LOSSES["ntxent"](ones, ones, TAU).item() == pytest.approx(math.log(2 * 6 - 1))


def test_ntxent_is_symmetric(embeddings):
    s, t = embeddings
    assert LOSSES["ntxent"](s, t, TAU).item() == pytest.approx(LOSSES["ntxent"](t, s, TAU).item(), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(embeddings, name):
    s, t = embeddings
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, t, TAU), s.clone().requires_grad_())


def test_large_similarities_do_not_overflow():
    x = torch.eye(4) * 1e4
    assert all(torch.isfinite(LOSSES[name](x, x, 0.001)) for name in LOSSES)


def test_ntxent_equals_another_library(embeddings):
    from pytorch_metric_learning.losses import NTXentLoss

    pairs = torch.arange(len(embeddings[0])).repeat(2)
    expected = NTXentLoss(temperature=TAU)(torch.cat(embeddings), pairs)
    assert LOSSES["ntxent"](*embeddings, TAU).item() == pytest.approx(expected.item(), rel=1e-6)
