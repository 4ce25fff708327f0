"""The sums of a CPU's printing as a loop that Numba compiles, where it is installed: the extra ``fast``.

The eight rows of a block are read from the cache and their sum is written once. Numba takes a second to be imported and to compile
this; it could keep what it compiled in a file, for a fifth of that second.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK, _EACH = 64, 8  # the weights of a block and the rows that are summed: those of every large network


@cache
def compiled_sum(block: int) -> Callable[[Tensor, float, Tensor, Tensor], None] | None:
    """What adds up rows for blocks of a size; None without Numba, and for other sizes than that of large networks."""
    loop = _loop() if block == _BLOCK else None
    if loop is None:
        return None

    def compiled(table: Tensor, mean: float, index: Tensor, values: Tensor) -> None:
        rows, target = table.numpy(), values.numpy()
        places = index.numpy().view(np.uint16)  # without a sign it is 1.1 times as fast
        step = -(-len(places) // torch.get_num_threads())
        cuts = [slice(first, first + step) for first in range(0, len(places), step)]
        shift = rows.dtype.type(mean)
        if len(cuts) == 1:
            loop(rows, shift, places, target)
            return
        with ThreadPoolExecutor(len(cuts)) as pool:
            for done in [pool.submit(loop, rows, shift, places[cut], target[cut]) for cut in cuts]:
                done.result()

    return compiled


def _loop() -> Any:
    try:
        from numba import njit
    except ImportError:
        return None

    @njit(nogil=True)
    def loop(table: Any, mean: Any, index: Any, values: Any) -> None:
        for b in range(index.shape[0]):
            r0, r1, r2, r3 = table[index[b, 0]], table[index[b, 1]], table[index[b, 2]], table[index[b, 3]]
            r4, r5, r6, r7 = table[index[b, 4]], table[index[b, 5]], table[index[b, 6]], table[index[b, 7]]
            to = values[b]
            for k in range(_BLOCK):
                to[k] = ((r0[k] + r1[k]) + (r2[k] + r3[k])) + ((r4[k] + r5[k]) + (r6[k] + r7[k]))
            if mean != 0:
                for k in range(_BLOCK):
                    to[k] += mean

    return loop
