"""The ledger: every printed number and every curve as a quantity, and what a study must measure for them.

A quantity is `encoder | head | data | distortion | metric`, for instance
`student-rm90 | probe 10% | imagenet100 | rm90 | top1`. Heads are

    own                            the classifier that a baseline was trained with, end to end
    probe 10%                      a linear probe on 10 % of the labels, trained under the encoder's own distortion
    probe 100% on clean            the same, trained under the distortion named
    teacher probe 100% on clean    that probe of another encoder, moved onto this one unchanged
"""

import csv
import functools
import re
from dataclasses import dataclass, replace

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.studies import WORKFLOW, read_yaml
from contrastive_inversion.distort import names

PUBLISHED = WORKFLOW / "published"
METRICS = ("top1", "top5", "auc", "median")
LOSSES = ("ss", "both", "ntxent", "mse")
FIXED_ENCODERS = ("teacher", "resnet", "resnet100")
HEAD = re.compile(r"(?:(?P<donor>[\w-]+) )?probe (?P<fraction>[\d.]+)%(?: on (?P<distortion>\w+))?")
ENCODER = re.compile(
    r"(?P<family>student|baseline|baseline100)(?:-(?P<loss>ss|both|ntxent|mse))?-(?P<distortion>\w+)(?:-seed(?P<seed>\d+))?"
)
# The second report's: how it was trained, on what share of the labels, with what weight of the penalty.
ROBUST_ENCODER = re.compile(
    r"(?P<family>supervised|contrastive|finetuned)(?:-labels(?P<labels>[\d.]+))?(?:-lambda(?P<strength>[\d.]+))?"
    r"(?:-seed(?P<seed>\d+))?"
)
ATTACKS = ("clean", "pgd", "plb")  # where its quantities have a distortion
# The share of images misclassified within a distance: of all images, or of those that the report's figure counts.
WITHIN = re.compile(r"(?P<counted>all|printed)@(?P<distance>[\d.]+)")


@dataclass(frozen=True)
class Quantity:
    """One measurable number; `str()` gives its canonical form."""

    encoder: str
    head: str
    data: str
    distortion: str
    metric: str

    def __str__(self):
        return " | ".join((self.encoder, self.head, self.data, self.distortion, self.metric))


def parse(text):
    """A Quantity from its text. Raises UserError where a field is missing."""
    fields = [field.strip() for field in text.split("|")]
    if len(fields) != 5:
        raise UserError(f"quantity '{text}': expected encoder | head | data | distortion | metric")
    return Quantity(*fields)


@dataclass(frozen=True)
class Probe:
    """A probe as a head's text names it: whose it is, its label fraction in percent, what it is trained under."""

    encoder: str
    fraction: str
    distortion: str

    @property
    def key(self):
        """The probe's name within its file of heads."""
        return f"probe {self.fraction}% on {self.distortion}"


def probe_of(quantity):
    """The Probe that a quantity's head stands for; None for `own`."""
    if quantity.head == "own":
        return None
    match = HEAD.fullmatch(quantity.head)
    if not match:
        raise UserError(f"quantity '{quantity}': unknown head '{quantity.head}'; known: own, probe F%[ on DISTORTION]")
    encoder = match["donor"] or quantity.encoder
    return Probe(encoder, match["fraction"], match["distortion"] or trained_under(encoder, quantity))


def trained_under(encoder, quantity):
    match = ENCODER.fullmatch(encoder)
    if not match:
        raise UserError(
            f"quantity '{quantity}': '{encoder}' has no distortion of its own: say 'probe F% on DISTORTION'"
        )
    return match["distortion"]


@dataclass(frozen=True)
class Cell:
    """One printed number: where it stands, what it says, what it claims to measure."""

    table: int
    row: str
    column: str
    value: str
    se: str
    decimals: int
    se_decimals: int
    bold: bool
    quantity: Quantity


def ledger_of(study):
    """The folder of what was published of a study's report: the paper's, or that of the second report."""
    return PUBLISHED / study["ledger"] if "ledger" in study else PUBLISHED


def ledger_name(study):
    """The ledger's folder as a message names it."""
    return ledger_of(study).relative_to(WORKFLOW.parent).as_posix()


@functools.cache
def cells(ledger=PUBLISHED):
    """Every printed number of a ledger's tables, in printed order."""
    with open(ledger / "tables.csv", newline="", encoding="utf-8") as file:
        return tuple(
            Cell(
                int(row["table"]), row["row"], row["column"], row["value"], row["se"], int(row["decimals"]),
                int(row["se_decimals"] or 0), row["bold"] == "yes", parse(row["quantity"]),
            )
            for row in csv.DictReader(file)
        )  # fmt: skip


@functools.cache
def table_layouts(ledger=PUBLISHED):
    """For each table's number: its title, the heading of its rows, and where the best value is bold."""
    return read_yaml(ledger / "tables.yaml")


@functools.cache
def figure_layouts(ledger=PUBLISHED):
    """For each figure's number: title, metric and panels with their curves."""
    content = read_yaml(ledger / "figures.yaml")
    return {number: layout for number, layout in content.items() if not str(number).startswith(".")}


def panel_levels(panel, study):
    """The levels of a panel's curves: distortion names, or the study's label fractions as text."""
    if panel["levels"] in ("fractions", "distances"):
        return [f"{level:g}" for level in study[panel["levels"]]]
    return panel["levels"]


def metric_of(layout, study):
    """The metric of a figure's curves: its own, or the study's way of counting images."""
    return study["counted"] if layout["metric"] == "counted" else layout["metric"]


def curve(template, level, metric):
    """The quantity of one point of a curve."""
    return parse(template.replace("{x}", level).replace("{metric}", metric))


def of_table(number, study):
    """The quantities of a table's cells."""
    return [cell.quantity for cell in cells(ledger_of(study)) if cell.table == number]


def of_figure(number, study):
    """The quantities of a figure's curves; a gallery has none."""
    layout = figure_layouts(ledger_of(study))[number]
    return [
        curve(template, level, metric_of(layout, study))
        for panel in layout.get("panels", [])
        for template in panel["curves"].values()
        for level in panel_levels(panel, study)
    ]


def of_study(study):
    """Every quantity that a study's tables and figures need, each once. Raises UserError on an unknown name."""
    found = {}
    for number in study["tables"]:
        found |= dict.fromkeys(of_table(number, study), f"{ledger_name(study)}/tables.csv, table {number}")
    for number in study["figures"]:
        found |= dict.fromkeys(of_figure(number, study), f"{ledger_name(study)}/figures.yaml, figure {number}")
    also = [parse(text) for text in study.get("also", [])]
    found |= dict.fromkeys(also, f"study {study['name']}, also")
    for quantity, place in found.items():
        check(quantity, study, place)
    return list(found)


def trainings(quantity, study):
    """The quantity once for each training seed of the study; its teacher and its starting weights stay the same."""
    if not ENCODER.fullmatch(quantity.encoder) and not ROBUST_ENCODER.fullmatch(quantity.encoder):
        return [quantity]
    further = [replace(quantity, encoder=f"{quantity.encoder}-seed{seed}") for seed in study["training_seeds"][1:]]
    return [quantity, *further]


def check(quantity, study, place):
    """Raise UserError, with the ledger's row and the nearest known name, if a study cannot measure a quantity."""
    try:
        check_encoder(quantity.encoder, study)
        probe = probe_of(quantity)
        if probe:
            check_encoder(probe.encoder, study)
            names.specification(probe.distortion, study)
        if quantity.data not in study["data"]:
            raise UserError(f"unknown data set '{quantity.data}'{nearest(quantity.data, study['data'])}")
        check_distortion(quantity, study)
        if quantity.metric not in METRICS and not WITHIN.fullmatch(quantity.metric):
            raise UserError(f"unknown metric '{quantity.metric}'{nearest(quantity.metric, METRICS)}")
    except UserError as error:
        raise UserError(f"{place}: '{quantity}': {error}") from None


def check_distortion(quantity, study):
    name = quantity.distortion
    if "attacks" in study:
        if name not in ATTACKS:
            raise UserError(f"unknown attack '{name}'{nearest(name, ATTACKS)}")
        return
    if not study["data"][quantity.data]["source"].endswith("imagenet-c"):
        names.specification(restored_from(name), study)
    elif name not in names.IMAGENET_C:
        raise UserError(f"unknown distortion '{name}'{nearest(name, names.IMAGENET_C)}")


def check_encoder(name, study):
    if "attacks" in study:
        if not ROBUST_ENCODER.fullmatch(name):
            known = ["supervised", "supervised-labels10", "contrastive-lambda0.1", "finetuned-labels10"]
            raise UserError(f"unknown encoder '{name}'{nearest(name, known)}")
        return
    match = ENCODER.fullmatch(name)
    if not match and name not in FIXED_ENCODERS:
        known = [*FIXED_ENCODERS, "student-rm90", "student-mse-rm50to95", "baseline-rm90", "baseline100-rm90"]
        raise UserError(f"unknown encoder '{name}'{nearest(name, known)}")
    if match:
        names.specification(match["distortion"], study)


def restored_from(distortion):
    """The distortion under a pixel-space restoration: `gn10` for `nlm-gn10`, and for `gn10` itself."""
    return distortion.removeprefix("nlm-").removeprefix("dd-")


def restoration(distortion):
    """The restoration that a distortion's name begins with, `nlm` or `dd`; None where there is none."""
    method, dash, _ = distortion.partition("-")
    return method if dash else None
