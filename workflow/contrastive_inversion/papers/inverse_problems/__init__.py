"""Inverse Problems Leveraging Pre-trained Contrastive Representations (Ravula et al., NeurIPS 2021)."""

from pathlib import Path

from contrastive_inversion.data import recipes as data
from contrastive_inversion.distort.names import position
from contrastive_inversion.learn.settings import Weights
from contrastive_inversion.ledger import plan, printed
from contrastive_inversion.ledger.paper import Family, JobKind, Paper, Product
from contrastive_inversion.papers.inverse_problems import names, raw, recipes, rehearsal, tables, work
from contrastive_inversion.papers.inverse_problems.settings import InverseProblems

HERE = "papers.inverse_problems"
COMPUTED = "distill.targets: computed"
PAPER = Paper(
    name="inverse_problems",
    title="Inverse Problems Leveraging Pre-trained Contrastive Representations",
    authors="Sriram Ravula, Georgios Smyrnis, Matt Jordan, Alexandros G. Dimakis",
    venue="NeurIPS 2021",
    url="https://arxiv.org/abs/2110.07439",
    folder=Path(__file__).parent,
    settings=InverseProblems,
    encoders={
        "teacher": Family(names.TEACHER, recipes.teacher, retrained=False, classifies=False),
        "resnet": Family(names.RESNET, recipes.resnet, retrained=False),
        "resnet100": Family(names.RESNET100, recipes.resnet100),
        "student": Family(names.STUDENT, recipes.student, classifies=False),
        "baseline": Family(names.BASELINE, recipes.baseline, starts_from="resnet"),
        "baseline100": Family(names.BASELINE100, recipes.baseline, starts_from="resnet100"),
    },
    examples=names.EXAMPLES,
    metrics=names.METRICS,
    sources=data.SOURCES,
    products={
        "images": data.PRODUCT,
        "encoders": Product(
            "{encoder}", plan.encoder, "Train an encoder: the teacher, a student or a baseline.", on_gpu=True
        ),
        "targets": Product(
            "{seed}", recipes.targets, "Embed once what all students of a seed learn to embed.", on_gpu=True
        ),
        "heads": Product(
            "{encoder}/{data}", recipes.heads, "Fit all linear probes of an encoder on a data set.", on_gpu=True
        ),
        "denoised": Product(
            "{data}/{distortion}/{block}", recipes.denoised, "Add noise to a block of test images and denoise them."
        ),
        "inpainted": Product(
            "{data}/{distortion}/{block}",
            recipes.inpainted,
            "Mask a block of test images and inpaint them.",
            on_gpu=True,
        ),
        "measurements": Product(
            "{encoder}/{data}", recipes.measurements, "Measure every level, head and metric of an encoder.", on_gpu=True
        ),
        "restored": Product(
            "{encoder}/{data}/{distortion}",
            recipes.measurements,
            "Measure an encoder on restored images, or on the same before they are.",
            on_gpu=True,
            folder="measurements",
        ),
        "galleries": Product("{figure}", recipes.galleries, "Distort the sample images of a figure and classify them."),
    },
    jobs={
        **data.JOBS,
        "transcribe": printed.TRANSCRIBE,
        "weights": JobKind(Weights, 1, "learn.published_weights:read", work.published),
        "clip": JobKind(
            recipes.ClipTraining, 1, f"{HERE}.clip_training:train", work.of_trained, trains=True, sections=("teacher",)
        ),
        "supervised": JobKind(
            recipes.SupervisedTraining,
            1,
            f"{HERE}.baselines:train",
            work.supervised,
            trains=True,
            sections=("finetune", "clean_baseline", "resnet100", "resnet"),
        ),
        "distill": JobKind(
            recipes.Distillation,
            1,
            f"{HERE}.students:train",
            work.distill,
            trains=True,
            sections=("distill",),
            sparing=(COMPUTED,),
        ),
        "targets": JobKind(recipes.Targets, 1, f"{HERE}.students:embed_targets", work.targets, sparing=(COMPUTED,)),
        "heads": JobKind(recipes.Heads, 1, f"{HERE}.probes:fit", work.heads),
        "denoise": JobKind(recipes.Denoising, 1, f"{HERE}.restored:denoise", work.denoise),
        "inpaint": JobKind(recipes.Inpainting, 1, f"{HERE}.restored:inpaint", work.inpaint),
        "measure": JobKind(recipes.Accuracy, 1, f"{HERE}.accuracy:measure", work.measure, sections=("evaluate",)),
        "gallery": JobKind(recipes.Samples, 1, f"{HERE}.samples:make", work.gallery),
    },
    check_level=names.check_level,
    spread=names.spread,
    redrawn=names.redrawn,
    images=names.IMAGES,
    measured_alone=names.measured_alone,
    on_same_images=names.on_same_images,
    level_label=names.level_label,
    position=position,
    raw=raw.results,
    tables={3: tables.label_shift},
    rehearsal=rehearsal.changes,
    sentences={
        "cells": "what was measured here ± standard error over instantiations of the distortions",
        "also": "In no table",
        "how": "Instantiations: {settings.evaluate.instantiations} of each drawn distortion; blur and other "
        "deterministic ones once",
        "key": "In contrasts, a model, its head, data, distortion and metric. student: “ours”, the student encoder; "
        "baseline: the supervised baseline; teacher: CLIP itself. What either is trained on stands behind it: rm50 is "
        "Random Mask 50 %, gn30 Gaussian noise of σ = 0.3, gb37 Gaussian blur of kernel 37, rm50to95 and gn10to30 "
        "ranges of them. Between, a loss other than the paper's: ss is student–student, both that and ours, ntxent "
        "NT-Xent, mse the mean squared error. probe 10%: a linear classifier, fit on 10 % of the labels; own: the "
        "model's own classifier. nlm-gn10: gn10 after non-local means; dd-rm90: rm90 after Deep Decoder; gn10-of-nlm: "
        "the same images before they are restored. top1 and top5: accuracy in %; mrr: mean reciprocal rank in %; auc: "
        "area under the ROC curve; cosine: between two representations.",
    },
)
