"""Attacks on the bounds of single operations, sharp enough to tell a bound from a half of it.

*By errors of the inputs*: an operation is evaluated exactly at the corners of its inputs' tubes, each output at the corner that is the
worst for it. Nothing may leave the tube, nor what the backward pass allows; and the worst corner must come near to both.
*By round-off*: small operations are evaluated in float32 many times, in every order and with functions as bad as allowed. Nothing may
leave the tube of float32, and the worst of them must use up a share of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from neuralquine.proving.clock import ticks
from neuralquine.proving.reals import Real
from neuralquine.proving.tubes import adjoint
from neuralquine.proving.tubes.machine import Machine
from neuralquine.proving.tubes.node import Tape
from proving.shuffled import WIDE, Shuffled, held, norm, source

_SEEN = np.tri(3, dtype=bool)


@dataclass
class Case:
    """An operation on inputs of some shapes, and the shares of its bounds that attacks use up: less means a looser bound.

    ``fixed`` are shapes of weights, ``radius`` the size of the errors that are tried, ``near`` the share that the worst corner reaches of
    the tube and of each backward pass (``tube``, ``back``, where that is less), and ``used`` the share that the worst round-off reaches; None where nothing is rounded.
    """

    run: Any
    shapes: list
    fixed: Any = ()
    radius: float = 1e-4
    near: float = 0.9
    used: float | None = 0.3
    tube: float | None = None
    back: float | None = None
    offset: float = 0.0


def _affine(x, w, b):
    return x.affine(w, b)


def _scores(x, y):
    """Of attention: a machine may scale both factors before, each number of them with a rounding of its own."""
    if not isinstance(x, Shuffled) or x.generator is None or x.generator.random() < 0.3:
        return (x @ y).divide_by_root(3)
    return x.scale(3**-0.25) @ y.scale(3**-0.25)


CASES = {
    "affine": Case(_affine, [(2, 3)], [(2, 3), (2,)], used=0.2),
    "affine of one": Case(lambda x, w: x.affine(w), [(1, 1)], [(1, 1)], used=0.3),
    "add": Case(lambda x, y: x + y, [(2, 3), (3,)]),
    "add a number": Case(lambda x: x + 1.0, [(2, 3)]),
    "subtract": Case(lambda x, y: x - y, [(2, 3), (2, 3)]),
    "errors that cancel": Case(lambda x: x - x.scale(0.5), [(2, 3)], tube=0.3, used=None),
    "multiply": Case(lambda x, y: x * y, [(2, 3), (2, 3)]),
    "multiply by rows": Case(lambda x, y: x * y, [(2, 3), (2, 1)]),
    "multiply by weights": Case(lambda x, w: x * w, [(2, 3)], [(3,)]),
    "square": Case(lambda x: x * x, [(2, 3)]),
    "scale": Case(lambda x: x.scale(0.3), [(4,)], used=0.2),
    "scale by a real": Case(lambda x: x.scale(Real(lambda: None, 0.7978845608028654)), [(4,)]),
    "divide by a root": Case(lambda x: x.divide_by_root(3), [(4,)]),
    "tanh": Case(lambda x: x.tanh(), [(2, 3)]),
    "sigmoid": Case(lambda x: x.sigmoid(), [(2, 3)]),
    "erf": Case(lambda x: x.erf(), [(2, 3)]),
    "saturation": Case(lambda x: (-x).relu().saturation(), [(2, 3)], used=0.1),
    "softsign": Case(lambda x: x.softsign(), [(2, 3)], used=0.1),
    "mish_gate": Case(lambda x: x.mish_gate(), [(2, 3)]),
    "saturation of little": Case(lambda x: (-x.scale(2.0**-12)).relu().saturation(), [(2, 3)], used=0.1),
    "wide saturation": Case(lambda x: (-x).relu().saturation(), [(2, 3)], radius=0.3, near=0.8, back=0.2, used=None),
    "wide softsign": Case(lambda x: x.softsign(), [(2, 3)], radius=0.3, near=0.8, back=0.5, used=None),
    "wide mish_gate": Case(lambda x: x.mish_gate(), [(2, 3)], radius=0.6, near=0.8, used=None),
    "relu": Case(lambda x: x.relu(), [(2, 3)], used=None),
    "largest": Case(lambda x: x.largest(), [(3, 2, 3)], near=0.5, back=0.3, used=None),
    "wide largest": Case(lambda x: x.largest(), [(1, 3)], radius=1.5, near=0.5, back=0.1, used=None),
    "mean": Case(lambda x: x.mean(), [(2, 3)], used=0.15),
    "matmul": Case(lambda x, y: x @ y, [(2, 2, 3), (2, 3, 2)], used=0.12),
    "matmul of one": Case(lambda x, y: x @ y, [(1, 1, 1), (1, 1, 1)], used=0.13),
    "matmul of scaled factors": Case(_scores, [(1, 1, 2), (1, 2, 1)], used=0.15),
    "softmax": Case(lambda x: x.softmax(), [(2, 3)], near=0.8, used=0.15),
    "masked softmax": Case(lambda x: x.softmax(_SEEN), [(3, 3)], near=0.8, back=0.0, used=0.15),
    "normalize": Case(lambda x: x.normalize(1e-5), [(2, 4)], near=0.6, used=0.02),
    "normalize little": Case(lambda x: x.normalize(0.5), [(2, 3)], near=0.6, used=0.005),
    "normalize far off": Case(lambda x: x.normalize(1e-2), [(2, 3)], near=0.6, used=0.003, offset=3.0),
    "batch_norm": Case(
        lambda x, m, v, w, b: x.batch_norm(m, v, w, b, 1e-5), [(2, 3)], [(3,), (3,), (3,), (3,)], used=0.05
    ),
    "reshape": Case(lambda x: x.reshape(3, 4), [(2, 6)], used=None),
    "reshape to shorter rows": Case(lambda x: x.reshape(4, 3), [(2, 6)], used=None),
    "reshape to longer rows": Case(lambda x: x.reshape(2, 6), [(3, 2, 2)], used=None),
    "move": Case(lambda x: x.move(1, 0, 2), [(2, 3, 2)], used=None),
    "transpose": Case(lambda x: x.mT, [(2, 3, 2)], used=None),
    "cut": Case(lambda x: x.cut(1, 1, 3), [(2, 4)], used=None),
    "windows": Case(lambda x: x.windows(np.array([[0, 1], [1, 2], [2, 3]])), [(2, 3)], used=None),
    "concat": Case(lambda x, y: x.concat([x, y], 1), [(2, 3), (2, 1)], used=None),
    "wide multiply": Case(lambda x, y: x * y, [(2, 3), (2, 3)], radius=0.5, back=0.7, used=None),
    "wide matmul": Case(lambda x, y: x @ y, [(2, 1, 2), (2, 2, 1)], radius=0.5, back=0.7, used=None),
    "wide tanh": Case(lambda x: x.tanh(), [(2, 3)], radius=0.3, near=0.8, used=None),
    "wide sigmoid": Case(lambda x: x.sigmoid(), [(2, 3)], radius=0.6, near=0.8, used=None),
    "wide erf": Case(lambda x: x.erf(), [(2, 3)], radius=0.3, near=0.8, used=None),
    "wide relu": Case(lambda x: x.relu(), [(2, 3)], radius=0.6, back=0.3, used=None),
    "wide softmax": Case(lambda x: x.softmax(), [(2, 3)], radius=0.1, near=0.7, back=0.2, used=None),
    "wide normalize": Case(lambda x: x.normalize(1e-2), [(2, 4)], radius=0.1, near=0.5, back=0.25, used=None),
    "constant": Case(lambda x: x.constant(ticks(20, 1)) + x, [(1, 1)], used=0.3),
}


def _drawn(case, generator, narrow):
    numbers = [generator.standard_normal(s) + case.offset for s in case.shapes]
    weights = [np.abs(generator.standard_normal(s)) + 0.1 for s in case.fixed]
    kind = np.float32 if narrow else np.float64
    return [n.astype(kind).astype(float) for n in numbers], [w.astype(kind).astype(float) for w in weights]


def _exactly(case, numbers, weights, dtype=WIDE, generator=None):
    held_ = [Shuffled(n, dtype, generator) for n in (*numbers, *weights)]
    return case.run(*held_).value


def by_errors(case, seed, *, rows=False):
    """The share of a tube and of its backward pass that the worst corners of the inputs reach; above 1: they leave it.

    With ``rows`` the inputs' tubes are balls: their rows have a norm and no smaller components.
    """
    generator = np.random.default_rng(seed)
    numbers, weights = _drawn(case, generator, narrow=False)
    radii = [case.radius * (np.ones_like(n) if rows else generator.random(n.shape)) for n in numbers]
    tape = Tape(Machine())
    inputs = [source(tape, n, r, case.radius if rows else None) for n, r in zip(numbers, radii, strict=True)]
    out = case.run(*inputs, *(held(tape, w) for w in weights))
    total = _combined(out, generator)
    bounds = np.concatenate([out.radius.reshape(-1), adjoint.error_of(total), out.row.reshape(-1)])
    flat = np.concatenate([n.reshape(-1) for n in numbers])
    ends = np.cumsum([n.size for n in numbers])[:-1]

    def results(point):
        parts = [p.reshape(n.shape) for p, n in zip(np.split(point, ends), numbers, strict=True)]
        value = _exactly(case, parts, weights)
        return np.concatenate([value.reshape(-1), (total.mixing @ value.reshape(-1))]), value

    reached = np.zeros_like(bounds)
    center = np.concatenate([out.value.reshape(-1), total.value.reshape(-1)])
    size = np.concatenate([r.reshape(-1) for r in radii])
    step = 1e-5 * case.radius
    slopes = np.stack(
        [(results(flat + step * e)[0] - results(flat - step * e)[0]) / (2 * step) for e in np.eye(flat.size)]
    )
    for slope in [*slopes.T, *generator.standard_normal((12, flat.size))]:
        for sign in (1, -1):
            error = sign * _worst(np.asarray(slope, float), size, numbers, ends, case.radius if rows else None)
            found, value = results(flat.astype(WIDE) + error)
            off = np.abs(found - center) - 2.0**-60 * np.abs(found)
            sizes = norm(np.asarray(value - out.value, float)).reshape(-1) * (1 - 1e-12)
            reached = np.maximum(reached, np.concatenate([np.asarray(off, float), sizes]))
    share = reached / np.maximum(bounds, 1e-300)
    ends = out.value.size, out.value.size + total.value.size
    backward = share[ends[0] : ends[1]]
    return share[: ends[0]].max(), backward.max(), share[ends[1] :].max(), backward.min()


def _worst(slope, size, numbers, ends, ball):
    """The error that moves a result of this slope the most."""
    if ball is None:
        return np.where(slope < 0, -size, size)  # also where the slope is zero: errors that count nothing yet may do so
    parts = [p.reshape(n.shape) for p, n in zip(np.split(slope, ends), numbers, strict=True)]
    return np.concatenate([(p / np.maximum(norm(p)[..., None], 1e-300) * ball).reshape(-1) for p in parts])


def _combined(out, generator):
    """Sums of all outputs with signs, so that a backward step has to get every one of them right."""
    mixing = generator.choice([-1.0, 1.0, 0.5], (4, out.value.size))
    total = out.reshape(1, -1).affine(out.hold(mixing))
    return _Total(total, mixing)


class _Total:
    def __init__(self, node, mixing):
        self.node, self.mixing = node, mixing

    def __getattr__(self, name):
        return getattr(self.node, name)


def by_roundoff(case, seed, trials=60):
    """The share of a tube of float32 that the worst of many evaluations reaches; above 1: it is left."""
    generator = np.random.default_rng(seed)
    numbers, weights = _drawn(case, generator, narrow=True)
    tape = Tape(Machine.of("float32"))
    inputs = [source(tape, n, np.zeros(n.shape)) for n in numbers]
    out = case.run(*inputs, *(held(tape, w) for w in weights))
    share = 0.0
    for _ in range(trials):
        found = _exactly(case, numbers, weights, np.float32, generator).astype(float)
        share = max(share, float((np.abs(found - out.value) / np.maximum(out.radius, 1e-300)).max()))
    return share


def findings(names=CASES, seeds=range(6)):
    """What is wrong, in words: bounds that do not hold, and bounds that hold idly."""
    wrong = []
    for name in names:
        case = CASES[name]
        for rows in (False, True):
            shares = np.array([by_errors(case, seed, rows=rows) for seed in seeds])
            for what, most in zip(("tube", "adjoint", "row"), shares.max(0)[:3], strict=True):
                if not most <= 1:
                    wrong.append(f"{name}: an error leaves its {what}{' of rows' if rows else ''}, {most:.4f}")
            tube, adjoints = shares.max(0)[0], shares.min(0)[3]
            if not rows and not (
                tube >= (case.tube or case.near) and adjoints >= (case.near if case.back is None else case.back)
            ):
                wrong.append(f"{name}: the worst errors reach only {tube:.3f}, {adjoints:.3f} of the bounds")
        if case.used is not None:
            most = max(by_roundoff(case, seed) for seed in seeds)
            if not most <= 1:
                wrong.append(f"{name}: round-off leaves the tube, {most:.4f}")
            if not most >= case.used:
                wrong.append(f"{name}: the worst round-off reaches only {most:.3f} of the bound")
    return wrong
