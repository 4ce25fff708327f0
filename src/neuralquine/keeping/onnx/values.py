"""ONNX nodes written as arithmetic: a :class:`Value` is the output of a node, with its shape; a :class:`Graph` collects.

Only operators that have a float64 kernel in every runtime tried are used: the elementary ones, matrix products and what
moves numbers about. None of them depends on an attribute that is kept in float32, as the epsilon of a normalization is.

A value has the operations that a rule asks for (``proving/rules/``): run by them, the rules that prove a network write it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from . import functions

if TYPE_CHECKING:
    from ...proving.reals import Real, Reals

Array = NDArray[Any]


class Graph:
    """Nodes and initializers in the order in which they were made.

    Attributes:
        nodes: of the graph; names that are not a parameter's begin with ``/``.
        initializers: constants and weights.
        inputs: what a run may hand over.
        grid: k, where activations are rounded to multiples of ``2^-k``; None where they are not.
    """

    def __init__(self) -> None:
        self.grid: int | None = None
        self.inputs: list[ValueInfoProto] = []
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._constants: dict[tuple[Any, ...], Value] = {}

    def hold(self, name: str, numbers: Array) -> Value:
        """An initializer under its own name."""
        numbers = np.asarray(numbers, order="C")
        self.initializers.append(numpy_helper.from_array(numbers, name))
        return Value(self, name, numbers.shape)

    def constant(self, numbers: Any) -> Value:
        """A small constant; floats become float64. Equal ones are kept once."""
        array = np.asarray(numbers)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.hold(f"/constant/{len(self._constants)}", array)
        return self._constants[key]

    def op(
        self, kind: str, inputs: Sequence[Value], shape: tuple[int, ...], name: str = "", **attributes: Any
    ) -> Value:
        """One node with one output of a known shape."""
        name = name or f"/{len(self.nodes)}/{kind}"
        self.nodes.append(helper.make_node(kind, [v.name for v in inputs], [name], name=name, **attributes))
        return Value(self, name, shape)


class Value:
    """The output of a node, or an initializer: arithmetic on it adds nodes."""

    __slots__ = ("graph", "name", "shape")

    def __init__(self, graph: Graph, name: str, shape: tuple[int, ...]) -> None:
        self.graph, self.name, self.shape = graph, name, shape

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    def number(self, number: float) -> Value:
        """A constant of the same graph."""
        return self.graph.constant(float(number))

    def _with(self, kind: str, other: Value | float) -> Value:
        other = other if isinstance(other, Value) else self.number(other)
        return self.graph.op(kind, [self, other], np.broadcast_shapes(self.shape, other.shape))

    def __add__(self, other: Value | float) -> Value:
        return self._with("Add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._with("Sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._with("Mul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._with("Div", other)

    def __neg__(self) -> Value:
        return self.unary("Neg")

    def __matmul__(self, other: Value) -> Value:
        if self.shape[-1] != other.shape[-2]:
            raise ValueError(f"matrices do not fit: {self.shape}, {other.shape}")
        inner = (*np.broadcast_shapes(self.shape[:-2], other.shape[:-2]), *self.shape[-2:-1])
        return self.graph.op("MatMul", [self, other], (*inner, *other.shape[-1:]))

    def at_most(self, bound: float) -> Value:
        return self._with("Min", bound)

    def at_least(self, bound: float) -> Value:
        return self._with("Max", bound)

    def unary(self, kind: str, **attributes: Any) -> Value:
        """A function of each element."""
        return self.graph.op(kind, [self], self.shape, **attributes)

    def where(self, other: Value, chosen: Value) -> Value:
        """This where ``chosen``, else the other."""
        return self.graph.op("Where", [chosen, self, other], self.shape)

    def less(self, bound: float) -> Value:
        """A truth value for each element."""
        return self._with("Less", bound)

    def over_last(self, kind: str) -> Value:
        """ReduceMean and the like over the last axis, which stays, of length one."""
        axes = self.graph.constant(np.array([-1], np.int64))
        return self.graph.op(kind, [self, axes], (*self.shape[:-1], 1), keepdims=1)

    def cast(self, dtype: str) -> Value:
        """To a numpy type by name."""
        return self.unary("Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    # -- the operations of a network ----------------------------------------------------------------------------------

    def scale(self, factor: float | Real) -> Value:
        """Multiply by one number."""
        return self * float(factor if isinstance(factor, float | int) else factor.nearest)

    def divide_by_root(self, n: int) -> Value:
        """``x / sqrt(n)``."""
        return self / math.sqrt(n)

    def tanh(self: Value) -> Value:
        return functions.tanh(self)

    def sigmoid(self: Value) -> Value:
        return functions.sigmoid(self)

    def relu(self) -> Value:
        return self.unary("Relu")

    def saturation(self: Value) -> Value:
        return functions.saturation(self)

    def softsign(self: Value) -> Value:
        return functions.softsign(self)

    def mish_gate(self: Value) -> Value:
        return functions.mish_gate(self)

    def erf(self: Value) -> Value:
        return functions.erf(self)

    def mean(self) -> Value:
        """The mean over the last axis, which stays, of length one."""
        return self.over_last("ReduceMean")

    def largest(self) -> Value:
        """The largest over the last axis, which goes."""
        axes = self.graph.constant(np.array([-1], np.int64))
        return self.graph.op("ReduceMax", [self, axes], self.shape[:-1], keepdims=0)

    def absolute(self) -> Value:
        return self.unary("Abs")

    def to_grid(self) -> Value:
        """Rounded to the grid of the graph's activations, ties to even."""
        if self.graph.grid is None:
            return self
        scale = 2.0**self.graph.grid
        return (self * scale).unary("Round") / scale

    def softmax(self: Value, seen: Array | None = None) -> Value:
        """Over the last axis; of what is not ``seen``, a mask of its last axes, the result is zero."""
        return functions.softmax(self if seen is None else self + self.graph.constant(np.where(seen, 0.0, -np.inf)))

    def affine(self, weight: Value, bias: Value | None = None) -> Value:
        """``x W^T + b`` over the last axis."""
        y = self @ weight.mT
        return y if bias is None else y + bias

    def normalize(self: Value, eps: float) -> Value:
        """``(x - mean) / sqrt(var + eps)`` over the last axis."""
        return functions.normalize(self, eps)

    def batch_norm(self, mean: Value, variance: Value, weight: Value | None, bias: Value | None, eps: float) -> Value:
        """``(x - mean) / sqrt(var + eps) * weight + bias``, all of shapes that broadcast."""
        y = (self - mean) / (variance + eps).unary("Sqrt")
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    # -- shapes -------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Value:
        """As numpy's; one extent may be -1."""
        known = -math.prod(shape) if -1 in shape else 1
        full = tuple(math.prod(self.shape) // known if n == -1 else n for n in shape)
        return self.graph.op("Reshape", [self, self.graph.constant(np.array(full, np.int64))], full)

    def move(self, *order: int) -> Value:
        """The axes in another order."""
        return self.graph.op("Transpose", [self], tuple(self.shape[i] for i in order), perm=list(order))

    @property
    def mT(self) -> Value:  # noqa: N802 - as torch and numpy call it
        """The last two axes exchanged."""
        order = list(range(len(self.shape)))
        order[-2:] = order[:-3:-1]
        return self.move(*order)

    def cut(self, axis: int, start: int, stop: int) -> Value:
        """The stretch ``start .. stop`` of one axis, counted from the front."""
        axis = axis % len(self.shape)
        if stop > self.shape[axis]:
            raise ValueError(f"an axis of {self.shape[axis]} has no element {stop - 1}")
        ends = [self.graph.constant(np.array([i], np.int64)) for i in (start, stop, axis)]
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return self.graph.op("Slice", [self, *ends], shape)

    def gather(self, axis: int, index: Value) -> Value:
        """Elements of one axis by whole numbers; the index's shape takes its place."""
        axis = axis % len(self.shape)
        shape = (*self.shape[:axis], *index.shape, *self.shape[axis + 1 :])
        return self.graph.op("Gather", [self, index], shape, axis=axis)

    def windows(self, index: Array) -> Value:
        """Of a matrix, the columns ``index`` says, ``(rows, *index.shape)``; one past the last column is zero."""
        places = self.graph.constant(index.astype(np.int64))
        return concat([self, self.zeros(self.shape[0], 1)], 1).gather(1, places)

    def lookup(self, places: Value) -> Value:
        """Of a table, the rows that whole numbers say."""
        return self.gather(0, places)

    def zeros(self, *shape: int) -> Value:
        """Zeros of the same graph."""
        return self.graph.constant(np.zeros(shape))

    def constant(self, numbers: Reals) -> Value:
        """The nearest floats to real numbers."""
        return self.graph.constant(numbers.nearest)

    @classmethod
    def concat(cls, arrays: Sequence[Value], axis: int = 0) -> Value:
        """The arrays one after the other along an axis that they have."""
        return concat(arrays, axis)


def concat(values: Sequence[Value], axis: int = 0, name: str = "") -> Value:
    """Join along an axis that they have."""
    axis = axis % len(values[0].shape)
    length = sum(v.shape[axis] for v in values)
    shape = (*values[0].shape[:axis], length, *values[0].shape[axis + 1 :])
    return values[0].graph.op("Concat", list(values), shape, name, axis=axis)
