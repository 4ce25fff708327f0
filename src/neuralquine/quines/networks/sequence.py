"""Sequence printing: a recurrent network that runs freely, its own output its next input, and emits P weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FreeRunning(nn.Module):
    """``y_t = w . s(N(A h_t)) + b``, ``h_t = LSTM(y_(t-1), h_(t-1))``, for as many steps as there are weights.

    N is instance normalization over the units and s is ReLU. The network starts from zero states.

    Args:
        size: units of each layer.
        layers: layers of the long short-term memory.

    Shape: input ``(1,)``, the first ``y``; output ``(P,)``.

    Source: Fletcher (2022), quine_recurrent_weights.py, with the line mended that reads an undefined name.
    """

    def __init__(self, size: int = 16, layers: int = 2) -> None:
        super().__init__()
        self.size, self.layers = size, layers
        self.lstm = nn.ModuleList(nn.LSTMCell(1 if i == 0 else size, size, bias=True) for i in range(layers))
        self.mix = nn.Linear(size, size, bias=False)
        self.out = nn.Linear(size, 1)

    def forward(self, y: Tensor) -> Tensor:
        count = sum(p.numel() for p in self.parameters())
        h = [y.new_zeros(1, self.size) for _ in self.lstm]
        c = [y.new_zeros(1, self.size) for _ in self.lstm]
        y, emitted = y.reshape(1, 1), []
        # What the layers would look up at every step is looked up once: their calls cost more than their arithmetic.
        layers: list[Any] = list(self.lstm)
        cells = [(cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh) for cell in layers]
        mix, weight, bias = self.mix.weight, self.out.weight, self.out.bias
        step, linear = torch.lstm_cell, nn.functional.linear
        for _ in range(count):
            x = y
            for i, cell in enumerate(cells):
                h[i], c[i] = step(x, (h[i], c[i]), *cell)
                x = h[i]
            z = linear(x, mix)
            z = z - z.mean(-1, keepdim=True)
            z = z / torch.sqrt((z * z).mean(-1, keepdim=True) + 1e-5)
            y = linear(torch.relu(z), weight, bias)
            emitted.append(y)
        return torch.cat(emitted).reshape(-1)


class Clocked(nn.Module):
    """``h_t = tanh(W (y_(t-1), k_t) + U h_(t-1))``, ``y_t = w . h_t``: an Elman network with a clock among its inputs.

    The clock ``k_t`` are sines and cosines of the step, at frequencies from one turn in the whole sequence upwards. Without
    one, a network whose weights are what it emits settles, and nearly all of them are one number.

    Args:
        size: units.
        clock: the number of sines and cosines together, even.

    Shape: input ``(1,)``, the first ``y``; output ``(P,)``.
    """

    def __init__(self, size: int = 6, clock: int = 6) -> None:
        super().__init__()
        self.size, self.clock = size, clock
        self.hear = nn.Linear(1 + clock, size, bias=False)
        self.recur = nn.Linear(size, size, bias=False)
        self.out = nn.Linear(size, 1, bias=False)
        for layer in (self.hear, self.recur, self.out):
            nn.init.normal_(layer.weight, std=1.2 / size**0.5)

    def forward(self, y: Tensor) -> Tensor:
        count = sum(p.numel() for p in self.parameters())
        h, y, emitted = y.new_zeros(1, self.size), y.reshape(1, 1), []
        for tick in self.ticks(count, y):
            h = torch.tanh(self.hear(torch.cat([y, tick[None]], 1)) + self.recur(h))
            y = self.out(h)
            emitted.append(y)
        return torch.cat(emitted).reshape(-1)

    def ticks(self, count: int, like: Tensor) -> Tensor:
        """The clock at each of ``count`` steps: ``(count, k)``."""
        turns = torch.logspace(0, 1.5, self.clock // 2, dtype=like.dtype, device=like.device)
        angle = 2 * torch.pi * torch.arange(count, dtype=like.dtype, device=like.device)[:, None] * turns / count
        return torch.cat([angle.sin(), angle.cos()], 1)
