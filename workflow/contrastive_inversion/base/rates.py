"""What a unit of work takes on which machine: `rates.yaml`, and what a rehearsal measured on this one. No torch."""

import functools
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from contrastive_inversion.base import files
from contrastive_inversion.base.settings import Positive, Settings, checked
from contrastive_inversion.base.yaml_files import read_yaml

FILE = Path(__file__).with_name("rates.yaml")
REHEARSED = "rates.json"  # in the folder of results


class Footprint(Settings):
    """What a network takes for one image of `size` px: GFLOP forward, MB kept for a backward pass in fp32.

    recomputed_mb: at the peak, where only its blocks' inputs are kept.
    """

    size: int
    gflop: float
    weights: float
    kept_mb: float
    recomputed_mb: float | None = None
    dim: int

    def scaled(self, size: int) -> "Footprint":
        """The same for images of another size."""
        share = (size / self.size) ** 2
        recomputed = share * (self.recomputed_mb or self.kept_mb)
        return self.but(size=size, gflop=share * self.gflop, kept_mb=share * self.kept_mb, recomputed_mb=recomputed)


class Footprints(Settings):
    """Of each network."""

    origin: str
    of: dict[str, Footprint]


class Speeds(Settings):
    """Of each unit, and where these numbers are from."""

    origin: str
    of: dict[str, Positive]


class Rates(Settings):
    """All of rates.yaml."""

    networks: Footprints
    devices: dict[str, Speeds]
    host: Speeds

    def known(self, name: str) -> str | None:
        """The device of which a full name speaks, in small letters and without blanks too; None where none is known."""
        return next((device for device in self.devices if plain(device) in plain(name)), None)

    def device(self, name: str | None) -> Speeds:
        """The speeds of a device by its full name, such as `NVIDIA H100 80GB HBM3`; None is a core of a CPU."""
        if known := "CPU" if name is None else self.known(name):
            return self.devices[known]
        return Speeds(origin=f"assumed, as of an A100 for want of numbers for {name}", of=self.devices["A100"].of)


def plain(name: str) -> str:
    return "".join(name.split()).casefold()


class Measured(Settings):
    """What a rehearsal found for a kind of job, as multiples of what rates.yaml says: of time and of memory."""

    ratio: Positive
    ram: Positive = 1
    gpu: Positive = 1
    work: str = Field(description="what was measured, in words")


class Rehearsed(Settings):
    """All that a rehearsal found: on which card (None: a CPU), by paper and kind of job."""

    device: str | None
    kinds: dict[str, Measured]


@functools.cache
def published() -> Rates:
    """The content of rates.yaml."""
    return checked(Rates, read_yaml(FILE), FILE)


def rehearsed(results: Path) -> Rehearsed | None:
    """What the last rehearsal on this machine found; None where there was none. Raises UserError for a damaged file."""
    path = results / REHEARSED
    return checked(Rehearsed, files.read_json(path), path) if path.exists() else None


def footprint(architecture: str, model: str, size: int) -> Footprint:
    """What a network takes for an image; one that rates.yaml does not know is taken for the largest that it knows."""
    known: Mapping[str, Footprint] = published().networks.of
    largest = max(known.values(), key=lambda each: each.gflop)
    return known.get(f"{architecture}/{model}", largest).scaled(size)
