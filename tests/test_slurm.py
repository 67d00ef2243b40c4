"""The workflow on a real Slurm: one node, two pretended GPUs (tests/slurm/start)."""

import contextlib
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

import formats
from contrastive_inversion import papers
from contrastive_inversion.base import files
from contrastive_inversion.base.canonical import canonical, digest
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import slurm

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
PAGE = (REPOSITORY / "docs" / "cluster.md").read_text()
FLAG, NAME = re.search(r"^snakemake (--workflow-profile) (\S+) ", PAGE, re.M).groups()
PROFILE = [FLAG, str(REPOSITORY / NAME)]  # what the page says, from any folder
HERE = ["--slurm-no-account"]  # a cluster without accounting
SOON = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
TRAINING = "the results/own/encoders/teacher.safetensors"
HEAD = "the results/own/heads/teacher/imagenet100.safetensors"
STUDY = "inherits: smoke\nteacher: {epochs: 40}\n"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    subprocess.run([CLUSTER / "start"], check=True)
    yield
    subprocess.run([CLUSTER / "stop"], check=True)


@pytest.fixture(autouse=True)
def started():
    """The Snakemakes that a test has in the background; they end with it, and so do all jobs."""
    processes = []
    yield processes
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(["scancel", "--me"], check=True)
    wait_for(lambda: not queue())


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


def hashes(folder, study="own"):
    """Content hashes of all products; of a measurement that of its rows, since its own covers when it was made."""
    root = folder / "the results" / study
    tensors = {p: files.record_in(p)["content_hash"] for p in root.glob("*/**/*.safetensors")}
    rows = {p: digest(canonical(files.read_json(p)["rows"])) for p in root.glob("measurements/**/*.json")}
    return {str(p.relative_to(root)): hash_ for p, hash_ in (tensors | rows).items() if "state" not in p.parts}


def test_a_chain_of_jobs_ends_in_the_tensors_of_a_local_run(folder, undisturbed):
    status, output = run(on_slurm(folder, HEAD), folder)
    assert status == 0, output[-5000:]
    assert hashes(folder) == undisturbed
    logs = folder / "the results" / "own" / "logs"
    assert (logs / "heads" / "teacher" / "imagenet100.log").exists()


def test_data_at_a_place_of_config_yaml_is_found_on_a_node(folder):
    """The place is relative to the folder that Snakemake was started in, and has a blank in its name."""
    settings = "{source: imagenet, classes: imagenet100_wnids.txt, train: 103, test: 100, resize: 256}"
    own = f"inherits: smoke\npicture_threads: 2\ndata: {{imagenet: {settings}}}\n"  # cores that pack, all of the node's
    (folder / "my studies" / "own.yaml").write_text(own)
    with (folder / "config.yaml").open("a") as config:
        config.write("data: {imagenet: the data/imagenet}\n")
    formats.imagenet(folder / "the data" / "imagenet")
    status, output = run(on_slurm(folder, "the results/own/images/imagenet.safetensors"), folder)
    assert status == 0, output[-5000:]
    assert set(hashes(folder)) == {"images/imagenet.safetensors"}


def wait_for(condition, seconds=900):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "waited in vain"
        time.sleep(0.05)


def queue(*options):
    """Slurm's ids of all jobs that wait or run."""
    return subprocess.run(["squeue", "-h", "-o", "%A", *options], capture_output=True, text=True).stdout.split()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Content hashes of the head and what it needs, the training among them, of a local run that nothing disturbed."""
    folder = laid_out(tmp_path_factory.mktemp("undisturbed"))
    status, output = run(command(folder, HEAD, "--cores", "1"), folder)
    assert status == 0, output[-5000:]
    return hashes(folder)


@pytest.fixture
def training(folder, started):
    """Snakemake in the background, once its training has a checkpoint and runs under Slurm."""
    with (folder / "log").open("w") as log:
        arguments = on_slurm(folder, TRAINING)
        process = subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    started.append(process)
    state = folder / "the results" / "own" / "state" / "encoders" / "teacher"
    wait_for(lambda: process.poll() is not None or (list(state.glob("checkpoint*")) and queue("-t", "R")))
    assert process.poll() is None, (folder / "log").read_text()[-5000:]
    return process


def scancel():
    subprocess.run(["scancel", *queue()], check=True)


def kill_slurmd():
    """The node's daemon dies with the job, as when a node fails, and comes back."""
    (job,) = queue()
    daemon = psutil.Process(int(Path("/var/lib/slurm-test/slurmd.pid").read_text()))
    steps = [p for p in psutil.process_iter() if p.name() == "slurmstepd" and f"[{job}." in " ".join(p.cmdline())]
    assert steps
    for process in [daemon, *steps, *(child for step in steps for child in step.children(recursive=True))]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    subprocess.run(["slurmd"], check=True)
    subprocess.run(["scontrol", "requeue", job], check=False)


@pytest.mark.parametrize("disturb", [scancel, pytest.param(kill_slurmd, marks=pytest.mark.slow)])
def test_a_job_that_ends_early_is_taken_up_again(folder, undisturbed, training, disturb):
    disturb()
    assert training.wait(timeout=1800) == 0, (folder / "log").read_text()[-5000:]
    assert (folder / TRAINING).exists() and hashes(folder).items() <= undisturbed.items()


@pytest.mark.slow
def test_a_workflow_killed_on_the_login_node_doubles_nothing(folder, undisturbed, started, training):
    """Started again at once, it waits for the job that trains on, and finds the training made."""
    (job,) = queue()
    subprocess.run(["scancel", "--full", "--signal=STOP", job], check=True)  # a fast one would be done too soon
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    again = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    lines = []
    for line in followed(on_slurm(folder, TRAINING), folder, started):
        lines.append(line)
        if line.startswith(f"waiting for Slurm's jobs of an earlier run: {job} "):
            subprocess.run(["scancel", "--full", "--signal=CONT", job], check=True)
    output = "".join(lines)
    assert started[-1].wait() == 0 and f"waiting for Slurm's jobs of an earlier run: {job} " in output, output[-5000:]
    assert "Nothing to be done" in output
    assert hashes(folder).items() <= undisturbed.items()
    assert files.record_in(folder / TRAINING)["started"] < again, "the second run trained too"


def followed(arguments, folder, started):
    """The lines that a run says, as it says them; its process is the last of those that were started."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started.append(subprocess.Popen(arguments, cwd=folder, start_new_session=True, **pipes))
    return started[-1].stdout


def test_a_run_waits_for_what_an_earlier_one_left_in_the_queue(folder, started):
    """A job of the name that the executor plugin would give it brings the file once this run has said that it waits."""
    (folder / "config.yaml").write_text("study: published\nresults: the results\n")
    product = "the results/published/measurements/teacher/imagenet100.json"
    assert run(command(folder, product, "--cores", "1"), folder)[0] == 0
    (folder / product).rename(folder / "kept")
    name = "--comment=rule_measurements_wildcards_published_teacher_imagenet100"
    left = f"until [ -e go ]; do sleep 0.1; done; mv kept '{product}'"
    subprocess.run(
        ["sbatch", f"--chdir={folder}", name, "--mem=100", "--output=/dev/null", f"--wrap={left}"], check=True
    )
    lines = []
    for line in followed(on_slurm(folder, product), folder, started):
        lines.append(line)
        if line.startswith("waiting for Slurm's jobs of an earlier run: "):
            (folder / "go").touch()
    assert started[0].wait() == 0 and (folder / "go").exists() and not (folder / "kept").exists(), "".join(lines)
    assert any("Nothing to be done" in line for line in lines), "".join(lines)


def test_a_job_is_known_in_the_queue_by_its_folder_and_its_product(tmp_path):
    held = [
        "sbatch",
        "--hold",
        "--parsable",
        f"--chdir={tmp_path}",
        "--comment=rule_heads_wildcards_own",
        "--wrap=true",
    ]
    job = subprocess.run(held, check=True, capture_output=True, text=True).stdout.strip()
    assert slurm.queued(str(tmp_path), ["rule_other", "rule_heads_wildcards_own"]) == [job]
    assert not slurm.queued(str(tmp_path), ["rule_heads"])
    assert not slurm.queued(str(tmp_path.parent), ["rule_heads_wildcards_own"])
    assert not slurm.wait_for_queued(str(tmp_path), [])


HOLD = """
import sys, time
from contrastive_inversion.base import gpus
gpus.acquire()
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


NO_ACCOUNT = "Invalid account or account/partition combination specified"
NO_NODE = "Requested node configuration is not available"


@pytest.mark.parametrize(
    ("resources", "flags", "words"),
    [
        ({"slurm_partition": "nowhere"}, "--partition=nowhere", "Invalid partition name specified"),
        ({"slurm_partition": "owned"}, "--partition=owned", NO_ACCOUNT),
        ({"slurm_partition": "owned", "slurm_account": "b"}, "--account=b --partition=owned", NO_ACCOUNT),
        ({"gpu": 3}, "--gpus=3", NO_NODE),
        ({"gpu": 1, "gpu_model": "h100"}, "--gpus=h100:1", NO_NODE),
        ({"mem_mb": 99999999}, "--mem=99999999", NO_NODE),
    ],
)
def test_what_slurm_would_refuse_is_a_line_with_the_key_to_change(resources, flags, words):
    with pytest.raises(UserError) as error:
        slurm.check([("encoders/teacher", resources)])
    assert str(error.value).startswith(f"Slurm refuses encoders/teacher ({flags}): ")
    assert f"{words}; see slurm_account, slurm_partition and gpu_model under" in str(error.value)


def test_a_refusal_stops_the_run_before_it_queues_anything(folder):
    """Threads and memory are what the job takes, and not what the login node has."""
    (folder / "my studies" / "own.yaml").write_text(f"{STUDY}gpu: 1\npicture_threads: 999\n")
    status, output = run(on_slurm(folder, TRAINING, "--set-resources", "encoders:mem_mb=99999999"), folder)
    (line,) = [line for line in output.splitlines() if line.startswith("Error: Slurm refuses ")]
    assert status == 1 and "--mem=99999999 --cpus-per-task=999 --gpus=1" in line and "Traceback" not in output
    assert not hashes(folder)


def test_what_slurm_takes_is_not_refused(folder):
    resources = {"slurm_account": "lab", "slurm_partition": "owned", "mem_mb": 100, "runtime": 1, "gpu": 2, "_cores": 1}
    slurm.check([("encoders/teacher", resources)])


def test_a_node_whose_gpu_does_not_work_is_told_in_a_sentence(tmp_path):
    """The pretended ones do not."""
    recipe = plan.recipe("images/captions", papers.study("smoke"))
    make = [sys.executable, "-m", "contrastive_inversion", "make", "images/captions", "--paper", "inverse_problems"]
    step = ["srun", "--gpus=1", "--mem=2000", *make, f"--root={tmp_path}", "--gpus=1", f"--recipe={recipe}"]
    found = subprocess.run(step, capture_output=True, text=True)
    lines = [line for line in found.stderr.splitlines() if not line.startswith("srun: ")]
    assert found.returncode == 1 and len(lines) == 1
    assert lines[0].startswith("Error: this job holds GPU 0, and torch cannot use it: "), lines


@pytest.mark.slow
def test_a_training_out_of_time_goes_on_in_the_next_job(folder):
    """A minute, the shortest wall time that Slurm knows, for a training of several; each job goes on after the last."""
    (folder / "my studies" / "own.yaml").write_text("inherits: smoke\nteacher: {epochs: 1000}\n")
    limit = ["--set-resources", "encoders:runtime=1", "--retries", "40"]
    status, output = run(on_slurm(folder, TRAINING, *limit), folder)
    assert status == 0, output[-5000:]
    log = folder / "the results" / "own" / "logs" / "encoders" / "teacher.log"
    assert "going on after epoch" in log.read_text(), "it took less than a minute"
    found = hashes(folder)
    shutil.rmtree(folder / "the results")
    assert run(command(folder, TRAINING, "--cores", "1"), folder)[0] == 0
    assert hashes(folder) == found


@pytest.mark.slow
@pytest.mark.parametrize(("study", "products"), [("smoke", 77), ("demo", 169)])
def test_a_whole_study_through_slurm_has_every_hash_of_a_local_run(folder, study, products):
    (folder / "config.yaml").write_text(f"study: {study}\nresults: the results\n")
    status, output = run(on_slurm(folder, "all"), folder)
    assert status == 0, output[-5000:]
    found = hashes(folder, study)
    shutil.rmtree(folder / "the results")
    assert run(command(folder, "all", "--cores", "2"), folder)[0] == 0
    assert hashes(folder, study) == found and len(found) == products
