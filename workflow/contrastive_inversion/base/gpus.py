"""GPU devices for the jobs of one machine: Snakemake hands out a count, this picks the devices.

One lock file per card, named by its UUID, so that a card is one card whether a mask says its number, its UUID or its
place in a scheduler's step. Every process takes the locks, also within a Slurm allocation: a step that has a card to
itself finds it free at once, several jobs of one allocation share its cards out. The process that trains holds the lock
for its life, so a killed job frees its card and a living one never loses it.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from contrastive_inversion.base.errors import UserError

HELD: dict[str, FileLock] = {}  # by card: a lock that nobody refers to any more is released
FILLED = 0.5  # of a card's memory, beyond which a program that holds no lock has it for itself
PATIENCE = 60  # tries
SECONDS_FOR_AN_ANSWER = 60  # of nvidia-smi, which hangs where a card is lost
LOCKS = "/tmp/gpu-slots"
YIELDING = 10  # niceness
NONE_VISIBLE = "this job needs a GPU, and none is visible; choose a study for CPUs (config.yaml: study: demo)"


@dataclass(frozen=True)
class Card:
    """A GPU: its number for nvidia-smi, UUID and name; its memory in GiB (infinite where it is the machine's), used."""

    number: str
    uuid: str
    name: str
    gib: float
    used_gib: float


def installed() -> list[Card]:
    """Every GPU of this machine or container, as nvidia-smi lists it; none where there is no nvidia-smi.

    Between them may stand warnings, of a damaged infoROM or of a card that is lost, which say nothing of the others.
    """
    query = ["--query-gpu=index,uuid,memory.total,memory.used,name", "--format=csv,noheader,nounits"]
    rows = [fields for line in nvidia_smi(*query) if len(fields := line.split(", ", 4)) == 5]
    return [Card(index, uuid, name, gib(total), gib(used, 0)) for index, uuid, total, used, name in rows]


def nvidia_smi(*arguments: str) -> list[str]:
    """The lines that nvidia-smi answers, whatever its status; none where it is not there or hangs."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=SECONDS_FOR_AN_ANSWER
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.splitlines()


def gib(mib: str, unknown: float = float("inf")) -> float:
    return int(mib) / 1024 if mib.isdigit() else unknown


def visible() -> list[Card]:
    """The cards and parts of cards that a job may be given, in the order of CUDA_VISIBLE_DEVICES; none where none is.

    nvidia-smi does not mind that mask. What it does not list is left out.
    """
    cards, parts = installed(), parts_of_cards()
    try:
        devices = visible_devices(cards, parts)
    except UserError:
        return []
    known = {part.uuid: part for part in parts}
    found = [known.get(device) if is_part(device) else card_of(device, cards) for device in devices]
    return list(dict.fromkeys(filter(None, found)))


def is_part(device: str) -> bool:
    """Whether an id is that of a part of a card (MIG)."""
    return device.startswith("MIG-")


def parts_of_cards() -> list[Card]:
    """The parts that cards are cut into (MIG), each called and as large as its profile says, `MIG 1g.10gb`.

    The number is that of the card.
    """
    parts, number, name = [], "", ""
    for line in nvidia_smi("-L"):
        if whole := re.match(r"GPU (\d+): (.+) \(UUID: ", line):
            number, name = whole[1], whole[2]
        if part := re.match(r"\s+MIG (\S+?(\d+)gb\S*)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)", line):
            parts.append(Card(number, part[3], f"{name} MIG {part[1]}", float(part[2]), 0.0))
    return parts


def visible_devices(cards: Sequence[Card], parts: Sequence[Card]) -> list[str]:
    """Device ids of CUDA_VISIBLE_DEVICES or, where that is not set, all GPUs' own. Raises UserError if there is none.

    A card that is cut into parts (MIG) is those parts; where a mask names it, the first of them, as for CUDA.
    As in CUDA, an id that matches no GPU hides itself and every id after it.
    """
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is None:
        devices = [device for card in cards for device in parts_of(card, parts) or [card.uuid]]
    else:
        named = [device.strip() for device in mask.split(",") if device.strip()]
        unknown = [position for position, device in enumerate(named) if not names_a_card(device, cards)]
        listed = named[: unknown[0]] if unknown else named
        devices = [next(iter(parts_of(card_of(device, cards), parts)), device) for device in listed]
    if not devices:
        raise UserError(NONE_VISIBLE if mask is None else f"{NONE_VISIBLE}; CUDA_VISIBLE_DEVICES is '{mask}'")
    return devices


def parts_of(card: Card | None, parts: Sequence[Card]) -> list[str]:
    """The ids of the parts that a card is cut into."""
    return [part.uuid for part in parts if card and part.number == card.number]


def names_a_card(device: str, cards: Sequence[Card]) -> bool:
    """Whether an id can be that of a GPU; what is not known here is believed, but for what CUDA takes for no id."""
    if is_part(device):
        return True
    if not (device.isdigit() or device.startswith("GPU-")):
        return False
    return not cards or card_of(device, cards) is not None


def card_of(device: str, cards: Sequence[Card]) -> Card | None:
    """The card of an id: a number, a UUID or, as CUDA allows, its beginning; None for a part of one (MIG)."""
    for card in cards:
        if device == card.number or (device.startswith("GPU-") and card.uuid.startswith(device)):
            return card
    return None


def lock_name(device: str, cards: Sequence[Card]) -> str:
    """What a device's lock file is called: its card's UUID; where nothing tells that, its id within its Slurm step."""
    if card := card_of(device, cards):
        return card.uuid
    step = [] if is_part(device) else [os.environ.get(f"SLURM_{part}", "") for part in ("JOB_ID", "STEP_ID")]
    return ".".join([*filter(None, step), device.replace("/", "_")])


def lock_folder() -> Path:
    """Where the lock files lie: on this machine's own disk, one folder for all its users, whose TMPDIRs may differ."""
    return Path(os.environ.get("GPU_SLOT_FOLDER", LOCKS))


def acquire(poll_seconds: float = 1) -> str:
    """Hold a device for the life of this process and make it the only visible one. Returns its id.

    Waits until one is free, and says so. Raises UserError where none is visible, other programs fill all that are, or
    locks cannot be had.
    """
    cards = installed()
    devices: dict[str, str] = {}  # by lock: a card that is named twice is one card
    for device in visible_devices(cards, parts_of_cards()):
        devices.setdefault(lock_name(device, cards), device)
    try:
        name = waited_for(devices, poll_seconds)
    except OSError as error:
        why = f"{lock_folder()}: cannot hold locks ({error.strerror or error})"
        raise UserError(f"{why}; name a folder on a local disk in GPU_SLOT_FOLDER") from None
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # so that numbers are those of nvidia-smi
    os.environ["CUDA_VISIBLE_DEVICES"] = devices[name]
    return devices[name]


def waited_for(devices: Mapping[str, str], poll_seconds: float) -> str:
    """The lock of one of some devices (ids by lock), held as soon as one is free."""
    tried = 0
    while True:
        name, filled = free_device(list(devices))
        if name:
            return name
        if len(filled) == len(devices) and tried >= PATIENCE:  # a card is emptied a moment after its job's end
            raise UserError(
                f"{' and '.join(map(described, filled))}; wait for it, or name others in CUDA_VISIBLE_DEVICES"
            )
        if tried == 0:
            print(f"waiting for one of the GPUs {', '.join(devices.values())}", flush=True)
        tried += 1
        time.sleep(poll_seconds)


def free_device(names: Sequence[str]) -> tuple[str | None, list[Card]]:
    """The lock of the first free device, held from now on, and the cards that are free but filled by other programs."""
    full: dict[str, Card] | None = None
    filled: list[Card] = []
    for name in names:
        if not held(lock := lock_of(name)):
            continue
        full = full_cards() if full is None else full  # nvidia-smi takes a second, and nobody waits for it in vain
        if name not in full:
            HELD[name] = lock
            return name, filled
        lock.release()
        filled.append(full[name])
    return None, filled


def full_cards() -> dict[str, Card]:
    """The cards that programs fill, by UUID."""
    return {card.uuid: card for card in installed() if card.used_gib > FILLED * card.gib}


def described(card: Card) -> str:
    return f"another program has {card.used_gib:.0f} of the {card.gib:.0f} GiB of GPU {card.number} ({card.name})"


def lock_of(name: str) -> FileLock:
    """The lock of that name, in a folder and a file that every user may take."""
    folder = lock_folder()
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)  # another job may have made it just now
        with contextlib.suppress(PermissionError):  # or another user's
            folder.chmod(0o1777)
    return FileLock(folder / f"{name}.lock", mode=0o666)


def held(lock: FileLock) -> bool:
    """Take a lock; False where another process holds it."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def give_way() -> None:
    """Let this process yield its cores to those that feed GPUs, where the machine has any: a GPU is dearer."""
    if shutil.which("nvidia-smi"):
        os.nice(YIELDING)
