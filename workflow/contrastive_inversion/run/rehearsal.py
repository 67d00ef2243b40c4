"""A rehearsal: real jobs of every kind, at their real shape on few images; it measures the rates that `plan` reads.

Each job is the very command that the workflow runs, in a process of its own, so that its memory is its own. ImageNet's
pictures and published weights need not be there: pictures of their size and weights drawn at random cost as much.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from filelock import FileLock

from contrastive_inversion.base import files, gpus, rates
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, Report, is_locked
from contrastive_inversion.base.rates import Measured, Rehearsed
from contrastive_inversion.base.work import GB
from contrastive_inversion.data.settings import Images, Photos
from contrastive_inversion.data.work import store
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study, changed
from contrastive_inversion.run import costs, stand_ins

PREFIX = ".rehearsal-"  # of the folder of one
MINUTES = 10  # in all; a job that is not done by then is ended
# images, epochs and batch (None: its own), on a GPU and on a CPU; few epochs, for each ends with a checkpoint
LARGE, SMALL = (4096, 2, None), (16, 1, 8)
PACKED = 500
COUNTED = {"train": PACKED, "test": None}
SECONDS_BETWEEN_LOOKS = 0.05  # at the memory of a job
SECONDS_TO_BEGIN = 60  # until the folder of a rehearsal has its lock, at most
WORTH = 0.5  # seconds that the plan must say of a job for its measurement to mean anything


@dataclass(frozen=True)
class Trial:
    """What jobs of a kind took, as multiples of what the plan says of them, and the seconds of which that is.

    planned_gb: of a GPU's memory.
    """

    kind: str
    seconds: float
    planned: float
    ram: float = 1.0
    gpu: float = 1.0
    planned_gb: float = 0.0


@dataclass(frozen=True)
class Stage:
    """Where jobs are rehearsed: in which folder, on which cards (all of one name; none: CPUs), and until when."""

    folder: Path
    cards: list[gpus.Card]
    ends: float

    @property
    def card(self) -> str | None:
        """The name of its cards."""
        return self.cards[0].name if self.cards else None

    @property
    def environment(self) -> dict[str, str]:
        """Of jobs, that see its cards alone."""
        mask = {"CUDA_VISIBLE_DEVICES": ",".join(card.uuid for card in self.cards)} if self.cards else {}
        return os.environ | mask

    @property
    def seconds_left(self) -> float:
        """Until it ends; not below 0."""
        return max(self.ends - time.monotonic(), 0)


class Late(UserError):
    """The time of a rehearsal is over."""


def rehearse(study: Study[Any], results: Path, minutes: float = MINUTES) -> Rehearsed:
    """Run the rehearsal and write what it found to the folder of results, in one piece at the end.

    Raises UserError for a job that fails, memory that does not suffice among the reasons; old rates then stay.
    """
    visible = gpus.visible() if study.settings.gpu else []
    cards = [card for card in visible if card.name == visible[0].name]
    small, ends = lowered(study, bool(cards)), time.monotonic() + 60 * minutes
    results.mkdir(parents=True, exist_ok=True)
    trials: list[Trial] = []
    clear_up(results)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=results) as folder, FileLock(Path(folder, "lock")):
        stage = Stage(Path(folder), cards, ends)
        try:
            for product in in_order(small):
                trials += made(product, small, stage)
        except Late as late:
            print(f"{late}, as {minutes:g} minutes are over", flush=True)
    for line in unmeasured(trials, small):
        print(line, flush=True)
    content = Rehearsed(device=stage.card, kinds=earlier(results, stage.card) | by_kind(trials, study))
    files.write_json(results / rates.REHEARSED, content.model_dump())
    return content


def clear_up(results: Path) -> None:
    """Remove the folders of rehearsals that were killed: a living one holds its own's lock, moments after it began."""
    for folder in results.glob(f"{PREFIX}*"):
        if not is_locked(folder) and time.time() - folder.stat().st_mtime > SECONDS_TO_BEGIN:
            shutil.rmtree(folder, ignore_errors=True)


def lowered(study: Study[Any], on_gpu: bool) -> Study[Any]:
    """The study with fewer images and epochs; without a GPU smaller batches too.

    Raises UserError for a paper that names no rehearsal.
    """
    if study.paper.rehearsal is None:
        raise UserError(f"the paper '{study.paper.name}' does not say what to rehearse (`Paper.rehearsal`)")
    how = LARGE if on_gpu or not study.settings.gpu else SMALL
    return changed(study, study.paper.rehearsal(study, *how) | {"gpu": int(on_gpu)})


def in_order(study: Study[Any]) -> list[str]:
    """The study's products, each after those that it waits for, one chain of jobs after the other.

    So that all kinds of the first chain, a training and its measurement among them, are done before a second one.
    """
    wanted = plan.behind_targets([], study)
    recipes, ordered = plan.with_inputs(wanted, study), dict[str, None]()

    def add(product: str) -> None:
        for needed in recipes[product].waits_for:
            add(needed)
        ordered.setdefault(product)

    for product in wanted:
        add(product)
    return list(ordered)


def made(product: str, study: Study[Any], stage: Stage) -> Iterator[Trial]:
    """Make a product of the lowered study and tell what it took; what stands in for weights tells nothing."""
    recipe = plan.recipe_of(product, study)
    job = Job(product, stage.folder / study.name, digest(plan.recipe(product, study)), recipe.inputs)
    print(f"{product} ...", flush=True)
    if isinstance(recipe, Weights):
        stand_ins.drawn(recipe, job, study)
        return
    if isinstance(recipe, Images) and isinstance(recipe.settings, Photos):
        yield packed(recipe, job, study, stage.folder)
        return
    planned = costs.cost(product, study, costs.Machine(stage.card, {}))
    ram_gb = command(product, study, stage)
    record, (seconds, share) = files.record_in(job.path), clocked(job, bool(planned.gpu_gb))
    tells = planned.gpu_gb and not fills_card(product, study)
    gpu = taken_gb(record["gpu_gb"], stage) / planned.gpu_gb if tells else 1.0
    yield Trial(planned.kind, seconds, share * planned.busy_seconds, ram_gb / planned.ram_gb, gpu, planned.gpu_gb)


def fills_card(product: str, study: Study[Any]) -> bool:
    """Whether a job takes as many images at once as its card has room for, and so fits into a smaller one."""
    work = costs.work_of(product, study)
    return bool(work.image_gb) and not work.batch


def taken_gb(reserved_gb: float, stage: Stage) -> float:
    """The GB of its card that a job took: torch knows what it reserved, the plan also has what CUDA keeps for itself.

    A job that was done had no more than there is.
    """
    return min(reserved_gb + costs.CUDA_GB, stage.cards[0].gib * 2**30 / GB)


def clocked(job: Job, on_gpu: bool) -> tuple[float, float]:
    """The seconds that a job worked, and of which share of its work they are.

    On a GPU the first part, a step of a training, does not count, where it is not all: it loads libraries and kernels,
    which takes seconds, and a job of real length does so once too.
    """
    note = job.state / "progress.json"
    if not note.exists():
        return files.record_in(job.path)["seconds"], 1.0
    report = Report.model_validate_json(note.read_bytes())
    if on_gpu and report.first_share < 1:
        return report.seconds - report.first_seconds, 1 - report.first_share
    return report.seconds, 1.0


def command(product: str, study: Study[Any], stage: Stage) -> float:
    """Run a job as the workflow does: the GB of RAM that it took.

    Raises UserError with its last line if it fails, and Late if it is not done in time.
    """
    line = [sys.executable, "-m", "contrastive_inversion", "make", product, "--root", str(stage.folder / study.name)]
    line += ["--paper", study.paper.name, "--recipe", plan.recipe(product, study)]
    line += ["--gpus", str(costs.gpus(product, study)), "--threads", str(costs.picture_threads(product, study))]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, env=stage.environment)
        try:
            ram_gb = awaited(process, stage.seconds_left)
        finally:  # should the rehearsal be ended meanwhile
            process.kill()
            process.wait()
        log.seek(0)
        lines = log.read().splitlines()
    if process.returncode == -9 and not stage.seconds_left:
        raise Late(f"{product} and what follows are not measured")
    if process.returncode == -9:
        raise UserError(f"{product}: killed, as a system does when its memory does not suffice")
    if process.returncode:
        raise UserError(f"{product}: {lines[-1].removeprefix('Error: ') if lines else 'failed'}")
    return ram_gb


def awaited(process: "subprocess.Popen[bytes]", seconds: float) -> float:
    """Wait for the end of a process, which is killed after so many seconds: the GB of RAM that it took for itself."""
    ends, taken = time.monotonic() + seconds, 0.0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        taken = max(taken, own_gb(process.pid))
        if time.monotonic() > ends:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    whole = ended[2].ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return taken or whole  # where the system does not tell the former


def own_gb(process: int) -> float:
    """The GB of RAM that are a process's own now; files that it maps, such as stores of pictures, are everybody's."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return sum(map(int, re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", status))) * 1024 / GB


def packed(recipe: Images, job: Job, study: Study[Any], folder: Path) -> Trial:
    """A store of generated pictures of ImageNet's size; what packing many of them took."""
    from contrastive_inversion.data import packing

    paths = stand_ins.pictures(folder / "pictures")
    counts = {split: getattr(recipe.settings, split) or stand_ins.PICTURES for split in ("train", "test")}
    stand_ins.store({split: stand_ins.entries(paths, count) for split, count in counts.items()}, job, study)
    began, measured = time.monotonic(), Job("images/packed", folder, "")
    packing.pack({"train": stand_ins.entries(paths, PACKED)}, measured.path, measured.state)
    work = store(recipe.model_copy(update={"settings": recipe.settings.model_copy(update=COUNTED)}), {})
    planned = costs.on_core({unit: amount for unit, amount in work.host.items() if unit in ("decode", "header")})
    return Trial("images", time.monotonic() - began, planned)


def earlier(results: Path, card: str | None) -> dict[str, Measured]:
    """What an earlier rehearsal on the same device found, another paper's kinds of job among it."""
    known = rates.rehearsed(results)
    return dict(known.kinds) if known and known.device == card else {}


def by_kind(trials: list[Trial], study: Study[Any]) -> dict[str, Measured]:
    """What was found by kind of job; a kind of moments is left out."""
    kinds: dict[str, list[Trial]] = {}
    for each in trials:
        kinds.setdefault(each.kind, []).append(each)
    known = {kind: each for kind, each in kinds.items() if any(trial.planned > WORTH for trial in each)}
    return {f"{study.paper.name}/{kind}": together(each) for kind, each in known.items()}


def unmeasured(trials: list[Trial], study: Study[Any]) -> Iterator[str]:
    """A line for each kind of job that a rehearsal of the lowered study says nothing of, and why."""
    measured = by_kind(trials, study)
    planned = {each.kind: each.planned for each in sorted(trials, key=attrgetter("planned"))}  # the longest of each
    for kind in dict.fromkeys(study.paper.kind_of(plan.recipe_of(product, study)) for product in in_order(study)):
        if f"{study.paper.name}/{kind}" not in measured:
            yield f"{kind}: not measured, {why_not(kind, planned, study)}; what is known of it stays"


def why_not(kind: str, planned: dict[str, float], study: Study[Any]) -> str:
    """Why a kind of job is not measured, in words; planned: the seconds that the plan says of those that were tried."""
    if issubclass(study.paper.jobs[kind].recipe, Weights):
        return "as random weights stand in for published ones"
    if kind not in planned:
        return "as the time was over"
    return f"as the plan has {planned[kind]:.2g} s for the longest that was run, and less than {WORTH} s tells nothing"


def together(trials: list[Trial]) -> Measured:
    """What the jobs of one kind say together, those of moments of their memory alone; of a GPU's the largest job.

    Of RAM no less than the plan says: what is held of a study's data is hardly there yet.
    """
    long = [each for each in trials if each.planned > WORTH]
    seconds = sum(each.seconds for each in long)
    return Measured(
        ratio=max(seconds / sum(each.planned for each in long), 1e-3),
        ram=max(1.0, *(each.ram for each in trials)),
        gpu=max(trials, key=attrgetter("planned_gb")).gpu,
        work=f"{len(long)} job{'s' * (len(long) > 1)}, {seconds:.1f} s",
    )
