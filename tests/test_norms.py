"""Norms and their proximal maps, which must minimise what they are proximal to."""

import pytest
import torch

from contrastive_inversion.distort import norms


@pytest.fixture
def points():
    return torch.randn(50, 1, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_norms_of_a_known_difference():
    difference = torch.tensor([[[[3.0, 0], [-4, 0]]], [[[0, 0], [0, 0]]], [[[1, -1], [1, 1]]]])
    expected = {"l0": [2, 0, 4], "l1": [7, 0, 4], "l2": [5, 0, 2], "linf": [4, 0, 1]}
    for norm, values in expected.items():
        assert norms.distance(difference, norm).tolist() == values
    assert norms.distance(difference.double(), "l0").dtype == torch.float64


@pytest.mark.parametrize("t", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("norm", norms.PROX)
def test_proximal_maps_minimise_what_they_are_proximal_to(points, norm, t):
    """No point nearby, nor a multiple or a sparser version of it, has a smaller t * m(p) + |p - s|^2 / 2."""
    found = norms.PROX[norm](points, t)
    generator = torch.Generator().manual_seed(1)

    def value(p):
        return t * norms.distance(p, norm) + (p - points).flatten(1).square().sum(dim=1) / 2

    others = [points, torch.zeros_like(points), *(found * k for k in (0.9, 0.99, 1.01, 1.1))]
    others += [points.clamp(-k, k) for k in (0.1, 0.5, 1)] + [points * (points.abs() > k) for k in (0.1, 0.3, 0.8, 1)]
    for scale in (1e-3, 1e-2, 0.1, 1):
        noise = torch.randn(points.shape, generator=generator, dtype=torch.float64)
        others += [found + scale * noise, found + scale * noise * (found != 0)]
    for other in others:
        assert (value(found) <= value(other) + 1e-12).all()


@pytest.mark.parametrize(
    ("norm", "t", "expected"),
    [
        ("l2", 2.5, [[1.5, -2.0], [0.0, 0.0]]),
        ("l1", 0.7, [[2.3, -3.3], [0.0, -0.1]]),
        ("l0", 0.32, [[3.0, -4.0], [0.0, 0.0]]),
        ("l0", 0.18, [[3.0, -4.0], [0.0, -0.8]]),  # entries up to sqrt(2 t) go
        ("linf", 0.2, [[3.0, -3.8], [0.6, -0.6]]),  # the largest goes first
        ("linf", 3.0, [[2.0, -2.0], [0.0, 0.0]]),
    ],
)
def test_proximal_maps_of_a_known_point(norm, t, expected):
    s = torch.tensor([[[[3.0, -4.0]]], [[[0.6, -0.8]]]], dtype=torch.float64)
    found = norms.PROX[norm](s, t).flatten(1)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_projections_onto_the_l1_ball_are_on_it_or_stay(points):
    rows = points.flatten(1)
    for radius in (0.01, 1.0, 5.0, 100.0):
        found = norms.onto_l1_ball(rows, radius)
        lengths, inside = found.abs().sum(dim=1), rows.abs().sum(dim=1) <= radius
        assert torch.equal(found[inside], rows[inside])
        assert torch.allclose(lengths[~inside], torch.full_like(lengths[~inside], radius))
        assert (found * rows >= 0).all()  # no entry changes its sign
