"""Derivatives by large matrices as what they are: sums of few outer products, one for each place at which the matrix was applied.

A layer that multiplies T rows by a matrix of m x n weights has the derivative ``L^T R`` by them, with L ``(T, m)`` and R ``(T, n)``. Of a
language model that is asked with a prompt of 8 tokens it has m n numbers, made of 8 (m + n). Where these are found in the graph
that torch has recorded, none of the m n is ever written: the length and the pull-back need L and R alone. Only that graph is
believed: a matrix that is used in any other way, or whose derivative passes a hook, is differentiated as always. One that is used
several times, such as a tied one, has the sum of all its products.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

_MOST = 64  # outer products of a derivative: of more the pull-back costs as much as that of all its numbers
_SHARE = 4  # numbers of a derivative for each number of its factors, from which on these are worth it

Edges = dict[Any, list[tuple[Any, int]]]  # who hands a derivative to a node, and as which of its own
Sides = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Outer:
    """A derivative ``sum_s L_s^T R_s`` by a matrix ``(m, n)``: pairs ``(T_s, m)``, ``(T_s, n)``."""

    pairs: tuple[tuple[Tensor, Tensor], ...]

    def dense(self) -> Tensor:
        """All its numbers, ``(m, n)``."""
        (left, right), *others = self.pairs
        total = left.mT @ right
        for left, right in others:
            total.addmm_(left.mT, right)
        return total

    def length(self) -> float:
        """The Euclidean length: ``||L^T R||^2`` is the sum of ``(L L^T) * (R R^T)``."""
        left = torch.cat([pair[0] for pair in self.pairs]).double()
        right = torch.cat([pair[1] for pair in self.pairs]).double()
        square = float(((left @ left.mT) * (right @ right.mT)).sum())
        return math.sqrt(max(0.0, square)) if math.isfinite(square) else math.nan


@dataclass(frozen=True)
class Use:
    """One use of a matrix.

    Attributes:
        edge: where the derivative arrives that the outer products are made of.
        sides: what they are, given that derivative.
        rows: T.
    """

    edge: GradientEdge
    sides: Sides
    rows: int


def uses_of(answer: Tensor, weights: Sequence[nn.Parameter]) -> dict[int, list[Use]]:
    """All uses of the matrices among some weights, by number, where each is known; the others are left out."""
    edges, leaves = _edges(answer.grad_fn)
    found: dict[int, list[Use]] = {}
    for number, w in enumerate(weights):
        leaf = leaves.get(id(w))
        if leaf is None or w.dim() != 2 or type(w) is not nn.Parameter or w._backward_hooks:
            continue
        try:
            uses = _uses(leaf, w, edges)
        except RuntimeError:  # what was saved for the backward pass is not to be had any more
            continue
        rows = 0 if uses is None else sum(use.rows for use in uses)
        if uses and rows <= _MOST and _SHARE * rows * sum(w.shape) <= w.numel():
            found[number] = uses
    return found


def _edges(root: Any) -> tuple[Edges, dict[int, Any]]:
    """Who hands a derivative to every node, and the node of each leaf by the identity of its tensor."""
    edges, leaves, waiting, seen = defaultdict(list), {}, [root], {root}
    while waiting:
        node = waiting.pop()
        if hasattr(node, "variable"):
            leaves[id(node.variable)] = node
        for place, (other, _) in enumerate(node.next_functions):
            if other is None:
                continue
            edges[other].append((node, place))
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return edges, leaves


def _uses(node: Any, w: nn.Parameter, edges: Edges) -> list[Use] | None:
    """The uses of what a node hands on, the matrix or its transpose; None where one is of another kind."""
    uses: list[Use] = []
    if not _is_left_alone(node, w):
        return None
    for user, place in edges[node]:
        if user.name() == "TBackward0":
            turned = _uses(user, w, edges)
            if turned is None:
                return None
            uses += [Use(use.edge, _turned(use.sides), use.rows) for use in turned]
        else:
            use = _KNOWN[user.name()](user, place) if user.name() in _KNOWN else None
            if use is None:
                return None
            uses.append(use)
    return uses


def _turned(sides: Sides) -> Sides:
    """The outer products of the transpose."""

    def other_way_round(g: Tensor) -> tuple[Tensor, Tensor]:
        left, right = sides(g)
        return right, left

    return other_way_round


def _is_left_alone(node: Any, w: nn.Parameter) -> bool:
    """Whether a derivative reaches the weights from here as it is, unseen by any hook: one of a single number shows it."""
    shape = w.shape if hasattr(node, "variable") else w.shape[::-1]
    sent = torch.ones((), dtype=w.dtype, device=w.device).expand(shape)
    engine: Any = (
        torch.autograd.Variable._execution_engine
    )  # torch.autograd.grad imports hundreds of modules to do this
    options = {"allow_unreachable": True, "accumulate_grad": False}
    (arrived,) = engine.run_backward((GradientEdge(node, 0),), (sent,), True, False, (w,), **options)
    return arrived.data_ptr() == sent.data_ptr() and not any(arrived.stride())


def _of_product(node: Any, place: int, other: Any, factor: float = 1) -> Use | None:
    """The use of a matrix in ``factor * first @ second``, as the first (place 0) or the second, beside the other of them."""
    if type(other) not in (Tensor, nn.Parameter) or other.is_complex():
        return None
    held: Tensor = other.detach() if factor == 1 else other.detach() * factor
    if place == 0:
        return Use(GradientEdge(node, 0), lambda g: (g.mT, held.mT), held.shape[1])
    return Use(GradientEdge(node, 0), lambda g: (held, g), held.shape[0])


def _addmm(node: Any, place: int) -> Use | None:
    if place == 0:
        return None  # what is added to a product is no matrix of weights
    return _of_product(node, place - 1, node._saved_mat2 if place == 1 else node._saved_mat1, node._saved_alpha)


def _mm(node: Any, place: int) -> Use | None:
    return _of_product(node, place, node._saved_mat2 if place == 0 else node._saved_self)


def _embedding(node: Any, _: int) -> Use | None:
    given = node._saved_indices
    skipped = node._saved_padding_idx
    if node._saved_scale_grad_by_freq or node._saved_sparse or skipped < 1 << 63 or type(given) is not Tensor:
        return None
    flat, count = given.reshape(-1), int(node._saved_weight_sym_argsize_0)
    picking: list[Tensor] = []  # made once, whatever is differentiated

    def sides(g: Tensor) -> tuple[Tensor, Tensor]:
        if not picking:
            zeros = torch.zeros(len(flat), count, dtype=g.dtype, device=g.device)
            picking.append(zeros.scatter_(1, flat[:, None].long(), 1.0))
        return picking[0], g.reshape(len(flat), -1)

    return Use(GradientEdge(node, 0), sides, len(flat))


_KNOWN = {"AddmmBackward0": _addmm, "MmBackward0": _mm, "EmbeddingBackward0": _embedding}
