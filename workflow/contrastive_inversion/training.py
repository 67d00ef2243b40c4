"""The one training loop: epochs in a counted order, a checkpoint after each, resumption that is exact to the bit."""

import math

import torch

from contrastive_inversion import artifacts, rng
from contrastive_inversion.errors import UserError
from contrastive_inversion.recipes import setting
from contrastive_inversion.state import Progress


def make_optimizer(parameters, settings):
    """The optimiser of a training's settings: adam, adamw or sgd."""
    common = {"lr": settings["lr"], "weight_decay": setting(settings, "weight_decay")}
    name = settings["optimizer"]
    if name == "sgd":
        return torch.optim.SGD(parameters, momentum=setting(settings, "momentum"), **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](parameters, fused=True, **common)


def learning_rate(settings, step, steps_per_epoch, epochs):
    """The learning rate of a step, in closed form: warm-up, then constant, cosine to 0, or /10 every 30 epochs."""
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
