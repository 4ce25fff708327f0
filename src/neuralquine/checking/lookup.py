"""Does the network keep a copy of the answer outside of its weights: of all weights, or of the code they come from?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..quines.quine import Quine
from .finding import Finding
from .outside import outside_numbers

_WINDOWS = 5e8  # products that the search for a scaled copy may take: some seconds


@torch.no_grad()
def signs_outside(quine: Quine) -> Finding | None:
    """Whether the signs of the code stand outside of the weights, as numbers or as bits."""
    signs = quine.code().double().cpu()
    packed = np.packbits((signs > 0).numpy()).astype(np.float64)
    for name, values in outside_numbers(quine):
        for pattern in (signs, torch.from_numpy(packed)):
            if _aligned(values, pattern):
                return Finding("look-up", f"{name} holds the code")
    return None


def lookup_in_place(quine: Quine) -> Finding | None:
    """Look for the weights in large tensors and for the code in all: a copy of many weights is itself large."""
    with torch.no_grad():
        code = quine.code().double().cpu()
    for name, values in outside_numbers(quine):
        if _aligned(values, code):
            return Finding("look-up", f"{name} holds the code up to scale and shift")
        if values.numel() < quine.parameter_count / 10:
            continue
        inside = sum(int(torch.isin(stored.double().cpu(), values).sum()) for _, stored in quine.stored_pieces())
        if inside >= quine.parameter_count // 10:
            return Finding("look-up", f"{name} holds {inside} of the {quine.parameter_count} weights")
    return None


def lookup(quine: Quine, theta: Tensor) -> Finding | None:
    """Does the network keep its weights, or the code they are expanded from, outside of its weights?"""
    wanted = theta[(theta - quine.printer.mean) != 0].double()
    with torch.no_grad():
        code = quine.code(theta).double()
    for name, values in outside_numbers(quine):
        if values.numel() == 0:
            continue
        inside = torch.isin(wanted, values) | torch.isin(wanted.float(), values.float())
        if wanted.numel() and int(inside.sum()) >= max(8, wanted.numel() // 10):
            return Finding("look-up", f"{name} holds {int(inside.sum())} of the {theta.numel()} weights")
        for what, pattern in (("weights", theta.double()), ("code", code)):
            if _aligned(values, pattern):
                return Finding("look-up", f"{name} holds the {what} up to scale and shift")
    return None


def _aligned(values: Tensor, pattern: Tensor) -> bool:
    """Whether some stretch of ``values`` is ``a + b * pattern``, read forwards or backwards."""
    n = pattern.numel()
    if n < 4 or values.numel() < n or (values.numel() - n) * n > _WINDOWS:
        return False
    shape = pattern - pattern.mean()
    shape = torch.stack([shape, shape.flip(0)], 1) / torch.linalg.vector_norm(shape).clamp_min(1e-300)
    for windows in values.unfold(0, n, 1).split(max(1, 2_000_000 // n)):
        windows = windows - windows.mean(1, keepdim=True)
        size = torch.linalg.vector_norm(windows, dim=1, keepdim=True).clamp_min(1e-300)
        if bool(((windows @ shape).abs() > (1 - 1e-9) * size).any()):
            return True
    return False
