"""`make mutants`: change the code in thousands of small ways, and see which changes no test notices.

    python tests/mutants/run.py [ROOM ...]

MUTANTS names those to try by a pattern of their numbers: `*[147]` is three of ten, seen by the last digit.
Every room of rooms.toml is staged afresh in .mutants/<room>, since mutmut keeps verdicts for unchanged code even when
its tests have changed. The report is written by report.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import report

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ROOMS = tomllib.loads((HERE / "rooms.toml").read_text())
COMMON = ROOMS.pop("mutmut")


def configuration(room):
    """The repository's pyproject.toml with mutmut's section for a room; JSON's lists and strings are TOML too."""
    section = COMMON | {
        "only_mutate": [f"src/contrastive_inversion/{file}" for file in ROOMS[room]["files"]],
        "pytest_add_cli_args_test_selection": ROOMS[room]["tests"],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in section.items()]
    return "\n".join([(REPOSITORY / "pyproject.toml").read_text(), "[tool.mutmut]", *lines, ""])


def stage(room):
    """An empty folder that looks to mutmut like a project with its package below src/."""
    folder = report.STAGES / room
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "mutants" / "src").mkdir(parents=True)  # Python forgets a place of PYTHONPATH that is not there at first
    for name, place in {"src": "workflow", "tests": "tests", "results": "results", "docs": "docs"}.items():
        (folder / name).symlink_to(REPOSITORY / place)
    (folder / "pyproject.toml").write_text(configuration(room))
    return folder


def mutate(room):
    """Run mutmut on a room; PYTHONPATH puts the mutants before the installed package in the tests' own processes."""
    folder = stage(room)
    paths = [folder / "mutants" / "src", HERE]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",  # the mutated modules are large: compiled once, not for each mutant
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # every mutant starts pytest anew
    }
    mutmut = Path(sys.executable).with_name("mutmut")
    children = os.environ.get("MUTANTS_AT_ONCE", str(os.cpu_count()))
    named = os.environ.get("MUTANTS", "*")
    subprocess.run([mutmut, "run", "--max-children", children, named], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or ROOMS:
        mutate(name)
    report.write(ROOMS)
