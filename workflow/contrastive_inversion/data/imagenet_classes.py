"""Lists of ImageNet classes that a study's `classes` names, and the label shifts between them."""

import csv
from dataclasses import dataclass
from pathlib import Path

from contrastive_inversion.base.errors import UserError, nearest

LISTS = Path(__file__).parent / "class_lists"


@dataclass(frozen=True)
class Shift:
    """A class that stands for another one: names, wnids, and the label's place among the sorted classes of its list."""

    name: str
    wnid: str
    label: str
    label_wnid: str
    index: int


def wnids(list_name: str) -> list[str]:
    """The classes of a list, sorted: a label is a wnid's position here. Raises UserError for an unknown list."""
    known = [path.name for path in LISTS.iterdir()]
    if list_name not in known:
        raise UserError(f"classes: there is no list '{list_name}'{nearest(list_name, known)}")
    return sorted((LISTS / list_name).read_text().split())


def label_shift(list_name: str) -> list[Shift]:
    """The classes of a label shift, in the order of its list, a csv."""
    with open(LISTS / list_name, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Shift(r["class"], r["wnid"], r["label"], r["label_wnid"], wnids(r["list"]).index(r["label_wnid"])) for r in rows
    ]


def labels_of(list_name: str) -> dict[str, int]:
    """{wnid: label} of a list of classes, or of a label shift (a csv), whose classes carry other classes' labels."""
    if list_name.endswith(".csv"):
        return {shift.wnid: shift.index for shift in label_shift(list_name)}
    return {wnid: label for label, wnid in enumerate(wnids(list_name))}
