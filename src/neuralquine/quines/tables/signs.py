"""The Hadamard expansion's table in integers: a Hadamard matrix whose columns change sign from block to block.

Weight ``b D + i`` is expanded with row ``i`` of ``H_D diag(s_b)``: ``D`` is the code's size rounded up to a power of two,
``H_D`` the Hadamard matrix of Sylvester and ``s_b`` a vector of random signs, ``D`` bits of Philox.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .philox import Stream, words


def block_size(code_size: int) -> int:
    """D: the next power of two, at least 8, so that the signs of a block fill whole bytes."""
    return max(8, 1 << (code_size - 1).bit_length())


def sign_bytes(seed: int, size: int, first: int, count: int) -> NDArray[np.uint8]:
    """The signs of the blocks ``first .. first + count``: ``(count, D / 8)`` bytes, a set bit is a minus, low bit first."""
    per_block = size // 8
    start, stop = first * per_block, (first + count) * per_block
    begin = start // 4
    stretch = words(seed, Stream.SIGNS, begin, (stop + 3) // 4 - begin).astype("<u4").view(np.uint8)
    return stretch[start - 4 * begin : stop - 4 * begin].reshape(count, per_block)


def hadamard(size: int) -> NDArray[np.float64]:
    """Sylvester's matrix ``H[i, j] = (-1)^popcount(i & j)``, symmetric, ``(D, D)``."""
    index = np.arange(size, dtype=np.uint64)
    return 1.0 - 2.0 * (np.bitwise_count(index[:, None] & index[None]) & 1).astype(np.float64)


def signs(packed: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Bytes ``(n, D / 8)`` as +1 and -1, ``(n, D)``."""
    return 1.0 - 2.0 * np.unpackbits(packed, axis=1, bitorder="little").astype(np.float64)


def sign_matrix(seed: int, parameters: int, code_size: int) -> NDArray[np.float64]:
    """All rows at once, ``(P, d)``: for proofs and tests of small networks."""
    size = block_size(code_size)
    blocks = -(-parameters // size)
    s = signs(sign_bytes(seed, size, 0, blocks))
    rows = (hadamard(size)[None] * s[:, None, :]).reshape(blocks * size, size)
    return rows[:parameters, :code_size]
