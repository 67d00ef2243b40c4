"""Jobs and GPU devices: slots never overlap, masks are honoured, also within an allocation."""

import errno
import fcntl
import gc
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from contrastive_inversion.base import gpus
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import Job, alone, is_locked

JOB = """
import os, sys, time
from contrastive_inversion.base import gpus
device = gpus.acquire(poll_seconds=0.02)
print(device, os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), end=" ")
time.sleep(0.15)
print(time.monotonic(), flush=True)
"""
HOLDER = """
from contrastive_inversion.base import gpus
print("started", flush=True)
gpus.acquire(poll_seconds=0.02)
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
    spans = [job.communicate()[0].splitlines()[-1].split() for job in running]
    assert len(spans) == 12 and {device for device, *_ in spans} <= {"2", "3", "5", "7"}
    assert all(device == mask for device, mask, *_ in spans)
    for device in ("2", "3", "5", "7"):
        times = sorted((float(begin), float(end)) for d, _, begin, end in spans if d == device)
        assert all(before[1] <= after[0] for before, after in zip(times, times[1:], strict=False))


WITNESSED = """
import fcntl, pathlib, sys, time
from contrastive_inversion.base import gpus
device = gpus.acquire(poll_seconds=0.02)
time.sleep(0.01)  # the kernel frees a killed job's two locks in an order of its own
witness = open(pathlib.Path(sys.argv[1]) / device, "w")
fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
print(device, flush=True)
time.sleep(0.1)
witness.close()  # before the interpreter lets go of the device
"""


@pytest.mark.slow
def test_two_hundred_short_jobs_killed_at_random_never_share_a_device(machine, tmp_path, monkeypatch):
    """Every job holds a second lock of its device, which none may find taken."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    random_, ended, living = random.Random(200), [], []
    command = [sys.executable, "-c", WITNESSED, str(tmp_path)]
    while len(ended) < 200:
        if len(living) < 12 and len(ended) + len(living) < 200:
            living.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        time.sleep(0.02)
        if random_.random() < 0.05:
            random_.choice(living).kill()
        ended += [job for job in living if job.poll() is not None]
        living = [job for job in living if job.poll() is None]
    said = [job.communicate() for job in ended]
    codes = [job.returncode for job in ended]
    assert set(codes) == {0, -9}, (codes, [errors for _, errors in said if errors])
    assert min(codes.count(0), codes.count(-9)) >= 20 and all(is_free(machine, device) for device in "2357")


def test_a_job_holds_one_device_and_sees_no_other(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert gpus.acquire() == "2"
    gc.collect()
    assert [is_free(machine, device) for device in ("2", "3")] == [False, True]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"


def test_a_job_waits_for_its_device_and_a_killed_one_frees_it(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    first = subprocess.Popen([sys.executable, "-c", HOLDER], **PIPES)
    assert [first.stdout.readline() for _ in range(2)] == ["started\n", "held\n"]
    second = subprocess.Popen([sys.executable, "-c", HOLDER], **PIPES)
    assert [second.stdout.readline() for _ in range(2)] == ["started\n", "waiting for one of the GPUs 0\n"]
    assert select.select([second.stdout], [], [], 0.5) == ([], [], [])
    for job in (first, second):
        assert not is_free(machine, "0")
        job.kill()
        job.wait()
        if job is first:
            assert second.stdout.readline() == "held\n"
    assert is_free(machine, "0")


def nvidia_smi(folder, text, status=0):
    """A program of that name that answers as the real one does where it is asked for what is asked here."""
    folder.mkdir(parents=True)
    program = folder / "nvidia-smi"
    wanted = "--query-gpu=index,uuid,memory.total,memory.used,name --format=csv,noheader,nounits"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '{wanted}' ] && printf '{text}'\nexit {status}\n")
    program.chmod(0o755)
    return str(folder)


TWO = r"0, GPU-aaaa-1, 81920, 500, NVIDIA H100, 80GB HBM3\n1, GPU-bbbb-2, [N/A], [N/A], NVIDIA GB10\n"

PARTS = (
    r"GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa-1)\n"
    r"  MIG 1g.5gb      Device  0: (UUID: MIG-1111)\n  MIG 2g.10gb     Device  1: (UUID: MIG-2222)\n"
)


@pytest.fixture
def two_cards(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "two", TWO) + os.pathsep + "/bin")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return machine


def test_gpus_are_listed_with_their_memory(two_cards):
    first, second = gpus.installed()
    assert (first.uuid, first.name, first.gib) == ("GPU-aaaa-1", "NVIDIA H100, 80GB HBM3", 80.0)
    assert (second.number, second.gib, second.used_gib) == ("1", float("inf"), 0)
    # its own name and not its number: a lost card has none for CUDA, and moves those of the others
    assert gpus.acquire() == "GPU-aaaa-1" and os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa-1"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize(
    ("mask", "visible"),
    [
        (" 1, 0 ,", ["1", "0"]), ("0,-1,1", ["0"]), ("7", None), ("-1", None), ("NoDevFiles", None), ("", None),
        ("1,7,0", ["1"]), ("GPU-bbbb", ["GPU-bbbb"]), ("GPU-cccc", None), ("MIG-GPU-aaaa/1/0", ["MIG-GPU-aaaa/1/0"]),
    ],
)  # fmt: skip
def test_a_mask_means_what_it_means_to_cuda(two_cards, monkeypatch, mask, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    if visible:
        assert gpus.visible_devices(gpus.installed(), gpus.parts_of_cards()) == visible
        return
    with pytest.raises(UserError, match=f"none is visible.*CUDA_VISIBLE_DEVICES is '{mask}'"):
        gpus.acquire()


@pytest.mark.parametrize(
    ("mask", "numbers"),
    [
        (None, "01"), ("1", "1"), (" 1, 0 ,", "10"), ("GPU-bbbb", "1"), ("1,GPU-bbbb-2", "1"), ("", ""), ("-1", ""),
        ("7", ""),
    ],
)  # fmt: skip
def test_the_cards_that_a_job_may_be_given_are_those_of_the_mask(two_cards, monkeypatch, mask, numbers):
    if mask is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    assert "".join(card.number for card in gpus.visible()) == numbers


def test_a_part_of_a_card_is_as_large_as_its_profile_says(two_cards, tmp_path, monkeypatch):
    program = tmp_path / "two" / "nvidia-smi"
    program.write_text(program.read_text().replace("exit", f"[ \"$*\" = -L ] && printf '{PARTS}'\nexit"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2222,MIG-3333")
    (part,) = gpus.visible()
    assert (part.name, part.gib) == ("NVIDIA A100-SXM4-40GB MIG 2g.10gb", 10)


def test_a_card_that_is_cut_into_parts_is_its_parts_where_no_mask_says_so(two_cards, tmp_path, monkeypatch):
    """CUDA takes its number for its first part, and knows no other."""
    program = tmp_path / "two" / "nvidia-smi"
    program.write_text(program.read_text().replace("exit", f"[ \"$*\" = -L ] && printf '{PARTS}'\nexit"))
    assert [(card.uuid, card.gib) for card in gpus.visible()] == [
        ("MIG-1111", 5), ("MIG-2222", 10), ("GPU-bbbb-2", float("inf")),
    ]  # fmt: skip
    assert gpus.acquire() == os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-1111"
    for mask, device in {"0": "MIG-1111", "GPU-aaaa": "MIG-1111", "1": "1", "MIG-2222": "MIG-2222"}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
        assert gpus.visible_devices(gpus.installed(), gpus.parts_of_cards()) == [device]


def test_a_card_is_the_same_by_number_by_uuid_and_when_named_twice(two_cards, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    gpus.acquire()
    assert not is_free(two_cards, "GPU-aaaa-1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa,0,GPU-bbbb-2")
    assert gpus.acquire() == "GPU-bbbb-2"


def test_a_part_of_a_card_is_locked_by_its_own_name(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-aaaa-1/1/0,MIG-5c1f")
    assert gpus.acquire() == "MIG-GPU-aaaa-1/1/0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-aaaa-1/1/0,MIG-5c1f")
    assert gpus.acquire() == "MIG-5c1f"
    assert not is_free(machine, "MIG-GPU-aaaa-1_1_0") and not is_free(machine, "MIG-5c1f")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert gpus.lock_name("MIG-5c1f", []) == "MIG-5c1f"  # whose id is its own in all steps
    assert gpus.lock_name("0", []) == "7.0"


def test_a_card_that_another_program_fills_is_passed_over_and_then_refused(machine, tmp_path, monkeypatch):
    lines = r"0, GPU-a, 10240, 9000, NVIDIA A\n1, GPU-b, 10240, 100, NVIDIA B\n"
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "full", lines) + os.pathsep + "/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(gpus, "PATIENCE", 1)
    assert gpus.acquire() == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match=r"another program has 9 of the 10 GiB of GPU 0 \(NVIDIA A\); wait for it, or"):
        gpus.acquire(poll_seconds=0)
    assert is_free(machine, "GPU-a")


FULL = gpus.Card("0", "GPU-a", "NVIDIA A", gib=10, used_gib=9)


@pytest.mark.parametrize(
    ("devices", "found", "tries"),
    [("ab", [(None, [])] * 5 + [("b", [])], 6), ("ab", [(None, [FULL])] * 4 + [("a", [])], 5)],
)
def test_a_job_waits_for_other_jobs_as_long_as_they_take(machine, monkeypatch, devices, found, tries):
    """One of two cards is filled by another program at most, so the other job's end is waited for."""
    monkeypatch.setattr(gpus, "PATIENCE", 2)
    asked = iter(found)
    monkeypatch.setattr(gpus, "free_device", lambda names: next(asked))
    assert gpus.waited_for(dict(zip(devices, "01", strict=True)), 0) == found[tries - 1][0]
    assert next(asked, None) is None


def test_a_job_waits_a_little_for_a_card_that_is_being_emptied(machine, monkeypatch):
    monkeypatch.setattr(gpus, "PATIENCE", 3)
    asked = []
    monkeypatch.setattr(gpus, "free_device", lambda names: asked.append(names) or (None, [FULL]))
    with pytest.raises(UserError, match="another program has 9 of the 10 GiB"):
        gpus.waited_for({"GPU-a": "0"}, 0)
    assert len(asked) == 3 + 1


def test_a_machine_without_gpus_lists_none(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.installed() == []
    failed = r"NVIDIA-SMI has failed: no communication with the NVIDIA driver\n"
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "broken", failed, status=9) + os.pathsep + "/bin")
    assert gpus.installed() == []


def test_warnings_and_a_lost_card_leave_the_others(machine, tmp_path, monkeypatch):
    """A damaged infoROM is harmless, and has a line and a status of its own."""
    warned = TWO + r"WARNING: infoROM is corrupted at gpu 0000:00:1E.0\n"
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "warned", warned, status=14) + os.pathsep + "/bin")
    assert [card.number for card in gpus.installed()] == ["0", "1"]


def test_no_device_is_a_clear_error(machine, monkeypatch):
    with pytest.raises(UserError, match="needs a GPU, and none is visible"):
        gpus.acquire()


def test_seven_jobs_of_one_slurm_allocation_share_its_cards_out(machine, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    running = [subprocess.Popen([sys.executable, "-c", JOB], **PIPES) for _ in range(7)]
    spans = [job.communicate()[0].splitlines()[-1].split() for job in running]
    assert {device for device, *_ in spans} <= {"0", "1", "2", "3"}
    for device in "0123":
        times = sorted((float(begin), float(end)) for d, _, begin, end in spans if d == device)
        assert all(before[1] <= after[0] for before, after in zip(times, times[1:], strict=False))
    holders = [subprocess.Popen([sys.executable, "-c", HOLDER], **PIPES) for _ in range(4)]
    assert [[holder.stdout.readline() for _ in range(2)] for holder in holders] == [["started\n", "held\n"]] * 4
    for holder in holders:
        holder.communicate("\n")


def test_two_slurm_steps_with_a_card_each_do_not_wait_for_one_another(machine, monkeypatch):
    """Each sees its own card as number 0; nothing here tells their UUIDs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for step in ("0", "1"):
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("SLURM_STEP_ID", step)
        assert gpus.acquire() == "0"
    assert sorted(path.name for path in machine.glob("7*")) == ["7.0.0.lock", "7.1.0.lock"]


def test_a_folder_of_locks_that_another_job_makes_meanwhile_serves(machine, monkeypatch):
    class Late(type(machine)):
        """A folder that is there as soon as somebody has asked whether it is."""

        def is_dir(self):
            found = super().is_dir()
            self.mkdir(parents=True) if not found else None
            return found

        def chmod(self, mode):
            raise PermissionError  # it is another user's

    monkeypatch.setattr(gpus, "lock_folder", lambda: Late(machine))
    assert not machine.exists() and gpus.held(gpus.lock_of("0"))


def test_locks_lie_in_a_folder_that_all_users_share(machine, tmp_path, monkeypatch):
    monkeypatch.delenv("GPU_SLOT_FOLDER")
    assert gpus.lock_folder() == Path("/tmp/gpu-slots")  # whatever TMPDIR each of them has
    folder = tmp_path / "gpu-slots"
    monkeypatch.setattr(gpus, "LOCKS", folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    gpus.acquire()
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666}


def test_a_folder_that_cannot_hold_locks_is_told(machine, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPU_SLOT_FOLDER", str(tmp_path / "file" / "slots"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match="cannot hold locks .*; name a folder on a local disk in GPU_SLOT_FOLDER"):
        gpus.acquire()


def test_a_file_system_without_flock_still_has_locks(machine, tmp_path, monkeypatch):
    def unknown(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unknown)
    job = Job("encoders/x", tmp_path, "")
    with alone(job):
        assert is_locked(job.state)
    assert not is_locked(job.state)


def test_a_job_without_a_gpu_gives_way_where_there_are_some(machine, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "nice", asked.append)
    monkeypatch.setenv("PATH", str(tmp_path))
    gpus.give_way()
    assert asked == []
    monkeypatch.setenv("PATH", nvidia_smi(tmp_path / "one", TWO))
    gpus.give_way()
    assert asked == [gpus.YIELDING]
