"""One quine over several processes: the weights sharded by FSDP2, each rank printing only its own part.

Run under ``torchrun``. At rest every rank holds a slice of dim 0 of each tensor; a block's tensors are gathered while it
computes. Rank 0's code is what all ranks print, so the ranks hold parts of one quine; and as the code lies on a grid,
its bits do not depend on how many ranks there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import NeuralQuineError
from ..quines.measure import measure
from ..quines.networks.running import usable
from ..quines.printers.hadamard import Slot
from ..quines.quine import Quine
from .exact import regenerate
from .judge import judge
from .loop import Search, Stop, Trace
from .maps import ReducedMap
from .solution import Solution, Status


@contextmanager
def group(device: str) -> Iterator[int]:
    """Join the other processes; gives this one's rank."""
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield dist.get_rank()
        dist.barrier()
    finally:
        dist.destroy_process_group()


class ShardedQuine(Quine):
    """A quine whose weights are spread over the ranks; made from an ordinary one by :func:`shard`."""

    @property
    def in_place(self) -> bool:
        return True

    def stored_pieces(self) -> list[tuple[Slot, Tensor]]:
        pieces = []
        for i, p in enumerate(self.weights):
            local, first = _local(p)
            pieces.append((Slot(i, first, local.numel()), local))
        return pieces

    def real_code(self, theta: Tensor | None = None) -> Tensor:
        if theta is not None:
            raise NeuralQuineError("a sharded quine runs at its own weights only")
        c = super().real_code()
        dist.broadcast(c, 0)
        return c


def _local(p: nn.Parameter) -> tuple[Tensor, int]:
    """This rank's part of a parameter as a flat view, and where in the flattened whole it begins."""
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    if not isinstance(p, DTensor):
        return p.detach().view(-1), 0
    local = p.to_local().detach()
    _, offset = compute_local_shape_and_global_offset(p.shape, p.device_mesh, p.placements)
    row = p[0:1].numel() if p.ndim > 1 else 1
    return local.reshape(-1) if local.numel() == 0 else local.view(-1), offset[0] * row


def shard(quine: Quine) -> ShardedQuine:
    """Spread an in-place quine's weights over the ranks, block by block of its module lists."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if not quine.printer.chunked:
        raise NeuralQuineError(f"{quine.parameter_count} weights are not worth sharding: run it in one process")
    mesh = init_device_mesh(quine.trunk_device.type, (dist.get_world_size(),))
    for module in quine.trunk.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(quine.trunk, mesh=mesh, reshard_after_forward=True)
    quine.__class__ = ShardedQuine
    assert isinstance(quine, ShardedQuine)
    return quine


@torch.no_grad()
def gather(sharded: ShardedQuine, whole: Quine | None) -> None:
    """Copy every weight from the ranks that hold it into an ordinary quine on rank 0, tensor by tensor."""
    from torch.distributed.tensor import DTensor

    targets: list[Any] = whole.weights if whole is not None else [None] * len(sharded.weights)
    for part, target in zip(sharded.weights, targets, strict=True):
        full = part.full_tensor() if isinstance(part, DTensor) else part
        if target is not None:
            target.copy_(full)


def solve_sharded(make: Callable[[], Quine], seed: int, device: str) -> tuple[Quine, Solution] | None:
    """Regenerate over all ranks until every rank prints the very weights it holds; judged whole, on rank 0.

    Args:
        make: builds the problem, the same on every rank: anchored, with a grid.
        seed: of the order in which coordinates settle.

    Returns:
        On rank 0 the quine, gathered from the ranks, and what was found; elsewhere None.
    """
    with group(str(usable(device))) as rank:
        quine = make().to(device)
        if quine.code_bits is None or quine.skip is None:
            raise NeuralQuineError("several processes solve anchored quines on a grid: give skip and code_bits")
        sharded = shard(quine)
        f = ReducedMap(sharded)
        trace = Trace(f, None)
        found = regenerate(sharded, f, quine.code_bits, torch.Generator().manual_seed(seed % 2**63))
        whole = make().to(device) if rank == 0 else None
        gather(sharded, whole)
        if whole is None:
            return None
        point = found.code if found else whole.code()
        status = Status.CONVERGED if found else Status.NOT_EXACT
        detail = f"plain regeneration by {dist.get_world_size()} ranks on the grid 2^-{quine.code_bits}"
        if found is not None:
            detail += f", margin {found.margin:.3g} of a step"
        alike = measure(whole)
        if found is not None and alike.differing_weights:
            raise NeuralQuineError(f"the ranks' parts differ from one process in {alike.differing_weights} weights")
        one = ReducedMap(whole)
        one.evaluations = f.evaluations
        search = Search(point[None], point.new_zeros(1), point[None], [status], trace.steps)
        solution = judge(whole, one, [("lattice", search)], Stop(), trace, seed, detail=detail)
        whole.solution = solution
        return whole, solution
