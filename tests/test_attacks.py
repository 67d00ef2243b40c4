"""PLB and PGD against linear models, whose nearest misclassified images are known, and against foolbox."""

import functools
import math

import foolbox
import numpy as np
import pytest
import torch
from scipy import optimize

from contrastive_inversion.base import rng
from contrastive_inversion.distort import attacked_models, attacks, norms, polishing, published_attacks

PIXELS = 3 * 8 * 8


class Linear(torch.nn.Module):
    """Two classes, split by a plane: the distance of an image to it is |w.x + b| over the dual norm of w."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
        self.register_buffer("w", w / w.norm())
        self.register_buffer("b", -self.w.sum() / 2)  # the plane passes through the grey image

    def score(self, images):
        return images.flatten(1) @ self.w + self.b

    def forward(self, images):
        return torch.stack([-self.score(images), self.score(images)], dim=1) * 20


@pytest.fixture(scope="module")
def linear():
    """A linear model, images near the middle of the box, so that it does not bind, their labels, their scores."""
    model = Linear().eval()
    generator = torch.Generator().manual_seed(1)
    images = 0.5 + 0.05 * torch.randn(40, 3, 8, 8, generator=generator, dtype=torch.float64).clamp(-3, 3)
    images = images + (0.1 * torch.randn(40, 1, generator=generator, dtype=torch.float64) * model.w).view_as(images)
    labels = model(images).argmax(dim=1)
    return model, images, labels, model.score(images).abs()


@pytest.fixture(scope="module")
def wrong_first(linear):
    """The linear model's images with labels that make the first ten clean errors."""
    model, images, labels, _ = linear
    flipped = labels.clone()
    flipped[:10] = 1 - flipped[:10]
    return model, images, flipped


def outwards(model, labels):
    """The direction in which images leave the side of their labels: (B, 3, 8, 8)."""
    return (torch.where(labels == 0, 1.0, -1.0)[:, None] * model.w).view(-1, 3, 8, 8)


# --- proximal log-barrier -------------------------------------------------------------------------------------------

DUAL = {"l2": 2, "linf": 1, "l1": float("inf")}
LOOSE = {"l2": 1.001, "linf": 1.001, "l1": 1.001}
ALONE = {"l2": 1.001, "linf": 1.1, "l1": 1.5}  # PLB without walks, at strengths that suit planes


@pytest.mark.parametrize("norm", DUAL)
def test_plb_finds_the_known_distance_to_a_plane(linear, norm):
    model, images, labels, scores = linear
    known = scores / model.w.norm(p=DUAL[norm])
    found = attacks.proximal_log_barrier(model, images, labels, norm)
    ratio = found.distance / known
    assert found.success.all() and attacks.misclassified(model, found.images, labels).all()
    assert ratio.min() > 1 - 1e-9 and ratio.median() < LOOSE[norm], ratio.median()
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert torch.allclose(found.distance, norms.distance(found.images - images, norm))
    assert not found.gave_up.any() and not found.clean_error.any()
    strength = {"l2": 1.0, "linf": 0.1, "l1": 0.01}[norm]
    alone = attacks.proximal_log_barrier(model, images, labels, norm, outer=30, strength=strength, polish=0)
    alone = alone.distance / known
    assert alone.min() > 1 - 1e-9 and alone.median() < ALONE[norm], alone.median()


def test_plb_in_l0_finds_the_greedy_optimum(linear):
    """To cross a plane with the fewest entries: the largest gains first."""
    model, images, labels, scores = linear
    direction = outwards(model, labels).flatten(1)
    room = torch.where(direction > 0, 1 - images.flatten(1), images.flatten(1))
    gains = (room * direction.abs()).sort(dim=1, descending=True).values.cumsum(dim=1)
    known = (gains < scores[:, None]).sum(dim=1) + 1
    found = attacks.proximal_log_barrier(model, images, labels, "l0", outer=2)
    assert found.success.all() and torch.equal(found.distance.long(), known)
    alone = attacks.proximal_log_barrier(model, images, labels, "l0", outer=30, strength=0.005, polish=0)
    assert alone.success.all() and (alone.distance >= known).all()
    assert alone.distance.median() < 0.5 * PIXELS  # a start changes every entry


def test_the_norm_is_l2_where_none_is_named(linear):
    model, images, labels, _ = linear
    found = attacks.proximal_log_barrier(model, images[:5], labels[:5], outer=2)
    named = attacks.proximal_log_barrier(
        model, images[:5], labels[:5], "l2", outer=2, inner=30, step=0.1, barrier=0.1, decay=0.75, back=0.05,
        strength=1, start_noise=0.01, seed=0, ids=torch.arange(5),
    )  # fmt: skip
    assert torch.equal(found.images, named.images)
    first, again = (
        attacks.proximal_log_barrier(model, images[:5], labels[:5], outer=2, polish=0, seed=seed) for seed in (0, 1)
    )
    assert not torch.equal(first.images, again.images)


def test_a_start_is_the_first_noisy_image_that_is_misclassified(linear):
    """Its noise is 1 % stronger at every try."""
    model, images, labels, _ = linear
    ids = torch.arange(40) + 7
    found = attacks.proximal_log_barrier(model, images, labels, outer=0, polish=0, start_noise=0.05, seed=3, ids=ids)
    assert found.success.all()
    tries = []
    for i in range(40):
        for attempt in range(1500):
            draws = rng.normal(PIXELS, 3, "plb/start", ids[i : i + 1], attempt).view(1, 3, 8, 8)
            tried = (images[i] + 0.05 * 1.01**attempt * draws).clamp(0, 1)
            if attacks.misclassified(model, tried, labels[i : i + 1]):
                break
        tries.append(attempt)
        assert torch.allclose(found.images[i], tried[0], atol=1e-12)
    assert min(tries) < 3 and max(tries) > 20


def test_an_image_without_a_start_is_a_failure(linear, monkeypatch):
    monkeypatch.setattr(attacks, "TRIES", 3)
    model, images, labels, scores = linear

    def stubborn(x):
        return torch.tensor([[1.0, 0]]).expand(len(x), 2)  # class 0, always

    zeros = torch.zeros(4, dtype=torch.int64)
    found = attacks.proximal_log_barrier(stubborn, images[:4], zeros)
    assert found.distance.tolist() == [math.inf] * 4 and torch.equal(found.images, images[:4])
    assert not found.success.any() and not found.clean_error.any() and not found.gave_up.any()
    some = attacks.proximal_log_barrier(model, images, labels, start_noise=1e-3, outer=1)
    assert 0 < some.success.sum() < 40 and torch.equal(some.distance.isinf(), ~some.success)
    assert torch.equal(some.images[~some.success], images[~some.success])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_steps_are_those_of_the_definition(linear, k):
    """Gradient step on the barrier, proximal step, back to the misclassified; the barrier fades from round to round."""
    model, images, labels, _ = linear
    settings = {"step": 0.2, "barrier": 0.3, "decay": 0.5, "back": 0.05, "strength": 0.3, "polish": 0}
    found = attacks.proximal_log_barrier(model, images, labels, outer=k, inner=1, **settings)
    u = attacks.proximal_log_barrier(model, images, labels, outer=0, polish=0).images
    direction, lengths = outwards(model, labels), [(u - images).flatten(1).norm(dim=1)]
    for round_ in range(k):
        gap = (20 * model.score(u).abs()).tanh()  # p_other - p_y
        slope = 20 * (1 - gap**2) / gap
        ahead = u + 0.2 * 0.3 * 0.5**round_ * slope.view(-1, 1, 1, 1) * direction
        length = (ahead - images).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        new = (images + (ahead - images) * (1 - 0.3 / length).clamp(min=0)).clamp(0, 1)
        while attacks.misclassified(model, new, labels).logical_not().any():
            right = ~attacks.misclassified(model, new, labels)
            new[right] = 0.05 * new[right] + 0.95 * u[right]
        u = new
        lengths.append((u - images).flatten(1).norm(dim=1))
    assert torch.allclose(found.distance, torch.stack(lengths).amin(dim=0), rtol=1e-6)


def test_backing_up_stops_at_the_first_misclassified_point(linear):
    """A point is left a share `back` of its way at a time, ten times at most."""
    model, images, labels, scores = linear
    beyond = images + 1.2 * scores.view(-1, 1, 1, 1) * outwards(model, labels)
    found, at_u = attacks.backed_up(model, images, beyond, labels, 0.8)
    powers = torch.tensor([0.8**k for k in range(11)], dtype=torch.float64)
    expected = powers[1.2 * (1 - powers) > 1][0]  # of the way from beyond to the image
    assert not at_u.any() and torch.allclose(found, beyond + expected * (images - beyond))
    barely = images + 1.01 * scores.view(-1, 1, 1, 1) * outwards(model, labels)
    found, at_u = attacks.backed_up(model, images, barely, labels, 0.8)
    assert at_u.all() and torch.equal(found, barely)
    kept, at_u = attacks.backed_up(model, beyond, barely, labels, 0.8)
    assert not at_u.any() and torch.equal(kept, beyond)


def test_the_barrier_s_gradient_is_a_difference_quotient(network):
    model, images, labels = network
    model, images = torch.nn.Sequential(*model).double(), images[:6].double()
    wrong = 1 - model(images).argmax(dim=1)

    def barrier(x):
        p = model(x).softmax(dim=1)
        return -0.3 * (p.amax(dim=1) - p.gather(1, wrong[:, None])[:, 0]).log()

    gradient = attacks.barrier_gradient(model, images, wrong, 0.3)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quotient = (barrier(images + 1e-6 * direction) - barrier(images - 1e-6 * direction)) / 2e-6
    assert torch.allclose((gradient * direction).flatten(1).sum(dim=1), quotient, rtol=1e-4)
    model.float()


def test_more_steps_never_lose_what_was_found(linear):
    model, images, labels, _ = linear
    found = [attacks.proximal_log_barrier(model, images, labels, "l1", outer=k, inner=5, polish=0) for k in range(4)]
    found = [each.distance for each in found]
    for fewer, more in zip(found, found[1:], strict=False):
        assert (more <= fewer).all() and (more < fewer).any()


def test_an_attack_does_not_hang_on_the_batch(linear):
    model, images, labels, _ = linear
    together = attacks.proximal_log_barrier(model, images[:4], labels[:4], outer=2)
    for i in range(4):
        ids = torch.tensor([i])
        alone = attacks.proximal_log_barrier(model, images[i : i + 1], labels[i : i + 1], outer=2, ids=ids)
        assert torch.allclose(alone.distance[0], together.distance[i], rtol=1e-9)


@pytest.mark.parametrize("back", [0.05, 0.9, 0.97])
def test_the_published_plb_loses_an_image_when_a_step_gives_up(linear, back):
    """The published loop, image by image: one that cannot back up is reset to the original, which is then nearest.

    In the end that is classified correctly, and the code stores no distance.
    """
    model, images, labels, _ = linear
    settings = {"outer": 3, "inner": 4, "step": 0.02, "back": back, "start_noise": 0.1, "polish": 0}
    ours = attacks.proximal_log_barrier(model, images, labels, **settings)
    found = published_attacks.losing_best(ours, images)
    starts = attacks.proximal_log_barrier(model, images, labels, **settings | {"outer": 0}).images
    for i in range(40):
        x, y, u = images[i : i + 1], labels[i : i + 1], starts[i : i + 1]
        best = (u - x).norm().item()
        for step in range(12):
            ahead = u - 0.02 * attacks.barrier_gradient(model, u, y, 0.1 * 0.75 ** (step // 4))
            new = (x + norms.prox_l2(ahead - x, 1.0)).clamp(0, 1)
            for _ in range(10):
                if not attacks.misclassified(model, new, y):
                    new = back * new + (1 - back) * u
            u = new if attacks.misclassified(model, new, y) else x
            best = min(best, (u - x).norm().item())
        assert found.distance[i].item() == pytest.approx(best or torch.inf, rel=1e-9)
        assert found.success[i] == (best > 0) and torch.equal(found.images[i], images[i]) == (best == 0)
    assert ours.success.all() and (ours.distance > 0).all() and torch.equal(found.distance.isinf(), ours.gave_up)
    assert ours.gave_up.any() == (back > 0.5) and torch.equal(found.clean_error, ours.clean_error)


# --- walks to the boundary ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
def test_a_walk_s_end_is_the_nearest_point_of_a_half_space_in_the_box(norm):
    """Against linear programs; in L2 against the conditions of the optimum; the box binds for some images."""
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(12, generator=generator, dtype=torch.float64)
    x = torch.rand(6, 3, 2, 2, generator=generator, dtype=torch.float64)
    x[0] = 1
    bound = ((w > 0).double() @ w + x.flatten(1) @ w) / 2  # half of the way to what the box allows

    def model(images):
        return torch.stack([torch.zeros(len(images)), images.flatten(1) @ w - bound], dim=1)

    path = polishing.PATHS[norm](x, w.view(1, 3, 2, 2).expand_as(x))
    found, crossed = polishing.first_wrong(model, path, torch.zeros(6, dtype=torch.int64))
    assert crossed.all()
    for i in range(6):
        step, start = (found[i] - x[i]).flatten().numpy(), x[i].flatten().numpy()
        assert norms.distance((found - x)[i : i + 1], norm).item() == pytest.approx(
            shortest(start, w.numpy(), bound[i].item(), norm), rel=1e-4
        )
        assert (start + step).min() >= 0 and (start + step).max() <= 1


def shortest(x, w, bound, norm):
    """The least norm of d with (x + d) @ w >= bound and x + d in the box."""
    if norm == "l0":
        gains = np.sort(np.where(w > 0, (1 - x) * w, -x * w))[::-1]
        return int((gains.cumsum() < bound - x @ w).sum()) + 1
    if norm == "l2":
        found = optimize.minimize(
            lambda d: d @ d, 0.1 * np.sign(w), jac=lambda d: 2 * d, bounds=list(zip(-x, 1 - x, strict=True)),
            constraints={"type": "ineq", "fun": lambda d: (x + d) @ w - bound}, options={"ftol": 1e-14, "maxiter": 999},
        )  # fmt: skip
        return found.fun**0.5
    n = len(x)  # d, and bounds t on its absolute values: one each in L1, one for all in L-infinity
    ties = np.eye(n) if norm == "l1" else np.ones((n, 1))
    above = np.block([[np.eye(n), -ties], [-np.eye(n), -ties], [-w[None], np.zeros((1, ties.shape[1]))]])
    program = optimize.linprog(
        [0] * n + [1] * ties.shape[1], above, [0] * (2 * n) + [x @ w - bound],
        bounds=[*zip(-x, 1 - x, strict=True), *[(0, None)] * ties.shape[1]],
    )  # fmt: skip
    return program.fun


def test_a_path_that_never_crosses_is_said():
    def stubborn(x):
        return torch.tensor([[1.0, 0]]).expand(len(x), 2)

    x = torch.full((2, 3, 2, 2), 0.5)
    found, crossed = polishing.first_wrong(stubborn, polishing.straight(x, torch.ones_like(x)), torch.tensor([0, 1]))
    assert crossed.tolist() == [False, True]
    assert torch.equal(found[0], torch.ones(3, 2, 2)) and torch.allclose(found[1], x[1], atol=1e-4)


@pytest.mark.parametrize("norm", ["l0", "l1", "linf"])
def test_walks_never_lose_and_mostly_gain(network, norm):
    model, images, labels = network
    alone, polished = (
        attacks.proximal_log_barrier(model, images, labels, norm, outer=5, inner=5, polish=rounds) for rounds in (0, 10)
    )
    assert (polished.distance <= alone.distance).all()
    assert (polished.distance < alone.distance).float().mean() > 0.5
    wrong = attacks.misclassified(model, polished.images, labels)
    assert torch.equal(wrong, polished.success | polished.clean_error)


# --- projected gradient descent -------------------------------------------------------------------------------------


def test_pgd_reaches_planes_within_epsilon_and_no_others(linear):
    model, images, labels, scores = linear
    epsilon = scores.median().item()
    found = attacks.pgd(model, images, labels, epsilon=epsilon, steps=40, step=epsilon / 20)
    assert torch.equal(found.success, scores < epsilon)
    assert (found.distance[found.success] >= scores[found.success]).all()
    assert found.distance[found.success].max() <= epsilon * (1 + 1e-9) and found.distance[~found.success].isinf().all()
    assert torch.equal(found.images[~found.success], images[~found.success]) and not found.gave_up.any()


@pytest.mark.parametrize("loss", ["ce", "margin"])
def test_pgd_walks_straight_to_a_plane_and_stops_behind_it(linear, loss):
    """In strides of `step`: the first multiple of it beyond the plane, if there are so many steps."""
    model, images, labels, scores = linear
    found = attacks.pgd(model, images, labels, epsilon=1, steps=5, step=0.03, loss=loss)
    strides = (scores / 0.03).ceil()
    assert torch.equal(found.success, strides <= 5) and 5 < found.success.sum() < 40
    walked = 0.03 * strides[found.success]
    assert torch.allclose(found.distance[found.success], walked, rtol=1e-6)
    expected = images[found.success] + walked.view(-1, 1, 1, 1) * outwards(model, labels)[found.success]
    assert torch.allclose(found.images[found.success], expected, atol=1e-6)


def test_a_transferred_attack_moves_along_the_source_s_normal_to_the_radius_and_is_judged_by_the_model(linear):
    """On a plane whose normal has the cosine c with the source's, what lies nearer than c times the radius is wrong."""
    source, images, _, _ = linear
    model = Linear(seed=5).eval()
    across = model.w - (model.w @ source.w) * source.w
    model.w.copy_(0.6 * source.w + 0.8 * across / across.norm())
    model.b.copy_(-model.w.sum() / 2)
    labels, away = model(images).argmax(dim=1), model.score(images).abs()
    agreed = labels == source(images).argmax(dim=1)
    found = attacks.transferred(model, source, images, labels, epsilon=0.1, steps=40, step=0.01)
    reached = agreed & (away < 0.6 * 0.1)
    assert 0 < reached.sum() < agreed.sum() and torch.equal(found.success[agreed], reached[agreed])
    assert torch.allclose(found.distance[found.success], torch.tensor(0.1, dtype=torch.float64))


def test_a_transferred_attack_leaves_clean_errors_alone_and_checks_both_models(wrong_first):
    model, images, labels = wrong_first
    found = attacks.transferred(model, model, images, labels, epsilon=0.5)
    assert found.clean_error[:10].all() and (found.distance[:10] == 0).all() and not found.success[:10].any()
    training = Linear().train()
    for pair in ((model, training), (training, model)):
        with pytest.raises(ValueError, match="training mode"):
            attacks.transferred(*pair, images, labels)


def test_pgd_stays_in_the_box(linear):
    model, images, labels, _ = linear
    dark = (images - 0.45).clamp(0, 1)
    found = attacks.pgd(model, dark, model(dark).argmax(dim=1), epsilon=3, steps=60, step=0.05)
    assert found.success.any() and found.images.min() == 0 and found.images.max() <= 1
    lengths = (found.images - dark).flatten(1).norm(dim=1)
    assert torch.allclose(found.distance[found.success], lengths[found.success])


def test_pgd_takes_20_strides_of_a_twentieth_within_a_half_where_nothing_is_said():
    model = Linear().eval()
    away = torch.linspace(0.425, 1.035, 62, dtype=torch.float64)  # right images at these distances from the plane
    images = 0.5 - (away[:, None] * model.w).view(-1, 3, 8, 8)
    labels = model(images).argmax(dim=1)
    assert torch.equal(attacks.pgd(model, images, labels).success, away < 0.5)
    far = {"epsilon": 2, "loss": "margin"}  # so far from the plane, the cross-entropy has hardly a gradient
    assert torch.equal(attacks.pgd(model, images, labels, **far).success, away < 1)
    assert torch.equal(attacks.pgd(model, images, labels, **far, step=0.04).success, away < 0.8)
    misplaced = published_attacks.pgd_misplaced(model, images, labels)
    named = published_attacks.pgd_misplaced(model, images, labels, epsilon=0.5, steps=20, step=0.05, loss="ce")
    assert torch.equal(misplaced.distance, named.distance) and 0 < misplaced.success.sum() < 62


def test_the_margin_is_between_the_right_class_and_the_best_other():
    logits = torch.tensor([[3.0, 1, 2], [0, 5, 7]])
    assert attacks.LOSSES["margin"](logits, torch.tensor([0, 2])) == (2 - 3) + (5 - 7)
    assert attacks.LOSSES["ce"](logits, torch.tensor([0, 2])).item() == pytest.approx(
        sum(math.log(sum(math.exp(v) for v in row)) - right for row, right in zip(logits.tolist(), (3, 7), strict=True))
    )


@pytest.mark.parametrize("epsilon", [0.06, 0.5])
def test_misplaced_strides_move_the_first_images_of_the_batch(wrong_first, epsilon):
    """Simulated along the one direction that matters: with ten clean errors, strides land ten places too early."""
    model, images, labels = wrong_first
    side = torch.where(labels == 0, 1.0, -1.0).double()  # where an image's own strides lead
    start, walked = model.score(images), torch.zeros(40, dtype=torch.float64)
    right = start * side < 0
    for _ in range(20):
        strides = 0.05 * side[right]
        walked[: len(strides)] += strides
        walked = walked.clamp(-epsilon, epsilon)
        right = (start + walked) * side < 0
    broken = ~right & (walked != 0)
    found = published_attacks.pgd_misplaced(model, images, labels, epsilon=epsilon)
    assert found.clean_error.tolist() == [True] * 10 + [False] * 30
    assert torch.equal(found.success, broken & ~found.clean_error)
    assert torch.allclose(found.distance[broken], walked.abs()[broken], rtol=1e-5)
    assert (found.distance[~broken & found.clean_error] < 1e-12).all()  # some went to and fro
    assert found.distance[right & ~found.clean_error].isinf().all() and (right & ~found.clean_error).any()
    assert torch.allclose(found.images[~broken], images[~broken], atol=1e-12) and (broken & found.clean_error).any()
    assert found.success.sum() < attacks.pgd(model, images, labels, epsilon=epsilon).success.sum()


# --- both -----------------------------------------------------------------------------------------------------------


def test_clean_errors_are_no_successes(wrong_first):
    model, images, labels = wrong_first
    for found in (attacks.pgd(model, images, labels), attacks.proximal_log_barrier(model, images, labels, outer=1)):
        assert found.clean_error.tolist() == [True] * 10 + [False] * 30
        assert not found.success[:10].any() and (found.distance[:10] == 0).all()
        assert torch.equal(found.images[:10], images[:10])


def test_a_batch_of_clean_errors_alone_is_left_as_it_is(linear):
    model, images, labels, _ = linear
    found = [attack(model, images, 1 - labels) for attack in (attacks.pgd, attacks.proximal_log_barrier)]
    found.append(published_attacks.pgd_misplaced(model, images, 1 - labels))
    for each in found:
        assert torch.equal(each.images, images) and (each.distance == 0).all() and each.clean_error.all()


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
    ratio = ours.distance[both] / norms.distance(adversarial - images, "l2")[both]
    assert ratio.median() < 1.02


def test_pgd_succeeds_where_foolbox_s_does(network):
    model, images, labels = network
    ours = attacks.pgd(model, images, labels, epsilon=0.5)
    theirs = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.05, steps=20, random_start=False)
    _, _, success = theirs(foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=0.5)
    assert abs((ours.success | ours.clean_error).float().mean() - success.float().mean()) < 0.05
    margin = attacks.pgd(model, images, labels, epsilon=0.5, loss="margin")
    assert abs(margin.success.float().mean() - ours.success.float().mean()) < 0.1


@pytest.mark.parametrize("attack", [attacks.pgd, attacks.proximal_log_barrier, published_attacks.pgd_misplaced])
def test_bad_input_is_refused(linear, attack):
    model, images, labels, _ = linear
    with pytest.raises(ValueError, match="the model is in training mode"):
        attack(Linear().train(), images, labels)
    for wrong in (images + 0.6, images - 0.6):
        with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]; these go from"):
            attack(model, wrong, labels)
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        attack(model, images * float("nan"), labels)
    with pytest.raises(ValueError, match=r"images must be float \(N, C, H, W\), not torch.uint8 \(40, 3, 8, 8\)"):
        attack(model, (images * 255).to(torch.uint8), labels)
    with pytest.raises(ValueError, match=r"images must be float \(N, C, H, W\), not torch.float64 \(40, 192\)"):
        attack(model, images.flatten(1), labels)
    with pytest.raises(ValueError, match=r"labels must be int64 of shape \(40,\), not torch.int64 \(3,\)"):
        attack(model, images, labels[:3])
    with pytest.raises(ValueError, match="labels must be int64"):
        attack(model, images, labels.int())


@pytest.mark.parametrize("attack", [attacks.pgd, attacks.proximal_log_barrier, published_attacks.pgd_misplaced])
def test_labels_that_the_model_lacks_and_empty_batches_are_refused(linear, attack):
    model, images, labels, _ = linear
    for wrong in (labels + 1, labels - 1):
        with pytest.raises(ValueError, match=r"labels must lie in 0 to 1, the model's classes; these go from"):
            attack(model, images, wrong)
    with pytest.raises(ValueError, match=r"there are no images to attack: their shape is \(0, 3, 8, 8\)"):
        attack(model, images[:0], labels[:0])
    with pytest.raises(ValueError, match=r"the model must give logits \(N, K\); of one image it gives \(1,\)"):
        attack(model.score, images, labels)


@pytest.mark.parametrize("attack", [attacks.pgd, attacks.proximal_log_barrier, published_attacks.pgd_misplaced])
def test_logits_that_are_not_finite_are_no_clean_errors(linear, attack):
    """Of any image: the largest of them would be class 0, at distance 0 of the others."""
    model, images, labels, _ = linear
    chosen = images.flatten(1).sum(dim=1).sort(descending=True).values[2]

    def broken(x):
        return torch.where((x.flatten(1).sum(dim=1) >= chosen)[:, None], float("nan"), model(x))

    with pytest.raises(ValueError, match="the model's logits are not finite in 3 of 40 images"):
        attack(broken, images, labels)
    with pytest.raises(ValueError, match=r"must give logits \(N, K\); of one image it gives NoneType"):
        attack(lambda x: None, images, labels)


def test_settings_that_no_attack_can_have_are_refused(linear):
    model, images, labels, _ = linear
    for attack in (attacks.pgd, published_attacks.pgd_misplaced, functools.partial(attacks.transferred, model)):
        with pytest.raises(ValueError, match="loss 'cw' is not one of ce, margin"):
            attack(model, images, labels, loss="cw")
        with pytest.raises(ValueError, match="steps must be 0 or more, not -1"):
            attack(model, images, labels, steps=-1)
    for name in ("outer", "inner", "polish"):
        with pytest.raises(ValueError, match=f"{name} must be 0 or more, not -1"):
            attacks.proximal_log_barrier(model, images, labels, **{name: -1})
    for ids in (torch.arange(39), torch.arange(40).double()):
        with pytest.raises(ValueError, match=r"ids must be int64 of shape \(40,\), not"):
            attacks.proximal_log_barrier(model, images, labels, ids=ids)
        with pytest.raises(ValueError, match=r"ids must be int64 of shape \(40,\), not"):
            attacks.random_start(images, 0.5, "l2", 0, ids)


@pytest.mark.parametrize("attack", [attacks.pgd, attacks.proximal_log_barrier, published_attacks.pgd_misplaced])
def test_models_without_usable_gradients_are_refused(linear, attack):
    model, images, labels, _ = linear

    def detached(x):
        return model(x.detach())

    def constant(x):
        return detached(x) + torch.zeros(2, requires_grad=True)  # a gradient, but none in x

    def infinite(x):
        return model(x) * (1 + 0 * (x - x.detach()).abs().sum().sqrt())  # the root's slope at 0

    for broken in (detached, constant):
        with pytest.raises(ValueError, match="the model has no gradient in its images"):
            attack(broken, images, labels)
    with pytest.raises(ValueError, match=r"the model's gradient is not finite in \d+ of \d+ images"):
        attack(infinite, images, labels)


def test_a_part_in_training_mode_is_refused(linear):
    model, images, labels, _ = linear
    whole = torch.nn.Sequential(torch.nn.Dropout(), Linear()).eval()
    whole[0].train()
    with pytest.raises(ValueError, match="the model is in training mode"):
        attacks.pgd(whole, images, labels)


def test_the_walls_of_the_box_are_within_it(linear):
    model, images, labels, _ = linear
    attacked_models.check(model, images.round(), labels)
    attacked_models.check(model.forward, images.round(), labels)  # no module


@pytest.mark.parametrize("attack", [attacks.pgd, published_attacks.pgd_misplaced])
def test_radii_beyond_the_box_are_refused(linear, attack):
    model, images, labels, _ = linear
    for epsilon in (0, -1, 13.9, 14):  # the diagonal is 13.86
        with pytest.raises(ValueError, match=rf"epsilon {epsilon} lies outside of the box \[0, 1\].* at most 13.8564"):
            attack(model, images, labels, epsilon=epsilon)
    attack(model, images, labels, epsilon=PIXELS**0.5, steps=1)


def test_unknown_norms_are_refused(linear):
    model, images, labels, _ = linear
    with pytest.raises(ValueError, match="norm 'l3' is not one of l0, l1, l2, linf"):
        attacks.proximal_log_barrier(model, images, labels, "l3")
    for norm in ("l0", "l1"):
        with pytest.raises(ValueError, match=f"norm '{norm}' is not one of l2, linf"):
            attacks.pgd(model, images, labels, norm=norm)
    with pytest.raises(ValueError, match="epsilon 1.1 lies outside"):
        attacks.pgd(model, images, labels, norm="linf", epsilon=1.1)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", math.inf)])
def test_a_random_start_is_epsilon_long_and_an_image_s_own(linear, norm, order):
    _, images, _, _ = linear
    ids = torch.arange(40)
    start = attacks.random_start(images, 0.3, norm, 7, ids)
    assert start.shape == images.shape and start.dtype == images.dtype
    assert torch.allclose(start.flatten(1).norm(order, dim=1), torch.full((40,), 0.3, dtype=torch.float64))
    drawn = rng.normal(PIXELS, 7, "pgd/start", ids).double()  # in the same directions
    assert torch.allclose(torch.cosine_similarity(start.flatten(1), drawn, dim=1), torch.ones(40, dtype=torch.float64))
    assert torch.equal(attacks.random_start(images[5:9], 0.3, norm, 7, ids[5:9]), start[5:9])
    assert len({image.numpy().tobytes() for image in start}) == 40


class HalfBlind(Linear):
    """A plane that half of the pixels say nothing about."""

    def __init__(self):
        super().__init__()
        self.w[: PIXELS // 2] = 0
        self.w /= self.w.norm()
        self.b = -self.w.sum() / 2


def test_pgd_in_linf_reaches_planes_within_epsilon_and_leaves_what_has_no_slope(linear):
    """The distance in linf to a plane is |w.x + b| over the sum of |w|."""
    _, images, _, _ = linear
    model = HalfBlind().eval()
    labels, needed = model(images).argmax(dim=1), model.score(images).abs() / model.w.abs().sum()
    epsilon = needed.sort().values[19:21].mean().item()
    found = attacks.pgd(model, images, labels, epsilon=epsilon, steps=40, step=epsilon / 10, norm="linf", loss="margin")
    assert torch.equal(found.success, needed < epsilon)
    step = (found.images - images).flatten(1)
    assert step.abs().max() <= epsilon * (1 + 1e-9) and step[:, : PIXELS // 2].abs().max() == 0
    slope = outwards(model, labels)
    walked = (polishing.PATHS["linf"](images, slope)(torch.full((40,), 0.1)) - images).flatten(1)
    assert torch.allclose(walked, 0.1 * slope.flatten(1).sign(), atol=1e-6)


def test_pgd_from_a_start_behind_the_plane_stays_there_and_one_too_far_is_pulled_back(linear):
    model, images, labels, scores = linear
    behind = (scores + 0.01).view(-1, 1, 1, 1) * outwards(model, labels)
    found = attacks.pgd(model, images, labels, epsilon=1, steps=5, step=0.03, start=behind)
    assert found.success.all() and torch.allclose(found.distance, scores + 0.01)
    epsilon = scores.max().item() / 2
    found = attacks.pgd(model, images, labels, epsilon=epsilon, steps=0, step=0.03, start=20 * behind)
    assert torch.equal(found.success, scores < epsilon) and 0 < found.success.sum() < 40
    assert torch.allclose(found.distance[found.success], torch.tensor(epsilon, dtype=torch.float64))


def test_what_gave_up_at_one_weight_has_given_up(linear, monkeypatch):
    model, images, labels, scores = linear
    behind = images + (scores + 0.01).view(-1, 1, 1, 1) * outwards(model, labels)
    stuck = iter([torch.arange(40) < 10, torch.arange(40) == 20])
    monkeypatch.setattr(attacks, "backed_up", lambda model, tried, u, *rest: (u, next(stuck)))
    _, gave_up = attacks.nearest(model, behind, images, labels, "l2", [0.1, 0.01], 0.01, 0.01, 0.5)
    assert gave_up.nonzero().flatten().tolist() == [*range(10), 20]
