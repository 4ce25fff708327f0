"""Printing on a CPU as a loop that Numba compiles, where it is installed: the extra ``fast``.

``H_64`` is the Kronecker product of ``H_8`` with itself, so that row ``256 j + v`` of the table of signs is ``(H_8)_j`` times its own
first eight numbers. A block is ``H_8`` times an 8 x 8 matrix of such eighths of rows: 24 additions of eight numbers, from a table of
64 kB. It is written past the cache, whose lines would be read first. Numba takes a second to be imported and to compile this.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK = 64  # weights: a block of every large network
_PAST = 1 << 14  # blocks from which on the cache is passed by: fewer may be wanted again at once


@cache
def compiled_sum(block: int) -> Callable[[Tensor, float, Tensor, Tensor], None] | None:
    """What adds up rows for blocks of a size; None without Numba, and for other sizes than that of large networks."""
    loops = _loops() if block == _BLOCK else None
    if loops is None:
        return None

    def compiled(table: Tensor, mean: float, index: Tensor, values: Tensor) -> None:
        eighths, target, places = _aligned(table[:, :8].numpy()), values.numpy(), index.numpy()
        past = len(places) >= _PAST and target.ctypes.data % (8 * target.itemsize) == 0
        loop, shift = loops[past], target.dtype.type(mean)
        step = -(-len(places) // torch.get_num_threads())
        cuts = [slice(first, first + step) for first in range(0, len(places), step)]
        if len(cuts) == 1:
            loop(eighths, shift, places, target)
            return
        with ThreadPoolExecutor(len(cuts)) as pool:
            for done in [pool.submit(loop, eighths, shift, places[cut], target[cut]) for cut in cuts]:
                done.result()

    return compiled


def _aligned(rows: np.ndarray) -> np.ndarray:
    """A copy that starts where a line of the cache does, so that no eighth lies in two."""
    memory = np.empty(rows.size + 64, rows.dtype)
    start = -memory.ctypes.data % 64 // rows.itemsize
    copy = memory[start : start + rows.size].reshape(rows.shape)
    copy[:] = rows
    return copy


def _loops() -> list[Any] | None:
    """The loop that stores as usual, and the one that stores past the cache."""
    try:
        from numba import njit
    except ImportError:
        return None

    def loop_of(past: bool) -> Any:
        block = _block_printer(past)

        @njit(nogil=True)
        def loop(eighths: Any, mean: Any, index: Any, values: Any) -> None:
            for b in range(index.shape[0]):
                block(eighths, mean, index[b], values[b])

        return loop

    return [loop_of(False), loop_of(True)]


def _block_printer(past: bool) -> Any:
    """Print one block in LLVM's vectors of eight numbers; Numba itself offers neither them nor stores past the cache."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def block(_: Any, eighths: Any, mean: Any, index: Any, values: Any) -> Any:
        def instructions(context: Any, build: Any, signature: Any, given: Any) -> Any:
            table, places, target = (
                context.make_array(signature.args[k])(context, build, given[k]).data for k in (0, 2, 3)
            )
            number = context.get_data_type(eighths.dtype)
            eight, long, size = ir.VectorType(number, 8), ir.IntType(64), eighths.dtype.bitwidth // 8

            def at(pointer: Any, place: Any) -> Any:
                return build.bitcast(build.gep(pointer, [place]), eight.as_pointer())

            rows = []
            for j in range(8):
                row = build.zext(build.load(build.gep(places, [ir.Constant(long, j)])), long)
                rows.append(build.load(at(table, build.mul(row, ir.Constant(long, 8))), align=8 * size))
            for step in (1, 2, 4):  # H_8 by its butterflies
                for j in (j for j in range(8) if not j & step):
                    a, b = rows[j], rows[j | step]
                    rows[j], rows[j | step] = build.fadd(a, b), build.fsub(a, b)
            shift = ir.Constant(eight, ir.Undefined)
            for k in range(8):
                shift = build.insert_element(shift, given[1], ir.Constant(ir.IntType(32), k))
            for j, row in enumerate(rows):
                place = at(target, ir.Constant(long, 8 * j))
                store = build.store(build.fadd(row, shift), place, align=8 * size if past else size)
                if past:
                    store.set_metadata("nontemporal", build.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
            return context.get_dummy_value()

        return types.void(eighths, mean, index, values), instructions

    return block
