"""Layers that put numbers around a tensor: zeros, or numbers that it has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .common import A, NoRule, Rule, Spec, Weights, rule

# What torch calls a padding, what NumPy calls it, and how many of n numbers there may be on one side.
_KINDS: dict[str, tuple[str, Callable[[int], float]]] = {
    "Zero": ("constant", lambda _: np.inf),
    "Reflection": ("reflect", lambda n: n - 1),
    "Replication": ("edge", lambda _: np.inf),
    "Circular": ("wrap", lambda n: n),
}


def _padding(kind: str, axes: int) -> Rule:
    mode, most = _KINDS[kind]

    def pad(x: A, arguments: Spec, _: Weights[A]) -> A:
        """Each number of the output is one of the input, or zero."""
        # Torch names the last axis first. NumPy refuses to take numbers away.
        sides = np.broadcast_to(arguments["padding"], 2 * axes).reshape(axes, 2)[::-1]
        size, lead = x.shape[-axes:], x.shape[:-axes]
        if len(x.shape) not in (axes + 1, axes + 2):
            raise NoRule(f"no proof rule for padding of {axes} axes of a tensor of shape {x.shape}")
        if (sides.max(1) > [most(n) for n in size]).any():
            raise NoRule(f"no proof rule for {kind}Pad by {arguments['padding']} of a tensor of shape {x.shape}")
        end = int(np.prod(size))
        empty = {"constant_values": end} if mode == "constant" else {}
        index = np.pad(np.arange(end).reshape(size), sides, mode=mode, **empty)  # pyright: ignore[reportArgumentType, reportCallIssue]
        # A window for each number: a number of the input may be there twice, which one window may not have.
        return x.reshape(int(np.prod(lead)), end).windows(index.reshape(index.size, 1)).reshape(*lead, *index.shape)

    return pad


for _kind in _KINDS:
    for _axes in (1, 2, 3):
        rule(f"{_kind}Pad{_axes}d")(_padding(_kind, _axes))
