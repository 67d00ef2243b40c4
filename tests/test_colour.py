"""Colour jitter against torchvision's."""

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from contrastive_inversion.distort import colour
from contrastive_inversion.distort.names import Jitter

TORCHVISION = {
    "brightness": F.adjust_brightness, "contrast": F.adjust_contrast, "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
}  # fmt: skip


@pytest.fixture
def images():
    """Random pictures; some pixels of the first are grey, black, white or of two equal channels."""
    found = torch.rand(16, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    special = [[0.0, 0, 0], [1, 1, 1], [0.4, 0.4, 0.4], [0.7, 0.7, 0.2], [0.2, 0.7, 0.7], [0.7, 0.2, 0.7], [1, 0, 0]]
    found[0, :, 0] = torch.tensor(special).T
    return found


def shaped(values):
    return torch.tensor(values).view(-1, 1, 1, 1)


@pytest.mark.parametrize("name", TORCHVISION)
def test_each_adjustment_is_torchvision_s(images, name):
    amounts = [-0.5, -0.3, -0.01, 0.0, 0.01, 0.2, 0.37, 0.5] if name == "hue" else [0.0, 0.2, 0.9, 1.0, 1.1, 1.8, 3.0]
    for amount in amounts:
        found = colour.ADJUSTMENTS[name](images, shaped([amount] * 16))
        assert torch.allclose(found, TORCHVISION[name](images, amount), atol=2e-5)
    each = [amounts[i % len(amounts)] for i in range(16)]
    expected = torch.stack([TORCHVISION[name](image, amount) for image, amount in zip(images, each, strict=True)])
    assert torch.allclose(colour.ADJUSTMENTS[name](images, shaped(each)), expected, atol=2e-5)


def test_a_device_is_sent_no_constant_twice(images, monkeypatch):
    """The host waits for each, and a job with a GPU asks twelve times a batch."""
    there, strengths = images.to("meta"), Jitter(op="jitter", contrast=0.7, saturation=0.6, hue=0.2)
    draws = torch.rand(16, 8, dtype=torch.float64, device="meta")
    colour.jittered(there, strengths, draws)
    monkeypatch.setattr(torch, "tensor", None)
    colour.jittered(there, strengths, draws)


def test_jitter_is_torchvision_s_adjustments_in_each_image_s_own_order(images):
    strengths = Jitter(op="jitter", brightness=0.8, contrast=0.7, saturation=0.6, hue=0.2)
    draws = torch.rand(16, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws[0, 4:] = torch.tensor([0.4, 0.1, 0.3, 0.2])  # contrast, hue, saturation, brightness
    orders = set()
    for image, draw, found in zip(images, draws, colour.jittered(images, strengths, draws), strict=True):
        order = sorted(range(4), key=lambda number, draw=draw: draw[4 + number])
        orders.add(tuple(order))
        for number in order:
            name = ("brightness", "contrast", "saturation", "hue")[number]
            spread = getattr(strengths, name) * (2 * draw[number].item() - 1)
            image = TORCHVISION[name](image, spread if name == "hue" else 1 + spread)
        assert torch.allclose(found, image, atol=2e-5)
    assert (1, 3, 2, 0) in orders and len(orders) > 8


def test_all_images_at_once_are_what_each_is(images):
    """As a GPU does it, which cannot be asked which images an adjustment is chosen for."""
    strengths = Jitter(op="jitter", brightness=0.8, contrast=0.7, hue=0.2)
    draws = torch.rand(16, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chosen = torch.arange(16) % 4
    factors = colour.factors_of(strengths, draws, images.dtype)
    found = [colour.adjusted(images, factors, chosen, each=each) for each in (True, False)]
    assert torch.equal(*found) and torch.equal(found[0][2::4], images[2::4]) and not torch.equal(found[0], images)


def test_a_strength_of_nothing_changes_nothing(images):
    draws = torch.rand(16, 8, dtype=torch.float64)
    assert torch.equal(colour.jittered(images, Jitter(op="jitter"), draws), images)
    before = images.clone()
    only = colour.jittered(images, Jitter(op="jitter", saturation=0.5), draws)
    assert not torch.equal(only, before) and torch.equal(images, before)
    factors = (1 + 0.5 * (2 * draws[:, 2] - 1)).float().view(-1, 1, 1, 1)
    assert torch.equal(only, colour.saturation(images, factors))


def test_factors_do_not_fall_below_nought(images):
    """At -0.6, contrast would turn a picture into its negative."""
    draws = torch.full((16, 8), 0.1, dtype=torch.float64)
    found = colour.jittered(images, Jitter(op="jitter", contrast=2), draws)
    assert torch.allclose(found.flatten(1).std(dim=1), torch.zeros(16), atol=1e-6)
    assert (colour.jittered(images, Jitter(op="jitter", brightness=2), draws) == 0).all()
