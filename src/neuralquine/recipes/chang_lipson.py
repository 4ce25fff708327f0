"""The queried quines of Chang and Lipson and of their successor AustinT/nn-quine.

``chang-lipson``: the vanilla quine of the paper, 100 wide with two hidden layers, SELU, no biases: P = 100^2 + 100^2 + 100 =
20,100. A one-hot index goes through a fixed random projection to 100 units and through the activation. The paper
does not say how the projection is scaled: entries have variance ``scale^2``, by default 1, which is easier to solve than
the 1/16 at which the initial loss is the published one; ``front=False`` leaves the first activation out.

``queried-121``, ``queried-441`` and ``queried-2601`` are AustinT's sizes: one hidden layer with biases, P = (n + 1)^2.
His own networks have ReLU and ``scale = n^-0.5``.

Source: Chang and Lipson, "Neural Network Quine", ALIFE 2018, section 2; github.com/AustinT/nn-quine (2018).
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import UnknownName, did_you_mean
from .problem import Problem, drawn
from .registry import recipe

_ACTIVATIONS = {"selu": nn.SELU, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


@recipe("chang-lipson", small=True, place=150, queried=True)
def chang_lipson(
    seed: int = 0,
    width: int = 100,
    layers: int = 2,
    activation: str = "selu",
    queries: str = "projection",
    scale: float = 1.0,
    front: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Problem:
    """The paper's vanilla quine: asked for one weight at a time, SELU, no biases (P = 20,100)."""
    act = _activation(activation)
    with drawn(seed):
        hidden = [m for _ in range(layers) for m in (nn.Linear(width, width, bias=False, dtype=dtype), act())]
        trunk = nn.Sequential(*([act()] if front else []), *hidden, nn.Linear(width, 1, bias=False, dtype=dtype))
    return Problem(trunk, queries=queries, options={"dtype": dtype, "scale": scale})


@recipe("queried-121", small=True, place=80, queried=True)
def queried_121(
    seed: int = 0, activation: str = "selu", scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> Problem:
    """One hidden layer of 10 units with biases, asked for one weight at a time (P = 121)."""
    return _one_hidden(10, seed, activation, scale, dtype)


@recipe("queried-441", small=True, place=90, queried=True)
def queried_441(
    seed: int = 0, activation: str = "selu", scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> Problem:
    """One hidden layer of 20 units with biases, asked for one weight at a time (P = 441)."""
    return _one_hidden(20, seed, activation, scale, dtype)


@recipe("queried-2601", small=True, place=100, queried=True)
def queried_2601(
    seed: int = 0, activation: str = "selu", scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> Problem:
    """One hidden layer of 50 units with biases, asked for one weight at a time (P = 2,601)."""
    return _one_hidden(50, seed, activation, scale, dtype)


def _one_hidden(width: int, seed: int, activation: str, scale: float, dtype: torch.dtype) -> Problem:
    with drawn(seed):
        trunk = nn.Sequential(
            nn.Linear(width, width, dtype=dtype), _activation(activation)(), nn.Linear(width, 1, dtype=dtype)
        )
    return Problem(trunk, queries="projection", options={"dtype": dtype, "scale": scale})


def _activation(name: str) -> type[nn.Module]:
    if name not in _ACTIVATIONS:
        raise UnknownName(f"no activation {name!r}: {did_you_mean(name, list(_ACTIVATIONS))}")
    return _ACTIVATIONS[name]
