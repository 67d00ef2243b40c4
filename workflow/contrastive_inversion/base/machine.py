"""What config.yaml says of this machine: where data and weights lie, and how images are stored.

It reaches every job in one environment variable and never enters a recipe: moving a data set changes no result.
Imports no torch.
"""

import json
import os
from pathlib import Path

from contrastive_inversion.base.errors import UserError

VARIABLE = "CONTRASTIVE_INVERSION_PLACES"
EXPECTED = {
    "data.imagenet": "the folder with train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, "
    "or val/*.JPEG with ILSVRC2012_devkit_t12",
    "data.imagenet_c": "the folder with <corruption>/<severity>/<wnid>/*.JPEG, "
    "or <group>/<corruption>/<severity>/<wnid>/*.JPEG",
    "data.cifar": "the folder with cifar-10-batches-py and cifar-100-python",
    "data.stl10": "the folder with stl10_binary",
    "data.coronahack": "the folder with Coronahack-Chest-XRay-Dataset/{train,test} and Chest_xray_Corona_Metadata.csv",
    "weights.clip": "the path of OpenAI's RN101.pt, a TorchScript archive",
    "weights.resnet101": "the path of torchvision's resnet101-63fe2227.pth (IMAGENET1K_V1)",
}


def export(config):
    """Hand what config.yaml says of places to every process started from here."""
    os.environ[VARIABLE] = json.dumps({key: config[key] for key in ("data", "weights", "store") if key in config})


def told():
    return json.loads(os.environ.get(VARIABLE, "{}"))


def place(name):
    """The path that config.yaml gives for `data.imagenet`, say. Raises UserError where it gives none."""
    section, _, key = name.partition(".")
    value = told().get(section, {}).get(key)
    if not value:
        raise UserError(f"config.yaml: {name}: not set; it is {EXPECTED[name]}")
    return Path(value).expanduser()


def folder(key):
    """The folder of a data set. Raises UserError where config.yaml names none or a missing one."""
    path = place(f"data.{key}")
    if not path.is_dir():
        raise UserError(f"config.yaml: data.{key}: there is no folder {path}; expected {EXPECTED[f'data.{key}']}")
    return path


def weights_file(key):
    """The file of published weights. Raises UserError where config.yaml names none or a missing one."""
    path = place(f"weights.{key}")
    if not path.is_file():
        raise UserError(
            f"config.yaml: weights.{key}: there is no file {path}; expected {EXPECTED[f'weights.{key}']}; "
            "`snakemake weights` fetches it"
        )
    return path


def wrong(key, path, problem):
    """The UserError for a data set that is not as published."""
    return UserError(f"config.yaml: data.{key}: {path} {problem}; expected {EXPECTED[f'data.{key}']}")


def stores_pixels():
    """Whether image files are decoded once into a store of pixels, or each time they are needed (`store: jpeg`)."""
    return told().get("store", "pixels") == "pixels"
