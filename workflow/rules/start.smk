# What the other files need, and the configuration, read before Snakemake reads it.
import gc
import os
import re
import sys
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from shlex import quote

from snakemake.jobs import Job
from snakemake_interface_executor_plugins.settings import DeploymentMethod

# a graph of jobs is kept whole: looking through it for what is not takes a tenth of the time
gc.set_threshold(50_000, 20, 20)

# the package need not be installed, only its libraries
sys.path.insert(0, os.path.normpath(f"{workflow.current_basedir}/.."))
try:
    from contrastive_inversion import papers
    from contrastive_inversion.base import machine
    from contrastive_inversion.base.errors import UserError, refusals
    from contrastive_inversion.base.job import file_of
    from contrastive_inversion.base.settings import checked
    from contrastive_inversion.base.yaml_files import read_yaml
    from contrastive_inversion.ledger import layouts, plan
    from contrastive_inversion.ledger.study import study_file
    from contrastive_inversion.run import costs, doctor, environment, fresh, ready, rendered, slurm
except ImportError as error:
    sys.exit(
        f"Error: {error.name} is not installed here; type: pip install -e '.[compute]'\nTables, figures and pages of finished runs need the small set only: pip install -e ."
    )


def or_stop(function, *arguments):
    """A function's result; a user's mistake, or what the system refuses, stops Snakemake with one line."""
    try:
        with refusals():
            return function(*arguments)
    except UserError as error:
        sys.exit(f"Error: {error}")


for path in filter(os.path.exists, ["config.yaml", *workflow.overwrite_configfiles]):
    or_stop(machine.read_config, Path(path))
