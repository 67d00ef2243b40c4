"""Robustness of Contrastive Learning Models (Campbell, Manta, Iannantuono, 2020)."""

from pathlib import Path

from contrastive_inversion.data import recipes as data
from contrastive_inversion.ledger import plan, printed
from contrastive_inversion.ledger.paper import Family, JobKind, Paper, Product
from contrastive_inversion.papers.contrastive_robustness import masking, names, raw, recipes, rehearsal, work
from contrastive_inversion.papers.contrastive_robustness.settings import ContrastiveRobustness

HERE = "papers.contrastive_robustness"
PAPER = Paper(
    name="contrastive_robustness",
    title="Robustness of Contrastive Learning Models",
    authors="Ryan Campbell, Dragos Cristian Manta, Alexander Iannantuono",
    venue="report supervised by Adam Oberman, 2020",
    folder=Path(__file__).parent,
    settings=ContrastiveRobustness,
    encoders={
        "contrastive": Family(names.CONTRASTIVE, recipes.contrastive, classifies=False),
        "supervised": Family(names.SUPERVISED, recipes.supervised),
        "finetuned": Family(names.FINETUNED, recipes.finetuned),
    },
    examples=names.EXAMPLES,
    metrics=names.METRICS,
    sources=data.SOURCES,
    products={
        "images": data.PRODUCT,
        "encoders": Product("{encoder}", plan.encoder, "Train an encoder, with labels or without.", on_gpu=True),
        "heads": Product(
            "{encoder}/{data}", recipes.heads, "Fit all linear probes of an encoder on a data set.", on_gpu=True
        ),
        "measurements": Product(
            "{encoder}/{data}", recipes.measurements, "Measure and attack an encoder's classifiers.", on_gpu=True
        ),
    },
    jobs={
        **data.JOBS,
        "transcribe": printed.TRANSCRIBE,
        "contrastive": JobKind(
            recipes.Pretraining, 1, f"{HERE}.pretraining:train", work.pretrain, trains=True, sections=("contrastive",)
        ),
        "classifier": JobKind(
            recipes.Classification, 1, f"{HERE}.classifiers:train", work.classify, trains=True, sections=("supervised",)
        ),
        "finetuned": JobKind(
            recipes.Finetuning, 1, f"{HERE}.classifiers:finetune", work.finetune, trains=True, sections=("finetuned",)
        ),
        "logistic": JobKind(recipes.Heads, 1, f"{HERE}.probes:fit", work.heads),
        "attack": JobKind(
            recipes.Distances, 3, f"{HERE}.attack_distances:measure", work.measure, sections=("attacks",)
        ),
    },
    check_level=names.check_level,
    spread=names.spread,
    raw=raw.results,
    rehearsal=rehearsal.changes,
    remarks=masking.lines,
    sentences={
        "key": "In contrasts, a model, its head, data, attack and metric. contrastive: SimCLR; supervised: trained end "
        "to end; finetuned: the former as the latter's start; -lambda0.1: with the gradient penalty of that weight; "
        "-labels10: on 10 % of the labels. probe 10%: a linear classifier, fit on 10 % of the labels; own: the model's "
        "own classifier. pgd: projected gradient descent; plb: the proximal log-barrier attack; strongest: of all "
        "attacks on a model. top1: accuracy in %; all@0.25: % of all images misclassified within a distance of 0.25, "
        "clean errors counted; printed@0.25: the same of those that the report's Figure 2 counts, without clean errors "
        "and failed attacks; median: the median distance of images classified correctly; failed: % of these on which "
        "the attack failed.",
        "figures": "The images that Figure 2 counts here: {settings.counted}. By the report's own count (printed) "
        "clean errors and failed attacks are left out; by the other (all) a clean error is at distance 0.",
        "also": "Behind the claims",
        "remarks": "Does PGD fail because it is weak? Images misclassified within {settings.attacks.pgd.epsilon:g}",
        "how": "Attacked images: {settings.attacks.images}, the same for every model; distances are of L2 in [0, 1] "
        "pixels",
    },
)
