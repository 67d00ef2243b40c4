"""Whether a GPU computes what the CPU does, and how fast: `make gpu-check` writes benchmarks/<card>.json.

A rehearsal of the paper's study, then the exactness that the workflow promises, each with what is allowed, then a
distillation step and an evaluation beside the authors' way, whether pictures come as fast as a step takes them, and
training steps and distortions eager and compiled. Of each speed that is wanted the report says whether it is reached.
The exit status is that of exactness and of the rehearsal: a card that computes other numbers must not be used, and one
that is slow, or whose software cannot compile, is a finding for whoever plans with it and no fault.
"""

import argparse
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import authors_way
import gpu_speeds
import torch

from contrastive_inversion import papers
from contrastive_inversion.base import files, gpus, rng
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job
from contrastive_inversion.data.batches import as_floats, sent
from contrastive_inversion.distort.names import operations
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import losses, networks
from contrastive_inversion.learn.loop import Descent, Step, fit
from contrastive_inversion.learn.settings import Network, Training
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.papers.inverse_problems.restored import inpainted
from contrastive_inversion.papers.inverse_problems.settings import DeepDecoder, Distill
from contrastive_inversion.run import jobs, rehearsal

HERE = Path(__file__).parent
IDS = torch.tensor([0, 1, 7, 126_688])
# float32 products are summed in another order: relative to the largest value
ROUNDING = {"blur": 1e-5, "embeddings": 1e-3, "losses": 1e-4, "compiled": 1e-3}
BITS = 2  # last ones of a normal
THREADS = 4  # of the student that is ended and begun again
MINUTES = 4  # of the rehearsal, at most; one of an H100 takes three
ENDS, TIMING, COMPILING = 8, 1, 2.5  # minutes: of all, and so many before that no timing begins, no compilation
CLASSES = 100  # of a supervised network
STEPS, INSTANTIATIONS = 16, 10
FASTER = {"distillation step": 5, "evaluation": 15}  # times the authors' speed, at least
FED = 0.95  # of the speed with pictures that lie on the device, at least
DRAWN_MS = 2  # a batch's distortion, at most
Check = dict[str, object]
Objective = tuple[torch.nn.Module, torch.Tensor, Callable[..., torch.Tensor]]  # a model, what it is to say, its loss


def drawn(op: dict, device: str) -> torch.Tensor:
    """Four images of 224 px, distorted on a device: float32 (4, 3, 224, 224) on the CPU."""
    torch.manual_seed(0)
    images = torch.rand(len(IDS), 3, 224, 224)
    return corrupt(images.to(device), operations(op), 1, "check", IDS.to(device), 3).cpu()


def masks(device: str) -> Check:
    """Masked images are the same to the bit."""
    ours, theirs = (drawn({"op": "mask", "fraction": [0.5, 0.9]}, each) for each in (device, "cpu"))
    return {"ok": torch.equal(ours, theirs), "found": (ours != theirs).sum().item(), "allowed": 0}


def normals(device: str) -> Check:
    """Normals are the same but for their last bits."""
    ours, theirs = (rng.normal(150_528, 1, "check", IDS.to(each), 3).cpu().float() for each in (device, "cpu"))
    # floats of one sign are ordered as the integers of their bits
    bits = (ours.view(torch.int32).long() - theirs.view(torch.int32).long()).abs().max().item()
    return {"ok": bits <= BITS, "found": bits, "allowed": BITS}


def close(name: str, ours: torch.Tensor, theirs: torch.Tensor) -> Check:
    """Whether two tensors are equal within what is allowed, relative to the largest value."""
    found = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if not math.isfinite(found):  # a report holds no such number
        return {"ok": False, "found": f"it computes {found}", "allowed": ROUNDING[name]}
    return {"ok": found <= ROUNDING[name], "found": found, "allowed": ROUNDING[name]}


def blurs(device: str) -> Check:
    """Blurred images are the same but for rounding."""
    ours, theirs = (drawn({"op": "blur", "kernel": 37, "sigma": [9, 9]}, each) for each in (device, "cpu"))
    return close("blur", ours, theirs)


def side(network: Network) -> int:
    """Of the images that a network sees, in pixels."""
    return int(network.model.rpartition("/")[2]) if network.architecture == "convnet" else 224


def embedded(network: Network, device: str, compiled: bool = False) -> torch.Tensor:
    """What a network of fixed random weights makes of four images: float32 (4, dim) on the CPU."""
    torch.manual_seed(0)
    encoder = networks.build(network).to(device).eval()
    images = torch.rand(len(IDS), 3, *[side(network)] * 2).to(device)
    if compiled:
        encoder.trunk.compile(dynamic=False)
    with torch.no_grad():
        return encoder(images).cpu()


def embeddings(network: Network, device: str) -> Check:
    """Embeddings in fp32 are the same but for rounding."""
    return close("embeddings", embedded(network, device), embedded(network, "cpu"))


def compiled(network: Network, device: str) -> Check:
    """A compiled trunk embeds as the eager one does, but for rounding; one that cannot be compiled has no numbers."""
    try:
        ours = embedded(network, device, compiled=True)
    except Exception as error:  # torch's compiler raises many kinds
        return {"ok": True, "found": gpu_speeds.words(error), "allowed": ROUNDING["compiled"]}
    return close("compiled", ours, embedded(network, device))


def loss_values(device: str) -> Check:
    """Every loss is the same but for rounding."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 256, 512)
    ours, theirs = (
        torch.stack([loss(student.to(each), teacher.to(each), 0.1).cpu() for loss in losses.LOSSES.values()])
        for each in (device, "cpu")
    )
    return close("losses", ours, theirs)


class Killed(Exception):
    """A training that is ended from outside."""


def student(network: Network, settings: Distill, job: Job) -> Objective:
    """A student, embeddings that it is to have, and their loss."""
    encoder = networks.prepare(networks.build(network), settings, job)
    criterion = losses.LOSSES[str(settings.loss)]
    targets = torch.randn(2 * settings.batch, encoder.dim)
    return encoder, targets, lambda made, target: criterion(made, target, settings.temperature)


def classifier(network: Network, settings: Training, job: Job) -> Objective:
    """A supervised network, labels, and their loss."""
    encoder = networks.prepare(networks.build(network), settings, job)
    labels = torch.arange(2 * settings.batch) % CLASSES
    classifier = networks.Classifier(encoder, torch.nn.Linear(encoder.dim, CLASSES)).to(job.device)
    return classifier, labels, torch.nn.functional.cross_entropy


def trained(
    folder: Path, network: Network, settings: Training, device: str, killed_in: int | None = None
) -> dict[str, torch.Tensor]:
    """A network of a study's settings after two epochs of two steps, ended by an exception in an epoch if one is named.

    Its pictures come as a job's do: by threads, in a lane of their own.
    """
    torch.manual_seed(0)
    job = Job("encoders/check", folder, "check", device=device, threads=THREADS)
    model, targets, criterion = (student if isinstance(settings, Distill) else classifier)(network, settings, job)
    size, short = side(network), settings.model_copy(update={"epochs": 2})
    pixels = torch.randint(0, 256, (len(targets), size, size, 3), dtype=torch.uint8)

    def batch_of(step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        return as_floats(sent(pixels[step.index], job)), sent(targets[step.index], job)

    def loss_of(batch: tuple[torch.Tensor, torch.Tensor], step: Step) -> torch.Tensor:
        if step.epoch == killed_in:
            raise Killed
        return criterion(networks.sharded(model, batch[0], settings.shards), batch[1])

    model.train()
    fit(model, model.parameters(), batch_of, loss_of, pixels, SimpleNamespace(seed=1, settings=short), job)
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def resumption(network: Network, settings: Training, device: str) -> Check:
    """A network whose training was ended after its first checkpoint and begun again is the undisturbed one to the bit.

    With what a study trains it in: its precision, the scale of its gradients, its batch.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = trained(Path(folder) / "whole", network, settings, device)
        try:
            trained(Path(folder) / "killed", network, settings, device, killed_in=1)
        except Killed:
            again = trained(Path(folder) / "killed", network, settings, device)
    differing = [name for name in whole if not torch.equal(whole[name], again[name])]
    return {"ok": not differing, "found": len(differing), "allowed": 0}


def restorations(settings: DeepDecoder, device: str) -> Check:
    """Deep Decoders that are fitted twice are the same to the bit."""
    masked, short = drawn({"op": "mask", "fraction": [0.5, 0.5]}, "cpu"), settings.model_copy(update={"steps": 20})
    known = (masked.sum(dim=1, keepdim=True) > 0).float()
    with tempfile.TemporaryDirectory() as folder:
        job = Job("inpainted/check", Path(folder), "check", device=device)
        ours, again = (inpainted(masked, known, IDS, short, 1, job) for _ in range(2))
    differing = (ours != again).sum().item()
    return {"ok": not differing, "found": differing, "allowed": 0}


def overflows(device: str) -> Check:
    """First steps whose gradients overflow in fp16 are left out, and leave nothing behind, in a momentum neither."""
    settings = plan.recipe_of("encoders/resnet100", papers.study("imagenette")).settings

    def descended(factors: list[float]) -> torch.Tensor:
        weights = torch.linspace(-1, 1, 1000, device=device).requires_grad_()
        descent = Descent([weights], settings, device)
        for factor in factors:
            descent.take((factor * weights.square()).sum(), position=0, steps_per_epoch=1000)
        return weights.detach().cpu()

    differing = int((descended([math.inf, math.inf, 1, 1]) != descended([1, 1])).sum())
    return {"ok": not differing, "found": differing, "allowed": 0}


def slot(device: str) -> Check:
    """This process sees the one GPU that it holds."""
    held = int(device == "cuda")
    seen = torch.cuda.device_count() if held else 0
    return {"ok": seen == held, "found": seen, "allowed": held}


def checks(study: Study, device: str) -> dict[str, Check]:
    """All checks of a device, with a study's student, baseline and Deep Decoder."""
    ours, theirs = (plan.recipe_of(product, study) for product in gpu_speeds.TRAINED.values())
    every: dict[str, Callable[[], Check]] = {
        "one GPU is seen": lambda: slot(device), "masks": lambda: masks(device), "normals": lambda: normals(device),
        "blur": lambda: blurs(device), "a student's embeddings": lambda: embeddings(ours.network, device),
        "a baseline's embeddings": lambda: embeddings(theirs.network, device),
        "losses": lambda: loss_values(device), "compiled": lambda: compiled(ours.network, device),
        "steps that overflow": lambda: overflows(device),
        "a student that is taken up": lambda: resumption(ours.network, ours.settings, device),
        "a baseline that is taken up": lambda: resumption(theirs.network, theirs.settings, device),
        "Deep Decoders fitted twice": lambda: restorations(study.settings.restore.deep_decoder, device),
    }  # fmt: skip
    found = {}
    for name, check in every.items():
        found[name] = each = attempted(check)
        mark = "✓" if each["ok"] else "✗"
        print(f"{mark} {name}: {gpu_speeds.told(each['found'])}, {each['allowed']} allowed", flush=True)
    return found


def attempted(check: Callable[[], Check]) -> Check:
    """What a check finds; one that fails is not passed, and the others go on."""
    found = gpu_speeds.or_words(check)
    return {"ok": False, "found": found, "allowed": 0} if isinstance(found, str) else found


def beside_the_authors(study: Study, device: str) -> dict[str, dict[str, float] | str]:
    """How many times as long as ours a step and an evaluation take their way, and how well our steps are fed."""
    with tempfile.TemporaryDirectory() as folder:
        lowered = rehearsal.lowered(study, on_gpu=True)
        place = authors_way.furnished(lowered, Path(folder), device, study.settings.picture_threads)
        return authors_way.ratios(place, STEPS, INSTANTIATIONS)


def wanted(ratios: dict[str, dict[str, float] | str] | str, times: gpu_speeds.Found) -> dict[str, Check]:
    """Each speed that is wanted, with what was found, or why it was not; what could not be timed is not reached."""
    found = {name: at_least(ratios, name, "ratio", least) for name, least in FASTER.items()}
    found["feed"] = at_least(ratios, "feed", "share", FED)
    for name in gpu_speeds.DRAWN:
        for way, took in times[name].items():
            ok = not isinstance(took, str) and took <= DRAWN_MS
            found[f"{name} of a batch, {way}, ms"] = {"reached": ok, "found": took, "wanted": f"at most {DRAWN_MS}"}
    for name, each in found.items():
        told = "not timed" if isinstance(each["found"], str) else "not reached"
        reached = "reached" if each["reached"] else told
        print(f"{name}: {gpu_speeds.told(each['found'])}, {each['wanted']} wanted: {reached}")
    return found


def at_least(ratios: dict[str, dict[str, float] | str] | str, name: str, what: str, least: float) -> Check:
    """Whether a speed is reached."""
    ratio = ratios if isinstance(ratios, str) else ratios[name]
    found = ratio if isinstance(ratio, str) else round(ratio[what], 3)
    return {"reached": not isinstance(found, str) and found >= least, "found": found, "wanted": f"at least {least}"}


def main(folder: Path = HERE) -> int:
    """Check the first free GPU, rehearse the study on it, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="paper")
    study, began = papers.study(parser.parse_args().study), time.monotonic()
    if not gpus.installed():
        raise UserError("there is no GPU to check: nvidia-smi lists none")
    rehearsed = gpu_speeds.or_words(lambda: rehearsal.rehearse(study, Path("results"), MINUTES).model_dump())
    gpus.acquire()
    jobs.prepare_torch()
    jobs.prepare_gpu()
    card = torch.cuda.get_device_name(0)
    exact = checks(study, "cuda")
    ends = began + 60 * ENDS
    times = gpu_speeds.speeds(study, "cuda", ("eager", "contiguous"), ends - 60 * TIMING)
    ratios = gpu_speeds.or_words(lambda: beside_the_authors(study, "cuda"))
    for what, each in gpu_speeds.speeds(study, "cuda", ("compiled",), ends - 60 * COMPILING).items():
        times[what] |= each
    content = {
        "card": card, "torch": torch.__version__, "rehearsal": rehearsed,
        "checks": exact, "wanted": wanted(ratios, times), "beside the authors": ratios, "milliseconds": times,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }  # fmt: skip
    path = folder / f"{re.sub('[^A-Za-z0-9]+', '-', card).strip('-').lower()}.json"
    files.write_json(path, content)
    print(f"{path}, after {content['minutes']} minutes")
    return int(isinstance(rehearsed, str) or not all(check["ok"] for check in exact.values()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, torch.OutOfMemoryError) as error:
        sys.exit(f"Error: {error}")
