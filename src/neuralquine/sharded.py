"""One quine over several processes: the weights sharded by FSDP2, each rank printing only its own part.

Run under ``torchrun``. At rest every rank holds a slice of dim 0 of each tensor; a block's tensors are gathered while it
computes. Rank 0's code is what all ranks print, so the ranks hold parts of one quine; and as the code lies on a grid,
its bits do not depend on how many ranks there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .errors import NeuralQuineError
from .printers.hadamard import Slot
from .quine import Quine


def launched() -> bool:
    """Whether this process is one of several that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


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
