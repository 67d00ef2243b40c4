"""What `evaluate.precision` moves: the demo's accuracies with its networks in TF32 and in bf16, beside float32.

`python benchmarks/precision.py`, after the demo was made. bf16 is torch's autocast, as on a GPU. TF32 is what a CPU has
not: the inputs of convolutions and of products of matrices are rounded to its 10 bits, and the sums are float32's.
"""

import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from contrastive_inversion import papers
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.job import Job, file_of
from contrastive_inversion.ledger import plan
from contrastive_inversion.papers.inverse_problems import accuracy
from contrastive_inversion.run.jobs import prepare_torch

ENCODERS = ["teacher", "student-rm50to95", "student-gn50", "baseline-rm90", "resnet"]
PRODUCTS = (F.linear, F.conv2d, torch.conv2d, torch.matmul)
DROPPED = 13  # of float32's 23 bits of a fraction


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Float32 numbers of any shape, each the nearest that TF32 has, ties away from zero."""
    bits = tensor.contiguous().view(torch.int32) + (1 << (DROPPED - 1))
    return (bits >> DROPPED << DROPPED).view(torch.float32).view_as(tensor)


class TensorFloats(TorchFunctionMode):
    """Rounds what convolutions and products of matrices are given."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function in PRODUCTS:
            arguments = (*map(rounded, arguments[:2]), *arguments[2:])
        return function(*arguments, **(keywords or {}))


PRECISIONS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "fp32": contextlib.nullcontext,
    "tf32": TensorFloats,
    "bf16": functools.partial(torch.autocast, "cpu", torch.bfloat16),
}


def measured(encoder: str, precision: str, root: Path) -> dict[tuple[str, ...], float]:
    """The mean top-1 of each level and head of a finished demo's encoder, in percent."""
    study = papers.study("demo")
    text = plan.recipe(product := f"measurements/{encoder}/imagenet100", study)
    _, recipe = plan.read(text, study.paper)
    accuracy.networks.placed = lambda network, _, job: setattr(network, "rounding", PRECISIONS[precision])
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("encoders", "heads", "images"):
            Path(folder, kind).symlink_to((root / kind).resolve())
        rows, _ = accuracy.measure(recipe, Job(product, Path(folder), digest(text), recipe.inputs))
    return {(r["distortion"], r["head"]): float(np.mean(r["values"])) for r in rows if r["metric"] == "top1"}


def row(encoder: str, root: Path) -> list[Any]:
    """Of one encoder: levels and heads, their mean top-1, how far each precision moves it on average, and at most."""
    exact, *others = (measured(encoder, precision, root) for precision in PRECISIONS)
    moved = [[other[key] - exact[key] for key in exact] for other in others]
    shown = [f"{statistic:+.3f}" for each in moved for statistic in (np.mean(each), max(each, key=abs))]
    return [encoder, len(exact), f"{np.mean(list(exact.values())):.2f}", *shown]


def main() -> None:
    root = Path("results/demo")
    if not (root / file_of("encoders/teacher")).exists():
        sys.exit("There is no finished demo in results/demo: run snakemake first")
    prepare_torch()
    titles = ["encoder", "levels", "top-1, %", "TF32: mean", "most", "bf16: mean", "most"]
    print(tabulate([row(encoder, root) for encoder in ENCODERS], titles, "github", disable_numparse=True))


if __name__ == "__main__":
    main()
