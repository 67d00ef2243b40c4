"""The paper's recipes: for every product of a study, what its content depends on. Imports no torch."""

import re
from collections.abc import Iterable
from typing import Any, Literal

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Settings
from contrastive_inversion.data.recipes import split_of
from contrastive_inversion.data.settings import Pictures
from contrastive_inversion.distort.names import Specification, specification
from contrastive_inversion.learn.settings import Network, Published, Training, Weights
from contrastive_inversion.ledger import layouts, plan
from contrastive_inversion.ledger.quantities import Head, Probe, Quantity, heads_of
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.papers.inverse_problems import names
from contrastive_inversion.papers.inverse_problems.settings import (
    Clip,
    DeepDecoder,
    Distill,
    Gallery,
    InverseProblems,
    NonLocalMeans,
    Precision,
    Probes,
    Supervised,
)

OurStudy = Study[InverseProblems]
SEVERITIES = [1, 2, 3, 4, 5]


class Trained(Recipe):
    """What every training of an encoder depends on."""

    network: Network
    images: Pictures
    train: str


class ClipTraining(Trained):
    """The embedded study's teacher."""

    settings: Clip


class SupervisedTraining(Trained):
    """A classifier trained end to end: a baseline, or the weights that baselines start from."""

    settings: Supervised
    distortion: Specification | None = None
    initial: str | None = None


class Distillation(Trained):
    """A student."""

    settings: Distill
    distortion: Specification
    teacher: str


class Embedding(Training):
    """What a teacher's embeddings depend on among a student's settings, to the bit; nothing is trained."""

    optimizer: Literal["sgd"] = "sgd"
    lr: float = 1
    shards: int = 1


class Targets(Trained):
    """The teacher's embeddings of all that students of one seed see, before it is distorted."""

    settings: Embedding
    teacher: str


class ProbeSpec(Settings):
    """One probe of a file of heads: its name there, its share of the labels in percent, what it is trained under."""

    key: str
    fraction: float
    distortion: Specification


class Heads(Recipe):
    """All probes of an encoder on a data set."""

    encoder: str
    train: str
    probes: list[ProbeSpec]
    settings: Probes
    images: Pictures


class Restoration(Recipe):
    """One of the blocks, counted from 0, that some test images are distorted and restored in."""

    test: str
    split: str
    images: Pictures
    distortion: Specification
    block: int = 0
    blocks: int = 1


class Denoising(Restoration):
    """Images with noise, denoised by non-local means."""

    settings: NonLocalMeans


class Inpainting(Restoration):
    """Masked images, inpainted by Deep Decoders."""

    settings: DeepDecoder


class Constants(Settings):
    """Normalising constants of another network."""

    mean: list[float]
    std: list[float]


class Level(Settings):
    """One distortion of a measurement: its heads and metrics, and one of three sources of its images.

    images: how many are distorted, spread over the split as restorations spread theirs; None for all.
    """

    name: str
    heads: list[Head]
    metrics: list[str]
    distortion: Specification | None = None
    images: int | None = None
    restored: list[str] | None = None
    constants: Constants | None = None
    severities: list[int] | None = None


class Instantiations(Settings):
    """How often a drawn distortion is drawn, and how images are embedded."""

    instantiations: int
    batch: int
    precision: Precision = "fp32"


class Accuracy(Recipe):
    """Every level, head and metric of an encoder on a data set."""

    encoder: str
    test: str
    levels: list[Level]
    settings: Instantiations
    images: Pictures
    classes_of: str
    split: str


class ShownLevel(Settings):
    """A distortion that a gallery shows."""

    name: str
    distortion: Specification


class Samples(Recipe):
    """The images of a gallery."""

    gallery: Literal["predictions", "samples"]
    images: Pictures
    settings: Gallery
    split: str
    levels: list[ShownLevel]


def pictures(study: OurStudy, flip: float | None = None) -> Pictures:
    """What training and testing must know of images; a stage may flip as it likes."""
    s = study.settings
    return Pictures(image_size=s.image_size, crop=s.crop, flip=s.flip if flip is None else flip)


def teacher(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of the students' teacher."""
    s, settings = study.settings, study.settings.teacher
    if isinstance(settings, Published):
        return Weights.of(seed=s.seed, network=s.networks.student, settings=settings)
    return ClipTraining.of(
        "images/captions", seed=s.seed, network=s.networks.student, settings=settings, images=pictures(study),
        train="images/captions",
    )  # fmt: skip


def resnet(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of the weights that baselines start from."""
    settings = study.settings.resnet
    if isinstance(settings, Published):
        return Weights.of(seed=study.settings.seed, network=study.settings.networks.baseline, settings=settings)
    return from_random_weights(study, settings, "images/imagenet")


def resnet100(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of Table 11's other first weights."""
    return from_random_weights(study, study.settings.resnet100, "images/imagenet100")


def from_random_weights(study: OurStudy, settings: Supervised, train: str) -> Recipe:
    return SupervisedTraining.of(
        train, seed=study.settings.seed, network=study.settings.networks.baseline, settings=settings,
        images=pictures(study), train=train,
    )  # fmt: skip


def student(study: OurStudy, match: re.Match[str]) -> Distillation:
    """The recipe of a student."""
    s = study.settings
    seed, kept = plan.seed_of(match[0], study), s.distill.targets == "kept" and s.distill.teacher_mode == "eval"
    return Distillation.of(
        "images/imagenet100", "encoders/teacher", seed=seed, sparing=[targets_at(seed)] if kept else [],
        network=s.networks.student.but(input=s.distill.input), train="images/imagenet100", teacher="encoders/teacher",
        settings=s.distill.but(loss=getattr(s.losses, match["loss"] or "st")), images=pictures(study, s.distill.flip),
        distortion=specification(match["distortion"], s),
    )  # fmt: skip


def targets(study: OurStudy, name: str) -> Recipe:
    """The recipe of the teacher's embeddings for students of a seed, such as `seed1234`."""
    match = names.STUDENT.fullmatch(f"student-clean-{name}")
    if match is None or match["seed"] is None:
        raise UserError(f"'{name}': targets are those of a seed, such as seed{study.settings.seed}")
    return targets_of(student(study, match))


def targets_at(seed: int) -> str:
    """The product that holds the targets of students of a seed."""
    return f"targets/seed{seed}"


def targets_of(recipe: Distillation) -> Targets:
    """The recipe of the embeddings that a student learns."""
    same = ("epochs", "batch", "order", "precision", "compile", "shards")
    return Targets(
        seed=recipe.seed, inputs=recipe.inputs, network=recipe.network, images=recipe.images, train=recipe.train,
        settings=Embedding(**recipe.settings.model_dump(include={*same})), teacher=recipe.teacher,
    )  # fmt: skip


def baseline(study: OurStudy, match: re.Match[str]) -> Recipe:
    """The recipe of a supervised baseline."""
    s, settings = study.settings, study.settings.finetune
    if match["distortion"] == "clean" and s.clean_baseline:
        settings = s.clean_baseline.over(settings)
    initial = f"encoders/{study.paper.family(match[0])[0].starts_from}"
    return SupervisedTraining.of(
        "images/imagenet100", initial, seed=plan.seed_of(match[0], study), network=s.networks.baseline,
        settings=settings, images=pictures(study, s.finetune.flip), train="images/imagenet100",
        distortion=specification(match["distortion"], s), initial=initial,
    )  # fmt: skip


def classes_of(study: OurStudy, data: str) -> str:
    """The data set whose classes and heads a data set is tested with: itself, unless it names another."""
    return study.settings.data[data].classes_of or data


def heads(study: OurStudy, encoder: str, data: str) -> Recipe:
    """All probes that the study asks of an encoder on a data set, fitted in one job sharing frozen passes."""
    s = study.settings
    wanted = {p for p, q in plan.probes(study).get(encoder, []) if classes_of(study, q.data) == data}
    wanted |= gallery_probes(study, encoder, data)
    probes = [
        ProbeSpec(
            key=p.key, fraction=float(p.fraction),
            distortion=specification(s.probe_distortions.get(p.distortion, p.distortion), s),
        )
        for p in sorted(wanted, key=lambda p: p.key)
    ]  # fmt: skip
    return Heads.of(
        f"encoders/{encoder}", f"images/{data}", seed=plan.seed_of(encoder, study), encoder=f"encoders/{encoder}",
        train=f"images/{data}", probes=probes, settings=probe_settings(study, data),
        images=pictures(study, s.probe.flip),
    )  # fmt: skip


def probe_settings(study: OurStudy, data: str) -> Probes:
    """How the probes of a data set are fitted: `transfer` replaces `full` away from ImageNet-100."""
    settings = study.settings.probe
    if data != "imagenet100" and settings.transfer:
        return settings.model_copy(update={"full": settings.transfer})
    return settings


def denoised(study: OurStudy, data: str, distortion: str, block: str) -> Recipe:
    """A block of noisy test images after non-local means."""
    settings = study.settings.restore.nlm
    return Denoising.of(f"images/{data}", settings=settings, **block_of(study, settings, data, distortion, block))


def inpainted(study: OurStudy, data: str, distortion: str, block: str) -> Recipe:
    """A block of masked test images after Deep Decoder fits."""
    settings = study.settings.restore.deep_decoder
    return Inpainting.of(f"images/{data}", settings=settings, **block_of(study, settings, data, distortion, block))


def block_of(
    study: OurStudy, settings: NonLocalMeans | DeepDecoder, data: str, distortion: str, block: str
) -> dict[str, Any]:
    """What all restorations say of a block. Raises UserError for one that the study does not have."""
    s, count = study.settings, blocks(settings)
    if block not in map(str, range(count)):
        raise UserError(f"there is no block '{block}'; restored images come in {count}, counted from 0")
    return {
        "seed": s.seed, "test": f"images/{data}", "split": s.evaluate.split, "images": pictures(study),
        "distortion": specification(distortion, s), "block": int(block), "blocks": count,
    }  # fmt: skip


def blocks(settings: NonLocalMeans | DeepDecoder) -> int:
    """How many blocks images are restored in; none is empty."""
    return min(settings.blocks, settings.images or settings.blocks)


def restored(study: OurStudy, data: str, name: str, method: str) -> list[str]:
    """The products that hold the images of a restored level, block by block."""
    restore = study.settings.restore
    count = blocks(restore.nlm if method == "nlm" else restore.deep_decoder)
    return [f"{names.RESTORATIONS[method]}/{data}/{names.distortion_of(name)}/{block}" for block in range(count)]


def measurements(study: OurStudy, encoder: str, data: str, *level: str) -> Recipe:
    """Every level, head and metric that the study asks of an encoder on a data set, or of one level measured alone."""
    s, wanted = study.settings, plan.measured_of(encoder, data, study, *level)
    levels = [level_of(study, data, name, wanted) for name in sorted({q.distortion for q in wanted})]
    others = sorted({(head.encoder, head.compares) for level in levels for head in level.heads if head.encoder})
    needed = [f"encoders/{e}" if beside else f"heads/{e}/{classes_of(study, data)}" for e, beside in others]
    needed += [block for level in levels for block in level.restored or ()]
    return Accuracy.of(
        *dict.fromkeys((f"encoders/{encoder}", f"images/{data}", *needed)), seed=s.seed, encoder=f"encoders/{encoder}",
        test=f"images/{data}", levels=levels, images=pictures(study), classes_of=classes_of(study, data),
        settings=Instantiations(**s.evaluate.model_dump(exclude={"split"})),
        split=split_of(study, data, s.evaluate.split),
    )  # fmt: skip


def level_of(study: OurStudy, data: str, name: str, wanted: Iterable[Quantity]) -> Level:
    """One distortion of a measurement: where its images come from, its heads and their metrics."""
    here = [q for q in wanted if q.distortion == name]
    level = Level(name=name, heads=heads_of(here, study.paper), metrics=sorted({q.metric for q in here}))
    if method := names.restoration(name):
        blocks_of_level = restored(study, data, name, method)
        return level.model_copy(update={"restored": blocks_of_level, "constants": constants_of(study, name)})
    if names.is_imagenet_c(data, study):
        return level.model_copy(update={"severities": SEVERITIES})
    distortion, others = specification(names.distortion_of(name), study.settings), names.restored_by(name)
    images = names.images_restored(others, study) if others else None
    return level.model_copy(update={"distortion": distortion, "images": images})


def constants_of(study: OurStudy, name: str) -> Constants | None:
    """The normalising constants of denoised images, where the study takes another network's."""
    chosen = study.settings.restore.nlm.constants
    if names.restoration(name) != "nlm" or chosen is None:
        return None
    network: Network = getattr(study.settings.networks, chosen)
    return Constants(mean=network.mean, std=network.std)


def gallery_probes(study: OurStudy, encoder: str, data: str) -> set[Probe]:
    """The probes that a gallery shows predictions of."""
    drawn = [layouts.figures(study.paper)[number] for number in study.settings.figures]
    shown = {level for layout in drawn if layout.gallery == "predictions" for level in layout.distortions}
    match = names.STUDENT.fullmatch(encoder)
    if not match or match["loss"] or data != "imagenet100" or match["distortion"] not in shown:
        return set()
    return {Probe(encoder, "100", match["distortion"])}


def galleries(study: OurStudy, name: str) -> Recipe:
    """The images of a gallery, with what models take them for where its figure shows that."""
    known = {f"figure_{n}": layout for n, layout in layouts.figures(study.paper).items() if layout.gallery}
    if name not in known:
        raise UserError(f"there is no gallery '{name}'{nearest(name, known)}")
    s, layout, needed = study.settings, known[name], ["images/imagenet100"]
    if layout.gallery == "predictions":
        for d in layout.distortions:
            needed += [f"encoders/student-{d}", f"heads/student-{d}/imagenet100", f"encoders/baseline-{d}"]
    levels = [ShownLevel(name=d, distortion=specification(d, s)) for d in layout.distortions]
    return Samples.of(
        *needed, seed=s.seed, gallery=layout.gallery, images=pictures(study), settings=s.gallery,
        split=s.evaluate.split, levels=levels,
    )  # fmt: skip
