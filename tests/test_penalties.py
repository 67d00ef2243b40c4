"""The Tikhonov penalties against closed forms, finite differences and per-sample gradients, in float64."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from contrastive_inversion.learn import penalties
from contrastive_inversion.learn.losses import ntxent

N, TAU = 6, 0.5


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(3 * 9, 4)
    )


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(N, 2, 5, 5, generator=generator).requires_grad_() for _ in range(2)]


def test_the_contrastive_penalty_is_eq_3_by_finite_differences(network, views):
    def loss_of(first, second):
        return ntxent(network(first), network(second), TAU)

    found = penalties.contrastive(loss_of(*views), *views, 0.7)
    h, squares = 1e-5, 0.0
    with torch.no_grad():
        for which in (0, 1):
            for place in range(views[which].numel()):
                shifted = [view.clone() for view in views]
                slopes = []
                for sign in (1, -1):
                    shifted[which].view(-1)[place] = views[which].view(-1)[place] + sign * h
                    slopes.append(loss_of(*shifted).item())
                squares += ((slopes[0] - slopes[1]) / (2 * h)) ** 2
        expected = loss_of(*views).item() + 0.7 / 2 * squares / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_supervised_penalty_is_eq_2_by_per_sample_gradients(network, views):
    images, labels = views[0], torch.arange(N) % 4

    def loss_of_one(image, label):
        return torch.nn.functional.cross_entropy(network(image[None]), label[None])

    gradients = torch.func.vmap(torch.func.grad(loss_of_one))(images.detach(), labels)
    values = cross_entropy(network(images), labels, reduction="none")
    expected = (values + 0.3 / 2 * gradients.flatten(1).square().sum(dim=1)).mean()
    assert penalties.supervised(values, images, 0.3).item() == pytest.approx(expected.item(), rel=1e-10)


def test_the_mean_loss_s_gradients_are_n_or_n_squared_times_weaker(network, views):
    values = cross_entropy(network(views[0]), torch.arange(N) % 4, reduction="none")
    plain, eq_2, summed, published = (
        penalties.supervised(values, views[0], strength, scale).item()
        for strength, scale in ((0, "per_image"), (1.0, "per_image"), (1.0, "summed"), (1.0, "mean_loss"))
    )
    assert (eq_2 - plain) / (published - plain) == pytest.approx(N**2)
    assert (eq_2 - plain) / (summed - plain) == pytest.approx(N)


@pytest.mark.parametrize("kind", ["contrastive", "supervised"])
def test_penalties_reach_the_parameters(network, views, kind):
    """The derivative in one weight, against finite differences of the penalised loss itself."""

    def value():
        if kind == "contrastive":
            return penalties.contrastive(ntxent(network(views[0]), network(views[1]), TAU), *views, 2.0)
        return penalties.supervised(
            cross_entropy(network(views[0]), torch.arange(N) % 4, reduction="none"), views[0], 2.0
        )

    weight = network[0].weight
    found = torch.autograd.grad(value(), weight)[0].reshape(-1)[4].item()
    h, slopes = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            weight.view(-1)[4] += sign * h
        slopes.append(value().item())
        with torch.no_grad():
            weight.view(-1)[4] -= sign * h
    assert found == pytest.approx((slopes[0] - slopes[1]) / (2 * h), rel=1e-5)


def test_penalties_of_linear_losses_have_closed_forms(views):
    """Each image has 50 pixels: a loss of slope a in every one has a gradient whose square is 50 a²."""
    first, second = views
    loss = 0.2 * first.sum() - 0.1 * second.sum()
    eq_3 = 1.5 / 2 * N * (50 * 0.04 + 50 * 0.01) / 2
    assert (penalties.contrastive(loss, first, second, 1.5) - loss).item() == pytest.approx(eq_3)
    values = 0.2 * first.sum(dim=(1, 2, 3))
    for scale, expected in (("per_image", 50 * 0.04), ("summed", 50 * 0.04 / N), ("mean_loss", 50 * 0.04 / N**2)):
        found = penalties.supervised(values, first, 1.5, scale) - values.mean()
        assert found.item() == pytest.approx(1.5 / 2 * expected)


def test_no_penalty_leaves_the_loss_alone_and_asks_for_no_gradients():
    values, images = torch.rand(N), torch.rand(N, 2, 5, 5)
    assert penalties.supervised(values, images, 0) == values.mean()
    assert penalties.contrastive(values.mean(), images, images, 0) == values.mean()
