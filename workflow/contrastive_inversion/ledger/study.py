"""Studies: one YAML file each, holding only what differs from its parent, read into the typed settings of its paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from contrastive_inversion.base.errors import UserError, nearest
from contrastive_inversion.base.settings import (
    ALPHABET,
    Name,
    NotNegative,
    Seed,
    Settings,
    Unique,
    explained,
    is_name,
    key_of,
    one_line,
    refused,
    shown,
    worst,
)
from contrastive_inversion.base.yaml_files import read_yaml
from contrastive_inversion.ledger.estimates import Spread
from contrastive_inversion.ledger.paper import Paper


class StudySettings(Settings):
    """What every study says, whichever paper it is about."""

    description: str = Field(description="one paragraph for the report page")
    root: str = Field(description="the study that does what the paper's text says; the page lists departures from it")
    published: str = Field(description="the study of the paper's published numbers")
    seed: Seed = Field(description="that every draw counts from")
    training_seeds: Annotated[Unique[Seed], Field(min_length=1)] = Field(
        description="of the trainings, `seed` first; with several, tables show means and standard errors over trainings"
    )
    expected: Name | None = Field(
        None, description="the study that is expected to match the print; the page of another one says so"
    )
    measured: bool = Field(description="false: published numbers stand in for measurements")
    comparable: bool = Field(description="whether its numbers may be judged against the printed ones")
    training_spread: dict[str, NotNegative] = Field(
        description="assumed standard deviation over training seeds, by kind of quantity, in its unit; `head_` and a "
        "kind: over fits of a head on weights that are not trained"
    )
    spreads: Name | None = Field(
        None,
        description="a study of several trainings, whose spreads stand for assumed ones where it has run or is kept",
    )
    tables: Unique[int] = Field(description="the paper's tables that the study fills")
    figures: Unique[int] = Field(description="the paper's figures that the study draws")
    also: Unique[str] = Field([], description="further quantities to measure")
    stand_ins: dict[str, str] = Field(
        {}, description="what takes a data set's place, in a few words; heads of tables say it"
    )
    instead: dict[str, str] = Field({}, description="metrics by which claims and figures go in place of others")
    left_out: Unique[Name] = Field([], description="data sets that nothing is measured on; tables show no number there")
    data: dict[str, Any]
    gpu: Annotated[int, Field(ge=0, le=1)] = Field(description="GPUs that a training, a probe or a measurement takes")
    picture_threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="threads that read and crop pictures, of a job on a GPU"
    )

    @model_validator(mode="after")
    def first_seed(self) -> Self:
        """Refuse seeds of trainings without that of the study, whose training has no seed in its name."""
        if self.training_seeds[0] != self.seed:
            text = (
                f"`training_seeds` begin with {self.training_seeds[0]}, and `seed` is {self.seed}: make them the same"
            )
            raise refused(text)
        return self

    @model_validator(mode="after")
    def borrowed_classes(self) -> Self:
        """Refuse a data set that borrows the classes of one that is not there or borrows too."""
        lenders = [name for name, settings in self.data.items() if not getattr(settings, "classes_of", None)]
        for name, settings in self.data.items():
            lender = getattr(settings, "classes_of", None)
            if lender and lender not in lenders:
                text = f"'{lender}' is no data set with classes of its own{nearest(lender, lenders)}"
                raise refused(text, f"data.{name}.classes_of")
        return self


S = TypeVar("S", bound=StudySettings)


@dataclass(frozen=True, eq=False)
class Study(Generic[S]):
    """A study: its name, its paper, its settings, and what its files say of them, defaults left unsaid.

    spreads: by kind, those that its setting of that name measured (`ledger.measured_spreads`).
    partial: whether a number whose measurement is not there yet is missing, as one is that nobody published, and no
    error.
    """

    name: str
    paper: Paper
    settings: S
    said: dict[str, Any]
    files: Sequence["StudyFile"] = ()
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    partial: bool = False

    def place(self, key: str) -> str:
        """Where the study says something: the file, its own or an ancestor's, and the dotted key."""
        return f"{speaker(key, self.files).path if self.files else f'study {self.name}'}: {key}"

    def data_set(self, name: str) -> Any:
        """The settings of a data set. Raises UserError for an unknown one."""
        if name not in self.settings.data:
            raise UserError(f"unknown data set '{name}'{nearest(name, self.settings.data)}")
        return self.settings.data[name]


@dataclass(frozen=True)
class StudyFile:
    """A study's file: its path, and what it says itself, without its ancestors."""

    path: Path
    said: dict[str, Any]


def available(folders: Sequence[Path]) -> list[str]:
    """The names of all studies in some folders; files whose names are no names of studies are left out."""
    found = {path for folder in folders for path in folder.glob("*.yaml") if path.is_file()}
    return sorted({path.stem for path in found if is_name(path.stem)})


def lineage(name: str, folders: Sequence[Path]) -> list[StudyFile]:
    """A study's file and those of its ancestors, itself first; a study is looked for in each of the folders in turn.

    Raises UserError for an unknown study and for one that inherits from itself.
    """
    files: list[StudyFile] = []
    parent: Any = name
    while parent is not None:
        place = f"{files[-1].path}: inherits" if files else "config.yaml: study"
        files.append(study_file(parent, folders, place))
        if files[-1].path in [file.path for file in files[:-1]]:
            raise UserError(f"{place}: '{parent}' inherits from itself")
        parent = files[-1].said.get("inherits")
    return files


def study_file(name: Any, folders: Sequence[Path], place: str) -> StudyFile:
    """A study's file. Raises UserError, with the place that names it, where there is none or that is no name."""
    if not isinstance(name, str) or not is_name(name):
        raise UserError(f"{place}: {shown(name)} is no name of a study: {ALPHABET}")
    path = next((folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").is_file()), None)
    if path is None:
        if other := next((folder / f"{name}.yml" for folder in folders if (folder / f"{name}.yml").is_file()), None):
            raise UserError(f"{place}: {other} is no study: studies end in .yaml")
        raise UserError(f"{place}: there is no study '{name}'{nearest(name, available(folders))}")
    said = read_yaml(path)
    if not isinstance(said, dict):
        raise UserError(f"{path}: a study is a mapping of keys to values")
    return StudyFile(path, said)


def laid_over(files: Sequence[StudyFile]) -> dict[str, Any]:
    """What a study and its ancestors say together, each file laid over its parent."""
    content: dict[str, Any] = {}
    for file in reversed(files):
        content = merged(content, {key: value for key, value in file.said.items() if key != "inherits"})
    return content


def typed(content: dict[str, Any], model: type[S], files: Sequence[StudyFile]) -> S:
    """The typed settings of a study.

    Raises UserError naming the file that says what is wrong, the key, and what is allowed there.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = worst(error)
        key = key_of(problem, content)
        raise UserError(f"{speaker(key, files).path}: {one_line(key)}: {explained(problem)}") from None


def merged(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """The parent's settings with the child's laid over them; mappings merge, but a data set is replaced as a whole."""
    result = dict(parent)
    for key, value in child.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        if both and key == "data":
            result[key] = result[key] | value
        else:
            result[key] = merged(result[key], value) if both else value
    return result


def changed(study: "Study[Any]", changes: dict[str, Any]) -> "Study[Any]":
    """A study with other settings under its own name. Raises UserError for what is not allowed there."""
    said = merged(study.said, changes)
    return replace(study, settings=typed(said, study.paper.settings, study.files), said=said)


def speaker(key: str, files: Sequence[StudyFile]) -> StudyFile:
    """The first of some files that says anything at a dotted key; the first of all where none does.

    A data set is said by one file as a whole.
    """
    keys = key.split(".")
    keys = keys[:2] if keys[0] == "data" else keys
    return next((file for file in files if says(file.said, keys)), files[0])


def says(content: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return isinstance(content, list)
        content = content[key]
    return True


def flattened(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as {dotted key: value}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat |= flattened(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return flat


def differences(study: Study[Any], other: Study[Any]) -> list[tuple[str, Any, Any]]:
    """Where two studies' settings differ: (dotted key, the study's value, the other's), None where one says nothing."""
    ours, theirs = ({k: v for k, v in flattened(s.said).items() if k != "description"} for s in (study, other))
    keys = dict.fromkeys([*ours, *theirs])
    return [(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]
