"""The workflow on a real Slurm: one node, two pretended GPUs (tests/slurm/start)."""

import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from contrastive_inversion.base import files

REPOSITORY = Path(__file__).resolve().parents[1]
CLUSTER = REPOSITORY / "tests" / "slurm"
LACKING = [
    name
    for name, there in {
        "root": os.geteuid() == 0,
        "Debian's slurm-wlm and munge": shutil.which("slurmctld") and shutil.which("munged"),
        "snakemake-executor-plugin-slurm": find_spec("snakemake_executor_plugin_slurm"),
    }.items()
    if not there
]
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"a real Slurm needs {', '.join(LACKING)}")

SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
PROFILE = ["--workflow-profile", str(REPOSITORY / "workflow" / "profiles" / "slurm")]
HERE = ["--slurm-no-account", "--slurm-status-command", "squeue"]  # a cluster without accounting
SOON = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
STUDY = "inherits: smoke\nteacher: {epochs: 40}\n"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    subprocess.run([CLUSTER / "start"], check=True)
    yield
    subprocess.run(["scancel", "--user=root"], check=False)
    subprocess.run([CLUSTER / "stop"], check=True)


def laid_out(folder):
    (folder / "my studies").mkdir(parents=True)
    (folder / "my studies" / "own.yaml").write_text(STUDY)
    (folder / "config.yaml").write_text("study: own\nstudies: my studies\nresults: the results\n")
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder with a blank in its name, with a config.yaml and a study of the user's own."""
    return laid_out(tmp_path / "on a cluster")


def command(folder, target, *options):
    return [*SNAKEMAKE, *options, "--directory", str(folder), "--configfile", str(folder / "config.yaml"), "--", target]


def on_slurm(folder, target, *options):
    return command(folder, target, *PROFILE, *HERE, *SOON, *options)


def run(arguments, folder):
    found = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


def hashes(folder):
    """Content hashes of all products, by name."""
    root = folder / "the results" / "own"
    paths = [*root.glob("*/**/*.safetensors"), *root.glob("measurements/**/*.json")]
    return {str(p.relative_to(root)): files.record_in(p)["content_hash"] for p in paths if "state" not in p.parts}


def test_a_chain_of_jobs_ends_in_the_tensors_of_a_local_run(folder):
    target = "the results/own/heads/teacher/imagenet100.safetensors"
    status, output = run(on_slurm(folder, target), folder)
    assert status == 0, output[-5000:]
    found = hashes(folder)
    assert len(found) >= 4
    logs = folder / "the results" / "own" / "logs"
    assert (logs / "heads" / "teacher" / "imagenet100.log").exists()
    shutil.rmtree(folder / "the results")
    status, output = run(command(folder, target, "--cores", "2"), folder)
    assert status == 0, output[-5000:]
    assert hashes(folder) == found


def wait_for(condition, seconds=240):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.05)


def queue():
    """Slurm's ids of the jobs that run."""
    return subprocess.run(["squeue", "-h", "-t", "R", "-o", "%A"], capture_output=True, text=True).stdout.split()


TRAINING = "the results/own/encoders/teacher.safetensors"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Content hashes of the training and what it needs, of a local run that nothing disturbed."""
    folder = laid_out(tmp_path_factory.mktemp("undisturbed"))
    status, output = run(command(folder, TRAINING, "--cores", "1"), folder)
    assert status == 0, output[-5000:]
    return hashes(folder)


def start(folder, *options):
    """Snakemake in the background, once its training has a checkpoint and runs under Slurm."""
    arguments = on_slurm(folder, TRAINING, *options)
    log = (folder / "log").open("w")
    process = subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    state = folder / "the results" / "own" / "state" / "encoders" / "teacher"
    wait_for(lambda: process.poll() is not None or (list(state.glob("checkpoint*")) and queue()))
    assert process.poll() is None, (folder / "log").read_text()[-5000:]
    return process


def scancel(process):
    subprocess.run(["scancel", *queue()], check=True)


def kill_slurmd(process):
    """The node's daemon dies with the job, as when a node fails, and comes back."""
    (job,) = queue()
    subprocess.run(["pkill", "-KILL", "-x", "slurmd"], check=True)
    subprocess.run(["pkill", "-KILL", "-x", "slurmstepd"], check=False)
    subprocess.run(["pkill", "-KILL", "-f", "contrastive_inversion make encoders/teacher"], check=False)
    subprocess.run(["slurmd"], check=True)
    subprocess.run(["scontrol", "requeue", job], check=False)


@pytest.mark.parametrize("disturb", [scancel, pytest.param(kill_slurmd, marks=pytest.mark.slow)])
def test_a_job_that_ends_early_is_taken_up_again(folder, undisturbed, disturb):
    process = start(folder)
    disturb(process)
    assert process.wait(timeout=600) == 0, (folder / "log").read_text()[-5000:]
    assert hashes(folder) == undisturbed


@pytest.mark.slow
def test_a_workflow_killed_on_the_login_node_doubles_nothing(folder, undisturbed):
    """Its job trains on to its end, and the next run finds the training made."""
    process = start(folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not queue())
    again = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    status, output = run(on_slurm(folder, TRAINING), folder)
    assert status == 0 and "Nothing to be done" in output, output[-5000:]
    assert hashes(folder) == undisturbed
    assert files.record_in(folder / TRAINING)["started"] < again, "the second run trained too"


HOLD = """
import sys, time
from contrastive_inversion.base import gpus
gpus.acquire(1)
import os
begun = time.time(); time.sleep(1)
print(os.environ["CUDA_VISIBLE_DEVICES"], begun, time.time(), flush=True)
"""


def test_each_job_has_a_pretended_gpu_of_its_own(tmp_path):
    """Six jobs of one GPU on a node with two."""
    (tmp_path / "hold.py").write_text(HOLD)
    wrapped = f"--wrap={sys.executable} {tmp_path / 'hold.py'}"
    for n in range(6):
        subprocess.run(["sbatch", "--gpus=1", "--mem=200", f"--output={tmp_path / f'{n}.out'}", wrapped], check=True)
    wait_for(lambda: all((tmp_path / f"{n}.out").exists() and (tmp_path / f"{n}.out").read_text() for n in range(6)))
    held = [(tmp_path / f"{n}.out").read_text().split() for n in range(6)]
    assert {device for device, *_ in held} <= {"0", "1"}
    for device in ("0", "1"):
        spans = sorted((float(begun), float(ended)) for d, begun, ended in held if d == device)
        assert all(ended <= begun for (_, ended), (begun, _) in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (
            ["--default-resources", "slurm_partition=nowhere"],
            "nvalid partition name specified; see slurm_account, slurm_partition",
        ),
        (["--set-resources", "encoders:mem_mb=99999999"], "Requested node configuration is not available"),
    ],
)
def test_what_slurm_would_refuse_stops_the_run_before_it_queues_anything(folder, resources, words):
    status, output = run(on_slurm(folder, TRAINING, *resources), folder)
    assert status == 1 and words in output and "Traceback" not in output
    assert not (folder / "the results").exists() or not hashes(folder)


def test_without_slurm_the_profile_says_so(folder, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for command in Path("/usr/bin").iterdir():
        if command.name != "sbatch":
            (tmp_path / "bin" / command.name).symlink_to(command)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), str(tmp_path / "bin")]))
    status, output = run(on_slurm(folder, TRAINING), folder)
    assert status == 1 and "sbatch is not on the path" in output


@pytest.mark.slow
def test_a_training_out_of_time_goes_on_in_the_next_job(folder):
    """A wall time of a minute ends a training of several; every retry goes on after its last epoch."""
    (folder / "my studies" / "own.yaml").write_text("inherits: smoke\nteacher: {epochs: 2000}\n")
    status, output = run(on_slurm(folder, TRAINING, "--set-resources", "encoders:runtime=1"), folder)
    assert status == 0, output[-5000:]
    found = hashes(folder)
    shutil.rmtree(folder / "the results")
    assert run(command(folder, TRAINING, "--cores", "1"), folder)[0] == 0
    assert hashes(folder) == found


@pytest.mark.slow
def test_the_demo_through_slurm_has_the_values_of_the_kept_run(folder):
    (folder / "config.yaml").write_text("study: demo\nresults: the results\n")
    status, output = run([*on_slurm(folder, "all"), "--jobs", "2"], folder)
    assert status == 0, output[-5000:]
    verify = [*command(folder, "verify", "--cores", "1")]
    assert run(verify, folder)[0] == 0
    kept = REPOSITORY / "results" / "reference" / "demo" / "measurements"
    mine = folder / "the results" / "demo" / "measurements"
    for path in kept.rglob("*.json"):
        record = files.record_in(mine / path.relative_to(kept))
        assert record["content_hash"] == files.record_in(path)["content_hash"], path.name
