"""GPU devices for the jobs of one machine: Snakemake hands out a count, this picks the devices.

One lock file per device id of the inherited mask; the process that trains holds it for its life, so a killed job
frees its device and a living one never loses it. Under Slurm the mask is already the job's own.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from contrastive_inversion.base.errors import UserError

HELD: dict[str, FileLock] = {}  # by device: a lock that nobody refers to any more is released


def installed() -> list[tuple[str, float]]:
    """Every GPU of this machine: its name, and its memory in GiB (infinite where it shares the machine's)."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []
    pairs = [line.rsplit(", ", 1) for line in lines]
    return [(name, int(mib) / 1024 if mib.isdigit() else float("inf")) for name, mib in pairs]


def visible_devices() -> list[str]:
    """Device ids of CUDA_VISIBLE_DEVICES or, where that is not set, of all GPUs. Raises UserError if there is none."""
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is not None:
        devices = [device.strip() for device in mask.split(",") if device.strip()]
    else:
        devices = [str(i) for i in range(len(installed()))]
    if not devices:
        raise UserError("this job needs a GPU, and none is visible; choose a study for CPUs (config.yaml: study: demo)")
    return devices


def lock_folder() -> Path:
    """Where the lock files lie: on this machine's own disk, one folder per user."""
    return Path(os.environ.get("GPU_SLOT_FOLDER", Path(tempfile.gettempdir()) / f"gpu-slots-{os.getuid()}"))


def acquire(count: int, poll_seconds: float = 1.0) -> list[str]:
    """Hold `count` devices for the life of this process and make them the only visible ones.

    Waits until enough are free. Does nothing for a count of 0 and under Slurm. Returns the ids. Raises UserError
    where fewer are visible.
    """
    if count == 0 or "SLURM_JOB_ID" in os.environ:
        return []
    devices = visible_devices()
    if len(devices) < count:
        raise UserError(f"this job needs {count} GPUs, and {len(devices)} are visible")
    while len(locks := free_devices(devices, count)) < count:
        time.sleep(poll_seconds)
    HELD.update(locks)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(locks)
    return list(locks)


def free_devices(devices: Sequence[str], count: int) -> dict[str, FileLock]:
    """The held locks of the first `count` free devices; of none where fewer are free, so that none is kept in vain."""
    locks: dict[str, FileLock] = {}
    with FileLock(lock_folder() / "choosing.lock"):  # a job at a time, so that two never keep each other from several
        for device in devices:
            lock = FileLock(lock_folder() / f"{device}.lock")
            if len(locks) < count and held(lock):
                locks[device] = lock
        if len(locks) < count:
            for lock in locks.values():
                lock.release()
            locks = {}
    return locks


def held(lock: FileLock) -> bool:
    """Take a lock; False where another process holds it."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
