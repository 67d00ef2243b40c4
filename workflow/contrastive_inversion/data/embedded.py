"""The embedded studies' data: characters, handwritten digits and photographs, made from installed packages alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from contrastive_inversion.base import rng
from contrastive_inversion.data import characters
from contrastive_inversion.data.settings import Characters, Digits, Photographs, Source

SPLITS = ("train", "validation", "test")
Made = tuple[dict[str, torch.Tensor], dict[str, Any]]  # a store's tensors, and facts for its record


def counts(settings: Source) -> dict[str, int]:
    """How many pictures each split has that the settings name."""
    return {split: count for split in SPLITS if (count := getattr(settings, split)) is not None}


def split_tensors(split: str, pictures: Sequence[np.ndarray], labels: Sequence[int]) -> dict[str, torch.Tensor]:
    """`<split>/images` uint8 (N, H, W, 3) and `<split>/labels` int64 (N,)."""
    return {
        f"{split}/images": torch.from_numpy(np.stack(pictures)),
        f"{split}/labels": torch.as_tensor(labels, dtype=torch.int64),
    }


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """A square uint8 picture (H, H, 3) at another size, bilinear: (side, side, 3)."""
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


def character_sets(settings: Characters, seed: int) -> Made:
    """GlyphNet images of a range of classes, or of the pairs of a label shift, with facts on the classes."""
    pool = characters.classes()
    if settings.pairs:
        shown, labels = list(settings.pairs), [pool.index(target) for target in settings.pairs.values()]
    else:
        first, end = settings.classes or (0, len(pool))
        shown, labels = list(pool[first:end]), list(range(len(pool[first:end])))
    tensors: dict[str, torch.Tensor] = {}
    for split, count in counts(settings).items():
        pictures = rendered(shown, count, split, settings, seed)
        tensors |= split_tensors(split, pictures, [label for label in labels for _ in range(count)])
    return tensors, {"classes": [characters.caption(c) for c in shown], "characters": "".join(shown)}


def rendered(shown: Sequence[str], count: int, split: str, settings: Characters, seed: int) -> list[np.ndarray]:
    """`count` images of each character. An image's draws depend on its character and number, not on its pool."""
    ids = torch.tensor([ord(c) * 4096 + i for c in shown for i in range(count)])
    draws = rng.uniform(characters.DRAWS, seed, f"glyphs/{settings.purpose}/{split}", ids).numpy()
    side = settings.drawn or settings.stored
    return [
        enlarged(characters.render(shown[k // count], draws[k], side), settings.stored)
        for k in tqdm(range(len(ids)), desc=f"{split} images", unit="image", mininterval=5)
    ]


def digits(settings: Digits) -> Made:
    """scikit-learn's handwritten digits (UCI, 1,797 real 8 x 8 scans), enlarged; the first ones are for training."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    grey = [(scan * 255 / 16).astype(np.uint8)[..., None].repeat(3, axis=2) for scan in scans.images]  # (8, 8, 3)
    pictures = [enlarged(picture, settings.stored) for picture in grey]
    cut = counts(settings)["train"]
    tensors = split_tensors("train", pictures[:cut], scans.target[:cut])
    tensors |= split_tensors("test", pictures[cut:], scans.target[cut:])
    return tensors, {"classes": [str(d) for d in range(10)]}


def photographs(settings: Photographs, seed: int) -> Made:
    """Patches of scikit-learn's two photographs: the left 60 % for training, the right 35 % for tests."""
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    tensors: dict[str, torch.Tensor] = {}
    for split, (start, stop) in {"train": (0.0, 0.6), "test": (0.65, 1.0)}.items():
        count, pictures = counts(settings)[split] // len(photos), []
        for label, photo in enumerate(photos):
            region = photo[:, int(start * photo.shape[1]) : int(stop * photo.shape[1])]
            pictures += patches(region, count, settings.stored, seed, f"{split}/{label}")
        tensors |= split_tensors(split, pictures, [label for label in range(len(photos)) for _ in range(count)])
    return tensors, {"classes": ["china", "flower"]}


def patches(photo: np.ndarray, count: int, side: int, seed: int, purpose: str) -> list[np.ndarray]:
    """Square patches at random places of a photograph: uint8 arrays (side, side, 3)."""
    draws = rng.uniform(2, seed, f"photographs/{purpose}", torch.arange(count)).numpy()  # (count, 2)
    tops = (draws[:, 0] * (photo.shape[0] - side + 1)).astype(int)
    lefts = (draws[:, 1] * (photo.shape[1] - side + 1)).astype(int)
    return [photo[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
