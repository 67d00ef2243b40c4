"""The embedded study's data: characters, handwritten digits and photographs, made from installed packages alone."""

import numpy as np
import torch
from tqdm import tqdm

from contrastive_inversion.base import rng
from contrastive_inversion.data import characters, crops

SPLITS = ("train", "validation", "test")


def character_sets(recipe):
    """GlyphNet images of a range of classes, or of the pairs of a label shift.

    Returns tensors `<split>/images` uint8 (N, H, W, 3) and `<split>/labels` int64 (N,), and facts on the classes.
    """
    settings = recipe["settings"]
    pool = characters.classes()
    shown, labels = list(settings.get("pairs", {})), list(range(len(settings.get("pairs", {}))))
    if "pairs" in settings:
        labels = [pool.index(target) for target in settings["pairs"].values()]
    else:
        shown = pool[slice(*settings["classes"])]
        labels = list(range(len(shown)))
    tensors = {}
    for split in SPLITS:
        if split in settings:
            tensors |= rendered_split(shown, labels, split, recipe)
    return tensors, {"classes": [characters.caption(c) for c in shown], "characters": "".join(shown)}


def rendered_split(shown, labels, split, recipe):
    """All images of a split. An image's draws hang on its character and number, not on the pool it is in."""
    settings = recipe["settings"]
    count = settings[split]
    ids = torch.tensor([ord(c) * 4096 + i for c in shown for i in range(count)])
    draws = rng.uniform(characters.DRAWS, recipe["seed"], f"glyphs/{settings.get('purpose', 'images')}/{split}", ids)
    drawn = settings.get("drawn", settings["stored"])
    pictures = [
        crops.resized(
            characters.render(shown[k // count], draws[k].numpy(), drawn), settings["stored"], settings["stored"]
        )
        for k in tqdm(range(len(ids)), desc=f"{split} images", unit="image", mininterval=5)
    ]
    return as_split(split, pictures, [label for label in labels for _ in range(count)])


def as_split(split, pictures, labels):
    images = torch.from_numpy(np.stack(pictures))  # (N, H, W, 3)
    return {f"{split}/images": images, f"{split}/labels": torch.as_tensor(labels, dtype=torch.int64)}


def digits(recipe):
    """scikit-learn's handwritten digits (UCI, 1,797 real 8 x 8 scans), enlarged; the first ones are for training."""
    from sklearn.datasets import load_digits

    settings = recipe["settings"]
    scans = load_digits()
    pictures = [
        crops.resized(
            np.repeat((scan * 255 / 16).astype(np.uint8)[..., None], 3, axis=2), settings["stored"], settings["stored"]
        )
        for scan in scans.images
    ]
    cut = settings["train"]
    tensors = as_split("train", pictures[:cut], scans.target[:cut])
    tensors |= as_split("test", pictures[cut:], scans.target[cut:])
    return tensors, {"classes": [str(d) for d in range(10)]}


def photographs(recipe):
    """Patches of scikit-learn's two photographs: the left 60 % for training, the right 35 % for tests."""
    from sklearn.datasets import load_sample_images

    settings = recipe["settings"]
    photos = load_sample_images().images
    tensors = {}
    for split, (start, stop) in {"train": (0.0, 0.6), "test": (0.65, 1.0)}.items():
        pictures, labels = [], []
        for label, photo in enumerate(photos):
            region = photo[:, int(start * photo.shape[1]) : int(stop * photo.shape[1])]
            pictures += patches(region, settings[split] // 2, settings["stored"], recipe["seed"], f"{split}/{label}")
            labels += [label] * (settings[split] // 2)
        tensors |= as_split(split, pictures, labels)
    return tensors, {"classes": ["china", "flower"]}


def patches(photo, count, size, seed, purpose):
    """Square patches at random places of a photograph: uint8 arrays (size, size, 3)."""
    places = rng.uniform(2, seed, f"photographs/{purpose}", torch.arange(count)).numpy()
    tops = (places[:, 0] * (photo.shape[0] - size + 1)).astype(int)
    lefts = (places[:, 1] * (photo.shape[1] - size + 1)).astype(int)
    return [photo[top : top + size, left : left + size] for top, left in zip(tops, lefts, strict=True)]
