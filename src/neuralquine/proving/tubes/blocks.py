"""Tubes of deep transformers: the derivative of a whole block, and its norm, in the place of a product of norms.

Through a block of GPT-2 a tube grows a thousandfold, because a product of norms is not the norm of a product: the block itself
magnifies an error two- or threefold. So the derivative of each half of a pre-norm block is formed, n x n for each pair of tokens
(t, u), at the float64 run:

    attention:  J[t,u] = (u = t) I + [Wo diag(p_tu) Wv + sum_h Wo_h p_tu (v_u - o_t) (x) c q_t Wk_h + (u = t) ...] diag(g) N_u
    MLP:        J[t]   = I + W2 diag(f') W1 diag(g) N_t,

with N the derivative of the normalization. The tokens' errors of the block's input are known as the norms of their rows, and

    ||e_out(t)|| <= ||J[t,t]|| ||e(t)|| + ||(J[t,u])_(u<t)|| ||(e(u))_(u<t)|| + fresh(t).

*Fresh* is what is rounded, or of second order, inside the block, carried on by norms.

How far a J is off: its factors are known to a relative 2^-36 or better (checked), its products of at most 2^12 terms to 2^-40, and there
are fewer than ten of them one after the other: together below 2^-30 of the same expression in norms (``_formed``). It is then rounded to
float32, in which norms are twice as fast: 2^-24 of its Frobenius norm more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .machine import GROWTH, SMALLER, TINY, UNIT, Unbounded, gamma
from .node import Array, Node, norm
from .normal import difference
from .norms import frobenius, norm_bound, spectral

_FORMED = 2.0**-30  # of the expression in norms that bounds a derivative, how far the formed one may be off
_CERTAIN = 2.0**-36  # relative error of what it is formed from
_LONGEST = 1 << 12  # terms of its sums
_NARROW = 2.0**-24  # relative error of a number rounded to float32
# Operations of each number by itself.
_SMOOTH = ("tanh", "sigmoid", "erf", "mish_gate", "softsign", "multiply", "add", "times")


@dataclass
class Block:
    """The first half of a block, as far as the second half asks for it.

    Attributes:
        start, middle: its input and its output.
        pairs: its derivative for each pair of tokens in float32, and how far that is off.
        norms: of each token's derivative by itself, and by all earlier tokens together, ``(T, 2)``.
        fresh: of each token.
    """

    start: Node
    middle: Node
    pairs: dict[tuple[int, int], tuple[Array, float]]
    norms: Array
    fresh: Array


class Blocks:
    """Looks at every new node, and tightens the tube of a residual sum of token rows ``(1, T, n)``.

    Args:
        say: is told when a block is done.
        blocks: how many there are. After the last one a language model is read at its last token, so that there only this one's tube is
            tightened; where all are read, the others are wide.
    """

    def __init__(self, say: Callable[[str], None] | None = None, blocks: int = 0) -> None:
        self.last: Block | None = None
        self.done, self.say, self.blocks = 0, say, blocks

    def __call__(self, node: Node) -> None:
        if node.kind != "add" or node.value.ndim != 3 or node.shape[0] != 1 or any(p.fixed for p in node.parents):
            return
        start, branch = node.parents
        if start.shape != node.shape or branch.kind != "affine" or node.shape[-1] > _LONGEST:
            return
        first = node.shape[1] - 1 if self.done == self.blocks - 1 else 0
        attended = _attention(node, first)
        if attended is not None:
            self.last = attended
        elif self.last is not None and self.last.middle is start:
            _feed(node, self.last, first)
            self.last = None
            self.done += 1
            if self.say is not None:
                self.say(f"norms of block {self.done}")


def _tighten(node: Node, rows: Array, first: int) -> None:
    """Take a bound of the 2-norm of each row from the first one that was looked at."""
    if not (np.isfinite(rows[first:]).all() and (rows[first:] >= 0).all()):
        raise Unbounded("the norms of a block bound nothing")
    known = np.concatenate([np.full(first, np.inf), rows[first:] * GROWTH])
    node.row = np.minimum(node.row, known[None])
    node.radius = np.minimum(node.radius, node.row[..., None])


def _norms_of(pairs: dict[tuple[int, int], tuple[Array, float]], first: int, length: int, squarings: int) -> Array:
    """Bounds of the norms of each token's derivative by itself, and by all earlier tokens side by side: ``(T, 2)``."""
    norms = np.zeros((length, 2))
    for t in range(first, length):
        before = [pairs[t, u] for u in range(t) if (t, u) in pairs]
        for place, parts in ((0, [pairs[t, t]] if (t, t) in pairs else []), (1, before)):
            if parts:
                wide = spectral(np.concatenate([j for j, _ in parts], 1), squarings=squarings)
                norms[t, place] = (wide + np.sqrt(sum(off * off for _, off in parts))) * GROWTH
    return norms


def _carried(norms: Array, rows: Array) -> Array:
    """What norms make of the tokens' errors."""
    earlier = np.sqrt(np.concatenate([[0.0], np.cumsum(rows * rows)[:-1]]))
    return (norms[:, 0] * rows + norms[:, 1] * earlier) * GROWTH


def _up(node: Node, *kinds: str) -> Node | None:
    """The node from which this one was made by these operations, the last one first; None where it was not."""
    for kind in kinds:
        if node.kind != kind or not node.parents:
            return None
        node = node.parents[0]
    return node


def _local(node: Node) -> Array:
    """The norm of each row of what is rounded at a node."""
    assert node.charge is not None
    return norm(np.broadcast_to(node.charge.local, node.shape))[0]


@dataclass
class Normed:
    """``g * N(x) + b`` at the head of a branch: the node, its gains, the normalized rows, 1 / s of each, and what is fresh."""

    node: Node
    gains: Array
    rows: Array
    inverse: Array
    fresh: Array


def _normed(node: Node, start: Node) -> Normed | None:
    """The scaled normalization that a node is, if it is one of ``start``."""
    scaled = node.parents[0] if node.kind == "add" else node
    first = scaled.parents[0] if scaled.kind == "multiply" and scaled.parents else None
    if first is None or first.kind != "normalize" or first.parents[0] is not start:
        return None
    if not scaled.parents[1].fixed or (node is not scaled and not node.parents[1].fixed):
        return None
    assert first.charge is not None
    assert first.charge.rows is not None
    gains = scaled.parents[1].numbers.reshape(-1)
    # s from y: the norm of a normalized row is sqrt(n) times deviation / s; s itself is asked of the backward step.
    assert first.pull is not None
    n = start.shape[-1]
    turn = np.zeros((1, *start.shape))
    turn[..., 0], turn[..., 1] = 1.0, -1.0
    y = first.numbers[0]
    flat = turn[0, 0] - y * (y * turn[0, 0]).mean(-1, keepdims=True)
    (pulled,) = first.pull(turn)
    assert pulled is not None
    place = np.abs(flat).argmax(-1)[:, None]
    inverse = np.take_along_axis(pulled[0, 0], place, 1)[:, 0] / np.take_along_axis(flat, place, 1)[:, 0]
    off = difference(np.abs(start.numbers[0]), np.abs(y), 1 / np.abs(inverse)[:, None] * SMALLER, UNIT, TINY, n)
    if not off.max() < _CERTAIN * (np.abs(y).max() + 1):
        return None
    fresh = np.abs(gains).max() * (_local(first) + first.charge.rows[0])
    for part in {id(scaled): scaled, id(node): node}.values():
        fresh = fresh + _local(part)
    return Normed(node, gains, y, inverse, fresh * GROWTH)


def _through(m: Array, y: Array, inverse: float) -> Array:
    """``M N`` for the derivative ``N = (I - 1 1^T / n - y y^T / n) / s``, in the place of M."""
    n = len(y)
    m -= np.stack([m.sum(1), m @ y], 1) @ (np.stack([np.ones(n), y]) / n)
    m *= inverse
    return m


def _narrow(j: Array, sizes: float, inverse: float) -> tuple[Array, float]:
    """A derivative in float32, and how far it is off; ``sizes`` bounds the factor before the normalization in norms."""
    error = _FORMED * (3 * sizes * abs(inverse) + 1)
    return j.astype(np.float32), (error + _NARROW * frobenius(j)) * GROWTH


def _attention(node: Node, only_from: int) -> Block | None:
    start, branch = node.parents
    mixed = _up(branch, "affine", "reshape", "move")
    if mixed is None or mixed.kind != "matmul":
        return None
    p, v = mixed.parents
    times = _up(p, "softmax")
    product = None if times is None else _up(times, "times")
    if times is None or product is None or product.kind != "matmul":
        return None
    q, turned = product.parents
    k = _up(turned, "move")
    cuts = [None if part is None else _up(part, "move", "reshape") for part in (q, k, v)]
    joint = [None if cut is None or cut.kind != "cut" else cut.parents[0] for cut in cuts]
    if k is None or joint[0] is None or any(part is not joint[0] for part in joint) or joint[0].kind != "affine":
        return None
    head = _normed(joint[0].parents[0], start)
    if head is None:
        return None
    return _attended(node, head, joint[0], (q, k, v, p, mixed), (product, times), only_from)


def _attended(
    node: Node, head: Normed, joint: Node, parts: tuple[Node, ...], logits: tuple[Node, Node], only_from: int
) -> Block | None:
    start, branch = node.parents
    qs, ks, vs, ps, os = (part.numbers[0] for part in parts)
    heads, length, size = qs.shape
    n = node.shape[-1]
    wide = joint.parents[1].numbers * head.gains
    wq, wk, wv = (wide[i * n : (i + 1) * n].reshape(heads, size, n) for i in range(3))
    wo = branch.parents[1].numbers
    by_head = wo.reshape(n, heads, size)
    factor = _factor(*logits)
    fresh = _attention_fresh(node, head, joint, parts, logits, abs(factor))
    norm_o = np.array([frobenius(by_head[:, i]) for i in range(heads)])
    norm_q, norm_k = (np.array([frobenius(w[i]) for i in range(heads)]) for w in (wq, wk))
    norm_v = frobenius(wv)
    spread = norm(vs)[:, None, :] + norm(os)[:, :, None]  # (heads, t, u)
    pull = ps * spread * norm_o[:, None, None] * abs(factor)
    found: dict[tuple[int, int], tuple[Array, float]] = {}
    seen = [(t, u) for t in range(only_from, length) for u in range(t + 1) if ps[:, t, u].any()]
    if np.triu(ps.max(0), 1).any():  # a token that sees later ones
        return None
    each = np.stack([(by_head[:, i] @ wv[i]).reshape(-1) for i in range(heads)])
    mixed_values = (np.array([ps[:, t, u] for t, u in seen]) @ each).reshape(-1, n, n)
    for m, (t, u) in zip(mixed_values, seen, strict=True):
        sizes = np.sqrt(((norm_o * ps[:, t, u]) ** 2).sum()) * norm_v
        turn = np.einsum("nhs,hs->nh", by_head, ps[:, t, u, None] * (vs[:, u] - os[:, t]))
        m += turn @ (factor * np.einsum("hs,hsn->hn", qs[:, t], wk))
        sizes += (pull[:, t, u] * norm(qs[:, t]) * norm_k).sum()
        if u == t:
            turns = np.einsum("nhs,hus->nhu", by_head, ps[:, t, :, None] * (vs - os[:, t, None]), optimize=True)
            asked = np.einsum("hus,hsn->hun", ks, wq, optimize=True)
            m += factor * np.einsum("nhu,hum->nm", turns, asked, optimize=True)
            sizes += (pull[:, t] * norm(ks) * norm_q[:, None]).sum()
        j = _through(m, head.rows[u], head.inverse[u])
        if u == t:
            j[np.diag_indices(n)] += 1.0
        found[t, u] = _narrow(j, float(sizes), float(head.inverse[u]))
    norms = _norms_of(found, only_from, length, squarings=2)
    _tighten(node, _carried(norms, start.row[0]) + fresh, only_from)
    return Block(start, node, found, norms, fresh)


def _factor(product: Node, times: Node) -> float:
    """The number that the logits are multiplied with."""
    assert times.pull is not None
    (one,) = times.pull(np.ones((1, *product.shape)))
    assert one is not None
    return float(one.reshape(-1)[0])


def _attention_fresh(
    node: Node, head: Normed, joint: Node, parts: tuple[Node, ...], logits: tuple[Node, Node], factor: float
) -> Array:
    """Bound of the norm of each row of what is rounded, or of second order, in the first half of a block."""
    (_, branch), (q, k, v, p, mixed), (product, times) = node.parents, parts, logits
    each = (norm_bound(joint.parents[1]) * head.fresh + _local(joint)) * GROWTH  # of q, k and v of a token together
    assert product.charge is not None
    assert times.charge is not None
    assert p.charge is not None
    assert p.charge.second is not None
    qs, ks, vs = (norm(part.numbers[0]) for part in (q, k, v))
    ps = p.numbers[0]
    s = qs[:, :, None] * each[None, None, :] + ks[:, None, :] * each[None, :, None]
    s = s + q.row[0][:, :, None] * k.row[0][:, None, :] + np.broadcast_to(product.charge.local, product.shape)[0]
    s = factor * s * GROWTH + np.broadcast_to(times.charge.local, times.shape)[0]
    s = np.where(ps > 0, s, 0.0)
    shares = ps * (s + (ps * s).sum(-1, keepdims=True)) * (1 + _FORMED)
    shares = shares + np.broadcast_to(p.charge.local, p.shape)[0] + p.charge.second[0]
    mixing = (
        (ps @ each[:, None])[..., 0] + (shares * vs[:, None, :]).sum(-1) + (p.radius[0] @ v.row[0][..., None])[..., 0]
    )
    assert mixed.charge is not None
    mixing = mixing + norm(np.broadcast_to(mixed.charge.local, mixed.shape))[0]
    rows = np.sqrt((mixing * mixing).sum(0)) * GROWTH
    return (norm_bound(branch.parents[1]) * rows + _local(branch) + _local(node)) * GROWTH


def _feed(node: Node, before: Block, only_from: int) -> None:
    """The second half of a block: each token by itself."""
    start, branch = node.parents
    found = _elementwise(branch.parents[0])
    head = None if found is None else _normed(found[0].parents[0], start)
    if found is None or head is None:
        return
    inner, slope, rest = found
    w1, w2 = inner.parents[1].numbers * head.gains, branch.parents[1].numbers
    fresh = norm_bound(inner.parents[1]) * head.fresh + _local(inner)
    fresh = (np.abs(slope).max(-1) * (1 + _FORMED) * fresh + norm(rest)) * GROWTH
    fresh = (norm_bound(branch.parents[1]) * fresh + _local(branch) + _local(node)) * GROWTH
    length, n = start.shape[1:]
    own, pairs = np.zeros(length), {}
    outer, rows = frobenius(w2), (w1 * w1).sum(1)
    for t in range(only_from, length):
        j = _through(w2 @ (slope[t][:, None] * w1), head.rows[t], head.inverse[t])
        j[np.diag_indices(n)] += 1.0
        narrow, error = _narrow(
            j, outer * float(np.sqrt((rows * slope[t] ** 2).sum())) * GROWTH, float(head.inverse[t])
        )
        own[t], size = spectral(narrow, squarings=2) + error, frobenius(narrow)
        for u in range(t + 1):
            if (t, u) in before.pairs:
                first, off = before.pairs[t, u]
                reach = frobenius(first) + off
                rounded = gamma(n + 4, _NARROW) * size * reach
                pairs[t, u] = narrow @ first, (error * reach + own[t] * off + rounded) * GROWTH
    norms = _norms_of(pairs, only_from, length, squarings=3)
    whole = _carried(norms, before.start.row[0]) + own * before.fresh
    _tighten(node, np.minimum(own * start.row[0], whole) + fresh, only_from)


def _elementwise(node: Node) -> tuple[Node, Array, Array] | None:
    """The affine node below functions of each number by itself, their derivative, and what they round or leave out.

    The backward pass from all numbers at once keeps them apart, because no operation mixes them. How far that derivative is from
    the true one is counted in what is rounded.
    """
    tape, shape = node.tape, node.shape
    waiting: dict[int, Array] = {node.place: np.ones((1, *shape))}
    rest = np.zeros(shape)
    for other in reversed(tape.nodes[: node.place + 1]):
        a = waiting.pop(other.place, None)
        if a is None:
            continue
        if other.kind == "affine":
            return None if waiting else (other, a[0, 0], rest[0])
        if other.kind not in _SMOOTH or other.shape != shape or other.charge is None or other.pull is None:
            return None
        charge = other.charge
        rest = rest + np.abs(a[0]) * (charge.local + (0.0 if charge.second is None else charge.second)) * GROWTH
        for parent, part in zip(other.parents, other.pull(a), strict=True):
            if part is None or parent.fixed:
                if parent.value.size != 1:
                    return None
                continue
            if parent.place in waiting:
                part = waiting[parent.place] + part
                rest = rest + UNIT * np.abs(part[0]) * parent.radius * GROWTH
            waiting[parent.place] = part
    return None
