"""Several derivatives from one backward pass: the weights, which do not fit a processor's cache, are read once for all of them.

torch batches the rules of its own operations. A graph that holds a rule somebody wrote, a rule that torch cannot batch and a hook
that wants to see numbers are left to one pass for each derivative.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from .outer import Use

# Weights times derivatives from which one pass is quicker. Of gpt2 it saves 0.6 ns for each (measured for 4), and the first one
# imports hundreds of modules, which takes 0.7 s.
_WORTH = 1_000_000_000
_SPARE = 8  # weights for each number of one pass's derivatives: together they take an eighth of the network's memory
_REMARK: Any = ("error", re.compile("There is a performance drop"), UserWarning, None, 0)


def at_a_time(count: int, weights: Sequence[nn.Parameter], uses: dict[int, list[Use]], others: Iterable[int]) -> int:
    """How many of some derivatives one backward pass shall give: 1 where a batch is not worth it, or not allowed.

    Args:
        count: the derivatives that are asked for.
        weights: the tensors by which they are taken.
        uses: by number, the places at which the matrices among them were applied.
        others: which of the tensors have their derivative written out.
    """
    size = sum(w.numel() for w in weights)
    if count * size < _WORTH or any(w._backward_hooks for w in weights):
        return 1
    each = sum(use.rows * sum(weights[number].shape) for number, sides in uses.items() for use in sides)
    each += sum(weights[number].numel() for number in others)
    return max(1, min(count, int(size / (_SPARE * max(1, each)))))


def together(
    code: Tensor, scalars: Sequence[Callable[[Tensor], Tensor]], wanted: Sequence[Any]
) -> list[list[Tensor | None]] | None:
    """The derivatives of some ``scalar(code)`` by what is wanted, from one pass; None where the graph cannot be batched.

    The graph is kept.
    """
    if not _torch_alone(code.grad_fn):
        return None
    leaf = code.detach().requires_grad_(True)
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "is_grads_batched": True}
    try:
        seeds = torch.stack([torch.autograd.grad(scalar(leaf), leaf)[0] for scalar in scalars])
        with _remarks_raised():
            arrived = torch.autograd.grad(code, wanted, seeds, **options)
    except Exception:  # whatever it is, a pass for each derivative raises it again or does without
        return None
    return [[None if g is None else g[i] for g in arrived] for i in range(len(scalars))]


def _torch_alone(root: Any) -> bool:
    """Whether every rule of a graph is one of torch's own: another may count on being called once for each derivative."""
    waiting, seen = [root], {root}
    while waiting:
        node = waiting.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return False
        for other, _ in node.next_functions:
            if other is not None and other not in seen:
                seen.add(other)
                waiting.append(other)
    return True


@contextmanager
def _remarks_raised() -> Iterator[None]:
    """Raise where torch would remark that a rule is applied to one derivative after the other."""
    filters: Any = warnings.filters  # a list, if typed as a sequence
    filters.insert(0, _REMARK)
    try:
        yield
    finally:
        with suppress(ValueError):  # somebody has changed all of them meanwhile
            filters.remove(_REMARK)
