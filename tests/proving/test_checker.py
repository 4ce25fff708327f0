"""The small checker's bounds: no evaluation leaves them, and a factor or a term that they lack shows."""

import ast
import importlib
import inspect
import io
import tokenize
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from flint import ctx

from agreement import GENERATORS, RANKS, asked, drawn, in_balls, spec_of
from neuralquine.proving import checker
from neuralquine.proving.checker import numbers
from neuralquine.proving.checker.held import Machine
from neuralquine.proving.rules import NoRule, run
from neuralquine.proving.verdicts import NotProved
from proving.coarse import Coarse, machine

WAYS = [(11, 1), (11, -1), (11, 2), (11, 0), (24, 1), (24, -1), (24, 0)]  # bits and ways in which it rounds


def bounds(spec, state, x, machine, kind=None, radius=None):
    """The rule's bounds; None where it refuses, or where there are none."""
    make = kind or numbers.Bounded
    weights = {name: make(t, None, machine) for name, t in state.items()}
    try:
        return run(spec, make(x, radius, machine), weights.get, indices=np.issubdtype(x.dtype, np.integer))
    except (NoRule, NotProved):
        return None


def short(array):
    """Whole numbers as they are, others with so few bits that eleven hold them, and not their sums."""
    mantissa, exponent = np.frexp(array)
    return array if np.issubdtype(array.dtype, np.integer) else np.ldexp(np.round(mantissa * 1024), exponent - 10)


def cases(name, seeds):
    """Modules that torch computes: the description, the weights, an input."""
    for seed in seeds:
        for rank in RANKS[1:]:
            module, x = drawn(name, rank, seed)
            if asked(module, x) is not None and x.numel():
                state = {n: short(t.numpy()) for n, t in module.state_dict().items()}
                yield spec_of(module), state, short(x.numpy())


def outside(found, value):
    return bool((np.abs(found.value - value) > found.reach * (1 + 1e-9)).any())


def coarse_leaves(name, seeds, kind=None):
    """For each of some coarse evaluations of a rule, whether it leaves its bounds."""
    for spec, state, x in cases(name, seeds):
        for number, (bits, way) in enumerate(WAYS):
            found = bounds(spec, state, x, machine(bits), kind)
            if found is None:
                continue
            draw = np.random.default_rng([number, len(name)])
            weights = {n: Coarse(t, draw, way, bits) for n, t in state.items()}
            y = run(spec, Coarse(x, draw, way, bits), weights.get, indices=np.issubdtype(x.dtype, np.integer))
            yield outside(found, y.value)


def moved_leaves(name, seeds, kind=None):
    """Whether the exact rule, at each of some corners of a box of inputs, leaves the bounds of the box."""
    for number, (spec, state, x) in enumerate(cases(name, seeds)):
        if np.issubdtype(x.dtype, np.integer):
            continue
        found = bounds(spec, state, x, Machine.of("float64"), kind, np.full(x.shape, 2.0**-6))
        if found is None:
            continue
        draw = np.random.default_rng(number)
        for signs in (np.ones(x.shape), -np.ones(x.shape), draw.choice([-1, 1], x.shape)):
            state_, x_ = {n: torch.from_numpy(np.array(t)) for n, t in state.items()}, x + signs * 2.0**-6
            exact = in_balls(spec, state_, torch.from_numpy(x_), None)
            middle = np.array([float(v.mid()) for v in exact.flat]).reshape(exact.shape)
            yield outside(found, middle)


SLOW = {"neuralquine.Clocked", "neuralquine.CausalTransformer", "TransformerEncoderLayer", "GRU", "LSTM", "RNN"}


@pytest.mark.parametrize("name", GENERATORS)
def test_neither_exact_arithmetic_nor_torch_nor_a_coarse_machine_leaves_the_bounds(name):
    ctx.prec = 128
    seeds, said = range(2 if name in SLOW else 3), 0
    for spec, state, x in cases(name, seeds):
        exact = in_balls(spec, {n: torch.from_numpy(t) for n, t in state.items()}, torch.from_numpy(x), None)
        found = bounds(spec, state, x, Machine.of("float64"))
        if exact is None or found is None:
            continue
        middle = np.array([float(v.mid()) for v in exact.flat]).reshape(exact.shape)
        assert not outside(found, middle)
        assert found.reach.max(initial=0.0) < 1e-6 * max(1.0, np.abs(middle).max(initial=0.0))  # and says something
        said += 1
    assert said
    assert not any(coarse_leaves(name, seeds))
    assert not any(moved_leaves(name, seeds[:1]))


# Each is a place of numbers.py, what is planted there, and a rule whose evaluations find it.
FAULTS = [
    ("* size + units *", "* size * 0.2 + units *", "Linear"),
    ("radius = (spread + np.where(kept, 0.0, local))", "radius = spread", "Linear"),
    ("radius = (spread + np.where(kept, 0.0, local))", "radius = np.where(kept, 0.0, local)", "ReLU then Linear"),
    (
        "spread = self.value + other.value, self.reach + other.reach",
        "spread = self.value + other.value, self.reach",
        "GRUCell",
    ),
    ("np.abs(other.value) * self.reach + self.reach", "self.reach", "SiLU"),
    ("spread = spread + self.radius @ (right + other.reach)", "pass", "Linear"),
    ("self._function(np.tanh(self.value), 1.0,", "self._function(np.tanh(self.value), 0.2,", "Tanh"),
    ("np.exp(-self.value)), 0.25,", "np.exp(-self.value)), 0.05,", "Sigmoid"),
    ("otypes=[np.float64])(self.value), 1.13,", "otypes=[np.float64])(self.value), 0.3,", "GELU"),
    ("np.where(dead, 0.0, self.reach)", "np.where(self.value <= 0, 0.0, self.reach)", "ReLU"),
    ("relative = np.expm1(2 * far +", "relative = np.expm1(0 * far +", "Softmax"),
    ("(self.machine.unit + OWN) * units * SLACK)", "OWN * units)", "Softmax"),
    ("moved = norm / least", "moved = 0 * norm", "LayerNorm"),
    ("radius = (spread + local +", "radius = (spread +", "LayerNorm"),
    ("self.reach * np.abs(slope) * (1 + 1e-12), size, _FOLDED", "self.reach * 0, size, _FOLDED", "BatchNorm2d"),
    ("_FOLDED = 24.0", "_FOLDED = 0.5", "BatchNorm2d"),
    ("None if self.radius is None else self.radius.max(-1)", "None", "MaxPool2d"),
    ("self.reach.mean(-1, keepdims=True), size, n + 1.0", "0.0, size, n + 1.0", "AdaptiveAvgPool1d"),
    ("size = self.size.mean(-1, keepdims=True)", "size = 0.0", "AdaptiveAvgPool1d"),
    ("return held & (size < 2.0**self.machine.bits * unit)", "return (size > -1.0)", "Linear"),
    (
        "& (spread == 0) & self._held(value) & self._normal(self.value) & self._normal(other.value)",
        "",
        "neuralquine.Tokens",
    ),
    ("size = left @ right * SLACK + spread", "size = spread", "Linear"),
]


def test_errors_of_both_factors_of_a_product_count():
    draw, exact = np.random.default_rng(0), Machine.of("float64")
    a, b = draw.standard_normal((4, 5)), draw.standard_normal((5, 3))
    for left, right in ((0.1, 0.0), (0.0, 0.1), (0.1, 0.1)):
        found = numbers.Bounded(a, np.full(a.shape, left), exact) @ numbers.Bounded(b, np.full(b.shape, right), exact)
        for i in range(4):  # the corner at which every product of this row and that column errs the same way
            x, y = a[i] + left * np.sign(b[:, 0]), b[:, 0] + right * np.sign(a[i] + left * np.sign(b[:, 0]))
            gap = abs(x @ y - found.value[i, 0])
            assert 0.7 * found.reach[i, 0] < gap <= found.reach[i, 0]


FILES = ("numbers",)


def planted_in(file):
    """Each fault of a file, as :func:`proving.planted.row` takes it."""
    for place, planted, name in FAULTS:
        yield f"`{place}` becomes `{planted}`", lambda fault=(place, planted, name): is_found(*fault)


def is_found(place, planted, name):
    """Whether evaluations of some rules leave the changed bounds."""
    source = inspect.getsource(importlib.import_module("neuralquine.proving.checker.numbers"))
    assert source.count(place) == 1
    module = types.ModuleType("neuralquine.proving.checker.planted")
    module.__dict__["__package__"] = "neuralquine.proving.checker"
    exec(compile(source.replace(place, planted), "<planted>", "exec"), module.__dict__)
    ctx.prec = 128
    looks = (look(n, range(20), module.Bounded) for n in name.split(" then ") for look in (coarse_leaves, moved_leaves))
    return any(left for look in looks for left in look)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{f[2]}: {f[1][:40]}" for f in FAULTS])
def test_a_factor_or_a_term_that_is_missing_shows(fault):
    assert is_found(*fault)


def lines_of_code(source):
    """Without docstrings, comments and empty lines."""
    marks = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    words = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in marks]
    found = {line for t in words for line in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            found -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(found)


def test_what_is_believed_of_a_certificate_can_be_read_in_an_evening():
    """Of each theorem: everything in the checker's room but the other one, in 500 lines."""
    counted = {file.name: lines_of_code(file.read_text()) for file in Path(checker.__file__).parent.glob("*.py")}
    whole = sum(counted.values())
    assert lines_of_code('"""A\ndocstring."""\n\n# why\nx = (\n    1\n)\n') == 3
    assert max(whole - counted[other] for other in ("tape.py", "rounded.py")) <= 500
