"""A finished study without its computing: every product with the record that its job would write, and any content."""

import json
import shutil
import time

import torch

from contrastive_inversion.base import files, fingerprint
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.job import Job, alone
from contrastive_inversion.ledger import claims, layouts, plan, printed
from contrastive_inversion.run import fresh, jobs, origins
from contrastive_inversion.run.rendered import Target


def rows_of(product, study):
    """A row for each quantity of a measurement."""
    _, encoder, data, *level = product.split("/")
    return [
        {
            "head": q.head, "distortion": q.distortion, "metric": q.metric, "over": "instantiations",
            "values": [50.0, 51.0, 52.0], "images": 50,
        }
        for q in plan.measured_of(encoder, data, study, *level)
    ]  # fmt: skip


def make(product, study, results, mark=0.0):
    """Write a product's file as its job does; mark: its content."""
    text = plan.recipe(product, study)
    kind, recipe = plan.read(text, study.paper)
    job = Job(product, results / study.name, digest(text), recipe.inputs)
    content = {"content": torch.tensor([float(len(product)), mark])}
    if product.startswith("measurements/"):
        content = rows_of(product, study)
    with alone(job):
        behind = origins.records_behind(job)
        code = origins.began_with(job, origins.code_of(kind), origins.read_of(behind))
        jobs.write(job, content, origins.record_of(job, json.loads(text), time.time(), behind, code))
        job.forget()


def products_of(study):
    """All products of a study, each after those that it is made from."""
    ordered = {}

    def add(product):
        for needed in plan.inputs(product, study):
            add(needed)
        ordered[product] = None

    for product in plan.behind_targets([], study):
        add(product)
    return list(ordered)


def targets_of(study, results, rerun=False, forced=()):
    """All that people read of a study, by name."""
    found = fresh.Results(study, results, rerun, frozenset(forced))
    names = [f"table_{n}" for n in study.settings.tables] + [f"figure_{n}" for n in study.settings.figures]
    return {name: Target(name, found, results.parent / "figures") for name in [*names, "cells", "claims", "report"]}


def finish(study, results, monkeypatch):
    """Write a whole study; what people read says only its name."""
    for product in products_of(study):
        make(product, study, results)
    monkeypatch.setattr(Target, "draw", lambda self: [files.write_text(path, self.name) for path in self.files])
    for target in targets_of(study, results).values():
        target.write()


def asked(study, results, rerun=False, forced=()):
    """The jobs that a dry run shows: what is out of date or missing, and what is needed for it and missing."""
    targets = targets_of(study, results, rerun, forced)
    found = next(iter(targets.values())).finished
    wanted = {name for name, target in targets.items() if target.is_out_of_date()}
    needed = {p for p in products_of(study) if found.out_of_date(p)}
    pending = [p for name in wanted for p in targets[name].products] + list(needed)
    while pending:
        product = pending.pop()
        if not found.is_there(product) or product in needed:
            needed.add(product)
            pending += [p for p in plan.inputs(product, study) if not found.is_there(p) and p not in needed]
    return wanted | needed


class Sources:
    """A copy of the package's text to edit: what fingerprints read, and what was printed."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder / "contrastive_inversion"
        self.edited = {}
        shutil.copytree(fingerprint.HERE, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(fingerprint, "HERE", self.folder)
        paper = "papers/inverse_problems"
        printed_folder = property(lambda self_: self.folder / "papers" / self_.name / "printed")
        monkeypatch.setattr("contrastive_inversion.ledger.paper.Paper.printed", printed_folder)
        raw = "contrastive_inversion.papers.inverse_problems.raw"
        monkeypatch.setattr(f"{raw}.PRINTED", self.folder / paper / "printed")
        forget()

    def edit(self, path, old, new):
        """Replace a text that stands there once (or, where it is empty, add one at the end)."""
        file = self.folder / path
        text = file.read_text(encoding="utf-8")
        self.edited.setdefault(file, text)
        assert not old or text.count(old) == 1, (path, old, text.count(old))
        file.write_text(text.replace(old, new) if old else text + new, encoding="utf-8")
        forget()

    def restore(self):
        """Undo all edits."""
        for file, text in self.edited.items():
            file.write_text(text, encoding="utf-8")
        self.edited.clear()
        forget()


def forget():
    """Forget all that was read of the package's text and of the ledger."""
    from contrastive_inversion import papers
    from contrastive_inversion.papers.inverse_problems import raw

    for module in (fingerprint, origins, plan, printed, layouts, claims, papers, raw):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def copied(finished, folder):
    """A copy of a finished study, to be damaged."""
    for name in ("results", "figures"):
        shutil.copytree(finished / name, folder / name)
    return folder / "results"
