import numpy as np
import torch
from scipy import stats

from contrastive_inversion.base import rng

# Known answers of Random123 (kat_vectors): counter, key, result
VECTORS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def test_philox_gives_the_published_vectors():
    for counter, key, expected in VECTORS:
        result = rng.philox([torch.tensor(word) for word in counter], key)
        assert [int(word) for word in result] == expected


def test_draws_depend_on_the_image_not_on_the_batch():
    ids = torch.tensor([7, 3, 100_000, 5])
    together = rng.normal(101, 1, "test", ids, epoch=4)
    for row, i in zip(together, ids, strict=True):
        assert torch.equal(row, rng.normal(101, 1, "test", i[None], epoch=4)[0])
    assert torch.equal(together.flip(0), rng.normal(101, 1, "test", ids.flip(0), epoch=4))


def test_draws_differ_by_seed_purpose_image_and_epoch():
    first = rng.words(8, 1, "a", torch.tensor([0]), 0)
    others = [
        rng.words(8, 2, "a", torch.tensor([0]), 0),
        rng.words(8, 1, "b", torch.tensor([0]), 0),
        rng.words(8, 1, "a", torch.tensor([1]), 0),
        rng.words(8, 1, "a", torch.tensor([0]), 1),
    ]
    assert not any((first == other).any() for other in others)


def test_distributions_are_uniform_and_normal():
    ids = torch.arange(50)
    assert stats.kstest(rng.uniform(1000, 1, "u", ids).ravel().numpy(), "uniform").pvalue > 0.01
    normals = rng.normal(1001, 1, "n", ids).ravel().numpy()
    assert stats.kstest(normals, "norm").pvalue > 0.01
    assert abs(np.corrcoef(normals[:-1], normals[1:])[0, 1]) < 0.02


def test_permutation_holds_every_number_once():
    assert torch.equal(rng.permutation(1000, 1, "p").sort().values, torch.arange(1000))
    assert not torch.equal(rng.permutation(1000, 1, "p", 0), rng.permutation(1000, 1, "p", 1))
