"""Measurements of a study: what is asked for, from which products, and what of a file is believed."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan, quantities
from contrastive_inversion.ledger.estimates import over_trainings
from contrastive_inversion.ledger.measurements import Measurements, check, content_hash, estimate
from contrastive_inversion.ledger.quantities import Head, Probe, parse
from contrastive_inversion.ledger.study import StudyFile, differences, flattened, merged, says, speaker
from ledgers import measure, study_but

DEMO = papers.study("demo")
STUDENT = parse("student-rm50to95 | probe 100% | covid | rm50to95 | auc")
TEACHER = parse("teacher | probe 100% on clean | imagenet100 | clean | top1")
PATH = "measurements/student-rm50to95/covid.json"


# --- quantities and what they stand for -----------------------------------------------------------------------------


def test_a_quantity_is_read_and_written():
    assert str(parse("a|b | c|d|  e")) == "a | b | c | d | e"
    for text in ("a | b | c | d", "a | b | c | d | e | f"):
        with pytest.raises(UserError, match=re.escape(f"quantity '{text}': expected encoder | head")):
            parse(text)


@pytest.mark.parametrize(
    ("encoder", "head", "probe"),
    [
        ("student-rm90", "own", None),
        ("student-rm90", "probe 10%", Probe("student-rm90", "10", "rm90")),
        ("student-ss-rm50to95-seed3", "probe 0.5%", Probe("student-ss-rm50to95-seed3", "0.5", "rm50to95")),
        ("student-rm90", "probe 100% on clean", Probe("student-rm90", "100", "clean")),
        ("student-rm90", "teacher probe 100% on clean", Probe("teacher", "100", "clean")),
        ("teacher", "student-rm90 probe 10%", Probe("student-rm90", "10", "rm90")),
    ],
)
def test_a_head_names_a_probe(encoder, head, probe):
    quantity = replace(STUDENT, encoder=encoder, head=head)
    assert quantities.probe_of(quantity, DEMO.paper) == probe
    assert probe is None or probe.key == f"probe {probe.fraction}% on {probe.distortion}"


@pytest.mark.parametrize("head", ["probe", "probe 10", "probe ten%", "probe 10% under clean", "a probe", "own probe"])
def test_what_is_no_head_is_refused(head):
    with pytest.raises(UserError, match=f"unknown head '{head}'; known: own, probe F%"):
        quantities.probe_of(replace(STUDENT, head=head), DEMO.paper)


def test_heads_are_listed_once_by_their_texts():
    heads = ("probe 10%", "own", "teacher probe 100% on clean", "probe 10%")
    listed = quantities.heads_of([replace(STUDENT, head=head) for head in heads], DEMO.paper)
    assert listed == [
        Head(head="own"),
        Head(head="probe 10%", encoder="student-rm50to95", key="probe 10% on rm50to95"),
        Head(head="teacher probe 100% on clean", encoder="teacher", key="probe 100% on clean"),
    ]


@pytest.mark.parametrize("text", ["contrastiv | own", "supervised | contrastiv probe 100% on clean"])
def test_an_unknown_encoder_is_told_whichever_the_paper(text):
    quantity = parse(f"{text} | cifar10 | clean | top1")
    with pytest.raises(UserError, match=f"^here: '{re.escape(str(quantity))}': unknown encoder 'contrastiv'; did you"):
        quantities.check(quantity, papers.study("simclr-demo"), "here")


def test_a_quantity_is_measured_once_for_each_training_seed():
    study = papers.study("demo-seeds")
    assert [q.encoder for q in quantities.trainings(replace(STUDENT, encoder="student-rm90"), study)] == [
        "student-rm90", "student-rm90-seed2", "student-rm90-seed3",
    ]  # fmt: skip
    assert quantities.trainings(TEACHER, study) == [TEACHER]
    assert quantities.trainings(STUDENT, DEMO) == [STUDENT]
    assert [q.encoder for q in plan.measured(study) if q.encoder.startswith("teacher")] == []
    assert len(plan.measured(study)) == sum(len(quantities.trainings(q, study)) for q in plan.asked(study))


def test_families_and_metrics_by_name():
    paper, robust = DEMO.paper, papers.paper("contrastive_robustness")
    assert paper.family("resnet")[0] is paper.encoders["resnet"] and paper.family("resnet100")[0].retrained
    assert paper.trained_under("baseline100-gb37-seed2") == "gb37" and paper.trained_under("teacher") is None
    assert robust.metric("all@0.25") is robust.metrics["all"] and robust.metric("median").label == "Median distance"
    for name in ("all", "all@", "all@x", "all@1."):
        with pytest.raises(UserError, match=f"metric 'all' takes a value, as in 'all@0.5': '{name}'"):
            robust.metric(name)
    for name, said in [("median@1", "metric 'median' takes no value"), ("medan", "unknown metric 'medan'; did you")]:
        with pytest.raises(UserError, match=said):
            robust.metric(name)
    assert paper.kind_of(plan.recipe_of("encoders/student-rm90", DEMO)) == "distill"
    assert paper.printed == paper.folder / "printed"
    assert paper.products["measurements"].names == ["encoder", "data"] and paper.products["encoders"].names == [
        "encoder"
    ]


# --- the plan -------------------------------------------------------------------------------------------------------


def test_a_study_asks_for_its_tables_figures_and_also_each_once():
    study = study_but("demo", tables=[6], figures=[], also=[str(TEACHER), str(STUDENT)])
    assert [q.metric for q in plan.of_table(6, study)] == ["auc"] * 4
    assert plan.asked(study) == [*plan.of_table(6, study), TEACHER]
    assert plan.measured_of("teacher", "imagenet100", study) == [TEACHER]
    assert plan.measurement_of(STUDENT, study) + ".json" == PATH
    families = ("baseline-rm50to95", "student-rm50to95", "baseline-gn10to30", "student-gn10to30")
    of_table = [f"measurements/{encoder}/covid" for encoder in families]
    assert plan.measurements(study) == [*of_table, "measurements/teacher/imagenet100"]
    assert plan.behind_targets(["table_6"], study) == plan.behind_table(6, study) == of_table
    assert plan.behind_targets([], study) == plan.measurements(study)
    assert plan.behind_targets(iter(["table_6"]), study) == of_table
    with pytest.raises(UserError, match="study demo: nothing is measured of 'teacher' on 'covid'"):
        plan.measured_of("teacher", "covid", study)
    with pytest.raises(UserError, match="study demo has no target 'table_5'; did you mean 'table_6'"):
        plan.behind_targets(["table_6", "table_5"], study)


def test_a_figure_asks_for_its_curves_and_a_gallery_for_itself():
    wanted = plan.of_figure(3, DEMO)
    assert len(wanted) == len(set(wanted)) == 2 * 7  # a curve without {x} is one quantity
    assert {q.metric for q in wanted} == {"top1"} and {q.metric for q in plan.of_figure(7, DEMO)} == {"top5"}
    assert plan.of_figure(11, DEMO) == [] and plan.behind_figure(11, DEMO) == ["galleries/figure_11"]
    assert plan.behind_figure(3, DEMO) == [
        f"measurements/{encoder}/imagenet100"
        for encoder in ("student-rm90", "baseline-rm90", "student-gn50", "baseline-gn50")
    ]
    assert plan.behind_targets(["figure_11", "figure_3"], DEMO) == ["galleries/figure_11", *plan.behind_figure(3, DEMO)]
    assert {"galleries/figure_1", "galleries/figure_11"} < set(plan.behind_targets([], DEMO))


def test_all_training_seeds_stand_behind_a_table():
    study = papers.study("demo-seeds")
    behind = plan.behind_table(1, study)
    assert len(behind) == 3 * 16 and "measurements/student-rm50-seed3/imagenet100" in behind
    also = plan.behind(map(parse, study.settings.also), study)
    assert set(plan.measurements(study)) == {p for n in (1, 4, 11) for p in plan.behind_table(n, study)} | set(also)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"also": ["studnet-rm90 | own | covid | rm90 | top1"]}, "demo.yaml: also: 'studnet-rm90 | own"),
        ({"data": {"covid": None}}, "inverse_problems/printed/tables.csv, table 2"),
        (
            {"tables": [], "figures": [9], "data": {"label_shift": None}},
            "inverse_problems/printed/figures.yaml, figure 9",
        ),
    ],
)
def test_a_quantity_that_cannot_be_measured_is_named_with_its_place(said, place):
    content = merged(DEMO.said, {"tables": [2], "figures": [], "also": []} | said) | {"stand_ins": {}}
    content["data"] = {name: data for name, data in content["data"].items() if data}
    study = replace(DEMO, settings=DEMO.paper.settings.model_validate(content), said=content)
    with pytest.raises(UserError, match=re.escape(place)):
        plan.asked(study)


def test_products_come_with_all_that_they_are_made_from():
    recipes = plan.with_inputs(["encoders/student-rm90"], DEMO)
    assert list(recipes) == ["encoders/student-rm90", "images/imagenet100", "encoders/teacher", "images/captions"]
    assert plan.inputs("encoders/student-rm90", DEMO) == ["images/imagenet100", "encoders/teacher"]
    assert recipes["encoders/teacher"] == plan.recipe_of("encoders/teacher", DEMO)
    text = json.loads(plan.recipe("encoders/student-rm90", DEMO))
    assert (text["kind"], text["version"]) == ("distill", DEMO.paper.jobs["distill"].version)
    for product in ("encoders", "encoders/teacher/x", "heads/teacher", "pictures/x"):
        with pytest.raises(
            UserError, match=f"'{product}' is no product; known: images/{{data}}, encoders/{{encoder}}, "
        ):
            plan.recipe_of(product, DEMO)


def test_a_recipe_without_its_kind_is_refused_and_one_without_its_version_is_read():
    with pytest.raises(UserError, match="a recipe of kind 'None', which inverse_problems does not have"):
        plan.read("{}", DEMO.paper)
    content = json.loads(plan.recipe("encoders/student-rm90", DEMO))
    del content["version"]
    assert plan.read(json.dumps(content), DEMO.paper)[1] == plan.recipe_of("encoders/student-rm90", DEMO)


def test_only_measurements_are_transcribed_and_only_where_nothing_is_measured():
    published = papers.study("published")
    assert json.loads(plan.recipe("measurements/teacher/imagenet100", published))["kind"] == "transcribe"
    assert json.loads(plan.recipe("measurements/teacher/imagenet100", DEMO))["kind"] == "measure"
    assert json.loads(plan.recipe("encoders/teacher", published))["kind"] == "weights"


def split(product, study):
    return json.loads(plan.recipe(product, study)).get("split")


def test_a_study_measures_on_the_split_that_it_names():
    """Where a data set has no validation split, as those of transfer, its test split is measured."""
    tuned = study_but("demo", evaluate={"split": "validation"})
    ours = ("measurements/student-rm90/imagenet100", "denoised/imagenet100/gn10/0", "galleries/figure_11")
    for product in ours:
        assert (split(product, DEMO), split(product, tuned)) == ("test", "validation")
    assert split("measurements/student-rm50to95/covid", tuned) == "test"
    robust = "measurements/supervised/cifar10"
    assert split(robust, papers.study("simclr-demo")) == "test"
    for validation, expected in ((None, "test"), (20, "validation")):
        data = {"cifar10": papers.study("simclr-demo").said["data"]["cifar10"] | {"validation": validation}}
        assert split(robust, study_but("simclr-demo", evaluate={"split": "validation"}, data=data)) == expected


# --- estimates from files -------------------------------------------------------------------------------------------


def test_a_row_becomes_an_estimate(tmp_path):
    row = {"over": "instantiations", "values": [1.0, 3.0], "images": 7}
    found = estimate(row, tmp_path)
    assert (found.mean, found.se, found.n, found.images, found.origin) == (2, 1, 2, 7, str(tmp_path))
    assert type(found.mean) is type(found.se) is float
    assert estimate(row | {"over": "severities"}, tmp_path).se is None  # severities are no repetitions
    own = estimate(row | {"se": 0.5}, tmp_path)  # a row's own, as of resampled images
    assert (own.se, own.n) == (0.5, row["images"])
    assert estimate(row | {"values": [1.0]}, tmp_path).se is None
    published = estimate({"mean": 5.0, "se": 0.2, "n": 10, "origin": "print"}, tmp_path)
    assert (published.mean, published.se, published.n, published.origin) == (5, 0.2, 10, "print")
    assert published.images is None
    bare = estimate({"mean": 5.0, "origin": "print"}, tmp_path)
    assert (bare.se, bare.n) == (None, 1)
    for censored in (row, {"mean": 5.0, "origin": "print"}):
        assert estimate(censored | {"censored": True}, tmp_path).censored and not estimate(censored, tmp_path).censored
    assert over_trainings([own, replace(own, censored=True)]).censored and not over_trainings([own, own]).censored


@pytest.mark.parametrize("values", [[], [None], ["1"], [math.nan], [1.0, math.inf]])
def test_a_value_that_is_no_finite_number_is_refused(tmp_path, values):
    row = {"head": "own", "distortion": "rm90", "over": "instantiations", "values": values, "images": 1}
    with pytest.raises(UserError, match="own on rm90: not a finite number; delete it and run again"):
        estimate(row, tmp_path)
    with pytest.raises(UserError, match="not a finite number"):
        estimate({"head": "own", "origin": "print", "mean": values[-1] if values else None}, tmp_path)


def test_a_quantity_is_estimated_over_all_trainings(tmp_path):
    study = study_but("demo", tables=[6], figures=[], also=[], training_seeds=[1, 2, 3])
    values = {"": [0.90, 0.92], "-seed2": [0.93, 0.95], "-seed3": [0.91, 0.95]}
    measure(study, tmp_path, {str(replace(STUDENT, encoder=STUDENT.encoder + s)): v for s, v in values.items()})
    found = Measurements(study, tmp_path).of(STUDENT)
    assert found.mean == pytest.approx((0.91 + 0.94 + 0.93) / 3) and found.trainings == 3
    assert found.se == pytest.approx(math.sqrt(0.01**2 + 0.01**2 + 0.02**2) / 3)
    assert found.origin == str(tmp_path / "demo" / PATH)


@pytest.fixture
def measured(tmp_path):
    study = study_but("demo", tables=[6], figures=[], also=[])
    measure(study, tmp_path, {str(STUDENT): [0.9, 0.92]})
    return Measurements(study, tmp_path)


def test_what_is_measured_is_looked_up(measured):
    assert measured.of(STUDENT).mean == measured.find(STUDENT).mean == pytest.approx(0.91)
    assert measured.find(TEACHER) is None
    assert measured.record(STUDENT)["product"] == "measurements/student-rm50to95/covid"
    with pytest.raises(UserError, match=r"baseline-gn10to30/covid.json: missing; run snakemake to make it"):
        measured.of(replace(STUDENT, encoder="baseline-gn10to30", distortion="gn10to30"))


def test_a_quantity_that_a_file_does_not_hold_is_named(measured):
    top1 = replace(STUDENT, metric="top1")
    with pytest.raises(UserError, match=re.escape(f"{PATH}: holds no '{top1}'; delete it and run again")):
        measured.of(top1)
    study = measured.study
    published = replace(study, settings=study.settings.model_copy(update={"measured": False}))
    rows = measured.content("measurements/student-rm50to95/covid")
    blank = Measurements(published, measured.root.parent)
    blank.contents["measurements/student-rm50to95/covid"] = rows
    assert blank.of(top1) is None and blank.of(STUDENT) is not None


def test_a_quantity_of_which_one_training_is_missing_has_no_value(measured):
    study = measured.study
    settings = study.settings.model_copy(update={"measured": False, "training_seeds": [1, 2]})
    blank = Measurements(replace(study, settings=settings), measured.root.parent)
    blank.contents["measurements/student-rm50to95/covid"] = measured.content("measurements/student-rm50to95/covid")
    blank.contents["measurements/student-rm50to95-seed2/covid"] = {}, {}
    assert blank.of(STUDENT) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["rows"][0].update(values=[0.9, 0.93]), "altered since it was measured"),
        (lambda c: c["record"].update(seconds=2.0), "altered since it was measured"),
        (lambda c: c["record"].update(content_hash="0"), "altered since it was measured"),
        (lambda c: c["record"].pop("content_hash"), r"not a measurement file \(record.content_hash: missing\)"),
        (lambda c: c["record"].update(recipe_hash="0" * 64), "made by recipe 000000000000, but the study asks for"),
        (lambda c: c["rows"][0].update(values=[math.nan]), r"not a measurement file \(rows.0.values.0: .* finite"),
        (lambda c: c["rows"][0].update(note=math.nan), "holds a value that is not a finite number"),
        (lambda c: c.pop("rows"), "not a measurement file (.*); delete it and run again"),
        (lambda c: c.pop("record"), "not a measurement file (.*); delete it and run again"),
        (lambda c: forged(c, c["record"].pop("product")), "not a measurement file (.*); delete it and run again"),
        (lambda c: forged(c, c["rows"][0].pop("head")), "not a measurement file (.*); delete it and run again"),
        (lambda c: forged(c, c["rows"].append("a row")), "not a measurement file (.*); delete it and run again"),
    ],
)
def test_a_file_that_is_not_what_was_measured_is_refused(measured, change, message):
    path = measured.root / PATH
    content = files.read_json(path)
    recipe_hash = content["record"]["recipe_hash"]
    check(content, path, recipe_hash)
    change(content)
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: {message}"):
        check(content, path, recipe_hash)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{re.escape(str(path))}: {message}"):
        Measurements(measured.study, measured.root.parent).of(STUDENT)
    with pytest.raises(UserError, match="not a measurement file"):
        check([1], path, recipe_hash)


def forged(content, change):
    """A file that carries the hash of what it says."""
    content["record"]["content_hash"] = content_hash(content["rows"], content["record"])


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"values": 3}, "rows.0.values: 3 is not of type list"),
        ({"values": []}, "rows.0.values: List should have at least 1 item"),
        ({"values": [True]}, "rows.0.values.0: True is not of type number"),
        ({"values": [10**400]}, "rows.0.values.0: 1000000"),
        ({"values": [1e300]}, r"rows.0.values.0: 1e\+300 is above 1e\+09"),
        ({"se": "x"}, "rows.0.se: 'x' is not of type number"),
        ({"se": -1}, "rows.0.se: -1 is below 0"),
        ({"head": [1]}, "rows.0.head: .1. is not of type string"),
        ({"images": "x"}, "rows.0.images: 'x' is not of type integer"),
        ({"over": None}, "rows.0.over: None is not of type string"),
        ({"censored": "no"}, "rows.0.censored: 'no' is not of type boolean"),
        ({"mean": 1}, "rows.0.origin: missing"),
        ({"mean": 1, "origin": "print", "n": "x"}, "rows.0.n: 'x' is not of type integer"),
    ],
)
def test_a_row_that_is_none_is_named_although_the_hash_is_right(measured, said, problem):
    content = files.read_json(measured.root / PATH)
    forged(content, content["rows"][0].update(said))
    (measured.root / PATH).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"not a measurement file \({problem}.*\); delete it and run again"):
        Measurements(measured.study, measured.root.parent).of(STUDENT)


def test_the_content_hash_is_over_all_but_itself():
    rows, record = [{"a": 1}], {"b": 2, "content_hash": "x"}
    assert content_hash(rows, record) == digest('{"record":{"b":2},"rows":[{"a":1}]}')


# --- studies' files -------------------------------------------------------------------------------------------------


def test_settings_merge_but_a_data_set_is_replaced_as_a_whole():
    parent = {"a": {"b": 1, "c": {"d": 2}}, "e": [1], "data": {"x": {"p": 1, "q": 2}, "y": {"p": 3}}}
    child = {"a": {"c": {"f": 3}}, "e": [2], "g": 4, "data": {"x": {"p": 5}}}
    assert merged(parent, child) == {
        "a": {"b": 1, "c": {"d": 2, "f": 3}}, "e": [2], "g": 4, "data": {"x": {"p": 5}, "y": {"p": 3}},
    }  # fmt: skip
    assert merged({"a": {"b": 1}}, {"a": None}) == {"a": None} and merged({"a": 1}, {"a": {"b": 1}}) == {"a": {"b": 1}}
    assert parent["a"]["c"] == {"d": 2}


def test_a_file_says_what_stands_in_it():
    said = {"a": {"b": {"c": 1}, "d": [{"e": 1}]}}
    assert says(said, ["a", "b", "c"]) and says(said, ["a", "d", "0", "e"]) and says(said, ["a", "b"])
    assert not says(said, ["a", "c"]) and not says(said, ["a", "b", "c", "x"]) and not says({}, ["a"])


def test_a_data_set_is_said_by_one_file_as_a_whole():
    child = StudyFile(Path("child.yaml"), {"data": {"a": {"train": 1}}, "distill": {"lr": 1}})
    parent = StudyFile(Path("parent.yaml"), {"data": {"a": {"source": "x"}, "b": {}}, "distill": {"epochs": 2}})
    said = {
        "data.a.source": child,
        "data.b.train": parent,
        "distill.lr": child,
        "distill.epochs": parent,
        "seed": child,
    }
    assert {key: speaker(key, [child, parent]) for key in said} == said


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("student-rm90 | beside nobody | imagenet100 | rm90 | cosine", "unknown encoder 'nobody'"),
        (
            "student-rm90 | beside teacher | imagenet100 | rm90 | top1",
            "'beside teacher' is not what 'top1' is measured of",
        ),
        (
            "baseline-rm50 | beside teacher | imagenet100 | rm50 | cosine",
            "'baseline-rm50' and 'teacher' are two networks",
        ),
        ("student-rm90 | probe 10% | imagenet100 | rm90 | cosine", "'probe 10%' is not what 'cosine' is measured of"),
        ("student-rm50 | beside teacher | imagenet100 | dd-rm50 | cosine", "on images that are not restored"),
        ("student-rm50 | beside teacher | imagenet100c | snow | cosine", "where the distortion is drawn here"),
    ],
)
def test_representations_are_compared_with_an_encoder_s_by_their_own_metric(quantity, message):
    with pytest.raises(UserError, match=f"also: '.*': {message}|also: '.*'.*{message}"):
        plan.asked(study_but("paper", also=[quantity]))


def test_what_is_compared_with_an_encoder_waits_for_it_and_for_no_head():
    study = study_but(
        "paper", tables=[], figures=[], also=["student-rm90 | beside teacher | imagenet100 | rm90 | cosine"]
    )
    assert plan.inputs("measurements/student-rm90/imagenet100", study) == [
        "encoders/student-rm90", "images/imagenet100", "encoders/teacher",
    ]  # fmt: skip


def test_studies_differ_in_dotted_keys():
    assert flattened({"a": {"b": 1, "c": {"d": 2}}, "e": {}, "f": [1]}) == {"a.b": 1, "a.c.d": 2, "e": {}, "f": [1]}
    paper = papers.study("paper")
    study = study_but("paper", distill={"lr": 2e-4, "flip": 0.5}, description="Other words.", also=["x"])
    lr = paper.said["distill"]["lr"]
    assert differences(study, paper) == [
        ("distill.lr", 2e-4, lr),
        ("distill.flip", 0.5, None),
        ("also", ["x"], paper.said["also"]),
    ]
    assert ("distill.flip", None, 0.5) in differences(paper, study)
    assert differences(paper, paper) == []


def test_a_study_is_a_mapping_and_studies_are_listed_in_order(study_of):
    with pytest.raises(UserError, match=r"mine.yaml: a study is a mapping of keys to values"):
        study_of("- 1\n", parent=None)
    study_of("", name="a-first")
    listed = papers.study_names()
    assert listed == sorted(listed) and {"a-first", "demo", "mine", "simclr"} < set(listed)
