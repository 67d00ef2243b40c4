"""PLB and PGD against linear models, whose nearest misclassified images are known, and against foolbox."""

import foolbox
import pytest
import torch

from contrastive_inversion.distort import attacks

PIXELS = 3 * 8 * 8


class Linear(torch.nn.Module):
    """Two classes, split by a plane: the distance of an image to it is |w.x + b| over the dual norm of w."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
        self.register_buffer("w", w / w.norm())
        self.register_buffer("b", -self.w.sum() / 2)  # the plane passes through the grey image

    def forward(self, images):
        score = images.flatten(1) @ self.w + self.b
        return torch.stack([-score, score], dim=1) * 20


@pytest.fixture(scope="module")
def linear():
    """A linear model, images near the middle of the box, so that it does not bind, their labels, their scores."""
    model = Linear().eval()
    generator = torch.Generator().manual_seed(1)
    images = 0.5 + 0.05 * torch.randn(40, 3, 8, 8, generator=generator, dtype=torch.float64).clamp(-3, 3)
    images = images + (0.1 * torch.randn(40, 1, generator=generator, dtype=torch.float64) * model.w).view_as(images)
    labels = model(images).argmax(dim=1)
    return model, images, labels, (images.flatten(1) @ model.w + model.b).abs()


DUAL = {"l2": 2, "linf": 1, "l1": float("inf")}
LOOSE = {"l2": 1.001, "linf": 1.1, "l1": 1.5}


@pytest.mark.parametrize("norm", DUAL)
def test_plb_finds_the_known_distance_to_a_plane(linear, norm):
    model, images, labels, scores = linear
    known = scores / model.w.norm(p=DUAL[norm])
    found = attacks.proximal_log_barrier(model, images, labels, norm)
    ratio = found.distance / known
    assert found.success.all() and attacks.misclassified(model, found.images, labels).all()
    assert ratio.min() > 1 - 1e-9 and ratio.median() < LOOSE[norm], ratio.median()
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert torch.allclose(found.distance, attacks.distance(found.images - images, norm))


def test_plb_in_l0_is_bounded_by_the_greedy_optimum(linear):
    """To cross a plane with the fewest entries: the largest gains first."""
    model, images, labels, scores = linear
    direction = torch.where(labels == 0, 1.0, -1.0)[:, None] * model.w  # towards the other class
    room = torch.where(direction > 0, 1 - images.flatten(1), images.flatten(1))
    gains = (room * direction.abs()).sort(dim=1, descending=True).values.cumsum(dim=1)
    known = (gains < scores[:, None]).sum(dim=1) + 1
    found = attacks.proximal_log_barrier(model, images, labels, "l0")
    assert found.success.all() and (found.distance >= known).all()
    assert found.distance.median() < 0.5 * PIXELS  # a start changes every entry


@pytest.mark.parametrize("norm", attacks.PROX)
def test_proximal_maps_minimise_what_they_are_proximal_to(norm):
    """No nearby point has a smaller t * m(p) + |p - s|^2 / 2."""
    generator = torch.Generator().manual_seed(0)
    s, t = torch.randn(50, 1, 3, 4, generator=generator, dtype=torch.float64), 0.3
    found = attacks.PROX[norm](s, t)

    def value(p):
        return t * attacks.distance(p, norm) + (p - s).flatten(1).square().sum(dim=1) / 2

    for scale in (1e-3, 1e-2, 0.1, 1):
        other = found + scale * torch.randn(s.shape, generator=generator, dtype=torch.float64)
        assert (value(found) <= value(other) + 1e-12).all()
    assert (value(found) <= value(s)).all() and (value(found) <= value(torch.zeros_like(s))).all()


def test_an_attack_does_not_hang_on_the_batch(linear):
    model, images, labels, _ = linear
    together = attacks.proximal_log_barrier(model, images[:6], labels[:6], outer=3)
    for i in range(6):
        ids = torch.tensor([i])
        alone = attacks.proximal_log_barrier(model, images[i : i + 1], labels[i : i + 1], outer=3, ids=ids)
        assert torch.allclose(alone.distance[0], together.distance[i], rtol=1e-9)


def test_pgd_reaches_planes_within_epsilon_and_no_others(linear):
    model, images, labels, scores = linear
    epsilon = scores.median().item()
    found = attacks.pgd(model, images, labels, epsilon=epsilon, steps=40, step=epsilon / 20)
    assert torch.equal(found.success, scores < epsilon)
    assert (found.distance[found.success] >= scores[found.success]).all()
    assert found.distance[found.success].max() <= epsilon * (1 + 1e-9) and found.distance[~found.success].isinf().all()


def test_clean_errors_are_no_successes(linear):
    model, images, labels, _ = linear
    flipped = labels.clone()
    flipped[:5] = 1 - flipped[:5]
    for found in (attacks.pgd(model, images, flipped), attacks.proximal_log_barrier(model, images, flipped, outer=1)):
        assert found.clean_error.tolist() == [True] * 5 + [False] * 35
        assert not found.success[:5].any() and (found.distance[:5] == 0).all()
        assert torch.equal(found.images[:5], images[:5])


def test_misplaced_gradients_break_fewer_images(linear):
    """The published mistake: with clean errors in a batch, gradients land on other images."""
    model, images, labels, _ = linear
    flipped = labels.clone()
    flipped[:10] = 1 - flipped[:10]
    right = attacks.pgd(model, images, flipped)
    wrong = attacks.pgd(model, images, flipped, misplaced=True)
    assert wrong.success.sum() < right.success.sum()


@pytest.fixture(scope="module")
def network():
    """A small network trained for a moment to tell bright upper halves from bright lower ones."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 16, 2)
    )
    images = 0.35 + 0.3 * torch.rand(256, 3, 8, 8)
    labels = (torch.arange(256) % 2).long()
    images[labels == 0, :, :4] += 0.1
    images[labels == 1, :, 4:] += 0.1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert (model(images).argmax(dim=1) == labels).float().mean() > 0.95
    return model.eval(), images[:64], labels[:64]


def test_plb_is_no_worse_than_foolbox_s_minimal_attack(network):
    """DDN, a strong minimal L2 attack, as a sanity bound."""
    model, images, labels = network
    ours = attacks.proximal_log_barrier(model, images, labels)
    theirs = foolbox.attacks.DDNAttack()
    _, adversarial, success = theirs(foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=None)
    both = ours.success & success
    assert both.sum() > 50
    ratio = ours.distance[both] / attacks.distance(adversarial - images, "l2")[both]
    assert ratio.median() < 1.02


def test_pgd_succeeds_where_foolbox_s_does(network):
    model, images, labels = network
    ours = attacks.pgd(model, images, labels, epsilon=0.5)
    theirs = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.05, steps=20, random_start=False)
    _, _, success = theirs(foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=0.5)
    assert abs((ours.success | ours.clean_error).float().mean() - success.float().mean()) < 0.05
    margin = attacks.pgd(model, images, labels, epsilon=0.5, loss="margin")
    assert abs(margin.success.float().mean() - ours.success.float().mean()) < 0.1


def test_bad_input_is_refused(linear):
    model, images, labels, _ = linear
    with pytest.raises(ValueError, match="the model is in training mode"):
        attacks.pgd(Linear().train(), images, labels)
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]; these go from"):
        attacks.proximal_log_barrier(model, images + 1, labels)
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        attacks.pgd(model, images * float("nan"), labels)
    with pytest.raises(ValueError, match="images must be float"):
        attacks.pgd(model, (images * 255).to(torch.uint8), labels)
    with pytest.raises(ValueError, match="labels must be int64"):
        attacks.pgd(model, images, labels[:3])
    for epsilon in (0, -1, 14):
        with pytest.raises(ValueError, match="lies outside of the box"):
            attacks.pgd(model, images, labels, epsilon=epsilon)
    with pytest.raises(ValueError, match="norm 'l3' is not one of l0, l1, l2, linf"):
        attacks.proximal_log_barrier(model, images, labels, "l3")
