"""What a person types, and what comes back for a slip."""

import gc
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import flow
from contrastive_inversion import papers
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError, refusals
from contrastive_inversion.base.job import Job, Progress, alone
from contrastive_inversion.run import cli, jobs
from contrastive_inversion.show import progress
from flow import REPOSITORY
from ledgers import transcribe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "1", "--study", "dmeo"], "--study: there is no study 'dmeo'; did you mean 'demo'?"),
        (["table", "1"], "student-rm50/imagenet100.json: missing; run snakemake to make it"),
        (["accept", "--because", "x"], "nothing to accept: no code has changed behind finished products of study demo"),
        (["recipe", "encoders"], "'encoders' is no product; known: images/{data}, encoders/{encoder}"),
        (["recipe", "encoders/student-rn90"], "unknown distortion 'rn90'; did you mean 'rm90'?"),
        (["recipe", "galleries/figure_2"], "there is no gallery 'figure_2'; did you mean 'figure_1'?"),
        (["recipe", "measurements/student-rm90/cifar10"], "nothing is measured of 'student-rm90' on 'cifar10'"),
    ],
)
def test_a_slip_is_one_line_and_a_failure(arguments, message, capsys, tmp_path):
    where = [] if arguments[0] == "recipe" else ["--results", str(tmp_path)]
    assert cli.main(arguments + where) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert message.split("student-rm50")[-1] in error


@pytest.mark.parametrize("command", ["status", "doctor", "cells", "plan"])
def test_what_the_system_refuses_is_one_line_and_a_failure(command, capsys):
    assert cli.main([command, "--results", 300 * "a"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: aaa") and error.endswith(": File name too long\n") and error.count("\n") == 1


def test_an_error_that_a_library_calls_one_of_the_system_is_no_user_s(monkeypatch):
    def fail(*arguments):
        raise OSError("a bug")

    monkeypatch.setattr(progress, "screen", fail)
    with pytest.raises(OSError, match="a bug"):
        cli.main(["status"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table", "15"], "study demo has no table 15; it has 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14"),
        (["figure", "12"], "study demo has no figure 12; it has 1, 3, 4"),
        (["figure", "2"], "study demo has no figure 2; it has "),
        (["summary", "--table", "3"], "study demo has no table 3; it has 1, 2, 4"),
        (["table", "5", "--study", "simclr-demo"], "study simclr-demo has no table 5; it has 1, 2"),
        (["summary", "--table", "7", "--study", "simclr-demo"], "study simclr-demo has no table 7; it has 1, 2"),
    ],
)
def test_numbers_that_are_no_table_or_figure_are_refused(arguments, message, capsys):
    assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_what_is_no_command_is_refused(capsys):
    assert cli.main(["tabel", "1"]) == 2
    assert cli.main(["table", "one"]) == 2
    error = capsys.readouterr().err
    assert "No such command 'tabel'" in error and "'one' is not a valid integer" in error


@pytest.mark.parametrize("command", [["plan"], ["status"], ["verify"], ["recipe", "encoders/student-rm90"]])
def test_without_config_yaml_a_command_takes_no_study_and_no_results_of_itself(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(machine.VARIABLE)
    assert cli.main(command) == 1
    assert "config.yaml: there is no such file; run this where config.yaml lies" in capsys.readouterr().err
    (tmp_path / "config.yaml").symlink_to("nowhere")
    named = ["--results", str(tmp_path)] if command == ["status"] else ["--study", "demo"]
    assert command == ["status"] or cli.main([*command, *named]) == 1
    (tmp_path / "config.yaml").unlink()
    capsys.readouterr()
    cli.main([*command, *named])
    assert "config.yaml" not in capsys.readouterr().err


@pytest.mark.parametrize("said", [(), ("finished epochs are kept",)])
def test_a_command_that_is_stopped_says_what_is_kept_and_only_a_job_keeps_anything(said, capsys, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "screen", stop)
    monkeypatch.setattr(jobs, "run", stop)
    monkeypatch.setattr(gc, "disable", lambda: None)
    job = ["make", "images/x", "--root", "r", "--paper", "inverse_problems", "--recipe", "{}"]
    assert cli.main(job if said else ["status"]) == 130
    assert capsys.readouterr().err.strip() == "; ".join(["Stopped", *said]) + "."


def command_line(*arguments, **changed):
    """What the command line says in a process of its own."""
    words = [sys.executable, "-m", "contrastive_inversion", *arguments]
    return subprocess.run(words, capture_output=True, env=os.environ | changed)


def test_a_command_that_is_stopped_while_it_imports_says_so_in_one_line(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    package = str(Path(cli.__file__).parents[2])
    ended = command_line("status", PYTHONPATH=f"{tmp_path}{os.pathsep}{package}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"Stopped.\n")


def test_a_terminal_without_ticks_is_shown_their_codes():
    ended = command_line("doctor", "--study", "demo", PYTHONIOENCODING="ascii")
    assert rb"\u2713 " in ended.stdout and b"Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["accept", "--because", b"\xff"], ["status", "--results", b"r\xff"]])
def test_bytes_that_are_no_text_are_refused(arguments, capsys):
    assert cli.main([*map(os.fsdecode, arguments)]) == 1
    error = capsys.readouterr().err
    assert "udcff' is no text in UTF-8" in error and error.count("\n") == 1


def test_commands_take_study_and_folders_from_config_yaml(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(machine.VARIABLE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.yaml").write_text("inherits: published\ntables: [6]\n")
    config = tmp_path / "config.yaml"
    config.write_text(f"study: own\nstudies: {tmp_path / 'mine'}\nresults: {tmp_path / 'made here'}\n")
    assert cli.main(["--config", str(config), "table", "6"]) == 1
    assert f"{tmp_path}/made here/own/measurements/baseline-rm50to95/covid.json: missing" in capsys.readouterr().err
    config.write_text("studi: own\n")
    monkeypatch.delenv(machine.VARIABLE)
    assert cli.main(["--config", str(config), "summary"]) == 1
    assert f"{config}: top level: unknown key 'studi'; did you mean 'stud" in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.commands.commands)
def test_every_command_has_help(command, capsys):
    assert cli.main([command, "--help"]) == 0
    usage, _, described = capsys.readouterr().out.strip().partition("\n\n")
    assert usage.startswith(f"Usage: contrastive-inversion {command} ") and not described.startswith("Options:")


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_the_script_says_how_it_is_used(asked, tmp_path):
    shutil.copy(REPOSITORY / "reproduce.sh", tmp_path)
    said = subprocess.run(["bash", str(tmp_path / "reproduce.sh"), asked], capture_output=True, text=True, check=True)
    assert "./reproduce.sh [STUDY ...] " in said.stdout and not said.stderr


def test_status_tells_running_from_stopped_and_finished(tmp_path, capsys):
    jobs = {name: Job(f"encoders/{name}", tmp_path / "demo", "") for name in ("running", "stopped", "finished")}
    for name, job in jobs.items():
        progress = Progress(job, epochs=4, images=100)
        progress.advance(1, 150, loss=0.5)
        if name == "finished":
            progress.close([0.25])
    with alone(jobs["running"]):
        assert cli.main(["status", "--results", str(tmp_path)]) == 0
    lines = {line.split("|")[2].strip(): line for line in capsys.readouterr().out.splitlines() if "encoders/" in line}
    assert {name: lines[f"encoders/{name}"].split("|")[3].strip() for name in jobs} == {name: name for name in jobs}
    assert "2/4" in lines["encoders/running"] and "0.5000" in lines["encoders/running"]
    report = json.loads((jobs["running"].state / "progress.json").read_text())
    assert report["images_per_second"] > 0 and report["updated"] <= time.time()


@pytest.mark.parametrize("closed", ["results", "results/demo", "results/demo/state/encoders"])
def test_status_of_what_may_not_be_read_says_so(closed, tmp_path, nobody):
    (tmp_path / "results/demo/state/encoders").mkdir(parents=True)
    (tmp_path / "results/lost+found").mkdir(mode=0)  # of a disk of its own
    (tmp_path / "results/rates.json").touch()
    with nobody():
        assert "No job has run yet" in progress.screen(tmp_path / "results", None)
    (tmp_path / closed).chmod(0)
    with nobody(), pytest.raises(UserError, match=f"{closed}.*: Permission denied"), refusals():
        progress.screen(tmp_path / "results", None)
    (tmp_path / closed).chmod(0o755)


def test_status_of_nothing(tmp_path):
    assert "No job has run yet" in progress.screen(tmp_path, None)


def test_a_figure_is_drawn_whatever_the_user_s_matplotlib_shows_windows_with(tmp_path):
    transcribe(papers.study("published"), tmp_path)
    words = ["figure", "6", "--study", "published", "--results", tmp_path, "--figures", tmp_path / "figures"]
    command = [sys.executable, "-m", "contrastive_inversion", *map(str, words)]
    subprocess.run(command, cwd=tmp_path, env=flow.environment(MPLBACKEND="nonsense"), check=True)
    assert (tmp_path / "figures/published/figure_6.pdf").exists()


def test_summary_shows_ours_and_the_published(tmp_path, capsys):
    transcribe(papers.study("published"), tmp_path)
    assert cli.main(["summary", "--study", "published", "--results", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "82.96±0.08 (82.96±0.08)" in output and "report.html" in output
