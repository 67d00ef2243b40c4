"""A running job: its inputs, and its own folder with lock, checkpoint and the progress that people look at.

Snakemake knows nothing of this folder, so it survives a failed or killed job. Imports no torch.
"""

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import AllowInfNan, BaseModel, ConfigDict
from tqdm import tqdm

from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError

SECONDS_BETWEEN_REPORTS = 2
KEPT = ("lock", "progress.json")  # of a finished job's own folder


def is_measurement(product: str) -> bool:
    """Whether a product is numbers to be read, and no tensors."""
    return product.startswith("measurements/")


def file_of(product: str) -> str:
    """A product's file below the study's folder of results: measurements are JSON, all else is safetensors."""
    return f"{product}.json" if is_measurement(product) else f"{product}.safetensors"


@dataclass(frozen=True)
class Input:
    """A product's file, and the digest of the recipe that must have made it (None: whichever)."""

    path: Path
    recipe_hash: str | None = None


@dataclass(frozen=True)
class Job:
    """What a running job knows besides its recipe.

    product: its name, such as `encoders/student-rm90`; root: the study's folder of results; inputs: the products that
    it is made from, with their recipes' digests; device: `cpu` or `cuda`; threads: how many read and crop pictures,
    ahead of the device where there are several.
    """

    product: str
    root: Path
    recipe_hash: str
    inputs: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    @property
    def path(self) -> Path:
        """The file that the job makes."""
        return self.root / file_of(self.product)

    @property
    def state(self) -> Path:
        """The job's own folder."""
        return self.root / "state" / self.product

    def forget(self) -> None:
        """Delete what a restart would have taken up, now that the product is there."""
        for path in self.state.iterdir():
            if path.is_file() and path.name not in KEPT:  # a folder is another product's
                path.unlink()

    def input(self, product: str) -> Input:
        """The file of a product that the job is made from."""
        return Input(self.root / file_of(product), self.inputs[product])


@contextmanager
def alone(job: Job) -> Iterator[None]:
    """Hold the job's own lock, waiting for another process that makes the same product.

    What a killed one was writing is removed. Raises UserError where the folder cannot be written.
    """
    lock = FileLock(job.state / "lock")
    with files.writable(job.state):
        job.state.mkdir(parents=True, exist_ok=True)
        if is_locked(job.state):
            print(f"{job.product}: another process is making this; waiting for it", flush=True)
        lock.acquire()
    try:
        for left in [*job.path.parent.glob(f".{job.path.name}.*"), *job.state.glob(".*")]:
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the lock of a job's folder; it only looks, since the job may be another user's."""
    try:
        with open(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # held; of one that cannot be asked, its being there is all that is known
        return True
    return False


class Report(BaseModel):
    """What a job says of itself in `progress.json`; times in seconds.

    epoch: counted from 1; first_seconds, first_share: how long the first part took, which alone loads a GPU's kernels,
    and what share of the work that was.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    product: str
    state: Literal["running", "finished", "report damaged"]
    updated: float
    epoch: int = 0
    epochs: int = 0
    loss: Annotated[float, AllowInfNan()] | None = None  # null where it overflowed, as in float16 it may
    images_per_second: float = 0
    seconds: float = 0
    first_seconds: float = 0
    first_share: float = 0
    eta_seconds: float = 0


class Progress:
    """A progress bar in the log, and a Report in the job's folder.

    epochs x images is the work to do; an `epoch` may also be a level or an instantiation.
    """

    def __init__(self, job: Job, epochs: int, images: int, done_epochs: int = 0) -> None:
        self.job, self.epochs = job, epochs
        self.total = epochs * images
        self.done = self.at_start = done_epochs * images
        self.started, self.reported = time.time(), 0.0
        self.first_seconds = self.first_share = 0.0
        self.bar = tqdm(
            total=self.total, initial=self.done, unit="image", desc=job.product, mininterval=5, smoothing=0.1
        )

    def advance(self, epoch: int, images: int, loss: float | None = None) -> None:
        """Count some images of an epoch (from 0) as done, and report now and then."""
        if self.done == self.at_start:
            self.first_seconds, self.first_share = time.time() - self.started, images / (self.total - self.at_start)
        self.done += images
        self.bar.update(images)
        if time.time() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.bar.set_postfix_str(f"epoch {epoch + 1}/{self.epochs}" + (f", loss {loss:.4f}" if loss else ""))
            self.report("running", epoch + 1, loss)

    def report(self, state: Literal["running", "finished"], epoch: int, loss: float | None) -> None:
        """Write how far the job is."""
        self.reported = time.time()
        rate = (self.done - self.at_start) / max(self.reported - self.started, 1e-6)
        report = Report(
            product=self.job.product, state=state, epoch=epoch, epochs=self.epochs, loss=loss,
            images_per_second=round(rate, 1), updated=self.reported, seconds=round(self.reported - self.started, 3),
            first_seconds=round(self.first_seconds, 3), first_share=self.first_share,
            eta_seconds=round((self.total - self.done) / max(rate, 1e-6)),
        )  # fmt: skip
        try:
            files.write_text(self.job.state / "progress.json", report.model_dump_json())
        except UserError as error:  # a disk that fails for a moment is no reason to end a training
            print(f"Warning: {error}", flush=True)

    def close(self, history: Sequence[float] = ()) -> None:
        """Report the job as finished, with the last of some losses."""
        self.bar.close()
        self.report("finished", self.epochs, history[-1] if history else None)
