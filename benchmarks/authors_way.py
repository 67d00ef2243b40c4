"""A distillation step and an evaluation as the authors' code made them, beside ours: ratios of one run on one device.

Theirs: pictures are decoded, cropped and distorted one by one with Pillow in the processes of a data loader; teacher
and student are computed in what torch 1.8 took for float32 on a GPU, TF32; every step's loss is read back; every
instantiation of a test loads the weights and decodes all pictures anew. Both sides have the same pictures, networks,
batches and number of threads or processes; ours computes as the study says.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from gpu_speeds import or_words
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler
from torchvision import transforms

from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.job import Job
from contrastive_inversion.learn import losses, networks
from contrastive_inversion.learn.loop import Descent, Step, ahead, steps_of
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.papers.inverse_problems import accuracy, students
from contrastive_inversion.run import jobs, stand_ins

STUDENT, MEASUREMENT = "encoders/student-gn30", "measurements/student-gn30/imagenet100"
STORE, TEACHER, TARGETS = "images/imagenet100", "encoders/teacher", "targets/seed{seed}"
WARM = 2  # steps before the clock runs
Seconds = float


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A study whose pictures and teacher lie in a folder, the pictures' files, and what computes on them."""

    study: Study[Any]
    folder: Path
    files: list[Path]
    device: str
    threads: int

    def job(self, product: str) -> Job:
        """The job that makes a product here."""
        recipe = plan.recipe_of(product, self.study)
        text = plan.recipe(product, self.study)
        return Job(product, self.folder, digest(text), recipe.inputs, self.device, self.threads)

    def settle(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def furnished(study: Study[Any], folder: Path, device: str, threads: int) -> Workplace:
    """A workplace with generated pictures of ImageNet's size, a teacher of random weights, and its targets."""
    place = Workplace(study, folder / study.name, stand_ins.pictures(folder), device, threads)
    job, recipe = place.job(STORE), plan.recipe_of(STORE, study)
    splits = {name: stand_ins.entries(place.files, getattr(recipe.settings, name)) for name in ("train", "test")}
    stand_ins.store(splits, job, study)
    stand_ins.drawn(plan.recipe_of(TEACHER, study), place.job(TEACHER), study)
    targets = TARGETS.format(seed=plan.recipe_of(STUDENT, study).seed)
    jobs.run(targets, study.paper, place.folder, plan.recipe(targets, study), device, threads)
    return place


def timed(steps: Iterable[object], place: Workplace) -> Seconds:
    """Seconds of one step, the first few left out."""
    for number, _ in enumerate(steps, 1):
        if number == WARM:
            place.settle()
            began = time.perf_counter()
    place.settle()
    return (time.perf_counter() - began) / (number - WARM)


def our_steps(place: Workplace, count: int, resident: bool) -> Iterator[Tensor]:
    """The losses of our steps; resident: all with the first one's pictures, which lie on the device."""
    caught: list[Any] = []
    recipe, job = plan.recipe_of(STUDENT, place.study), place.job(STUDENT)
    with mock.patch.object(students, "fit", lambda *given: caught.append(given) or []):
        students.train(recipe, job)
    _, parameters, batch_of, loss_of, data, *_ = caught[0]
    epochs = (steps_of(len(data), recipe, epoch, place.device) for epoch in range(recipe.settings.epochs))
    full = (step for step in itertools.chain.from_iterable(epochs) if len(step.index) == recipe.settings.batch)
    steps = [step for step, _ in zip(itertools.cycle(full), range(count), strict=False)]
    descent, first = Descent(parameters, recipe.settings, place.device), batch_of(steps[0])
    batches = itertools.repeat(first) if resident else ahead(batch_of, steps, place.threads, place.device)
    for number, (step, batch) in enumerate(zip(steps, batches, strict=False)):
        yield our_step(loss_of, batch, steps[0] if resident else step, descent, number, count)


def our_step(
    loss_of: Callable[..., Tensor], batch: Any, step: Step, descent: Descent, number: int, count: int
) -> Tensor:
    """A step as `learn.loop.fit` takes it."""
    loss = loss_of(batch, step)
    descent.take(loss, number, count)
    return loss.detach()


class Pictures(Dataset):
    """Picture files as the authors' data sets have them: the clean image and a noisy one, both normalised."""

    def __init__(self, files: list[Path], count: int, crop: Callable, deviation: float, normal: Callable) -> None:
        self.files, self.count, self.deviation = files, count, deviation
        self.crop, self.normal = transforms.Compose([crop, transforms.ToTensor()]), normal

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.files[i % len(self.files)]) as file:
            clean = self.crop(file.convert("RGB"))
        noisy = clean + self.deviation * torch.randn_like(clean)
        return self.normal(clean), self.normal(noisy)


def their_loader(place: Workplace, split: str, crop: Callable, deviation: float, batch: int, steps: int) -> DataLoader:
    """Batches of a split: so many steps of it in a random order, or all of it in its own where steps is 0."""
    recipe, network = plan.recipe_of(STORE, place.study), place.study.settings.networks.student
    normal = transforms.Normalize(network.mean, network.std)
    data = Pictures(place.files, getattr(recipe.settings, split), crop, deviation, normal)
    order = RandomSampler(data, replacement=True, num_samples=batch * steps) if steps else SequentialSampler(data)
    workers = place.threads if place.threads > 1 else 0
    return DataLoader(data, batch, sampler=order, num_workers=workers, pin_memory=place.device == "cuda")


def their_network(place: Workplace) -> torch.nn.Module:
    """The trunk of the teacher, which the student starts from."""
    return networks.load(place.job(STUDENT).input(TEACHER))[0].trunk.to(place.device)


def rounded(place: Workplace) -> Any:
    """What torch 1.8 computed float32 in: TF32 on a GPU."""
    return networks.tensor_floats() if place.device == "cuda" else nullcontext()


def their_steps(place: Workplace, count: int) -> Iterator[float]:
    """The losses of the authors' steps."""
    recipe, device = plan.recipe_of(STUDENT, place.study), place.device
    settings, size = recipe.settings, recipe.images.image_size
    crop = transforms.Compose([transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()])
    loader = their_loader(place, "train", crop, recipe.distortion[0].sigma[0], settings.batch, count)
    student, teacher = (their_network(place).train() for _ in range(2))
    optimizer = torch.optim.Adam(student.requires_grad_(True).parameters(), settings.lr)
    criterion = losses.LOSSES[str(settings.loss)]
    for clean, noisy in loader:
        with rounded(place):
            with torch.no_grad():
                target = teacher(clean.to(device))
            loss = criterion(student(noisy.to(device)), target, settings.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield loss.item()


def our_views(place: Workplace, level: str, instantiations: int) -> list[Tensor]:
    """Embeddings (N, dim) of the test images under a level, by instantiation, as our measurements have them."""
    recipe = plan.recipe_of(MEASUREMENT, place.study)
    settings = recipe.settings.model_copy(update={"instantiations": instantiations})
    recipe, job = recipe.model_copy(update={"settings": settings}), place.job(MEASUREMENT)
    encoder = networks.placed(networks.load(place.job(STUDENT).input(TEACHER))[0], recipe.settings.precision, job)
    noisy = next(each for each in recipe.levels if each.name == "gn30")
    shown = noisy if level == "gn30" else noisy.model_copy(update={"distortion": []})
    return [view.cpu() for view in accuracy.Tests(recipe, job).embedded(shown, encoder)[1]]


@torch.no_grad()
def their_views(place: Workplace, level: str, instantiations: int) -> list[Tensor]:
    """The same, as the authors' script for noise levels has them."""
    recipe = plan.recipe_of(MEASUREMENT, place.study)
    resize = plan.recipe_of(STORE, place.study).settings.resize
    crop = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(recipe.images.image_size)])
    deviation, views = 0.3 if level == "gn30" else 0.0, []
    for _ in range(instantiations):
        network = their_network(place).eval()
        loader = their_loader(place, "test", crop, deviation, recipe.settings.batch, 0)
        with rounded(place):
            views.append(torch.cat([network(noisy.to(place.device)).float().cpu() for _, noisy in loader]))
    return views


def seconds(function: Callable[..., object], *arguments: object) -> Seconds:
    """Seconds that a call takes."""
    began = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - began


def compared(ours: Seconds, theirs: Seconds) -> dict[str, float]:
    """What both ways take, and how many times as long the authors' is."""
    return {"ours_s": ours, "authors_s": theirs, "ratio": theirs / ours}


def ratios(place: Workplace, count: int, instantiations: int) -> dict[str, dict[str, float] | str]:
    """How many times as long the authors' way takes; and our speed as a share of that with pictures on the device.

    What fails is told in words: theirs keeps twice the memory.
    """
    fed, resident = (
        functools.cache(lambda each=each: timed(our_steps(place, count, each), place)) for each in (False, True)
    )
    wanted: dict[str, Callable[[], dict[str, float]]] = {
        "feed": lambda: {"resident_s": resident(), "fed_s": fed(), "share": resident() / fed()},
        "distillation step": lambda: compared(fed(), timed(their_steps(place, count), place)),
        "evaluation": lambda: compared(
            seconds(our_views, place, "gn30", instantiations), seconds(their_views, place, "gn30", instantiations)
        ),
    }
    return {name: or_words(find) for name, find in wanted.items()}
