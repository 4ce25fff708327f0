"""The graph of a network that reads its code from a tape of signs: it answers inputs, and says whether it is itself.

The body stands in the graph twice, with the same initializers: once it answers the input ``x``, once it looks at the probe
and reads the tape. Every weight is read through the clamp of ``quines/printers/tape.py``, so that a file of which some
weights were damaged still prints those that it had, and ``is_quine`` is False. ``x`` has a default of zeros: nothing need be
handed over to ask for ``printed``, ``stored`` and ``is_quine``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from ...proving.rules.body import features, outputs
from .values import concat

if TYPE_CHECKING:
    from ...proving.checker.tape import Taped
    from .values import Graph, Value

INPUT, ANSWER = "x", "answer"
_GAIN = 32.0  # of a normalized vote before it is clamped
_REACH = 8  # of a body's weight around its mean, in gains


def write_tape(graph: Graph, quine: Taped, weights: dict[str, Value]) -> tuple[list[Value], Value]:
    """Fill the graph of a tape's quine, and add its input.

    Args:
        graph: holds the initializers of the weights.
        quine: the folder's.
        weights: by name, as the graph holds them.

    Returns:
        The tensors that it prints, flat, and what it answers.
    """
    *body, tape = quine.names
    scales = list(zip(body, quine.config["means"], quine.config["gains"], strict=False))
    read = {n: _between(weights[n], mean, mean - _REACH * gain, mean + _REACH * gain) for n, mean, gain in scales}
    read[tape] = _between(weights[tape], 0.0, -quine.amplitude, quine.amplitude)
    read |= {n: graph.hold(n, t.astype(np.float64)) for n, t in quine.held.items() if n not in weights}
    a = features(quine.spec, graph.hold("/probe", quine.probe.astype(np.float64)), read.get).absolute()
    rows = read[tape] @ a.move(1, 0).mean()
    votes = rows.reshape(quine.repeats, quine.d).move(1, 0).over_last("ReduceSum").reshape(1, quine.d)
    normalized = votes / ((votes * votes).mean() + float(np.finfo(np.float64).tiny)).unary("Sqrt")
    code = normalized.scale(_GAIN).at_least(-1.0).at_most(1.0).cast(quine.dtype).reshape(quine.d)
    graph.inputs.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (1, *quine.probe.shape[1:])))
    given = graph.hold(INPUT, np.zeros((1, *quine.probe.shape[1:]), np.float32)).cast("float64")
    answer = outputs(quine.spec, features(quine.spec, given, read.get), read.get).cast("float32")
    return _printed(graph, quine, code), graph.op("Identity", [answer], answer.shape, ANSWER)


def _between(weight: Value, mean: float, low: float, high: float) -> Value:
    """A weight as it is read, in float64: its tensor's mean where it is NaN, and no farther from it than this."""
    wide = weight.cast("float64")
    finite = weight.graph.op("Where", [weight.unary("IsNaN"), weight.number(mean), wide], weight.shape)
    return finite.at_least(low).at_most(high)


def _printed(graph: Graph, quine: Taped, code: Value) -> list[Value]:
    """All weights from the code ``(d,)``, tensor by tensor: exact in every order."""
    kind = quine.theta.dtype
    fixed, entries, signs = quine.table()
    both = concat([code, -code])  # so that a sign is a place
    places = entries + quine.d * (signs < 0)
    pieces, start = [], 0
    pairs = zip(quine.names[:-1], quine.sizes[:-1], quine.config["means"], quine.config["gains"], strict=False)
    for name, size, mean, gain in pairs:
        part = slice(start, start + size)
        table = graph.hold(f"/expansion/{name}", places[part].astype(np.int32))
        begin = graph.hold(f"/expansion/{name}/start", (mean + gain / 2 * fixed[part]).astype(kind))
        sums = both.gather(0, table).over_last("ReduceSum").reshape(-1)
        pieces.append(sums * graph.constant(np.array(gain, kind)) + begin)
        start += size
    row = code.reshape(1, quine.d, 1) * graph.constant(np.array(quine.amplitude, kind))
    shape = (quine.repeats, quine.d, quine.places)
    tape = graph.op("Expand", [row, graph.constant(np.array(shape, np.int64))], shape)
    return [*pieces, tape.reshape(-1)]
