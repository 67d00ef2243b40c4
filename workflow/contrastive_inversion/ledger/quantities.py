"""Quantities: what a printed number claims to measure, and what the encoder and the head in it stand for.

A quantity is `encoder | head | data | distortion | metric`, for instance
`student-rm90 | probe 10% | imagenet100 | rm90 | top1`. Heads are

    own                            the classifier that an encoder was trained with, end to end
    probe 10%                      a linear probe on 10 % of the labels, trained under the encoder's own distortion
    probe 100% on clean            the same, trained under the distortion named
    teacher probe 100% on clean    that probe of another encoder, moved onto this one unchanged
    beside teacher                 none: the encoder's output itself, beside another one's for undistorted images
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.settings import Settings, one_line
from contrastive_inversion.ledger.paper import Paper
from contrastive_inversion.ledger.study import Study

HEAD = re.compile(r"(?:(?P<donor>[\w.-]+) )?probe (?P<fraction>\d+(?:\.\d+)?)%(?: on (?P<distortion>[\w-]+))?")

BESIDE = "beside "


@dataclass(frozen=True)
class Quantity:
    """One measurable number; `str()` gives its canonical form."""

    encoder: str
    head: str
    data: str
    distortion: str
    metric: str

    def __str__(self) -> str:
        return " | ".join((self.encoder, self.head, self.data, self.distortion, self.metric))


def parse(text: str) -> Quantity:
    """A Quantity from its text. Raises UserError where a field is missing, or for what is no line of plain text."""
    fields = [field.strip() for field in text.split("|")]
    if len(fields) != 5 or not text.isprintable():
        raise UserError(f"quantity '{one_line(text)}': expected encoder | head | data | distortion | metric")
    return Quantity(*fields)


@dataclass(frozen=True)
class Probe:
    """A probe as a head's text names it: whose it is, its label fraction in percent, what it is trained under."""

    encoder: str
    fraction: str
    distortion: str

    @property
    def key(self) -> str:
        """The probe's name within its file of heads."""
        return f"probe {self.fraction}% on {self.distortion}"


def probe_of(quantity: Quantity, paper: Paper) -> Probe | None:
    """The Probe that a quantity's head stands for; None for no probe. Raises UserError for no such head."""
    if quantity.head == "own" or beside(quantity):
        return None
    match = HEAD.fullmatch(quantity.head)
    if not match:
        raise UserError(
            f"quantity '{quantity}': unknown head '{quantity.head}'; known: own, probe F%[ on DISTORTION], "
            "beside ENCODER"
        )
    if not 0 < float(match["fraction"]) <= 100:
        raise UserError(f"quantity '{quantity}': a probe has more than 0 % and at most 100 % of the labels")
    encoder = match["donor"] or quantity.encoder
    distortion = match["distortion"] or paper.trained_under(encoder)
    if distortion is None:
        raise UserError(
            f"quantity '{quantity}': '{encoder}' has no distortion of its own: say 'probe F% on DISTORTION'"
        )
    return Probe(encoder, match["fraction"], distortion)


def beside(quantity: Quantity) -> str | None:
    """The encoder whose output a quantity's encoder is compared with; None where a head is measured."""
    return quantity.head.removeprefix(BESIDE) if quantity.head.startswith(BESIDE) else None


class Head(Settings):
    """A head as a measurement's recipe names it: its text and, for a probe, whose it is and its name in that file.

    Without that name, `encoder` is one to compare with.
    """

    head: str
    encoder: str | None = None
    key: str | None = None

    @property
    def compares(self) -> bool:
        """Whether it is none: representations are compared with another encoder's."""
        return self.encoder is not None and self.key is None


def heads_of(wanted: Iterable[Quantity], paper: Paper) -> list[Head]:
    """The heads of some quantities, each once, in the order of their texts."""
    heads = []
    for text, quantity in sorted({q.head: q for q in wanted}.items()):
        probe = probe_of(quantity, paper)
        heads.append(
            Head(head=text, encoder=probe.encoder, key=probe.key)
            if probe
            else Head(head=text, encoder=beside(quantity))
        )
    return heads


def trainings(quantity: Quantity, study: Study[Any]) -> list[Quantity]:
    """The quantity once for each training seed of the study, where its encoder's family has seeds."""
    family, _ = study.paper.family(quantity.encoder)
    if "seed" not in family.pattern.groupindex:
        return [quantity]
    further = study.settings.training_seeds[1:]
    return [quantity, *(replace(quantity, encoder=f"{quantity.encoder}-seed{seed}") for seed in further)]


def check_names(quantity: Quantity, paper: Paper) -> None:
    """Raise UserError for a quantity whose encoders, head or metric a paper does not have."""
    family, probe, other = paper.family(quantity.encoder)[0], probe_of(quantity, paper), beside(quantity)
    if paper.metric(quantity.metric).compares != (other is not None):
        raise UserError(f"'{quantity.head}' is not what '{quantity.metric}' is measured of")
    if other:
        paper.family(other)
    elif probe:
        paper.family(probe.encoder)
    elif not family.classifies:
        raise UserError(f"'{quantity.encoder}' has no classifier of its own: say 'probe F%'")


def check(quantity: Quantity, study: Study[Any], place: str) -> None:
    """Raise UserError, with the ledger's row and the nearest known name, if a study cannot measure a quantity."""
    try:
        check_names(quantity, study.paper)
        study.data_set(quantity.data)
        study.paper.check_level(quantity, study)
    except UserError as error:
        raise UserError(f"{place}: '{quantity}': {error}") from None
