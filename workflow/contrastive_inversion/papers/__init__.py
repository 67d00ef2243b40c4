"""One folder per paper; nothing outside knows their names.

A paper is a package below this one whose `PAPER` is a `ledger.paper.Paper`; its studies are the files in its folder
`studies`. Imports no torch.
"""

import functools
import importlib
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError, nearest, refusals
from contrastive_inversion.ledger import study as studies
from contrastive_inversion.ledger.paper import Paper, Product
from contrastive_inversion.ledger.study import Study

OWN_STUDIES = "CONTRASTIVE_INVERSION_STUDIES"  # reaches every process that a workflow starts
HERE = Path(__file__).parent


def names() -> list[str]:
    """The names of all papers."""
    return sorted(module.name for module in pkgutil.iter_modules([str(HERE)]) if module.ispkg)


def paper(name: str) -> Paper:
    """A paper by its folder's name. Raises UserError for an unknown one."""
    if name not in names():
        raise UserError(f"there is no paper '{name}'{nearest(name, names())}")
    described: Paper = importlib.import_module(f"{__name__}.{name}").PAPER
    return described


def written(name: str) -> Paper:
    """A paper that may be half written: raises UserError where it is."""
    try:
        described = paper(name)
    except (SyntaxError, AttributeError) as error:
        raise UserError(f"papers/{name}: {error}") from None
    if not isinstance(described, Paper):
        raise UserError(f"papers/{name}: PAPER is no ledger.paper.Paper")
    return described


def products() -> dict[str, Product]:
    """Every folder of products that any paper has.

    Raises UserError for a paper that is half written, and where two papers name products of a folder differently.
    """
    known: dict[str, Product] = {}
    for each in map(written, names()):
        for folder, product in each.products.items():
            if known.setdefault(folder, product).form != product.form:
                raise UserError(
                    f"papers/{each.name}: products of '{folder}' are '{known[folder].form}' in another paper"
                )
    return known


def folders() -> list[Path]:
    """Where study files lie: the user's own folder (`studies` in config.yaml), then the papers'."""
    own = os.environ.get(OWN_STUDIES)
    return [*([Path(own)] if own else []), *(HERE / name / "studies" for name in names())]


def use(config: machine.Config, place: Callable[[str], str] = "config.yaml: {}".format) -> None:
    """Let this process and all that it starts find what config.yaml names, the user's own studies among it.

    place: where a key is said, in words. Raises UserError where something is no folder that has to be one.
    """
    for key in ("studies", "compare"):
        if (folder := getattr(config, key)) is not None and not is_folder(folder, place(key)):
            raise UserError(f"{place(key)}: there is no folder {folder}")
    for key in ("results", "figures"):
        if not is_folder(folder := getattr(config, key), place(key)) and Path(folder).exists():
            raise UserError(f"{place(key)}: {folder} is no folder")
    machine.export(config)
    if config.studies is not None:
        os.environ[OWN_STUDIES] = str(Path(config.studies).resolve())


def is_folder(path: str, place: str) -> bool:
    """Whether there is a folder at a path that is said at a place. Raises UserError where one may not even look."""
    with refusals(place):
        return Path(path).is_dir()


def study_names() -> list[str]:
    """The names of all studies."""
    return studies.available(folders())


@functools.cache
def study(name: str) -> Study[Any]:
    """A study by its name. Raises UserError for an unknown one, an unknown key or an impossible value."""
    files = studies.lineage(name, folders())
    origin = files[-1].path.parent
    if origin.parent.parent != HERE:
        raise UserError(f"{files[-1].path}: inherits: missing; a study of your own inherits from one of a paper's")
    about, said = paper(origin.parent.name), studies.laid_over(files)
    return Study(name, about, studies.typed(said, about.settings, files), said, tuple(files))
