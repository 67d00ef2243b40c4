"""The report's recipes: encoders without labels, supervised ones, probes, attacks. Imports no torch."""

import re
from collections.abc import Iterable

from pydantic import Field

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Percent, Settings
from contrastive_inversion.data.recipes import split_of
from contrastive_inversion.data.settings import Crops, Pictures
from contrastive_inversion.learn.settings import Network
from contrastive_inversion.ledger import plan
from contrastive_inversion.ledger.quantities import Head, Quantity, heads_of
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.papers.contrastive_robustness import names
from contrastive_inversion.papers.contrastive_robustness.settings import (
    Attacks,
    Classify,
    ContrastiveRobustness,
    Finetune,
    Pgd,
    Plb,
    Pretrain,
    Probes,
)

OurStudy = Study[ContrastiveRobustness]
DATA = "images/cifar10"


class Pretraining(Recipe):
    """An encoder without labels."""

    network: Network
    settings: Pretrain
    images: Pictures
    train: str


class Classification(Recipe):
    """A supervised classifier; labels: the share of them that is known, in percent."""

    network: Network
    labels: Percent
    settings: Classify
    images: Pictures
    train: str


class Finetuning(Recipe):
    """A classifier on an encoder that was trained without labels."""

    network: Network
    labels: Percent
    initial: str
    settings: Finetune
    images: Pictures
    train: str


class ProbeSpec(Settings):
    """One probe of a file of heads: its name there and its share of the labels in percent."""

    key: str
    fraction: float


class Heads(Recipe):
    """All probes of an encoder."""

    encoder: str
    train: str
    probes: list[ProbeSpec]
    settings: Probes
    images: Pictures


class Source(Settings):
    """A model that another one's attack is made on: the product that holds its encoder, and its head."""

    encoder: str
    head: Head


class Level(Settings):
    """Clean images or one attack: its heads, metrics and settings; source: the head that it attacks in their place.

    strongest_of: the levels of attacks of which every image's nearest counts here.
    """

    name: str
    heads: list[Head]
    metrics: list[str]
    settings: Pgd | Plb | None = None
    source: Source | None = None
    strongest_of: list[str] = []


class Distances(Recipe):
    """Clean accuracy and attacks of an encoder's classifiers."""

    encoder: str
    test: str
    levels: list[Level]
    settings: "Attacked"
    images: Pictures
    classes_of: str
    split: str


class Attacked(Settings):
    """Which images are attacked, how many at a time, and on which features."""

    images: int = Field(ge=2)
    batch: int
    features: str


def cropped(crops: Crops, study: OurStudy) -> Pictures:
    """How a family's training images are cropped and flipped."""
    return Pictures(image_size=study.settings.image_size, **crops.said())


def plain(study: OurStudy) -> Pictures:
    """How images are seen by probes and tests."""
    s = study.settings
    return Pictures(image_size=s.image_size, crop=s.crop, flip=s.flip)


def contrastive(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of an encoder without labels."""
    s, strength = study.settings, float(match["strength"] or 0)
    changes = s.contrastive.regularised if strength else s.contrastive.unregularised
    settings = Pretrain.model_validate(s.contrastive.said())
    settings = (changes.over(settings) if changes else settings).but(strength=strength)
    return Pretraining.of(
        DATA, seed=plan.seed_of(match[0], study), network=s.networks.contrastive, settings=settings,
        images=cropped(s.contrastive.images, study), train=DATA,
    )  # fmt: skip


def supervised(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of a supervised classifier: `part`, then `tenth`, over what differs with a penalty or without."""
    s, strength, labels = study.settings, float(match["strength"] or 0), float(match["labels"] or 100)
    changes = s.supervised.regularised if strength else s.supervised.unregularised
    settings = Classify.model_validate(s.supervised.said())
    part, tenth = (s.supervised.part, labels < 100), (s.supervised.tenth, 10 <= labels < 100)
    for changed in (changes, *(layer for layer, applies in (part, tenth) if applies)):
        settings = changed.over(settings) if changed else settings
    return Classification.of(
        DATA, seed=plan.seed_of(match[0], study), network=s.networks.supervised,
        settings=settings.but(strength=strength), images=cropped(s.supervised.images, study), train=DATA,
        labels=labels,
    )  # fmt: skip


def finetuned(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of a classifier on a contrastive encoder of the same penalty and seed."""
    s, labels = study.settings, float(match["labels"] or 100)
    settings = Finetune.model_validate(s.finetuned.said())
    if labels < 100 and s.finetuned.part:
        settings = s.finetuned.part.over(settings)
    initial = "encoders/contrastive" + (f"-lambda{match['strength']}" if match["strength"] else "")
    initial += f"-seed{match['seed']}" if match["seed"] else ""
    return Finetuning.of(
        DATA, initial, seed=plan.seed_of(match[0], study), network=s.networks.contrastive, settings=settings,
        images=cropped(s.finetuned.images, study), train=DATA, labels=labels, initial=initial,
    )  # fmt: skip


def heads(study: OurStudy, encoder: str, data: str) -> Recipe:
    """All probes that the study asks of an encoder."""
    wanted = {probe for probe, quantity in plan.probes(study).get(encoder, []) if quantity.data == data}
    probes = [ProbeSpec(key=p.key, fraction=float(p.fraction)) for p in sorted(wanted, key=lambda p: p.key)]
    return Heads.of(
        f"encoders/{encoder}", f"images/{data}", seed=plan.seed_of(encoder, study), encoder=f"encoders/{encoder}",
        train=f"images/{data}", probes=probes, settings=study.settings.probe, images=plain(study),
    )  # fmt: skip


def measurements(study: OurStudy, encoder: str, data: str) -> Recipe:
    """Clean accuracy and attacks of an encoder's classifiers."""
    s, wanted = study.settings, plan.measured_of(encoder, data, study)
    distortions = sorted({q.distortion for q in wanted}, key=lambda name: (name == names.STRONGEST, name))
    levels = [level_of(study, encoder, name, wanted) for name in distortions]
    sources = [level.source for level in levels if level.source]
    heads = [head for level in levels for head in level.heads] + [source.head for source in sources]
    donors = sorted({head.encoder for head in heads if head.encoder})
    return Distances.of(
        f"encoders/{encoder}", f"images/{data}", *(f"heads/{donor}/{data}" for donor in donors),
        *(source.encoder for source in sources), seed=s.seed,
        encoder=f"encoders/{encoder}", test=f"images/{data}", levels=levels, images=plain(study), classes_of=data,
        settings=attacked(s.attacks, encoder), split=split_of(study, data, s.evaluate.split),
    )  # fmt: skip


def level_of(study: OurStudy, encoder: str, name: str, wanted: Iterable[Quantity]) -> Level:
    """Clean images or one attack: the heads and metrics that are asked of it, and its settings.

    The published code misplaces gradients where it attacks a probe; its copy for supervised models does not.
    """
    here = [q for q in wanted if q.distortion == name]
    if name == names.STRONGEST:
        return strongest(study, here, wanted)
    settings = None if name == "clean" else study.settings.attacks.named(name)
    if isinstance(settings, Pgd) and not encoder.startswith("contrastive"):
        settings = settings.but(misplaced=False)
    return Level(
        name=name, heads=heads_of(here, study.paper), metrics=sorted({q.metric for q in here}), settings=settings,
        source=source_of(here[0], study) if isinstance(settings, Pgd) and settings.transferred else None,
    )  # fmt: skip


def strongest(study: OurStudy, here: list[Quantity], wanted: Iterable[Quantity]) -> Level:
    """The level of the nearest that any attack in L2 found. Raises UserError for a head on which there is none."""
    others = [q for q in wanted if q.distortion not in ("clean", names.STRONGEST)]
    in_l2 = [q for q in others if study.settings.attacks.in_l2(q.distortion)]
    for quantity in here:
        if quantity.head not in {q.head for q in in_l2}:
            raise UserError(f"{study.place('also')}: '{quantity}': the study asks for no attack in L2 on this model")
    return Level(
        name=names.STRONGEST, heads=heads_of(here, study.paper), metrics=sorted({q.metric for q in here}),
        strongest_of=sorted({q.distortion for q in in_l2}),
    )  # fmt: skip


def source_of(quantity: Quantity, study: OurStudy) -> Source:
    """The model that the attack of a quantity is made on. Raises UserError where the study fits no such probe."""
    other = names.counterpart(quantity)
    (head,) = heads_of([other], study.paper)
    fitted = {probe.key for probe, _ in plan.probes(study).get(other.encoder, [])}
    if head.key and head.key not in fitted:
        raise UserError(
            f"{study.place('also')}: '{quantity}' attacks '{other.encoder} | {other.head}', which nothing else in the "
            "study asks for: add a quantity of it"
        )
    return Source(encoder=f"encoders/{other.encoder}", head=head)


def attacked(settings: Attacks, encoder: str) -> Attacked:
    """Which images are attacked, how many at a time, and on which features."""
    fewer = settings.regularised_images if encoder.startswith("contrastive-lambda") else None
    return Attacked(images=fewer or settings.images, batch=settings.batch, features=settings.features)
