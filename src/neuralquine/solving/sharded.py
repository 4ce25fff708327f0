"""``solve`` over several processes, run under ``torchrun``: plain regeneration of one quine that no process holds whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
import torch.distributed as dist

from ..errors import BadOption, NeuralQuineError
from ..quines.measure import measure
from ..quines.networks.running import usable
from ..quines.quine import Quine
from ..quines.sharded import gather, group, shard
from .exact import LATTICE
from .grids import GridQuine, Repels, regenerate
from .judge import finish
from .loop import Search, Stop, Trace
from .maps import ReducedMap
from .search import Found
from .solution import Solution, Status


def solve_sharded(make: Callable[[], Quine], seed: int, device: str) -> tuple[Quine, Solution] | None:
    """Regenerate over all ranks until every rank prints the very weights it holds; rank 0 judges the whole quine.

    Args:
        make: builds the problem, the same on every rank: anchored, with a grid.
        seed: determines the order in which coordinates settle.

    Returns:
        On rank 0 the quine, gathered from the ranks, and its solution; on the other ranks None.

    Raises:
        BadOption: the quine is not anchored or has no grid.
        NeuralQuineError: the gathered quine does not print the bits that the ranks printed.
    """
    with group(str(usable(device))) as rank:
        quine = make().to(device)
        if quine.code_bits is None or quine.skip is None:
            raise BadOption("several processes solve anchored quines on a grid: give skip and code_bits")
        sharded = shard(quine)
        f = ReducedMap(sharded)
        trace = Trace(f, None)
        found = None
        with suppress(Repels):
            found = regenerate(sharded, f, quine.code_bits, torch.Generator().manual_seed(seed % 2**63))
        whole = make().to(device) if rank == 0 else None
        gather(sharded, whole)
        if whole is None:
            return None
        return whole, _finished(whole, found, f.evaluations, trace, seed)


def _finished(whole: Quine, found: GridQuine | None, evaluations: int, trace: Trace, seed: int) -> Solution:
    """The solution of the gathered quine, measured in this process alone."""
    detail = f"plain regeneration by {dist.get_world_size()} ranks on the grid 2^-{whole.code_bits}"
    if found is not None:
        detail += f", margin {found.margin:.3g} of a step"
        if differing := measure(whole).differing_weights:
            raise NeuralQuineError(f"the ranks' parts differ from one process in {differing} weights")
    point = found.code if found else whole.code()
    f = ReducedMap(whole)
    f.evaluations = evaluations
    status = Status.CONVERGED if found else Status.NOT_EXACT
    search = Search(point[None], point.new_zeros(1), point[None], [status], trace.steps)
    return finish(whole, Found(f, [(LATTICE, search)], trace, detail, exact=True), Stop(), seed, throw=False)
