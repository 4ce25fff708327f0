"""The Hadamard expansion on a GPU, in Triton: each weight is written once, from signs that are made in registers.

A program takes ``counters`` counters of Philox. Each gives four words, the signs of 128 weights: 128 / D blocks of D. With
``H_D = H_(D / 32) (x) H_32`` the sums over 32 signs are a product on the tensor cores, ``(counters, 32) (32, 32)`` in float16
with sums in float32, and the rest are sums and differences of whole tiles. :mod:`.fused` says which codes are exact so.
"""

from __future__ import annotations

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def philox(c0, c1, purpose, keys):
    """Ten rounds of Philox4x32 of the counters ``(c0, c1, purpose, 0)``; ``keys`` points to the twenty round keys.

    The rounds are a loop, and not written out, because Triton would then repeat all of them in every thread that needs a word:
    32 times over. What a loop computes it computes once, and hands the words on through shared memory.
    """
    c2 = c0 * 0 + purpose
    c3 = c0 * 0
    for turn in range(10):
        k0 = tl.load(keys + 2 * turn).to(tl.uint32, bitcast=True)
        k1 = tl.load(keys + 2 * turn + 1).to(tl.uint32, bitcast=True)
        high0, low0 = tl.umulhi(c0, c0 * 0 + 0xD2511F53), c0 * 0xD2511F53
        high1, low1 = tl.umulhi(c2, c2 * 0 + 0xCD9E8D57), c2 * 0xCD9E8D57
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return c0, c1, c2, c3


@triton.jit
def half(code, first, lanes, size, inverse, block: tl.constexpr, part: tl.constexpr):
    """The 32 numbers of the code from ``first`` on, times ``inverse``, as float16: the nearest, or that of what it leaves."""
    lane = (first + lanes) % block
    numbers = tl.load(code + lane, mask=lane < size, other=0.0) * inverse
    nearest = numbers.to(tl.float16)
    return nearest if part == 0 else (numbers - nearest.to(tl.float32)).to(tl.float16)


@triton.jit
def signed(word, numbers, lanes):
    """32 numbers with the signs of every word: ``(counters,)`` to ``(counters, 32)``."""
    minus = (word[:, None] >> lanes[None, :].to(tl.uint32)) & 1
    return tl.where(minus != 0, -numbers[None, :], numbers[None, :])


@triton.jit
def summed(word, code, first, lanes, matrix, size, inverse, block: tl.constexpr, parts: tl.constexpr):
    """``H_32`` times the signed numbers; those that float16 does not hold are the sum of two parts that it does."""
    sums = tl.dot(signed(word, half(code, first, lanes, size, inverse, block, 0), lanes), matrix)
    if parts == 2:
        sums += tl.dot(signed(word, half(code, first, lanes, size, inverse, block, 1), lanes), matrix)
    return sums


@triton.jit
def stored(sums, target, place, low, high, gain, mean, whole, kind: tl.constexpr):
    """Write ``mean + gain sums`` from ``place`` on, as far as it lies in the tensor: where all does, nothing is compared."""
    values = (sums * gain + mean).to(kind)
    if whole:
        tl.store(tl.multiple_of(target + place, (1, 16)), values)
    else:
        tl.store(target + place, values, mask=(place >= low) & (place < high))


@triton.jit
def print_tiles(
    stretches,
    scales,
    owners,
    keys,
    code,
    hadamard,
    unit,
    inverse,
    size,
    purpose: tl.constexpr,
    counters: tl.constexpr,
    block: tl.constexpr,
    parts: tl.constexpr,
    kind: tl.constexpr,
):
    """Print one tile of 128 ``counters`` weights from the ``size`` numbers at ``code``; ``owners`` names its stretch.

    A stretch is a row of (address, number of its first weight, number of weights, number of its first tile), with a gain and
    a mean in ``scales``. The code's numbers are multiplied in units of a power of two, ``unit``, of which ``inverse`` is the inverse.
    """
    # long because a kernel has one place for its parameters, and Triton no way to keep four tiles in a list
    tile = tl.program_id(0)
    owner = tl.load(owners + tile)
    address = tl.load(stretches + 4 * owner)
    first = tl.load(stretches + 4 * owner + 1)
    count = tl.load(stretches + 4 * owner + 2)
    start = tl.load(stretches + 4 * owner + 3)
    gain = tl.load(scales + 2 * owner) * unit
    mean = tl.load(scales + 2 * owner + 1)
    begin = first // 128 + (tile - start) * counters
    counter = begin + tl.arange(0, counters)
    w0, w1, w2, w3 = philox((counter & 0xFFFFFFFF).to(tl.uint32), (counter >> 32).to(tl.uint32), purpose, keys)
    lanes = tl.arange(0, 32)
    matrix = tl.load(hadamard + 32 * lanes[:, None] + lanes[None, :])
    y0 = summed(w0, code, 0, lanes, matrix, size, inverse, block, parts)
    y1 = summed(w1, code, 32, lanes, matrix, size, inverse, block, parts)
    before = begin * 128 - first  # from the start of the tensor to that of the tile; within it 32 bits are enough
    target = address.to(tl.pointer_type(kind)) + before
    low = tl.maximum(-before, 0).to(tl.int32)
    high = tl.minimum(count - before, counters * 128).to(tl.int32)
    whole = (low == 0) & (high == counters * 128) & ((address + before * (kind.primitive_bitwidth // 8)) % 16 == 0)
    place = 128 * tl.arange(0, counters)[:, None] + lanes[None, :]
    if block <= 32:
        stored(y0, target, place, low, high, gain, mean, whole, kind)
        stored(y1, target, place + 32, low, high, gain, mean, whole, kind)
        y2 = summed(w2, code, 64, lanes, matrix, size, inverse, block, parts)
        y3 = summed(w3, code, 96, lanes, matrix, size, inverse, block, parts)
        stored(y2, target, place + 64, low, high, gain, mean, whole, kind)
        stored(y3, target, place + 96, low, high, gain, mean, whole, kind)
    elif block == 64:
        stored(y0 + y1, target, place, low, high, gain, mean, whole, kind)
        stored(y0 - y1, target, place + 32, low, high, gain, mean, whole, kind)
        y2 = summed(w2, code, 64, lanes, matrix, size, inverse, block, parts)
        y3 = summed(w3, code, 96, lanes, matrix, size, inverse, block, parts)
        stored(y2 + y3, target, place + 64, low, high, gain, mean, whole, kind)
        stored(y2 - y3, target, place + 96, low, high, gain, mean, whole, kind)
    else:
        y2 = summed(w2, code, 64, lanes, matrix, size, inverse, block, parts)
        y3 = summed(w3, code, 96, lanes, matrix, size, inverse, block, parts)
        stored((y0 + y1) + (y2 + y3), target, place, low, high, gain, mean, whole, kind)
        stored((y0 - y1) + (y2 - y3), target, place + 32, low, high, gain, mean, whole, kind)
        stored((y0 + y1) - (y2 + y3), target, place + 64, low, high, gain, mean, whole, kind)
        stored((y0 - y1) - (y2 - y3), target, place + 96, low, high, gain, mean, whole, kind)


@triton.jit
def pull_tiles(
    stretches,
    scales,
    owners,
    keys,
    hadamard,
    sums,
    tiles,
    purpose: tl.constexpr,
    counters: tl.constexpr,
    rounds: tl.constexpr,
    words: tl.constexpr,
    kind: tl.constexpr,
):
    """Multiply ``rounds`` neighboring tiles of derivatives by the Jacobian of the expansion: a row of 128 in ``sums``.

    The sums are in float32 (tf32 is forbidden); they are of derivatives, which nobody asks for bits of.
    """
    # long because a kernel has one place for its parameters, and Triton no way to keep four tiles in a list
    lanes = tl.arange(0, 32)
    matrix = tl.load(hadamard + 32 * lanes[:, None] + lanes[None, :]).to(tl.float32)
    p0 = tl.zeros((32,), tl.float32)
    p1 = tl.zeros((32,), tl.float32)
    p2 = tl.zeros((32,), tl.float32)
    p3 = tl.zeros((32,), tl.float32)
    for turn in range(rounds):
        tile = tl.program_id(0) * rounds + turn
        owner = tl.load(owners + tile, mask=tile < tiles, other=0)
        address = tl.load(stretches + 4 * owner)
        first = tl.load(stretches + 4 * owner + 1)
        count = tl.load(stretches + 4 * owner + 2)
        start = tl.load(stretches + 4 * owner + 3)
        gain = tl.load(scales + 2 * owner)
        count = tl.where(tile < tiles, count, 0)
        counter = first // 128 + (tile - start) * counters + tl.arange(0, counters)
        low = (counter & 0xFFFFFFFF).to(tl.uint32)
        high = (counter >> 32).to(tl.uint32)
        w0, w1, w2, w3 = philox(low, high, purpose, keys)
        place = counter * 128 - first
        g0 = given(address, place, lanes, count, kind)
        g1 = given(address, place + 32, lanes, count, kind)
        g2 = given(address, place + 64, lanes, count, kind)
        g3 = given(address, place + 96, lanes, count, kind)
        if words == 2:
            g0, g1, g2, g3 = g0 + g1, g0 - g1, g2 + g3, g2 - g3
        elif words == 4:
            a0, a1, b0, b1 = g0 + g1, g0 - g1, g2 + g3, g2 - g3
            g0, g1, g2, g3 = a0 + b0, a1 + b1, a0 - b0, a1 - b1
        p0 += gain * pulled(g0, w0, lanes, matrix)
        p1 += gain * pulled(g1, w1, lanes, matrix)
        p2 += gain * pulled(g2, w2, lanes, matrix)
        p3 += gain * pulled(g3, w3, lanes, matrix)
    row = sums + tl.program_id(0) * 128
    tl.store(row + lanes, p0)
    tl.store(row + 32 + lanes, p1)
    tl.store(row + 64 + lanes, p2)
    tl.store(row + 96 + lanes, p3)


@triton.jit
def given(address, place, lanes, count, kind: tl.constexpr):
    """The derivatives from ``place`` on, zeros outside of the tensor: ``(counters, 32)`` in float32."""
    where = place[:, None] + lanes[None, :]
    source = address.to(tl.pointer_type(kind)) + where
    return tl.load(source, mask=(where >= 0) & (where < count), other=0.0).to(tl.float32)


@triton.jit
def pulled(rows, word, lanes, matrix):
    """``sum_b s_b (H_32 g_b)`` over the rows of a tile."""
    turned = tl.dot(rows, matrix, input_precision="ieee")
    minus = (word[:, None] >> lanes[None, :].to(tl.uint32)) & 1
    return tl.sum(tl.where(minus != 0, -turned, turned), axis=0)
