"""Labelled subsets, linear heads, metrics, and the measurement of an encoder, on a few small pictures."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score, top_k_accuracy_score

import tiny
from contrastive_inversion.base import rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import store
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import metrics, networks
from contrastive_inversion.learn.checkpoints import Checkpoint, KeptRows
from contrastive_inversion.learn.linear_heads import Fit, LinearHead, labelled, stratified
from contrastive_inversion.learn.settings import Schedule
from contrastive_inversion.papers.contrastive_robustness import probes as regressions
from contrastive_inversion.papers.contrastive_robustness import recipes as robustness
from contrastive_inversion.papers.inverse_problems import accuracy, probes, recipes
from contrastive_inversion.papers.inverse_problems.settings import Probes

# --- labelled subsets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "per_class"), [(0.1, 2), (0.5, 7), (1, 13), (5, 64), (10, 127), (100, 1267)])
def test_subsets_are_stratified_and_rounded_up_as_in_the_paper(fraction, per_class):
    labels = torch.arange(5).repeat_interleave(1267)
    chosen = stratified(labels, fraction, 1)
    assert labels[chosen].bincount().tolist() == [per_class] * 5
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert torch.equal(chosen, stratified(labels, fraction, 1)) and torch.equal(chosen, labelled(labels, fraction, 1))
    assert fraction == 100 or not torch.equal(chosen, stratified(labels, fraction, 2))


def test_a_share_that_floating_point_overshoots_is_not_rounded_up():
    assert len(stratified(torch.zeros(30), 10, 1)) == 3  # 10 * 30 / 100 is 3.0000000000000004 in another order
    assert len(stratified(torch.zeros(1000), 0.7, 1)) == len(labelled(torch.zeros(1000), 0.7, 1, "uniform")) == 7


def test_as_many_labels_of_each_class_as_of_the_mean_class():
    """The authors' counts on ImageNet-100, whose mean class has 1266.89 images, small classes as the large ones."""
    labels = torch.arange(3).repeat_interleave(torch.tensor([1300, 1300, 1200]))  # mean 1266.67
    for fraction, count in ((0.1, 2), (0.5, 7), (1, 13), (5, 64), (10, 127)):
        assert labels[stratified(labels, fraction, 1, "mean_class")].bincount().tolist() == [count] * 3
    assert labels[stratified(labels, 10, 1)].bincount().tolist() == [130, 130, 120]
    assert len(stratified(labels, 100, 1, "mean_class")) == 3800


def test_uniform_subsets_are_drawn_from_all_images_alike():
    labels = torch.arange(1000) % 10
    uniform = labelled(labels, 9.95, 0, "uniform")
    assert len(uniform) == 100 and uniform.tolist() == sorted(set(uniform.tolist()))
    assert len(set(labels[uniform].bincount().tolist())) > 1
    assert not torch.equal(uniform, labelled(labels, 9.95, 1, "uniform"))


# --- the fit of a linear head ---------------------------------------------------------------------------------------

DIM, CLASSES = 5, 3


def embedded(count=20):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, DIM, generator=generator), torch.arange(count) % CLASSES


def fit_of(batch=64, optimizer=torch.optim.SGD, purpose="order", **schedule):
    return Fit(optimizer, Schedule(**{"lr": 0.5} | schedule), 3, batch, purpose)


def fitted(how, rows, seed=1, epochs=3):
    head = LinearHead(DIM, CLASSES, how, seed)
    for epoch in range(epochs):
        head.fit_epoch(*embedded(), rows, epoch)
    return {name.removeprefix("k."): tensor for name, tensor in head.tensors("k").items()}


def test_a_head_takes_gradient_steps_of_multinomial_regression():
    """Against NumPy: the gradient of the mean cross-entropy is (softmax - one-hot)^T x / n."""
    rows = torch.tensor([1, 4, 5, 9, 12, 18])
    start = LinearHead(DIM, CLASSES, fit_of(), 1).tensors("k")
    weight, bias = (start[f"k.{name}"].double().numpy().copy() for name in ("weight", "bias"))
    x, y = embedded()[0][rows].double().numpy(), np.eye(CLASSES)[embedded()[1][rows]]
    for rate in (0.5, 0.5 * (1 + np.cos(np.pi / 3)) / 2, 0.5 * (1 + np.cos(2 * np.pi / 3)) / 2):
        exponentials = np.exp(x @ weight.T + bias)
        error = exponentials / exponentials.sum(axis=1, keepdims=True) - y
        weight, bias = weight - rate * error.T @ x / len(x), bias - rate * error.mean(axis=0)
    found = fitted(fit_of(schedule="cosine"), rows)
    assert found["weight"].numpy() == pytest.approx(weight, abs=1e-5)
    assert found["bias"].numpy() == pytest.approx(bias, abs=1e-5)


def test_a_head_s_first_weights_hang_on_the_seed_and_its_order_on_the_purpose_and_the_epoch():
    rows = torch.arange(20)
    one, again, other, order = (
        fitted(fit_of(batch=4, purpose=purpose), rows, seed)["weight"]
        for seed, purpose in ((1, "order"), (1, "order"), (2, "order"), (1, "another"))
    )
    assert torch.equal(one, again) and not torch.equal(one, other) and not torch.equal(one, order)
    starts = [LinearHead(DIM, CLASSES, fit_of(purpose=p), s).linear.weight for s, p in ((1, "a"), (1, "b"), (2, "a"))]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    heads = [LinearHead(DIM, CLASSES, fit_of(batch=4), 1) for _ in range(2)]
    for head, epoch in zip(heads, (0, 1), strict=True):
        head.fit_epoch(*embedded(), rows, epoch)
    assert not torch.allclose(heads[0].linear.weight, heads[1].linear.weight)


def by_hand(features, labels, optimizer, purpose, settings, seed=1):
    """A head fitted with torch's own pieces and scheduler, in the order that is drawn for a purpose."""
    torch.manual_seed(seed)
    linear = torch.nn.Linear(features.shape[1], int(labels.max()) + 1)
    stepped = optimizer(linear.parameters(), lr=settings["lr"])
    steps = settings["epochs"] * -(-len(features) // settings["batch"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(stepped, steps)
    for epoch in range(settings["epochs"]):
        for index in rng.permutation(len(features), seed, purpose, epoch).split(settings["batch"]):
            stepped.zero_grad()
            F.cross_entropy(linear(features[index]), labels[index]).backward()
            stepped.step()
            scheduler.step()
    return linear.weight.detach(), linear.bias.detach()


# --- the jobs that fit probes ---------------------------------------------------------------------------------------

HOW = {"epochs": 4, "batch": 5, "lr": 0.01}


@pytest.fixture
def job(tmp_path):
    """A job on twelve training pictures, nine of a validation split, six of a test split, and two encoders."""
    splits = {"train": tiny.pictures(12), "validation": tiny.pictures(9, 1), "test": tiny.pictures(6, 2)}
    tiny.store(tmp_path, **splits)
    tiny.encoder(tmp_path, "student")
    tiny.encoder(tmp_path, "baseline", classes=CLASSES)
    inputs = ("images/imagenet100", "encoders/student", "encoders/baseline", "heads/student/imagenet100")
    return tiny.job(tmp_path, "measurements/student/imagenet100", *inputs)


def heads(*specs, pictures=tiny.WHOLE, **settings):
    listed = [{"key": key, "fraction": fraction, "distortion": list(spec)} for key, fraction, spec in specs]
    return recipes.Heads(
        seed=1, inputs={}, encoder="encoders/student", train="images/imagenet100", images=pictures,
        settings={"full": HOW, "subset": HOW | {"batch": 2}} | settings, probes=listed,
    )  # fmt: skip


def features_of(job, images):
    return tiny.encoder(job.root, "student")(tiny.seen(images)).detach()


def test_probes_are_fitted_by_adam_on_the_embeddings_of_their_own_labels(job):
    tensors, facts = probes.fit(heads(("all", 100, ()), ("half", 50, ())), job)
    images, labels = tiny.pictures(12)
    features, half = features_of(job, images), stratified(labels, 50, 1)
    assert facts == {"labelled_images": {"all": 12, "half": 6}}
    for key, rows, batch in (("all", slice(None), 5), ("half", half, 2)):
        expected = by_hand(features[rows], labels[rows], torch.optim.Adam, f"probe/{key}", HOW | {"batch": batch})
        for name, tensor in zip(("weight", "bias"), expected, strict=True):
            assert torch.allclose(tensors[f"{key}.{name}"], tensor, atol=1e-5)


def test_probes_see_their_own_distortion_drawn_anew_in_each_epoch(job):
    black, half = (operations({"op": "mask", "fraction": [share, share]}) for share in (1, 0.5))
    recipe = heads(("black", 100, black), ("half", 100, half), ("clean", 100, ()))
    tensors, _ = probes.fit(recipe, job)
    dark = features_of(job, torch.zeros(12, tiny.SIZE, tiny.SIZE, 3))
    expected = by_hand(dark, tiny.pictures(12)[1], torch.optim.Adam, "probe/black", HOW)
    assert torch.allclose(tensors["black.weight"], expected[0], atol=1e-5)
    data = store.split(job.input("images/imagenet100"), "train")
    probe, some = probes.Probe(recipe.probes[1], data, 128, recipe), torch.tensor([3, 8])
    first, second = (torch.cat([*probes.distorted(data, some, probe, epoch, recipe, job)]) for epoch in (0, 1))
    assert (first == 0).float().mean() == (second == 0).float().mean() == 0.5 and not torch.equal(first, second)
    kept = first != 0
    assert torch.equal(first[kept], tiny.seen(tiny.pictures(12)[0])[some][kept])


def test_probes_see_pictures_flipped_as_the_recipe_says(job):
    flipped, _ = probes.fit(heads(("all", 100, ()), pictures=tiny.WHOLE.but(flip=1)), job)
    images, labels = tiny.pictures(12)
    expected = by_hand(features_of(job, images.flip(2)), labels, torch.optim.Adam, "probe/all", HOW)
    assert torch.allclose(flipped["all.weight"], expected[0], atol=1e-5)


def test_a_probe_s_settings_go_with_its_labels_and_its_distortion():
    how = {
        name: {"epochs": i, "batch": i, "lr": i, "schedule": "stalled_cosine", "period": 40 * i}
        for i, name in enumerate(("full", "subset", "clean"), 1)
    }
    spec, masked = recipes.ProbeSpec, operations({"op": "mask", "fraction": [0.5, 0.5]})

    def chosen(fraction, distortion, **settings):
        found = probes.fit_of(spec(key="k", fraction=fraction, distortion=distortion), Probes(**settings))
        assert found.epochs == found.batch == found.schedule.lr and found.purpose == "probe/k"
        return found.epochs, found.schedule.period

    assert chosen(100, masked, **how) == (1, 40) and chosen(25, masked, **how) == (2, 20)
    assert chosen(100, [], **how) == chosen(25, [], **how) == (3, 120)
    without = {name: how[name] for name in ("full", "subset")}
    assert chosen(100, [], **without) == (1, 40) and chosen(25, [], **without) == (2, 20)
    plain = Probes(full=HOW, subset=HOW)
    assert probes.fit_of(spec(key="k", fraction=5, distortion=[]), plain).schedule == Schedule(
        lr=0.01, schedule="cosine"
    )


def regression(*specs, **settings):
    listed = [{"key": key, "fraction": fraction} for key, fraction in specs]
    return robustness.Heads(
        seed=1, inputs={}, encoder="encoders/student", train="images/imagenet100", images=tiny.WHOLE, probes=listed,
        settings=HOW | {"lr": 2, "schedule": "cosine"} | settings,
    )  # fmt: skip


def test_logistic_regressions_are_fitted_by_sgd_on_embeddings_of_unit_length(job):
    recipe = regression(("all", 100), ("half", 50), part={"batch": 2, "epochs": 3})
    tensors, facts = regressions.fit(recipe, job)
    images, labels = tiny.pictures(12)
    features, half = F.normalize(features_of(job, images), dim=1), stratified(labels, 50, 1)
    assert facts == {"labelled_images": {"all": 12, "half": 6}}
    for key, rows, changes in (("all", slice(None), {}), ("half", half, {"batch": 2, "epochs": 3})):
        expected = by_hand(features[rows], labels[rows], torch.optim.SGD, "logistic", HOW | {"lr": 2} | changes)
        for name, tensor in zip(("weight", "bias"), expected, strict=True):
            assert torch.allclose(tensors[f"{key}.{name}"], tensor, atol=1e-5)


class Killed(Exception):
    pass


def killed_after(times, function):
    """A function that does its work some times and then dies."""
    calls = []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) > times:
            raise Killed
        return function(*arguments)

    return dying


@pytest.mark.parametrize("module", [probes, regressions])
@pytest.mark.parametrize("saved", [1, 3])
def test_heads_whose_job_was_killed_go_on_to_identical_weights(job, monkeypatch, module, saved):
    """And fit no finished pass again."""
    masked = operations({"op": "mask", "fraction": [0.5, 0.5]})
    if module is probes:
        recipe = heads(("all", 100, ()), ("half", 50, ()), ("masked", 100, masked), full=HOW | {"epochs": 2})
    else:
        recipe = regression(("all", 100), ("half", 50), ("few", 10), ("fewer", 5))
    calm, facts = module.fit(recipe, job)
    job.forget()
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", killed_after(saved, Checkpoint.save))
        with pytest.raises(Killed):
            module.fit(recipe, job)
    fitted_again, epoch_of = [], LinearHead.fit_epoch
    monkeypatch.setattr(LinearHead, "fit_epoch", lambda head, *rest: fitted_again.append(head) or epoch_of(head, *rest))
    hit, again = module.fit(recipe, job)
    assert facts == again and calm.keys() == hit.keys()
    assert all(torch.equal(calm[name], hit[name]) for name in calm)
    of_all = 2 + 4 + 2 if module is probes else 4 * 4  # epochs: two of `all`, four of `half`, two of `masked`
    before = {1: 2, 3: 2 + 2 + 1}[saved] if module is probes else 4 * saved
    assert len(fitted_again) == of_all - before


# --- metrics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [functools.partial(metrics.top_k, k=1), metrics.reciprocal_rank, metrics.auc])
def test_logits_that_are_no_numbers_have_no_accuracy(metric):
    """The largest of them would be a class like any other: ten per cent of ten classes."""
    with pytest.raises(UserError, match="a network's output is no finite number"):
        metric(torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1]))


def test_metrics_agree_with_scikit_learn():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(500, 12)), generator.integers(0, 12, 500)
    for name, k in (("top1", 1), ("top5", 5)):
        expected = 100 * top_k_accuracy_score(labels, logits, k=k)
        assert accuracy.METRICS[name](torch.tensor(logits), torch.tensor(labels)) == pytest.approx(expected)
    few = accuracy.METRICS["top5"](torch.tensor(logits[:, :3]), torch.tensor(labels % 3))
    assert few == 100 and type(few) is float


def test_auc_takes_label_0_for_positive():
    logits, labels = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 3
    exponentials = np.exp(logits.double().numpy())
    expected = roc_auc_score(labels.numpy() == 0, exponentials[:, 0] / exponentials.sum(axis=1))
    assert accuracy.METRICS["auc"](logits, labels) == pytest.approx(expected)
    two = roc_auc_score(labels[:200].numpy() % 2, (logits[:200, 1] - logits[:200, 0]).numpy())  # the same for both
    assert accuracy.METRICS["auc"](logits[:200, :2], labels[:200] % 2) == pytest.approx(two)
    assert accuracy.METRICS["auc"](torch.tensor([[2.0, 0], [1, 0], [0, 0]]), torch.tensor([0, 0, 1])) == 1


# --- measuring an encoder -------------------------------------------------------------------------------------------

OWN = {"head": "own"}


def level(name="clean", listed=(OWN,), metrics=("top1",), **source):
    return {"name": name, "heads": list(listed), "metrics": list(metrics)} | (source or {"distortion": []})


def rows_of(job, *levels, encoder="baseline", split="test", batch=4, instantiations=3):
    recipe = recipes.Accuracy(
        seed=1, inputs={}, encoder=f"encoders/{encoder}", test="images/imagenet100", levels=list(levels),
        settings={"instantiations": instantiations, "batch": batch}, images=tiny.WHOLE, classes_of="imagenet100",
        split=split,
    )  # fmt: skip
    rows, facts = accuracy.measure(recipe, job)
    assert facts == {}
    job.forget()  # the next measurement of a test is another one
    return rows


def right(logits, labels):
    return 100 * (logits.argmax(dim=1) == labels).double().mean().item()


@pytest.mark.parametrize(("split", "count", "seed"), [("validation", 9, 1), ("test", 6, 2)])
def test_an_encoder_is_measured_on_the_split_that_the_recipe_names(job, split, count, seed):
    images, labels = tiny.pictures(count, seed)
    expected = right(tiny.encoder(job.root, "baseline", classes=CLASSES)(tiny.seen(images)), labels)
    (row,) = rows_of(job, level(), split=split)
    assert row == {
        "head": "own", "distortion": "clean", "metric": "top1", "over": "instantiations", "images": count,
        "values": [pytest.approx(expected)],
    }  # fmt: skip
    assert 0 < expected < 100


def test_drawn_distortions_are_drawn_as_often_as_the_study_says_and_others_once(job):
    noise = operations({"op": "noise", "sigma": [0.5, 0.5]})
    blur = operations({"op": "blur", "kernel": 3, "sigma": [1, 1]})
    black = operations({"op": "mask", "fraction": [1, 1]})
    levels = [level(name, distortion=spec) for name, spec in (("noise", noise), ("blur", blur), ("black", black))]
    found = {row["distortion"]: row["values"] for row in rows_of(job, *levels, instantiations=8)}
    assert {name: len(values) for name, values in found.items()} == {"noise": 8, "blur": 1, "black": 8}
    assert len(set(found["noise"])) > 1
    dark = tiny.encoder(job.root, "baseline", classes=CLASSES)(torch.zeros(6, 3, tiny.SIZE, tiny.SIZE))
    assert found["black"] == [pytest.approx(right(dark, tiny.pictures(6, 2)[1]))] * 8


def test_a_measurement_that_was_killed_goes_on_after_its_finished_levels(job, monkeypatch):
    noise = operations({"op": "noise", "sigma": [0.5, 0.5]})
    levels = [level("clean"), level("noise", distortion=noise), level("again", distortion=noise)]
    calm = rows_of(job, *levels)
    with monkeypatch.context() as patched:
        patched.setattr(KeptRows, "add", killed_after(2, KeptRows.add))
        with pytest.raises(Killed):
            rows_of(job, *levels)
    measured, plain = [], accuracy.rows_of
    monkeypatch.setattr(accuracy, "rows_of", lambda level, *rest: measured.append(level.name) or plain(level, *rest))
    assert rows_of(job, *levels) == calm and measured == ["again"]
    assert rows_of(dataclasses.replace(job, recipe_hash="another"), *levels) == calm and len(measured) == 1 + 3


def test_the_rows_of_another_recipe_or_of_a_damaged_file_are_not_taken_up(job, capsys):
    KeptRows(job).add([{"values": [1 / 3]}])
    assert KeptRows(job).rows == [{"values": [1 / 3]}]
    assert KeptRows(dataclasses.replace(job, recipe_hash="another")).rows == []
    path = KeptRows(job).path
    path.write_bytes(path.read_bytes().replace(b"0.333", b"0.334"))
    assert (
        KeptRows(job).rows == [] and "state/measurements/student/imagenet100/rows: not what" in capsys.readouterr().out
    )


def test_test_pictures_are_read_once_for_all_levels_and_instantiations(job, monkeypatch):
    noise = operations({"op": "noise", "sigma": [0.5, 0.5]})
    read, plain = [], accuracy.test_pixels
    monkeypatch.setattr(
        accuracy, "test_pixels", lambda data, i, *rest: read.append(i.tolist()) or plain(data, i, *rest)
    )
    rows_of(job, level(), level("noise", distortion=noise), level("more", distortion=noise))
    assert read == [[0, 1, 2, 3], [4, 5]]


def test_a_level_on_the_images_that_are_restored_distorts_those_alone_and_alike(job):
    """With the drawn mask of an image as in a level on all of them."""
    mask = operations({"op": "mask", "fraction": [0.5, 0.5]})
    images, labels = tiny.pictures(6, 2)
    data = store.split(job.input("images/imagenet100"), "test")
    index = data.spread(3)
    model = tiny.encoder(job.root, "baseline", classes=CLASSES)
    views = [
        corrupt(tiny.seen(images), mask, 1, f"evaluate/{data.name}", torch.arange(6), draw)[index] for draw in range(4)
    ]
    (row,) = rows_of(job, level("rm50-of-dd", distortion=mask, images=3), instantiations=4)
    assert index.tolist() == [0, 2, 5] and row["images"] == 3
    assert row["values"] == pytest.approx([right(model(view), labels[index]) for view in views])


def test_representations_are_compared_with_what_another_encoder_makes_of_the_undistorted_images(job):
    noise = operations({"op": "noise", "sigma": [0.5, 0.5]})
    images, _ = tiny.pictures(6, 2)
    student, teacher = tiny.encoder(job.root, "student"), tiny.encoder(job.root, "teacher")
    job.inputs["encoders/teacher"] = tiny.HASH
    name = store.split(job.input("images/imagenet100"), "test").name
    noisy = [corrupt(tiny.seen(images), noise, 1, f"evaluate/{name}", torch.arange(6), draw) for draw in range(3)]
    beside = {"head": "beside teacher", "encoder": "teacher"}
    (row,) = rows_of(job, level("gn50", [beside], ["cosine"], distortion=noise), encoder="student")
    assert (row["head"], row["metric"], row["images"]) == ("beside teacher", "cosine", 6)
    a, b = student(noisy[1]).detach().numpy(), teacher(tiny.seen(images)).detach().numpy()
    by_hand = [(x @ y) / np.sqrt((x @ x) * (y @ y)) for x, y in zip(a, b, strict=True)]
    assert row["values"][1] == pytest.approx(np.mean(by_hand), abs=1e-6) and len(set(row["values"])) == 3
    (row,) = rows_of(job, level("clean", [beside], ["cosine"]), encoder="teacher")
    assert row["values"] == [pytest.approx(1)] * len(row["values"])


def test_the_other_encoder_embeds_the_same_undistorted_images_once_for_all_levels(job, monkeypatch):
    tiny.encoder(job.root, "student")
    tiny.encoder(job.root, "teacher")
    job.inputs["encoders/teacher"] = tiny.HASH
    read, load = [], networks.load
    monkeypatch.setattr(networks, "load", lambda source: read.append(source.path.stem) or load(source))
    beside = {"head": "beside teacher", "encoder": "teacher"}
    levels = [level(f"gn{sigma}", [beside], ["cosine"], distortion=noise_of(sigma)) for sigma in (10, 50)]
    few = level("gn30", [beside], ["cosine"], distortion=noise_of(30), images=3)
    rows = rows_of(job, *levels, few, encoder="student")
    assert read == ["student", "teacher", "teacher"]  # once for all images, once for three
    alone = [row for each in (*levels, few) for row in rows_of(job, each, encoder="student")]
    assert rows == alone and rows[0]["values"] != rows[1]["values"]


def noise_of(percent):
    return operations({"op": "noise", "sigma": [percent / 100] * 2})


def test_a_probe_s_head_is_read_from_the_file_of_its_encoder(job):
    torch.manual_seed(3)
    linear = torch.nn.Linear(tiny.encoder(job.root, "student").dim, CLASSES)
    tiny.write(job.root, "heads/student/imagenet100", {"k.weight": linear.weight, "k.bias": linear.bias}, {})
    images, labels = tiny.pictures(6, 2)
    probe = {"head": "probe 100%", "encoder": "student", "key": "k"}
    rows = rows_of(job, level(listed=[probe], metrics=("top1", "top5")), encoder="student")
    expected = right(linear(features_of(job, images)), labels)
    assert [(row["head"], row["metric"]) for row in rows] == [("probe 100%", "top1"), ("probe 100%", "top5")]
    assert rows[0]["values"] == [pytest.approx(expected)] and rows[1]["values"] == [100]
    with pytest.raises(UserError, match="encoders/student has no classifier of its own"):
        rows_of(job, level(), encoder="student")


def test_restored_images_are_measured_as_they_are_with_the_constants_of_the_study(job):
    images, labels = tiny.pictures(6, 2)
    views = torch.stack([tiny.seen(images), torch.zeros(6, 3, tiny.SIZE, tiny.SIZE)])
    blocks = ["denoised/imagenet100/gn10/0", "denoised/imagenet100/gn10/1"]
    for block, some in zip(blocks, (slice(0, 4), slice(4, 6)), strict=True):
        tiny.write(job.root, block, {"images": views[:, some].clone(), "labels": labels[some].clone()}, {})
        job.inputs[block] = tiny.HASH
    model = tiny.encoder(job.root, "baseline", classes=CLASSES)
    source = {"restored": blocks}
    (row,) = rows_of(job, level("nlm-gn10", **source))
    assert row["values"] == pytest.approx([right(model(view), labels) for view in views])
    (row,) = rows_of(job, level("nlm-gn10", **source, constants={"mean": [0.0] * 3, "std": [1.0] * 3}))
    # an encoder of mean 0.5 and deviation 0.25 normalises 0.25 x + 0.5 to x
    assert row["values"] == pytest.approx([right(model(0.25 * view + 0.5), labels) for view in views])


def test_a_corruption_has_a_value_for_each_severity(job):
    splits = {f"fog/{severity}": tiny.pictures(9, severity) for severity in (1, 2, 3)}
    tiny.store(job.root, **splits)
    model = tiny.encoder(job.root, "baseline", classes=CLASSES)
    (row,) = rows_of(job, level("fog", severities=[1, 2, 3]))
    expected = [right(model(tiny.seen(images)), labels) for images, labels in splits.values()]
    assert row["values"] == pytest.approx(expected) and row["over"] == "severities" and len(set(expected)) > 1
