import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score, top_k_accuracy_score

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.measurements import Measurements, check, content_hash, estimate, standard_error
from contrastive_inversion.papers.inverse_problems.accuracy import METRICS
from contrastive_inversion.papers.inverse_problems.probes import stratified


@pytest.mark.parametrize(("fraction", "per_class"), [(0.1, 2), (0.5, 7), (1, 13), (5, 64), (10, 127), (100, 1267)])
def test_subsets_are_stratified_and_rounded_up_as_in_the_paper(fraction, per_class):
    labels = torch.arange(5).repeat_interleave(1267)
    chosen = stratified(labels, fraction, 1)
    assert labels[chosen].bincount().tolist() == [per_class] * 5
    assert len(chosen.unique()) == len(chosen)
    assert torch.equal(chosen, stratified(labels, fraction, 1))


def test_metrics_agree_with_scikit_learn():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(500, 12)), generator.integers(0, 12, 500)
    for name, k in (("top1", 1), ("top5", 5)):
        expected = 100 * top_k_accuracy_score(labels, logits, k=k)
        assert METRICS[name](torch.tensor(logits), torch.tensor(labels)) == pytest.approx(expected)


def test_auc_takes_label_0_for_positive():
    logits, labels = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 2
    expected = roc_auc_score(1 - labels.numpy(), (logits[:, 0] - logits[:, 1]).numpy())
    assert METRICS["auc"](logits, labels) == pytest.approx(expected)


def test_standard_errors_are_numpy_s():
    values = [70.1, 70.4, 69.9, 70.0, 70.2]
    assert standard_error(values) == pytest.approx(np.std(values, ddof=1) / math.sqrt(5))
    assert standard_error([70.1]) is None


def row(values, over="instantiations"):
    return {"head": "own", "distortion": "rm90", "metric": "top1", "over": over, "values": values, "images": 10}


def test_severities_have_a_mean_and_no_standard_error():
    found = estimate(row([10.0, 20.0, 30.0, 40.0, 50.0], "severities"), "file")
    assert found.mean == 30 and found.se is None


@pytest.mark.parametrize("bad", [[], [float("nan")], [None], ["70"]])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(UserError, match="some.json.*not a finite number"):
        estimate(row(bad), "some.json")


@pytest.fixture
def measured(tmp_path):
    """A hand-made measurement file of the demo study, and the means to spoil it."""
    product = "measurements/baseline-rm90/imagenet100"
    rows = [row([50.0, 51.0, 52.0])]
    record = {
        "recipe_hash": plan.digest(plan.recipe(product, "demo")), "seed": 1, "seconds": 1.0,
    }  # fmt: skip
    record["content_hash"] = content_hash(rows, record)
    path = tmp_path / "demo" / plan.file_of(product)
    files.write_json(path, {"rows": rows, "record": record})
    return path, Measurements("demo", tmp_path), product


def test_a_sound_file_is_read(measured):
    _, measurements, product = measured
    assert measurements.file(product)[0]["own", "rm90", "top1"]["values"] == [50.0, 51.0, 52.0]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("51.0", "51.1", "altered since it was measured"),
        ("51.0", "NaN", "not a finite number"),
        ('"seconds": 1.0', '"seconds": 2.0', "altered since it was measured"),
        ('"recipe_hash": "', '"recipe_hash": "0', "made by recipe"),
        ('"record"', '"recrod"', "not a measurement file"),
        ("]", "", "damaged or incomplete"),
    ],
)
def test_a_spoilt_file_is_refused_by_name(measured, before, after, message):
    path, measurements, product = measured
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(UserError, match=message) as error:
        measurements.file(product)
    assert str(path) in str(error.value)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="missing; run snakemake to make it"):
        Measurements("demo", tmp_path).file("measurements/baseline-rm90/imagenet100")


def test_check_takes_what_jobs_write():
    rows = [row([1.0])]
    record = {"recipe_hash": "h"}
    record["content_hash"] = content_hash(rows, record)
    check({"rows": rows, "record": record}, "file", "h")
