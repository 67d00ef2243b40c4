"""Counted random numbers: the published generator, what each draw hangs on, and nothing else."""

import hashlib
import math

import numpy as np
import pytest
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


def philox(counter, key):
    """Philox-4x32-10 in plain integers, after the paper's equations."""
    (left, right), mask = key, 0xFFFFFFFF
    for _ in range(10):
        first, second = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [
            (second >> 32) ^ counter[1] ^ left, second & mask, (first >> 32) ^ counter[3] ^ right, first & mask,
        ]  # fmt: skip
        left, right = (left + 0x9E3779B9) & mask, (right + 0xBB67AE85) & mask
    return counter


def words(n, seed, purpose, image, epoch):
    """The words that a draw is made of: counter (block, image, epoch, 0), key the digest's first eight bytes."""
    key = np.frombuffer(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "<u4").tolist()
    blocks = [philox([block, image, epoch, 0], key) for block in range(n)]
    return [word for block in blocks for word in block][:n]


def test_draws_are_those_of_every_version():
    """Golden values: finished trainings hang on them. A normal's are those of float64, rounded once."""
    ids = torch.tensor([5, 2**31 + 3])
    assert rng.words(6, 11, "golden", ids, 3).tolist() == [
        [121749655, 3093776957, 2287127904, 26442837, 3539491721, 1097952112],
        [1421922468, 871098577, 415922333, 251647678, 1485866223, 1799122586],
    ]  # fmt: skip
    normals = (
        "0x1.55722cp+1 0x1.746226p-2 -0x1.45a72cp-5 0x1.a6e12ep-4 -0x1.729342p-1 0x1.1f366cp+0 "
        "0x1.632468p+0 -0x1.034d84p+0 -0x1.e2e416p+0 0x1.11f96cp-1 0x1.78ab76p+0 0x1.0ddee8p+0"
    )
    assert rng.normal(6, 11, "golden", ids, 3).flatten().tolist() == [float.fromhex(x) for x in normals.split()]


@pytest.mark.parametrize("n", [1, 4, 7])
def test_draws_are_counted_by_block_image_and_epoch(n):
    """Every number against plain integers and `math`, to the bit but for a normal's last ones."""
    ids = torch.tensor([5, 2**31 + 3])
    drawn = rng.words(n, 11, "mask", ids, epoch=3)
    assert drawn.dtype == torch.int64 and drawn.tolist() == [words(n, 11, "mask", i, 3) for i in ids.tolist()]
    assert rng.words(n, 11, "mask", ids).tolist() == [words(n, 11, "mask", i, 0) for i in ids.tolist()]
    assert torch.equal(rng.words(n, 11, "mask", ids[:1].to(torch.int32), 3), drawn[:1])
    uniforms = [[(word + 0.5) / 2**32 for word in row] for row in drawn.tolist()]
    assert rng.uniform(n, 11, "mask", ids, 3).tolist() == uniforms
    for draw in (rng.uniform, rng.normal):
        assert torch.equal(draw(n, 11, "mask", ids), draw(n, 11, "mask", ids, 0))
        assert not torch.equal(draw(n, 11, "mask", ids), draw(n, 11, "mask", ids, 1))
    normals = rng.normal(n, 11, "mask", ids, 3)
    assert normals.dtype == torch.float32 and normals.shape == (2, n)
    for row, image in zip(normals.tolist(), ids.tolist(), strict=True):
        half = math.ceil(n / 2)
        u = [(word + 0.5) / 2**32 for word in words(2 * half, 11, "mask", image, 3)]
        pairs = [(math.sqrt(-2 * math.log(a)), 2 * math.pi * b) for a, b in zip(u[:half], u[half:], strict=True)]
        expected = [radius * math.cos(angle) for radius, angle in pairs]
        expected += [radius * math.sin(angle) for radius, angle in pairs]
        assert row == pytest.approx(expected[:n], rel=1e-6)


def test_uniforms_lie_in_the_open_interval(monkeypatch):
    for word, expected in ((0, 2.0**-33), (2**32 - 1, 1 - 2.0**-33)):
        monkeypatch.setattr(rng, "words", lambda *arguments, word=word: torch.tensor([[word]]))
        assert rng.uniform(1, 1, "edge", torch.tensor([0])).item() == expected


def test_draws_depend_on_the_image_not_on_the_batch():
    ids = torch.tensor([7, 3, 100_000, 5])
    together = rng.normal(101, 1, "test", ids, epoch=4)
    for row, i in zip(together, ids, strict=True):
        assert torch.equal(row, rng.normal(101, 1, "test", i[None], epoch=4)[0])
    assert torch.equal(together.flip(0), rng.normal(101, 1, "test", ids.flip(0), epoch=4))


def test_normals_of_many_images_are_drawn_a_few_at_a_time(monkeypatch):
    ids, sizes = torch.arange(5), []
    whole = rng.normal(3, 1, "test", ids)
    draw = rng.box_muller
    monkeypatch.setattr(rng, "box_muller", lambda *a: sizes.append(len(a[3])) or draw(*a))
    monkeypatch.setattr(rng, "CACHED", 6)
    assert torch.equal(rng.normal(3, 1, "test", ids), whole) and sizes == [2, 2, 1]
    monkeypatch.setattr(rng, "CACHED", 1)
    assert torch.equal(rng.normal(3, 1, "test", ids), whole) and sizes[3:] == [1] * 5


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


def test_a_permutation_sorts_its_words_and_holds_every_number_once():
    order = rng.permutation(1000, 1, "p", 2)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert order.tolist() == np.argsort(words(1000, 1, "p", 0, 2), kind="stable").tolist()
    assert rng.permutation(9, 1, "p").tolist() == rng.permutation(9, 1, "p", 0).tolist()
    assert not torch.equal(order, rng.permutation(1000, 1, "p", 1))


def test_images_with_equal_words_keep_their_order(monkeypatch):
    monkeypatch.setattr(rng, "words", lambda *arguments: torch.tensor([[3, 1] * 50]))
    assert rng.permutation(100, 1, "p").tolist() == [*range(1, 100, 2), *range(0, 100, 2)]
