"""GPU devices for the jobs of one machine: Snakemake hands out a count, this picks the device.

One lock file per device id of the inherited mask; the process that trains holds it for its life, so a killed job
frees its device and a living one never loses it. Under Slurm the mask is already the job's own.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path

from contrastive_inversion.base.errors import UserError

HELD = []  # open lock files: closing one would free its device


def visible_devices():
    """Device ids of CUDA_VISIBLE_DEVICES or, where that is not set, of all GPUs. Raises UserError if there is none."""
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is not None:
        devices = [device.strip() for device in mask.split(",") if device.strip()]
    else:
        devices = [str(i) for i in range(count_gpus())]
    if not devices:
        raise UserError("this job needs a GPU, and none is visible; choose a study for CPUs (config.yaml: study: demo)")
    return devices


def count_gpus():
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def lock_folder():
    """Where the lock files lie: on this machine's own disk, one folder per user."""
    folder = Path(os.environ.get("GPU_SLOT_FOLDER", Path(tempfile.gettempdir()) / f"gpu-slots-{os.getuid()}"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def acquire(count, poll_seconds=1.0):
    """Hold `count` devices for the life of this process and make them the only visible ones.

    Waits until enough are free. Does nothing for a count of 0 and under Slurm. Returns the ids.
    """
    if count == 0 or "SLURM_JOB_ID" in os.environ:
        return []
    devices = visible_devices()
    if len(devices) < count:
        raise UserError(f"this job needs {count} GPUs, and {len(devices)} are visible")
    while True:
        taken = {device: lock for device in devices if (lock := try_lock(device))}
        if len(taken) >= count:
            break
        for lock in taken.values():
            lock.close()
        time.sleep(poll_seconds)
    chosen = list(taken)[:count]
    for device, lock in taken.items():
        HELD.append(lock) if device in chosen else lock.close()
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    return chosen


def try_lock(device):
    """The open, locked file of a device; None if another process holds it."""
    lock = open(lock_folder() / f"{device}.lock", "a")  # noqa: SIM115, held beyond this function
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
