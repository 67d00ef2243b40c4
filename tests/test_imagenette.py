"""The study on photographs that need no registration: what it measures in place of what, and what it leaves out."""

import copy
import functools
from pathlib import Path

import pytest
import torch
from sklearn.metrics import label_ranking_average_precision_score

from contrastive_inversion import papers
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import imagenet_classes, work
from contrastive_inversion.learn import metrics, networks
from contrastive_inversion.ledger import claims, layouts, plan, printed, quantities
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.statements import Reading
from contrastive_inversion.run import costs
from contrastive_inversion.show import shown_claims

STUDY, WITHOUT = papers.study("imagenette"), papers.study("imagenette-without-xrays")


def test_the_mean_reciprocal_rank_is_scikit_learn_s():
    """With one right class each, scikit-learn's ranking precision is the reciprocal rank, ties against it."""
    logits, labels = torch.randint(0, 6, (50, 10)).float(), torch.arange(50) % 10
    right = torch.nn.functional.one_hot(labels, 10).numpy()
    expected = 100 * label_ranking_average_precision_score(right, logits.numpy())
    assert metrics.reciprocal_rank(logits, labels) == pytest.approx(expected)
    ranked = torch.tensor([[3.0, 2, 1], [1, 3, 2], [1, 3, 2]])
    assert metrics.reciprocal_rank(ranked, torch.tensor([0, 2, 0])) == pytest.approx(100 * (1 + 1 / 2 + 1 / 3) / 3)


def metrics_of(study):
    """The metric of every quantity of the claims that a study can judge, by claim and position."""
    found = {}
    for claim in claims.relevant(study):
        listed = [quantity for reading in claim.readings for quantity in reading.quantities]
        found |= {(claim.id, number): quantity.metric for number, quantity in enumerate(listed)}
    return found


def test_claims_and_figures_go_by_another_metric_where_the_study_says_so():
    ours, theirs = metrics_of(STUDY), metrics_of(papers.study("paper"))
    assert {"top1", "mrr"} <= set(ours.values()) and "top5" in theirs.values() and "mrr" not in theirs.values()
    assert ours == {place: "mrr" if metric == "top5" else metric for place, metric in theirs.items()}
    assert {quantity.metric for quantity in plan.of_figure(8, STUDY)} == {"mrr"}
    assert {quantity.metric for quantity in plan.of_table(4, STUDY)} == {"top5", "mrr"}
    assert {quantity.metric for quantity in plan.of_table(1, STUDY)} == {"top1"}
    assert any("mean reciprocal rank" in note for note in layouts.notes_of(4, STUDY))
    assert not layouts.notes_of(4, papers.study("paper"))


def test_a_reading_says_by_what_it_goes():
    text = "student-{d} | probe 100% | imagenet100 | {d} | top5"
    reading = Reading.model_validate(
        {"reading": "All levels", "for": {"d": ["rm50", "rm90"]}, "compare": [{"plus": [text], "above": 0}]}
    )
    other = reading.measured_by({"top5": "mrr"})
    assert other.reading == "All levels; here by mrr in place of top5"
    assert [quantity.metric for quantity in other.quantities] == ["mrr", "mrr"] and other.compare[0].above == 0
    assert reading.measured_by({"auc": "mrr"}) is reading


def test_a_data_set_is_left_out_by_name():
    assert any(quantity.data == "covid" for quantity in plan.asked(STUDY))
    assert not any(quantity.data == "covid" for quantity in plan.asked(WITHOUT))
    assert "Left out by this study: covid." in layouts.notes_of(2, WITHOUT)
    assert "Left out by this study: covid." not in layouts.notes_of(1, WITHOUT)
    cell = printed.cells_of(6, WITHOUT.paper)[0]
    assert Measurements(WITHOUT, Path("nowhere")).of(cell.quantity) is None  # no file is asked for
    assert not any("covid" in product for product in plan.everything(WITHOUT))
    judged = [q for claim in claims.relevant(WITHOUT) for r in claim.readings for q in r.quantities]
    assert (
        claims.relevant(WITHOUT) and quantities.parse("student-rm90 | probe 100% | imagenet100 | rm90 | top1") in judged
    )


def test_every_dog_counts_as_the_one_breed_that_imagenette_has():
    shift = imagenet_classes.label_shift("imagewoof_shift.csv")
    assert [each.wnid for each in shift] == imagenet_classes.wnids("imagewoof_wnids.txt") and len(shift) == 10
    springer = imagenet_classes.wnids("imagenette_wnids.txt").index("n02102040")
    assert {(each.label, each.index) for each in shift} == {("English springer", springer)}
    assert imagenet_classes.labels_of("imagewoof_shift.csv") == dict.fromkeys(
        imagenet_classes.wnids("imagewoof_wnids.txt"), springer
    )


@pytest.mark.parametrize("network", [STUDY.settings.networks.student, STUDY.settings.networks.baseline])
def test_what_is_computed_anew_is_the_same_to_the_bit(network):
    """At 64 px, the real networks: outputs, gradients and running statistics after two steps."""
    torch.manual_seed(0)
    plain = networks.build(network).train()
    if network.architecture == "open_clip":
        plain.trunk.attnpool.positional_embedding = torch.nn.Parameter(torch.randn(2 * 2 + 1, 2048))
    thrifty = copy.deepcopy(plain)
    networks.recompute(thrifty.trunk)
    images, saved = torch.rand(3, 3, 64, 64), {}
    for name, encoder in (("plain", plain), ("thrifty", thrifty)):
        sizes = saved[name] = {}
        for _ in range(2):
            with torch.autograd.graph.saved_tensors_hooks(functools.partial(noted, sizes), lambda tensor: tensor):
                loss = encoder(images).square().mean()
            loss.backward()
    assert sum(saved["thrifty"].values()) < sum(saved["plain"].values()) / 2
    for ours, theirs in zip(thrifty.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    for ours, theirs in zip(thrifty.buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def noted(sizes, tensor):
    """Note the memory of a tensor that is kept for the backward pass, weights left out."""
    if tensor.shape[:1] == (3,):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return tensor


def test_a_network_without_blocks_cannot_compute_them_anew():
    with pytest.raises(UserError, match="recompute: the network has no residual blocks"):
        networks.recompute(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_students_fit_on_twelve_gigabytes_where_blocks_are_computed_anew():
    peak = {
        name: max(
            costs.cost(product, study, costs.machine_of(study, Path("nowhere"), "RTX 3060")).gpu_gb
            for product in ("encoders/student-rm90", "encoders/resnet100", "encoders/baseline-rm90")
        )
        for name, study in {"24": STUDY, "12": papers.study("imagenette-12gb")}.items()
    }
    assert 20 < peak["24"] < 24 and peak["12"] < 12


def test_its_pictures_are_counted_for_the_plan():
    recipe = {f"images/{name}": plan.recipe_of(f"images/{name}", STUDY) for name in ("imagenet100", "imagenet100c")}
    counts = [work.every_picture(each.settings, recipe) for each in recipe.values()]
    assert counts == [9469 + 3925, 19 * 5 * 10 * 50]
    assert work.every_picture(STUDY.settings.data["covid"], {}) == 5286 + 624


def test_a_claim_that_goes_by_another_metric_stands_beside_the_published_one():
    changed = 0
    for claim in claims.relevant(STUDY):
        judged = claims.judge_claim(claim, lambda quantity: None, STUDY)
        pairs = shown_claims.readings_of(judged, STUDY)
        for ours, theirs in pairs:
            assert len(ours.outcomes) == len(theirs.outcomes)
            assert ours.reading.reading.partition("; here ")[0] == theirs.reading.reading
            changed += ours.reading.reading != theirs.reading.reading
    assert changed > 3
