"""A paper about coins, in four files: what `docs/add-a-paper.md` walks through and the tests run."""

import re
from pathlib import Path
from typing import Any, Literal

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.recipe import Recipe
from contrastive_inversion.base.settings import Count, Settings, Share
from contrastive_inversion.ledger import plan, printed
from contrastive_inversion.ledger.paper import Family, JobKind, Metric, Paper, Product
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study, StudySettings


class Purse(Settings):
    """Where the coins come from."""

    source: Literal["mint"]


class Coins(StudySettings):
    """All settings of a study of this paper."""

    data: dict[str, Purse]
    tosses: Count
    repeats: Count
    biases: list[Share]


class Tosses(Recipe):
    """The recipe of a coin: how likely it shows heads, and how often it is tossed."""

    bias: float
    tosses: int
    repeats: int


class Shares(Recipe):
    """The recipe of a measurement: whose tosses are counted, and the rows that are asked for."""

    encoder: str
    rows: list[list[str]]


def toss(study: Study[Coins], match: re.Match[str]) -> Recipe:
    s = study.settings
    return Tosses.of(seed=s.seed, bias=float(match["bias"]), tosses=s.tosses, repeats=s.repeats)


def fair(study: Study[Coins], match: re.Match[str]) -> Recipe:
    s = study.settings
    return Tosses.of(seed=s.seed, bias=0.5, tosses=s.tosses, repeats=s.repeats)


def measurement(study: Study[Coins], name: str, data: str) -> Recipe:
    rows = [[q.head, q.distortion, q.metric] for q in plan.measured_of(name, data, study)]
    return Shares.of(f"encoders/{name}", seed=study.settings.seed, encoder=f"encoders/{name}", rows=rows)


def check_level(quantity: Quantity, study: Study[Any]) -> None:
    if quantity.distortion not in ("clean", "plb"):
        raise UserError(f"unknown way of tossing '{quantity.distortion}'")


PAPER = Paper(
    name="coins",
    title="Coins Show Heads",
    authors="A. Tosser",
    venue="Journal of Coins",
    folder=Path(__file__).parent,
    settings=Coins,
    encoders={
        "coin": Family(re.compile(r"coin-(?P<bias>0\.\d+)"), toss),
        "supervised": Family(re.compile("supervised"), fair, retrained=False),
    },
    examples=("coin-0.7", "supervised"),
    metrics={"share": Metric("Heads (%)"), "median": Metric("Median share of heads (%)")},
    products={
        "encoders": Product("{encoder}", plan.encoder, "Toss a coin."),
        "measurements": Product("{encoder}/{data}", measurement, "Count a coin's heads."),
    },
    jobs={
        "transcribe": printed.TRANSCRIBE,
        "toss": JobKind(Tosses, 1, "papers.coins.jobs:toss", trains=True),
        "count": JobKind(Shares, 1, "papers.coins.jobs:count"),
    },
    check_level=check_level,
    spread=lambda quantity: quantity.metric,
    sentences={
        "cells": "what was measured here ± standard error over repeats",
        "also": "Further coins",
        "how": "Tosses: {settings.tosses}",
    },
)
