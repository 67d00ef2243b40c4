"""The reviewer's way: everything from measurement files alone, and no altered number goes unnoticed."""

import shutil

import pandas as pd
import pytest

from contrastive_inversion import papers
from contrastive_inversion.base import files, machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import plan, quantities
from contrastive_inversion.run import cli, verify
from contrastive_inversion.run.rendered import Target
from contrastive_inversion.show import page
from flow import snakemake
from ledgers import transcribe

STUDY = "published"


@pytest.fixture(scope="module")
def transcribed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    transcribe(papers.study(STUDY), folder)
    return folder


@pytest.fixture
def results(transcribed, tmp_path):
    shutil.copytree(transcribed, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture(scope="module")
def the_page(transcribed, tmp_path_factory):
    figures = tmp_path_factory.mktemp("figures")
    verify.verify(papers.study(STUDY), transcribed, figures)
    return transcribed / STUDY / "report.html"


def test_everything_is_rebuilt_from_measurements_alone(the_page):
    for name in ("tables/table_14.tex", "cells.csv", "claims.csv"):
        assert (the_page.parent / name).stat().st_size > 100
    assert the_page.read_text().count('<td class="cell"') == 218


def test_a_partial_run_of_one_table_is_a_result_that_names_what_is_missing(results, the_page, tmp_path, capsys):
    study = papers.study(STUDY)
    wanted, every = plan.behind_table(1, study), plan.measurements(study)
    for product in set(every) - set(wanted):
        (results / STUDY / file_of(product)).unlink()
    with pytest.raises(UserError, match="missing; run snakemake to make it"):
        verify.verify(study, results, tmp_path / "figures")
    verify.verify(study, results, tmp_path / "figures", partial=True)
    found, whole = (folder / "tables/table_1.md" for folder in (results / STUDY, the_page.parent))
    assert found.read_text() == whole.read_text()
    cells = pd.read_csv(results / STUDY / "cells.csv")
    assert set(cells[cells["table"] == 1]["verdict"]) == {"within"}
    for _, cell in cells.iterrows():
        assert (cell["verdict"] == "missing") == (
            plan.measurement_of(quantities.parse(cell["quantity"]), study) not in wanted
        )
    told, text = capsys.readouterr().out, (results / STUDY / "report.html").read_text()
    absent = [product for product in every if product not in wanted]
    assert f"{len(absent)} are not there yet" in told and f"{len(absent)} measurements are not there yet" in text
    assert all(product in told and product in text for product in absent)
    assert "This page is partial" not in the_page.read_text()
    altered = results / STUDY / file_of(wanted[0])
    altered.write_text(altered.read_text().replace('"seed": 1234', '"seed": 1235'))
    with pytest.raises(UserError, match="1 .*file.*cannot be trusted"):
        verify.verify(study, results, tmp_path / "figures", partial=True)


def test_one_altered_digit_is_named(results, tmp_path):
    path = results / STUDY / "measurements/student-rm90/imagenet100.json"
    path.write_text(path.read_text().replace("82.96", "82.97", 1))
    with pytest.raises(UserError, match=r"1 file.*\n.*student-rm90/imagenet100.json: altered"):
        verify.verify(papers.study(STUDY), results, tmp_path / "figures")


def test_every_unsound_file_is_named(results, tmp_path):
    folder = results / STUDY / "measurements"
    (folder / "student-rm90/imagenet100.json").unlink()
    path = folder / "student-rm75/imagenet100.json"
    content = files.read_json(path)
    content["record"]["recipe_hash"] = "0" * 64
    files.write_json(path, content)
    with pytest.raises(UserError) as error:
        verify.verify(papers.study(STUDY), results, tmp_path / "figures")
    assert "student-rm90/imagenet100.json: missing" in str(error.value)
    assert "student-rm75/imagenet100.json: made by recipe 000000000000" in str(error.value)


def test_another_run_stands_beside_ours(transcribed, the_page, tmp_path):
    page.write(papers.study(STUDY), transcribed, tmp_path / "figures", compare=transcribed / STUDY)
    assert the_page.read_text().count(f'<span class="published">{transcribed / STUDY} ') == 218


def test_a_folder_without_one_measurement_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "results/published/tables").mkdir(parents=True)
    for results in ("results", "resluts"):
        with pytest.raises(UserError, match=f"{results}/published: there is no measurement of study published"):
            verify.verify(papers.study(STUDY), tmp_path / results, tmp_path / "figures", partial=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "published", "tables"]


@pytest.mark.parametrize("command", [["verify"], ["report"], ["figure", "6"]])
def test_figures_of_other_results_are_not_mixed_with_one_s_own(results, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    theirs = results.rename(tmp_path / "theirs")
    assert cli.main([*command, "--study", STUDY, "--results", f"{theirs}/"]) == 1
    assert "name the folder of these results' figures too, with --figures" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()


def test_a_command_shows_the_other_run_that_config_yaml_names(results, tmp_path, monkeypatch):
    (tmp_path / "config.yaml").write_text(f"study: {STUDY}\nresults: {results}\ncompare: {results / STUDY}\n")
    seen = []
    monkeypatch.setattr(Target, "write", lambda self: seen.append((self.name, self.compare)))
    for command in ("verify", "report"):
        monkeypatch.delenv(machine.VARIABLE)
        assert cli.main(["--config", str(tmp_path / "config.yaml"), command]) == 0
        assert seen.pop() == ("report", results / STUDY)


def test_snakemake_hands_verify_the_other_run_that_config_yaml_names(tmp_path):
    (tmp_path / "other/published/measurements").mkdir(parents=True)
    said = snakemake(tmp_path, "-n", "-p", "verify", study=STUDY, config=["compare=other/published"]).check()
    assert "--figures figures --compare other/published " in said.text
    assert "--compare" not in snakemake(tmp_path, "-n", "-p", "verify", study=STUDY).check().text
