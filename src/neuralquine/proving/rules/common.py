"""The table of rules, what a rule may ask of the numbers it computes with, and how a trunk is run by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from ...errors import BadOption, NeuralQuineError
from ..reals import Real, Reals

Spec = dict[str, Any]


class NoRule(NeuralQuineError):
    """A module, or an argument of one, whose arithmetic has no rule: nothing is proved about it, and no graph written."""


class Arithmetic(Protocol):
    """The operations that balls (``proving/balls.py``) and ONNX values (``keeping/onnx/values.py``) both have.

    All of them follow torch: ``affine``, ``softmax``, ``normalize``, ``mean``, ``largest`` work over the last axis, which ``mean``
    keeps at length one and ``largest`` drops. ``saturation`` is ``1 - exp(-x)`` of numbers that are not negative, ``mish_gate``
    is ``tanh(log(1 + exp(x)))``. ``to_grid`` rounds to the grid of the network's activations, if it has one.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def mT(self) -> Self: ...  # noqa: N802 - as torch and numpy call it
    def __add__(self, other: Self | float, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __mul__(self, other: Self, /) -> Self: ...
    def __neg__(self) -> Self: ...
    def __matmul__(self, other: Self, /) -> Self: ...
    def scale(self, factor: float | Real) -> Self: ...
    def divide_by_root(self, n: int) -> Self: ...
    def tanh(self) -> Self: ...
    def sigmoid(self) -> Self: ...
    def relu(self) -> Self: ...
    def erf(self) -> Self: ...
    def saturation(self) -> Self: ...
    def softsign(self) -> Self: ...
    def mish_gate(self) -> Self: ...
    def mean(self) -> Self: ...
    def largest(self) -> Self: ...
    def to_grid(self) -> Self: ...
    def softmax(self, seen: np.ndarray | None = None) -> Self: ...
    def affine(self, weight: Self, bias: Self | None = None) -> Self: ...
    def normalize(self, eps: float) -> Self: ...
    def batch_norm(self, mean: Self, variance: Self, weight: Self | None, bias: Self | None, eps: float) -> Self: ...
    def reshape(self, *shape: int) -> Self: ...
    def move(self, *order: int) -> Self: ...
    def cut(self, axis: int, start: int, stop: int) -> Self: ...
    def windows(self, index: np.ndarray) -> Self: ...
    def lookup(self, places: Self) -> Self: ...
    def zeros(self, *shape: int) -> Self: ...
    def constant(self, numbers: Reals) -> Self: ...
    @classmethod
    def concat(cls, arrays: Sequence[Self], axis: int = 0) -> Self: ...


A = TypeVar("A", bound=Arithmetic)
Weights = Callable[[str], A | None]
Rule = Callable[[Any, Spec, Weights[Any]], Any]
Shapes = dict[str, tuple[int, ...]]

RULES: dict[str, Rule] = {}
TENSORS: dict[str, Callable[[Spec], Shapes]] = {}  # shapes of the parameters and buffers, for modules that have any
SEQUENCES: set[str] = set()  # modules that return a tuple, whose first element their rule gives
INDICES: set[str] = set()  # modules whose input is whole numbers


def rule(
    *names: str,
    tensors: Callable[[Spec], Shapes] | None = None,
    gives_tuple: bool = False,
    takes_indices: bool = False,
) -> Callable[[Rule], Rule]:
    """Enter a function ``(x, arguments, weights) -> y`` into the table under the types of modules that it computes.

    It must agree with torch's module for every shape of ``x``, or raise :class:`NoRule`. ``x`` offers the operations of
    :class:`Arithmetic`, ``arguments`` are those of the module's description (``quines/networks/description.py``), and
    ``weights`` gives the module's parameter or buffer of a name, or None.

    Args:
        names: types of modules.
        tensors: the names and shapes of the module's parameters, in torch's order, and of its buffers, from its arguments;
            leave it out where a module has none.
        gives_tuple: whether torch's module returns a tuple, of which the rule gives the first element.
        takes_indices: whether the module's input consists of whole numbers rather than floats.

    Raises:
        BadOption: a name has a rule already.
    """
    taken = [name for name in names if name in RULES]
    if taken:
        raise BadOption(f"{taken[0]} has a rule already")

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        SEQUENCES.update(names if gives_tuple else ())
        INDICES.update(names if takes_indices else ())
        TENSORS.update(dict.fromkeys(names, tensors) if tensors else {})
        return function

    return enter


def run(spec: Spec, x: A, weights: Weights[A], *, indices: bool = False) -> A:
    """The output of a described module; of a module that gives a tuple, the first element.

    Args:
        spec: the plain-data description of the module, so that nothing a Python object might do besides counts.
        x: the input.
        weights: finds a parameter or buffer by name.
        indices: whether ``x`` holds whole numbers, as of an embedding.

    Raises:
        NoRule: a module has no rule, or none for these arguments or this shape.
    """
    modules = list(_modules(spec, ""))
    for (kind, _, _), (following, _, _) in pairwise(modules):
        if kind in SEQUENCES:
            raise NoRule(f"no proof rule for {following} after {kind}, which gives a tuple")
    for kind, arguments, prefix in modules:
        if not x.shape or 0 in x.shape:
            raise NoRule(f"no proof rule for {kind} of a tensor of shape {x.shape}")
        if kind not in RULES:
            raise NoRule(f"no proof rule for {kind}: it covers {', '.join(sorted(RULES))}")
        if kind not in _SAME and indices != (kind in INDICES):
            raise NoRule(f"no proof rule for {kind} of {'whole numbers' if indices else 'floating-point numbers'}")
        indices = indices and kind in _SAME
        try:
            x = RULES[kind](x, arguments, lambda name, prefix=prefix: weights(prefix + name))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, AssertionError) as error:
            raise NoRule(f"no proof rule for this {kind}: {type(error).__name__} {error}") from error
    return x


def described(spec: Spec) -> Shapes | None:
    """The names and shapes of all parameters and buffers that a described trunk has; None where a module has no rule."""
    shapes: Shapes = {}
    for kind, arguments, prefix in _modules(spec, ""):
        if kind not in RULES:
            return None
        if kind in TENSORS:
            try:
                found = TENSORS[kind](arguments)
            except (NoRule, KeyError, TypeError, ValueError):  # running the trunk raises it by name
                return None
            shapes |= {f"{prefix}{name}": tuple(shape) for name, shape in found.items()}
    return shapes


_SAME = ("Identity", "Dropout", "Flatten")  # they take numbers of any type, and give the same numbers


def _modules(spec: Spec, prefix: str) -> list[tuple[str, Spec, str]]:
    """The type, arguments and prefix of each module in order, with the sequential ones opened."""
    try:
        if spec["type"] != "Sequential":
            return [(spec["type"], spec.get("arguments", {}), prefix)]
        return [found for name, child in spec["children"] for found in _modules(child, f"{prefix}{name}.")]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NoRule("no proof rule for a description that is none of a module") from error


def kinds(spec: Spec) -> list[str]:
    """The types of the modules of a described trunk, in order."""
    return [kind for kind, _, _ in _modules(spec, "")]


def held(weights: Weights[A], name: str) -> A:
    """A weight that the module must have."""
    tensor = weights(name)
    if tensor is None:
        raise NoRule(f"no proof rule for a module without its {name}")
    return tensor


def below(weights: Weights[A], prefix: str) -> Weights[A]:
    """The weights of a part of a module."""
    return lambda name: weights(f"{prefix}.{name}")


def affine(x: A, weights: Weights[A], names: tuple[str, str] = ("weight", "bias")) -> A:
    """``x W^T + b`` with a weight and, where there is one, a bias of these names."""
    return x.affine(held(weights, names[0]), weights(names[1]))


def weight_and_bias(weight: tuple[int, ...], *, bias: bool, names: tuple[str, str] = ("weight", "bias")) -> Shapes:
    """The shapes of a weight and, if there is one, of a bias for its first axis."""
    return {names[0]: weight} | ({names[1]: weight[:1]} if bias else {})


def scaled(y: A, weights: Weights[A]) -> A:
    """``y * weight + bias``, with those of the two that the module has."""
    weight, bias = weights("weight"), weights("bias")
    y = y if weight is None else y * weight
    return y if bias is None else y + bias
