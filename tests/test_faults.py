"""A run that is killed, crowded or starved ends in the results of one that was left alone."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import jobs
from flow import begun, environment, make

NAME = "short"
MEASURED = "measurements/student-rm90/imagenet100"
TARGET = f"results/{NAME}/{file_of(MEASURED)}"
STUDY = """
inherits: smoke
tables: []
figures: []
also: ["student-rm90 | probe 100% | imagenet100 | rm90 | top1"]
teacher: {epochs: 8, batch: 32}
distill: {epochs: 8, batch: 32}
restore: {deep_decoder: {images: 4, blocks: 2, steps: 60}}
"""
BLOCKS = [f"inpainted/imagenet100/rm50/{block}" for block in range(2)]


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A folder with a study of six jobs, two of them trainings."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / f"{NAME}.yaml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def the_study(studies):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(papers.OWN_STUDIES, str(studies))
        papers.study.cache_clear()
        found = papers.study(NAME)
    papers.study.cache_clear()
    return found


@pytest.fixture(scope="module")
def calm(the_study, tmp_path_factory):
    """What the study's products are where nothing happens: made one after another, without Snakemake."""
    root = tmp_path_factory.mktemp("calm")
    make(MEASURED, the_study, root)
    return root


@pytest.fixture
def runs(studies, tmp_path):
    """A function that starts Snakemake in a folder and a process group of its own."""

    def start(*targets, folder="run", cores=2):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "config.yaml").write_text(f"study: {NAME}\nstudies: {studies}\n")
        return begun(place, *(targets or [TARGET]), cores=cores)

    return start


def content(root):
    """What tells whether products are the same: content hashes of tensors, rows of measurements."""
    found = {p.relative_to(root): files.load(p)[1]["content_hash"] for p in root.glob("*/**/*.safetensors")}
    return found | {p.relative_to(root): files.read_json(p)["rows"] for p in root.glob("measurements/**/*.json")}


def running(process):
    """The jobs of a Snakemake that run now."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [p for p in below if "make" in p.cmdline()[:4]]
    except psutil.NoSuchProcess:
        return []


def wait_for(condition, process, seconds=300):
    """Wait until a condition holds or a process has ended; what the condition gave last."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if found := condition():
            return found
        time.sleep(0.01)
    return condition()


def held(process, *products):
    """A running job that makes one of some products, found and suspended in one step: a later look might miss its end.

    None where there is none.
    """
    for job in running(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            if not {*products}.isdisjoint(job.cmdline()):
                job.suspend()
                return job
    return None


def strike(process, random_):
    """A signal at a random moment of a running job to all processes, to Snakemake or to the job; waits for the end."""
    wait_for(lambda: running(process), process)
    time.sleep(random_.uniform(0, 4))
    number = random_.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    target = random_.choice(["group", "snakemake", "job"])
    hit = running(process)
    try:
        if target == "group":
            os.killpg(process.pid, number)
        elif target == "snakemake" or not hit:
            process.send_signal(number)
        else:
            random_.choice(hit).send_signal(number)
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass  # it ended meanwhile
    process.wait(timeout=600)
    return f"{number.name} to the {target}"


def run_struck(start, folder, kills, random_, log):
    """Run the study to its end, struck a few times on the way. Returns the strikes."""
    strikes = []
    while len(strikes) < kills:
        process = start(folder=folder)
        strikes.append(strike(process, random_))
        if process.returncode == 0:
            break
    assert start(folder=folder).wait(timeout=900) == 0, (strikes, log.read_text(errors="replace")[-5000:])
    return strikes


def left_behind(root):
    """Temporary files."""
    return [path for path in root.rglob(".*") if path.is_file() and ".snakemake" not in path.parts]


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_runs_that_are_killed_at_random_moments_end_like_one_that_was_not(kills, runs, calm, tmp_path):
    random_, struck, expected = random.Random(kills), [], content(calm)
    while len(struck) < kills:
        folder = f"run {len(struck)}"
        struck += run_struck(runs, folder, kills - len(struck), random_, tmp_path / folder / "log")
        root = tmp_path / folder / "results" / NAME
        assert content(root) == expected, struck
        assert left_behind(root) == [], struck


def test_a_job_whose_snakemake_was_killed_is_neither_trained_beside_nor_lost(runs, calm, tmp_path):
    root = tmp_path / "run/results" / NAME
    teacher = root / "state/encoders/teacher"
    killed = runs()
    orphan = wait_for(lambda: (teacher / "checkpoint.pt").exists() and held(killed, "encoders/teacher"), killed)
    killed.kill()
    killed.wait()
    again, log = runs(), root / "logs/encoders/teacher.log"
    said = lambda: log.read_text(errors="replace") if log.exists() else ""  # noqa: E731
    assert wait_for(lambda: "another process is making this; waiting for it" in said(), again)
    orphan.resume()
    assert again.wait(timeout=900) == 0
    assert "made already by this recipe" in said() and not orphan.is_running()
    assert content(root) == content(calm)


def test_what_another_one_makes_meanwhile_is_not_deleted(runs, the_study, tmp_path):
    """Snakemake deletes the output of a job before it starts; here another Snakemake may be at work with it."""
    root = tmp_path / f"run/results/{NAME}"
    process = runs(*(f"results/{NAME}/{file_of(block)}" for block in BLOCKS), cores=1)
    job = wait_for(lambda: held(process, *BLOCKS), process)
    (other,) = [block for block in BLOCKS if block not in job.cmdline()]
    jobs.run(other, the_study.paper, root, plan.recipe(other, the_study))
    written = (root / file_of(other)).stat().st_ino
    job.resume()
    assert process.wait(timeout=300) == 0
    assert (root / file_of(other)).stat().st_ino == written
    assert "made already by this recipe" in (root / f"logs/{other}.log").read_text()


def test_restored_blocks_that_were_killed_are_made_and_those_that_were_not_stay(runs, the_study, tmp_path):
    root = tmp_path / "run/results" / NAME
    targets = [f"results/{NAME}/{file_of(block)}" for block in BLOCKS]
    killed = runs(*targets, cores=1)

    def halfway():
        """The job of one block, held, where the other block is made; a job that is looked at too soon goes on."""
        job = held(killed, *BLOCKS)
        made = [block for block in BLOCKS if (root / file_of(block)).exists()]
        if job and len(made) == 1 and made[0] not in job.cmdline():
            return made
        return job and job.resume()

    (made,) = wait_for(halfway, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = root / file_of(made)
    written = kept.stat().st_mtime_ns
    assert runs(*targets, cores=1).wait(timeout=300) == 0
    assert kept.stat().st_mtime_ns == written and left_behind(tmp_path / "run/results") == []
    for block in BLOCKS:
        make(block, the_study, tmp_path / "calm")
    assert content(root) == content(tmp_path / "calm")


OTHER = "results/published/cells.csv"


@pytest.mark.slow
@pytest.mark.parametrize("third", [OTHER, TARGET], ids=["of two studies", "of one study"])
def test_several_invocations_at_once_end_like_one(runs, calm, tmp_path, third):
    """Two of one study, one of that or another, and `verify` beside them again and again."""
    invocations = [runs(), runs(), runs(third, cores=1)]
    verified = []
    while any(process.poll() is None for process in invocations):
        command = [str(Path(sys.executable).with_name("contrastive-inversion")), "verify", "--study", NAME]
        verified.append(subprocess.run(command, cwd=tmp_path / "run", env=environment(), timeout=300).returncode)
        time.sleep(1)
    output = (tmp_path / "run/log").read_text(errors="replace")
    assert [process.returncode for process in invocations] == [0, 0, 0], output[-5000:]
    assert content(tmp_path / "run/results" / NAME) == content(calm)
    assert third == TARGET or len(pd.read_csv(tmp_path / "run" / third)) > 200
    assert set(verified) <= {0, 1} and "Traceback" not in output and "there is no study" not in output
    assert left_behind(tmp_path / "run/results") == []


def test_a_full_disk_is_one_line_wherever_it_strikes_and_the_end_is_the_same(small_disk, the_study, calm):
    folder, enlarge = small_disk
    full = []
    for size in range(200, 20_000, 200):
        try:
            make(MEASURED, the_study, folder / "results")
            break
        except UserError as error:
            assert "the disk is full; free some space and run again" in str(error) and "\n" not in str(error)
            full.append(str(error))
            enlarge(size)
    assert content(folder / "results") == content(calm) and left_behind(folder) == []
    assert any("checkpoint.pt" in line for line in full) and any("images/" in line for line in full), full


def test_a_file_that_may_not_grow_is_one_line_and_the_end_is_the_same(the_study, calm, tmp_path):
    """A quota, for those who cannot mount a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(UserError, match=r"captions.safetensors: cannot be written \(.*File too large"):
            make("encoders/teacher", the_study, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    make("images/captions", the_study, tmp_path)
    assert content(tmp_path).items() <= content(calm).items() and left_behind(tmp_path) == []


def test_places_that_may_not_be_read_or_written_are_named(the_study, calm, tmp_path, nobody):
    root = tmp_path / "results"
    shutil.copytree(calm, root)
    root.chmod(0o755)
    made, image = root / file_of(MEASURED), root / file_of("images/imagenet100")
    made.unlink()
    with nobody(), pytest.raises(UserError, match=r"state/.*/imagenet100: cannot be written \(Permission denied\)"):
        jobs.run(MEASURED, the_study.paper, root, plan.recipe(MEASURED, the_study))
    image.chmod(0)
    with nobody(), pytest.raises(UserError, match=r"imagenet100.safetensors: cannot be read \(Permission denied"):
        files.load(image)
    assert not made.exists()
    image.chmod(0o644)
    make(MEASURED, the_study, root)
    assert content(root) == content(calm)
