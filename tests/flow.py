"""The workflow as a user starts it: Snakemake in a process of its own, or its jobs in this one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from contrastive_inversion.base import machine
from contrastive_inversion.base.job import file_of
from contrastive_inversion.ledger import plan
from contrastive_inversion.run import jobs

REPOSITORY = Path(__file__).resolve().parent.parent


class Said(NamedTuple):
    """How a process ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err

    def check(self):
        """The same, of a process that ended well."""
        assert self.status == 0, self.text[-5000:]
        return self


def environment(**changed):
    """A user's environment: this process's without a test's own places; some variables changed, or without (None)."""
    said = os.environ | {name: str(value) for name, value in changed.items()}
    without = {machine.VARIABLE, *(name for name, value in changed.items() if value is None)}
    return {name: value for name, value in said.items() if name not in without}


def command(folder, *arguments, study=None, config=(), cores=2):
    """Snakemake's words to run a folder's own Snakefile and config.yaml, or the repository's where it has none."""
    words, last = [str(Path(sys.executable).with_name("snakemake")), "--cores", str(cores)], []
    if not any((folder / place).exists() for place in ("Snakefile", "workflow/Snakefile")):
        words += ["--snakefile", str(REPOSITORY / "Snakefile")]
        if not (folder / "config.yaml").exists():
            last += ["--configfile", str(REPOSITORY / "config.yaml")]
    if config := [*([f"study={study}"] if study else []), *config]:
        last += ["--config", *config]
    return [*words, *map(str, arguments), *last]  # the last ones would take targets that follow for their own


def snakemake(folder, *arguments, study=None, config=(), cores=2, **changed):
    """Run Snakemake in a folder to its end; config: further words of its --config; changed: of its environment."""
    words = command(folder, *arguments, study=study, config=config, cores=cores)
    ended = subprocess.run(words, cwd=folder, env=environment(**changed), capture_output=True, text=True)
    return Said(ended.returncode, ended.stdout, ended.stderr)


def begun(folder, *arguments, study=None, cores=2, **changed):
    """The process of a Snakemake that was begun in a folder, where `log` has what it says, leading its own group."""
    words = command(folder, *arguments, study=study, cores=cores)
    with (folder / "log").open("a") as log:
        how = {"stdout": log, "stderr": log, "start_new_session": True}
        return subprocess.Popen(words, cwd=folder, env=environment(**changed), **how)


def make(product, study, root):
    """A product's file, and before it all that it is made from, as the rules make them, one job after the other."""
    for needed in plan.inputs(product, study):
        if not (root / file_of(needed)).exists():
            make(needed, study, root)
    jobs.run(product, study.paper, root, plan.recipe(product, study))
    return root / file_of(product)
