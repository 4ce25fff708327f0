"""Recurrent networks, unrolled over the length of their input, and single cells; they start from zero states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .common import A, NoRule, Rule, Shapes, Spec, Weights, affine, rule

# A cell maps the input's part, state, memory, recurrent weights and arguments to a new state and memory.
Cell = Callable[[Any, Any, Any, Callable[[Any], Any], Spec], tuple[Any, Any]]


def rnn_cell(left: A, h: A, memory: A, again: Callable[[A], A], arguments: Spec) -> tuple[A, A]:
    total = left + again(h)
    match arguments["nonlinearity"]:
        case "tanh":
            return total.tanh(), memory
        case "relu":
            return total.relu(), memory
        case other:
            raise NoRule(f"no proof rule for a recurrent network with nonlinearity={other!r}")


def lstm_cell(left: A, h: A, c: A, again: Callable[[A], A], _: Spec) -> tuple[A, A]:
    i, f, g, o = _parts(left + again(h), 4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_cell(left: A, h: A, memory: A, again: Callable[[A], A], _: Spec) -> tuple[A, A]:
    (a, b, c), (p, q, s) = _parts(left, 3), _parts(again(h), 3)
    r, z = (a + p).sigmoid(), (b + q).sigmoid()
    new = (c + r * s).tanh()
    return new + z * (h - new), memory


def _parts(x: A, count: int) -> list[A]:
    """The last axis cut into equal stretches."""
    n = x.shape[-1] // count
    return [x.cut(-1, k * n, (k + 1) * n) for k in range(count)]


def _sequence(cell: Cell) -> Rule:
    """The rule of a network that runs a cell over a sequence ``(T, B, features)``, or ``(T, features)`` without a batch."""

    def run(x: A, arguments: Spec, weights: Weights[A]) -> A:
        _refuse(arguments)
        if len(x.shape) not in (2, 3):
            raise NoRule(f"no proof rule for a recurrent network of a tensor of shape {x.shape}")
        flat, size = len(x.shape) == 2, arguments["hidden_size"]
        x = x.reshape(x.shape[0], 1, x.shape[1]) if flat else (x.move(1, 0, 2) if arguments["batch_first"] else x)
        length, batch = x.shape[:2]
        for layer in range(arguments["num_layers"]):
            left = affine(x, weights, (f"weight_ih_l{layer}", f"bias_ih_l{layer}"))
            outer = f"weight_hh_l{layer}", f"bias_hh_l{layer}"
            h = memory = x.zeros(batch, size)
            outputs = []
            for t in range(length):
                heard = left.cut(0, t, t + 1).reshape(*left.shape[1:])
                h, memory = cell(heard, h, memory, lambda h, names=outer: affine(h, weights, names), arguments)
                outputs.append(h.reshape(1, batch, size))
            x = x.concat(outputs)
        return x.reshape(length, size) if flat else (x.move(1, 0, 2) if arguments["batch_first"] else x)

    return run


def _one_step(cell: Cell) -> Rule:
    """The rule of a single cell of an input ``(B, features)`` or ``(features,)``."""

    def run(x: A, arguments: Spec, weights: Weights[A]) -> A:
        if len(x.shape) not in (1, 2):
            raise NoRule(f"no proof rule for a recurrent cell of a tensor of shape {x.shape}")
        zero = x.zeros(*x.shape[:-1], arguments["hidden_size"])
        left = affine(x, weights, ("weight_ih", "bias_ih"))
        return cell(left, zero, zero, lambda h: affine(h, weights, ("weight_hh", "bias_hh")), arguments)[0]

    return run


def _layers(gates: int) -> Callable[[Spec], Shapes]:
    def shapes(arguments: Spec) -> Shapes:
        _refuse(arguments)
        sizes = [arguments["input_size"], *[arguments["hidden_size"]] * (arguments["num_layers"] - 1)]
        return {k: v for i, n in enumerate(sizes) for k, v in _weights(gates, n, arguments, f"_l{i}").items()}

    return shapes


def _single(gates: int) -> Callable[[Spec], Shapes]:
    return lambda arguments: _weights(gates, arguments["input_size"], arguments, "")


def _weights(gates: int, size: int, arguments: Spec, ending: str) -> Shapes:
    rows = gates * arguments["hidden_size"]
    weights: Shapes = {f"weight_ih{ending}": (rows, size), f"weight_hh{ending}": (rows, arguments["hidden_size"])}
    return weights | ({f"bias_ih{ending}": (rows,), f"bias_hh{ending}": (rows,)} if arguments["bias"] else {})


def _refuse(arguments: Spec) -> None:
    if arguments["bidirectional"] or arguments.get("proj_size", 0):
        raise NoRule("no proof rule for a bidirectional or projected recurrent network")


for _name, _cell, _gates in (("RNN", rnn_cell, 1), ("GRU", gru_cell, 3), ("LSTM", lstm_cell, 4)):
    rule(_name, tensors=_layers(_gates), gives_tuple=True)(_sequence(_cell))
    rule(f"{_name}Cell", tensors=_single(_gates), gives_tuple=_cell is lstm_cell)(_one_step(_cell))
