"""The page statistics.md: how often verdicts are wrong, and how often they find a loss, in worlds whose truth is known.

A world is a table as it would be printed and measured if both sides trained anew around the same truth: every training,
probe and restoration draws its own deviation, shared by the cells that it stands behind; evaluations, and the standard
errors that are told of them, come of ten instantiations; the print is rounded. `verdicts.of_table`, `shift` and
`claims.decide` then judge it. `python docs/statistics.py` writes the page; tests assert the rates with binomial bounds.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import stats

from contrastive_inversion import papers
from contrastive_inversion.ledger import claims, joint, plan, printed, shift, spreads, verdicts
from contrastive_inversion.ledger.estimates import Estimate, Spread
from contrastive_inversion.ledger.joint import Contrast
from contrastive_inversion.ledger.printed import Cell
from contrastive_inversion.ledger.quantities import Quantity
from contrastive_inversion.ledger.spreads import Drawn
from contrastive_inversion.ledger.statements import Reading
from contrastive_inversion.ledger.study import Study

PAGE = Path(__file__).with_suffix(".md")
WORLDS, FEW, SEED = 600, 200, 7
STUDY = papers.study("paper")
COLOURED = ("better", "worse")


@dataclass
class World:
    """What is true of the worlds that are drawn.

    trainings: ours; spread: the true spreads, in declared ones; uneven: the standard deviation of their logarithms over
    what is drawn, right in the mean square; factors: each one's own; together: the correlation of the cells of one
    encoder; loss: {place of a cell: points by which our truth lies below theirs}; drop: the same for every cell;
    images: ours, where we measure on a part of the print's.
    """

    random: Generator
    trainings: int = 1
    spread: float = 1.0
    uneven: float = 0.0
    factors: dict[str, float] = field(default_factory=dict)
    together: float = 0.5
    loss: dict[int, float] = field(default_factory=dict)
    drop: float = 0.0
    images: int | None = None

    def factor(self) -> float:
        """How far what is drawn once spreads, in the mean of all."""
        return float(np.exp(self.random.normal(-(self.uneven**2), self.uneven))) if self.uneven else 1.0

    def deviations(self, cells: Sequence[Cell], count: int) -> np.ndarray:
        """What so many repetitions draw behind each cell, in its unit: (count, cells)."""
        common: dict[str, np.ndarray] = {}
        drawn = np.zeros((count, len(cells)))
        for i, cell in enumerate(cells):
            for each in behind(cell.quantity):
                sd = self.spread * self.factors.setdefault(each.source, self.factor())
                sd *= spreads.declared(each.kind, cell.quantity, STUDY).value
                times = count if each.repeated else 1  # what is drawn once is the same in all of them
                shared = common.setdefault(each.source, self.random.normal(size=times))
                own = self.random.normal(size=times)
                drawn[:, i] += sd * (np.sqrt(self.together) * shared + np.sqrt(1 - self.together) * own)
        return drawn

    def told(self, se: float) -> float:
        """The standard error that ten instantiations tell, where the true one is se."""
        n = printed.INSTANTIATIONS
        return float(se * np.sqrt(self.random.chisquare(n - 1) / (n - 1)))

    def theirs(self, cell: Cell, deviation: float) -> Cell:
        """The cell as it would be printed."""
        se = error_of(cell)
        value = float(cell.value) + deviation + self.random.normal(0, se)
        return replace(cell, value=f"{value:.{cell.informative}f}", se=repr(self.told(se)) if cell.se else "")

    def ours(self, cell: Cell, deviations: np.ndarray, loss: float) -> Estimate:
        """The Estimate that our trainings would give."""
        se = error_of(cell)
        means = float(cell.value) - loss + deviations + self.random.normal(0, se, len(deviations))
        sd = float(np.std(means, ddof=1)) if len(means) > 1 else None
        told = self.told(se) / np.sqrt(len(means)) if drawn(cell) else None
        mean, images = float(means.mean()), STUDY.paper.images.get(cell.quantity.data)
        if self.images and images:
            mean, images = mean + self.part_of(images, float(cell.value) / 100), self.images
        return Estimate(mean, told, printed.INSTANTIATIONS, images, "", len(means), sd)

    def part_of(self, images: int, share: float) -> float:
        """By how many points a share differs on a part of the images that is drawn from them."""
        right = round(share * images)
        return 100 * (self.random.hypergeometric(right, images - right, self.images) / self.images - right / images)

    def draw(self, cells: Sequence[Cell]) -> tuple[list[Cell], list[Estimate]]:
        """A table as it would be printed, and what we would measure."""
        theirs, ours = self.deviations(cells, 1), self.deviations(cells, self.trainings)
        points = [STUDY.paper.metric(cell.quantity.metric).point for cell in cells]
        losses = [(self.drop + self.loss.get(i, 0)) * point for i, point in enumerate(points)]
        shown = [self.theirs(cell, theirs[0, i]) for i, cell in enumerate(cells)]
        return shown, [self.ours(cell, ours[:, i], losses[i]) for i, cell in enumerate(cells)]


def behind(quantity: Quantity) -> list[Drawn]:
    """What is drawn behind a quantity, told by names alone: worlds do not take `spreads.behind` at its word."""
    encoder, head, kind = quantity.encoder, quantity.head, STUDY.paper.spread(quantity)
    trained = encoder not in ("teacher", "resnet")
    draws = [Drawn(kind, encoder)] if trained else []
    if encoder.startswith("baseline100-"):
        draws.append(Drawn(kind, "resnet100", repeated=False))
    if "probe" in head and (not trained or not head.startswith("probe")):
        owner = encoder if head.startswith("probe") else ""  # a moved head's text names its encoder
        draws.append(Drawn(f"head_{kind}", f"{owner} {head} | {quantity.data}", repeated=not trained))
    if quantity.distortion.startswith("dd-"):
        draws.append(Drawn("restoration", str(quantity), repeated=False))
    return draws


def drawn(cell: Cell) -> bool:
    """Whether our evaluation of a cell draws distortions: where the print says so, or one like it does."""
    return bool(cell.se) or cell.quantity in with_errors()


@functools.cache
def with_errors() -> dict[Quantity, float]:
    """The printed standard errors by quantity, wherever they stand."""
    return {cell.quantity: float(cell.se) for cell in printed.cells(STUDY.paper) if cell.se}


def error_of(cell: Cell) -> float:
    """The true standard error of a cell's evaluation; 0 where nothing is drawn."""
    return float(cell.se) if cell.se else with_errors().get(cell.quantity, 0.0)


def tables() -> list[int]:
    """The tables whose cells are judged."""
    return [n for n in STUDY.settings.tables if any(verdicts.comparable(c, STUDY) for c in table(n))]


def table(number: int) -> list[Cell]:
    """The cells of a table."""
    return printed.cells_of(number, STUDY.paper)


def rate(event: Callable[[Generator], bool], worlds: int = WORLDS, seed: int = SEED) -> float:
    """The share of worlds in which something happens."""
    random = np.random.default_rng(seed)
    return sum(event(random) for _ in range(worlds)) / worlds


def bounds(chance: float, worlds: int = WORLDS, tail: float = 0.005) -> tuple[float, float]:
    """Between which shares of worlds an event of this chance falls, but for so small a tail on either side."""
    low, high = stats.binom.ppf([tail, 1 - tail], worlds, chance)
    return low / worlds, high / worlds


def alarmed(number: int, random: Generator, read: Mapping[str, int] | None = None, **truth: Any) -> bool:
    """Whether a table of a world has any cell outside.

    read: degrees of freedom by kind, where it is judged by spreads that another study measured with so many.
    """
    return coloured(*World(random, **truth).draw(table(number)), informed(random, read or {}))


def coloured(cells: Sequence[Cell], ours: Sequence[Estimate], study: Study[Any]) -> bool:
    """Whether any cell of a table is outside."""
    return any(each.verdict in COLOURED for each in verdicts.of_table(cells, ours, study))


def informed(random: Generator, freedom: Mapping[str, int]) -> Study[Any]:
    """The study with spreads as another one would measure them with such degrees of freedom, what is declared true."""
    declared = STUDY.settings.training_spread
    told = {
        kind: Spread(declared[kind] * float(np.sqrt(random.chisquare(df) / df)), df, assumed=False)
        for kind, df in freedom.items()
    }
    return replace(STUDY, spreads=told) if told else STUDY


@functools.cache
def of_seeds() -> dict[str, int]:
    """The degrees of freedom of the spreads that `paper-seeds` measures: by kind its encoders' trainings but one."""
    seeds = papers.study("paper-seeds")
    encoders: dict[str, set[str]] = {}
    for quantity in plan.asked(seeds):
        encoders.setdefault(seeds.paper.spread(quantity), set()).add(quantity.encoder)
    return {kind: len(found) * (len(seeds.settings.training_seeds) - 1) for kind, found in encoders.items()}


def shifted(number: int, random: Generator, **truth: Any) -> bool:
    """Whether a table of a world is found to be shifted."""
    found = shift.of_table(*World(random, **truth).draw(table(number)), STUDY)
    return found is not None and found.is_shifted


def lost(number: int, random: Generator, points: float, **truth: Any) -> bool:
    """Whether a loss of some points in one cell of a table, any of them, is found in that cell."""
    cells = table(number)
    place = int(random.integers(len(cells)))
    theirs, ours = World(random, loss={place: points}, **truth).draw(cells)
    return verdicts.of_table(theirs, ours, STUDY)[place].verdict == "worse"


def all_cells(random: Generator, **truth: Any) -> dict[Quantity, tuple[Cell, Estimate]]:
    """Every quantity of all tables, drawn once however many tables it stands in, as printed and as measured."""
    once = {cell.quantity: cell for number in reversed(tables()) for cell in table(number)}
    return dict(zip(once, zip(*World(random, **truth).draw(list(once.values())), strict=True), strict=True))


def page_coloured(random: Generator) -> bool:
    """Whether any table of a faithful page has a cell outside."""
    drawn_cells = all_cells(random)
    return any(coloured(*zip(*(drawn_cells[cell.quantity] for cell in table(n)), strict=True), STUDY) for n in tables())


def page_shifted(random: Generator, **truth: Any) -> bool:
    """Whether all tables together are found to be shifted."""
    found = shift.of_all(*zip(*all_cells(random, **truth).values(), strict=True), STUDY)
    return found is not None and found.is_shifted


TIE = Reading.model_validate({
    "reading": "a tie", "compare": [
        {"plus": ["student-rm90 | probe 100% | imagenet100 | rm90 | top1"],
         "minus": ["baseline-rm90 | own | imagenet100 | rm90 | top1"], "above": 0}
    ],
})  # fmt: skip


def tie_called(random: Generator, trainings: int) -> bool:
    """Whether the claim that one encoder is ahead of another is said to hold where the two are equal."""
    return said(TIE, random, dict.fromkeys(TIE.quantities, 80.0), trainings=trainings) == claims.HOLDS


def said(reading: Reading, random: Generator, truth: dict[Quantity, float], **world: Any) -> str:
    """What is said of a reading in a world where its quantities have these true values."""
    return claims.decide(reading, measured_in(reading, random, truth, **world))


def measured_in(
    reading: Reading, random: Generator, truth: dict[Quantity, float], **world: Any
) -> list[Contrast | None]:
    """A reading's contrasts as they would be measured where its quantities have these true values."""
    errors = with_errors()
    cells = [
        replace(table(1)[0], quantity=q, value=repr(value), se=repr(errors[q]) if q in errors else "", decimals=6)
        for q, value in truth.items()
    ]
    _, ours = World(random, **world).draw(cells)
    return claims.contrasts_of(reading, dict(zip(truth, ours, strict=True)).get, STUDY)


def reading(identity: str, number: int = 0) -> Reading:
    """A reading of the paper's, by its claim and its place there."""
    return next(claim for claim in claims.of_paper(STUDY.paper) if claim.id == identity).readings[number]


def bordering(reading: Reading, verdict: str, far: float) -> dict[Quantity, float]:
    """True values at which a verdict is wrong, but only just: comparisons at their bounds where that is wrong.

    far: by how many points the others lie inside of their bounds (of a wrong *holds*, so many as may be true) or beyond
    them (of a wrong *fails*). The first quantity of each comparison is taken to stand in no other.
    """
    count, least = len(reading.comparisons), reading.least
    inside = [far] * (least - 1) if verdict == claims.HOLDS else [-far] * (count - least)
    truth: dict[Quantity, float] = {}
    for place, comparison in enumerate(reading.comparisons):
        first, *others = comparison.weights
        truth |= dict.fromkeys(others, 50.0)
        truth[first] = 50.0 * len(others) + comparison.low + (inside[place] if place < len(inside) else 0.0)
    return truth


def wrongly(reading: Reading, verdict: str, random: Generator, far: float = 10.0, **world: Any) -> bool:
    """Whether a verdict falls in a world where it is only just wrong."""
    return said(reading, random, bordering(reading, verdict, far), **world) == verdict


def counted(reading: Reading, verdict: str, random: Generator, far: float = 10.0, **world: Any) -> bool:
    """The same by counting comparisons that are true or false by themselves."""
    found = measured_in(reading, random, bordering(reading, verdict, far), **world)
    test, needed = joint.inside, reading.least
    if verdict == claims.FAILS:
        test, needed = joint.outside, len(found) - needed + 1
    pairs = zip(reading.comparisons, found, strict=True)
    return sum(test(each, c.low, c.high) <= joint.LEVEL for c, each in pairs if each) >= needed


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def alarms_part() -> str:
    """False alarms per table, with one, two, three and five trainings, and with other true spreads."""
    truths: list[dict[str, Any]] = [
        {}, {"trainings": 2}, {"trainings": 3}, {"trainings": 5}, {"read": of_seeds()}, {"together": 1.0},
        {"spread": 1.5}, {"spread": 2.0},
    ]  # fmt: skip
    head = [
        "table", "1 training", "2", "3", "5", "1, spread read", "1, cells of an encoder alike", "1, spread 1.5 ×",
        "1, spread 2 ×",
    ]  # fmt: skip
    rows = [
        [n, *(percent(rate(lambda random, n=n, truth=truth: alarmed(n, random, **truth))) for truth in truths)]
        for n in tables()
    ]
    return grid(head, rows)


def power_part() -> str:
    """The power per table, stated and found, and that of the test of a shift."""
    head = ["table", "1 point, stated", "found", "2 points, stated", "found", "3 points, stated", "found"]
    rows = []
    for n in tables():
        row: list[object] = [n]
        for points in (1, 2, 3):
            found = rate(lambda random, n=n, points=points: lost(n, random, points))
            row += [percent(verdicts.power(points, table(n), STUDY)), percent(found)]
        rows.append(row)
    return grid(head, rows)


def shift_part() -> str:
    """How often a shift of every cell is found, by the mean and by any cell."""
    head = ["table", "no shift", "every cell −0.3 points", "−0.5 points", "any cell coloured at −0.3"]
    rows: list[list[object]] = []
    for n in tables():
        found = [rate(lambda random, n=n, d=drop: shifted(n, random, drop=d)) for drop in (0, 0.3, 0.5)]
        rows.append([n, *map(percent, found), percent(rate(lambda random, n=n: alarmed(n, random, drop=0.3)))])
    everywhere = [rate(lambda random, d=drop: page_shifted(random, drop=d), FEW) for drop in (0, 0.3, 0.5)]
    return grid(head, [*rows, ["all", *map(percent, everywhere), ""]])


def ties_part() -> str:
    """How often a tie is called."""
    rows = [[n, percent(rate(lambda random, n=n: tie_called(random, n), 2000))] for n in (1, 2, 3, 5)]
    return grid(["trainings", "a tie is said to hold"], rows)


JOINT = {
    "all of 8 (Table 1)": ("higher-accuracy", 0), "all of 8 (Table 11)": ("first-choice-better", 0),
    "all of 28 (Figure 6)": ("mse-worst", 0),
    "most of 8 (Table 1)": ("ten-percent-of-labels", 0), "most of 16 (Tables 11 and 12)": ("weights-worse", 0),
    "most of 28 (Figure 6)": ("mse-worse-in-most-cases", 0), "2 of 8 (Table 1)": ("some-levels", 0),
}  # fmt: skip


def joint_part() -> str:
    """How often readings are wrongly said to hold and to fail, jointly and by counting."""
    head = ["reading", "wrong *holds*", "3 trainings", "by counting", "wrong *fails*", "3 trainings", "by counting"]
    rows = []
    for name, place in JOINT.items():
        row: list[object] = [name]
        for verdict in (claims.HOLDS, claims.FAILS):
            for event, trainings in ((wrongly, 1), (wrongly, 3), (counted, 1)):
                each = functools.partial(event, reading(*place), verdict, trainings=trainings)
                row.append(percent(rate(each)))
        rows.append(row)
    return grid(head, rows)


def equal_part() -> str:
    """How often a cell that is a point off is said to be equal within a point, and one that is not off."""
    rows = []
    for n in tables():
        found = [shares_of_words(n, points) for points in (1, 0)]
        rows.append([n, *(percent(share) for pair in found for share in pair)])
    head = ["table", "a point off: equal", "a point off: not distinguishable", "faithful: equal", "not distinguishable"]
    return grid(head, rows)


def shares_of_words(number: int, points: float, worlds: int = FEW) -> tuple[float, float]:
    """Of a table's cells that all lie so many points off: the shares said to be equal, and not distinguishable."""
    random = np.random.default_rng(SEED)
    judged = [
        each
        for _ in range(worlds)
        for each in verdicts.of_table(*World(random, drop=points).draw(table(number)), STUDY)
    ]
    within = [each.equal for each in judged if each.verdict == "within"]
    return sum(within) / len(judged), within.count(False) / len(judged)


def limits_parts() -> dict[str, str]:
    """False alarms where encoders differ in their spreads, and where another study tells one with little freedom."""
    events = {f"uneven{n}": functools.partial(alarmed, 1, uneven=0.5, trainings=n) for n in (1, 3)}
    events |= {f"read{df}": functools.partial(alarmed, 6, read={"auc": df}) for df in (2, 4)}
    return {name: f"{100 * rate(event):.0f}" for name, event in events.items()}


TEXT = """# How often verdicts are wrong

Written by `python docs/statistics.py`. It draws worlds whose truth is known: both sides train anew around the same
numbers, with the spreads that the study `paper` declares, evaluate on ten draws and are rounded as the print is; half
of the variance of an encoder is common to all of its cells. What `ledger/verdicts.py`, `ledger/shift.py` and
`ledger/claims.py` say of them is counted over {worlds} worlds for each number ({few} for those over all tables), so a
rate of 5 % is known to ± 1.8 points (two standard errors). `tests/test_statistics.py` asserts the same rates with
binomial bounds.

## False alarms

The chance, in percent, that a faithful table shows any cell as better or worse; nominal 5. With more than one training
the spread is the measured one; *read* is that of five trainings in `paper-seeds`. The last two columns are what a
declared spread costs that is too small: the true one is 1.5 and 2 times as large. That is why every verdict that rests
on one says *assumed*, and names the spread at which it would flip.

{alarms}

Over all {tables} tables together, each quantity drawn once, a faithful page shows some cell outside in at most about
{family} % of worlds. That family is not controlled, and the page says so.

## Power

The chance, in percent, that a true loss in one cell is found in that cell. *Stated* is what the page says: the median
over the table's cells. *Found* is the mean over cells, so the two differ where a table mixes kinds of cells. A point
of an area under the curve is 0.01.

{power}

## Within

A cell within is *equal within 1 point* where two one-sided tests at 5 % say so, and *not distinguishable* otherwise. In
percent of a table's cells, all of them truly 1 point below the print (the first two columns; nominal at most 5 for
*equal*), and none off; {few} worlds. The tests are of each cell by itself. What is missing to 100 is coloured.

{equal}

## A shift of every cell

The test of the mean signed difference, in percent of worlds: how often it speaks where there is no shift (nominal 5),
and how often where every cell lies lower; beside it how often any single cell is coloured. It takes what cells of one
encoder share for the whole of their spread, so it errs to the side of silence. The row *all* is the test over all
tables together.

{shift}

## Claims

A reading is decided by all of its comparisons together (`ledger/joint.py`). In percent of worlds in which a
verdict is only just wrong: of *holds*, as many comparisons as may be true lie 10 points inside of their bounds
and the others at them; of *fails*, as many as must be true lie at their bounds and the others 10 points beyond. Nominal
at most 5. *By counting* is what a count of comparisons that are true or false by themselves would say.

{joint}

One comparison: that one encoder is ahead of another, where the two are equal, in percent of 2000 worlds; nominal 5.
With more than one training the spread is the measured one, pooled over the two encoders.

{ties}

The 5 % are of one reading. A tally of claims is not controlled as a family: of a hundred that are all only just wrong
five would be said to hold, and readings of one table share its trainings.

A claim that a standard error is insignificant is tested on the error that as many test images as the print's would
have, where the paper says how many these are: it falls with the root of their number.

## Not known

* Verdicts on claims hold for the test images that a study has: how an accuracy would move with other images of the same
  kind is added only where quantities of one comparison are measured on different numbers of them.
* A declared spread is an assumption; nothing here tells whether it is right.
* Where a study trains what its encoders start from (`resnet100` of Tables 11 and 12), it trains it once: how far
  another one would move them is not measured, and is taken to be as far as their own training does.
* Verdicts hold for one teacher and one ResNet, from which all students and baselines start. The paper's are published
  weights, which nobody draws anew; the demo trains both, once, and its verdicts do not say what another pair would do.
* The spread of restorations is declared as the largest that independent fits of the images can have. Fits that share a
  draw, such as one mask for all images, can have a larger one.
* The page's spread of heads is measured only where a head was fitted with several seeds; the columns for 2, 3 and 5
  trainings take it to be.
* Spreads are pooled over the cells of a table and taken as equal there. Where encoders differ in theirs (two in three
  between half and 1.3 times as far as declared, right in the mean square), Table 1 has a false alarm in {uneven1} % of
  worlds with one training and in {uneven3} % with three: the encoders that spread most are coloured too often, and more
  trainings do not mend that. Encoders can differ so: over the three trainings of `simclr-demo-seeds` the accuracy of
  one penalised model spreads by 27 points, that of others by 0.3 to 11. Therefore penalised models have spreads of
  their own, and what is pooled has the fewer degrees of freedom the more its encoders differ; neither mends it all.
* A spread that another study tells with two or three degrees of freedom is now and then far too small, and then Welch
  and Satterthwaite's degrees of freedom are too many: with two of them, Table 6 has a false alarm in {read2} % of
  worlds, with four in {read4} %. `paper-seeds` tells its spreads with eight and more, `simclr-demo-seeds` some with
  two.
* Of a metric that is no share of images the draw of the images is not known: it is left out.
"""


def page() -> str:
    """The whole page."""
    text = TEXT
    parts = {
        "alarms": alarms_part(), "power": power_part(), "shift": shift_part(), "ties": ties_part(),
        "joint": joint_part(), "few": str(FEW), "equal": equal_part(),
        "family": f"{100 * rate(page_coloured, WORLDS):.0f}", "worlds": str(WORLDS), "tables": str(len(tables())),
        **limits_parts(),
    }  # fmt: skip
    for name, part in parts.items():
        text = text.replace("{" + name + "}", part)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
