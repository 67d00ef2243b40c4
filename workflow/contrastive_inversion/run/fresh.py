"""Whether the files of a study's results are those that the study asks for, told by the records that they carry.

Snakemake's own notes are not asked: they know nothing of the package's code, and they get lost. A product is out of
date, and is made again, where

    its recipe      is not the one that the study asks for
    its inputs      are not those that lie there: hashes of what it read of them differ
    another product that it is made from is out of date

Where only the code behind it, a library or the kind of device has changed, the user chooses: make it again, or accept
it as it is. A product made before code was recorded is kept. What is rendered is cheap: see `run.rendered`.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import digest
from contrastive_inversion.base.errors import UserError, refusals
from contrastive_inversion.base.job import file_of, is_measurement
from contrastive_inversion.base.records import identities, identity
from contrastive_inversion.ledger import accepted, measurements, plan
from contrastive_inversion.ledger.accepted import Accepted
from contrastive_inversion.ledger.paper import JobKind
from contrastive_inversion.ledger.study import Study, flattened
from contrastive_inversion.run import costs, origins

Record = dict[str, Any]
DEVICES = {"cpu": "a CPU", "cuda": "a GPU"}
SHOWN = 6  # changes that a message names
INHERITED = "the recipe of what it is made from has changed"


@dataclass(frozen=True)
class Change:
    """What has changed behind a finished product: digests of its code, or kinds of device."""

    product: str
    before: str
    now: str


class Results:
    """The finished products of a study, whose records are read once.

    results: the folder of all studies' results; rerun: make products again whose code has changed; forced: make
    these again, rules or files; libraries: whether jobs run with those that are installed here.
    """

    def __init__(
        self, study: Study[Any], results: Path, rerun: bool = False, forced: frozenset[str] = frozenset(),
        libraries: bool = True,
    ) -> None:  # fmt: skip
        self.study, self.root, self.rerun, self.forced = study, results / study.name, rerun, forced
        self.libraries = libraries
        self.accepted = accepted.read(self.root)
        self.records: dict[str, Record | None] = {}
        self.known: dict[str, bool] = {}

    def record(self, product: str) -> Record | None:
        """A product's record; None where its file is missing. Raises UserError where it is damaged or altered."""
        if product not in self.records:
            self.records[product] = record_of(product, self.root) if self.is_there(product) else None
        return self.records[product]

    def content(self, product: str) -> str | None:
        """What others are made from of a product, as a hash; None where its file is missing or damaged."""
        try:
            return identity(self.record(product) or {})
        except UserError:
            return None

    def is_as_asked(self, product: str) -> bool:
        """Whether a product is there and made by the recipe that the study asks for. Raises UserError as `record`."""
        return (self.record(product) or {}).get("recipe_hash") == digest(plan.recipe(product, self.study))

    def reason(self, product: str) -> str | None:
        """Why a finished product has to be made again, whatever its code; None where it has not."""
        try:
            record = self.record(product)
        except UserError as error:
            return str(error)
        if record is None:
            return None
        if not self.is_as_asked(product):
            return self.other_recipe(product, record)
        return self.other_inputs(product)

    def other_inputs(self, product: str) -> str | None:
        """Which of the products that one was made from are others now; None where those that are there are the same."""
        inputs = (self.record(product) or {}).get("inputs", {}).items()
        there = [(name, made) for name, made in inputs if self.content(name)]
        others = [name for name, made in there if made not in identities(self.record(name) or {})]
        return f"made from another {', '.join(others)}" if others else None

    def other_recipe(self, product: str, record: Record) -> str:
        """Where a recorded recipe differs from the one that the study asks for."""
        asked = json.loads(plan.recipe(product, self.study))
        keys = differing(flattened(record.get("recipe", {})), flattened(asked))
        own = [key for key in keys if not key.startswith("inputs.")]
        return f"its recipe has another {', '.join(own[:SHOWN])}" if own else INHERITED

    def out_of_date(self, product: str) -> bool:
        """Whether a finished product has to be made again, for a reason of its own or one of its inputs'."""
        if product not in self.known:
            itself = self.is_there(product) and bool(
                self.is_forced(product) or self.reason(product) or (self.rerun and self.changes(product))
            )
            inputs = plan.inputs(product, self.study) if self.is_there(product) else []
            self.known[product] = itself or any(map(self.out_of_date, inputs))
        return self.known[product]

    def is_forced(self, product: str) -> bool:
        """Whether the user has a product made again by its rule or its file."""
        made = self.study.paper.product(product)
        rule = next(name for name, each in self.study.paper.products.items() if each is made)
        return not {rule, str(self.root / file_of(product))}.isdisjoint(self.forced)

    @refusals()
    def is_there(self, product: str) -> bool:
        """Whether a product's file exists, whole or not."""
        return (self.root / file_of(product)).exists()

    def changes(self, product: str) -> list[Change]:
        """What has changed behind a finished product since it was made, and is not accepted.

        The code that made its inputs counts too, where they are there no more.
        """
        if self.reason(product) or (record := self.record(product)) is None:
            return []
        made_by = record.get("made_by", {}).items()
        behind = [(name, code) for name, code in made_by if name == product or not self.is_there(name)]
        changes = [Change(name, code, self.code(name)) for name, code in behind]
        changes.append(Change(product, origins.device_kind(record.get("device", "")), self.device(product)))
        return [change for change in changes if self.named(change) and not self.is_accepted(change)]

    def is_accepted(self, change: Change) -> bool:
        """Whether the user has accepted a change."""
        return any(each.covers(change.product, change.before, change.now) for each in self.accepted)

    def code(self, product: str) -> str:
        """The digest of the code that makes a product today."""
        return origins.code_of(self.kind(product)).digest

    def kind(self, product: str) -> JobKind:
        """The kind of job that makes a product."""
        return self.study.paper.jobs[self.kind_name(product)]

    def kind_name(self, product: str) -> str:
        return self.study.paper.kind_of(plan.recipe_of(product, self.study))

    def device(self, product: str) -> str:
        """The kind of device that the study asks a product to be made on."""
        return "cuda" if costs.gpus(product, self.study) else "cpu"

    def all_changes(self) -> list[Change]:
        """What has changed behind all finished products of the study, each once."""
        products = plan.everything(self.study)
        return list(dict.fromkeys(change for product in products for change in self.changes(product)))

    def named(self, change: Change) -> list[str]:
        """What a change consists of, in words: definitions of the package's code, libraries, the device.

        A library that is not installed here computes nothing here, and is not compared.
        """
        if change.before == change.now:
            return []
        if change.now in DEVICES:
            return [f"made on {DEVICES[change.before]}, the study asks for {DEVICES[change.now]}"]
        before, now = origins.recorded_code(self.root, change.before), origins.code_of(self.kind(change.product))
        if before is None:
            return ["names of what changed were not kept"]
        installed = {name: version for name, version in now.libraries.items() if version and self.libraries}
        versions = [f"{name} {before.libraries.get(name, 'none')} → {version}" for name, version in installed.items()
                    if before.libraries.get(name) != version]  # fmt: skip
        return differing(before.definitions, now.definitions) + versions


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The keys whose values differ."""
    return [key for key in sorted({**before, **now}) if before.get(key) != now.get(key)]


def record_of(product: str, root: Path) -> Record:
    """A product's record; a measurement is checked as a whole. Raises UserError where it is damaged or altered."""
    path = root / file_of(product)
    record: Record = measurements.read(path)["record"] if is_measurement(product) else files.record_in(path)
    return record


of_study = functools.cache(refusals()(Results))  # whose files are read once in a process


def grouped(changes: Iterable[Change], finished: Results) -> dict[tuple[str, str, str], list[str]]:
    """Products by what has changed behind them: (kind of job, before, now)."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for change in changes:
        key = (finished.kind_name(change.product), change.before, change.now)
        groups.setdefault(key, []).append(change.product)
    return groups


def explained(changes: Iterable[Change], finished: Results) -> list[str]:
    """A line for each kind of job whose code has changed since some of its products were made."""
    lines = []
    for (kind, before, now), products in grouped(changes, finished).items():
        names = finished.named(Change(products[0], before, now))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        others = f" and {len(products) - 1} more" if len(products) > 1 else ""
        what = "device" if now in DEVICES else "code"
        lines.append(
            f"{what} of `{kind}` changed since {products[0]}{others} {'were' if others else 'was'} made "
            f"({', '.join(names[:SHOWN])}{more})"
        )
    return lines


def stop(finished: Results, overridden: Mapping[str, str]) -> str:
    """What a user is told whose finished products were made by other code: what changed, and how to choose.

    overridden: what the run has by the keys of config.yaml and otherwise than it; remedies say it too.
    """
    pairs = " ".join(quote(f"{key}={text}") for key, text in {"changed": "rerun", **overridden}.items())
    results = f" --results {quote(overridden['results'])}" if "results" in overridden else ""
    accept = f"contrastive-inversion accept --study {finished.study.name}{results}"
    if "studies" in overridden:
        accept = f"{papers.OWN_STUDIES}={quote(overridden['studies'])} {accept}"
    return "\n".join([
        f"nothing was started: finished products of study {finished.study.name} were made by other code.",
        *(f"  {line}" for line in explained(finished.all_changes(), finished)),
        f"Make them again:     snakemake --config {pairs}",
        f'Keep them as they are: {accept} --because "..."',
    ])  # fmt: skip


def accept(finished: Results, products: Iterable[str], because: str) -> list[str]:
    """Write down that finished products are kept through what has changed; all of them where none is named.

    Returns a line for each kind of job. Raises UserError for an empty reason, and where nothing has changed.
    """
    if not because.strip():
        raise UserError("--because: say why the change leaves these products as good as they are")
    wanted, changes = set(products), finished.all_changes()
    if not wanted and not changes:
        raise UserError(
            f"nothing to accept: no code has changed behind finished products of study {finished.study.name}"
        )
    if unchanged := sorted(wanted - {change.product for change in changes}):
        raise UserError(
            f"{unchanged[0]}: no finished product of study {finished.study.name} that changed code is behind"
        )
    changes = [change for change in changes if not wanted or change.product in wanted]
    accepted.add(finished.root, [
        Accepted(
            products=made, before=before, now=now, changes=finished.named(Change(made[0], before, now)),
            because=because.strip(), when=accepted.today(),
        )
        for (_, before, now), made in grouped(changes, finished).items()
    ])  # fmt: skip
    return explained(changes, finished)
