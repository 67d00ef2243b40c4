"""Studies that differ from a paper's in a few words, ledgers that differ in a file, measurements made by hand."""

import json
import shutil
from dataclasses import replace

from safetensors.numpy import save_file

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import plan, quantities
from contrastive_inversion.ledger.measurements import content_hash
from contrastive_inversion.ledger.study import Study, merged
from contrastive_inversion.run import jobs


def study_but(name, folder=None, files=None, **said):
    """A study with other settings; files: {name: text} in place of its paper's, which then lie in a folder."""
    study = papers.study(name)
    paper, content = study.paper, merged(study.said, said)
    if files:
        shutil.copytree(paper.printed, folder / "printed")
        for file, text in files.items():
            (folder / "printed" / file).write_text(text, encoding="utf-8")
        paper = replace(paper, folder=folder)
    return Study(name, paper, paper.settings.model_validate(content), content)


def measure(study, results, values):
    """Write measurement files: {quantity: values over instantiations}."""
    products = {}
    for text, numbers in values.items():
        q = quantities.parse(text)
        row = {"head": q.head, "distortion": q.distortion, "metric": q.metric, "over": "instantiations"}
        products.setdefault(plan.measurement_of(q, study), []).append(row | {"images": 5, "values": numbers})
    for product, rows in products.items():
        write_rows(study, results, product, rows)


def transcribe(study, results):
    """Write the measurement files of a study of published values, as its jobs do."""
    for product in plan.measurements(study):
        jobs.run(product, study.paper, results / study.name, plan.recipe(product, study))


def record_of(study, product, **facts):
    """The record of a product that a study asks for."""
    recipe = plan.recipe(product, study)
    return {
        "product": product, "recipe": json.loads(recipe), "recipe_hash": digest(recipe), "seed": 1, "seconds": 1.5,
        "device": "a CPU", "code": "1.0", "torch": None, "content_hash": digest(product), **facts,
    }  # fmt: skip


def write_rows(study, results, product, rows, **facts):
    """Write a measurement file; facts: of its record."""
    record = record_of(study, product, **facts)
    record["content_hash"] = content_hash(rows, record)
    files.write_json(results / study.name / file_of(product), {"rows": rows, "record": record})


def write_tensors(study, results, product, tensors, **facts):
    """Write a product's arrays and record, without torch."""
    path = results / study.name / file_of(product)
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"content_hash": files.content_hash(tensors)} | facts
    save_file(tensors, path, {"record": json.dumps(record_of(study, product, **facts))})
