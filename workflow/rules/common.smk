# The study, its products' inputs and recipes, and the check that GPU jobs are limited in number.
import os
import sys

try:
    from contrastive_inversion.base import machine, studies
    from contrastive_inversion.ledger import plan, quantities
    from contrastive_inversion.run import doctor, jobs
    from contrastive_inversion.show import figures, tables
    from contrastive_inversion.base.errors import UserError
except ImportError as error:
    sys.exit(f"Error: {error.name} is not installed here; type: pip install -e .")


def or_stop(function, *arguments):
    """A function's result; a user's mistake stops Snakemake with one line instead of a traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        sys.exit(f"Error: {error}")


jobs.put_command_on_path()
or_stop(studies.validate, config, "config", "config.yaml")
studies.use_folder_of(config)
STUDY = config["study"]
machine.export(config)
LEDGER = os.path.relpath(or_stop(quantities.ledger_of, or_stop(studies.load, STUDY)))
or_stop(plan.study_quantities, STUDY)


wildcard_constraints:
    study="|".join(studies.available()),
    data=r"\w+",
    encoder=r"[\w.-]+",
    distortion=r"[\w-]+",
    number=r"\d+",


def product_inputs(product):
    """An input function: the files of the products that a product is made from."""

    def function(wildcards):
        wanted = or_stop(plan.inputs, product.format(**wildcards), wildcards.study)
        return [f"results/{wildcards.study}/{plan.file_of(name)}" for name in wanted]

    return function


def product_recipe(product):
    """A params function: a product's canonical recipe, all that its result depends on."""

    def function(wildcards):
        return or_stop(plan.recipe, product.format(**wildcards), wildcards.study)

    return function


def files(study, products):
    return [f"results/{study}/{plan.file_of(product)}" for product in products]


def table_inputs(wildcards):
    return files(wildcards.study, or_stop(tables.needed, int(wildcards.number), wildcards.study))


def figure_inputs(wildcards):
    return files(wildcards.study, or_stop(figures.needed, int(wildcards.number), wildcards.study))


def study_measurements(study):
    return files(study, or_stop(plan.study_measurements, study))


def study_tables(study):
    return [f"results/{study}/tables/table_{n}.csv" for n in studies.load(study)["tables"]]


def study_figures(study):
    return [f"figures/{study}/figure_{n}.{end}" for n in studies.load(study)["figures"] for end in ("pdf", "png")]


def study_targets(study):
    return [
        *study_tables(study),
        *study_figures(study),
        f"results/{study}/cells.csv",
        f"results/{study}/claims.csv",
        f"results/{study}/report.html",
    ]


def gpus(wildcards):
    """GPUs that a job of this study takes."""
    return studies.load(wildcards.study)["gpu"]


def picture_threads(wildcards):
    """Threads that a job on a GPU reads and crops pictures with; on a CPU a job is one thread."""
    return studies.load(wildcards.study)["picture_threads"] if studies.load(wildcards.study)["gpu"] else 1


def stop_unlimited_gpus():
    """GPU jobs on this machine need a positive limit: without one Snakemake would start them all at once."""
    limit = workflow.global_resources.get("gpu")
    limited = isinstance(getattr(limit, "value", limit), int) and getattr(limit, "value", limit) > 0
    if studies.load(STUDY)["gpu"] and studies.load(STUDY)["measured"] and workflow.local_exec and not limited:
        sys.exit(
            f"Error: study '{STUDY}' trains on GPUs; say how many this machine has: snakemake --cores all --resources gpu=1"
        )


def stop_without_files():
    """Data or weights that this run would read and that are not there stop it before any job, all in one message."""
    products = {}
    for job in workflow.dag.needrun_jobs():
        name = str(job.rule.name)
        if name in ("images", "encoder"):
            product = f"images/{job.wildcards.data}" if name == "images" else f"encoders/{job.wildcards.encoder}"
            products[product] = plan.parse(job.params.recipe)
    found = doctor.problems(products)
    if found:
        others = "Tables and figures that need none of this still run by their names; see --list-target-rules."
        sys.exit("\n".join(["Error: nothing was started, files are missing:", *(f"✗ {p}" for p in found), others]))


onstart:
    stop_unlimited_gpus()
    stop_without_files()
