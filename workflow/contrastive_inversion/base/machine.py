"""What config.yaml says of this machine: where data and weights lie, and how images are stored.

It reaches every job in one environment variable and never enters a recipe: moving a data set changes no result.
Imports no torch.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from contrastive_inversion.base.errors import UserError, refusals
from contrastive_inversion.base.settings import Settings, checked, refused
from contrastive_inversion.base.yaml_files import read_yaml

VARIABLE = "CONTRASTIVE_INVERSION_PLACES"
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
SLURM_MEMORY = {  # by the variable that says of how many
    "SLURM_MEM_PER_NODE": None, "SLURM_MEM_PER_CPU": "SLURM_CPUS_ON_NODE", "SLURM_MEM_PER_GPU": "SLURM_GPUS_ON_NODE",
}  # fmt: skip


def plain_path(text: str) -> str:
    if text.startswith("-") or not text.isprintable() or set("{}") & set(text):
        raise refused("a path begins with no '-', and holds no braces and no control characters")
    return text


def at_home(text: str) -> str:
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:
        raise refused(f"there is no home folder {text.split('/')[0]}; a folder of that name here is ./{text}") from None


Place = Annotated[str, AfterValidator(at_home), AfterValidator(plain_path)]
Folder = Annotated[Place, Field(min_length=1)]


class Data(Settings):
    """Where data sets lie."""

    imagenet: Place | None = Field(None, description=(
        "the folder with train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, or val/*.JPEG with ILSVRC2012_devkit_t12, or "
        "Kaggle's ILSVRC, the official tars or Hugging Face's parquet shards"
    ))  # fmt: skip
    imagenet_c: Place = Field("data/imagenet_c", description=(
        "the folder with <corruption>/<severity>/<wnid>/*.JPEG, or <group>/<corruption>/<severity>/<wnid>/*.JPEG"
    ))  # fmt: skip
    imagenette: Place = Field("data/imagenette", description="the folder with imagenette2/{train,val}/<wnid>/*.JPEG")
    imagewoof: Place = Field("data/imagewoof", description="the folder with imagewoof2/{train,val}/<wnid>/*.JPEG")
    cifar: Place = Field("data/cifar", description="the folder with cifar-10-batches-py and cifar-100-python")
    stl10: Place = Field("data/stl10", description="the folder with stl10_binary")
    coronahack: Place = Field("data/coronahack", description=(
        "the folder with Coronahack-Chest-XRay-Dataset/{train,test} and Chest_xray_Corona_Metadata.csv"
    ))  # fmt: skip


class WeightFiles(Settings):
    """Where published weights lie."""

    clip: Place = Field("weights/RN101.pt", description="the path of OpenAI's RN101.pt, a TorchScript archive")
    resnet101: Place = Field(
        "weights/resnet101-63fe2227.pth", description="the path of torchvision's resnet101-63fe2227.pth (IMAGENET1K_V1)"
    )


class Config(Settings):
    """config.yaml, the one file that a user edits."""

    study: str = Field("demo", description="which study to run")
    studies: Folder | None = Field(None, description="a folder with studies of the user's own")
    data: Data = Field(Data(), description="where data sets lie; one that is missing stops only what needs it")
    weights: WeightFiles = Field(WeightFiles(), description="where published weights lie")
    store: Literal["pixels", "jpeg"] = Field(
        "pixels", description="image files are decoded once into a store, or each time that they are needed"
    )
    compare: Place | None = Field(None, description="another run's folder, shown beside this one on the report page")
    changed: Literal["rerun"] | None = Field(
        None, description="`rerun` makes finished products again whose code has changed; otherwise a run stops and asks"
    )
    results: Folder = Field("results", description="the folder of results")
    figures: Folder = Field("figures", description="the folder of figures")


PLACES: dict[str, type[BaseModel]] = {"data": Data, "weights": WeightFiles}


@refusals()
def read_config(path: Path) -> Config:
    """The content of a config.yaml. Raises UserError where it is missing, no YAML, or has a wrong key or value."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file; run this where config.yaml lies, or name it with --config")
    return checked(Config, read_yaml(path), path)


def export(config: Config) -> None:
    """Hand what config.yaml says of places to every process started from here."""
    os.environ[VARIABLE] = config.model_dump_json(include={*PLACES, "store"})


def exported() -> Config:
    """What this process was told of places. Raises UserError for what no workflow says."""
    try:
        return Config.model_validate_json(os.environ.get(VARIABLE, "{}"))
    except ValidationError:
        raise UserError(f"{VARIABLE}: is not what a workflow hands on; unset it") from None


def expected(name: str) -> str:
    """What lies at a place such as `data.imagenet`, in words."""
    section, _, key = name.partition(".")
    return str(PLACES[section].model_fields[key].description)


def place(name: str) -> Path:
    """The path that config.yaml gives for `data.imagenet`, say. Raises UserError where it gives none."""
    section, _, key = name.partition(".")
    path = getattr(getattr(exported(), section), key)
    if not path:
        raise UserError(f"config.yaml: {name}: not set; it is {expected(name)}")
    return Path(path)


def folder(key: str) -> Path:
    """The folder of a data set. Raises UserError where config.yaml names none or a missing one."""
    path = place(f"data.{key}")
    if not path.is_dir():
        remedy = "" if key == "imagenet" else "; `snakemake download` fetches it"
        raise UserError(
            f"config.yaml: data.{key}: there is no folder {path}; expected {expected(f'data.{key}')}{remedy}"
        )
    return path


def weights_file(key: str) -> Path:
    """The file of published weights. Raises UserError where config.yaml names none or a missing one."""
    path = place(f"weights.{key}")
    if not path.is_file():
        raise UserError(
            f"config.yaml: weights.{key}: there is no file {path}; expected {expected(f'weights.{key}')}; "
            "`snakemake weights` fetches it"
        )
    return path


def wrong(key: str, path: Path, problem: str) -> UserError:
    """The UserError for a data set that is not as published."""
    return UserError(f"config.yaml: data.{key}: {path} {problem}; expected {expected(f'data.{key}')}")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stores_pixels() -> bool:
    """Whether image files are decoded once into a store of pixels, or each time they are needed (`store: jpeg`)."""
    return exported().store == "pixels"


def ram_gb() -> float:
    """The RAM that processes here may take together, in GB: the machine's, or a container's or a Slurm job's."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    said = [path.read_text().strip() for path in memory_limits(CGROUPS, OWN_CGROUPS) if path.exists()]
    limits = [int(text) for text in said if text.isdigit()]
    return min([whole, *limits, *(megabytes * 2**20 for megabytes in of_slurm())]) / 1e9


def memory_limits(mounted: Path, own: Path) -> Iterator[Path]:
    """The files that may limit this process's memory: of its control groups, version 1 or 2, and of all above them.

    mounted: where groups lie; own: the file that names those of this process, a line each, `number:controllers:path`.
    A container that does not see its own group's folder sees its limit in the root.
    """
    for line in own.read_text().splitlines() if own.exists() else []:
        _, names, path = line.split(":", 2)
        if names and "memory" not in names.split(","):
            continue
        root, name = (mounted / "memory", "memory.limit_in_bytes") if names else (mounted, "memory.max")
        folder = root / path.lstrip("/")
        yield from (each / name for each in (folder, *folder.parents) if each.is_relative_to(root))


def of_slurm() -> Iterator[int]:
    """What Slurm says in MB that a job may take on this node; many clusters say it in no file."""
    for memory, count in SLURM_MEMORY.items():
        if megabytes := said_number(memory) * (said_number(count) if count else 1):
            yield megabytes


def said_number(variable: str) -> int:
    """What an environment variable says; 0 where that is no number."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0
