"""What a study takes before it is begun: by kind of job, and by target with the time on one, four and eight GPUs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from contrastive_inversion.base import rates
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.settings import shown
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.run import costs
from contrastive_inversion.run.costs import Cost, Machine
from contrastive_inversion.run.schedule import Task, makespan

HOUR = 3600
MACHINES = ((1, 16), (4, 16), (8, 32))  # GPUs and cores
LAPTOPS = ((0, 1), (0, 2), (0, 8))
SIZES = ["GPU, GB", "RAM, GB", "written, GB", "kept, GB"]
Costs = dict[str, Cost]


@dataclass(frozen=True)
class Budget:
    """The jobs behind some targets of a study with their costs, by product, and what each is made from."""

    costs: Costs
    inputs: dict[str, list[str]]

    def total(self, what: str) -> float:
        """The sum of a part of the costs, such as `gpu_seconds`."""
        return sum(getattr(cost, what) for cost in self.costs.values())

    def peak(self, what: str) -> float:
        """The largest of a part of the costs, such as `gpu_gb`; 0 where there is no job."""
        return max((getattr(cost, what) for cost in self.costs.values()), default=0.0)

    def hours_on(self, gpus: int, cores: int) -> float:
        """Until all jobs are done on a machine."""
        tails = costs.longest_tails(self.inputs, {name: cost.seconds for name, cost in self.costs.items()})
        tasks = {
            name: Task(cost.seconds, self.inputs[name], tails[name], int(cost.gpu_seconds > 0))
            for name, cost in self.costs.items()
        }
        return makespan(tasks, gpus, cores) / HOUR


def of(targets: Iterable[str], study: Study[Any], machine: Machine) -> Budget:
    """What some targets of a study take, all of it where none is named."""
    recipes = plan.with_inputs(plan.behind_targets(targets, study), study)
    job_costs = {product: costs.cost(product, study, machine) for product in recipes}
    return Budget(job_costs, {product: recipe.waits_for for product, recipe in recipes.items()})


def check_card(card: str, study: Study[Any]) -> None:
    """Raise UserError for what is no card, or where a study has no use for one."""
    if not card.strip():
        raise UserError("--card: '' is no card; leave it out, or name one such as H100")
    if not study.settings.gpu and rates.published().known(card) != "CPU":
        raise UserError(f"--card: {shown(card)} changes nothing: study {study.name} takes no GPU")


def title(study: Study[Any], machine: Machine) -> str:
    """What is planned for which machine; of a card without rates, whose are assumed."""
    guessed = machine.card and not rates.published().known(machine.card)
    return f"Study {study.name} on {machine.card or 'CPUs'}{f', {machine.speeds.origin}' if guessed else ''}."


def page(targets: Sequence[str], study: Study[Any], results: Path, card: str | None = None) -> str:
    """The plan of a study as Markdown: its kinds of job and its targets, every one where none is named.

    Raises UserError as `check_card` does.
    """
    if card is not None:
        check_card(card, study)
    machine = costs.machine_of(study, results, card)
    whole = of(targets, study, machine)
    parts = [
        title(study, machine),
        kinds_table(whole),
        targets_table(targets, study, machine),
    ]
    return "\n\n".join([*parts, origins(whole)])


def kinds_table(budget: Budget) -> str:
    """A row for each kind of job."""
    kinds: dict[str, Costs] = {}
    for product, cost in budget.costs.items():
        kinds.setdefault(cost.kind, {})[product] = cost
    rows = [kind_row(kind, Budget(jobs, budget.inputs)) for kind, jobs in kinds.items()]
    titles = ["kind of job", "jobs", "GPU h", "CPU h", "longest, h", *SIZES]
    return table([*rows, kind_row("all", budget)], titles)


def kind_row(name: str, budget: Budget) -> list[Any]:
    return [name, len(budget.costs), *map(rounded, [*hours(budget), budget.peak("seconds") / HOUR, *sizes(budget)])]


def hours(budget: Budget) -> list[float]:
    """Of GPUs and of cores."""
    return [budget.total("gpu_seconds") / HOUR, budget.total("cpu_seconds") / HOUR]


def sizes(budget: Budget) -> list[float]:
    """GB, as in SIZES: of the largest jobs, and on the disk."""
    return [budget.peak("gpu_gb"), budget.peak("ram_gb"), budget.total("written_gb"), budget.total("kept_gb")]


def targets_table(targets: Sequence[str], study: Study[Any], machine: Machine) -> str:
    """A row for each target alone, and one for all."""
    machines = MACHINES if machine.card else LAPTOPS
    shown = targets or [f"table_{n}" for n in study.settings.tables] + [f"figure_{n}" for n in study.settings.figures]
    rows = [target_row(target, of([target], study, machine), machines) for target in shown]
    rows.append(target_row("all", of(targets, study, machine), machines))
    walls = [counted(gpus, "GPU") if gpus else counted(cores, "core") for gpus, cores in machines]
    return table(rows, ["target", "jobs", "GPU h", "CPU h", *SIZES, *walls])


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number > 1)}, h"


def target_row(name: str, budget: Budget, machines: Iterable[tuple[int, int]]) -> list[Any]:
    walls = [budget.hours_on(gpus, cores) for gpus, cores in machines]
    return [name, len(budget.costs), *map(rounded, [*hours(budget), *sizes(budget), *walls])]


def table(rows: Sequence[Sequence[Any]], titles: Sequence[str]) -> str:
    numbers = ["left", *["right"] * (len(titles) - 1)]
    return tabulate(rows, titles, tablefmt="github", colalign=numbers, disable_numparse=True)


def rounded(value: float) -> str:
    """A number to two digits that count."""
    return (
        f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}" if value >= 0.01 else "0"
    )


def origins(budget: Budget) -> str:
    """Where the times are from, a line for each origin."""
    kinds: dict[str, dict[str, None]] = {}
    for cost in budget.costs.values():
        kinds.setdefault(cost.origin, {})[cost.kind] = None
    lines = [f"- {', '.join(names)}: {origin}" for origin, names in kinds.items()]
    return "\n".join(["Times:", *lines, "", "`contrastive-inversion rehearse` measures them on this machine."])
