"""The second report: its ledger, its network, its trainings and attacks on a few small images."""

import pytest
import torch

from contrastive_inversion.base import files, studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import store
from contrastive_inversion.learn import networks
from contrastive_inversion.ledger import claims, plan, printed, quantities
from contrastive_inversion.papers.contrastive_robustness import classifiers, distances, pretraining
from contrastive_inversion.papers.inverse_problems.probes import labelled
from contrastive_inversion.run import jobs

FAMILY = ("simclr", "simclr-authors", "simclr-demo", "simclr-published")
LEDGER = quantities.PUBLISHED / "robustness"
STUDY = studies.load("simclr-published")


def test_every_printed_number_is_in_the_ledger():
    cells = quantities.cells(LEDGER)
    assert [cell.table for cell in cells] == [1] * 9 + [2] * 6
    assert {float(c.value) for c in cells if c.column == "Fine-Tuned"} == {77.05, 71.36, 66.94}
    for cell in cells:
        assert printed.value(cell.quantity, STUDY).mean == float(cell.value)


@pytest.mark.parametrize("name", FAMILY)
def test_every_study_can_measure_its_tables_figure_and_claims(name):
    study = studies.load(name)
    assert len(plan.study_measurements(name)) >= 13
    assert [claim["id"] for claim in claims.relevant(study)] == [claim["id"] for claim in claims.load(study)]


def test_stored_distances_are_read_as_the_facts_have_them():
    """Two numbers of the facts: half the attacked images within 0.1322; 71.9 % of all within 0.25 at lambda 0."""
    value = printed.raw_distances()
    contrastive = "contrastive | probe 100% on clean | cifar10 | plb"
    assert value[quantities.parse(f"{contrastive} | all@0.25")].mean == pytest.approx(71.9, abs=0.05)
    assert value[quantities.parse("supervised | own | cifar10 | plb | all@0.1")].mean == pytest.approx(39.6, abs=0.05)
    assert value[quantities.parse("supervised | own | cifar10 | plb | printed@0.15")].mean > 50


def test_claims_by_the_stored_distances():
    """The report's own panel (f) denies that contrastive training gains more than regularisation."""
    verdicts = {
        claim["id"]: claims.judge(claim, lambda q: printed.value(q, STUDY), STUDY)[0] for claim in claims.load(STUDY)
    }
    assert verdicts["bigger-gain-than-regularisation"] == "fails"
    assert verdicts["labels-vanish"] == verdicts["contrastive-resists-plb"] == "holds"
    assert verdicts["contrastive-resists-plb-all-images"] == "fails"


def test_the_network_has_the_report_s_number_of_parameters():
    trunk, dim = networks.simclr_resnet("3-4-6-3/64")
    count = sum(p.numel() for p in trunk.parameters())
    assert dim == 512 and count == 1_516_448
    assert count + sum(p.numel() for p in pretraining.projection(dim).parameters()) == 1_844_768
    assert trunk(torch.rand(2, 3, 32, 32)).shape == (2, 512)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("results") / "tiny"


SETTINGS = {
    "images": {"source": "glyphs", "classes": [200, 204], "train": 12, "test": 8, "stored": 32},
    "contrastive": {"epochs": 2, "batch": 16}, "supervised": {"epochs": 2, "batch": 16},
    "finetuned": {"epochs": 2, "batch": 16}, "logistic": {"epochs": 5, "batch": 16},
    "attack": {"images": 8, "batch": 8},
}  # fmt: skip


def shrunk(product, study="simclr-demo", **changes):
    """The demo's recipe of a product with less to do, its inputs shrunk alike."""
    recipe = plan.parse(plan.recipe(product, study))
    if recipe["kind"] == "images":
        recipe["settings"] = SETTINGS["images"]
    else:
        recipe["settings"] |= SETTINGS.get(recipe["kind"], SETTINGS["supervised"]) | changes
    for level in recipe.get("levels", []):
        level.get("settings", {}).update({"outer": 2, "inner": 2} if level["name"] == "plb" else {})
    recipe["inputs"] = {name: plan.digest(shrunk(name, study)) for name in recipe["inputs"]}
    return plan.canonical(recipe)


def make(product, root, study="simclr-demo", **changes):
    for needed in plan.inputs(product, study):
        if not (root / plan.file_of(needed)).exists():
            make(needed, root, study)
    jobs.run(product, root, shrunk(product, study, **changes))
    return root / plan.file_of(product)


@pytest.mark.parametrize("encoder", ["contrastive-lambda1", "supervised-lambda10", "supervised-labels10"])
def test_an_encoder_is_trained_measured_and_attacked(root, encoder):
    rows = files.read_json(make(f"measurements/{encoder}/cifar10", root))["rows"]
    metrics = {(row["distortion"], row["metric"]): row for row in rows}
    assert 0 <= metrics["clean", "top1"]["values"][0] <= 100
    if "lambda" in encoder:
        shares = [metrics["plb", f"all@{d:g}"]["values"][0] for d in studies.load("simclr-demo")["distances"]]
        assert shares == sorted(shares)
        raw = metrics["plb", "distances"]
        assert raw["clean_errors"] + raw["failures"] + len(raw["values"]) in (8, 9)  # 9: a zero where none is left
        assert shares[0] >= 100 * raw["clean_errors"] / 8


def test_fine_tuning_moves_the_encoder_unless_it_is_detached(root):
    before, _ = files.load(make("encoders/contrastive", root))
    after, _ = files.load(make("encoders/finetuned", root))
    name = "encoder.trunk.0.weight"
    assert not torch.equal(before[name], after[name])
    detached = root.parent / "detached"
    for product in ("images/cifar10", "encoders/contrastive"):
        path = detached / plan.file_of(product)
        path.parent.mkdir(parents=True)
        path.hardlink_to(root / plan.file_of(product))
    after, _ = files.load(make("encoders/finetuned", detached, encoder="detached"))
    assert torch.equal(before[name], after[name])
    assert not torch.equal(before["encoder.trunk.1.running_mean"], after["encoder.trunk.1.running_mean"])


def test_the_best_test_epoch_is_kept_where_the_study_says_so(root):
    chosen = root.parent / "chosen"
    path = chosen / "images/cifar10.safetensors"
    path.parent.mkdir(parents=True)
    path.hardlink_to(make("images/cifar10", root))
    tensors, _ = files.load(make("encoders/supervised", chosen, selection="best_test", epochs=4))
    best, record = files.load(chosen / "state/encoders/supervised/best.safetensors")
    assert torch.equal(tensors["head.weight"], best["head.weight"]) and 0 <= record["epoch"] < 4
    store.load.cache_clear()


def test_losses_layer_by_layer_train_too(root):
    weighed = {"losses": [0.01, 0.02, 0.04, 0.08, 0.16, 1, 1], "penalties": [0.001] * 7}
    text = shrunk("encoders/contrastive", layers=weighed)
    jobs.run("encoders/layers", root, text)
    _, record = files.load(root / "encoders/layers.safetensors")
    assert record["losses"][-1] < record["losses"][0]


def test_a_distance_counts_as_the_metric_says():
    found = torch.tensor([0.0, 0.1, 0.2, 0.4, float("inf")])
    wrong = torch.tensor([True, False, False, False, False])
    assert distances.value("all@0.2", found, wrong, 12) == pytest.approx(60)
    assert distances.value("printed@0.2", found, wrong, 12) == pytest.approx(200 / 3)
    assert distances.value("median", found, wrong, 12) == pytest.approx(0.2)
    failures = torch.full((5,), float("inf"))
    assert distances.value("median", failures, wrong, 12) == pytest.approx(12**0.5)


def test_labelled_subsets_are_stratified_or_uniform():
    labels = torch.arange(1000) % 10
    assert torch.bincount(labels[labelled(labels, 10, 0)]).tolist() == [10] * 10
    uniform = labelled(labels, 10, 0, "uniform")
    assert len(uniform) == 100 and len(set(torch.bincount(labels[uniform]).tolist())) > 1


def test_the_authors_study_has_the_faults_of_their_code():
    attack = plan.parse(plan.recipe("measurements/contrastive-lambda1/cifar10", "simclr-authors"))
    pgd = next(level for level in attack["levels"] if level["name"] == "pgd")
    assert attack["settings"] == {"images": 1000, "batch": 100, "features": "raw"} and pgd["settings"]["misplaced"]
    plain = plan.parse(plan.recipe("encoders/contrastive", "simclr-authors"))["settings"]
    assert plain["hold"] == 10 and "strength" not in plain
    supervised = plan.parse(plan.recipe("encoders/supervised-lambda1", "simclr-authors"))["settings"]
    assert (supervised["penalty"], supervised["order"], supervised["strength"]) == ("mean_loss", "fixed", 1)


def test_unknown_names_are_told(tmp_path):
    study = studies.load("simclr-demo")
    with pytest.raises(UserError, match="unknown encoder 'contrastiv'; did you mean"):
        quantities.check(quantities.parse("contrastiv | own | cifar10 | clean | top1"), study, "here")
    with pytest.raises(UserError, match="unknown attack 'pgdd'; did you mean 'pgd'"):
        quantities.check(quantities.parse("supervised | own | cifar10 | pgdd | median"), study, "here")


def test_a_classifier_is_read_back_as_it_was():
    torch.manual_seed(0)
    network = studies.load("simclr-demo")["networks"]["supervised"]
    encoder = networks.build(network).eval()
    batch = torch.rand(3, 3, 32, 32)
    for head, normalised in ((torch.nn.Linear(encoder.dim, 4), False), (classifiers.two_layers(encoder.dim, 4), True)):
        model = classifiers.Model(encoder, head, normalised).eval()
        again = classifiers.load_model(model.state_dict(), network)
        assert torch.equal(model(batch), again(batch))
