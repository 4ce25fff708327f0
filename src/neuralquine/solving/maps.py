"""Maps whose fixed points are sought, on rows of points, with every evaluation and derivative counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ..errors import NothingToSolve, check_bytes
from ..files.journal import Journal
from ..quines.code_by_code import code_by_code
from ..quines.gradients import (
    REPLICA_BYTES,
    derivatives_on,
    gradient,
    named_failures,
    reverse_jacobian,
    reverse_jvp,
)
from ..quines.interrupts import interrupt_here
from ..quines.quine import Quine


def refuse_constructed(quine: Quine) -> None:
    """Refuse a network that prints itself with any code: a search would lose what it has learned."""
    if quine.constructed:
        raise NothingToSolve(
            "this network prints itself whatever its code is: train it (nq.tasks.train), do not solve it"
        )


Product = Callable[[Tensor], Tensor]


def unpreconditioned(v: Tensor) -> Tensor:
    """The approximate inverse of ``I - J`` of a map about which nothing is known: the identity."""
    return v


class OutOfTime(KeyboardInterrupt):
    """The time limit has passed within a step of a search; what survives Ctrl-C survives it."""


class SelfMap:
    """A map ``f: R^n -> R^n`` evaluated on rows ``(B, n)``.

    Attributes:
        n: dimension.
        evaluations: rows evaluated so far.
        jvps: derivative products so far, forward (JVP) or reverse (VJP); a Jacobian costs n of them.
        known: ``(K, n)`` fixed points already found, for methods that avoid them.
        journal: the file that records evaluations and derivatives, so that a search can be resumed.
        late: whether the time limit has passed; from the second evaluation on, the map then answers no more.
    """

    def __init__(
        self,
        rows: Callable[[Tensor], Tensor],
        n: int,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self._rows, self.n, self.dtype = rows, n, dtype
        self.evaluations: int = 0
        self.jvps: int = 0
        self.journal: Journal | None = None
        self.late: Callable[[], bool] | None = None
        self.known = torch.zeros(0, n, dtype=dtype, device=device)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """``f`` of every row: ``(B, n)`` to ``(B, n)``."""
        self.in_time()
        self.evaluations += len(x)
        y = self._rows(x) if self.journal is None else self.journal(b"f", x, lambda: self._rows(x), x.shape)
        if y.shape != x.shape:
            raise ValueError(f"a self-map must keep the shape: {tuple(x.shape)} became {tuple(y.shape)}")
        return y

    def in_time(self) -> None:
        """Raise where the time limit has passed, unless nothing was evaluated yet that could be judged; take an interrupt."""
        interrupt_here()
        if self.late is not None and self.evaluations and self.late():
            raise OutOfTime

    def jacobian(self, x: Tensor) -> Tensor:
        """``J[b, i, j] = d f_i / d x_j`` at every row: ``(B, n)`` to ``(B, n, n)``.

        Raises:
            TooLarge: above 2 GiB; use a matrix-free method.
        """
        self.in_time()
        b, n = x.shape
        check_bytes(
            f"the dense {n} x {n} Jacobian" + (f" at {b} points" if b > 1 else ""),
            b * n * n * x.element_size(),
            "use method newton-krylov, anderson or picard, which need no matrix",
        )
        self.jvps += b * n
        with named_failures():
            if self.journal is None:
                return self._jacobian(x)
            return self.journal(b"j", x, lambda: self._jacobian(x).detach(), (b, n, n))

    def _jacobian(self, x: Tensor) -> Tensor:
        return reverse_jacobian(self._rows, x, self.n, replicate=True)

    def jvp(self, x: Tensor, v: Tensor) -> Tensor:
        """``J(x) v`` at one point: ``(n,)``, ``(n,)`` to ``(n,)``."""
        self.in_time()
        self.jvps += 1
        if self.journal is None:
            return self._jvp(x, v)
        return self.journal(b"v", torch.stack([x, v]), lambda: self._jvp(x, v), x.shape)

    def _jvp(self, x: Tensor, v: Tensor) -> Tensor:
        def at(point: Tensor) -> Tensor:
            return self._rows(point[None])[0]

        try:
            return torch.func.jvp(at, (x,), (v,))[1].detach()
        except (RuntimeError, NotImplementedError):  # an operation without forward derivative
            return reverse_jvp(at, x, v)

    def vjp(self, x: Tensor, u: Tensor) -> Tensor:
        """``J(x)^T u`` of every row: ``(B, n)``, ``(B, n)`` to ``(B, n)``."""
        self.in_time()
        self.jvps += len(x)
        with derivatives_on():
            leaf = x.detach().clone().requires_grad_(True)
            return gradient((self._rows(leaf) * u).sum(), leaf, retain=False)

    def answers(self, x: Tensor, rows: Tensor) -> Tensor:
        """Some components of ``f`` at one point ``(n,)``, to be differentiated: ``(len(rows),)``. Not counted."""
        self.in_time()
        return self._rows(x[None])[0][rows]

    def rough(self, x: Tensor) -> Tensor:
        """``f`` of one point ``(n,)`` where a few digits are enough."""
        return self(x[None])[0]

    def linearize(self, x: Tensor) -> tuple[Product, Product]:
        """``v -> J(x) v`` at one point, and an approximate inverse of ``I - J(x)``, in float32 or the map's type."""

        def product(v: Tensor) -> Tensor:
            with named_failures():
                return self.jvp(x, v.to(x)).to(v)

        return product, unpreconditioned

    def sharply(self, x: Tensor) -> tuple[Product, Product] | None:
        """:meth:`linearize` in the map's own type, where that is another one; else None."""
        return None

    def squared_length(self, r: Tensor, length: Tensor) -> Tensor:
        """``||F(theta) - theta||^2`` in weights: ``(B,)``.

        Args:
            r: ``(B, n)`` residuals ``f(x) - x``.
            length: ``(B,)`` their norms.
        """
        return length * length

    def collapsed(self, x: Tensor) -> Tensor:
        """Whether a row is the zero solution: ``(B, n)`` to ``(B,)`` of bool."""
        return (x * x).mean(-1) < 1e-8


class ReducedMap(SelfMap):
    """``g(c)`` of a quine without the rounding of the code, on codes: n = d numbers whatever P is.

    Args:
        quine: the network.
        together: answers in its place, up to round-off, where several codes are asked at once or it is differentiated.
    """

    def __init__(self, quine: Quine, together: Quine | None = None) -> None:
        super().__init__(self._evaluate, quine.code_size, dtype=quine.code_dtype, device=quine.trunk_device)
        self.quine, self.together = quine, together or quine

    @cached_property
    def _gram(self) -> Tensor:
        return self.quine.printer.gram()

    def squared_length(self, r: Tensor, length: Tensor) -> Tensor:
        """The squared norm of the weights that a difference of codes is expanded to, before they are rounded."""
        return ((r @ self._gram.to(r)) * r).sum(-1).clamp_min(0)

    def _evaluate(self, c: Tensor) -> Tensor:
        if self.quine.in_place:
            return torch.stack([self._printed_first(row) for row in c])
        return (self.together if len(c) > 1 else self.quine).real_codes(self.quine.printer(c))

    def _printed_first(self, c: Tensor) -> Tensor:
        self.quine.install(c)
        return self.quine.real_code()

    def _jacobian(self, x: Tensor) -> Tensor:
        if self.quine.in_place:
            return torch.stack([self._jacobian_in_place(row) for row in x])
        # Differentiate by the weights and pull back afterwards: the expansion is linear and known.
        printer, quine = self.quine.printer, self.together
        if x.numel() * quine.parameter_count * x.element_size() <= REPLICA_BYTES:
            return printer.pull_back(quine.code_jacobian(printer(x)))
        one_by_one = (quine.code_jacobian(printer(row[None]))[0] for row in x)  # all at once took gigabytes
        return torch.stack([torch.stack([printer.pull_back(r) for r in rows]) for rows in one_by_one])

    def _jacobian_in_place(self, c: Tensor) -> Tensor:
        self.quine.install(c)
        return code_by_code(self.quine, self.quine.printer).to(c)

    def install(self, x: Tensor) -> None:
        """Store the weights that a point ``(n,)`` stands for."""
        self.quine.install(x)

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """Random points to start at: ``(count, n)``."""
        return self.quine.random_codes(count, generator)

    @torch.no_grad()
    def own(self) -> Tensor:
        """The point ``(n,)`` that the network as it stands is nearest to."""
        self.evaluations += 1
        return self.quine.code()


class FullMap(SelfMap):
    """``F(theta)`` of a quine, on all P weights; see :class:`ReducedMap` for its arguments."""

    def __init__(self, quine: Quine, together: Quine | None = None) -> None:
        super().__init__(self._evaluate, quine.parameter_count, dtype=quine.dtype, device=quine.trunk_device)
        self.quine, self.together = quine, together or quine
        self.codes: Journal | None = None  # the journal, which is given d numbers an evaluation instead of P
        self._scale = quine.printer.gain * quine.code_size**0.5

    def _evaluate(self, theta: Tensor) -> Tensor:
        q = self.together if len(theta) > 1 else self.quine
        if self.codes is None or torch.is_grad_enabled():
            return q.printer(q.real_codes(theta))
        shape = (len(theta), q.code_size)
        return q.printer(self.codes(b"c", theta, lambda: q.real_codes(theta), shape, q.code_dtype))

    def install(self, x: Tensor) -> None:
        self.quine.theta = x

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        return self.quine.expand(self.quine.random_codes(count, generator))

    def own(self) -> Tensor:
        return self.quine.theta

    def collapsed(self, x: Tensor) -> Tensor:
        return ((x - self.quine.printer.mean) / self._scale).square().mean(-1) < 1e-8
