"""Snakemake's catalog of workflows, and snakedeploy: what they look for is there and runs."""

import functools
import re

import pytest
import yaml

import flow
from flow import REPOSITORY

ENTRY = REPOSITORY / "workflow" / "Snakefile"
PRODUCT = "results/published/measurements/teacher/imagenet100.json"
DEPLOYED = """
configfile: "config/config.yaml"

module contrastive_inversion:
    snakefile: "{entry}"
    config: config

use rule * from contrastive_inversion
"""
snakemake = functools.partial(flow.snakemake, cores=1, PYTHONPATH=None)  # the package is not installed


def test_the_catalog_finds_what_it_asks_for():
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert {"conda", "apptainer"} < set(usage["software-stack-deployment"])
    assert ENTRY.is_file() and (REPOSITORY / "config" / "README.md").is_file()
    readme = (REPOSITORY / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme


def test_every_key_of_the_configuration_is_in_its_readme():
    from contrastive_inversion.base import machine

    text = (REPOSITORY / "config" / "README.md").read_text()
    assert not [key for key in machine.Config.model_fields if f"`{key}`" not in text]


def test_the_catalog_can_draw_the_rules(tmp_path):
    """Its own command, but for the folder, where nothing is left."""
    (tmp_path / "config.yaml").write_text((REPOSITORY / ".test" / "config.yaml").read_text())
    found = snakemake(REPOSITORY, "-s", "workflow/Snakefile", "-d", tmp_path, "--forceall", "--rulegraph").check()
    assert all(f'label = "{rule}"' in found.out for rule in ("all", "encoders", "measurements", "table", "report"))


@pytest.fixture
def deployed(tmp_path):
    """A folder as snakedeploy lays it out: a Snakefile that names ours as a module, and a copy of config/."""
    for name, text in {
        "workflow/Snakefile": DEPLOYED.format(entry=ENTRY),
        "config/config.yaml": (REPOSITORY / "config" / "config.yaml").read_text(),
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_deployed_workflow_runs(deployed):
    snakemake(deployed, PRODUCT, study="published").check()
    assert (deployed / PRODUCT).exists()
    found = snakemake(deployed, "--dry-run", study="published").check()
    assert re.search(r"^all +1$", found.out, re.M), found.text


RENAMED = """ as other_*

print("local:", *workflow._localrules)
"""


def test_a_workflow_that_renames_our_rules_keeps_them(deployed):
    """Those that only render stay on a login node; `localrules:` would name rules that are there no more."""
    snakefile = deployed / "workflow" / "Snakefile"
    snakefile.write_text(snakefile.read_text().rstrip() + RENAMED)
    found = snakemake(deployed, "other_all", "--dry-run", study="published").check()
    assert re.search(r"^other_measurements +62$", found.out, re.M) and "not present" not in found.err
    local = set(re.search(r"^local: (.+)$", found.out, re.M)[1].split())
    assert {f"other_{name}" for name in ("all", "table", "figure", "cells", "claims", "report", "verify")} <= local
    assert "other_measurements" not in local
    snakemake(deployed, PRODUCT, study="published").check()
    assert (deployed / PRODUCT).exists()


def test_a_workflow_may_leave_rules_of_ours_out(deployed):
    snakefile = deployed / "workflow" / "Snakefile"
    snakefile.write_text(snakefile.read_text().rstrip() + " exclude cells as other_*\n")
    snakemake(deployed, PRODUCT, "--dry-run", study="published").check()
