"""The named settings in which the paper and the authors' code differ, and those of a GPU's numerics."""

import contextlib
import copy
import functools
import threading
from types import SimpleNamespace

import pytest
import torch

import tiny
from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.distort import repeated
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import loop, networks
from contrastive_inversion.learn.loop import Lane, ahead, make_optimizer
from contrastive_inversion.learn.settings import Training
from contrastive_inversion.learn.views import distorted_for_training
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import jobs


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return networks.build(tiny.NETWORK).train()


def test_shards_see_their_own_statistics_and_the_first_one_is_remembered(encoder):
    batch = torch.rand(32, 3, 48, 48)
    first, momenta = copy.deepcopy(encoder), [m.momentum for m in encoder.modules() if hasattr(m, "momentum")]
    separate = [first(batch[:8])] + [copy.deepcopy(encoder)(part) for part in batch[8:].split(8)]
    found = networks.sharded(encoder, batch, 4)
    assert torch.equal(found, torch.cat(separate))
    for (name, ours), theirs in zip(encoder.state_dict().items(), first.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    assert [m.momentum for m in encoder.modules() if hasattr(m, "momentum")] == momenta
    assert not torch.allclose(found, copy.deepcopy(encoder)(batch))
    assert torch.equal(networks.sharded(encoder, batch, 1), copy.deepcopy(encoder)(batch))


def test_statistics_are_tracked_again_after_a_pass_that_failed(encoder):
    with pytest.raises(RuntimeError), networks.frozen_statistics(encoder):
        encoder(torch.rand(2, 4, 48, 48))
    before = copy.deepcopy(encoder.state_dict())
    encoder(torch.rand(2, 3, 48, 48))
    moved = [name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])]
    assert {name.rpartition(".")[2] for name in moved} == {"running_mean", "running_var", "num_batches_tracked"}


def test_an_encoder_normalises_and_may_be_given_other_constants(encoder):
    batch = torch.rand(4, 3, 48, 48)
    encoder.eval()
    assert torch.allclose(encoder.normalised(batch), (batch - 0.5) / 0.25, atol=1e-5)
    assert torch.allclose(encoder(batch), encoder.trunk((batch - 0.5) / 0.25), atol=1e-5)
    other = networks.renormalised(encoder, [0.1, 0.2, 0.3], [1.0, 2.0, 4.0])
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)
    assert torch.allclose(other(batch), encoder.trunk((batch - mean) / std), atol=1e-5)


def test_other_constants_leave_the_rounding_of_the_input_and_of_the_trunk_alone(encoder):
    encoder.input, encoder.rounding = "fp16", functools.partial(torch.autocast, "cpu", torch.bfloat16)
    batch, same = torch.rand(2, 3, 48, 48), networks.renormalised(encoder, tiny.NETWORK.mean, tiny.NETWORK.std)
    assert torch.equal(same.normalised(batch), encoder.normalised(batch)) and same.rounding is encoder.rounding


def test_sixteen_bits_stay_within_the_trunk(encoder):
    batch = torch.rand(8, 3, 48, 48)
    exact = encoder.eval()(batch)
    encoder.rounding = functools.partial(torch.autocast, "cpu", torch.bfloat16)
    found = encoder(batch)
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    assert torch.allclose(found, exact, atol=0.05 * exact.abs().max().item())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_cpu_computes_in_float32_whatever_the_precision(encoder, precision):
    settings = Training(epochs=1, batch=2, optimizer="sgd", lr=1, precision=precision)
    batch = torch.rand(4, 3, 48, 48)
    exact = encoder.eval()(batch)
    assert torch.equal(networks.prepare(encoder, settings, Job("", None, ""))(batch), exact)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_gpu_rounds_within_the_trunk_alone(encoder, monkeypatch, precision):
    """Seen from within the trunk of an encoder that was told of a GPU, and after it."""
    seen = []

    def look(*_):
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(encoder, "to", lambda device: encoder)
    networks.placed(encoder, precision, Job("", None, "", device="cuda"))
    encoder.trunk.register_forward_pre_hook(look)
    for model in (encoder, networks.renormalised(encoder, [0.1] * 3, [0.2] * 3)):
        model(torch.rand(2, 3, 48, 48))
        look()
    assert seen == [(precision == "tf32",) * 2, (False, False)] * 2


def test_a_container_that_allows_tf32_does_not_round_float32():
    """As NVIDIA's do, by TORCH_ALLOW_TF32_CUBLAS_OVERRIDE."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    jobs.prepare_torch()
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


def test_the_sixteen_bits_are_those_that_are_named():
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with pytest.warns(match="CUDA is not available") if not torch.cuda.is_available() else contextlib.nullcontext():
            context = networks.ROUNDINGS[name]()
        assert (context.device, context.fast_dtype) == ("cuda", dtype)


SPEC = operations({"op": "mask", "fraction": [0.5, 0.95]}, {"op": "noise", "sigma": [0.1, 0.3]})


LOADER = SimpleNamespace(workers=3, batch=4)


def test_repeated_draws_are_those_of_every_worker_and_epoch():
    white = torch.ones(8, 1, 16, 16)

    def masks(number, epoch):
        step = tiny.step(torch.arange(8) + 8 * number + 100 * epoch, epoch, number)
        return distorted_for_training(white, SPEC[:1], 1, step, LOADER)

    first = masks(0, 0)
    assert torch.equal(first[:4], first[4:])  # the ranks drew the same
    assert len({str(image.tolist()) for image in first[:4]}) == 4
    assert torch.equal(first, masks(2, 5)) and not torch.equal(first, masks(3, 0))
    noisy = [distorted_for_training(white, SPEC, 1, tiny.step(torch.arange(8) + k, 0, 0), LOADER) for k in (0, 1)]
    assert not torch.equal(*noisy)  # the noise itself came from PyTorch, and did not repeat


def test_repeated_draws_count_a_worker_s_batches():
    for number, first in ((0, 0), (2, 0), (3, 4), (11, 12)):
        place = repeated.places(6, number, LOADER.workers, LOADER.batch, torch.device("cpu"))
        assert (place - first).tolist() == [0, 1, 2, 3, 0, 1]


def test_distortions_are_drawn_where_the_images_lie():
    step, elsewhere = tiny.step(torch.arange(6), device="meta"), torch.device("meta")
    noisy = distorted_for_training(torch.ones(6, 1, 8, 8, device=elsewhere), SPEC[1:], 1, step, LOADER)
    assert noisy.device == elsewhere


def test_usual_draws_hang_on_the_image_and_the_epoch():
    white, index = torch.ones(8, 1, 16, 16), torch.arange(8) + 3
    usual = corrupt(white, SPEC, 1, "train", index, 2)
    assert torch.equal(usual, distorted_for_training(white, SPEC, 1, tiny.step(index, 2, 7)))
    for other in (tiny.step(index, 3, 7), tiny.step(index + 1, 2, 7)):
        assert not torch.equal(usual, distorted_for_training(white, SPEC, 1, other))
    assert not torch.equal(usual, distorted_for_training(white, SPEC, 2, tiny.step(index, 2, 7)))


def test_reading_ahead_keeps_the_order_and_makes_the_next_one_meanwhile():
    for threads in (1, 4):
        assert list(ahead(lambda i: i * i, range(20), threads)) == [i * i for i in range(20)]
        assert list(ahead(lambda i: i, [], threads)) == []
    begun = [threading.Event() for _ in range(3)]
    coming = ahead(lambda i: begun[i].set() or i, range(3), 2)
    assert next(coming) == 0 and begun[1].wait(20) and not begun[2].is_set()
    lazy = ahead(begun.append, range(3), 1)
    assert next(lazy) is None and len(begun) == 4


def test_what_is_made_ahead_on_a_gpu_is_waited_for_and_kept_until_it_is_used(monkeypatch):
    """With streams that only write down what is asked of them."""
    told = []

    class Stream:
        def __init__(self, name="beside"):
            self.name = name

        def record_event(self):
            told.append((self.name, "made"))
            return f"event {sum(what == 'made' for _, what in told)}"

        def wait_event(self, event):
            told.append((self.name, event))

    class Made:
        def __init__(self, name):
            self.name = name

        def record_stream(self, stream):
            told.append((stream.name, self.name))

    monkeypatch.setattr(loop, "side_stream", lambda: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("caller's"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext(told.append((stream.name, "in"))))
    made = list(ahead(lambda i: (Made(f"pixels {i}"), None, [Made(f"more {i}")]), [1, 2], 2, "cuda"))
    assert [pixels.name for pixels, *_ in made] == ["pixels 1", "pixels 2"]
    assert [what for stream, what in told if stream == "beside"] == ["in", "made"] * 2
    expected = [f"{what} {i}" for i in (1, 2) for what in ("event", "pixels", "more")]
    assert [what for stream, what in told if stream == "caller's"] == expected


def test_all_that_is_made_ahead_is_made_on_one_stream(monkeypatch):
    """torch keeps what a stream has freed for that stream: one for each epoch would fill the card."""
    loop.side_stream.cache_clear()
    monkeypatch.setattr(torch.cuda, "Stream", object)
    assert Lane("cuda").stream is Lane("cuda").stream
    loop.side_stream.cache_clear()


def test_a_first_step_that_overflows_leaves_nothing_in_the_momentum(monkeypatch):
    """A fused step, as on a GPU, whose gradients are infinite twice, beside one kernel after another without those."""
    settings = Training(epochs=1, batch=2, lr=0.1, schedule="constant", optimizer="sgd", momentum=0.9, weight_decay=0.1)

    monkeypatch.setattr(torch, "empty_like", lambda tensor, **how: torch.full_like(tensor, torch.nan, **how))

    def descended(device, factors, scaler):
        weights = torch.linspace(-1, 1, 1000).requires_grad_()
        optimizer = make_optimizer([weights], settings, device)
        for factor in factors:
            optimizer.zero_grad()
            scaler.scale((factor * weights.square()).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        return weights.detach()

    fused = descended("cuda", [torch.inf, torch.inf, 1, 1, 1], torch.amp.GradScaler("cpu"))
    plain = descended("cpu", [1, 1, 1], torch.amp.GradScaler("cpu", enabled=False))
    torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-7)


def test_a_gpu_is_used_before_a_job_begins_and_its_attention_adds_up_in_one_order(monkeypatch):
    ran, switched = [], []

    class Ones:
        def sum(self):
            return ran.append("sum") or self

        def item(self):
            ran.append("item")

    monkeypatch.setattr(torch, "ones", lambda count, device: Ones())
    for name in ("flash", "mem_efficient", "cudnn"):
        monkeypatch.setattr(
            torch.backends.cuda, f"enable_{name}_sdp", lambda on, name=name: switched.append((name, on))
        )
    jobs.prepare_gpu()
    assert ran == ["sum", "item"] and sorted(switched) == [("cudnn", False), ("flash", False), ("mem_efficient", False)]


@pytest.mark.parametrize("words", ["no kernel image is available for execution on the device", "no driver"])
def test_a_gpu_that_runs_no_kernel_of_torch_s_is_told_in_a_sentence(monkeypatch, words):
    def refused(count, device):
        raise RuntimeError(f"CUDA error: {words}\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(torch, "ones", refused)
    with pytest.raises(UserError, match=f"holds GPU 3, and torch cannot use it: CUDA error: {words}$"):
        jobs.prepare_gpu()


def recipe(product, study):
    return plan.recipe_of(product, papers.study(study))


def test_the_authors_study_differs_where_their_code_did():
    student, baseline = (recipe(f"encoders/{name}", "authors") for name in ("student-rm90", "baseline-rm90"))
    assert (student.settings.lr, student.settings.weight_decay, student.settings.teacher_mode) == (3e-4, 0, "train")
    assert (student.settings.shards, student.network.input, student.settings.precision) == (4, "fp16", "fp32")
    assert student.settings.repeated_draws.said() == {"workers": 12, "batch": 256}
    assert (baseline.settings.batch, baseline.images.flip, baseline.settings.frozen) == (256, 0.5, False)
    assert recipe("encoders/baseline-clean", "authors").settings.frozen
    assert recipe("encoders/student-mse-rm50to95", "authors").settings.loss == "raw_mse"
    probes = recipe("heads/student-mix/imagenet100", "authors")
    assert probes.probes[0].distortion[0].op == "jitter" and probes.settings.full.batch == 512
    assert probes.settings.share_of == "mean_class" and recipe("encoders/teacher", "authors").network.input == "fp32"
    transfer = recipe("heads/student-rm50to95/cifar10", "authors")
    assert (transfer.settings.full.period, transfer.settings.subset.period) == (10, 3959)
    (level,) = recipe("measurements/resnet/imagenet100/nlm-gn10", "authors").levels
    assert level.constants.mean == papers.study("paper").settings.networks.student.mean


def test_the_paper_s_study_does_what_its_text_says():
    student, baseline = (recipe(f"encoders/{name}", "paper") for name in ("student-rm90", "baseline-rm90"))
    assert (student.images.flip, baseline.images.flip, baseline.settings.batch) == (0.5, 0, 64)
    assert (student.settings.lr, student.settings.weight_decay, student.settings.teacher_mode) == (1e-4, 1e-4, "eval")
    assert student.settings.shards == 1 and student.settings.repeated_draws is None and student.network.input == "fp32"
    assert recipe("heads/student-rm90/imagenet100", "paper").settings.share_of == "class"
    assert recipe("encoders/student-mse-rm50to95", "paper").settings.loss == "mse"
    (level,) = recipe("measurements/resnet/imagenet100/nlm-gn10", "paper").levels
    assert level.name == "nlm-gn10" and level.constants is None


STAGES = {
    "distill": "encoders/student-rm90", "finetune": "encoders/baseline-rm90", "probe": "heads/student-rm90/imagenet100",
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_flips_its_own_pictures_as_it_likes(study_of, stage):
    """The study's flip where a stage says none, the stage's own where it does, and no other stage's."""

    def flips(text):
        study = study_of(text)
        return {name: plan.recipe_of(product, study).images.flip for name, product in STAGES.items()}

    usual = flips("flip: 0.25\n")  # the text names no flip for baselines and probes
    assert usual == {"distill": 0.25, "finetune": 0, "probe": 0}
    assert flips(f"flip: 0.25\n{stage}: {{flip: 0.75}}\n") == usual | {stage: 0.75}


@pytest.mark.parametrize("encoder", ["student-rm90", "student-mse-rm50to95", "baseline-rm90", "baseline100-rm90"])
def test_a_further_training_is_one_from_its_own_seed(encoder):
    usual, further = (recipe(f"encoders/{encoder}{suffix}", "demo-seeds") for suffix in ("", "-seed3"))
    assert (usual.seed, further.seed) == (1, 3)
    assert further == usual.model_copy(update={"seed": 3})
