"""Jobs and GPU devices: slots never overlap, masks are honoured, Slurm is left alone."""

import gc
import os
import select
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from contrastive_inversion.base import gpus
from contrastive_inversion.base.errors import UserError

JOB = """
import os, sys, time
from contrastive_inversion.base import gpus
device, = gpus.acquire(1, poll_seconds=0.02)
print(device, os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), end=" ")
time.sleep(0.15)
print(time.monotonic(), flush=True)
"""
HOLDER = """
from contrastive_inversion.base import gpus
print("started", flush=True)
gpus.acquire(1, poll_seconds=0.02)
print("held", flush=True)
input()
"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without Slurm and with no visible GPU; the folder of its locks. What a test holds ends with it."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("GPU_SLOT_FOLDER", str(tmp_path / "on its own disk" / "slots"))
    monkeypatch.setattr(gpus, "HELD", {})
    return tmp_path / "on its own disk" / "slots"


def is_free(folder, device):
    """Whether another process could take a device now."""
    lock = FileLock(folder / f"{device}.lock")
    free = gpus.held(lock)
    lock.release()
    return free


def test_twelve_jobs_on_four_devices_never_overlap(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    running = [subprocess.Popen([sys.executable, "-c", JOB], **PIPES) for _ in range(12)]
    spans = [job.communicate()[0].split() for job in running]
    assert len(spans) == 12 and {device for device, *_ in spans} <= {"2", "3", "5", "7"}
    assert all(device == mask for device, mask, *_ in spans)
    for device in ("2", "3", "5", "7"):
        times = sorted((float(begin), float(end)) for d, _, begin, end in spans if d == device)
        assert all(before[1] <= after[0] for before, after in zip(times, times[1:], strict=False))


def test_a_job_holds_as_many_devices_as_it_asked_for_and_sees_no_other(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5")
    assert gpus.acquire(2) == ["2", "3"]
    gc.collect()
    assert [is_free(machine, device) for device in ("2", "3", "5")] == [False, False, True]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def test_a_job_that_waits_for_several_devices_keeps_none_from_others(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    others = FileLock(machine / "1.lock", thread_local=False)
    others.acquire()
    devices = []
    waiting = threading.Thread(target=lambda: devices.extend(gpus.acquire(3, poll_seconds=0.05)))
    waiting.start()
    seen = set()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        seen |= {device for device in ("0", "2") if is_free(machine, device)}
    assert seen == {"0", "2"} and not devices
    others.release()
    waiting.join(timeout=20)
    assert devices == ["0", "1", "2"]


def test_a_job_waits_for_its_device_and_a_killed_one_frees_it(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    first = subprocess.Popen([sys.executable, "-c", HOLDER], **PIPES)
    assert [first.stdout.readline() for _ in range(2)] == ["started\n", "held\n"]
    second = subprocess.Popen([sys.executable, "-c", HOLDER], **PIPES)
    assert second.stdout.readline() == "started\n"
    assert select.select([second.stdout], [], [], 0.5) == ([], [], [])
    for job in (first, second):
        assert not is_free(machine, "0")
        job.kill()
        job.wait()
        if job is first:
            assert second.stdout.readline() == "held\n"
    assert is_free(machine, "0")


def nvidia_smi(folder, text, status=0):
    """A program of that name that answers as the real one does where it is asked for names and memory."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    wanted = "--query-gpu=name,memory.total --format=csv,noheader,nounits"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '{wanted}' ] && printf '{text}'\nexit {status}\n")
    program.chmod(0o755)
    return str(folder)


def test_gpus_are_listed_with_their_memory(machine, tmp_path, monkeypatch):
    answer = r"NVIDIA H100, 80GB HBM3, 81920\nNVIDIA GB10, [N/A]\n"
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "two", answer) + os.pathsep + "/bin")
    assert gpus.installed() == [("NVIDIA H100, 80GB HBM3", 80.0), ("NVIDIA GB10", float("inf"))]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus.visible_devices() == ["0", "1"]
    assert gpus.acquire(1) == ["0"] and os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 3, 1 ,")
    assert gpus.visible_devices() == ["3", "1"]


def test_a_machine_without_gpus_lists_none(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.installed() == []
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "broken", r"NVIDIA H100, 81920\n", status=9) + os.pathsep + "/bin")
    assert gpus.installed() == []


def test_no_device_is_a_clear_error(machine, monkeypatch):
    with pytest.raises(UserError, match="needs a GPU, and none is visible"):
        gpus.acquire(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match="needs 2 GPUs, and 1 are visible"):
        gpus.acquire(2)


def test_slurm_and_cpu_jobs_keep_what_they_were_given(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    assert gpus.acquire(0) == [] and os.environ["CUDA_VISIBLE_DEVICES"] == "3,4"
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert gpus.acquire(1) == [] and os.environ["CUDA_VISIBLE_DEVICES"] == "3,4"
    assert not machine.exists()


def test_locks_lie_in_a_folder_of_the_user(machine, tmp_path, monkeypatch):
    monkeypatch.delenv("GPU_SLOT_FOLDER")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert gpus.lock_folder() == tmp_path / f"gpu-slots-{os.getuid()}"
