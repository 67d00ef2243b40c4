"""The command line: every rule of the workflow is one call of it, and so is what a person asks for in between."""

import argparse
import os
import signal
import sys
from pathlib import Path

from contrastive_inversion import __version__
from contrastive_inversion.base.errors import UserError

TABLES = range(1, 15)
FIGURES = range(1, 12)


def main(arguments=None):
    """Run a command. A user's mistake ends with one line on stderr and exit status 1."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    try:
        return options.command(options) or 0
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; finished epochs are kept.", file=sys.stderr)
        return 130


def parser():
    top = argparse.ArgumentParser(prog="contrastive-inversion", description=__doc__)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_status(commands)
    add_doctor(commands)
    add_fetch(commands)
    add_summary(commands)
    add_recipe(commands)
    add_rendering(commands)
    add_make(commands)
    return top


def add(commands, name, command, text, *, study=True):
    found = commands.add_parser(name, help=text, description=text)
    found.set_defaults(command=command)
    if study:
        found.add_argument("--study", default="demo", help="the study's name (default: demo)")
    found.add_argument("--results", default="results", type=Path, help="the folder of results (default: results)")
    return found


def add_status(commands):
    found = add(
        commands, "status", status, "show all running and finished jobs: epoch, loss, images/s, ETA", study=False
    )
    found.add_argument("--all", action="store_true", help="show every finished job, not only the latest ten")


def status(options):
    from contrastive_inversion.show.progress import screen

    print(screen(options.results, 10**9 if options.all else 10))


def add_doctor(commands):
    found = add(
        commands, "doctor", doctor, "say whether this machine has what a study needs: data, weights, disk, GPUs"
    )
    found.add_argument("targets", nargs="*", metavar="TARGET", help="table_1, figure_3, ... (default: the whole study)")
    found.add_argument("--config", default="config.yaml", type=Path, help="the file with paths (default: config.yaml)")


def doctor(options):
    from contrastive_inversion.run.doctor import examine

    read_places(options.config)
    checks, work = examine(options.study, options.targets, options.results)
    print(f"Study {options.study}: {work}.")
    print("\n".join(map(str, checks)))
    return int(not all(check.ok for check in checks))


def read_places(path):
    """Take the places of data and weights from config.yaml, as the workflow does."""
    from contrastive_inversion.base import machine, studies

    if not path.exists():
        raise UserError(f"{path}: there is no such file; run this where config.yaml lies, or name it with --config")
    config = studies.read_yaml(path)
    studies.validate(config, "config", path)
    studies.use_folder_of(config)
    machine.export(config)


def add_fetch(commands):
    found = add(commands, "fetch", fetch, "fetch published weights, or the data sets that need no account")
    found.add_argument("what", choices=["weights", "data"])
    found.add_argument("--config", default="config.yaml", type=Path, help="the file with paths (default: config.yaml)")


def fetch(options):
    from contrastive_inversion.data import download

    read_places(options.config)
    {"weights": download.fetch_weights, "data": download.fetch_data}[options.what](options.study)


def add_summary(commands):
    found = add(commands, "summary", summary, "print a table beside the published one, and where the report page is")
    numbers = [number for number in TABLES if number != 3]
    found.add_argument("--table", default=1, type=int, choices=numbers, metavar="N", help="its number (default: 1)")


def summary(options):
    from contrastive_inversion.base import studies
    from contrastive_inversion.ledger import quantities
    from contrastive_inversion.show import tables

    title = quantities.table_layouts(quantities.ledger_of(studies.load(options.study)))[options.table]["title"]
    print(f"Table {options.table}: {title}. Study {options.study}; in brackets what the paper prints.\n")
    print(tables.terminal(options.table, options.study, options.results))
    print(f"\nReport page: {(options.results / options.study / 'report.html').resolve()}")


def add_recipe(commands):
    found = add(commands, "recipe", recipe, "print the recipe of a product, such as encoders/student-rm90")
    found.add_argument("product", help="a file below results/<study>, without its ending")


def recipe(options):
    import json

    from contrastive_inversion.ledger import plan

    print(json.dumps(plan.parse(plan.recipe(options.product, options.study)), indent=2, ensure_ascii=False))


def add_rendering(commands):
    found = add(commands, "table", table, "write a table (csv, md, tex) from finished measurements")
    found.add_argument("number", type=int, choices=TABLES, metavar="NUMBER", help="1 to 14")
    found = add(commands, "figure", figure, "draw a figure (pdf, png) from finished measurements")
    found.add_argument("number", type=int, choices=FIGURES, metavar="NUMBER", help="one of the study's, 1 to 11")
    found.add_argument("--figures", default="figures", type=Path, help="the folder of figures (default: figures)")
    add(commands, "cells", cells, "write cells.csv: every printed number beside ours")
    add(commands, "claims", claims, "write claims.csv: what the paper says in words, and whether it holds here")
    found = add(commands, "report", report, "write report.html: every table and figure, published beside ours")
    found.add_argument("--figures", default="figures", type=Path, help="the folder of figures (default: figures)")
    found.add_argument(
        "--compare", type=Path, help="another run's folder, such as results/paper, to show beside this one"
    )

    found = add(commands, "verify", verify, "check all measurement files and rebuild everything from them alone")
    found.add_argument("--figures", default="figures", type=Path, help="the folder of figures (default: figures)")


def table(options):
    from contrastive_inversion.show import tables

    check_number("table", options)
    tables.write(options.number, options.study, options.results)


def figure(options):
    from contrastive_inversion.show import figures

    check_number("figure", options)
    figures.write(options.number, options.study, options.results, options.figures)


def check_number(kind, options):
    """Raise UserError for a table or figure that the study's report does not have."""
    from contrastive_inversion.base import studies
    from contrastive_inversion.ledger import quantities

    ledger = quantities.ledger_of(studies.load(options.study))
    layouts = {"table": quantities.table_layouts, "figure": quantities.figure_layouts}[kind](ledger)
    if options.number not in layouts:
        known = ", ".join(map(str, layouts))
        raise UserError(f"study {options.study} has no {kind} {options.number}; it has {known}")


def cells(options):
    from contrastive_inversion.ledger.cells import write

    write(options.study, options.results)


def claims(options):
    from contrastive_inversion.ledger.claims import write

    write(options.study, options.results)


def report(options):
    from contrastive_inversion.show.page import write

    write(options.study, options.results, options.figures, options.compare)


def verify(options):
    from contrastive_inversion.run.verify import verify

    verify(options.study, options.results, options.figures)


def add_make(commands):
    text = "make one product of a study from its recipe; what the workflow's rules call"
    found = commands.add_parser("make", help=text, description=text)
    found.set_defaults(command=make)
    found.add_argument("product", help="the product, such as encoders/student-rm90")
    found.add_argument("--root", required=True, type=Path, help="the study's folder, such as results/demo")
    found.add_argument("--recipe", required=True, help="the product's canonical recipe")
    found.add_argument("--gpus", default=0, type=int, help="GPUs to take; 0 computes on the CPU (default: 0)")
    found.add_argument("--threads", default=1, type=int, help="threads that read and crop pictures (default: 1)")


def make(options):
    # before torch is imported: it reads both once
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    from contrastive_inversion.base import gpus
    from contrastive_inversion.run import jobs

    gpus.acquire(options.gpus)
    jobs.run(options.product, options.root, options.recipe, "cuda" if options.gpus else "cpu", options.threads)
    sys.stdout.flush()
    os._exit(0)  # all is written; torch's own teardown would take half a second more


if __name__ == "__main__":
    sys.exit(main())
