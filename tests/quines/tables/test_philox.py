"""The generator: published answers, the same numbers however they are asked for, and the numbers of today for ever."""

import numpy as np
import pytest

from neuralquine.quines.tables.philox import dyadic_gaussian, philox4x32, words

# Random123, kat_vectors: counter, key, answer.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def numbers(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_published_answers(counter, key, answer):
    out = philox4x32(np.array([numbers(counter)], dtype=np.uint32), tuple(numbers(key)))
    assert out.dtype == np.uint32
    assert out[0].tolist() == numbers(answer)


def test_seed_and_stream_are_key_and_counter():
    first = words(0, 0, 0, 4)
    assert first.tolist() == numbers(KNOWN[0][2])
    seed, stream, block = 0xA4093822 << 32 | 0x13198A2E, 7, 2**33 + 5
    expected = philox4x32(np.array([[5, 2, stream, 0]], dtype=np.uint32), (0x13198A2E, 0xA4093822))
    assert words(seed, stream, 4 * block, 4).tolist() == expected[0].tolist()


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunks_do_not_matter(monkeypatch, chunk):
    whole = words(11, 2, 0, 60)
    monkeypatch.setattr("neuralquine.quines.tables.philox._CHUNK", chunk)
    assert np.array_equal(words(11, 2, 0, 60), whole)


@pytest.mark.parametrize(("start", "count"), [(0, 0), (0, 1), (1, 2), (3, 6), (7, 33), (59, 1)])
def test_any_stretch_can_be_made_without_the_ones_before(start, count):
    assert np.array_equal(words(11, 2, start, count), words(11, 2, 0, 60)[start : start + count])
    assert np.array_equal(dyadic_gaussian(11, 2, start, count), dyadic_gaussian(11, 2, 0, 60)[start : start + count])


def test_seeds_and_streams_differ():
    tables = [dyadic_gaussian(seed, stream, 0, 500) for seed in (0, 1, 2**32) for stream in (0, 1)]
    for i, a in enumerate(tables):
        for b in tables[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.2


@pytest.mark.parametrize(("seed", "stream"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_out_of_range(seed, stream):
    with pytest.raises(ValueError, match="seed must be in"):
        words(seed, stream, 0, 1)


def test_golden_numbers():
    # A change here changes every saved quine.
    assert dyadic_gaussian(0, 1, 0, 8).tolist() == [-0.75, -0.5, 2.5, 0.25, 1.25, 0.5, -1.25, 0.25]
    assert dyadic_gaussian(2**64 - 1, 3, 10**12, 4).tolist() == [0.25, -0.75, 1.75, 0.25]


def test_moments_and_grid():
    x = dyadic_gaussian(0, 9, 0, 200_000)
    assert np.array_equal(x, np.round(4 * x) / 4)
    assert np.abs(x).max() < 8
    assert abs(x.mean()) < 4 / np.sqrt(len(x))
    assert abs(x.var() - 1) < 4 * np.sqrt(2 / len(x))
    assert abs((x**4).mean() - (3 - 1 / 32)) < 4 * np.sqrt(96 / len(x))
