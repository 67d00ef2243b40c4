"""The workflow as a user meets it: the smoke study end to end, single targets, and what a mistake looks like."""

import re
import shutil

import pandas as pd
import pytest

from contrastive_inversion import papers
from contrastive_inversion.ledger import printed
from flow import snakemake


def rules_of(dry_run):
    """The names of the rules that a dry run lists."""
    return {line.split()[-1].rstrip(":") for line in dry_run.splitlines() if line.startswith(("rule ", "localrule "))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The smoke study."""
    folder = tmp_path_factory.mktemp("smoke")
    said = snakemake(folder, study="smoke").check()
    assert "Provided resources: mem_mb=" in said.text, "jobs share the machine's RAM"
    return folder


def test_the_smoke_study_makes_every_target(finished):
    results = finished / "results" / "smoke"
    for number in (1, 3, 4, 6, 8, 9, 14):
        for ending in ("csv", "md", "tex"):
            assert (results / "tables" / f"table_{number}.{ending}").stat().st_size > 60
    for number in (1, 3, 11):
        assert (finished / "figures" / "smoke" / f"figure_{number}.pdf").read_bytes().startswith(b"%PDF")
    cells = pd.read_csv(results / "cells.csv")
    assert len(cells) == 24 + 24 + 4 + 6 + 16 + 38
    assert cells["reproduced"].notna().all() and set(cells["verdict"]) == {"not comparable"}
    page = (results / "report.html").read_text()
    assert "These numbers are those of a small study" in page
    assert set(re.findall(r"https?://[^\"<]+", page)) == {
        papers.paper("inverse_problems").url
    }  # a link, nothing to load


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in snakemake(finished, study="smoke").check().text
    assert rules_of(snakemake(finished, "--dry-run", study="smoke").check().text) == set()


def test_rules_leave_logs_and_benchmarks(finished):
    results = finished / "results" / "smoke"
    logs = {p.relative_to(results / "logs").with_suffix("") for p in results.glob("logs/**/*.log")}
    benchmarks = {p.relative_to(results / "benchmarks").with_suffix("") for p in results.glob("benchmarks/**/*.tsv")}
    assert logs == benchmarks and len(logs) > 80


def test_one_figure_runs_only_its_own_jobs(tmp_path):
    output = snakemake(tmp_path, "--dry-run", "figures/smoke/figure_11.pdf", study="smoke").check().text
    assert rules_of(output) == {"images", "galleries", "figure"}
    assert "encoders" not in output
    asked = next(line for line in output.splitlines() if "devices=0" in line)
    assert all(f"{name}=" in asked for name in ("mem_mb", "runtime", "disk_mb", "picture_threads")), asked
    assert "gpu=" not in asked, "Kubernetes refuses a rule that asks for no GPU, but names the resource"
    assert "priority: " in output


def test_named_targets_are_listed_with_a_description(tmp_path):
    output = snakemake(tmp_path, "--list-target-rules", study="smoke").check().text
    assert "table_1 (Top-1 accuracy (%) on ImageNet-100)" in output and "figure_3 (Top-1 accuracy" in output


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("dmeo", "Error: --config: study: there is no study 'dmeo'; did you mean 'demo'?"),
        ("paper", "Error: study 'paper' trains on GPUs; say how many this machine has"),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(tmp_path, study, message):
    said = snakemake(tmp_path, study=study)
    assert said.status != 0 and message in said.text and "Traceback" not in said.text
    assert {path.name for path in tmp_path.iterdir()} <= {".snakemake"}, "something was begun"


def test_a_target_follows_its_own_study_and_not_that_of_the_configuration(tmp_path):
    said = snakemake(tmp_path, "results/paper/encoders/resnet100.safetensors", study="demo")
    assert said.status != 0 and "Error: study 'paper' trains on GPUs" in said.text
    said = snakemake(tmp_path, "--dry-run", "figures/simclr-published/figure_2.pdf", study="demo").check()
    assert rules_of(said.text) == {"measurements", "figure"}


def test_results_and_figures_move_where_the_configuration_says(tmp_path):
    snakemake(tmp_path, "figure_6", study="published", config=["results=made here", "figures=drawn"]).check()
    assert (tmp_path / "drawn/published/figure_6.png").exists()
    assert (tmp_path / "made here/published/measurements/student-mse-rm50to95/imagenet100.json").exists()
    assert not (tmp_path / "results").exists() and not (tmp_path / "figures").exists()
    assert not (tmp_path / "made").exists()


def test_what_is_out_of_date_in_the_folder_of_the_run_itself_is_made_again(tmp_path):
    said = snakemake(tmp_path, "--dry-run", "table_6", study="published", config=["results=."]).check()
    assert "forced:\n        table\n" in said.text


def test_an_unknown_key_of_the_configuration_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("studdy: demo\n")
    said = snakemake(tmp_path, "-n")
    assert said.status != 0 and "unknown key 'studdy'; did you mean 'study'?" in said.text
    assert "Traceback" not in said.text


NO_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch must not be imported here")

sys.meta_path.insert(0, Refuse())
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The published study, made where importing torch fails."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "sitecustomize.py").write_text(NO_TORCH)
    snakemake(folder, study="published", PYTHONPATH=folder).check()
    return folder


def test_the_published_study_prints_what_the_paper_prints(published):
    for number in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14):
        table = pd.read_csv(published / f"results/published/tables/table_{number}.csv", dtype=str)
        expected = [
            [cell.value + (f"±{cell.se}" if cell.se else "") for cell in cells.values()]
            for cells in printed.rows_of(number, papers.paper("inverse_problems")).values()
        ]
        assert table.iloc[:, 1:].to_numpy().tolist() == expected, number


def test_snakemake_looks_for_jobs_when_one_ends_and_not_every_second(tmp_path):
    """While one job runs, the other waits for its core; a limit that the user sets is kept."""
    pair = [f"results/smoke/images/{name}.safetensors" for name in ("cifar10", "stl10")]
    said = snakemake(tmp_path, "--verbose", *pair, study="smoke", cores=1).check()
    assert re.findall(r"Ready jobs: \d", said.text) == ["Ready jobs: 2", "Ready jobs: 1"], said.text[-5000:]
    shutil.rmtree(tmp_path / "results")
    said = snakemake(tmp_path, "--max-jobs-per-timespan", "9/1s", "--verbose", *pair, study="smoke", cores=1).check()
    assert len(re.findall(r"Ready jobs: \d", said.text)) > 2


def test_snakemake_s_own_report_has_captions_and_categories(published):
    snakemake(published, "--report", "report.html", study="published").check()
    page = (published / "report.html").read_text()
    assert all(text in page for text in ("Tables", "Figures", "Verdicts", "of the paper in study published"))


def test_the_published_page_has_every_printed_cell(published):
    page = (published / "results/published/report.html").read_text()
    assert page.count('<td class="cell"') == 218
    assert all((published / f"figures/published/figure_{n}.png").exists() for n in range(3, 11))
