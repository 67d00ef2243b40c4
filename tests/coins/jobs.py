"""The two kinds of job of the paper about coins."""

from typing import Any

import torch
from contrastive_inversion.papers.coins import Shares, Tosses

from contrastive_inversion.base import files, rng
from contrastive_inversion.base.job import Job


def toss(recipe: Tosses, job: Job) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tosses of a coin: bool (repeats, tosses), True for heads."""
    draws = rng.uniform(recipe.tosses, recipe.seed, "coins", torch.arange(recipe.repeats))
    return {"heads": draws < recipe.bias}, {}


def count(recipe: Shares, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The share of heads of each repeat, in percent."""
    source = job.input(recipe.encoder)
    heads = files.load(source.path, source.recipe_hash)[0]["heads"]
    common = {
        "over": "instantiations",
        "values": (100.0 * heads.double().mean(dim=1)).tolist(),
        "images": heads.shape[1],
    }
    return [{"head": h, "distortion": d, "metric": m} | common for h, d, m in recipe.rows], {}
