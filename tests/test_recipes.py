"""Recipes: what changes one, what leaves it alone, and what a mistake in a study looks like."""

import json

import pytest
import yaml

from contrastive_inversion import papers
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan

STUDENT = "encoders/student-rm90"


@pytest.fixture
def recipe_in(study_of):
    """A function that gives the recipe of a product in a study that says some text."""

    def recipe(text, product=STUDENT, parent="demo"):
        return plan.recipe(product, study_of(text, parent=parent))

    return recipe


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n\n\ndistill:   {lr:   0.01}\n",
        "distill: {lr: 1.0e-2, batch: 128}\n",
        "distill: {weight_decay: 0.0}\n",
        "distill:\n  batch: 128\n  epochs: 10\n  lr: 1e-2\n",
        "description: other words\n",
        "finetune: {lr: 0.5}\n",
        "evaluate: {instantiations: 3}\n",
        "tables: [1]\nfigures: [3]\n",
    ],
)
def test_formatting_order_and_unrelated_keys_leave_a_training_alone(recipe_in, text):
    assert recipe_in(text) == recipe_in("")


@pytest.mark.parametrize(
    "text",
    [
        "seed: 2\ntraining_seeds: [2]\n",
        "distill: {lr: 0.02}\n",
        "distill: {epochs: 18}\n",
        "distill: {batch: 64}\n",
        "distill: {weight_decay: 0.1}\n",
        "distill: {temperature: 0.2}\n",
        "distill: {flip: 0.25}\n",
        "losses: {st: ss}\n",
        "image_size: 32\nnetworks: {student: {model: embedding-128/32}, baseline: {model: flattened/32}}\n",
        "flip: 0.5\n",
        "teacher: {epochs: 9}\n",
        "networks: {student: {mean: [0, 0, 0]}}\n",
    ],
)
def test_every_value_that_matters_changes_a_training(recipe_in, text):
    assert recipe_in(text) != recipe_in("")


def test_a_change_of_data_reaches_everything_downstream(recipe_in):
    data = yaml.safe_load((papers.paper("inverse_problems").folder / "studies/demo.yaml").read_text())["data"]
    data["imagenet100"]["train"] = 24
    text = yaml.safe_dump({"data": data}, allow_unicode=True)
    for product in ("images/imagenet100", STUDENT, "heads/student-rm90/imagenet100"):
        assert recipe_in(text, product) != recipe_in("", product)
    assert recipe_in(text, "images/cifar10") == recipe_in("", "images/cifar10")


def test_recipes_are_canonical_json():
    text = plan.recipe(STUDENT, papers.study("demo"))
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text
    assert canonical({"b": 1.0, 1: [2.50, (None, {"ü": None, "c": 0.5})]}) == '{"1":[2.5,[null,{"c":0.5}]],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical([float("nan")])
    # the vector of FIPS 180-2, Appendix B.1
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_recipe_names_its_inputs_by_the_digests_of_their_recipes():
    study = papers.study("demo")
    inputs = json.loads(plan.recipe(STUDENT, study))["inputs"]
    assert inputs == {name: digest(plan.recipe(name, study)) for name in ("images/imagenet100", "encoders/teacher")}


def test_a_recipe_comes_back_typed_with_its_defaults():
    study = papers.study("paper")
    kind, recipe = plan.read(plan.recipe(STUDENT, study), study.paper)
    assert kind is study.paper.jobs["distill"]
    assert recipe == plan.recipe_of(STUDENT, study).model_copy(update={"sparing": []})  # which is no part of it
    assert recipe.settings.warmup == 0 and recipe.settings.precision == "fp16" and recipe.settings.loss == "st"


def test_a_recipe_that_is_not_as_it_should_be_is_refused():
    paper = papers.paper("inverse_problems")
    with pytest.raises(UserError, match="recipe of kind 'attack', which inverse_problems does not have"):
        plan.read('{"kind":"attack"}', paper)
    text = plan.recipe("images/imagenet100", papers.study("demo")).replace('"stored"', '"sored"')
    with pytest.raises(UserError, match="recipe of kind 'images': settings: unknown key 'sored'"):
        plan.read(text, paper)


def test_a_data_set_s_own_flip_of_0_counts(recipe_in):
    """It is no default: a data set that says 0 is not mirrored where the study's other pictures are."""
    text = "data: {cifar10: {source: cifar10, resize: 224, training_crop: whole, flip: %s}}\n"
    none, half = (recipe_in(text % flip, "images/cifar10", "paper") for flip in (0, 0.5))
    assert none != half and json.loads(none)["settings"]["flip"] == 0


def test_a_misspelt_key_of_what_differs_for_a_part_is_refused(study_of):
    for key in ("part", "regularised", "unregularised"):
        with pytest.raises(UserError, match=rf"supervised.{key}: unknown key 'lrr'; did you mean 'lr'\?"):
            study_of(f"supervised: {{{key}: {{lrr: 0.1}}}}\n", parent="simclr")
    with pytest.raises(UserError, match="probe.part.epochs: 0 is below 1"):
        study_of("probe: {part: {epochs: 0}}\n", parent="simclr")


def test_a_setting_of_another_kind_of_job_is_refused(study_of):
    with pytest.raises(UserError, match="distill: unknown key 'selection'"):
        study_of("distill: {selection: best_test}\n")
    with pytest.raises(UserError, match="finetune: unknown key 'temperature'"):
        study_of("finetune: {temperature: 0.1}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distil: {lr: 1}\n", "top level: unknown key 'distil'; did you mean 'distill'?"),
        ("distill: {learning_rate: 1}\n", "distill: unknown key 'learning_rate'"),
        ("distill: {epochs: many}\n", "distill.epochs: 'many' is not of type integer"),
        ("distill: {lr: -1}\n", "distill.lr: -1 is not above 0"),
        ("distill: {optimizer: adem}\n", "distill.optimizer: 'adem' is not one of adam, adamw, sgd"),
        ("seed: [\n", "not valid YAML"),
        ("- 1\n", "not valid YAML"),
        ("crop: square\n", "crop: 'square' is not one of resized, random"),
        ("data: {covid: {source: xrays}}\n", "data.covid: 'xrays' is not one of glyphs, digits"),
        ("data: {covid: {source: photographs, train: 0, stored: 54}}\n", "data.covid.train: 0 is below 2"),
        ("distortions: {mix: [{op: mask, fraction: [0.5, 1.2]}]}\n", "distortions.mix.0.fraction.1: 1.2 is above 1"),
        ("distortions: {mix: [{op: noise, sigma: [0.5, 0.2]}]}\n", "[0.5, 0.2] is no range"),
        ("distortions: {mix: [{op: blur, kernel: 22, sigma: [1, 1]}]}\n", "22 is even"),
    ],
)
def test_a_mistake_in_a_study_is_one_line_with_file_and_key(study_of, text, message):
    with pytest.raises(UserError, match="mine.yaml") as error:
        study_of(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_in_a_parent_names_the_parent(study_of):
    with pytest.raises(UserError, match="above.yaml: distill.lr"):
        study_of("distill: {lr: 0}\n", name="above")
    with pytest.raises(UserError, match="above.yaml: distill.lr"):
        study_of("distill: {epochs: 3}\n", parent="above")


def test_an_unknown_study_names_the_nearest(study_of):
    with pytest.raises(UserError, match="config.yaml: study: there is no study 'dmeo'; did you mean 'demo'"):
        papers.study("dmeo")
    with pytest.raises(UserError, match="mine.yaml: inherits: there is no study 'papr'; did you mean 'paper'"):
        study_of("", parent="papr")


def test_a_study_that_inherits_in_a_circle_or_from_nothing_is_refused(study_of):
    with pytest.raises(UserError, match="'mine' inherits from itself"):
        study_of("", parent="mine")
    with pytest.raises(UserError, match="a study of your own inherits from one of a paper's"):
        study_of("seed: 1\n", name="alone", parent=None)


@pytest.mark.parametrize(
    ("study", "encoder", "seeds"),
    [("demo-seeds", "student-rm90", (1, 2, 3)), ("simclr-demo-seeds", "contrastive", (1, 2, 3))],
)
def test_heads_are_fitted_with_the_seed_of_their_encoder_s_training(study, encoder, seeds):
    """So that a spread over trainings is one over labels, too."""
    named = papers.study(study)
    assert named.settings.training_seeds == list(seeds)
    data = "imagenet100" if "student" in encoder else "cifar10"
    for suffix, seed in zip(("", "-seed2", "-seed3"), seeds, strict=True):
        assert plan.recipe_of(f"heads/{encoder}{suffix}/{data}", named).seed == seed
