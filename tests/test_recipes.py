import json

import pytest
import yaml

from contrastive_inversion.base import studies
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan

STUDENT = "encoders/student-rm90"


@pytest.fixture
def study_file(tmp_path, monkeypatch):
    """A function that writes a study into a folder of its own and gives the recipe of a product in it."""
    (tmp_path / "schemas").symlink_to(studies.WORKFLOW / "schemas")
    (tmp_path / "studies").mkdir()
    for name in ("paper", "demo"):
        text = (studies.WORKFLOW / "studies" / f"{name}.yaml").read_text()
        (tmp_path / "studies" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(studies, "WORKFLOW", tmp_path)

    def write(text, product=STUDENT):
        (tmp_path / "studies" / "mine.yaml").write_text("inherits: demo\n" + text)
        for cached in (studies.load, plan.recipe, plan.study_quantities):
            cached.cache_clear()
        return plan.recipe(product, "mine")

    yield write
    for cached in (studies.load, plan.recipe, plan.study_quantities):
        cached.cache_clear()


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
def test_formatting_order_and_unrelated_keys_leave_a_training_alone(study_file, text):
    assert study_file(text) == study_file("")


@pytest.mark.parametrize(
    "text",
    [
        "seed: 2\n",
        "distill: {lr: 0.02}\n",
        "distill: {epochs: 18}\n",
        "distill: {batch: 64}\n",
        "distill: {weight_decay: 0.1}\n",
        "distill: {temperature: 0.2}\n",
        "losses: {st: ss}\n",
        "image_size: 32\n",
        "flip: 0.5\n",
        "teacher: {epochs: 9}\n",
        "networks: {student: {mean: [0, 0, 0]}}\n",
    ],
)
def test_every_value_that_matters_changes_a_training(study_file, text):
    assert study_file(text) != study_file("")


def test_a_change_of_data_reaches_everything_downstream(study_file):
    data = yaml.safe_load((studies.WORKFLOW / "studies" / "demo.yaml").read_text())["data"]
    data["imagenet100"]["train"] = 24
    text = yaml.safe_dump({"data": data}, allow_unicode=True)
    for product in ("images/imagenet100", STUDENT, "heads/student-rm90/imagenet100"):
        assert study_file(text, product) != study_file("", product)
    assert study_file(text, "images/cifar10") == study_file("", "images/cifar10")


def test_recipes_are_canonical_json():
    text = plan.recipe(STUDENT, "demo")
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text
    assert plan.canonical({"b": 1.0, "a": [2.50, {"weight_decay": 0.0}]}) == '{"a":[2.5,{}],"b":1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distil: {lr: 1}\n", "top level: unknown key 'distil'; did you mean 'distill'?"),
        ("distill: {learning_rate: 1}\n", "distill: unknown key 'learning_rate'"),
        ("distill: {epochs: many}\n", "distill.epochs: 'many' is not of type integer"),
        ("distill: {lr: -1}\n", "distill.lr: -1 is not above 0"),
        ("seed: [\n", "not valid YAML"),
        ("crop: square\n", "crop: 'square' is not one of resized, random"),
    ],
)
def test_a_mistake_in_a_study_is_one_line_with_file_and_key(study_file, text, message):
    with pytest.raises(UserError, match="mine.yaml") as error:
        study_file(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_study_names_the_nearest():
    with pytest.raises(UserError, match="there is no study 'dmeo'; did you mean 'demo'"):
        studies.load("dmeo")
