"""Trainings: they are plain torch in a counted order, they learn, and a kill loses nothing."""

import dataclasses
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tiny
from contrastive_inversion import papers
from contrastive_inversion.base import files, rng
from contrastive_inversion.base.canonical import canonical
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, file_of
from contrastive_inversion.distort.names import operations
from contrastive_inversion.learn import loop, networks
from contrastive_inversion.learn.loop import Descent, Watch, fit, steps_of
from contrastive_inversion.learn.settings import Training
from contrastive_inversion.ledger import plan
from contrastive_inversion.papers.inverse_problems import baselines, clip_training, students
from contrastive_inversion.papers.inverse_problems.recipes import ClipTraining, Distillation, SupervisedTraining
from contrastive_inversion.run import jobs
from flow import make

STUDY = papers.study("smoke")
STUDENT = "encoders/student-rm90"


# --- the loop -------------------------------------------------------------------------------------------------------

COUNT, SEED = 10, 3


def settings_of(**changes):
    return Training(**{"epochs": 4, "batch": 4, "optimizer": "sgd", "lr": 0.1, "schedule": "cosine"} | changes)


def fitted(job, settings, after_epoch=None, on_loss=lambda loss, step: None):
    """A linear model fitted to fixed data by the loop, and the loss of each epoch; on_loss may hook into each step."""
    inputs, targets, model = problem()
    recipe = SimpleNamespace(seed=SEED, settings=settings)

    def loss_of(batch, step):
        loss = F.mse_loss(model(batch), targets[step.index])
        on_loss(loss, step)
        return loss

    return model, fit(model, model.parameters(), lambda s: inputs[s.index], loss_of, inputs, recipe, job, after_epoch)


def problem():
    torch.manual_seed(0)
    return torch.randn(COUNT, 3), torch.randn(COUNT, 1), torch.nn.Linear(3, 1)


@pytest.mark.parametrize(
    ("settings", "optimizer"),
    [
        (
            {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        ),
        ({"optimizer": "adam", "weight_decay": 0.2}, lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.2)),
        ({"optimizer": "adamw", "weight_decay": 0.2}, lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.2)),
    ],
)
def test_the_loop_is_plain_torch_in_a_counted_order(tmp_path, settings, optimizer):
    found, losses = fitted(Job("encoders/x", tmp_path, ""), settings_of(**settings))
    inputs, targets, model = problem()
    steepest = optimizer(model.parameters())
    scheduler, expected = torch.optim.lr_scheduler.CosineAnnealingLR(steepest, 4 * 3), []
    for epoch in range(4):
        order, total = rng.permutation(COUNT, SEED, "order", epoch), 0
        for index in (order[:4], order[4:8], order[8:]):
            loss = F.mse_loss(model(inputs[index]), targets[index])
            steepest.zero_grad()
            loss.backward()
            steepest.step()
            scheduler.step()
            total += loss.item() * len(index)
        expected.append(total / COUNT)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found.parameters(), model.parameters(), strict=True))


def test_orders_differ_from_epoch_to_epoch_and_a_fixed_one_drops_the_last_smaller_batch():
    shuffled, fixed = (SimpleNamespace(seed=SEED, settings=settings_of(order=o)) for o in ("shuffled", "fixed"))
    first, second = (torch.cat([step.index for step in steps_of(COUNT, shuffled, epoch)]) for epoch in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(COUNT)) and not torch.equal(first, second)
    steps = steps_of(COUNT, fixed, 5)
    assert [step.index.tolist() for step in steps] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [(step.epoch, step.number) for step in steps] == [(5, 0), (5, 1)]
    assert all(torch.equal(step.ids, step.index) for step in steps)
    assert {step.ids.device.type for step in steps_of(COUNT, shuffled, 0, "meta")} == {"meta"}
    assert [step.index.tolist() for step in steps_of(3, fixed, 0)] == [[0, 1, 2]]
    assert [len(step.index) for step in steps_of(4, fixed, 0)] == [4]


class Interruption(Exception):
    pass


def test_an_interrupted_training_goes_on_to_identical_weights(tmp_path):
    settings = settings_of(optimizer="adam")
    calm, expected = fitted(Job("encoders/calm", tmp_path, ""), settings)
    looked_at = []

    def interrupting(epoch):
        looked_at.append(epoch)
        if looked_at == [0, 1, 2]:
            raise Interruption

    hit = Job("encoders/hit", tmp_path, "")
    with pytest.raises(Interruption):
        fitted(hit, settings, interrupting)
    model, losses = fitted(hit, settings, interrupting)
    assert looked_at == [0, 1, 2, 2, 3]  # an epoch is looked at before it counts as done
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(calm.parameters(), model.parameters(), strict=True))


def test_an_interrupted_training_goes_on_with_its_scale_of_gradients(tmp_path, monkeypatch):
    """With the scaler of half precision: it halves its scale where a gradient overflows, as the first one does here."""
    scaler, scalers = torch.amp.GradScaler, []
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *_, **how: scalers.append(scaler("cpu")) or scalers[-1])

    def overflow(loss, step):
        if (step.epoch, step.number) == (0, 0):
            loss.register_hook(lambda gradient: gradient * torch.inf)

    def interrupt(epoch):
        if epoch == 2:
            raise Interruption

    calm, _ = fitted(Job("encoders/calm", tmp_path, ""), settings_of(), None, overflow)
    hit = Job("encoders/hit", tmp_path, "")
    with pytest.raises(Interruption):
        fitted(hit, settings_of(), interrupt, overflow)
    model, _ = fitted(hit, settings_of(), None, overflow)
    undisturbed, _, resumed = (each.get_scale() for each in scalers)
    assert resumed == undisturbed == scaler("cpu").get_scale() / 2
    assert all(torch.equal(a, b) for a, b in zip(calm.parameters(), model.parameters(), strict=True))


def test_a_checkpoint_of_another_recipe_is_not_taken_up(tmp_path, capsys):
    expected = fitted(Job("encoders/x", tmp_path, "one"), settings_of())[1]
    assert fitted(Job("encoders/x", tmp_path, "two"), settings_of(epochs=5))[1] != expected
    assert len(fitted(Job("encoders/x", tmp_path, "one"), settings_of())[1]) == 4
    assert "going on" not in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_with_step_and_images():
    for loss in ("nan", "inf", "-inf"):
        with pytest.raises(UserError, match=rf"encoders/x: the loss is {loss} at step 7 \(images \[3, 4\]"):
            Watch("encoders/x").check(float(loss), 7, torch.tensor([3, 4]))


def test_a_loss_that_explodes_stops_the_job_and_a_large_first_one_does_not():
    for first, allowed, exploded in ((26_000.0, 26_000_000.0, 27e6), (4.5, 4500.0, 4501.0), (0.1, -1000.0, -1001.0)):
        watch = Watch("encoders/x")
        watch.check(first, 0, torch.tensor([3]))
        watch.check(allowed, 8, torch.tensor([3]))
        with pytest.raises(UserError, match=re.escape(f"loss is {exploded:g} at step 9")):
            watch.check(exploded, 9, torch.tensor([3]))


@pytest.mark.parametrize("seconds", [0, 1000])
def test_a_training_stops_at_a_loss_that_is_no_number_and_keeps_nothing_of_its_epoch(tmp_path, monkeypatch, seconds):
    """However long losses stay unread, the step is named and no checkpoint has weights from after it."""
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_LOOKS", seconds)
    inputs, _, model = problem()
    recipe, job = SimpleNamespace(seed=SEED, settings=settings_of()), Job("encoders/x", tmp_path, "")

    def loss_of(batch, step):
        return model(batch).square().mean() * (torch.nan if (step.epoch, step.number) == (1, 1) else 1)

    images = rng.permutation(COUNT, SEED, "order", 1)[4:8].tolist()
    with pytest.raises(UserError, match=re.escape(f"the loss is nan at step 4 (images {images}, ...)")):
        fit(model, model.parameters(), lambda s: inputs[s.index], loss_of, inputs, recipe, job)
    kept = torch.load(job.state / "checkpoint.pt", weights_only=True)
    assert kept["epoch"] == 1 and kept["model"]["weight"].isfinite().all()


@pytest.mark.parametrize("order", ["shuffled", "fixed"])
def test_the_loss_of_an_epoch_is_the_mean_over_the_images_that_it_saw(tmp_path, order):
    inputs, _, model = problem()
    recipe = SimpleNamespace(seed=SEED, settings=settings_of(order=order))

    def loss_of(batch, step):
        return 1 + 0 * model(batch).mean()

    job = Job("encoders/x", tmp_path, "")
    assert fit(model, model.parameters(), lambda s: inputs[s.index], loss_of, inputs, recipe, job) == [1] * 4


def test_losses_are_read_together_and_averaged_over_images_in_their_order(monkeypatch):
    values, looks = torch.randn(7), []
    watch = Watch("encoders/x")
    monkeypatch.setattr(watch, "look", lambda: looks.append(len(watch.unread)) or Watch.look(watch))
    assert [watch.seen(loss, i, torch.arange(i + 1)) for i, loss in enumerate(values)] == [None] * 7
    expected = 0.0
    for i, loss in enumerate(values.tolist()):
        expected += loss * (i + 1)
    assert watch.mean() == expected / 28 and looks == [7] and watch.last == values[6].item()
    assert watch.seen(values[0], 7, torch.arange(2)) == values[6].item()
    assert watch.mean() == values[0].item()  # of the next epoch alone


# --- what one step asks of a device -----------------------------------------------------------------------------------


class Counted(TorchDispatchMode):
    """Counts operator calls, and among them what moves tensors between devices; meta tensors have no values to read."""

    def __init__(self):
        super().__init__()
        self.calls, self.moves = [], []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **keywords or {})
        self.calls.append(str(function))
        before, after = ({t.device for t in tree_leaves(x) if isinstance(t, torch.Tensor)} for x in (arguments, made))
        if before and after - before:
            self.moves.append(str(function))
        return made


def step_of(module, recipe, job, monkeypatch):
    """What a training hands to the loop, and a step of six images, on the job's device."""
    caught = []
    monkeypatch.setattr(module, "fit", lambda *given, **more: caught.append(given) or [])
    module.train(recipe, job)
    model, _, batch_of, loss_of, *_ = caught[0]
    return model, batch_of, loss_of


@pytest.mark.parametrize("module", [students, baselines])
def test_a_step_moves_its_pixels_alone_and_reads_nothing_back(job, monkeypatch, module):
    """On a device without values, where reading one is an error, as many calls for six images as for three."""
    spec = operations({"op": "noise", "sigma": [0.1, 0.3]}, {"op": "mask", "fraction": [0.5, 0.9]})
    recipe = distillation(spec, loss="st") if module is students else supervision(spec=spec)
    elsewhere = dataclasses.replace(job, device="meta")
    model, batch_of, loss_of = step_of(module, recipe, elsewhere, monkeypatch)
    monkeypatch.setattr(torch, "tensor", None)  # copies Python's numbers to the device, and waits for that
    calls = []
    for count in (3, 6):
        step = tiny.step(torch.arange(count), device="meta")
        with Counted() as counted:
            batch = batch_of(step)
        assert counted.moves == ["aten._to_copy.default"]
        with Counted() as counted:
            loss_of(batch, step).backward()
        assert counted.moves == [] and all(p.grad is not None for p in model.parameters())
        calls.append(len(counted.calls))
    assert calls[0] == calls[1] < 700


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_step_of_an_optimiser_on_a_gpu_is_one_call_that_reads_nothing_back(optimizer):
    parameters = [torch.nn.Parameter(torch.rand(3)) for _ in range(5)]
    descent = Descent(parameters, settings_of(optimizer=optimizer, precision="fp32"), "cuda")
    for position in (0, 1):
        loss = sum(parameter.sum() for parameter in parameters)
        with Counted() as counted:
            descent.take(loss, position, 3)
    assert "aten._local_scalar_dense.default" not in counted.calls
    assert sum("_fused_" in call for call in counted.calls) == 1


# --- jobs of the smoke study ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("results") / STUDY.name
    make("encoders/teacher", STUDY, root)
    make("images/imagenet100", STUDY, root)
    return root


def long_recipe(epochs=12, **inputs):
    """The recipe of a student with more epochs and other inputs."""
    recipe = plan.recipe_of(STUDENT, STUDY)
    changed = recipe.but(settings=recipe.settings.said() | {"epochs": epochs}, inputs=recipe.inputs | inputs)
    return canonical({"kind": "distill", "version": 1} | changed.said())


@pytest.fixture
def folder(root, tmp_path):
    """A function that gives a folder of results with the student's inputs."""

    def made(name):
        for product in ("images/imagenet100", "encoders/teacher"):
            path = tmp_path / name / file_of(product)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(root / file_of(product), path)
        return tmp_path / name

    return made


def test_a_killed_training_goes_on_to_identical_weights(folder):
    recipe, calm, hit = long_recipe(), folder("calm"), folder("hit")
    jobs.run(STUDENT, STUDY.paper, calm, recipe)
    command = [sys.executable, "-m", "contrastive_inversion", "make", STUDENT, "--root", str(hit)]
    command += ["--paper", STUDY.paper.name, "--recipe", recipe]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    checkpoint = hit / "state" / STUDENT / "checkpoint.pt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (hit / file_of(STUDENT)).exists()
    done = torch.load(checkpoint, weights_only=True)["epoch"]
    assert 1 <= done < 12
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"going on after epoch {done}", output)
    expected, first = files.load(calm / file_of(STUDENT))
    found, second = files.load(hit / file_of(STUDENT))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert first["content_hash"] == second["content_hash"] and first["losses"] == second["losses"]


def test_a_training_with_a_damaged_checkpoint_begins_anew_and_ends_the_same(folder, capsys, monkeypatch):
    recipe, calm, hit = long_recipe(), folder("calm"), folder("hit")
    with monkeypatch.context() as patched:
        patched.setattr(Job, "forget", lambda job: None)
        jobs.run(STUDENT, STUDY.paper, calm, recipe)
    checkpoint = hit / "state" / STUDENT / "checkpoint.pt"
    shutil.copytree(calm / "state" / STUDENT, checkpoint.parent)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:90_000] + bytes([whole[90_000] ^ 16]) + whole[90_001:])
    jobs.run(STUDENT, STUDY.paper, hit, recipe)
    assert "checkpoint.damaged.pt: damaged checkpoint" in capsys.readouterr().out
    hashes = [files.record_in(results / file_of(STUDENT))["content_hash"] for results in (calm, hit)]
    assert hashes[0] == hashes[1]


def test_a_half_written_store_is_named(folder):
    results = folder("results")
    path = results / "images/imagenet100.safetensors"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="imagenet100.safetensors: damaged or incomplete .* delete it and run again"):
        jobs.run(STUDENT, STUDY.paper, results, long_recipe())


def test_an_input_of_another_recipe_is_refused(folder):
    for product in ("encoders/teacher", "images/imagenet100"):
        with pytest.raises(UserError, match=f"{product}.safetensors: made by recipe"):
            jobs.run(STUDENT, STUDY.paper, folder(product), long_recipe(**{product: "0" * 64}))


def test_distillation_lowers_its_loss_and_leaves_the_teacher_alone(root):
    before = files.load(root / "encoders/teacher.safetensors")[1]["content_hash"]
    path = make("encoders/student-gn30", STUDY, root)
    losses = files.load(path)[1]["losses"]
    assert len(losses) == 2 and losses[-1] < losses[0]
    assert files.content_hash(files.load(root / "encoders/teacher.safetensors")[0]) == before


def test_a_finished_job_keeps_nothing_to_go_on_from(root):
    for product in ("encoders/teacher", "images/imagenet100"):
        folder = root / "state" / product
        assert (root / file_of(product)).exists() and {path.name for path in folder.iterdir()} <= {
            "lock",
            "progress.json",
        }
    left = root / "state/encoders/teacher/checkpoint.pt"
    left.touch()  # as after a kill between writing and deleting
    jobs.run("encoders/teacher", STUDY.paper, root, plan.recipe("encoders/teacher", STUDY))
    assert not left.exists()


def test_products_are_the_same_when_made_again(root, tmp_path):
    first, again = (
        files.load(path)[1]
        for path in (root / "images/imagenet100.safetensors", make("images/imagenet100", STUDY, tmp_path))
    )
    assert first["content_hash"] == again["content_hash"]


# --- what the jobs train on -----------------------------------------------------------------------------------------

STEP = {"epochs": 1, "batch": 12, "optimizer": "adam", "lr": 1e-3}
MASKED = operations({"op": "mask", "fraction": [1, 1]})


def distillation(spec=(), pictures=tiny.WHOLE, **settings):
    return Distillation(
        seed=1, inputs={}, network=tiny.NETWORK, images=pictures, train="images/imagenet100", distortion=list(spec),
        teacher="encoders/teacher", settings=STEP | {"temperature": 0.1, "loss": "mse"} | settings,
    )  # fmt: skip


def supervision(initial=None, pictures=tiny.WHOLE, spec=(), **settings):
    return SupervisedTraining(
        seed=1, inputs={}, network=tiny.NETWORK, images=pictures, train="images/imagenet100", distortion=list(spec),
        initial=initial, settings=STEP | settings,
    )  # fmt: skip


def captioned(pictures=tiny.WHOLE):
    return ClipTraining(
        seed=1, inputs={}, network=tiny.NETWORK, images=pictures, train="images/imagenet100",
        settings=STEP | {"weights": "trained", "temperature": 0.1},
    )  # fmt: skip


@pytest.fixture
def job(tmp_path):
    """A job on twelve pictures and a teacher."""
    tiny.store(tmp_path, train=tiny.pictures(12))
    tiny.encoder(tmp_path, "teacher")
    return tiny.job(tmp_path, "encoders/student", "images/imagenet100", "encoders/teacher")


def test_a_student_before_its_first_step_is_its_teacher_but_free(job):
    student, frozen = students.student_and_teacher(distillation(), job)
    batch = torch.rand(4, 3, tiny.SIZE, tiny.SIZE)
    assert student.training and not frozen.training
    assert all(p.requires_grad for p in student.parameters()) and not any(p.requires_grad for p in frozen.parameters())
    assert torch.equal(student.eval()(batch), frozen(batch))
    assert {p.data_ptr() for p in student.parameters()}.isdisjoint(p.data_ptr() for p in frozen.parameters())
    assert students.student_and_teacher(distillation(teacher_mode="train"), job)[1].training


def test_an_undistorted_student_s_first_step_finds_the_teacher_s_own_embeddings(job):
    """Both see the batch's own statistics: the cosine of every image is 1."""
    _, facts = students.train(distillation(teacher_mode="train"), job)
    assert facts["losses"] == pytest.approx([-1], abs=1e-5)


def test_the_student_sees_distorted_images_and_the_teacher_clean_ones(job):
    _, facts = students.train(distillation(MASKED), job)
    frozen = tiny.encoder(job.root, "teacher")
    target = frozen(tiny.seen(tiny.pictures(12)[0]))
    black = frozen.train()(torch.zeros(12, 3, tiny.SIZE, tiny.SIZE))
    assert facts["losses"] == pytest.approx([-F.cosine_similarity(black, target).mean().item()], abs=1e-5)
    assert facts["losses"][0] > -0.99


@pytest.mark.parametrize(("loss", "tau"), [("mse", 0.1), ("st", 0.1), ("st", 0.5)])
def test_a_student_s_loss_and_temperature_are_the_study_s(job, loss, tau):
    _, facts = students.train(distillation(MASKED, loss=loss, temperature=tau), job)
    frozen = tiny.encoder(job.root, "teacher")
    target = F.normalize(frozen(tiny.seen(tiny.pictures(12)[0])))
    black = F.normalize(frozen.train()(torch.zeros(12, 3, tiny.SIZE, tiny.SIZE)))
    logits = black @ target.T / tau
    expected = -logits.diagonal().mean() * tau if loss == "mse" else -logits.softmax(dim=1).diagonal().log().mean()
    assert facts["losses"] == pytest.approx([expected.item()], abs=1e-4)


def test_sixteen_bits_of_input_are_those_of_the_normalised_images_of_the_student_alone(job):
    """With mean 0.5 and deviation 0.25 a pixel of 0.3 is -0.8, which half precision has as -0.7998046875."""
    recipe = distillation().model_copy(update={"network": tiny.NETWORK.but(input="fp16")})
    student, frozen = students.student_and_teacher(recipe, job)
    image = torch.full((1, 3, tiny.SIZE, tiny.SIZE), 0.3)
    assert student.normalised(image).unique().tolist() == [-0.7998046875]
    assert networks.build(recipe.network).normalised(image).unique().tolist() == [-0.7998046875]  # as tests build it
    assert frozen.normalised(image).unique().tolist() == pytest.approx([-0.8], abs=1e-6)
    assert frozen.normalised(image)[0, 0, 0, 0] != -0.7998046875


@pytest.mark.parametrize(
    ("train", "recipe"),
    [(students.train, distillation), (baselines.train, supervision), (clip_training.train, captioned)],
)
def test_a_training_flips_its_pictures_as_its_recipe_says(tmp_path, train, recipe):
    """Always mirrored, pictures train what a store of mirrored pictures trains; and that is something else."""
    images, labels = tiny.pictures(12)
    trained = {}
    for name, stored, flip in (("flipped", images, 1), ("mirrored", images.flip(2), 0), ("plain", images, 0)):
        tiny.store(tmp_path / name, train=(stored.contiguous(), labels))
        tiny.encoder(tmp_path / name, "teacher")
        job = tiny.job(tmp_path / name, "encoders/x", "images/imagenet100", "encoders/teacher")
        trained[name], _ = train(recipe(pictures=tiny.WHOLE.but(flip=flip)), job)
    weight = "encoder.trunk.0.weight"
    assert torch.equal(trained["flipped"][weight], trained["mirrored"][weight])
    assert not torch.equal(trained["flipped"][weight], trained["plain"][weight])


def test_a_baseline_starts_from_its_initial_trunk_with_a_new_head(job):
    initial = tiny.encoder(job.root, "teacher")
    classifier = baselines.untrained(supervision("encoders/teacher"), 3, job)
    assert all(torch.equal(t, classifier.encoder.state_dict()[name]) for name, t in initial.state_dict().items())
    assert classifier.head.weight.shape == (3, 128) and classifier.training and classifier.encoder.training
    random = baselines.untrained(supervision(), 3, job)
    assert not torch.equal(random.encoder.trunk[0].weight, initial.trunk[0].weight)
    again = baselines.untrained(supervision(), 3, job)
    assert all(torch.equal(t, again.state_dict()[name]) for name, t in random.state_dict().items())
    other = baselines.untrained(supervision().but(seed=2), 3, job)
    assert not torch.equal(random.head.weight, other.head.weight)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_baseline_trains_its_head_alone(job, frozen):
    initial = networks.state(tiny.encoder(job.root, "teacher"))
    start = baselines.untrained(supervision("encoders/teacher", frozen=frozen), 3, job).head.weight
    tensors, facts = baselines.train(supervision("encoders/teacher", frozen=frozen, epochs=3), job)
    assert facts["losses"][-1] < facts["losses"][0] and not torch.equal(tensors["head.weight"], start)
    same = {name: torch.equal(tensors[name], tensor) for name, tensor in initial.items()}
    assert all(same.values()) if frozen else not any(same.values())


def test_a_baseline_s_first_loss_is_the_cross_entropy_of_distorted_images(job):
    _, facts = baselines.train(supervision("encoders/teacher", spec=MASKED), job)
    classifier = baselines.untrained(supervision("encoders/teacher"), 3, job)
    logits = classifier(torch.zeros(12, 3, tiny.SIZE, tiny.SIZE))
    chosen = logits.log_softmax(dim=1)[torch.arange(12), tiny.pictures(12)[1]]
    assert facts["losses"] == pytest.approx([-chosen.mean().item()], rel=1e-5)


# --- the embedded study's teacher -----------------------------------------------------------------------------------


def test_captions_are_the_means_of_their_words():
    tower = clip_training.BagOfWords(["white dog", "black dog", "cat"], 4)
    weight = {word: tower.embedding.weight[i] for i, word in enumerate(("black", "cat", "dog", "white"))}
    expected = torch.stack([weight["cat"], (weight["white"] + weight["dog"]) / 2])
    assert torch.allclose(tower(torch.tensor([2, 0])), expected)


def test_the_caption_loss_is_clip_s_where_captions_are_distinct_and_has_its_closed_form_where_not():
    axes, e = torch.eye(3), math.exp(2)  # what a pair gives whose similarity is 1; others give 1
    both_ways = math.log(1 + 2 / e)
    assert clip_training.clip_loss(5 * axes, axes, torch.arange(3), 0.5).item() == pytest.approx(both_ways)
    # two images share the first caption: as rows [2, 0], [2, 0], [0, 2]; as columns each of the two has half of it
    rows, columns = math.log(1 + 1 / e), (math.log(2 + 1 / e) + math.log(1 + 2 / e)) / 2
    found = clip_training.clip_loss(axes[[0, 0, 1]], axes[:2], torch.tensor([0, 0, 1]), 0.5).item()
    assert found == pytest.approx((rows + columns) / 2)
