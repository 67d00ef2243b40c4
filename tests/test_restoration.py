"""Non-local means against scikit-image, Deep Decoder against ordinary modules, and the job that restores a store."""

import functools
import json

import pytest
import torch
import torch.nn.functional as F
from skimage.restoration import denoise_nl_means, estimate_sigma

from calls import Calls
from contrastive_inversion import papers
from contrastive_inversion.base import files, rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.distort import restoration
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.ledger import plan
from contrastive_inversion.papers.inverse_problems import restored
from contrastive_inversion.papers.inverse_problems.recipes import Denoising, Inpainting
from ledgers import study_but

SETTINGS = {"channels": 6, "upsamplings": 2, "steps": 8, "lr": 0.01, "input_noise": 0.005}
MEANS = {"patch_size": 5, "patch_distance": 3, "h": 0.1}
IDS = torch.tensor([5, 0, 9])


@pytest.fixture
def masked():
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(3, 1, 12, 12, generator=generator) > 0.5).double()
    return torch.rand(3, 3, 12, 12, generator=generator).double() * mask, mask


class Reference(torch.nn.Module):
    """The authors' network for one image, layer by layer: batch norm in training mode, no fused products."""

    def __init__(self, image_id, k, ups, seed):
        super().__init__()
        weights = [
            rng.uniform(k * (k if i <= ups else 3), seed, f"deep decoder/weights {i}", torch.tensor([image_id]))
            for i in range(ups + 2)
        ]
        weights = [((2 * w - 1) / k**0.5).view(-1, k, 1, 1) for w in weights]
        self.convolutions = torch.nn.ParameterList(weights)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(k, dtype=torch.float64) for _ in range(ups + 1))

    def forward(self, x):
        for i, norm in enumerate(self.norms):
            x = F.conv2d(x, self.convolutions[i])
            if i < len(self.norms) - 1:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = norm(x.relu())
        return torch.sigmoid(F.conv2d(x, self.convolutions[-1]))


def reference_fit(image, mask, image_id, seed, channels, upsamplings, steps, lr, input_noise):
    """Heckel and Hand's loop: noise on the input that fades by 0.7 every 500 steps, the best network by 0.5 %."""
    network, ids, side = (
        Reference(image_id, channels, upsamplings, seed),
        torch.tensor([image_id]),
        12 // 2**upsamplings,
    )
    shape = (1, channels, side, side)
    start = rng.uniform(channels * side * side, seed, "deep decoder/input", ids).view(shape) / 10
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    best, kept, replaced = float("inf"), None, 0
    for step in range(steps):
        if step % 500 == 0:
            input_noise *= 0.7
        noise = rng.normal(channels * side * side, seed, "deep decoder/noise", ids, step).double().view(shape)
        loss = ((network(start + input_noise * noise)[0] - image)[:, mask == 1] ** 2).sum() / image.numel()
        if best > 1.005 * loss.item():
            best, kept, replaced = loss.item(), {k: v.clone() for k, v in network.state_dict().items()}, replaced + 1
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.load_state_dict(kept)
    with torch.no_grad():
        return network(start)[0], replaced


@pytest.mark.parametrize("change", [{}, {"lr": 0.3, "steps": 40}, {"upsamplings": 1, "channels": 4}])
def test_deep_decoder_is_its_authors_training_of_each_image(masked, change):
    image, mask = masked
    settings = SETTINGS | {"input_noise": 0.05} | change
    found = restoration.deep_decoder(image, mask, IDS, 1, **settings)
    assert found.dtype == torch.float64
    for i in range(3):
        expected, replaced = reference_fit(image[i], mask[i, 0], IDS[i].item(), 1, **settings)
        assert torch.allclose(found[i], expected, atol=1e-5)
        assert replaced < settings["steps"] or settings["steps"] == 8  # the best network was not always the last


def test_the_noise_on_the_input_fades_every_500_steps():
    start = torch.zeros(1, 4000, 1, dtype=torch.float64)
    inputs = list(restoration.noisy_inputs(start, 2.0, 1001, IDS[:1], 1))
    found = [inputs[step].std().item() for step in (0, 499, 500, 999, 1000)]
    assert found == pytest.approx([1.4, 1.4, 0.98, 0.98, 0.686], rel=0.05)
    assert not torch.equal(inputs[0], inputs[1])


def test_a_network_is_replaced_when_its_loss_falls_by_half_a_percent():
    """Steps of a constant input whose losses are set by the learning rate: none, then the first network stays."""
    decoders = restoration.initial_decoders(IDS, 4, 1, 1, torch.float64)
    before = {name: tensor.clone() for name, tensor in decoders.items()}
    x = rng.uniform(16, 1, "x", IDS).view(3, 4, 4)
    target, mask = torch.rand(3, 3, 4, 4, dtype=torch.float64), torch.ones(3, 1, 4, 4, dtype=torch.float64)
    crept = restoration.fitted(restoration.decode, decoders, [x] * 3, target, mask, 1e-6, lambda: None)
    assert all(torch.equal(crept[name], before[name]) for name in before)


def test_deep_decoder_of_a_batch_equals_separate_runs(masked):
    together = restoration.deep_decoder(*masked, IDS, 1, **SETTINGS)
    for i in range(3):
        alone = restoration.deep_decoder(*(x[i : i + 1] for x in masked), IDS[i : i + 1], 1, **SETTINGS)
        assert torch.allclose(together[i], alone[0], atol=1e-6)


def test_the_decoder_is_the_network_of_its_authors():
    """With scales and shifts that are not those of the start."""
    decoders = restoration.initial_decoders(IDS[:1], 6, 2, 1, torch.float64)
    network = Reference(IDS[0].item(), 6, 2, 1)
    for i in range(3):
        decoders[f"{i}.scale"] = torch.linspace(0.5, 1.5 + i, 6, dtype=torch.float64).view(1, 6, 1)
        decoders[f"{i}.shift"] = torch.linspace(-1, i, 6, dtype=torch.float64).view(1, 6, 1)
        network.norms[i].weight.data = decoders[f"{i}.scale"].flatten()
        network.norms[i].bias.data = decoders[f"{i}.shift"].flatten()
    x = rng.uniform(6 * 9, 1, "x", IDS[:1]).view(1, 6, 9)
    assert torch.allclose(restoration.decode(x, decoders), network(x.view(1, 6, 3, 3)), atol=1e-12)


def test_first_weights_are_pytorch_s_and_each_image_s_own():
    found = restoration.initial_decoders(torch.arange(40), 25, 1, 1, torch.float32)
    assert {name: tuple(t.shape[1:]) for name, t in found.items()} == {
        "0.weight": (25, 25), "0.scale": (25, 1), "0.shift": (25, 1),
        "1.weight": (25, 25), "1.scale": (25, 1), "1.shift": (25, 1), "2.weight": (3, 25),
    }  # fmt: skip
    convolution = torch.nn.Conv2d(25, 25, 1)  # uniform within 1 / sqrt(25)
    for name in ("0.weight", "1.weight", "2.weight"):
        assert 0.19 < found[name].abs().max() <= 0.2
        assert found[name].std() == pytest.approx(convolution.weight.std().item(), rel=0.1)
        assert found[name].mean().abs() < 0.01 and found[name].flatten(1).unique(dim=0).shape[0] == 40
    assert not torch.equal(found["0.weight"], found["1.weight"])
    assert (found["1.scale"] == 1).all() and (found["1.shift"] == 0).all()


def test_hidden_pixels_are_not_looked_at(masked):
    image, mask = masked
    found = restoration.deep_decoder(image, mask, IDS, 1, **SETTINGS)
    assert torch.equal(found, restoration.deep_decoder(image + 5 * (1 - mask), mask, IDS, 1, **SETTINGS))
    assert not torch.equal(found, restoration.deep_decoder(image + 5 * mask, mask, IDS, 1, **SETTINGS))


def test_a_longer_fit_is_closer_to_the_known_pixels(masked):
    image, mask = masked

    def error(steps):
        output = restoration.deep_decoder(image, mask, IDS, 1, **SETTINGS | {"steps": steps, "channels": 16})
        return ((output - image) * mask).square().mean()

    assert error(150) < 0.5 * error(2)


def test_a_compiled_decoder_is_the_same(masked, monkeypatch):
    """As one graph; a backend that only traces stands in for a compiler, which would take minutes."""
    image, mask = masked
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager", fullgraph=True))
    found = restoration.deep_decoder(image, mask, IDS, 1, **SETTINGS, compiled=True)
    torch.compiler.reset()
    assert torch.equal(found, restoration.deep_decoder(image, mask, IDS, 1, **SETTINGS))


def test_non_local_means_is_scikit_image_s_with_the_authors_parameters():
    noisy = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    done = []
    found = restoration.non_local_means(
        noisy, patch_size=7, patch_distance=11, h=0.1, done=lambda: done.append(len(done))
    )
    assert done == [0, 1] and found.dtype == torch.float32 and found.is_contiguous()
    for image, result in zip(noisy, found, strict=True):
        picture = image.permute(1, 2, 0).numpy()
        sigma = sum(estimate_sigma(picture, channel_axis=-1)) / 3
        expected = denoise_nl_means(picture, 7, 11, 0.1, fast_mode=True, sigma=sigma, channel_axis=-1)
        assert torch.allclose(result, torch.from_numpy(expected).permute(2, 0, 1).float(), atol=1e-6)


# --- the job --------------------------------------------------------------------------------------------------------


@pytest.fixture
def restore(tmp_path):
    """A function that restores a store of 25 squares of 12 pixels; it returns the content and the progress."""
    generator = torch.Generator().manual_seed(0)
    squares = torch.randint(0, 256, (25, 12, 12, 3), generator=generator, dtype=torch.uint8)
    recipe = {
        "seed": 0,
        "inputs": {},
        "data": "digits",
        "image_size": 12,
        "settings": {"source": "digits", "train": 1, "stored": 12},
    }
    files.save(
        tmp_path / "images/digits.safetensors", {"test/images": squares, "test/labels": torch.arange(25) // 5},
        {"recipe": recipe, "recipe_hash": "of the images"},
    )  # fmt: skip
    job = Job("inpainted/digits/x/0", tmp_path, "", {"images/digits": "of the images"})

    def run(operation, block=0, blocks=1, **settings):
        kind, make = (Denoising, restored.denoise) if "h" in settings else (Inpainting, restored.inpaint)
        recipe = {
            "seed": 3, "inputs": job.inputs, "settings": settings, "test": "images/digits", "split": "test",
            "images": {"image_size": 8, "crop": "random"}, "distortion": [operation], "block": block, "blocks": blocks,
        }  # fmt: skip
        content, facts = make(kind.model_validate(recipe), job)
        return content, facts, json.loads((job.state / "progress.json").read_text())

    run.clean = squares[:, 2:10, 2:10].permute(0, 3, 1, 2).float() / 255
    return run


def corrupted(images, operation, ids, instantiation=0):
    return corrupt(images, operations(operation), 3, "evaluate/test", ids, instantiation)


NOISE, MASK = {"op": "noise", "sigma": [0.1, 0.3]}, {"op": "mask", "fraction": [0.3, 0.6]}
SHORT = SETTINGS | {"steps": 3, "upsamplings": 1}


def test_noise_is_that_of_the_measurements_and_is_removed_from_every_instantiation(restore):
    content, facts, progress = restore(NOISE, **MEANS, images=4, instantiations=3)
    chosen = torch.tensor([0, 8, 16, 24])
    assert facts == {"images_restored": 4} and content["labels"].tolist() == [0, 1, 3, 4]
    assert content["images"].shape == (3, 4, 3, 8, 8)
    for i, view in enumerate(content["images"]):
        noisy = corrupted(restore.clean[chosen], NOISE, chosen, i)
        assert torch.equal(view, restoration.non_local_means(noisy, **MEANS))
    assert progress["state"] == "finished" and progress["epochs"] == 3


def test_all_images_are_denoised_ten_times_where_nothing_is_said(restore):
    content, facts, progress = restore(NOISE, **MEANS)
    assert content["images"].shape == (10, 25, 3, 8, 8) and facts == {"images_restored": 25}
    assert content["images"].flatten(1).unique(dim=0).shape[0] == 10


@pytest.mark.parametrize("known", ["own", "stale"])
def test_masked_images_are_inpainted_with_their_masks_or_the_first_one_s(restore, known, monkeypatch):
    """25 images are fitted as many at once as memory holds, which changes nothing; authors kept the first mask."""
    monkeypatch.setattr(restored, "ROOM", 20 * restored.IMAGES_HELD * 4 * 6 * 8**2)
    content, facts, progress = restore(MASK, **SHORT, mask=known)
    ids = torch.arange(25)
    masked = corrupted(restore.clean, MASK, ids)
    mask = corrupted(torch.ones(25, 1, 8, 8), MASK, ids)
    assert torch.equal(masked, restore.clean * mask) and not torch.equal(mask[0], mask[1])
    expected = restoration.deep_decoder(
        masked, mask if known == "own" else mask[:1].repeat(25, 1, 1, 1), ids, 3, **SHORT
    )
    assert content["images"].shape == (1, 25, 3, 8, 8) and facts == {"images_restored": 25}
    assert torch.allclose(content["images"][0], expected, atol=1e-5)
    assert progress["state"] == "finished" and progress["epochs"] == 6


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_fit_multiplies_in_the_precision_that_is_set(restore, precision, monkeypatch):
    seen = []

    def fit(masked, *others, **how):
        seen.append((torch.backends.cuda.matmul.allow_tf32, how["compiled"]))
        return masked

    monkeypatch.setattr(restored, "deep_decoder", fit)
    restore(MASK, **SHORT, precision=precision, compile=precision == "tf32")
    assert seen == [(precision == "tf32",) * 2] and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("operation", "settings"),
    [(NOISE, MEANS | {"instantiations": 2}), (MASK, SHORT), (MASK, SHORT | {"mask": "stale", "images": 7})],
)
def test_blocks_hold_together_what_one_file_would(restore, operation, settings):
    whole, _, _ = restore(operation, **settings)
    parts = [restore(operation, block, 3, **settings)[0] for block in range(3)]
    sizes = [len(part["labels"]) for part in parts]
    assert sizes == ([3, 2, 2] if "images" in settings else [9, 8, 8])
    assert torch.equal(torch.cat([part["labels"] for part in parts]), whole["labels"])
    assert torch.allclose(torch.cat([part["images"] for part in parts], dim=1), whole["images"], atol=1e-6)


def test_more_blocks_than_images_are_refused(restore):
    with pytest.raises(UserError, match="x/0: an empty block; set `blocks` of `restore` to at most 25"):
        restore(MASK, 29, 30, **SHORT)


def test_a_study_names_the_blocks_of_its_restored_levels_and_none_is_empty():
    study = study_but("demo", restore={"nlm": {"blocks": 3}, "deep_decoder": {"images": 2, "blocks": 9}})
    level = "measurements/resnet/imagenet100/{}"
    assert plan.inputs(level.format("nlm-gn10"), study)[3:] == [f"denoised/imagenet100/gn10/{b}" for b in range(3)]
    assert plan.inputs(level.format("dd-rm50"), study)[3:] == [f"inpainted/imagenet100/rm50/{b}" for b in range(2)]
    second = plan.recipe_of("inpainted/imagenet100/rm50/1", study)
    assert (second.block, second.blocks, second.settings.images) == (1, 2, 2)
    for block in ("2", "-1", "01", "x"):
        with pytest.raises(UserError, match=f"there is no block '{block}'; restored images come in 2, counted from 0"):
            plan.recipe_of(f"inpainted/imagenet100/rm50/{block}", study)


def test_the_images_beside_restored_ones_are_those_in_a_file_of_their_own():
    study = study_but("demo", restore={"deep_decoder": {"images": 7}})
    (level,) = plan.recipe_of("measurements/student-rm50/imagenet100/rm50-of-dd", study).levels
    assert (level.images, level.restored) == (7, None) and level.distortion[0].fraction == [0.5, 0.5]
    levels = plan.recipe_of("measurements/student-rm50/imagenet100", study).levels
    assert {level.images for level in levels} == {None} and "rm50-of-dd" not in [level.name for level in levels]
    for name in ("rm50-of-xx", "rm50-of-", "dd-rm50-of-dd"):
        with pytest.raises(UserError, match=f"also: '.*': unknown distortion '{name}'"):
            plan.asked(study_but("demo", also=[f"student-rm50 | probe 100% | imagenet100 | {name} | top1"]))


def test_what_needs_no_restored_image_waits_for_none():
    study = papers.study("paper")
    slow = {p for p in plan.with_inputs(plan.measurements(study), study) if p.startswith(("denoised/", "inpainted/"))}
    assert len(slow) == 3 * 25 + 3 * 10
    for number in study.settings.tables:
        behind = plan.with_inputs(plan.behind_table(number, study), study).keys()
        assert bool(slow & behind) == (number in (7, 8))


def test_a_step_of_many_fits_is_as_many_kernels_as_one_of_few():
    """Nothing is asked of the device: `meta` tensors hold no numbers."""

    def calls(images, steps):
        masked, mask = torch.empty(images, 3, 24, 24, device="meta"), torch.ones(images, 1, 24, 24, device="meta")
        ids = torch.arange(images, device="meta")
        with Calls() as counted:
            found = restoration.deep_decoder(masked, mask, ids, 1, **SETTINGS | {"steps": steps})
        assert found.shape == masked.shape
        return counted.count

    assert calls(100, 2) - calls(100, 1) == calls(2, 2) - calls(2, 1) < 1000
