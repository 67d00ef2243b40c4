"""The one training loop: epochs in a counted order, a checkpoint after each, resumption that is exact to the bit."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from contrastive_inversion.base import files, rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Progress
from contrastive_inversion.ledger.plan import setting

EXPLODED = 1000  # times its first value


def make_optimizer(parameters, settings):
    """The optimiser of a training's settings: adam, adamw or sgd."""
    common = {"lr": settings["lr"], "weight_decay": setting(settings, "weight_decay")}
    name = settings["optimizer"]
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=setting(settings, "momentum"), **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](parameters, fused=True, **common)


def learning_rate(settings, step, steps_per_epoch, epochs):
    """The learning rate of a step, in closed form: warm-up, then constant, cosine to 0, /10 every 30 epochs,
    times `factor` every `every` epochs (`stairs`) or at shares of the training (`milestones`).

    `stalled_cosine` is the authors': stepped once an epoch with a period counted in steps, it hardly falls.
    """
    total = steps_per_epoch * epochs
    warmup = setting(settings, "warmup") * total
    if step < warmup:
        return settings["lr"] * (step + 1) / warmup
    schedule = setting(settings, "schedule")
    if schedule == "cosine":
        return settings["lr"] * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    if schedule == "stalled_cosine":
        return settings["lr"] * 0.5 * (1 + math.cos(math.pi * stalled_epoch(settings, step, steps_per_epoch)))
    if schedule == "step":
        return settings["lr"] * 0.1 ** (step // steps_per_epoch // 30)
    if schedule == "stairs":
        return settings["lr"] * settings["factor"] ** (step // steps_per_epoch // settings["every"])
    if schedule == "milestones":
        passed = sum(step >= share * total for share in settings["milestones"])
        return settings["lr"] * settings["factor"] ** passed
    return settings["lr"]


def stalled_epoch(settings, step, steps_per_epoch):
    """How far a stalled cosine has come, in its periods; it may first `hold` for some epochs."""
    return max(step // steps_per_epoch - settings.get("hold", 0), 0) / settings["period"]


@dataclass(frozen=True)
class Step:
    """One step of a training: the positions of its images, int64 (B,), the epoch and the step's number within it."""

    index: torch.Tensor
    epoch: int
    number: int


def ahead(make, items, threads):
    """make(item) for every item in turn; with threads to spare the next one is made while the caller works."""
    if threads == 1:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(1) as maker:
        coming = None
        for item in items:
            following = maker.submit(make, item)
            if coming:
                yield coming.result()
            coming = following
        yield coming.result()


def fit(model, parameters, batch_of, loss_of, images, recipe, job, after_epoch=None):
    """Train `model` in place and return the loss of each epoch.

    batch_of(step) gives the images of a Step on the job's device, loss_of(batch, step) their scalar loss. After each
    epoch the state is saved; a restart goes on from there with bit-identical results, since every draw is counted
    (see `rng`). after_epoch(epoch) is called before that, for what must be looked at in between. Raises UserError on a
    loss that is not finite or has exploded, naming step and images, and on a damaged checkpoint.
    """
    settings = recipe["settings"]
    optimizer = make_optimizer(parameters, settings)
    scaler = torch.amp.GradScaler(job.device, enabled=job.device == "cuda" and setting(settings, "precision") == "fp16")
    first_epoch, history = resume(model, optimizer, scaler, job)
    steps = len(batches(len(images), recipe, 0))
    progress, first = Progress(job, settings["epochs"], len(images), first_epoch), None
    for epoch in range(first_epoch, settings["epochs"]):
        todo = [Step(index, epoch, number) for number, index in enumerate(batches(len(images), recipe, epoch))]
        total = 0.0
        for step, batch in zip(todo, ahead(batch_of, todo, job.threads), strict=True):
            position = epoch * steps + step.number
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, position, steps, settings["epochs"])
            loss = loss_of(batch, step)
            found = loss.item()
            first = found if first is None else first
            check_loss(found, first, position, step.index, job)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += found * len(step.index)
            progress.advance(epoch, len(step.index), found)
        history.append(total / len(images))
        if after_epoch:
            after_epoch(epoch)
        save_checkpoint(model, optimizer, scaler, epoch + 1, history, job)
    progress.close(history)
    return history


def batches(count, recipe, epoch):
    """The positions of an epoch's batches: shuffled, or in a fixed order without the last, smaller one."""
    size = recipe["settings"]["batch"]
    if setting(recipe["settings"], "order") == "shuffled":
        return rng.permutation(count, recipe["seed"], "order", epoch).split(size)
    return torch.arange(count - count % size if count >= size else count).split(size)


def check_loss(loss, first, step, index, job):
    """Raise UserError, naming step and images, for a loss that is no number or has exploded since the first step."""
    if not abs(loss) <= EXPLODED * max(abs(first), 1) or not math.isfinite(loss):
        raise UserError(
            f"{job.product}: the loss is {loss:g} at step {step} (images {index[:8].tolist()}, ...); "
            "lower the learning rate in the study file, or look at these images"
        )


def checkpoint_path(job):
    return job.state / "checkpoint.pt"


def save_checkpoint(model, optimizer, scaler, epoch, history, job):
    content = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "history": history,
        "recipe_hash": job.recipe_hash, "scaler": scaler.state_dict(),
    }  # fmt: skip
    with files.atomic(checkpoint_path(job)) as temporary:
        torch.save(content, temporary)


def resume(model, optimizer, scaler, job):
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
        scaler.load_state_dict(content["scaler"])
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged checkpoint ({reason}); delete it to begin this training anew") from None
    print(f"{job.product}: going on after epoch {content['epoch']}", flush=True)
    return content["epoch"], content["history"]
