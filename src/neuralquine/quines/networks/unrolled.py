"""Recurrent layers written out, step by step, in operations that run with many weights at once.

torch's own kernels of them are given one set of weights at a time. What is written out here adds up in another order: it
serves searches, which end at points that the layer itself then has to print.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .sequence import Clocked
from .taking import copied, is_plain

_CLOSE = (
    1e4  # units of round-off, relative to the whole answer, by which sums in another order may differ in deep networks
)


class Unrolled(nn.Module):
    """A ``torch.nn.RNN``, ``GRU`` or ``LSTM`` without projections: the same weights, inputs and outputs.

    Args:
        layer: gives its parameters.
    """

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.mode, self.layers, self.size = layer.mode, layer.num_layers, layer.hidden_size
        self.batch_first, self.bias = layer.batch_first, layer.bias
        self.endings = ("", "_reverse") if layer.bidirectional else ("",)
        for name, parameter in layer.named_parameters():
            self.register_parameter(name, parameter)

    def forward(
        self, x: Tensor, given: Tensor | tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """The outputs of the last layer, and the last states of all."""
        whole = x.dim() == 3
        x = x if whole else x[:, None]
        x = x.transpose(0, 1) if whole and self.batch_first else x
        starts = self._states(x, given, whole=whole)
        last = []
        for layer in range(self.layers):
            directions = []
            for ending in self.endings:
                outputs, state = self._layer(x, f"_l{layer}{ending}", *starts[len(last)], backwards=bool(ending))
                directions.append(outputs)
                last.append(state)
            x = torch.cat(directions, -1)
        x = x.transpose(0, 1) if whole and self.batch_first else x
        h, c = (torch.stack(parts) for parts in zip(*last, strict=True))
        x, h, c = (x, h, c) if whole else (x[:, 0], h[:, 0], c[:, 0])
        return x, (h, c) if self.mode == "LSTM" else h

    def _states(
        self, x: Tensor, given: Tensor | tuple[Tensor, Tensor] | None, *, whole: bool
    ) -> list[tuple[Tensor, Tensor]]:
        """The states ``(h, c)`` that each layer and direction starts with."""
        count = self.layers * len(self.endings)
        if given is None:
            zero = x.new_zeros(x.shape[1], self.size)
            return [(zero, zero)] * count
        h, c = given if isinstance(given, tuple) else (given, given)
        return list(zip(h, c, strict=True)) if whole else [(h[i][None], c[i][None]) for i in range(count)]

    def _layer(
        self, x: Tensor, ending: str, h: Tensor, c: Tensor, *, backwards: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One layer in one direction: its outputs in the order of the inputs, and its last state."""
        heard = x @ getattr(self, f"weight_ih{ending}").mT
        kept = getattr(self, f"weight_hh{ending}").mT
        heard = heard + getattr(self, f"bias_ih{ending}") if self.bias else heard
        bias = getattr(self, f"bias_hh{ending}") if self.bias else None
        outputs = []
        for step in heard.flip(0) if backwards else heard:
            again = h @ kept if bias is None else h @ kept + bias
            h, c = self._step(step, again, h, c)
            outputs.append(h)
        done = torch.stack(outputs)
        return (done.flip(0) if backwards else done), (h, c)

    def _step(self, heard: Tensor, again: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The next state, from what the input and the last state say to all gates."""
        if self.mode == "LSTM":
            write, keep, new, show = (heard + again).chunk(4, -1)
            c = torch.sigmoid(keep) * c + torch.sigmoid(write) * torch.tanh(new)
            return torch.sigmoid(show) * torch.tanh(c), c
        if self.mode == "GRU":
            gates = torch.sigmoid(heard[..., : 2 * self.size] + again[..., : 2 * self.size])
            reset, keep = gates.chunk(2, -1)
            new = torch.tanh(heard[..., 2 * self.size :] + reset * again[..., 2 * self.size :])
            return new + keep * (h - new), c
        return (torch.tanh if self.mode == "RNN_TANH" else torch.relu)(heard + again), c


class Folded(Clocked):
    """A :class:`Clocked` network with its output folded into its recurrence: ``h_t = tanh(K k_t + (U + v w^T) h_(t-1))``.

    The emitted numbers ``w . h_t`` are then read of all states at once, which leaves three operations to a step.
    """

    def forward(self, y: Tensor) -> Tensor:
        count = sum(p.numel() for p in self.parameters())
        voice, clock = self.hear.weight[:, 0], self.hear.weight[:, 1:]
        heard = self.ticks(count, y) @ clock.mT
        kept = self.recur.weight + torch.outer(voice, self.out.weight[0])
        h, states = torch.tanh(heard[0] + voice * y.reshape(())), []
        for step in heard[1:]:
            states.append(h)
            h = torch.tanh(step + kept @ h)
        states.append(h)
        return torch.stack(states) @ self.out.weight[0]


def _folded(part: nn.Module) -> nn.Module:
    """A clocked network's own parts, and its folded step."""
    other = Folded.__new__(Folded)
    other.__dict__.update(part.__dict__)
    return other


_WRITTEN: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.RNN: Unrolled,
    nn.GRU: Unrolled,
    nn.LSTM: Unrolled,
    Clocked: _folded,
}


def unrolled(module: nn.Module) -> nn.Module | None:
    """A copy of a module with its recurrent layers written out; None where it has none that can be."""
    parts = [part for part in module.modules() if type(part) in _WRITTEN]
    if not parts or not all(is_plain(part) and not getattr(part, "proj_size", 0) for part in parts):
        return None
    made = copied(module)
    if type(made) in _WRITTEN:
        return _WRITTEN[type(made)](made).eval()
    for holder in list(made.modules()):
        for name, part in list(holder.named_children()):
            if type(part) in _WRITTEN:
                setattr(holder, name, _WRITTEN[type(part)](part))
    return made.eval()


def agrees(mine: Tensor, other: Tensor) -> bool:
    """Whether two answers are the same up to round-off."""
    allowed = _CLOSE * torch.finfo(mine.dtype).eps
    return mine.shape == other.shape and bool(
        torch.linalg.vector_norm(mine - other) <= allowed * torch.linalg.vector_norm(mine)
    )
