"""How near our attacks come, beside those of three libraries: `make bench-attacks` prints a Markdown table.

Three of the embedded study's networks, of other characters and another seed than the settings were chosen on, are
trained first. Every attack may take some 1,000 gradients of an image. A distance is a median over images that the
network classifies correctly, one at which an attack failed is infinite; "best" is the lowest of the others' medians.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
import tempfile
import time
import warnings
from pathlib import Path

import adv_lib.attacks as adversarial
import foolbox
import torch
import torchattacks
from adv_lib.attacks.fast_adaptive_boundary import fab
from adv_lib.attacks.sigma_zero import sigma_zero

from contrastive_inversion import papers
from contrastive_inversion.base.job import Input, Job, file_of
from contrastive_inversion.data import batches, store
from contrastive_inversion.data.settings import Pictures
from contrastive_inversion.distort import attacks, norms
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.quantities import Head
from contrastive_inversion.papers.contrastive_robustness import attack_distances
from contrastive_inversion.run import jobs

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
IMAGES, STEPS = 10, 900
STUDY = papers.study("simclr-demo")
HEADS = {"supervised": "own", "contrastive": "probe 100% on clean", "supervised-lambda1": "own"}
P = {"l0": 0, "l1": 1, "l2": 2, "linf": float("inf")}


class Counted(torch.nn.Module):
    """A model that counts the images that it has classified with and without gradients."""

    def __init__(self, model):
        super().__init__()
        self.model, self.gradients, self.forwards = model, 0, 0

    def forward(self, images):
        if images.requires_grad and torch.is_grad_enabled():
            self.gradients += len(images)
        else:
            self.forwards += len(images)
        return self.model(images)


def of_foolbox(attack):
    return lambda model, x, y: attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)[1]


def of_library(attack, **settings):
    return lambda model, x, y: attack(model, x.clone(), y, **settings)


def ours(norm, **settings):
    return lambda model, x, y: attacks.proximal_log_barrier(model, x, y, norm, **settings).images


def others(norm):
    """The minimal attacks in a norm: names and functions (model, images, labels) -> images."""
    f, a = foolbox.attacks, adversarial
    fmn = {"l0": f.L0FMNAttack, "l1": f.L1FMNAttack, "l2": f.L2FMNAttack, "linf": f.LInfFMNAttack}[norm]
    found = {"foolbox FMN": of_foolbox(fmn(steps=STEPS))}
    if norm != "l0":  # of which foolbox's BrendelBethge takes minutes an image
        bethge = {"l1": f.L1BrendelBethgeAttack, "l2": f.L2BrendelBethgeAttack, "linf": f.LinfinityBrendelBethgeAttack}
        found["foolbox BrendelBethge"] = of_foolbox(bethge[norm](steps=300))
        found["adv-lib FAB"] = of_library(fab, norm=P[norm], n_iter=90)
    if norm in ("l2", "linf"):
        deepfool = {"l2": f.L2DeepFoolAttack, "linf": f.LinfDeepFoolAttack}[norm]
        found["foolbox DeepFool"] = of_foolbox(deepfool(steps=90))
        found["adv-lib trust region"] = of_library(a.tr, p=P[norm])
    if norm in ("l1", "l2"):
        found["adv-lib ALMA"] = of_library(a.alma, num_steps=STEPS, distance=norm)
    if norm in ("l1", "linf"):
        found["adv-lib PDPGD"] = of_library(a.pdpgd, norm=P[norm], num_steps=STEPS // 3)  # 5 proximal steps in each
    return found | {name: attack for (of, name), attack in OF_ONE_NORM.items() if of == norm}


OF_ONE_NORM = {
    ("l2", "foolbox DDN"): of_foolbox(foolbox.attacks.DDNAttack(steps=STEPS)),
    ("l2", "adv-lib SuperDeepFool"): of_library(adversarial.sdf),
    ("l2", "torchattacks CW"): lambda model, x, y: torchattacks.CW(model, c=1, steps=STEPS)(x, y),
    ("l1", "foolbox EAD"): of_foolbox(foolbox.attacks.EADAttack(binary_search_steps=9, steps=STEPS // 9)),
    ("l1", "torchattacks EADL1"): lambda model, x, y: torchattacks.EADL1(model, max_iterations=STEPS // 9)(x, y),
    ("l0", "adv-lib sigma-zero"): of_library(sigma_zero, num_steps=STEPS),
    ("l0", "adv-lib VFGA"): of_library(adversarial.vfga, targeted=False),
}


def made(product, folder):
    """The file of a product of the embedded study, with all that it needs."""
    for needed in plan.inputs(product, STUDY):
        made(needed, folder)
    jobs.run(product, STUDY.paper, folder, plan.recipe(product, STUDY))
    return Input(folder / file_of(product))


def network(encoder, folder):
    """A trained classifier, and test images and labels that it classifies correctly."""
    product = f"measurements/{encoder}/cifar10"
    for needed in plan.inputs(product, STUDY):
        made(needed, folder)
    recipe = plan.recipe_of(product, STUDY)
    head = next(h for level in recipe.levels for h in level.heads if h.head == HEADS[encoder])
    assert isinstance(head, Head)
    model = attack_distances.model_of(recipe.encoder, head, True, recipe, Job(product, folder, "", recipe.inputs))
    data = store.split(Input(folder / "images/cifar10.safetensors"), "test")
    index = data.spread(20 * IMAGES)
    images, labels = batches.test_batch(data, index, Pictures(image_size=32, crop="random")), data.labels[index]
    right = torch.nonzero(~attacks.misclassified(model, images, labels))[:, 0]
    chosen = right[torch.linspace(0, len(right) - 1, IMAGES).long()]
    return model, images[chosen], labels[chosen]


class Tried:
    """What an attack found on a network's images, and what it took.

    median: of its distances, infinite where it failed or left the box; gradients: of an image; seconds: of one core, in
    all; failed: why it ended, or nothing.
    """

    def __init__(self, attack, model, x, y, norm):
        torch.manual_seed(0)
        counted, begun, self.failed = Counted(model).eval(), time.process_time(), ""
        try:
            found = attack(counted, x, y).detach()
        except RuntimeError as refused:
            found, self.failed = x, f"failed: {str(refused)[:60]}"
        self.seconds, self.gradients = time.process_time() - begun, counted.gradients / len(x)
        inside = ((found - found.clamp(0, 1)).abs().flatten(1) < 1e-6).all(1)
        step = torch.where((found - x).abs() < 1e-7, 0, found - x)  # a rounded entry has not moved
        valid = inside & attacks.misclassified(model, found.clamp(0, 1), y)
        self.median = torch.where(valid, norms.distance(step, norm), torch.inf).median().item()


def compared(encoder, norm, subject):
    """Print a row for each attack in a norm on a network; returns one of the ratios to the best of the others."""
    own = Tried(ours(norm), *subject, norm)
    alone = Tried(ours(norm, outer=30, polish=0, strength=1.0), *subject, norm)
    found = {name: Tried(attack, *subject, norm) for name, attack in others(norm).items()}
    for name, each in {"**ours**": own, "PLB as published": alone, **found}.items():
        numbers = each.failed or f"{each.median:.4g}"
        time_taken = f"{each.seconds / own.seconds:.2f}"
        print(f"| {encoder} | {norm} | {name} | {numbers} | {each.gradients:.0f} | {time_taken} |", flush=True)
    name = min(found, key=lambda name: found[name].median)
    best = found[name]
    return (
        f"| {encoder} | {norm} | {own.median / best.median:.3f} | {alone.median / best.median:.3f} | {name} | "
        f"{best.seconds / own.seconds:.2f} |"
    )


def main(folder):
    print("| network | norm | attack | median distance | gradients | time / ours |\n|:--|:--|:--|--:|--:|--:|")
    ratios = []
    for encoder in HEADS:
        subject = network(encoder, folder)
        ratios += [compared(encoder, norm, subject) for norm in P]
    print("\n| network | norm | ours / best | PLB as published / best | the best | its time / ours |")
    print("|:--|:--|--:|--:|:--|--:|", *ratios, sep="\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
