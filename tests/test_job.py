"""A running job: where its files lie, its lock, and the progress that it writes."""

import gc
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from contrastive_inversion.base import job as running
from contrastive_inversion.base.job import Input, Job, Progress, alone, file_of, is_locked
from contrastive_inversion.run import jobs


def test_a_job_that_trains_nothing_loads_no_compiler_and_no_tables():
    """They would take some two seconds of each of a demo's jobs."""
    code = (
        "import sys; from contrastive_inversion.run import cli, jobs; from contrastive_inversion import papers\n"
        "papers.paper('inverse_problems')\n"
        "from contrastive_inversion.papers.inverse_problems import accuracy, restored, samples\n"
        "print(sorted({'torch._dynamo', 'pandas', 'torchvision', 'open_clip', 'scipy', 'matplotlib'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


STEPS = """
import sys
import torch
from contrastive_inversion.learn.loop import Descent
from contrastive_inversion.learn.settings import Training
from contrastive_inversion.run import jobs

if sys.argv[1] == "left":
    jobs.leave_compiler()
for optimizer in ("sgd", "adam", "adamw"):
    torch.manual_seed(0)
    layer = torch.nn.Linear(7, 5)
    settings = Training(lr=0.1, epochs=1, batch=2, optimizer=optimizer, weight_decay=0.1)
    descent = Descent(layer.parameters(), settings, "cpu")
    for position in range(9):
        descent.take(layer(torch.rand(9, 7)).square().mean(), position, 9)
        descent.optimizer.load_state_dict(descent.optimizer.state_dict())
    print(optimizer, *layer.weight.flatten().tolist())
print("torch._dynamo" in sys.modules)
"""


def test_an_optimiser_takes_the_same_steps_without_loading_the_compiler():
    own, left = (
        subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True).stdout.split()
        for how in ("own", "left")
    )
    assert own.pop() == "True" and left.pop() == "False"
    assert own == left and len({*own}) == 3 * 36


def test_garbage_is_collected_while_a_job_computes(tmp_path, monkeypatch):
    """Its start leaves none (see `cli.make`)."""
    monkeypatch.setattr(jobs.importlib, "import_module", lambda _: SimpleNamespace(run=lambda *_: (gc.isenabled(), {})))
    gc.disable()
    try:
        kind = SimpleNamespace(run="ledger.x:run", computes=False)
        assert jobs.computed(kind, None, Job("measurements/x/y", tmp_path, "")) == (True, {})
    finally:
        gc.enable()


def test_measurements_are_json_and_all_else_is_safetensors():
    assert file_of("measurements/a/b") == "measurements/a/b.json"
    assert file_of("encoders/measurements") == "encoders/measurements.safetensors"


def test_a_job_knows_its_files_and_its_inputs_recipes():
    job = Job("encoders/a", Path("results/demo"), "own", {"images/x": "theirs", "measurements/m/x": "other"})
    assert job.path == Path("results/demo/encoders/a.safetensors")
    assert job.state == Path("results/demo/state/encoders/a")
    assert job.input("images/x") == Input(Path("results/demo/images/x.safetensors"), "theirs")
    assert job.input("measurements/m/x") == Input(Path("results/demo/measurements/m/x.json"), "other")
    assert Input(Path("x")).recipe_hash is None and (job.device, job.threads) == ("cpu", 1)
    with pytest.raises(KeyError):
        job.input("images/unnamed")


def test_a_job_waits_for_another_that_makes_the_same_product(tmp_path, capsys):
    job, entered = Job("images/x", tmp_path, ""), threading.Event()
    job.state.mkdir(parents=True)
    other = FileLock(job.state / "lock", thread_local=False)
    other.acquire()

    def second():
        with alone(job):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.5)
    other.release()
    assert entered.wait(20)
    thread.join()
    assert capsys.readouterr().out == "images/x: another process is making this; waiting for it\n"


def test_a_job_alone_makes_its_folder_says_nothing_and_is_locked_while_it_runs(tmp_path, capsys):
    job = Job("images/x", tmp_path, "")
    (tmp_path / "file").write_text("")
    assert not is_locked(job.state) and not is_locked(tmp_path / "file" / "x")  # there are no such folders
    for _ in range(2):  # the folder of an earlier run does no harm
        with alone(job):
            assert is_locked(job.state)
        assert not is_locked(job.state)
    assert capsys.readouterr().out == ""


def test_who_only_looks_whether_a_job_is_locked_writes_nothing(tmp_path, nobody):
    job = Job("images/x", tmp_path, "")
    job.state.mkdir(parents=True)
    assert not is_locked(job.state) and not list(job.state.iterdir())
    with alone(job):
        (job.state / "lock").chmod(0o444)
        with nobody():
            assert is_locked(job.state)
    with nobody():
        assert not is_locked(job.state)
    (job.state / "lock").chmod(0)
    with nobody():
        assert is_locked(job.state)  # for all that is known


def test_what_a_killed_job_was_writing_is_removed_and_nothing_else(tmp_path):
    job = Job("images/x", tmp_path, "")
    job.state.mkdir(parents=True)
    job.path.parent.mkdir()
    left = [job.path.parent / ".x.safetensors.a1b2c3d4", job.state / ".checkpoint.pt.a1b2c3d4"]
    kept = [job.path, job.path.parent / ".y.safetensors.a1b2c3d4", job.state / "checkpoint.pt"]
    for path in [*left, *kept]:
        path.write_text("")
    with alone(job):
        assert not any(path.exists() for path in left) and all(path.exists() for path in kept)


def test_a_finished_job_forgets_its_own_files_alone(tmp_path):
    whole, part = Job("restored/x", tmp_path, ""), Job("restored/x/part", tmp_path, "")
    for job in (whole, part):
        job.state.mkdir(parents=True)
        for name in ("lock", "progress.json", "checkpoint.pt", "rows"):
            (job.state / name).touch()
    whole.forget()
    assert {path.name for path in whole.state.iterdir()} == {"lock", "progress.json", "part"}
    assert len(list(part.state.iterdir())) == 4


def test_a_killed_job_frees_its_lock(tmp_path):
    code = (
        "import sys, pathlib; from contrastive_inversion.base.job import Job, alone\n"
        "with alone(Job('images/x', pathlib.Path(sys.argv[1]), '')): print('in', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "in\n" and is_locked(tmp_path / "state/images/x")
    process.kill()
    process.wait()
    assert not is_locked(tmp_path / "state/images/x")


@pytest.fixture
def clock(monkeypatch):
    """The time as jobs see it, a list of one number to be set."""
    now = [1000.0]
    monkeypatch.setattr(running.time, "time", lambda: now[0])
    return now


def test_progress_says_how_far_a_job_is_and_how_long_it_takes(tmp_path, clock):
    job = Job("encoders/a", tmp_path, "")
    file = job.state / "progress.json"
    progress = Progress(job, epochs=3, images=10, done_epochs=1)
    assert (progress.bar.total, progress.bar.n) == (30, 10)
    assert (progress.bar.desc, progress.bar.unit) == ("encoders/a", "image")
    clock[0] += 0.5
    progress.advance(1, 5, 0.25)
    expected = {
        "product": "encoders/a", "state": "running", "epoch": 2, "epochs": 3, "loss": 0.25, "images_per_second": 10.0,
        "updated": 1000.5, "seconds": 0.5, "eta_seconds": 2, "first_seconds": 0.5,
        "first_share": 0.25,
    }  # fmt: skip
    assert json.loads(file.read_text()) == expected
    assert progress.bar.n == 15 and progress.bar.postfix == "epoch 2/3, loss 0.2500"
    clock[0] += 2  # not long enough since the last report
    progress.advance(1, 5)
    assert json.loads(file.read_text()) == expected and progress.bar.n == 20
    clock[0] += 0.5
    progress.advance(2, 5)
    expected |= {"epoch": 3, "loss": None, "images_per_second": 5.0, "seconds": 3.0, "eta_seconds": 1}
    expected |= {"updated": 1003.0}
    assert json.loads(file.read_text()) == expected and progress.bar.postfix == "epoch 3/3"
    progress.advance(2, 5)
    progress.close([0.5, 0.25, 0.125])
    expected |= {"state": "finished", "loss": 0.125, "images_per_second": 6.7, "eta_seconds": 0}
    assert json.loads(file.read_text()) == expected and progress.bar.disable


def test_a_loss_that_overflowed_leaves_the_report_of_progress_whole(tmp_path):
    job = Job("encoders/a", tmp_path, "")
    Progress(job, epochs=1, images=1).close([float("inf")])
    assert '"loss":null' in (job.state / "progress.json").read_text()


def test_a_report_of_progress_that_cannot_be_written_ends_no_job(tmp_path, capsys):
    progress = Progress(Job("encoders/a", tmp_path, ""), epochs=1, images=1)
    (tmp_path / "state").write_text("no folder")
    progress.close([0.5])
    assert re.fullmatch(r"Warning: .*progress.json: cannot be written .*\n", capsys.readouterr().out)


def test_progress_of_work_that_has_not_begun_and_without_losses(tmp_path, clock):
    progress = Progress(Job("heads/a/b", tmp_path, ""), epochs=2, images=7)
    progress.close()
    written = json.loads((tmp_path / "state/heads/a/b/progress.json").read_text())
    assert (written["state"], written["epoch"], written["loss"]) == ("finished", 2, None)
    assert written["images_per_second"] == 0 and written["eta_seconds"] == round(14 / 1e-6)
