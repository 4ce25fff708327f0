"""The ends of a small vision transformer, which a network that does a task may have in front of its tape."""

from __future__ import annotations

from .common import A, NoRule, Spec, Weights, held, rule


@rule("neuralquine.Tokens", tensors=lambda a: {"positions": (a["count"], a["width"])})
def tokens(x: A, _: Spec, weights: Weights[A]) -> A:
    """Images ``(n, c, ...)`` as sequences ``(n, places, c)``, with positions added."""
    if len(x.shape) < 3:
        raise NoRule(f"no proof rule for Tokens of a tensor of shape {x.shape}")
    positions, flat = held(weights, "positions"), x.reshape(*x.shape[:2], -1).move(0, 2, 1)
    if flat.shape[1:] != positions.shape:
        raise NoRule(f"no proof rule for Tokens of {positions.shape} in a tensor of shape {x.shape}")
    return flat + positions


@rule("neuralquine.TokenMean")
def token_mean(x: A, _: Spec, __: Weights[A]) -> A:
    """The mean over axis 1, which goes."""
    if len(x.shape) < 2:
        raise NoRule(f"no proof rule for TokenMean of a tensor of shape {x.shape}")
    order = 0, *range(2, len(x.shape)), 1
    return x.move(*order).mean().reshape(x.shape[0], *x.shape[2:])
