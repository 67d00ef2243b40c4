"""Figures from finished measurements, as pdf and svg and as png. Imports no torch."""

import io
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import layouts, plan
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.layouts import FigureLayout, Panel
from contrastive_inversion.ledger.measurements import Measurements
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.show.curves import Curve, points, published_points

MARKERS = "osD^v"
TEXT = 7  # points, of a gallery's labels and guesses
LINE = 1.3 * TEXT / 72  # inches, of one line of guesses
BELOW = 4.5  # lines of a legend's text, between it and its panel: room for the axis's numbers and label
PUBLISHED = "{}, published"
# Text as text in the pdf; no dates, so that the same measurements give the same bytes.
STYLE: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "figure",
    "axes.titlesize": "medium",
    "legend.fontsize": "small",
}
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


def write(number: int, study: Study[Any], results: Path, figures: Path) -> None:
    """Draw figure_<number>.{pdf,svg,png} of a study. Raises UserError if a measurement is missing or unsound."""
    layout = layouts.figures(study.paper)[number]
    # nothing of the user's matplotlibrc: of the same measurements everybody has the same bytes
    with plt.style.context("default"), sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        drawing = gallery(number, study, results) if layout.gallery else curves(layout, study, results)
        for ending, metadata in METADATA.items():
            drawn = io.BytesIO()  # matplotlib does not tell a full disk
            drawing.savefig(drawn, format=ending, dpi=150, bbox_inches="tight", metadata=metadata)
            with files.atomic(figures / study.name / f"figure_{number}.{ending}") as path:
                path.write_bytes(drawn.getvalue())
        plt.close(drawing)


def curves(layout: FigureLayout, study: Study[Any], results: Path) -> Figure:
    """The panels of a figure, in rows of so many columns."""
    measured = Measurements(study, results)
    metric = layouts.metric_of(layout, study)
    columns = layout.columns or len(layout.panels)
    rows = -(-len(layout.panels) // columns)
    drawing, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.9 * rows), squeeze=False)
    for axis, panel in zip(axes.flat, layout.panels, strict=True):
        draw_panel(axis, panel, metric, study, measured)
        finish(axis, panel, metric, study)
        axis.set_xlabel(panel.x or layout.x)
    if rows > 1:
        drawing.tight_layout()
    return drawing


def draw_panel(axis: Axes, panel: Panel, metric: str, study: Study[Any], measured: Measurements) -> None:
    """A curve per model, and behind it the published one, dashed in the same colour."""
    palette = sns.color_palette("colorblind", len(panel.curves))
    for (name, template), color, marker in zip(panel.curves.items(), palette, itertools.cycle(MARKERS), strict=False):
        style = {"color": color, "marker": marker}
        ours = points(template, panel, metric, study, measured.of)
        draw(axis, template, ours, name, style | {"linestyle": "-", "linewidth": 1.7})
        if study.settings.measured:
            theirs = published_points(template, panel, metric, study)
            dashed = style | {"linestyle": "--", "linewidth": 1.1, "markerfacecolor": "none"}
            draw(axis, template, theirs, PUBLISHED.format(name), dashed)


def draw(axis: Axes, template: str, curve: Curve, name: str, style: dict[str, Any]) -> None:
    """A curve with a band of one standard error where there is one; a constant as a line across the panel."""
    if not curve:
        return
    if "{x}" not in template:
        axis.axhline(curve[0][1].mean, label=name, **style | {"marker": ""})
        return
    x, estimates = zip(*curve, strict=True)
    means, errors = [estimate.mean for estimate in estimates], [band(estimate) for estimate in estimates]
    axis.plot(x, means, label=name, markersize=5, **style)
    if any(errors) and style["linestyle"] == "-":
        low, high = ([m + sign * e for m, e in zip(means, errors, strict=True)] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=style["color"], alpha=0.25, linewidth=0)


def band(estimate: Estimate) -> float:
    """The standard error that a curve shows: over trainings where there are several, else over instantiations."""
    return estimate.training_se or estimate.se or 0.0


def finish(axis: Axes, panel: Panel, metric: str, study: Study[Any]) -> None:
    """A panel's title, scale and legend."""
    levels = layouts.levels_of(panel, study)
    quantity = layouts.curve_point(next(iter(panel.curves.values())), levels[0], metric)
    axis.set_title(panel.title)
    axis.set_ylabel(study.paper.metric(quantity.metric).label)
    axis.yaxis.set_major_locator(round_ticks())
    if panel.log:
        axis.set_xscale("log")
    else:
        axis.xaxis.set_major_locator(round_ticks(all(study.paper.position(level) % 1 == 0 for level in levels)))
    axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    legend(axis, list(panel.curves))


def round_ticks(integer: bool = False) -> MaxNLocator:
    """Ticks at a few multiples of 1, 2 or 5 times a power of ten."""
    return MaxNLocator(6, steps=[1, 2, 5, 10], integer=integer)


def legend(axis: Axes, names: Sequence[str]) -> None:
    """Below a panel its curves, and to the right of each the published one; in two columns without those."""
    handles, labels = axis.get_legend_handles_labels()
    drawn, theirs = dict(zip(labels, handles, strict=True)), [PUBLISHED.format(name) for name in names]
    if not drawn:  # nothing of the panel has been measured yet
        return
    entries = dict(zip(labels, labels, strict=True))
    if drawn.keys() & theirs:
        entries = dict(zip(names, names, strict=True)) | dict.fromkeys(theirs, "published")
    blank = Line2D([], [], linestyle="none")
    axis.legend(
        [drawn.get(name, blank) for name in entries], [text if name in drawn else "" for name, text in entries.items()],
        loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=BELOW, ncols=2, frameon=False,
    )  # fmt: skip


def gallery(number: int, study: Study[Any], results: Path) -> Figure:
    """Sample images: a row per distortion, a column per image, with predictions where the gallery has them."""
    product = f"galleries/figure_{number}"
    recipe_hash = digest(plan.recipe(product, study))
    tensors, record = files.load(results / study.name / file_of(product), recipe_hash, framework="np")
    layout, labels, guesses = layouts.figures(study.paper)[number], record["labels"], record["predictions"]
    levels = ["clean", *layout.distortions]
    heights = [1.9 + LINE * lines_below(guesses.get(level, {})) for level in levels]
    heights[0] += 5 * LINE  # for the titles: images of all rows are of one size
    size = (1.9 * len(labels), sum(heights))
    drawing, axes = plt.subplots(
        len(levels), len(labels), figsize=size, squeeze=False, layout="constrained", height_ratios=heights
    )
    for row, level in zip(axes, levels, strict=True):
        draw_samples(row, tensors[level])
        row[0].set_ylabel(study.paper.level_label(level, study), fontsize=9)
        if level in guesses:
            write_guesses(row, guesses[level], layout.models, labels)
    for axis, label in zip(axes[0], labels, strict=True):
        axis.set_title(shortened(label, 26), fontsize=TEXT)
    return drawing


def lines_below(predictions: dict[str, Any]) -> int:
    """How many lines of guesses stand below an image: a heading and the likeliest classes, for each model."""
    return sum(1 + len(of_images[0]) for of_images in predictions.values())


def draw_samples(row: Sequence[Axes], samples: Iterable[Any]) -> None:
    """Images (n, height, width, 3) side by side, without ticks."""
    for axis, sample in zip(row, samples, strict=True):
        axis.imshow(sample, interpolation="nearest")
        axis.set(xticks=[], yticks=[])


def write_guesses(row: Sequence[Axes], predictions: dict[str, Any], models: dict[str, str], labels: list[str]) -> None:
    """Below each image the likeliest classes by each model, under its heading, the right one marked."""
    for i, (axis, label) in enumerate(zip(row, labels, strict=True)):
        lines = []
        for model, heading in models.items():
            likeliest = (guess(name, probability, label) for name, probability in predictions[model][i])
            lines += [f"{heading}:", *likeliest]
        axis.set_xlabel("\n".join(lines), fontsize=TEXT, linespacing=1.25)


def guess(name: str, probability: float, label: str) -> str:
    """A class and its probability in percent, marked where it is the right one."""
    return f"{'✓ ' if name == label else ''}{shortened(name, 27)} {100 * probability:.0f} %"


def shortened(text: str, length: int) -> str:
    """A text cut to a length, with an ellipsis where it was longer."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
