"""Jobs and GPU devices: slots never overlap, masks are honoured, Slurm is left alone."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from contrastive_inversion.base import gpus
from contrastive_inversion.base.errors import UserError

JOB = """
import sys, time
from contrastive_inversion.base import gpus
device, = gpus.acquire(1, poll_seconds=0.02)
print(device, time.monotonic(), end=" ")
time.sleep(0.15)
print(time.monotonic(), flush=True)
"""


def test_twelve_jobs_on_four_devices_never_overlap(tmp_path):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "2,3,5,7", "GPU_SLOT_FOLDER": str(tmp_path)}
    environment.pop("SLURM_JOB_ID", None)
    jobs = [
        subprocess.Popen([sys.executable, "-c", JOB], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(12)
    ]
    spans = [line.split() for job in jobs for line in [job.communicate()[0]]]
    assert len(spans) == 12 and set(Counter(device for device, _, _ in spans)) <= {"2", "3", "5", "7"}
    for device in {"2", "3", "5", "7"}:
        times = sorted((float(start), float(stop)) for d, start, stop in spans if d == device)
        assert all(before[1] <= after[0] for before, after in zip(times, times[1:], strict=False))


def test_a_killed_job_frees_its_device(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("GPU_SLOT_FOLDER", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    holder = "from contrastive_inversion.base import gpus; gpus.acquire(1); print('held', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert gpus.try_lock("0") is None
    process.kill()
    process.wait()
    lock = gpus.try_lock("0")
    assert lock is not None
    lock.close()


def test_no_device_is_a_clear_error(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match="needs a GPU, and none is visible"):
        gpus.acquire(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match="needs 2 GPUs, and 1 are visible"):
        gpus.acquire(2)


def test_slurm_and_cpu_jobs_keep_what_they_were_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert gpus.acquire(1) == [] and os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert gpus.acquire(0) == []
