"""What people read, made and looked after: tables, figures, verdicts, claims, the page.

Each is made from the settings that it reads, the rows of the ledger that it shows, measurements, and the code that
draws it. A note beside the results holds a digest of all that and the sha256 of each file that was written, so that it
is drawn again where any of it has changed, and where a file was altered by hand; which logs are there to be linked is
not asked. It is cheap and asks nobody.
"""

import importlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from contrastive_inversion import papers
from contrastive_inversion.base import files, fingerprint
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import is_measurement
from contrastive_inversion.base.records import Said
from contrastive_inversion.ledger import layouts, plan, printed
from contrastive_inversion.ledger.study import Study
from contrastive_inversion.run.fresh import Results

CODE = {
    "table": "show.tables:write", "figure": "show.figures:write", "cells": "ledger.cells:write",
    "claims": "ledger.claims:write", "spreads": "ledger.measured_spreads:write", "report": "show.page:write",
}  # fmt: skip

ENDINGS = {  # of the files of each kind
    "table": ("csv", "md", "tex"), "figure": ("pdf", "svg", "png"), "cells": ("csv",), "claims": ("csv",),
    "spreads": ("csv",), "report": ("html",),
}  # fmt: skip


class Note(Said):
    """What is kept of how files were written: the digest and the hashes; contents: of the products, by name."""

    made_from: str
    contents: dict[str, str | None]
    files: dict[str, str]


def names(study: Study[Any]) -> list[str]:
    """What a study writes to be read, by the names of its targets, the page last."""
    # a part of the spreads is nothing that other studies' verdicts may rest on
    several = ["spreads"] if len(study.settings.training_seeds) > 1 and not study.partial else []
    tables = [f"table_{number}" for number in study.settings.tables]
    figures = [f"figure_{number}" for number in study.settings.figures]
    return [*tables, *figures, "cells", "claims", *several, "report"]


def paths(name: str, study: Study[Any], results: Path | str, figures: Path | str) -> list[str]:
    """The files of a target of a study, below the folders of all studies' results and figures, as these are written."""
    kind, root = name.partition("_")[0], f"{results}/{study.name}"
    folder = {"table": f"{root}/tables", "figure": f"{figures}/{study.name}"}.get(kind, root)
    return [f"{folder}/{name}.{ending}" for ending in ENDINGS[kind]]


def check_number(kind: str, number: int, known: Collection[int], study: Study[Any]) -> None:
    """Raise UserError for a table or figure that is none of the known ones."""
    if number not in known:
        raise UserError(f"study {study.name} has no {kind} {number}; it has {', '.join(map(str, known))}")


class Target:
    """Something to read of a study: `table_1`, `figure_3`, `cells`, `claims`, `spreads` or `report`.

    finished: the study's products; figures: the folder of all studies' figures; compare: another run's folder, for the
    page. Raises UserError for a table or figure that the study's paper does not have.
    """

    def __init__(self, name: str, finished: Results, figures: Path, compare: Path | None = None) -> None:
        self.name, self.finished, self.figures, self.compare = name, finished, figures, compare
        self.study = finished.study
        self.kind, _, number = name.partition("_")
        self.number = int(number or 0)
        if self.kind in ("table", "figure"):
            known = layouts.tables if self.kind == "table" else layouts.figures
            check_number(self.kind, self.number, known(self.study.paper), self.study)
        self.note = finished.root / "rendered" / f"{name}.json"

    @property
    def files(self) -> list[Path]:
        """The files that are written."""
        return list(map(Path, paths(self.name, self.study, self.finished.root.parent, self.figures)))

    @property
    def products(self) -> list[str]:
        """The products that it is made from."""
        if self.kind == "table":
            return plan.behind_table(self.number, self.study)
        return plan.behind_figure(self.number, self.study) if self.kind == "figure" else plan.measurements(self.study)

    def write(self) -> None:
        """Write the files and the note. Raises UserError if a measurement is missing or unsound."""
        # read before: what is replaced while it draws is then drawn again
        made_from, contents = self.made_from(), {name: self.finished.content(name) for name in self.products}
        self.note.unlink(missing_ok=True)  # of what is replaced now
        self.draw()
        files.write_json(self.note, {"made_from": made_from, "contents": contents, "files": self.written()})

    def draw(self) -> None:
        """Write the files; the module that does is imported only now, for matplotlib and scipy take their time."""
        module, _, function = CODE[self.kind].partition(":")
        results = self.finished.root.parent
        told: dict[str, tuple[Any, ...]] = {
            "table": (self.number, self.study, results),
            "figure": (self.number, self.study, results, self.figures),
            "report": (self.study, results, self.figures, self.compare),
        }
        write = getattr(importlib.import_module(f"{fingerprint.PACKAGE}.{module}"), function)
        write(*told.get(self.kind, (self.study, results)))

    def made_from(self) -> str:
        """The digest of all that the files depend on besides measurements: settings, ledger, code."""
        code = fingerprint.of(CODE[self.kind], *self.functions())
        return digest(canonical([code.definitions, *map(repr, self.shows())]))

    def functions(self) -> list[str]:
        """The functions of the paper that draw it, as `module:name`."""
        paper = self.study.paper
        numbers = paper.tables if self.kind == "report" else {self.number} & paper.tables.keys()
        tables = [paper.tables[number] for number in numbers] if self.kind in ("table", "report") else []
        remarks = [paper.remarks] if self.kind == "report" else []
        called = [paper.spread, paper.redrawn, paper.level_label, paper.position, *tables, *remarks]
        names = [(each.__module__.removeprefix(f"{fingerprint.PACKAGE}."), each.__qualname__) for each in called]
        return [f"{module}:{name}" for module, name in names if name.isidentifier() and fingerprint.path_of(module)]

    def written(self) -> dict[str, str]:
        """The sha256 of each file."""
        return {path.name: files.sha256(path) for path in self.files}

    def is_out_of_date(self) -> bool:
        """Whether the files are missing or have to be made again."""
        if not all(path.exists() for path in [self.note, *self.files]):
            return True
        try:
            said = files.read_note(self.note, Note)
        except UserError:
            return True
        if (said["made_from"], said["files"]) != (self.made_from(), self.written()):
            return True
        contents = said["contents"]
        return (
            contents.keys() != set(self.products)
            or any(self.has_other(product, contents) for product in self.products)
            or any(figure.is_out_of_date() for figure in self.shown_on_page())
        )

    def has_other(self, product: str, contents: dict[str, str | None]) -> bool:
        """Whether a product is another one than the files were made from, or will be; images need not be kept."""
        if not self.finished.is_there(product):
            return is_measurement(product)
        return self.finished.out_of_date(product) or self.finished.content(product) != contents.get(product)

    def shown_on_page(self) -> list["Target"]:
        """The figures that the page shows."""
        numbers = self.study.settings.figures if self.kind == "report" else []
        return [Target(f"figure_{number}", self.finished, self.figures) for number in numbers]

    def shows(self) -> Iterator[Any]:
        """What the files say besides measurements: settings, and rows of the ledger."""
        paper = self.study.paper
        yield paper.title, paper.metrics, paper.images
        yield [(f.pattern, f.retrained, f.starts_from) for f in paper.encoders.values()]
        if self.kind == "table":
            yield from of_table(self.number, self.study)
        elif self.kind == "figure":
            yield from of_figure(self.number, self.study)
        elif self.kind == "spreads":
            yield plan.asked(self.study)
        else:
            from contrastive_inversion.ledger import measured_spreads

            yield measured_spreads.informed(self.study, self.finished.root.parent).spreads
            shown = {"cells": of_cells, "claims": of_claims}
            yield from shown[self.kind](self.study) if self.kind in shown else self.of_page()

    def of_page(self) -> Iterator[Any]:
        """The page shows all that there is."""
        from contrastive_inversion.show import provenance

        for name in dict.fromkeys([self.study.name, self.study.settings.root, self.study.settings.published]):
            yield from of_everything(papers.study(name))
        wanted = plan.everything(self.study)
        yield [(name, self.record_or_error(name)) for name in wanted if name.startswith(("encoders/", "images/"))]
        yield self.finished.accepted, provenance.lock_hash()
        yield [files.sha256(path) for figure in self.shown_on_page() for path in figure.files if path.exists()]
        if self.compare:
            yield self.compare, [files.sha256(path) for path in sorted(self.compare.glob("measurements/**/*.json"))]
            yield from of_everything(papers.study(self.compare.name))

    def record_or_error(self, product: str) -> Any:
        """A product's record; of a damaged one, which the next run makes again, what is wrong with it."""
        try:
            return self.finished.record(product)
        except UserError as error:
            return str(error)


def of_table(number: int, study: Study[Any]) -> Iterator[Any]:
    """What a table shows besides measurements."""
    layout = layouts.tables(study.paper)[number]
    yield number, study.settings.measured, study.settings.comparable, layout
    yield layouts.notes_of(number, study), layouts.headings(number, study)
    listed = printed.cells_of(number, study.paper)
    yield listed, [study.paper.level_label(cell.quantity.distortion, study) for cell in listed if layout.levels]
    if number in study.paper.tables:
        yield study.paper.tables[number](study).to_csv()


def of_figure(number: int, study: Study[Any]) -> Iterator[Any]:
    """What a figure shows besides measurements; of the published values those of its dashed curves.

    Those are drawn by the study's own metric; a caption says what was published only by that of the published numbers.
    """
    layout, other = layouts.figures(study.paper)[number], papers.study(study.settings.published)
    metrics = sorted({layouts.metric_of(layout, each) for each in (study, other)})
    yield number, study.settings.measured, layout
    yield [study.paper.level_label(level, study) for level in layout.distortions]
    yield [[layouts.levels_of(panel, study) for panel in layout.panels], plan.of_figure(number, study)]
    yield [printed.value(point, other.paper) for metric in metrics for point in plan.on_curves(number, metric, other)]


def of_cells(study: Study[Any]) -> Iterator[Any]:
    """What cells.csv shows besides measurements."""
    yield study.settings.measured, study.settings.comparable, study.settings.training_spread
    for number in study.settings.tables:
        yield number, layouts.tables(study.paper)[number].comparable, printed.cells_of(number, study.paper)


def of_claims(study: Study[Any]) -> Iterator[Any]:
    """What claims.csv shows besides measurements."""
    from contrastive_inversion.ledger import claims

    yield study.settings.training_spread, claims.relevant(study)


def of_everything(study: Study[Any]) -> Iterator[Any]:
    """All that a study and its paper say."""
    from contrastive_inversion.ledger import claims

    paper = study.paper
    yield study.name, study.settings, study.said, paper.sentences, claims.of_paper(paper)
    yield printed.cells(paper), layouts.tables(paper), layouts.figures(paper), paper.raw()
