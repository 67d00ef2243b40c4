"""The points of a figure's curves: a study's, and those that were published. Draws nothing."""

from collections.abc import Callable
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.ledger import layouts, printed
from contrastive_inversion.ledger.estimates import Estimate
from contrastive_inversion.ledger.layouts import FigureLayout, Panel
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.study import Study

Curve = list[tuple[float, Estimate]]
Value = Callable[[Quantity], Estimate | None]


def unpublished(layout: FigureLayout, study: Study[Any]) -> tuple[list[str], list[str]]:
    """The names of a figure's curves of which no point was published, and of those published by another metric alone.

    That is the one by which the study of the published numbers draws the figure.
    """
    own, theirs = (published_curves(layout, metric, study) for metric in metrics_of(layout, study))
    nowhere = [name for name in own if not (own[name] or theirs[name])]
    return nowhere, [name for name in own if theirs[name] and not own[name]]


def metrics_of(layout: FigureLayout, study: Study[Any]) -> tuple[str, str]:
    """The metric of a figure's curves in a study, and in the study of the published numbers."""
    other = papers.study(study.settings.published)
    return str(layouts.setting_of(study, layout.metric)), str(layouts.setting_of(other, layout.metric))


def published_curves(layout: FigureLayout, metric: str, study: Study[Any]) -> dict[str, Curve]:
    """What was published of each curve of a figure by a metric, by the curve's name and its panel's title."""
    return {
        f"{name} in “{panel.title}”": published_points(template, panel, metric, study)
        for panel in layout.panels
        for name, template in panel.curves.items()
    }


def points(template: str, panel: Panel, metric: str, study: Study[Any], value: Value) -> Curve:
    """(x, Estimate) along a curve, without levels that have no value; a template without {x} is constant."""
    valued = [
        (study.paper.position(level), value(layouts.curve_point(template, level, metric)))
        for level in layouts.levels_of(panel, study)
    ]
    return [(x, estimate) for x, estimate in valued if estimate is not None]


def published_points(template: str, panel: Panel, metric: str, study: Study[Any]) -> Curve:
    """What was published along a curve, at the levels of the study of the published numbers."""
    other = papers.study(study.settings.published)
    return points(template, panel, metric, other, lambda quantity: printed.value(quantity, other.paper))
