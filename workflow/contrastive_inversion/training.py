"""The one training loop: epochs in a counted order, a checkpoint after each, resumption that is exact to the bit."""

import fcntl
import json
import math
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from contrastive_inversion import artifacts, rng
from contrastive_inversion.errors import UserError
from contrastive_inversion.recipes import setting

SECONDS_BETWEEN_REPORTS = 2


@dataclass(frozen=True)
class Job:
    """What a running job knows besides its recipe: its name, its folders, its recipe's hash and its device."""

    product: str
    root: Path
    recipe_hash: str
    device: torch.device = torch.device("cpu")

    @property
    def state(self):
        """The folder of checkpoints and progress, which Snakemake knows nothing of and so never deletes."""
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


def make_optimizer(parameters, settings):
    """The optimiser of a training's settings: adam, adamw or sgd."""
    common = {"lr": settings["lr"], "weight_decay": setting(settings, "weight_decay")}
    name = settings["optimizer"]
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=setting(settings, "momentum"), **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](parameters, **common)


def learning_rate(settings, step, steps_per_epoch, epochs):
    """The learning rate of a step, in closed form: linear warm-up, then constant, cosine to 0, or /10 every 30 epochs."""
    total = steps_per_epoch * epochs
    warmup = setting(settings, "warmup") * total
    if step < warmup:
        return settings["lr"] * (step + 1) / warmup
    schedule = setting(settings, "schedule")
    if schedule == "cosine":
        return settings["lr"] * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    if schedule == "step":
        return settings["lr"] * 0.1 ** (step // steps_per_epoch // 30)
    return settings["lr"]


def fit(model, parameters, loss_of, images, recipe, job):
    """Train `model` in place and return the loss of each epoch.

    loss_of(index, epoch) gives the scalar loss of the images at int64 positions `index`. After each epoch the state
    is saved; a restart goes on from there with bit-identical results, since every draw is counted (see `rng`).
    Raises UserError on a loss that is not finite, naming step and images, and on a damaged checkpoint.
    """
    settings = recipe["settings"]
    optimizer = make_optimizer(parameters, settings)
    first_epoch, history = resume(model, optimizer, job)
    steps = math.ceil(len(images) / settings["batch"])
    progress = Progress(job, settings["epochs"], len(images), first_epoch)
    for epoch in range(first_epoch, settings["epochs"]):
        order = rng.permutation(len(images), recipe["seed"], "order", epoch)
        total = 0.0
        for number, index in enumerate(order.split(settings["batch"])):
            step = epoch * steps + number
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step, steps, settings["epochs"])
            loss = loss_of(index, epoch)
            check_finite(loss, step, index, job)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(index)
            progress.advance(epoch, len(index), loss.item())
        history.append(total / len(images))
        save_checkpoint(model, optimizer, epoch + 1, history, job)
    progress.close(history)
    return history


def check_finite(loss, step, index, job):
    if not torch.isfinite(loss):
        raise UserError(
            f"{job.product}: the loss is {loss.item()} at step {step} (images {index[:8].tolist()}, ...); "
            "lower the learning rate in the study file, or look at these images"
        )


def checkpoint_path(job):
    return job.state / "checkpoint.pt"


def save_checkpoint(model, optimizer, epoch, history, job):
    content = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "history": history,
        "recipe_hash": job.recipe_hash,
    }  # fmt: skip
    with artifacts.atomic(checkpoint_path(job)) as temporary:
        torch.save(content, temporary)


def resume(model, optimizer, job):
    """Load the checkpoint of this very recipe, if there is one: the epochs done and their losses."""
    path = checkpoint_path(job)
    if not path.exists():
        return 0, []
    try:
        content = torch.load(path, map_location=job.device, weights_only=True)
        if content["recipe_hash"] != job.recipe_hash:
            return 0, []  # the study has changed since: this training begins anew
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged checkpoint ({reason}); delete it to begin this training anew") from None
    print(f"{job.product}: going on after epoch {content['epoch']}", flush=True)
    return content["epoch"], content["history"]


class Progress:
    """A progress bar in the log, and `progress.json` for `contrastive-inversion status`."""

    def __init__(self, job, epochs, images, done_epochs=0):
        self.job, self.epochs, self.images = job, epochs, images
        self.done = self.at_start = done_epochs * images
        self.started = time.time()
        self.reported = 0.0
        self.bar = tqdm(
            total=epochs * images, initial=self.done, unit="image", desc=job.product, mininterval=5, smoothing=0.1
        )

    def advance(self, epoch, images, loss=None):
        self.done += images
        self.bar.update(images)
        if time.time() - self.reported > SECONDS_BETWEEN_REPORTS:
            self.bar.set_postfix_str(f"epoch {epoch + 1}/{self.epochs}" + (f", loss {loss:.4f}" if loss else ""))
            self.report("running", epoch + 1, loss)

    def report(self, state, epoch, loss):
        self.reported = time.time()
        rate = (self.done - self.at_start) / max(self.reported - self.started, 1e-6)
        content = {
            "product": self.job.product, "state": state, "epoch": epoch, "epochs": self.epochs, "loss": loss,
            "images_per_second": round(rate), "updated": self.reported, "pid": os.getpid(),
            "eta_seconds": round((self.epochs * self.images - self.done) / max(rate, 1e-6)),
        }  # fmt: skip
        artifacts.write_text(self.job.state / "progress.json", json.dumps(content))

    def close(self, history):
        self.bar.close()
        self.report("finished", self.epochs, history[-1] if history else None)
