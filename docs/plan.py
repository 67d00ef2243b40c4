"""The page plan.md and two tables in the README: what studies take, as `contrastive-inversion plan` says.

`python docs/plan.py` writes them; a test says when they are no longer what the code says.
"""

import re
import textwrap
from pathlib import Path

from contrastive_inversion import papers
from contrastive_inversion.run import budget, costs

PAGE = Path(__file__).with_name("plan.md")
README = Path(__file__).parent.parent / "README.md"
TABLE = re.compile(r"(<!-- (plan|cards) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
TARGETS = {"Table 1": ["table_1"], "Figure 3": ["figure_3"], "all": []}
STUDIES = dict.fromkeys(("paper", "paper-16bit", "authors"), tuple(TARGETS)) | {
    "paper-seeds": ("all",),
    "simclr": ("all",),
    "simclr-authors": ("all",),
}
CARDS = {"24 GB, RTX 3090": "imagenette", "12 GB, RTX 3060": "imagenette-12gb"}
TITLES = (
    "study", "what", "jobs", "H100 h", "card, GB", "RAM, GB", "disk, GB", "1 GPU, h", "4 GPUs, h", "8 GPUs, h",
)  # fmt: skip
NOWHERE = Path("/nonexistent")  # no rehearsal: the numbers of rates.yaml
INTRODUCTION = """# What a study takes

Written by `python docs/plan.py`: what `contrastive-inversion plan` says of the studies that need GPUs, before anything
was measured on one. Costs follow from the recipes (epochs, images, networks, batches); what a unit of work takes stands
in `base/rates.yaml`, each number with its origin. `contrastive-inversion rehearse --study paper` runs a little of every
kind of job at its real shape, in minutes and without the data, and lays what it measured over these
(`results/rates.json`); `plan`, `doctor` and the memory, time limits and priorities of the workflow's rules follow.

The times on 1, 4 and 8 GPUs are those of a schedule, longest chain of jobs first, on 16, 16 and 32 cores: a job that
holds a GPU claims one core, and jobs without one give way to its picture threads."""


PRECISION = (
    "Precision is most of the bill: `paper` is {paper} hours of an H100, with baselines in fp32, as the paper's were; "
    "`paper-16bit`, which rounds baselines, probes and measurements, is {sixteen}. How far rounding moves the "
    "accuracies of the demo's small networks: "
    "[benchmarks/README.md](../benchmarks/README.md#what-a-networks-precision-moves)."
)


def hours(name: str) -> str:
    """Of an H100, that a study takes."""
    study = papers.study(name)
    whole = budget.of([], study, costs.machine_of(study, NOWHERE))
    return budget.rounded(whole.total("gpu_seconds") / budget.HOUR)


def precision() -> str:
    """What the paper's study takes, and the one that rounds."""
    said = PRECISION.format(paper=hours("paper"), sixteen=hours("paper-16bit"))
    return textwrap.fill(said, 120)


def page() -> str:
    """The page as Markdown."""
    parts = [f"## {name}\n\n{budget.page([], papers.study(name), NOWHERE)}" for name in STUDIES]
    return "\n\n".join([INTRODUCTION, precision(), *parts]) + "\n"


def paper_table() -> str:
    """The studies that need GPUs: hours of an H100, the largest job on a card and in RAM, disk, time on some GPUs."""
    rows = []
    for name, shown in STUDIES.items():
        study = papers.study(name)
        machine = costs.machine_of(study, NOWHERE)
        for target in shown:
            found = budget.of(TARGETS[target], study, machine)
            jobs, gpu, _, card, ram, _, kept, *walls = budget.target_row("", found, budget.MACHINES)[1:]
            rows.append([name, target, jobs, gpu, card, ram, kept, *walls])
    return budget.table(rows, TITLES)


def card_table() -> str:
    """The studies of photographs on the cards that they are for: the largest job, hours, disk."""
    rows = []
    for card, name in CARDS.items():
        study = papers.study(name)
        whole = budget.of([], study, costs.machine_of(study, NOWHERE, card.partition(", ")[2]))
        hours = whole.total("gpu_seconds") / budget.HOUR
        rows.append([card, f"`{name}`", *map(budget.rounded, (whole.peak("gpu_gb"), hours, whole.total("kept_gb")))])
    return budget.table(rows, ["card", "study", "largest job, GB", "GPU hours", "disk, GB"])


def readme() -> str:
    """The README with its tables as they are now."""
    tables = {"plan": paper_table, "cards": card_table}
    text = README.read_text(encoding="utf-8")
    return TABLE.sub(lambda match: f"{match[1]}{tables[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
