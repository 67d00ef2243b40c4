"""The named settings in which the paper and the authors' code differ, and those of a GPU's numerics."""

import copy

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from contrastive_inversion.base import rng, studies
from contrastive_inversion.base.job import Job
from contrastive_inversion.distort import colour
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import losses, networks
from contrastive_inversion.learn.loop import Step, ahead, learning_rate
from contrastive_inversion.ledger import plan
from contrastive_inversion.papers.inverse_problems import baselines

NETWORK = {"architecture": "convnet", "model": "embedding-128/48", "mean": [0.5] * 3, "std": [0.25] * 3}
TORCHVISION = {
    "brightness": F.adjust_brightness, "contrast": F.adjust_contrast, "saturation": F.adjust_saturation,
    "hue": F.adjust_hue,
}  # fmt: skip


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return networks.build(NETWORK).train()


def test_colour_jitter_is_torchvision_s_for_every_image():
    images = torch.rand(16, 3, 9, 7)
    ids, strengths = torch.arange(16), {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    draws = rng.uniform(8, 1, "colours", ids)
    for image, draw, found in zip(
        images, draws, colour.colour_jitter(images, strengths, 1, "colours", ids), strict=True
    ):
        for number in draw[4:].argsort().tolist():
            name = colour.ADJUSTMENTS[number]
            spread = strengths[name] * (2 * draw[number].item() - 1)
            image = TORCHVISION[name](image, spread if name == "hue" else 1 + spread)
        assert torch.allclose(found, image, atol=2e-5)


@pytest.mark.parametrize("period", [123, 10, 3.959])
def test_the_stalled_cosine_is_pytorch_s_scheduler_stepped_once_an_epoch(period):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=period)
    settings = {"lr": 3e-4, "schedule": "stalled_cosine", "period": period}
    for epoch in range(10):
        assert learning_rate(settings, 7 * epoch + 3, 7, 10) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_shards_see_their_own_statistics_and_the_first_one_is_remembered(encoder):
    batch = torch.rand(32, 3, 48, 48)
    first = copy.deepcopy(encoder)
    separate = [first(batch[:8])] + [copy.deepcopy(encoder)(part) for part in batch[8:].split(8)]
    found = networks.sharded(encoder, batch, 4)
    assert torch.equal(found, torch.cat(separate))
    for (name, ours), theirs in zip(encoder.state_dict().items(), first.state_dict().values(), strict=True):
        assert name.endswith("num_batches_tracked") or torch.equal(ours, theirs)
    assert not torch.allclose(found, copy.deepcopy(encoder)(batch))


def test_a_student_before_its_first_step_is_its_teacher(encoder):
    teacher = encoder.eval()
    student = copy.deepcopy(teacher)
    batch = torch.rand(8, 3, 48, 48)
    assert torch.equal(student(batch), teacher(batch))
    assert losses.mse(student(batch), teacher(batch), 0.1).item() == pytest.approx(-1)


def test_sixteen_bits_stay_within_the_trunk(encoder):
    batch = torch.rand(8, 3, 48, 48)
    exact = encoder.eval()(batch)
    encoder.autocast = torch.bfloat16
    found = encoder(batch)
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    assert torch.allclose(found, exact, atol=0.05 * exact.abs().max().item())


def test_a_cpu_computes_in_float32_whatever_the_precision(encoder):
    prepared = networks.prepare(encoder, {"precision": "fp16", "channels_last": False}, Job("", None, ""))
    assert prepared.autocast is None and prepared.layout == torch.contiguous_format


def test_repeated_draws_are_those_of_every_worker_and_epoch():
    recipe = {
        "settings": {"repeated_draws": {"workers": 3, "batch": 4}},
        "distortion": [{"op": "mask", "fraction": [0.5, 0.95]}, {"op": "noise", "sigma": [0.1, 0.3]}],
        "seed": 1,
    }
    white = torch.ones(8, 1, 16, 16)

    def masks(number, epoch):
        index = torch.arange(8) + 8 * number + 100 * epoch
        spec = recipe | {"distortion": recipe["distortion"][:1]}
        return baselines.distorted_for_training(white, spec, Step(index, epoch, number))

    first = masks(0, 0)
    assert torch.equal(first[:4], first[4:])  # the ranks drew the same
    assert torch.equal(first, masks(2, 5)) and not torch.equal(first, masks(3, 0))
    noisy = [baselines.distorted_for_training(white, recipe, Step(torch.arange(8) + k, 0, 0)) for k in (0, 1)]
    assert not torch.equal(*noisy)  # the noise itself came from PyTorch, and did not repeat
    usual = corrupt(white, recipe["distortion"], 1, "train", torch.arange(8), 0)
    assert torch.equal(
        usual, baselines.distorted_for_training(white, recipe | {"settings": {}}, Step(torch.arange(8), 0, 0))
    )


def test_reading_ahead_keeps_the_order():
    assert list(ahead(lambda i: i * i, range(20), 4)) == [i * i for i in range(20)]
    assert list(ahead(lambda i: i, [], 1)) == []


def test_the_authors_study_differs_where_their_code_did():
    recipe = {
        name: plan.parse(plan.recipe(f"encoders/{name}", "authors")) for name in ("student-rm90", "baseline-rm90")
    }
    student, baseline = (recipe[name]["settings"] for name in recipe)
    assert student["lr"] == 3e-4 and "weight_decay" not in student and student["teacher_mode"] == "train"
    assert baseline["batch"] == 256 and recipe["baseline-rm90"]["images"]["flip"] == 0.5
    paper = plan.parse(plan.recipe("encoders/baseline-rm90", "paper"))
    assert "flip" not in paper["images"] and paper["settings"]["batch"] == 64
    probes = plan.parse(plan.recipe("heads/student-mix/imagenet100", "authors"))
    assert probes["probes"][0]["distortion"][0]["op"] == "jitter" and probes["settings"]["full"]["batch"] == 512
    clean = plan.parse(plan.recipe("encoders/baseline-clean", "authors"))
    assert clean["settings"]["frozen"] and "frozen" not in baseline
    transfer = plan.parse(plan.recipe("heads/student-rm50to95/cifar10", "authors"))
    assert transfer["settings"]["full"]["period"] == 10
    nlm = plan.parse(plan.recipe("measurements/resnet/imagenet100", "authors"))["levels"]
    constants = next(level for level in nlm if level["name"] == "nlm-gn10")["constants"]
    assert constants["mean"] == studies.load("paper")["networks"]["student"]["mean"]
