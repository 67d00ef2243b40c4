"""Timings as ratios, both sides measured in one run, interleaved: `make bench` prints a Markdown table."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
import platform
import time

import torch
from torchvision.transforms.functional import gaussian_blur

from contrastive_inversion.base import rng
from contrastive_inversion.distort import attacks, names, restoration
from contrastive_inversion.distort.operators import corrupt
from contrastive_inversion.learn import networks
from contrastive_inversion.learn.settings import Network

torch.set_num_threads(1)
IDS = torch.arange(16)
IMAGES = torch.rand(16, 3, 224, 224)


def blurred_by_matrices():
    corrupt(IMAGES, names.operations({"op": "blur", "kernel": 37, "sigma": [9, 9]}), 1, "bench", IDS)


def blurred_by_torchvision():
    gaussian_blur(IMAGES, 37, 9)


def counted_normals():
    rng.normal(IMAGES[0].numel(), 1, "bench", IDS)


def torch_normals():
    torch.randn(IMAGES.shape)


def counted_mask():
    corrupt(IMAGES, names.operations({"op": "mask", "fraction": [0.9, 0.9]}), 1, "bench", IDS)


def torch_mask():
    for image in IMAGES:
        image.view(3, -1).index_fill(1, torch.randperm(224 * 224)[:45_158], 0)


SETTINGS = {"channels": 32, "upsamplings": 4, "steps": 5, "lr": 0.01, "input_noise": 0.005}
SMALL, KNOWN = torch.rand(10, 3, 48, 48), (torch.rand(10, 1, 48, 48) > 0.5).float()


def decoders_together():
    restoration.deep_decoder(SMALL * KNOWN, KNOWN, IDS[:10], 1, **SETTINGS)


def decoders_one_by_one():
    for i in range(10):
        restoration.deep_decoder((SMALL * KNOWN)[i : i + 1], KNOWN[i : i + 1], IDS[i : i + 1], 1, **SETTINGS)


torch.manual_seed(0)
ENCODER = networks.build(Network(architecture="convnet", model="flattened/32", mean=[0.5] * 3, std=[0.25] * 3))
NETWORK = networks.Classifier(ENCODER, torch.nn.Linear(ENCODER.dim, 10)).eval()
ATTACKED = torch.rand(50, 3, 32, 32)
LABELS = NETWORK(ATTACKED).argmax(dim=1)  # all are classified correctly


def plb(images, labels, ids):
    attacks.proximal_log_barrier(NETWORK, images, labels, outer=3, inner=5, polish=0, ids=ids)


def attacked_together():
    plb(ATTACKED, LABELS, torch.arange(50))


def attacked_one_by_one():
    for i in range(50):
        plb(ATTACKED[i : i + 1], LABELS[i : i + 1], torch.tensor([i]))


PAIRS = [
    ("blur n = 37, 224 px: two matrix products against torchvision", blurred_by_matrices, blurred_by_torchvision),
    ("noise, 224 px: counted normals against torch.randn", counted_normals, torch_normals),
    ("mask 90 %, 224 px: counted against torch.randperm", counted_mask, torch_mask),
    ("Deep Decoder, 10 images of 48 px: one batch against one by one", decoders_together, decoders_one_by_one),
    ("PLB, 50 images of 32 px, 15 steps: one batch against one by one", attacked_together, attacked_one_by_one),
]


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def medians(ours, theirs, rounds=7):
    """Median seconds of both, their runs interleaved so that both meet the same machine."""
    seconds(ours), seconds(theirs)
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return [sorted(side)[rounds // 2] for side in zip(*times, strict=True)]


def main():
    print(f"{platform.machine()}, torch {torch.__version__}, 1 thread\n")
    print("| what | ours, ms | other, ms | other / ours |\n|:--|--:|--:|--:|")
    for name, ours, theirs in PAIRS:
        a, b = medians(ours, theirs)
        print(f"| {name} | {1e3 * a:.1f} | {1e3 * b:.1f} | {b / a:.2f} |")


if __name__ == "__main__":
    main()
