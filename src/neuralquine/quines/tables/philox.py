"""Philox4x32-10, a counter-based random generator: the same integers on every machine and in every version.

Fixed tables (projections, probes) are regenerated from a seed instead of being stored, so they must not
depend on the platform, the library version or the order in which they are asked for. Only 32-bit integer
multiplications and exclusive-ors are used. The Gaussian below is made of integers too: a count of coin
flips, scaled by a power of two, so every entry is a short binary fraction and no logarithm is involved.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_CHUNK = 1 << 14  # counters per pass: six arrays of 128 KiB stay in the cache
_GAUSSIANS = 1 << 17  # numbers per pass


class Stream(IntEnum):
    """The independent stream of a seed that each fixed table is drawn from. A number, once used, keeps its meaning.

    Numbers 5 and 6 were given twice before this list existed; no quine has both tables of a pair. New ones begin at 12.
    """

    GAUSSIAN = 1  # the dense expansion
    READOUT = 2  # of a trunk's features to the code
    RECIPE_PROBE = 3
    OTHER_PROBES = 4  # that an exact search may try
    SIGNS = 5  # the Hadamard expansion
    QUERIES = 5  # a queried quine's projection
    ANCHOR = 6
    TAPE_START = 6  # the fixed part of a taped body's weights
    TAPE_ENTRIES = 7
    TAPE_SIGNS = 8
    TAPE_PROBE = 9
    AUXILIARY_IMAGES = 10  # the projection of the paper's joint loss
    PHASES = 11  # the offsets of a code's grid


def round_keys(key: tuple[int, int]) -> list[tuple[int, int]]:
    """The two words that each of the ten rounds adds."""
    return [((key[0] + turn * _WEYL[0]) & 0xFFFFFFFF, (key[1] + turn * _WEYL[1]) & 0xFFFFFFFF) for turn in range(10)]


def philox4x32(counters: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Encrypt counters ``(N, 4)`` with a two-word key in ten rounds.

    Args:
        counters: ``(N, 4)`` 32-bit counters.
        key: two 32-bit words.

    Returns:
        ``(N, 4)`` random 32-bit words.
    """
    c0, c1, c2, c3 = (counters[:, i].astype(np.uint64) for i in range(4))
    product0, product1 = np.empty_like(c0), np.empty_like(c0)
    for k0, k1 in round_keys(key):  # all in place: new arrays would take five times as long
        np.multiply(c0, _MULTIPLIERS[0], out=product0)
        np.multiply(c2, _MULTIPLIERS[1], out=product1)
        np.right_shift(product1, _SHIFT, out=c0)
        np.bitwise_xor(c0, c1, out=c0)
        np.bitwise_xor(c0, np.uint64(k0), out=c0)
        np.bitwise_and(product1, _MASK, out=c1)
        np.right_shift(product0, _SHIFT, out=c2)
        np.bitwise_xor(c2, c3, out=c2)
        np.bitwise_xor(c2, np.uint64(k1), out=c2)
        np.bitwise_and(product0, _MASK, out=c3)
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(seed: int, stream: int, start: int, count: int) -> NDArray[np.uint32]:
    """The 32-bit words ``start .. start + count`` of one stream of a seed.

    Word ``i`` is word ``i mod 4`` of the block with counter ``(i // 4, stream)``; so any stretch can be
    made without the ones before it.

    Args:
        seed: 0 to 2**64 - 1, the key.
        stream: 0 to 2**32 - 1; different streams of one seed are independent.
        start: first word.
        count: number of words.

    Raises:
        ValueError: a seed or stream out of range.
    """
    if not 0 <= seed < 2**64 or not 0 <= stream < 2**32:
        raise ValueError(f"seed must be in [0, 2**64) and stream in [0, 2**32), got {seed}, {stream}")
    first, last = start // 4, (start + count + 3) // 4
    made = np.empty((max(0, last - first), 4), dtype=np.uint32)
    for block in range(first, last, _CHUNK):
        index = np.arange(block, min(block + _CHUNK, last), dtype=np.uint64)
        counters = np.zeros((len(index), 4), dtype=np.uint32)
        counters[:, 0] = (index & _MASK).astype(np.uint32)
        counters[:, 1] = (index >> _SHIFT).astype(np.uint32)
        counters[:, 2] = stream
        made[block - first : block - first + len(index)] = philox4x32(counters, (seed & 0xFFFFFFFF, seed >> 32))
    return made.reshape(-1)[start - 4 * first : start - 4 * first + count]


def dyadic_gaussian(seed: int, stream: int, start: int, count: int) -> NDArray[np.float64]:
    """Numbers of mean 0 and variance exactly 1 on the grid 1/4: 64 coin flips each.

    ``x = (popcount(64 random bits) - 32) / 4``: binomial, within 0.05 of the normal distribution function,
    excess kurtosis -1/32. As the entries are multiples of 1/4 below 8, sums of their products with short
    binary fractions are exact in floating point, in any order.

    Returns:
        ``(count,)`` float64.
    """
    table = np.empty(count, dtype=np.float64)
    for first in range(0, count, _GAUSSIANS):  # so that the words of a large table take no memory beside it
        size = min(_GAUSSIANS, count - first)
        bits = np.bitwise_count(words(seed, stream, 2 * (start + first), 2 * size)).reshape(-1, 2)
        table[first : first + size] = (bits.sum(axis=1, dtype=np.int64) - 32) / 4.0
    return table
