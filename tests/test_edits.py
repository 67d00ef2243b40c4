"""The table of edits: after each, exactly the jobs that it touches are asked for, and no other.

The study is finished once, without its computing. What decides is called in this process; that Snakemake shows the same
is tested with real dry runs of a few. docs/reliability.md has the table.
"""

import dataclasses
import fnmatch
import functools
import json
import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

import flow
from contrastive_inversion import papers
from contrastive_inversion.base import files, fingerprint
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import accepted, layouts, plan
from contrastive_inversion.run import fresh, jobs, origins, rendered, verify
from contrastive_inversion.run.cli import main
from finished import Sources, asked, copied, finish, forget, make, products_of, targets_of
from flow import REPOSITORY

LEDGER = "papers/inverse_problems/printed/"
NUMBERS = ["table_[146789]", "table_14", "cells", "claims", "report"]  # what shows measurements
READ = [*NUMBERS, "figure_1", "figure_3"]
STUDENTS = ["encoders/student-*", "heads/student-*", "measurements/student-*", "galleries/figure_1", *READ]
EVERYTHING = ["encoders/*", "heads/*", "measurements/*", "galleries/*", "inpainted/*", "images/*"]


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch
    forget()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, patch):
    """A folder with a finished smoke study, made from a copy of the package's text."""
    folder = tmp_path_factory.mktemp("finished")
    finish(papers.study("smoke"), folder / "results", patch)
    return folder


@pytest.fixture(scope="module")
def package(finished, patch):
    return Sources(finished / "package", patch)


@pytest.fixture
def sources(package):
    yield package
    package.restore()


@pytest.fixture
def smoke(study_of):
    """A function that gives the smoke study with some texts of its file replaced or added."""
    text = (papers.HERE / "inverse_problems/studies/smoke.yaml").read_text(encoding="utf-8")

    def edited(old="", new=""):
        assert not old or old in text, old
        forget()
        return study_of(text.replace(old, new) if old else text + new, name="smoke", parent=None)

    return edited


def among(patterns, study):
    """The names of a study's jobs that some patterns match."""
    known = [*products_of(study), *targets_of(study, Path("results"))]
    for pattern in patterns:
        assert fnmatch.filter(known, pattern), f"{pattern} matches no job"
    return {name for name in known for pattern in patterns if fnmatch.fnmatch(name, pattern)}


def downstream(products, study):
    """Some products and all that is made from them, and what people read of these."""
    found = set(products)
    for product in products_of(study):
        if found & set(plan.inputs(product, study)):
            found.add(product)
    targets = targets_of(study, Path("results"))
    read = {name for name, target in targets.items() if found & set(target.products)}
    return found | read | ({"report"} if read else set())


VERDICTS = ["cells", "claims", "report"]
BASELINES = [
    "encoders/baseline-*", "heads/baseline-*", "measurements/baseline-*", "galleries/figure_1",
    "table_[146]", "table_14", "figure_1", "figure_3", *VERDICTS,
]  # fmt: skip
LOOP = ["encoders/*"]  # what the training loop makes; heads have one of their own
RENDERED = ["table_*", "figure_*", *VERDICTS]

# what it is: text of the study's file, what it becomes, the jobs
STUDY_EDITS = {
    "a comment, a blank": ("", "\n# a comment\n\n", []),
    "other spelling": ("distill: {epochs: 2, batch: 32}", "distill:\n  batch: 32\n  epochs:   2", []),
    "description": ("for an epoch or two", "for a moment", ["report"]),
    "picture_threads": ("", "picture_threads: 3\n", ["report"]),
    "training_spread": ("", "training_spread: {top1: 0.77}\n", VERDICTS),
    "comparable": ("", "comparable: true\n", ["table_*", "cells", "report"]),
    "fewer figures": ("figures: [1, 3, 11]", "figures: [1, 3]", ["report"]),
    "distill.epochs": ("distill: {epochs: 2", "distill: {epochs: 3", STUDENTS),
    "finetune.epochs": ("finetune: {epochs: 2", "finetune: {epochs: 3", BASELINES),
    "teacher.epochs": (
        "teacher: {epochs: 2", "teacher: {epochs: 3", [*STUDENTS, "encoders/teacher", "heads/teacher/imagenet100"],
    ),
    "resnet.epochs": (
        "resnet: {epochs: 2", "resnet: {epochs: 3",
        [*BASELINES, "encoders/resnet", "heads/resnet/*", "measurements/resnet/*", "table_8"],
    ),
    "probe.full": (
        "full: {epochs: 3", "full: {epochs: 4",
        ["heads/*", "measurements/student-*", "measurements/resnet/*", "measurements/baseline-*/covid",
         "galleries/figure_1", *READ],
    ),
    "evaluate.instantiations": ("instantiations: 3", "instantiations: 4", ["measurements/*", *NUMBERS, "figure_3"]),
    "deep_decoder.steps": (
        "steps: 3", "steps: 4", ["inpainted/*", "measurements/resnet/*", "table_8", *VERDICTS],
    ),
    "gallery.images": (
        "gallery: {images: 3}", "gallery: {images: 4}", ["galleries/*", "figure_1", "figure_11", "report"],
    ),
    "X-rays": (
        "train: 40, test: 40", "train: 42, test: 40",
        ["images/covid", "heads/*/covid", "measurements/*/covid", "table_6", *VERDICTS],
    ),
    "tests of ImageNet-C": (
        "images_per_class: 1", "images_per_class: 2",
        ["images/imagenet100c", "measurements/*/imagenet100c", "table_14", *VERDICTS],
    ),
    "stand_ins": ("", "stand_ins: {covid: scans}\n", ["table_6", "report"]),
    "seed": ("", "seed: 7\ntraining_seeds: [7]\n", [*EVERYTHING, *READ, "figure_11"]),
}  # fmt: skip

# what it is: the file of the ledger, its text, what it becomes, the jobs
LEDGER_EDITS = {
    "a printed value": ("tables.csv", ",Ours,85.87,0.08", ",Ours,85.86,0.08", ["table_1", "cells", "report"]),
    "a printed error": ("tables.csv", ",Ours,85.87,0.08", ",Ours,85.87,0.09", ["table_1", "cells", "report"]),
    "a title of a table": ("tables.yaml", "Area under the ROC curve", "AUC", ["table_6", "report"]),
    "a table that is not judged": (
        "tables.yaml", "\n6:\n", "\n6:\n  comparable: false\n", ["table_6", "cells", "report"],
    ),
    "a note that applies": ("tables.yaml", "{covid: coronahack}", "{covid: photographs}", ["table_6", "report"]),
    "a title of a table that is not shown": ("tables.yaml", "\n2:\n  title: Top-1", "\n2:\n  title: Best", ["report"]),
    "a title of a figure": (
        "figures.yaml", "3: {title: Top-1 accuracy by", "3: {title: Accuracy by", ["figure_3", "report"],
    ),
    "a title of a curve": ("figures.yaml", "title: Gaussian noise σ = 0.5", "title: Noise", ["figure_3", "report"]),
    "a claim's words": ("claims.yaml", "id: higher-accuracy", "id: accuracy", ["claims", "report"]),
    "a raw result behind a dashed curve": ("authors_raw_results.csv", "", "", ["figure_3", "report"]),
    "a comment in a ledger": ("tables.yaml", "# How the printed", "# Now the printed", []),
    "the ledger's README": ("README.md", "", "\nMore words.\n", []),
}  # fmt: skip

CHECKPOINT = 'return content["epoch"], content["history"]'
# what it is: the file, its text (none: at the end), what it becomes, changed products, what is drawn again
CODE_EDITS = {
    "masks inverted": (
        "distort/operators.py", "return (rank > threshold)", "return (rank <= threshold)",
        ["encoders/[sbr]*", "heads/*", "measurements/*", "inpainted/*", "galleries/*"], [],
    ),
    "learning rate halved": (
        "learn/schedules.py", "return settings.lr * COURSES", "return settings.lr / 2 * COURSES",
        [*LOOP, "heads/*"], [],
    ),
    "top-k off by one": ("learn/metrics.py", "logits.topk(k,", "logits.topk(k + 1,", ["measurements/*"], []),
    "another area": ("learn/metrics.py", "labels == 0, logits", "labels == 1, logits", ["measurements/*"], []),
    "the order of pictures": ("learn/loop.py", '"order", epoch)', '"order", 0)', LOOP, []),
    "the optimiser's betas": ("learn/loop.py", "fused=True)", "fused=True, betas=(0.5, 0.9))", LOOP, []),
    "TF32 allowed": ("run/jobs.py", "allow_tf32 = False", "allow_tf32 = True", EVERYTHING, []),
    "attention of another order": ("run/jobs.py", "enable_flash_sdp(False)", "enable_flash_sdp(True)", EVERYTHING, []),
    "a default that no recipe holds": (
        "learn/settings.py", "warmup: Share = Field(0,", "warmup: Share = Field(0.1,", [*LOOP, "heads/*"], [],
    ),
    "a generator's constant": ("base/rng.py", "", "\nROUNDS = 9\n", EVERYTHING, []),
    "characters": ("data/characters.py", "", "\n\nclasses = list\n", ["images/*"], ["table_3", "report"]),
    "how a training resumes": (
        "learn/checkpoints.py", CHECKPOINT, CHECKPOINT.replace("]", "] + 1", 1), [*LOOP, "heads/*"], [],
    ),
    "Deep Decoder": ("distort/restoration.py", "", "\n\ndeep_decoder = None\n", ["inpainted/*"], []),
    "the students' loss": (
        "papers/inverse_problems/students.py", "criterion(embedded, target,", "criterion(target, embedded,",
        ["encoders/student-*"], [],
    ),
    "the teacher's training": (
        "papers/inverse_problems/clip_training.py", "", "\n\ntrain = None\n", ["encoders/teacher"], [],
    ),
    "galleries": ("papers/inverse_problems/samples.py", "", "\n\nmake = None\n", ["galleries/*"], []),
    "error bands doubled": ("show/figures.py", "m + sign * e", "m + 2 * sign * e", [], ["figure_*", "report"]),
    "rounding": ("show/tables.py", "(-decimals), ROUND_HALF_UP)", "(-decimals))", [], ["table_*", "report"]),
    "the page's template": ("show/page.html.j2", "<h2>Claims</h2>", "<h2>All claims</h2>", [], ["report"]),
    "the level of claims": ("ledger/claims.py", "", "\nLEVEL = 0.01\n", [], ["claims", "report"]),
    "the level of verdicts": ("ledger/verdicts.py", "", "\nFALSE_ALARM_RATE = 0.1\n", [], ["cells", "report"]),
    "ddof": ("ledger/estimates.py", "(values, ddof=1)", "(values, ddof=0)", [], RENDERED),
    "spreads": ("ledger/spreads.py", "STEPS = 16", "STEPS = 8", [], VERDICTS),
    "Table 3": ("papers/inverse_problems/tables.py", '"Code point",', '"Code",', [], ["table_3", "report"]),
    "a comment": ("learn/loop.py", "", "\n# a comment\n", [], []),
    "a docstring": ("learn/loop.py", "One step of a training:", "A step:", [], []),
    "a type hint": ("learn/metrics.py", "k: int) -> float:", "k: object) -> object:", [], []),
    "line breaks": ("learn/metrics.py", "min(k, logits.shape[1])", "min(\n  k,\n  logits.shape[1])", [], []),
    "the words of an error": ("learn/loop.py", "lower the learning rate in the study file", "try again", [], []),
    "the words of a setting": ("learn/settings.py", "passes over the training images", "epochs", [], []),
    "a helper that nothing calls": ("learn/loop.py", "", "\n\ndef helper() -> int:\n    return 3\n", [], []),
    "the progress bar": ("base/job.py", "SECONDS_BETWEEN_REPORTS = 2", "SECONDS_BETWEEN_REPORTS = 9", [], []),
    "how files are written": ("base/files.py", "0o644", "0o600", [], []),
    "locks of GPUs": ("base/gpus.py", "", "\nPOLL = 3\n", [], []),
    "the doctor": ("run/doctor.py", "", "\nSLOWER_IN_FP32 = 3\n", [], []),
    "the status": ("show/progress.py", "h {minutes:02d} min", "h, {minutes:02d} min", [], []),
    "another paper": ("papers/contrastive_robustness/classifiers.py", "", "\nWIDTH = 3\n", [], []),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDY_EDITS)
def test_an_edit_of_a_study(finished, package, smoke, name):
    old, new, patterns = STUDY_EDITS[name]
    study = smoke(old, new)
    assert asked(study, finished / "results") == among(patterns, study)


def edit_ledger(sources, name):
    """Carry out an edit of LEDGER_EDITS; one finds its text itself."""
    path, old, new, _ = LEDGER_EDITS[name]
    if name == "a raw result behind a dashed curve":
        lines = (sources.folder / LEDGER / path).read_text(encoding="utf-8").splitlines()
        old = next(line for line in lines if line.startswith("results,rand90_st,fixed_res.out"))
        new = old.replace(",0.", ",0.1", 1)
    sources.edit(LEDGER + path, old, new)


@pytest.mark.parametrize("name", LEDGER_EDITS)
def test_an_edit_of_the_ledger(finished, sources, name):
    edit_ledger(sources, name)
    study = papers.study("smoke")
    assert asked(study, finished / "results") == among(LEDGER_EDITS[name][-1], study)


@pytest.mark.parametrize("name", CODE_EDITS)
def test_an_edit_of_the_code(finished, sources, name):
    """What is rendered is drawn again; products are named, and made again where the user says so."""
    path, old, new, changed, drawn = CODE_EDITS[name]
    sources.edit(path, old, new)
    study, results = papers.study("smoke"), finished / "results"
    assert asked(study, results) == among(drawn, study)
    products = {change.product for change in fresh.Results(study, results).all_changes()}
    assert products == among(changed, study)
    assert asked(study, results, rerun=True) == downstream(products, study) | among(drawn, study)


LIBRARY_EDITS = [
    ("torch", EVERYTHING, []),
    ("scikit-image", [], []),
    ("scikit-learn", ["images/*", "measurements/*"], []),
    ("seaborn", [], []),
    ("snakemake", [], []),
]


@pytest.mark.parametrize(("library", "changed", "drawn"), LIBRARY_EDITS)
def test_another_version_of_a_library(finished, package, monkeypatch, library, changed, drawn):
    version = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: "99" if name == library else version(name))
    forget()
    study, results = papers.study("smoke"), finished / "results"
    assert {change.product for change in fresh.Results(study, results).all_changes()} == among(changed, study)
    assert fresh.Results(study, results, libraries=False).all_changes() == []  # where jobs run with others than these
    assert asked(study, results) == among(drawn, study)
    forget()


ON_GPUS = ["encoders/*", "heads/*", "measurements/*", "inpainted/*"]


def test_every_file_is_opened_once_to_tell_that_nothing_is_to_be_done(finished, package, monkeypatch):
    study, opened = papers.study("smoke"), Counter()

    def counted(read):
        return lambda path, *rest: opened.update([path]) or read(path, *rest)

    for name in ("opened", "read_json"):
        monkeypatch.setattr(files, name, counted(getattr(files, name)))
    assert asked(study, finished / "results") == set()
    products = [finished / "results" / "smoke" / file_of(product) for product in products_of(study)]
    assert len(products) > 70 and {path: opened[path] for path in products} == dict.fromkeys(products, 1)


def test_another_kind_of_device(finished, package, smoke):
    study = smoke("", "gpu: 1\n")
    changes = fresh.Results(study, finished / "results").all_changes()
    assert {change.product for change in changes} == among(ON_GPUS, study)
    assert {(change.before, change.now) for change in changes} == {("cpu", "cuda")}
    said = fresh.stop(
        fresh.Results(study, finished / "results"), {"study": study.name, "results": "a b", "figures": "c"}
    )
    assert "made on a CPU, the study asks for a GPU" in said
    assert f"snakemake --config changed=rerun study={study.name} 'results=a b' figures=c\n" in said
    assert f"contrastive-inversion accept --study {study.name} --results 'a b' --because " in said


def test_code_is_made_of_the_same_words_wherever_it_lies(finished, package):
    """The products were recorded by the package itself, and are compared with the copy."""
    study = papers.study("smoke")
    assert asked(study, finished / "results") == set()
    assert fresh.Results(study, finished / "results").all_changes() == []


@pytest.fixture
def results(finished, package, tmp_path):
    return copied(finished, tmp_path)


FILE_EDITS = {
    "all files touched, newest first": (None, []),
    "a table altered": ("tables/table_1.md", ["table_1"]),
    "verdicts altered": ("cells.csv", ["cells"]),
    "claims deleted": ("-claims.csv", ["claims"]),
    "the page deleted": ("-report.html", ["report"]),
    "a figure altered": ("../../figures/smoke/figure_3.pdf", ["figure_3", "report"]),
    "a picture of a figure deleted": ("-../../figures/smoke/figure_3.png", ["figure_3", "report"]),
    "a note deleted": ("-rendered/table_1.json", ["table_1"]),
    "a note damaged": ("rendered/table_1.json", ["table_1"]),
    "a measurement deleted": (
        "-measurements/student-rm90/imagenet100.json",
        ["measurements/student-rm90/imagenet100", "table_[1489]", "figure_3", *VERDICTS],
    ),
    "a measurement altered": (
        "measurements/student-rm90/imagenet100.json",
        ["measurements/student-rm90/imagenet100", "table_[1489]", "figure_3", *VERDICTS],
    ),
    "an encoder deleted, which nothing asks for": ("-encoders/student-rm90.safetensors", ["report"]),
    "a store deleted, which nothing asks for": ("-images/imagenet100.safetensors", ["report"]),
    "a log altered": ("logs/x.log", []),
}


@pytest.mark.parametrize("name", FILE_EDITS)
def test_a_file_altered_by_hand(results, name):
    path, patterns = FILE_EDITS[name]
    if path is None:
        for number, file in enumerate(sorted(results.rglob("*.*"))):
            os.utime(file, (10**9 - number, 10**9 - number))
    elif path.startswith("-"):
        (results / "smoke" / path[1:]).unlink()
    else:
        file = results / "smoke" / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(file.read_bytes().replace(b"51.0", b"51.5", 1) + b" " if file.exists() else b"")
        if file.suffix == ".json" and file.parent.name == "rendered":
            file.write_text("[]")
    study = papers.study("smoke")
    assert asked(study, results) == among(patterns, study)


@pytest.mark.parametrize("contents", [5, "abc", [1], None, {"measurements/x": 1}])
def test_what_a_damaged_note_is_of_is_drawn_again(results, contents):
    note, study = results / "smoke/rendered/table_1.json", papers.study("smoke")
    note.write_text(json.dumps(files.read_json(note) | {"contents": contents}))
    assert targets_of(study, results)["table_1"].is_out_of_date()


def test_a_product_of_another_recipe_is_made_again_with_all_that_comes_of_it(results):
    """Such as one that was copied from elsewhere; Snakemake's notes know nothing of it."""
    study = papers.study("smoke")
    path = results / "smoke" / file_of("images/covid")
    content, record = files.load(path)
    files.save(path, content, record | {"recipe_hash": "0" * 64})
    assert asked(study, results) == downstream({"images/covid"}, study)


@pytest.mark.parametrize(
    ("forced", "patterns"),
    [
        (["heads"], ["heads/*"]),
        (["restored"], ["measurements/*/*/*"]),
        (["measurements"], ["measurements/*/imagenet100", "measurements/*/imagenet100c", "measurements/*/covid"]),
        (["FILE"], ["encoders/student-rm90"]),
        (["table", "all"], []),
    ],
)
def test_what_is_forced_by_its_rule_or_its_file_takes_along_what_is_made_from_it(results, forced, patterns):
    study = papers.study("smoke")
    files_ = [str(results / "smoke" / file_of("encoders/student-rm90")) if name == "FILE" else name for name in forced]
    assert asked(study, results, forced=files_) == downstream(among(patterns, study), study)


def test_an_input_of_other_content_is_noticed_by_what_was_made_from_it(results, tmp_path):
    study = papers.study("smoke")
    make("encoders/student-rm90", study, results, mark=1.0)
    expected = downstream({p for p in products_of(study) if "encoders/student-rm90" in plan.inputs(p, study)}, study)
    assert asked(study, results) == expected
    with pytest.raises(UserError, match="heads/student-rm90/imagenet100.safetensors: made from another encoders/stud"):
        verify.verify(study, results, tmp_path / "figures")


def test_a_damaged_product_is_made_again(results):
    study = papers.study("smoke")
    path = results / "smoke" / file_of("heads/student-rm90/imagenet100")
    path.write_bytes(path.read_bytes()[:100])
    assert asked(study, results) == downstream({"heads/student-rm90/imagenet100"}, study)


def test_a_turned_bit_of_a_product_is_no_sound_chain(results, tmp_path):
    path = results / "smoke" / file_of("encoders/student-rm90")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="encoders/student-rm90.safetensors: damaged or incomplete"):
        verify.verify(papers.study("smoke"), results, tmp_path / "figures")


def test_a_damaged_encoder_that_the_page_lists_redraws_it(results):
    (results / "smoke" / file_of("encoders/student-rm90")).write_bytes(b"x" * 50)
    assert "report" in asked(papers.study("smoke"), results)


def test_a_dashed_curve_of_another_metric_than_the_published_study_s_is_part_of_the_figure(package, monkeypatch):
    """The report's authors counted otherwise in their own figure."""
    study, published = papers.study("simclr-demo"), papers.study("simclr-published")
    layout = layouts.figures(study.paper)[2]
    own, theirs = (layouts.metric_of(layout, each) for each in (study, published))
    assert own != theirs
    before, raw = [*map(repr, rendered.of_figure(2, study))], published.paper.raw()
    drawn = [point for point in plan.on_curves(2, own, published) if point in raw]
    assert len(drawn) > 50 and not set(drawn) & set(plan.of_figure(2, published))
    monkeypatch.setitem(raw, drawn[0], dataclasses.replace(raw[drawn[0]], mean=99.0))
    assert [*map(repr, rendered.of_figure(2, study))] != before


def test_a_compared_run_s_restored_levels_and_settings_are_part_of_the_page(results, tmp_path):
    study, compared = papers.study("smoke"), tmp_path / "other" / "demo"
    level = compared / "measurements/resnet/imagenet100/dd-rm50.json"
    shown = []
    for text in ("1", "2"):
        files.write_text(level, text)
        shown.append(rendered.Target("report", fresh.Results(study, results), tmp_path, compared).made_from())
    assert shown[0] != shown[1]
    page = rendered.Target("report", fresh.Results(study, results), tmp_path, compared)
    assert "demo" in [said[0] for said in page.of_page() if isinstance(said, tuple)]


def test_the_code_of_a_paper_s_remarks_is_the_page_s(tmp_path):
    page = rendered.Target("report", fresh.Results(papers.study("simclr-demo"), tmp_path), tmp_path)
    assert "papers.contrastive_robustness.masking:lines" in page.functions()


def test_code_of_an_input_that_is_gone_still_counts(results, sources):
    """Only measurements were copied: they know the code that made their encoders."""
    study = papers.study("smoke")
    for folder in ("encoders", "heads", "images", "inpainted", "galleries"):
        shutil.rmtree(results / "smoke" / folder)
    assert asked(study, results) == {"report"}  # which lists the encoders that are there
    sources.edit("papers/inverse_problems/students.py", "criterion(embedded, target,", "criterion(target, embedded,")
    study = papers.study("smoke")
    changed = {change.product for change in fresh.Results(study, results).all_changes()}
    assert changed == among(["encoders/student-*"], study)


def test_a_change_that_is_accepted_is_asked_for_no_more_and_another_one_is(results, sources):
    sources.edit("learn/metrics.py", "logits.topk(k,", "logits.topk(k + 1,")
    study = papers.study("smoke")
    lines = fresh.accept(fresh.Results(study, results), [], "it is the same number")
    assert len(lines) == 1 and "code of `measure` changed since" in lines[0] and "learn/metrics.py: top_k" in lines[0]
    assert fresh.Results(study, results).all_changes() == []
    assert asked(study, results) == asked(study, results, rerun=True) == {"report"}  # which says so
    (said,) = accepted.read(results / "smoke")
    assert said.because == "it is the same number" and said.changes == ["learn/metrics.py: top_k"]
    assert set(said.products) == among(["measurements/*"], study)
    sources.edit("learn/metrics.py", "logits.topk(k + 1,", "logits.topk(k + 2,")
    assert fresh.Results(papers.study("smoke"), results).all_changes()


def test_the_command_says_what_is_kept_and_verify_notes_what_is_not(results, sources, tmp_path, capsys):
    sources.edit("learn/metrics.py", "logits.topk(k,", "logits.topk(k + 1,")
    verify.verify(papers.study("smoke"), results, tmp_path / "figures")
    assert "Note: code of `measure` changed since measurements/" in capsys.readouterr().out
    assert main(["accept", "--study", "smoke", "--results", str(results), "--because", "the same"]) == 0
    assert "kept: code of `measure` changed since measurements/" in capsys.readouterr().out
    verify.verify(papers.study("smoke"), results, tmp_path / "figures")
    assert "Note" not in capsys.readouterr().out


def test_accepting_some_products_leaves_the_others_asked_for(results, sources):
    sources.edit("learn/metrics.py", "logits.topk(k,", "logits.topk(k + 1,")
    study, name = papers.study("smoke"), "measurements/student-rm90/imagenet100"
    fresh.accept(fresh.Results(study, results), [name], "checked")
    changed = {change.product for change in fresh.Results(study, results).all_changes()}
    assert changed == among(["measurements/*"], study) - {name}


@pytest.mark.parametrize(
    ("products", "because", "message"),
    [
        ([], " ", "--because: say why"),
        ([], "checked", "nothing to accept: no code has changed behind finished products of study smoke"),
        (
            ["encoders/student-rm90"],
            "checked",
            "encoders/student-rm90: no finished product of study smoke that changed",
        ),
        (["encoders/nobody"], "checked", "encoders/nobody: no finished product of study smoke that changed"),
    ],
)
def test_what_cannot_be_accepted_is_one_line(results, products, because, message):
    with pytest.raises(UserError) as error:
        fresh.accept(fresh.Results(papers.study("smoke"), results), products, because)
    assert message in str(error.value) and not (results / "smoke/accepted.json").exists()


def test_a_file_of_what_was_accepted_that_says_nonsense_is_named(results):
    (results / "smoke/accepted.json").write_text('[{"product": "x"}]')
    with pytest.raises(UserError, match="accepted.json: .*unknown key 'product'; did you mean 'products'"):
        fresh.Results(papers.study("smoke"), results)


def test_products_of_before_code_was_recorded_are_kept(results, sources):
    path = results / "smoke" / file_of("encoders/teacher")
    content, record = files.load(path)
    files.save(path, content, {key: value for key, value in record.items() if key != "made_by"})
    sources.edit("papers/inverse_problems/clip_training.py", "", "\n\ntrain = None\n")
    assert fresh.Results(papers.study("smoke"), results).all_changes() == []


@pytest.fixture
def killed(tmp_path):
    """A job of the smoke study with a checkpoint, its code, and what it was made from."""
    study = papers.study("smoke")
    text = plan.recipe("encoders/teacher", study)
    job = jobs.Job("encoders/teacher", tmp_path / "smoke", digest(text))
    kind, _ = plan.read(text, study.paper)
    code, inputs = origins.code_of(kind), {"images/captions": "abc"}
    job.state.mkdir(parents=True)
    assert origins.began_with(job, code, inputs) == code.digest
    (job.state / "checkpoint.pt").write_text("")
    return job, code, inputs


def test_a_training_that_was_killed_and_goes_on_with_other_code_is_neither_s(killed):
    """So whoever takes the edit back is asked, too."""
    job, code, inputs = killed
    other = dataclasses.replace(
        code, definitions=code.definitions | {"learn/loop.py: fit": "0"}, libraries=code.libraries | {"torch": "99"}
    )
    both = origins.began_with(job, other, inputs)
    assert both not in (code.digest, other.digest) and origins.began_with(job, other, inputs) == both
    files.save(job.path, {}, {"recipe_hash": job.recipe_hash, "made_by": {job.product: both}})
    finished = fresh.Results(papers.study("smoke"), job.root.parent)
    (change,) = finished.changes(job.product)
    assert finished.named(change) == ["learn/loop.py: fit", f"torch {code.libraries['torch']}, then 99 → "
                                      f"{code.libraries['torch']}"]  # fmt: skip


def test_a_training_that_goes_on_with_its_own_code_is_its_code_s(killed):
    job, code, inputs = killed
    assert origins.began_with(job, code, inputs) == code.digest and (job.state / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("other", "inputs", "said"),
    [
        ({"recipe_hash": "0"}, {}, "with another recipe"),
        ({"device": "cuda"}, {}, "on another kind of device"),
        ({}, {"images/captions": "another"}, "from other inputs"),
    ],
)
def test_what_a_killed_job_left_is_not_taken_up_with_anything_else(killed, capsys, other, inputs, said):
    job, code, began = killed
    assert origins.began_with(dataclasses.replace(job, **other), code, began | inputs) == code.digest
    assert not (job.state / "checkpoint.pt").exists()
    assert capsys.readouterr().out == f"encoders/teacher: was begun {said}; it begins anew\n"


def say(product, results, **facts):
    """Let the record of a finished product say something else."""
    path = results / "smoke" / file_of(product)
    content, record = files.load(path)
    files.save(path, content, record | facts)


def test_a_job_that_left_nothing_of_its_own_is_today_s_code_s(killed):
    """Below its folder lie those of other products, and a damaged checkpoint is set aside."""
    job, code, inputs = killed
    (job.state / "checkpoint.pt").rename(job.state / "checkpoint.damaged.pt")
    (job.state / "another").mkdir()
    other = dataclasses.replace(code, libraries={})
    assert origins.began_with(job, other, inputs) == other.digest


def test_what_was_left_without_a_note_is_not_taken_up(killed, capsys):
    job, code, inputs = killed
    (job.state / origins.CODE).unlink()
    assert origins.began_with(job, code, inputs) == code.digest and not (job.state / "checkpoint.pt").exists()
    assert "was begun by an unknown recipe; it begins anew" in capsys.readouterr().out


def test_captions_that_others_were_made_from_are_part_of_what_they_are_made_from(results):
    """They stand in the record, and not among the tensors."""
    study = papers.study("smoke")
    say("images/captions", results, classes=["some", "words"])
    make("encoders/teacher", study, results)
    assert not {"encoders/teacher", "table_1"} & asked(study, results)
    say("images/captions", results, classes=["other", "words"])
    assert asked(study, results) == downstream({"encoders/teacher"}, study)


def test_guesses_in_a_record_are_part_of_the_figure_that_shows_them(results):
    say("galleries/figure_1", results, predictions=["a cat"])
    assert asked(papers.study("smoke"), results) == {"figure_1", "report"}


def test_a_record_that_noted_the_bare_content_of_an_input_is_as_good(results):
    say("images/captions", results, classes=["some", "words"])
    assert "encoders/teacher" not in asked(papers.study("smoke"), results)


@pytest.fixture
def repository(results, package, tmp_path):
    """A copy of the workflow beside one of the finished study."""
    for name in ("Snakefile", "config.yaml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for name in ("envs", "workflow/rules", "workflow/report", "workflow/profiles"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copytree(package.folder, tmp_path / "workflow/contrastive_inversion")
    kept = "results/reference/demo-seeds"  # whose spreads the study's page rests on
    shutil.copytree(REPOSITORY / kept, tmp_path / kept, ignore=shutil.ignore_patterns("measurements"))
    return tmp_path


def shown_jobs(output):
    """The jobs that a dry run shows, by the names of this file."""
    names = set()
    for block in output.split("\n\n") + output.split("["):
        for line in block.splitlines():
            if line.strip().startswith("output: "):
                path = line.split("output: ")[1].split(",")[0]
                names.add(Path(path).stem if "tables/" in path or "figures/" in path else path.split("smoke/")[1])
    return {name.removesuffix(".json").removesuffix(".safetensors").removesuffix(".csv").removesuffix(".html")
            for name in names}  # fmt: skip


def test_snakemake_shows_the_same_jobs(repository):
    """Without notes of its own, with others' words in a rule, after an edit of the study, and of the code."""
    code = repository / "workflow/contrastive_inversion"
    snakemake = functools.partial(flow.snakemake, repository, study="smoke", PYTHONPATH=repository / "workflow")
    snakemake("--forceall", "--touch", "--quiet").check()
    rule = repository / "workflow/rules/measure.smk"
    rule.write_text(rule.read_text().replace('" --gpus ', '"  --gpus '))
    assert "Nothing to be done" in snakemake("-n").check().text
    said = snakemake("-n", "-R", "restored")
    restored = among(["measurements/*/*/*"], papers.study("smoke"))
    assert shown_jobs(said.check().text) == downstream(restored, papers.study("smoke"))
    shutil.rmtree(repository / ".snakemake")
    study = code / "papers/inverse_problems/studies/smoke.yaml"
    study.write_text(study.read_text().replace("distill: {epochs: 2", "distill: {epochs: 3"))
    said = snakemake("-n")
    assert shown_jobs(said.check().text) == among(STUDENTS, papers.study("smoke"))
    assert "encoders/student-rm90 is made again: its recipe has another settings.epochs" in said.text
    study.write_text(study.read_text().replace("distill: {epochs: 3", "distill: {epochs: 2"))
    losses = code / "papers/inverse_problems/students.py"
    losses.write_text(losses.read_text().replace("criterion(embedded, target,", "criterion(target, embedded,"))
    said = snakemake("-n")
    assert said.status != 0 and "Traceback" not in said.text
    assert "code of `distill` changed since encoders/student-" in said.text
    assert "snakemake --config changed=rerun study=smoke\n" in said.text
    assert "contrastive-inversion accept --study smoke --because" in said.text
    assert "Nothing to be done" in snakemake("-n", "table_3", "figure_11").check().text
    said = snakemake("-n", config=["changed=rerun"])
    assert shown_jobs(said.check().text) == among(STUDENTS, papers.study("smoke"))
    losses.write_text(losses.read_text().replace("criterion(target, embedded,", "criterion(embedded, target,"))
    damaged = repository / "results/smoke" / file_of("encoders/student-rm90")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:50])
    said = snakemake("-n").check()
    assert re.search("encoders/student-rm90 is made again: .*damaged or incomplete", said.text)
    damaged.write_bytes(whole)
    for path, old, new, drawn in (
        (
            "papers/inverse_problems/studies/smoke.yaml",
            "tables:",
            "comparable: true\ntables:",
            ["table_*", "cells", "report"],
        ),
        (f"{LEDGER}tables.yaml", "Area under the ROC curve", "AUC", ["table_6", "report"]),
        ("show/figures.py", "m + sign * e", "m + 2 * sign * e", ["figure_*", "report"]),
    ):
        text = (code / path).read_text()
        assert text.count(old) == 1, path
        (code / path).write_text(text.replace(old, new))
        said = snakemake("-n")
        assert shown_jobs(said.check().text) == among(drawn, papers.study("smoke"))
        (code / path).write_text(text)
    for gone in ("images/imagenet100", "heads/student-rm90/imagenet100", "measurements/student-rm90/imagenet100"):
        (repository / "results/smoke" / file_of(gone)).unlink()
    said = snakemake("-n")  # the store is made again for one, all others stay
    jobs_of_one = ["images/imagenet100", "*/student-rm90/imagenet100", "table_[1489]", "figure_3", *VERDICTS]
    assert shown_jobs(said.check().text) == among(jobs_of_one, papers.study("smoke"))


def test_what_another_run_has_made_meanwhile_is_not_deleted(repository):
    """Two were to be made again; the second is, by another run, while this one makes the first."""
    pictures = [repository / "results/smoke" / file_of(name) for name in ("images/captions", "images/covid")]
    before = {path: path.read_bytes() for path in pictures}
    logs = {path: repository / "results/smoke/logs/images" / f"{path.stem}.log" for path in pictures}
    for log in logs.values():
        log.unlink(missing_ok=True)
    targets = [path.relative_to(repository) for path in pictures]
    how = {"study": "smoke", "cores": 1, "PYTHONPATH": repository / "workflow"}
    with flow.begun(repository, *targets, "-R", "images", **how) as process:
        while not any(log.exists() for log in logs.values()) and process.poll() is None:
            time.sleep(0.05)
        (first,) = (path for path, log in logs.items() if log.exists())
        (second,) = set(pictures) - {first}
        os.utime(second)
    assert process.returncode == 0 and "made already by this recipe" in logs[second].read_text()
    assert first.read_bytes() != before[first] and second.read_bytes() == before[second]


def test_the_page_has_the_table_of_edits():
    page = (REPOSITORY / "docs/reliability.md").read_text(encoding="utf-8")
    for edits in (STUDY_EDITS, LEDGER_EDITS, CODE_EDITS, FILE_EDITS):
        assert all(f"| {name} |" in page for name in edits)
