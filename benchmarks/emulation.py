"""A study's schedule without its computing: real Snakemake, real slots, jobs that sleep the time that the plan says.

`python benchmarks/emulation.py --gpus 4 --cores 16` says how busy the GPUs were. An nvidia-smi that lists as many cards
stands in for them; each job takes its card by `base.gpus.acquire` as it would, and writes an empty file. Processes
start in real time, so the shorter an hour is made, the more they count.
"""

import argparse
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contrastive_inversion.base import gpus

REPOSITORY = Path(__file__).resolve().parent.parent
TIMES, EVENTS = "times.json", "events"  # in the folder of the emulation
FOLDER = "EMULATION_FOLDER"
RAM_MB = 512_000
HOUR = 3600


@dataclass(frozen=True)
class Event:
    """A job that ran: from when to when, on which card (empty: on none)."""

    product: str
    began: float
    ended: float
    card: str


def sleep_instead(arguments: Sequence[str]) -> None:
    """Be the job that a rule's line asks for: hold its card for as long as it would, and write its file, empty.

    Imports next to nothing, for its start is none of the time that is emulated.
    """
    product = arguments[arguments.index("make") + 1]
    root, count = (arguments[arguments.index(name) + 1] for name in ("--root", "--gpus"))
    folder = Path(os.environ[FOLDER])
    card = gpus.acquire(poll_seconds=0.05) if int(count) else ""
    began = time.time()
    time.sleep(json.loads((folder / TIMES).read_text())[product])
    path = Path(root) / (f"{product}.json" if product.startswith("measurements/") else f"{product}.safetensors")
    path.touch()
    event = {"product": product, "began": began, "ended": time.time(), "card": card}
    (folder / EVENTS / f"{product.replace('/', ' ')}.json").write_text(json.dumps(event))


def machine(folder: Path, count: int) -> None:
    """Programs named nvidia-smi, which lists so many cards, and python3, which sleeps."""
    cards = "\\n".join(f"{i}, GPU-{i}, 81559, 0, NVIDIA H100" for i in range(count))
    answers = {"nvidia-smi": f"printf '{cards}\\n'", "python3": f"exec '{sys.executable}' '{__file__}' \"$@\""}
    (folder / "bin").mkdir()
    for name, answer in answers.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{answer}\n")
        (folder / "bin" / name).chmod(0o755)


def environment(folder: Path) -> dict[str, str]:
    """Of Snakemake and its jobs."""
    path, package = (os.pathsep.join([str(new), os.environ.get(name, "")]) for new, name in
                     ((folder / "bin", "PATH"), (REPOSITORY / "workflow", "PYTHONPATH")))  # fmt: skip
    return {"PATH": path, "PYTHONPATH": package, FOLDER: str(folder), "GPU_SLOT_FOLDER": str(folder / "slots")}


def emulate(study_name: str, targets: Sequence[str], count: int, cores: int, hour: float, folder: Path) -> list[Event]:
    """Run the jobs behind some targets of a study, all of it where none is named; an hour takes so many seconds."""
    from unittest import mock

    from snakemake.cli import main

    from contrastive_inversion import papers
    from contrastive_inversion.base.job import file_of
    from contrastive_inversion.run import budget, costs, doctor
    from contrastive_inversion.run import environment as around

    study = papers.study(study_name)
    planned = budget.of(targets, study, costs.machine_of(study, folder)).costs
    (folder / EVENTS).mkdir()
    times = {product: cost.seconds * hour / HOUR for product, cost in planned.items()}
    (folder / TIMES).write_text(json.dumps(times))
    machine(folder, count)
    line = ["--snakefile", str(REPOSITORY / "Snakefile"), "--quiet", "rules", "progress"]
    line += ["--cores", str(cores), "--resources", f"gpu={count}", f"mem_mb={RAM_MB}"]
    line += ["--configfile", str(REPOSITORY / "config.yaml"), "--config", f"study={study_name}", "--"]
    line += [f"results/{study_name}/{file_of(product)}" for product in planned]
    nothing_lacks = mock.patch.multiple(doctor, problems=lambda *_: [], gpu_problems=list)
    with contextlib.chdir(folder), mock.patch.dict(os.environ, environment(folder)), nothing_lacks:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        with mock.patch.object(around, "prepare", lambda: None):
            try:
                main(line)
            except SystemExit as ended:
                if ended.code:
                    raise
    return [Event(**json.loads(path.read_text())) for path in (folder / EVENTS).iterdir()]


def overlaps(events: Sequence[Event]) -> list[tuple[str, str]]:
    """Jobs that held a card at the same time."""
    ordered = sorted((event for event in events if event.card), key=lambda event: (event.card, event.began))
    return [(a.product, b.product) for a, b in itertools.pairwise(ordered) if a.card == b.card and b.began < a.ended]


def shares(events: Sequence[Event], count: int) -> Mapping[str, float]:
    """The seconds from the first start to the last end, and the share of them that the cards were held."""
    span = max(event.ended for event in events) - min(event.began for event in events)
    held = sum(event.ended - event.began for event in events if event.card)
    return {"seconds": span, "busy": held / (count * span)}


def report() -> None:
    """Emulate what the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help="table_1, ...; all where none is named")
    for name, default in (("study", "paper"), ("gpus", 4), ("cores", 16), ("hour", 36.0)):
        parser.add_argument(f"--{name}", type=type(default), default=default, help="(default: %(default)s)")
    how = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        events = emulate(how.study, how.targets, how.gpus, how.cores, how.hour, Path(folder))
    found = shares(events, how.gpus)
    print(f"{len(events)} jobs, {found['seconds'] / how.hour:.1f} h at {how.hour:g} s an hour, {how.gpus} GPUs held")
    print(f"{100 * found['busy']:.1f} % of the time, {len(overlaps(events))} jobs at the same time on one card")


if __name__ == "__main__":
    if "make" in sys.argv and FOLDER in os.environ:
        sleep_instead(sys.argv)
    else:
        report()
