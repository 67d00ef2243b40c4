"""A third paper is a folder: nothing that exists is edited, and tables, verdicts, page and workflow are its own."""

import shutil

import pandas as pd
import pytest

import flow
from contrastive_inversion import papers
from contrastive_inversion.ledger import printed, quantities
from flow import REPOSITORY

SUPERVISED = "supervised | own | cifar10 | plb | median"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the workflow with the folder of a paper about coins put in, and nothing else changed."""
    folder = tmp_path_factory.mktemp("house")
    for name in ("workflow", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(REPOSITORY / name, folder / name)
    shutil.copytree(REPOSITORY / "tests" / "coins", folder / "workflow/contrastive_inversion/papers/coins")
    return folder


def snakemake(house, *arguments, study="coins"):
    return flow.snakemake(house, *arguments, study=study, PYTHONPATH=house / "workflow").check().text


@pytest.fixture(scope="module")
def results(house):
    snakemake(house)
    return house / "results" / "coins"


def test_a_dry_run_lists_its_jobs(house):
    listed = snakemake(house, "-n")
    for product in ("encoders/coin-0.7", "encoders/coin-0.5", "measurements/supervised/cifar10", "tables/table_3.csv"):
        assert f"results/coins/{product}" in listed
    assert "student" not in listed and "encoders/contrastive" not in listed


def test_its_tables_figure_and_page_are_made(house, results):
    first = pd.read_csv(results / "tables/table_1.csv")
    assert first["Coin"].tolist() == ["Heavy", "Light"] and first["Heads"].str.contains("±").all()
    assert float(first["Heads"][0].split("±")[0]) == pytest.approx(70, abs=2)
    assert (house / "figures/coins/figure_1.pdf").read_bytes().startswith(b"%PDF")
    page = (results / "report.html").read_text()
    assert "Three coins, tossed." in page and "<td>Tosses</td><td>1000</td>" in page
    assert page.count('<td class="cell"') == 3


def test_its_cells_are_judged_and_its_claim_is_decided(results):
    cells = pd.read_csv(results / "cells.csv")
    assert cells["verdict"].tolist() == ["within", "worse", "not comparable"]
    claims = pd.read_csv(results / "claims.csv")
    assert claims["claim"].tolist() == ["heavier-shows-more"] and claims["verdict"].tolist() == ["holds"]


def test_its_third_table_is_its_own(results):
    third = pd.read_csv(results / "tables/table_3.csv")
    assert third.columns.tolist() == ["Coin", "Heads"] and third["Coin"].tolist() == ["Fair"]
    assert "The print gives a fraction." in (results / "tables/table_3.md").read_text()


def test_its_printed_number_is_not_answered_from_another_paper_s_files(house):
    others = printed.value(quantities.parse(SUPERVISED), papers.paper("contrastive_robustness"))
    assert others is not None and others.mean != 0.999
    snakemake(house, study="coins-published")
    published = pd.read_csv(house / "results/coins-published/tables/table_3.csv", dtype=str)
    assert published["Heads"].tolist() == ["0.999"]
