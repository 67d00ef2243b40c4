"""What a job has to do and to hold, in units that say nothing of a machine (see `rates`). Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

GB = 1e9
Amounts = Mapping[str, float]  # by the name of a unit in rates.yaml


@dataclass(frozen=True)
class Work:
    """The work of one job.

    device: amounts that a GPU or, where the job has none, a core does; feed: what the picture threads do at the same
    time; host: what one core does while nothing else goes on. Memory in GB (1e9 bytes): gpu_gb and ram_gb at the peak,
    image_gb what each image of a batch adds to gpu_gb, batch how many there are (0: as many as there is room for).
    Disk: kept_gb is the product's file, state_gb the checkpoint, which is written `saves` times and goes when the
    product is there.
    """

    device: Amounts = field(default_factory=dict)
    feed: Amounts = field(default_factory=dict)
    host: Amounts = field(default_factory=dict)
    gpu_gb: float = 0.0
    image_gb: float = 0.0
    batch: int = 0
    ram_gb: float = 0.5
    kept_gb: float = 0.0
    state_gb: float = 0.0
    saves: int = 0


def total(*parts: Amounts) -> dict[str, float]:
    """The sum of some amounts, unit by unit."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
