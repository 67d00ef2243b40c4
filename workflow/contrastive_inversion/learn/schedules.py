"""Learning rates in closed form: functions of the step alone, so that a restart needs no state of a scheduler."""

import math
from collections.abc import Callable

from contrastive_inversion.learn.settings import Schedule


def learning_rate(settings: Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """The learning rate of a step, counted from 0 over all epochs: a linear warm-up, then the schedule's course."""
    total = steps_per_epoch * epochs
    warmup = settings.warmup * total
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * COURSES[settings.schedule](settings, step, steps_per_epoch, total)


def needed(settings: Schedule, key: str) -> float:
    """A setting that only some schedules have, which `check_schedule` has seen to."""
    value: float | None = getattr(settings, key)
    assert value is not None
    return value


def constant(settings: Schedule, step: int, steps_per_epoch: int, total: int) -> float:
    return 1.0


def cosine(settings: Schedule, step: int, steps_per_epoch: int, total: int) -> float:
    """From 1 after the warm-up to 0 at the end."""
    warmup = settings.warmup * total
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def stalled_cosine(settings: Schedule, step: int, steps_per_epoch: int, total: int) -> float:
    """As published: stepped once an epoch with a period counted in steps, it hardly falls; it may `hold` at first."""
    epoch = max(step // steps_per_epoch - settings.hold, 0)
    return 0.5 * (1 + math.cos(math.pi * (epoch / needed(settings, "period"))))


def tenths(settings: Schedule, step: int, steps_per_epoch: int, total: int) -> float:
    """A tenth every 30 epochs."""
    return 0.1 ** (step // steps_per_epoch // 30)


def stairs(settings: Schedule, step: int, steps_per_epoch: int, total: int) -> float:
    """Times `factor` every `every` epochs."""
    return needed(settings, "factor") ** (step // steps_per_epoch // int(needed(settings, "every")))


def milestones(settings: Schedule, step: int, steps_per_epoch: int, total: int) -> float:
    """Times `factor` at shares of the training."""
    passed = sum(step >= share * total for share in settings.milestones or [])
    return needed(settings, "factor") ** passed


COURSES: dict[str, Callable[[Schedule, int, int, int], float]] = {
    "constant": constant, "cosine": cosine, "stalled_cosine": stalled_cosine, "step": tenths, "stairs": stairs,
    "milestones": milestones,
}  # fmt: skip
