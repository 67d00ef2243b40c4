"""How long Snakemake takes to plan many jobs, and in how much memory: the table of docs/cluster.md.

`python benchmarks/many_jobs.py 1 2 5 10` makes as many studies, each with a teacher of its own, since a study has one.
Under each of 20 distortions they train a student and a baseline, from five seeds. One graph holds all the studies; it
is only built. The last row is the study of the paper. Run it on a machine with little else to do.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from tabulate import tabulate

REPOSITORY = Path(__file__).resolve().parent.parent
DISTORTIONS = [f"haze{number}" for number in range(20)]
MEASURED = ("student-{0} | probe 100% | imagenet100 | {0} | top1", "baseline-{0} | own | imagenet100 | {0} | top1")


@dataclass(frozen=True)
class Planned:
    """A dry run: its jobs, seconds of processor time, and its memory at the peak."""

    jobs: int
    seconds: float
    megabytes: float


def study(teacher: int) -> dict[str, object]:
    """What a study says whose teacher is like no other's."""
    masks = {name: [{"op": "mask", "fraction": [0.1, 0.2 + i / 100]}] for i, name in enumerate(DISTORTIONS)}
    return {
        "inherits": "smoke",
        "description": "Many jobs.",
        "tables": [],
        "figures": [],
        "training_seeds": [1, 2, 3, 4, 5],
        "distortions": masks,
        "teacher": {"epochs": 2 + teacher},
        "also": [line.format(name) for name in DISTORTIONS for line in MEASURED],
    }


def write_studies(folder: Path, teachers: int) -> list[str]:
    """Write a config.yaml and its studies. Returns the targets of all of them."""
    names = [f"teacher{number}" for number in range(teachers)]
    for number, name in enumerate(names):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(study(number)))
    (folder / "config.yaml").write_text(f"study: {names[0]}\nstudies: .\n")
    return [f"results/{name}/report.html" for name in names]


def dry_run(folder: Path, *arguments: str) -> Planned:
    """Let Snakemake plan in a folder."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1"]
    with (folder / "said").open("w+") as said:
        options = {"cwd": folder, "stdout": said, "stderr": subprocess.STDOUT}
        process = subprocess.Popen([*command, "--dry-run", "--quiet", "rules", "--", *arguments], **options)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        lines = said.read().splitlines()
    if status:
        sys.exit("\n".join(lines))
    (jobs,) = {int(line.split()[1]) for line in lines if line.startswith("total ")}
    return Planned(jobs, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def table(rows: dict[str, Planned]) -> str:
    """The dry runs in Markdown."""
    cells = [(name, f"{run.jobs:,}", f"{run.seconds:.1f}", f"{run.megabytes:.0f}") for name, run in rows.items()]
    aligned = ("left", "right", "right", "right")
    return tabulate(cells, ("graph", "jobs", "seconds", "MB"), "pipe", colalign=aligned, disable_numparse=True)


def main(sizes: list[int]) -> None:
    """Print the table."""
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for teachers in sizes:
            rows[f"{teachers} x {len(DISTORTIONS)} x 5"] = dry_run(folder, *write_studies(folder, teachers))
        (folder / "config.yaml").write_text("study: paper\n")
        rows["the paper's study"] = dry_run(folder)
    print(table(rows))


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [1, 2, 5, 10])
