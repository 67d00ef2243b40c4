"""A running job's own folder: its lock, its checkpoint, and the progress that `contrastive-inversion status` shows.

Snakemake knows nothing of this folder, so it survives a failed or killed job. Imports no torch.
"""

import fcntl
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from contrastive_inversion.base import files

SECONDS_BETWEEN_REPORTS = 2


@dataclass(frozen=True)
class Job:
    """What a running job knows besides its recipe: its name, the study's results, its recipe's hash, its device.

    threads: how many read and crop pictures; where there are several, they work ahead of the device.
    """

    product: str
    root: Path
    recipe_hash: str
    device: str = "cpu"
    threads: int = 1

    @property
    def state(self):
        return self.root / "state" / self.product


@contextmanager
def alone(job):
    """Hold the job's own lock, waiting for another process that makes the same product."""
    job.state.mkdir(parents=True, exist_ok=True)
    with open(job.state / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{job.product}: another process is making this; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_locked(folder):
    """Whether a living process holds the lock of a job's folder."""
    try:
        with open(folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Progress:
    """A progress bar in the log, and `progress.json` in the job's folder.

    epochs x images is the work to do; an `epoch` may also be a level or an instantiation.
    """

    def __init__(self, job, epochs, images, done_epochs=0):
        self.job, self.epochs = job, epochs
        self.total = epochs * images
        self.done = self.at_start = done_epochs * images
        self.started, self.reported = time.time(), 0.0
        self.bar = tqdm(
            total=self.total, initial=self.done, unit="image", desc=job.product, mininterval=5, smoothing=0.1
        )

    def advance(self, epoch, images, loss=None):
        self.done += images
        self.bar.update(images)
        if time.time() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.bar.set_postfix_str(f"epoch {epoch + 1}/{self.epochs}" + (f", loss {loss:.4f}" if loss else ""))
            self.report("running", epoch + 1, loss)

    def report(self, condition, epoch, loss):
        self.reported = time.time()
        rate = (self.done - self.at_start) / max(self.reported - self.started, 1e-6)
        content = {
            "product": self.job.product, "state": condition, "epoch": epoch, "epochs": self.epochs, "loss": loss,
            "images_per_second": round(rate, 1), "updated": self.reported, "pid": os.getpid(),
            "eta_seconds": round((self.total - self.done) / max(rate, 1e-6)),
        }  # fmt: skip
        files.write_text(self.job.state / "progress.json", json.dumps(content))

    def close(self, history=()):
        self.bar.close()
        self.report("finished", self.epochs, history[-1] if history else None)
