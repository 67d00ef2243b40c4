"""Write envs/render.yaml and envs/compute.yaml from the lock files beside them: `make lock`.

Snakemake builds an environment from a copy of its file, so that file names every package itself and nothing beside it.
The package is in neither: jobs run it from the checkout.
"""

from pathlib import Path

HERE = Path(__file__).parent
HEAD = """\
# Written by `make lock` from envs/{name}.txt. {purpose}
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.12
  - pip
  - pip:
"""
PURPOSES = {"render": "For tables, figures and pages: no torch.", "compute": "For jobs that train and measure."}


def environment(name):
    """A conda environment file's text: Python and pip from conda-forge, the locked versions by pip."""
    pins = (HERE / f"{name}.txt").read_text().splitlines()
    lines = [f'      - "{pin}"\n' for pin in pins]
    return HEAD.format(name=name, purpose=PURPOSES[name]) + "".join(lines)


if __name__ == "__main__":
    for name in PURPOSES:
        (HERE / f"{name}.yaml").write_text(environment(name))
