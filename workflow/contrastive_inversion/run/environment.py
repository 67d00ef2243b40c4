"""What jobs find around them: the Python at work here, and this very package."""

import os
import sys
import uuid
from pathlib import Path


def prepare() -> None:
    """Let every job find the Python at work here, where it has no environment of its own."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def package_folder() -> Path:
    """A folder that holds this very package, and no other library.

    A conda environment or a container brings the libraries alone, so a change of the code asks for no new one. Beside
    an installed package lie the libraries of the Python at work here, which would hide theirs; a link to it lies alone.
    """
    package = Path(__file__).parents[1]
    if package.parent.name not in ("site-packages", "dist-packages"):
        return package.parent
    folder = Path(".snakemake/package").absolute()
    link = folder / package.name
    if not link.is_symlink() or link.readlink() != package:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / uuid.uuid4().hex
        new.symlink_to(package)
        new.replace(link)  # in one step, since other Snakemakes begin meanwhile
    return folder
