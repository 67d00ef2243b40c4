"""The galleries' pictures and what the models take them for, on a few small pictures."""

import numpy as np
import pytest
import torch

import tiny
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.papers.inverse_problems import samples
from contrastive_inversion.papers.inverse_problems.recipes import Samples

CAPTIONS = ["white dog", "black dog", "cat"]
LEVELS = {name: operations({"op": "mask", "fraction": [share] * 2}) for name, share in (("rm50", 0.5), ("rm90", 0.9))}
SHOWN = [0, 2, 3, 5]  # four of the six test pictures, spread evenly


@pytest.fixture
def models(tmp_path):
    """On disk, and here as {distortion: {model: (encoder, head)}}: a student and its probe, a baseline and its own."""
    found = {}
    for seed, name in enumerate(LEVELS):
        student = tiny.encoder(tmp_path, f"student-{name}", seed=seed)
        baseline = tiny.encoder(tmp_path, f"baseline-{name}", classes=len(CAPTIONS), seed=10 + seed)
        probe = torch.nn.Linear(student.dim, len(CAPTIONS))
        tensors = {f"probe 100% on {name}.{part}": tensor for part, tensor in probe.state_dict().items()}
        tiny.write(tmp_path, f"heads/student-{name}/imagenet100", tensors, {})
        found[name] = {"ours": (student, probe), "baseline": (baseline.encoder, baseline.head)}
    return found


@pytest.fixture
def job(tmp_path, models):
    """A job on six test pictures and the models."""
    tiny.store(tmp_path, test=tiny.pictures(6, 2))
    behind = ("encoders/student-{}", "encoders/baseline-{}", "heads/student-{}/imagenet100")
    inputs = [product.format(name) for name in models for product in behind]
    return tiny.job(tmp_path, "galleries/figure_1", "images/imagenet100", *inputs)


def recipe(gallery):
    return Samples(
        seed=1, inputs={}, gallery=gallery, images=tiny.WHOLE, settings={"images": len(SHOWN)}, split="test",
        levels=[{"name": name, "distortion": spec} for name, spec in LEVELS.items()],
    )  # fmt: skip


def distorted(name):
    """The shown pictures under a distortion: float32 (N, 3, SIZE, SIZE)."""
    index = torch.tensor(SHOWN)
    return corrupt(tiny.seen(tiny.pictures(6, 2)[0])[index], LEVELS[name], 1, "evaluate/test", index)


def guesses(encoder, linear, batch):
    """The captions of each picture from the likeliest to the least likely, with softmax(W f(x) + b)."""
    weight, bias = (linear.state_dict()[part].double().numpy() for part in ("weight", "bias"))
    exponentials = np.exp(encoder(batch).detach().double().numpy() @ weight.T + bias)  # (N, classes)
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    return [[[CAPTIONS[c], pytest.approx(row[c], abs=1e-4)] for c in np.argsort(-row)] for row in shares]


def test_each_model_s_guesses_are_the_softmax_of_its_own_head_on_its_own_embedding(job, models):
    _, facts = samples.make(recipe("predictions"), job)
    assert facts["labels"] == [CAPTIONS[i % 3] for i in SHOWN]
    for name, pairs in models.items():
        found = facts["predictions"][name]
        assert found == {model: guesses(*pair, distorted(name)) for model, pair in pairs.items()}
        assert found["ours"] != found["baseline"]
    assert facts["predictions"]["rm50"] != facts["predictions"]["rm90"]


def test_a_gallery_shows_the_pictures_as_the_models_see_them(job):
    tensors, facts = samples.make(recipe("samples"), job)
    assert facts["predictions"] == {} and tensors.keys() == {"clean", *LEVELS}
    assert torch.equal(tensors["clean"], tiny.pictures(6, 2)[0][SHOWN])
    for name in LEVELS:
        assert torch.equal(tensors[name].permute(0, 3, 1, 2), (255 * distorted(name)).round().to(torch.uint8))


def test_a_baseline_without_a_classifier_of_its_own_is_named(job):
    tiny.encoder(job.root, "baseline-rm90")
    with pytest.raises(UserError, match="galleries/figure_1: encoders/baseline-rm90 has no classifier of its own"):
        samples.make(recipe("predictions"), job)


def test_of_two_classes_both_are_told():
    found = samples.top_three(torch.tensor([0.25, 0.75]), ["cat", "dog"])
    assert found == [["dog", 0.75], ["cat", 0.25]]
