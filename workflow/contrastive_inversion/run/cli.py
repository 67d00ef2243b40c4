"""The command line: every rule of the workflow is one call of it, and so is what a person asks for in between."""

import functools
import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from contrastive_inversion import __version__, papers
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError, refusals
from contrastive_inversion.base.settings import is_name, one_line, shown
from contrastive_inversion.ledger import layouts, printed
from contrastive_inversion.ledger.study import Study, study_file

FOLDER = click.Path(path_type=Path, file_okay=False)
CONFIG = Path("config.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status. A user's mistake ends with one line on stderr and a status of 1."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    os.environ["MPLBACKEND"] = "agg"  # files are drawn, no windows; matplotlib fails on a name that it does not know
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does: a terminal may have no ✓ and no ±
    try:
        with refusals():
            check_text(sys.argv[1:] if arguments is None else arguments)
            return commands.main(arguments, "contrastive-inversion", standalone_mode=False) or 0
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        print(f"Error: {one_line(error.format_message())}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        print(f"{'; '.join(['Stopped', *stop.args])}.", file=sys.stderr)
        return 130


def check_text(words: Sequence[str]) -> None:
    """Raise UserError for bytes that are no text: they can be written to no file and shown on no page."""
    for word in words:
        if word.encode(errors="ignore").decode() != word:
            raise UserError(f"{shown(word)} is no text in UTF-8")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, message="%(version)s")
@click.option(
    "--config",
    default=str(CONFIG),
    type=click.Path(path_type=Path),
    help="the file with the study's name and the places",
)
@click.pass_context
def commands(context: click.Context, config: Path) -> None:
    """Regenerates the tables and figures of published papers, and says which of their results hold."""
    context.obj = functools.cache(functools.partial(read_config, config))


def read_config(path: Path, named: bool = False) -> machine.Config:
    """What config.yaml says; within a workflow's job, what the workflow has handed on already.

    named: whether a command names its study itself, and can do without the file. Raises UserError where it cannot.
    """
    if within_workflow() or (named and path == CONFIG and not os.path.lexists(path)):
        return machine.Config()
    config = machine.read_config(path)
    papers.use(config, lambda key: f"{path}: {key}")
    study_file(config.study, papers.folders(), f"{path}: study")
    return config


@dataclass(frozen=True)
class Run:
    """What a command is about: a study, where its results and figures lie, and another run's folder for the page."""

    study: Study[Any]
    results: Path
    figures: Path
    compare: Path | None


def within_workflow() -> bool:
    """Whether this is a job of a workflow, which has checked its study already."""
    return machine.VARIABLE in os.environ


def checked_study(name: str) -> Study[Any]:
    """A study by its name, all that it says checked."""
    from contrastive_inversion.run import ready

    return ready.study(name)


def known(name: str) -> str:
    """The name that an option gives, if a study has it. Raises UserError for another."""
    study_file(name, papers.folders(), "--study")
    return name


def of_study(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its Run, from --study, --results and --figures or else from config.yaml."""

    @click.option("--study", "name", metavar="NAME", help="the study (default: config.yaml's)")
    @click.option("--results", type=FOLDER, help="the folder of results (default: config.yaml's, or results)")
    @click.option("--figures", type=FOLDER, help="the folder of figures (default: config.yaml's, or figures)")
    @click.pass_obj
    @functools.wraps(command)
    def wrapped(
        config_of: Callable[[bool], machine.Config],
        name: str | None,
        results: Path | None,
        figures: Path | None,
        **rest: Any,
    ) -> Any:
        config = config_of(name is not None)
        study = (papers.study if within_workflow() else checked_study)(config.study if name is None else known(name))
        places = (results or Path(config.results), figures or Path(config.figures))
        return command(Run(study, *places, Path(config.compare) if config.compare else None), **rest)

    return wrapped


def with_own_figures(command: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a command that has to do with both --results without --figures: those of two runs would be mixed."""

    @click.pass_context
    @functools.wraps(command)
    def wrapped(context: click.Context, *given: Any, **rest: Any) -> Any:
        results, figures = context.params["results"], context.params["figures"]
        configured = Path(context.obj(context.params["name"] is not None).results)
        if results and not figures and results.resolve() != configured.resolve():
            raise UserError(f"--results {results}: name the folder of these results' figures too, with --figures")
        return command(*given, **rest)

    return wrapped


def beside(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the Run of a command the other run's folder that --compare or else config.yaml names, once it is checked."""

    @click.option(
        "--compare", type=FOLDER,
        help="another run's folder, such as results/paper, to show beside this one (default: config.yaml's)",
    )  # fmt: skip
    @functools.wraps(command)
    def wrapped(run: Run, compare: Path | None, **rest: Any) -> Any:
        from contrastive_inversion.run import ready

        config = click.get_current_context().find_root().params["config"]
        run = replace(run, compare=compare or run.compare)
        if run.compare:
            ready.check_compared(run.compare, run.study, "--compare" if compare else f"{config}: compare")
        return command(run, **rest)

    return wrapped


@commands.command()
@click.option("--all", "everything", is_flag=True, help="show every finished job, not only the latest ten")
@click.option("--results", type=FOLDER, help="the folder of results (default: config.yaml's, or results)")
@click.pass_obj
def status(config_of: Callable[[], machine.Config], everything: bool, results: Path | None) -> None:
    """Show all running and finished jobs: epoch, loss, images/s, ETA."""
    from contrastive_inversion.show.progress import screen

    print(screen(results or Path(config_of().results), None if everything else 10))


@commands.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@of_study
def doctor(run: Run, targets: tuple[str, ...]) -> int:
    """Say whether this machine has what a study needs: data, weights, disk, GPUs.

    TARGET: table_1, figure_3, ...; the whole study where none is named.
    """
    from contrastive_inversion.run.doctor import examine

    checks, work = examine(run.study, targets, run.results)
    print(f"Study {run.study.name}: {work}.")
    print("\n".join(map(str, checks)))
    return int(not all(check.ok for check in checks))


@commands.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--card", help="what it is for: A100, CPU, ... (default: the GPU that was rehearsed on, or H100)")
@of_study
def plan(run: Run, targets: tuple[str, ...], card: str | None) -> None:
    """Say what a study takes: jobs, GPU and CPU hours, memory, disk, and the time on 1, 4 and 8 GPUs.

    TARGET: table_1, figure_3, ...; the whole study and each of them where none is named.
    """
    from contrastive_inversion.run import budget

    print(budget.page(targets, run.study, run.results, card))


@commands.command()
@of_study
def rehearse(run: Run) -> int:
    """Run a little of every kind of job at its real shape, minutes in all: measures the rates that `plan` reads."""
    from contrastive_inversion.run import budget, costs, fits, rehearsal

    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) == signal.SIG_DFL:  # not under nohup
            signal.signal(ending, signal.default_int_handler)  # clears up, as Ctrl-C does
    rehearsed = rehearsal.rehearse(run.study, run.results)
    here = costs.machine_of(run.study, run.results, rehearsed.device or "CPU")
    print(budget.page([], run.study, run.results, rehearsed.device or "CPU"))
    problems = [check for check in fits.of_study(run.study, here, run.results) if not check.ok]
    print("\n".join(map(str, problems)))
    return int(bool(problems))


@commands.command()
@click.argument("what", type=click.Choice(["weights", "data"]))
@of_study
def fetch(run: Run, what: str) -> None:
    """Fetch published weights, or the data sets that need no account."""
    from contrastive_inversion.data import sources
    from contrastive_inversion.run import doctor

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a server that hangs up is asked again
    data, weights = doctor.data_of(run.study), doctor.weights_of(run.study)
    if not (data if what == "data" else weights):
        print(f"Study {run.study.name} needs no {what} to be fetched.")
    elif what == "data":
        sources.fetch_data(data)
    else:
        sources.fetch_weights(weights)


@commands.command()
@click.option("--table", "number", type=int, metavar="N", help="its number (default: the study's first)")
@of_study
def summary(run: Run, number: int | None) -> None:
    """Print a table beside the published one, and where the report page is."""
    from contrastive_inversion.run.rendered import check_number
    from contrastive_inversion.show import tables

    shown = [n for n in run.study.settings.tables if printed.cells_of(n, run.study.paper)]
    number = next(iter(shown), 0) if number is None else number
    check_number("table", number, shown, run.study)
    title = layouts.tables(run.study.paper)[number].title
    print(f"Table {number}: {title}. Study {run.study.name}; in brackets what the paper prints.\n")
    print(tables.terminal(number, run.study, run.results))
    print(f"\nReport page: {(run.results / run.study.name / 'report.html').resolve()}")


@commands.command()
@click.argument("product")
@of_study
def recipe(run: Run, product: str) -> None:
    """Print the recipe of a PRODUCT, such as encoders/student-rm90: a file of results without its ending."""
    import json

    from contrastive_inversion.ledger import plan

    print(json.dumps(json.loads(plan.recipe(product, run.study)), indent=2, ensure_ascii=False))


@commands.command()
@click.argument("number", type=int)
@of_study
def table(run: Run, number: int) -> None:
    """Write table NUMBER (csv, md, tex) from finished measurements."""
    render(f"table_{number}", run)


@commands.command()
@click.argument("number", type=int)
@with_own_figures
@of_study
def figure(run: Run, number: int) -> None:
    """Draw figure NUMBER (pdf, svg, png) from finished measurements."""
    render(f"figure_{number}", run)


def render(name: str, run: Run) -> None:
    """Write something to read."""
    from contrastive_inversion.run import fresh, rendered

    rendered.Target(name, fresh.Results(run.study, run.results), run.figures, run.compare).write()


@commands.command()
@of_study
def cells(run: Run) -> None:
    """Write cells.csv: every printed number beside ours."""
    render("cells", run)


@commands.command()
@of_study
def claims(run: Run) -> None:
    """Write claims.csv: what the paper says in words, and whether it holds here."""
    render("claims", run)


@commands.command()
@of_study
def spreads(run: Run) -> None:
    """Write spreads.csv: how far the trainings of a study with several seeds spread."""
    if len(run.study.settings.training_seeds) == 1:
        raise UserError(f"study {run.study.name} has a single training seed: of one training there is no spread")
    render("spreads", run)


@commands.command()
@with_own_figures
@of_study
@beside
def report(run: Run) -> None:
    """Write report.html: every table and figure, published beside ours."""
    render("report", run)


@commands.command()
@click.option("--because", required=True, help="why the change leaves the products as good as they are")
@click.argument("products", nargs=-1, metavar="[PRODUCT]...")
@of_study
def accept(run: Run, products: tuple[str, ...], because: str) -> None:
    """Keep finished products although the code that made them has changed since; the page says so and why.

    PRODUCT: such as encoders/student-rm90; all of the study where none is named.
    """
    from contrastive_inversion.run import fresh

    for line in fresh.accept(fresh.Results(run.study, run.results), products, because):
        print(f"kept: {line}")


@commands.command()
@click.option("--partial", is_flag=True, help="from the measurements that are there; the page names the others")
@with_own_figures
@of_study
@beside
def verify(run: Run, partial: bool) -> None:
    """Check all measurement files and rebuild everything from them alone."""
    from contrastive_inversion.run.verify import verify

    verify(run.study, run.results, run.figures, partial, run.compare)


@commands.command()
@click.argument("product")
@click.option("--root", required=True, type=FOLDER, help="the study's folder, such as results/demo")
@click.option("--paper", required=True, help="the paper whose kinds of job the recipe is of")
@click.option("--recipe", "text", required=True, help="the product's canonical recipe")
@click.option("--gpus", "count", default=0, type=click.IntRange(0, 1), help="GPUs to take; 0 computes on the CPU")
@click.option("--threads", default=1, type=click.IntRange(1, 1024), help="threads that read and crop pictures")
def make(product: str, root: Path, paper: str, text: str, count: int, threads: int) -> None:
    """Make one PRODUCT of a study from its recipe; what the workflow's rules call."""
    if not all(map(is_name, product.split("/"))):
        raise UserError(f"{shown(product)} is no product")
    # before torch is imported: it reads both once
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    gc.disable()  # imports leave no garbage; looking for it would be a sixth of a job's start (`jobs.computed` ends it)
    from contrastive_inversion.base import gpus
    from contrastive_inversion.run import jobs

    device, take_device = ("cuda", gpus.acquire) if count else ("cpu", gpus.give_way)
    try:
        jobs.run(product, papers.paper(paper), root, text, device, threads, take_device)
    except KeyboardInterrupt:
        raise click.Abort("finished epochs are kept") from None
    sys.stdout.flush()
    os._exit(0)  # all is written; torch's own teardown would take half a second more
