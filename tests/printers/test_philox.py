"""The generator against its authors' known answers, and the golden bits that every stored quine relies on."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from neuralquine.printers import philox
from neuralquine.printers.philox import dyadic_gaussian, philox4x32, words

# From kat_vectors of Random123, the reference implementation of Salmon et al.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    encrypted = philox4x32(np.array([counter], dtype=np.uint32), key)
    assert encrypted.dtype == np.uint32
    assert " ".join(f"{word:08x}" for word in encrypted[0]) == answer


def test_counters_encrypted_together_are_those_encrypted_alone():
    counters = np.arange(40, dtype=np.uint32).reshape(10, 4) * np.uint32(0x01234567)
    together = philox4x32(counters, (1, 2))
    alone = np.concatenate([philox4x32(counter[None], (1, 2)) for counter in counters])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("block", [0, 1, 2**32 - 1, 2**32, 2**32 + 5])
def test_a_word_is_that_of_its_counter_key_and_stream(block):
    seed, stream = 0x0123456789ABCDEF, 7
    counter = np.array([[block % 2**32, block >> 32, stream, 0]], dtype=np.uint32)
    expected = philox4x32(counter, (0x89ABCDEF, 0x01234567))[0]
    assert np.array_equal(words(seed, stream, 4 * block, 4), expected)


@given(start=st.integers(0, 2**40), count=st.integers(0, 50), cut=st.integers(0, 50))
def test_any_stretch_is_made_without_the_ones_before_it(start, count, cut):
    cut = min(cut, count)
    whole = words(3, 1, start, count)
    assert len(whole) == count
    parts = np.concatenate([words(3, 1, start, cut), words(3, 1, start + cut, count - cut)])
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("start", [0, 1, 2, 3, 5, 30])
def test_words_do_not_depend_on_how_many_are_made_in_one_pass(monkeypatch, start):
    whole = words(5, 2, start, 101)
    monkeypatch.setattr(philox, "_CHUNK", 3)
    assert np.array_equal(words(5, 2, start, 101), whole)


def test_seeds_and_streams_differ():
    stretches = [words(seed, stream, 0, 64) for seed in (0, 1, 2**32, 2**64 - 1) for stream in (0, 1, 2**32 - 1)]
    assert len({stretch.tobytes() for stretch in stretches}) == len(stretches)
    assert all(np.mean(a == b) < 0.1 for i, a in enumerate(stretches) for b in stretches[:i])


@pytest.mark.parametrize(("seed", "stream"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_seeds_and_streams_out_of_range_are_refused(seed, stream):
    with pytest.raises(ValueError, match=r"seed must be in \[0, 2\*\*64\)"):
        words(seed, stream, 0, 1)


def test_a_dyadic_entry_counts_the_heads_of_64_coins():
    random = words(9, 1, 6, 20)
    expected = [(int(a).bit_count() + int(b).bit_count() - 32) / 4 for a, b in random.reshape(-1, 2)]
    assert dyadic_gaussian(9, 1, 3, 10).tolist() == expected


def test_dyadic_entries_are_short_binary_fractions_with_the_moments_of_a_normal_number():
    x = dyadic_gaussian(0, 1, 0, 100_000)
    assert np.array_equal(4 * x, np.round(4 * x))
    assert np.abs(x).max() < 8
    # Five standard errors of each moment of 100,000 draws.
    assert abs(x.mean()) < 5 / 316
    assert abs(x.var() - 1) < 5 * 2**0.5 / 316
    assert abs((x**3).mean()) < 5 * 15**0.5 / 316
    assert abs((x**4).mean() - (3 - 1 / 32)) < 5 * 96**0.5 / 316
    neighbors = np.corrcoef(x[:-1], x[1:])[0, 1]
    assert abs(neighbors) < 5 / 316


def test_golden_bits_of_the_projection():
    # If these change, no quine that was ever stored prints itself any longer.
    entries = dyadic_gaussian(0, 1, 0, 1020 * 20)
    assert entries[:8].tolist() == [-0.75, -0.5, 2.5, 0.25, 1.25, 0.5, -1.25, 0.25]
    assert hashlib.sha256(entries.astype("<f8").tobytes()).hexdigest() == "0e233d9bc91e8691ab3c83aa282798bec428138919cc27d5288b325fc584128e"
