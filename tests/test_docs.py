"""The pages for the next person: current, and walked through as they are written."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"


def script(name):
    """One of the scripts in docs, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_what_the_models_say():
    assert (DOCS / "settings.md").read_text() == script("settings").page(), "python docs/settings.py"


def test_every_setting_has_a_meaning_and_stands_there():
    rows = [line.split("|") for line in script("settings").page().splitlines() if line.startswith("| `")]
    assert len(rows) > 200 and all(row[-2].strip() for row in rows), [row for row in rows if not row[-2].strip()]
    keys = {row[1].strip(" `") for row in rows}
    assert {"study", "distill", "temperature", "keep_best", "fraction", "imagenet_c", "regularised_images"} <= keys


def test_the_picture_of_the_rooms_is_that_of_the_code():
    assert script("rooms").picture() in (DOCS / "architecture.md").read_text(), "python docs/rooms.py"


def test_the_plan_is_what_the_code_says():
    plan = script("plan")
    assert plan.PAGE.read_text() == plan.page() and plan.README.read_text() == plan.readme(), "python docs/plan.py"


def test_the_readme_s_answer_is_that_of_the_kept_runs():
    readme = (DOCS.parent / "README.md").read_text()
    assert "hold" in script("answer").answer() and script("answer").written(readme) == readme, "make docs"


def documented():
    """What a page, a script or a message tells to type after --config: the text up to the end of the command."""
    root = DOCS.parent
    pages = [*root.glob("*.md"), *root.glob("*/*.md"), *map(root.joinpath, ("Makefile", "reproduce.sh", "config.yaml"))]
    code = [path for ending in ("py", "smk", "j2") for path in root.glob(f"workflow/**/*.{ending}")]
    for path in pages + code:
        for command in re.finditer(r"--config (\w+=[^`\n]*)", path.read_text(encoding="utf-8")):
            yield path, command[1]


def pairs(text):
    """The words that --config takes for its own: up to the next option, a comment, or the end of a text in the code."""
    return re.split(r" -|\s#|[\"';,)]", text)[0].split()


def test_after_config_a_documented_command_names_no_target():
    """Which --config would take for one more pair."""
    found = list(documented())
    assert len({path for path, _ in found}) > 5
    assert [(path, text) for path, text in found if not all("=" in word for word in pairs(text))] == []


WALKS = ("add-a-study", "add-a-distortion", "add-an-encoder", "add-a-paper")
STEP = re.compile(
    r"(?:<!-- (?P<what>file|append|apply)(?:: (?P<path>\S+))? -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```\n", re.S
)


@pytest.fixture
def house(tmp_path):
    """A copy of what a walk may change, found by every command before the installed package."""
    for name in ("workflow", "envs", "docs", "tests/coins"):
        shutil.copytree(DOCS.parent / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(DOCS.parent / name, tmp_path / name)
    return tmp_path


def shell(command, folder, text=None):
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow"), "PATH": beside}
    environment.pop("CONTRASTIVE_INVERSION_PLACES", None)
    found = subprocess.run(command, shell=True, cwd=folder, env=environment, input=text, capture_output=True, text=True)
    assert found.returncode == 0, f"{command}\n{found.stdout}{found.stderr}"
    return found.stdout + found.stderr


def walked(step, folder):
    """Do one step of a walk: write or append to a file, apply a diff, or run commands and look for what they print."""
    if step["what"] == "apply":
        shell("git apply -", folder, step["text"])
    elif step["what"]:
        path = folder / step["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if step["what"] == "append" else "") + step["text"])
    elif step["language"] == "console":
        for block in step["text"].removeprefix("$ ").split("\n$ "):
            command, *expected = block.splitlines()
            printed = " ".join(shell(command, folder).split())
            assert all(" ".join(line.split()) in printed for line in expected), f"{command}\n{printed[-3000:]}"


@pytest.mark.parametrize("walk", WALKS)
def test_a_page_s_walk_goes_as_it_says(walk, house):
    steps = list(STEP.finditer((DOCS / f"{walk}.md").read_text()))
    assert any(step["language"] == "console" for step in steps)
    for step in steps:
        walked(step, house)
