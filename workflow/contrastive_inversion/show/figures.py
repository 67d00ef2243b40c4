"""Figures 1 and 3-11 from finished measurements, as vector pdf and png. Imports no torch."""

import functools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns

from contrastive_inversion.base import files, studies
from contrastive_inversion.distort import names
from contrastive_inversion.ledger import plan, printed, quantities
from contrastive_inversion.ledger.measurements import Measurements

MARKERS = "osD^v"
METRIC = {
    "top1": "Top-1 accuracy (%)", "top5": "Top-5 accuracy (%)", "all": "Images misclassified (%)",
    "printed": "Images misclassified (%), of those counted",
}  # fmt: skip
# Text as text in the pdf; no dates, so that the same measurements give the same bytes.
STYLE = {"pdf.fonttype": 42, "axes.titlesize": "medium", "legend.fontsize": "small"}


def needed(number, study_name):
    """The products that a figure is made from."""
    study = studies.load(study_name)
    if "gallery" in quantities.figure_layouts(quantities.ledger_of(study))[number]:
        return [f"galleries/figure_{number}"]
    return plan.measurements_for(quantities.of_figure(number, study), study)


def write(number, study_name, results="results", folder="figures"):
    """Draw figure_<number>.{pdf,png} of a study. Raises UserError if a measurement is missing or unsound."""
    layout = quantities.figure_layouts(quantities.ledger_of(studies.load(study_name)))[number]
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        if "gallery" in layout:
            drawing = gallery(number, layout, study_name, results)
        else:
            drawing = curves(layout, study_name, results)
        for ending, metadata in {"pdf": {"CreationDate": None}, "png": {"Software": None}}.items():
            with files.atomic(Path(folder) / study_name / f"figure_{number}.{ending}") as path:
                drawing.savefig(path, format=ending, dpi=150, bbox_inches="tight", metadata=metadata)
        plt.close(drawing)


def curves(layout, study_name, results):
    """A panel per training range, a curve per model; the published curve dashed in the same colour."""
    study, measured = studies.load(study_name), Measurements(study_name, results)
    columns = layout.get("columns", len(layout["panels"]))
    rows = -(-len(layout["panels"]) // columns)
    drawing, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.9 * rows), squeeze=False)
    for axis, panel in zip(axes.flat, layout["panels"], strict=True):
        palette = sns.color_palette("colorblind", len(panel["curves"]))
        for i, (name, template) in enumerate(panel["curves"].items()):
            style = {"color": palette[i], "marker": MARKERS[i]}
            metric = quantities.metric_of(layout, study)
            ours = points(template, quantities.panel_levels(panel, study), metric, measured.of)
            draw(axis, template, ours, name, style | {"linestyle": "-", "linewidth": 1.7})
            if study["measured"]:
                dashed = style | {"linestyle": "--", "linewidth": 1.1, "markerfacecolor": "none"}
                draw(axis, template, published_points(template, panel, layout, study), f"{name}, published", dashed)
        finish(axis, panel, layout, study)
    if rows > 1:
        drawing.tight_layout()
    return drawing


def published_points(template, panel, layout, study):
    """The published curve that stands behind ours."""
    other = studies.load(study["published"])
    value = functools.partial(printed.value, study=other)
    return points(template, quantities.panel_levels(panel, other), quantities.metric_of(layout, study), value)


def points(template, levels, metric, value):
    """(x, Estimate) along a curve, without levels that have no value; a template without {x} is constant."""
    found = [(x_of(level), value(quantities.curve(template, level, metric))) for level in levels]
    return [(x, estimate) for x, estimate in found if estimate is not None]


def x_of(level):
    """A level's place on the axis: percent of pixels or of labels, or a standard deviation."""
    match = names.PERCENT.fullmatch(level)
    if not match:
        return float(level)
    return int(match[2]) if match[1] == "rm" else int(match[2]) / 100


def draw(axis, template, curve, name, style):
    """A curve with a band of one standard error where there is one; a constant as a line across the panel."""
    if not curve:
        return
    if "{x}" not in template:
        axis.axhline(curve[0][1].mean, label=name, **style | {"marker": ""})
        return
    x, means = [x for x, _ in curve], [estimate.mean for _, estimate in curve]
    axis.plot(x, means, label=name, markersize=5, **style)
    errors = [estimate.se or 0 for _, estimate in curve]
    if any(errors) and style["linestyle"] == "-":
        low = [m - e for m, e in zip(means, errors, strict=True)]
        high = [m + e for m, e in zip(means, errors, strict=True)]
        axis.fill_between(x, low, high, color=style["color"], alpha=0.25, linewidth=0)


def finish(axis, panel, layout, study):
    axis.set_title(panel["title"])
    axis.set_xlabel(panel.get("x") or layout["x"])
    axis.set_ylabel(METRIC[quantities.metric_of(layout, study)])
    if panel["levels"] == "fractions":
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    elif panel["levels"] != "distances" and panel["levels"][0].startswith("rm"):
        axis.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)


def gallery(number, layout, study_name, results):
    """Sample images: a row per distortion, a column per image, with predictions where the gallery has them."""
    path = Path(results) / study_name / f"galleries/figure_{number}.safetensors"
    recipe_hash = plan.digest(plan.recipe(f"galleries/figure_{number}", study_name))
    tensors, record = files.load(path, recipe_hash, framework="np")
    names = ["clean", *layout["distortions"]]
    shown, predictions = len(record["labels"]), record["predictions"]
    height = 2.35 if predictions else 1.25
    drawing, axes = plt.subplots(len(names), shown, figsize=(1.75 * shown, height * len(names)), squeeze=False)
    for row, name in zip(axes, names, strict=True):
        for i, axis in enumerate(row):
            axis.imshow(tensors[name][i], interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if name in predictions:
                axis.set_xlabel(guesses(predictions[name], i, record["labels"][i]), fontsize=5, linespacing=1.25)
        row[0].set_ylabel(names.label(name), fontsize=8)
    for axis, label in zip(axes[0], record["labels"], strict=True):
        axis.set_title(shortened(label, 26), fontsize=6)
    drawing.tight_layout(h_pad=0.4, w_pad=0.3)
    return drawing


def guesses(predictions, i, truth):
    """The three likeliest classes by our model and by the baseline, the right one marked."""
    lines = []
    for model, heading in (("ours", "Ours"), ("baseline", "Supervised baseline")):
        lines.append(f"{heading}:")
        for name, probability in predictions[model][i]:
            lines.append(f"{'✓ ' if name == truth else ''}{shortened(name, 27)} {100 * probability:.0f} %")
    return "\n".join(lines)


def shortened(text, length):
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
