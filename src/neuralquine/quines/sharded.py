"""One quine over several processes: its weights are sharded by FSDP2, and each rank prints only its own part.

At rest every rank holds a slice of dim 0 of each tensor; the tensors of a block are gathered while that block computes.
All ranks print the code of rank 0, so that they hold parts of one quine; and as the code lies on a grid, its bits do not
depend on how many ranks there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import NeuralQuineError
from .printers.base import Slot
from .quine import Quine


@contextmanager
def group(device: str) -> Iterator[int]:
    """Join the other processes that ``torchrun`` started, and return the rank of this one."""
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield dist.get_rank()
        dist.barrier()
    finally:
        dist.destroy_process_group()


class ShardedQuine(Quine):
    """A quine whose weights are spread over the ranks; :func:`shard` makes one.

    Args:
        whole: the quine that it takes over; its trunk has been handed to FSDP2 and must not be used otherwise.
    """

    def __init__(self, whole: Quine) -> None:
        nn.Module.__init__(self)  # not Quine's constructor: the parts are those of the whole quine
        self.__dict__.update(whole.__dict__)

    @property
    def in_place(self) -> bool:
        """True: no rank has room for a second copy of the weights."""
        return True

    def stored_pieces(self) -> list[tuple[Slot, Tensor]]:
        """This rank's part of every tensor, and where in the tensor it lies."""
        pieces = []
        for i, p in enumerate(self.weights):
            local, first = _local(p)
            pieces.append((Slot(i, first, local.numel()), local))
        return pieces

    def real_code(self, theta: Tensor | None = None) -> Tensor:
        """The code that rank 0 computes, given to all ranks."""
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
    """Spread an in-place quine's weights over the ranks, block by block of its module lists.

    The quine handed in shares its trunk with the sharded one and is of no use afterwards.
    """
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
    return ShardedQuine(quine)


@torch.no_grad()
def gather(sharded: ShardedQuine, whole: Quine | None) -> None:
    """Copy every weight from the ranks that hold it into an ordinary quine on rank 0, tensor by tensor."""
    from torch.distributed.tensor import DTensor

    targets: list[Any] = whole.weights if whole is not None else [None] * len(sharded.weights)
    for part, target in zip(sharded.weights, targets, strict=True):
        full = part.full_tensor() if isinstance(part, DTensor) else part
        if target is not None:
            target.copy_(full)
