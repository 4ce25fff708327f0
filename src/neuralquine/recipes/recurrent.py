"""Recurrent networks: two layers of 64 units over a sequence of 12 vectors of 16 numbers; all outputs are read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .problem import Problem, drawn, numbers, settings
from .registry import recipe


@recipe("rnn", small=True, place=30)
def rnn(
    seed: int = 0, skip: float = 0.0, code_size: int = 20, code_bits: int = 0, dtype: torch.dtype = torch.float64
) -> Problem:
    """An Elman network with tanh (P = 13,568); skip=0.1 anchors it."""
    return _recurrent(nn.RNN, seed, settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype))


@recipe("gru", small=True, place=40)
def gru(
    seed: int = 0, skip: float = 0.0, code_size: int = 20, code_bits: int = 0, dtype: torch.dtype = torch.float64
) -> Problem:
    """A gated recurrent network (P = 40,704); skip=0.1 anchors it."""
    return _recurrent(nn.GRU, seed, settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype))


@recipe("lstm", small=True, place=50)
def lstm(
    seed: int = 0, skip: float = 0.0, code_size: int = 20, code_bits: int = 0, dtype: torch.dtype = torch.float64
) -> Problem:
    """A long short-term memory (P = 54,272); skip=0.1 anchors it."""
    return _recurrent(nn.LSTM, seed, settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype))


def _recurrent(kind: Callable[..., nn.RNNBase], seed: int, options: dict[str, object]) -> Problem:
    with drawn(seed):
        trunk = kind(16, 64, 2, batch_first=True)
    return Problem(trunk, numbers(seed, 1, 12, 16), {**options, "select": 0})
