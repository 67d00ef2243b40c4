"""Fetching what may be fetched: published weights, CIFAR and STL-10, into the places that config.yaml names.

Nothing else in this package opens a connection. Every file is checked against its published checksum.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from urllib.error import URLError

from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.base.files import check_sum
from contrastive_inversion.data import readers

WEIGHTS = {
    "clip": "https://openaipublic.azureedge.net/clip/models/"
    "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599/RN101.pt",
    "resnet101": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
}
BY_HAND = {
    "imagenet": "ILSVRC 2012 from image-net.org, after registration",
    "imagenet_c": "ImageNet-C from zenodo.org/records/2235448",
    "coronahack": "kaggle.com/datasets/praveengovi/coronahack-chest-xraydataset, with an account",
}


def fetch_weights(checksums: Mapping[str, str]) -> None:
    """Fetch the weights that a study starts from: {config.yaml's name: sha256, its first digits at least}.

    Raises UserError where there are none, and without a place, a network or the right checksum.
    """
    if not checksums:
        raise UserError("the study starts from no published weights: there is nothing to fetch")
    for name, sha256 in checksums.items():
        path = machine.place(f"weights.{name}")
        if not path.exists():
            download(WEIGHTS[name], path, sha256)
        check_sum(path, sha256)
        print(f"weights.{name}: {path}, sha256 as published")


def download(url: str, path: Path, digits: str) -> None:
    """Fetch a file with a progress bar; it appears at `path` whole and with the right sha256, or not at all."""
    from torch.hub import download_url_to_file

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        download_url_to_file(url, str(path), hash_prefix=digits)
    except (URLError, OSError) as error:
        raise UserError(
            f"{url}: cannot be fetched ({getattr(error, 'reason', error)}); "
            f"fetch it where there is a network and put it at {path}"
        ) from None
    except RuntimeError as error:
        raise UserError(f"{url}: {error}; nothing was kept, try again") from None


def fetch_data(sources: AbstractSet[str]) -> None:
    """Fetch CIFAR and STL-10 with torchvision and its checksums, and say where the data of other sources come from."""
    for source in sorted(sources & readers.ARCHIVES.keys()):
        fetch_archive(source)
    for key in sorted({readers.KEYS.get(source, "") for source in sources} & BY_HAND.keys()):
        print(f"data.{key}: fetch by hand: {BY_HAND[key]}; it is {machine.expected(f'data.{key}')}")


def fetch_archive(source: str) -> None:
    """Fetch an official archive. Raises UserError without a place or a network, and for a wrong checksum."""
    root = machine.place(f"data.{readers.KEYS[source]}")
    root.mkdir(parents=True, exist_ok=True)
    try:
        for split in ("train", "test"):
            readers.torchvision_set(source, root, split, download=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(f"{source}: cannot be fetched into {root} ({getattr(error, 'reason', error)})") from None
    print(f"{source}: {root}, checksums as published")
