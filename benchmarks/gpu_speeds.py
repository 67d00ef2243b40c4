"""Milliseconds of training steps and of distortions on a device: as jobs compute them, and in other ways.

A step on pictures that lie on the device, eager and channels last as a study has it, compiled, and with its memory in
rows; noise, a mask and a blur of a batch, eager and compiled. What cannot be timed is told in words.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from contrastive_inversion.base.job import Job
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.loop import Descent
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study

TRAINED = {"student": "encoders/student-gn30", "baseline": "encoders/baseline100-gn30"}
DRAWN = {
    "noise": {"op": "noise", "sigma": [0.3, 0.3]},
    "mask": {"op": "mask", "fraction": [0.9, 0.9]},
    "blur": {"op": "blur", "kernel": 37, "sigma": [9, 9]},
}
BATCH = 256  # images that are distorted
WARM, COUNTED = 3, 8
Step = Callable[[], object]
Item = TypeVar("Item")
Found = dict[str, dict[str, float | str]]  # by what is timed and the way it is computed: milliseconds, or why not


def milliseconds(step: Step, device: str) -> float:
    """Of one call, the first ones left out: they load kernels, and a compiled one is compiled then."""
    for _ in range(WARM):
        step()
    settle(device)
    began = time.perf_counter()
    for _ in range(COUNTED):
        step()
    settle(device)
    return 1e3 * (time.perf_counter() - began) / COUNTED


def settle(device: str) -> None:
    """Wait until a device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def training_step(product: str, study: Study[Any], device: str, way: str) -> Step:
    """A step of a study's training on one batch, with a loss that costs nothing; way: eager, compiled or contiguous."""
    recipe = plan.recipe_of(product, study)
    settings = recipe.settings.model_copy(update={"compile": way == "compiled"})
    encoder = networks.build(recipe.network)
    if way == "contiguous":
        in_rows(encoder.trunk)
    encoder = networks.prepare(encoder, settings, Job(product, Path(), "", device=device))
    encoder.train().requires_grad_(True)
    size = recipe.images.image_size
    images = torch.rand(settings.batch, 3, size, size).to(device)
    descent = Descent(encoder.parameters(), settings, device)
    return lambda: descent.take(encoder(images).square().mean(), 0, 1)


def in_rows(trunk: torch.nn.Module) -> None:
    """Let a network's weights and what it is given lie channel by channel, as torch has them by itself."""
    trunk.to(memory_format=torch.contiguous_format)
    trunk.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))


def draw(name: str, size: int, device: str, way: str) -> Step:
    """The distortion of a batch; way: eager or compiled."""
    images, ids = torch.rand(BATCH, 3, size, size).to(device), torch.arange(BATCH, device=device)
    spec = operations(DRAWN[name])
    distort = torch.compile(corrupt) if way == "compiled" else corrupt
    return lambda: distort(images, spec, 1, "check", ids, 3)


def steps(study: Study[Any], device: str, ways: Sequence[str]) -> Iterator[tuple[str, str, Callable[[], Step]]]:
    """(what, way, what makes a step of it) of all that is timed."""
    for way in ways:
        for name in DRAWN if way != "contiguous" else ():
            yield name, way, lambda name=name, way=way: draw(name, study.settings.image_size, device, way)
        for name, product in TRAINED.items():
            yield (
                f"{name}'s step", way,
                lambda product=product, way=way: training_step(product, study, device, way),
            )  # fmt: skip


def speeds(study: Study[Any], device: str, ways: Sequence[str], until: float) -> Found:
    """All milliseconds of some ways; what has not begun at a moment of time.monotonic() is left out, in words."""
    found: Found = {}
    for what, way, make in steps(study, device, ways):
        late = time.monotonic() > until
        timed = "left out, as the time was over" if late else attempted(make, device)
        found.setdefault(what, {})[way] = timed
        print(f"{what}, {way}, ms: {told(timed)}", flush=True)
    return found


def attempted(make: Callable[[], Step], device: str) -> float | str:
    """The milliseconds of a step, or why there are none: torch's compiler raises errors of many kinds."""
    timed = or_words(lambda: round(milliseconds(make(), device), 3))
    torch.compiler.reset()  # the memory of what was compiled is needed for the next
    if device == "cuda":
        torch.cuda.empty_cache()
    return timed


def or_words(find: Callable[[], Item]) -> Item | str:
    """What is found, or the words of the error: whatever is amiss with a card is to stand in its report."""
    try:
        return find()
    except Exception as error:
        return words(error)


def words(error: Exception) -> str:
    """An error as one line of a report."""
    lines = str(error).strip().splitlines()
    return f"failed ({type(error).__name__}{': ' + lines[0] if lines else ''})"


def told(found: float | str) -> str:
    """A number to three digits, or the words that stand in its place."""
    return found if isinstance(found, str) else f"{found:.3g}"
