"""Learning rates against torch's own schedulers, stepped where each is meant to be stepped."""

import pytest
import torch
from pydantic import ValidationError
from torch.optim import lr_scheduler

from contrastive_inversion.learn.schedules import learning_rate
from contrastive_inversion.learn.settings import Schedule

LR, PER_EPOCH = 3e-4, 7


def stepped(make, count):
    """The rates that a scheduler of torch gives, the first before it is stepped."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler, rates = make(optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("settings", "scheduler"),
    [
        ({}, lambda o: lr_scheduler.ConstantLR(o, factor=1)),
        ({"schedule": "step"}, lambda o: lr_scheduler.StepLR(o, 30, 0.1)),
        ({"schedule": "stairs", "factor": 1.5, "every": 20}, lambda o: lr_scheduler.StepLR(o, 20, 1.5)),
        ({"schedule": "stalled_cosine", "period": 123}, lambda o: lr_scheduler.CosineAnnealingLR(o, 123)),
        ({"schedule": "stalled_cosine", "period": 10}, lambda o: lr_scheduler.CosineAnnealingLR(o, 10)),
        ({"schedule": "stalled_cosine", "period": 3.959}, lambda o: lr_scheduler.CosineAnnealingLR(o, 3.959)),
    ],
)
def test_what_goes_by_epochs_is_torch_s_scheduler_stepped_once_an_epoch(settings, scheduler):
    epochs = 10 if settings.get("period") else 95
    for epoch, rate in enumerate(stepped(scheduler, epochs)):
        for step in (0, 3, PER_EPOCH - 1):
            found = learning_rate(Schedule(lr=LR, **settings), PER_EPOCH * epoch + step, PER_EPOCH, epochs)
            assert found == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "scheduler"),
    [
        ({"schedule": "cosine"}, lambda o: lr_scheduler.CosineAnnealingLR(o, 70)),
        (
            {"schedule": "milestones", "milestones": [0.3, 0.6], "factor": 0.2},
            lambda o: lr_scheduler.MultiStepLR(o, [21, 42], 0.2),
        ),
    ],
)
def test_what_goes_by_steps_is_torch_s_scheduler_stepped_at_every_step(settings, scheduler):
    rates = [learning_rate(Schedule(lr=LR, **settings), step, PER_EPOCH, 10) for step in range(70)]
    assert rates == pytest.approx(stepped(scheduler, 70), rel=1e-9)


def test_a_warm_up_rises_in_equal_steps_to_the_full_rate():
    for name in ("constant", "cosine", "step"):
        settings = Schedule(lr=LR, schedule=name, warmup=0.1)
        rates = [learning_rate(settings, step, 10, 10) for step in range(11)]
        assert rates == pytest.approx([LR * min(i, 10) / 10 for i in range(1, 12)])


def test_a_cosine_runs_over_what_the_warm_up_leaves():
    rates = [learning_rate(Schedule(lr=LR, schedule="cosine", warmup=0.1), step, 10, 10) for step in range(10, 100)]
    assert rates == pytest.approx(stepped(lambda o: lr_scheduler.CosineAnnealingLR(o, 90), 90), rel=1e-9)


def test_a_stalled_cosine_may_be_held_at_first():
    held, free = (Schedule(lr=LR, schedule="stalled_cosine", period=8, hold=hold) for hold in (4, 0))
    rates = [learning_rate(held, step, PER_EPOCH, 9) for step in range(9 * PER_EPOCH)]
    assert rates[: 4 * PER_EPOCH] == [LR] * 4 * PER_EPOCH
    assert rates[4 * PER_EPOCH :] == [learning_rate(free, step, PER_EPOCH, 9) for step in range(5 * PER_EPOCH)]
    assert rates[-1] < 0.6 * LR


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"schedule": "stalled_cosine"}, "period"), ({"schedule": "stairs", "every": 2}, "factor"),
        ({"schedule": "stairs", "factor": 2}, "every"), ({"schedule": "milestones", "milestones": [0.5]}, "factor"),
    ],
)  # fmt: skip
def test_a_schedule_says_which_of_its_settings_is_missing(settings, missing):
    with pytest.raises(ValidationError, match=f"{settings['schedule']} needs `{missing}`"):
        learning_rate(Schedule(lr=LR, **settings), 0, PER_EPOCH, 2)
