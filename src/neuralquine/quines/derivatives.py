"""The derivative ``J`` of a self-map at some weights: every kind of quine computes it in the way it can afford.

``J_F = E C`` with the printer's Jacobian ``E`` ``(P, d)`` and the code's derivative ``C`` ``(d, P)``. So its non-zero
eigenvalues are those of ``C E``, and ``||E C||^2`` is the largest eigenvalue of ``E^T E C C^T``.

    Dense        from C, written out
    InPlace      from the rows of C, one by one, for networks that have no room for C
    Matrixless   from products, where C has as many rows as there are weights
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .arnoldi import distance_to_one, fixed_direction
from .code_by_code import code_by_code
from .gradients import Holder, derivatives_on, gradient, stored_gradient_lengths
from .known import known, remembered
from .krylov import Product, Products, by_modulus
from .printers.base import Printer

DENSE = 600  # rows of C up to which it is written out where it has as many rows as there are weights
_WIDE = 100  # columns for each row of C from which its steepest direction is computed from C C^T
_DIRECTIONS = 4  # random directions that give a lower bound; the largest of four is within a factor of 2 in practice


class Derivative(ABC):
    """``J`` at some weights.

    Attributes:
        products: derivative products taken so far, forward or reverse.
        finite: whether all entries that were computed are finite.
    """

    products: int = 0
    finite: bool = True

    @abstractmethod
    def eigenvalues(self) -> tuple[Tensor, bool]:
        """Non-zero eigenvalues, complex, the largest first; and whether these are all of them."""

    @abstractmethod
    def norm(self) -> tuple[float, bool]:
        """``||J||_2``; and whether the number is only a lower bound of it."""

    def nearest_to_one(self) -> float:
        """``min |1 - lambda|`` where not all eigenvalues are at hand; NaN where it is not known."""
        return math.nan


class Directional(Derivative):
    """A derivative that can also be applied to any direction of the weights.

    Attributes:
        written_out: whether the whole matrix is at hand, so that all eigenvalues can be computed.
    """

    written_out: bool = True

    @abstractmethod
    def jvp(self, v: Tensor) -> Tensor:
        """``J v``: ``(P,)`` to ``(P,)``."""

    @abstractmethod
    def steepest(self) -> Tensor:
        """A unit vector ``(P,)`` along which the network answers most."""

    def fixed_direction(self) -> Tensor | None:
        """A unit vector ``(P,)`` that J takes to itself, where J is not written out; None where none is found."""
        return None


class Rows(Protocol):
    """The part of a printer that a derivative is multiplied by."""

    @property
    def code_size(self) -> int: ...

    def linear(self, c: Tensor) -> Tensor: ...

    def pull_back(self, rows: Tensor) -> Tensor: ...

    def gram(self) -> Tensor: ...


class Dense(Directional):
    """The derivative from ``C`` ``(d, P)``, written out.

    Args:
        matrix: C, or those of its rows that are not zero.
        printer: E.
        rows: which rows of C these are; by default all.
    """

    def __init__(self, matrix: Tensor, printer: Printer | Rows, rows: Tensor | None = None) -> None:
        self.matrix, self.printer, self.rows = matrix, printer, rows
        self.products = len(matrix)
        self.finite = bool(torch.isfinite(matrix).all())

    def jvp(self, v: Tensor) -> Tensor:
        c = self.matrix @ v
        if self.rows is not None:
            c = c.new_zeros(self.printer.code_size).index_copy(0, self.rows, c)
        return self.printer.linear(c)

    def reduced(self) -> Tensor:
        """``C E``, ``(d, d)``: it has the non-zero eigenvalues of ``J``."""
        pulled = self.printer.pull_back(self.matrix)
        return pulled if self.rows is None else pulled[:, self.rows]

    def eigenvalues(self) -> tuple[Tensor, bool]:
        if not self.finite:
            return torch.full((len(self.matrix),), torch.nan, dtype=torch.complex128), True
        return eigenvalues_of(self.reduced()), True

    def norm(self) -> tuple[float, bool]:
        if not self.finite:
            return math.nan, False
        gram = self._gram().double()
        if not bool(torch.isfinite(gram).all()):
            return math.nan, False
        values, vectors = torch.linalg.eigh(gram)
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
        matrix = self.matrix.double()
        product = root @ (matrix @ matrix.mT) @ root
        if not bool(torch.isfinite(product).all()):
            return math.nan, False
        return float(torch.linalg.eigvalsh(product).max().clamp_min(0).sqrt()), False

    def _gram(self) -> Tensor:
        if self.rows is None:
            return self.printer.gram()
        units = torch.eye(self.printer.code_size, dtype=self.matrix.dtype, device=self.matrix.device)[self.rows]
        printed = self.printer.linear(units)
        return printed @ printed.mT

    def steepest(self) -> Tensor:
        if not self.finite:
            return torch.full_like(self.matrix[0], torch.nan)
        matrix = self.matrix.double() if self.matrix.shape[1] > _WIDE * len(self.matrix) else None
        gram = None if matrix is None else matrix @ matrix.mT
        if matrix is None or gram is None or not bool(torch.isfinite(gram).all()):
            return torch.linalg.svd(self.matrix, full_matrices=False).Vh[0]
        direction = torch.linalg.eigh(gram).eigenvectors[:, -1] @ matrix  # a small matrix has to be taken apart
        return (direction / torch.linalg.vector_norm(direction)).to(self.matrix)


class Zero(Directional):
    """The derivative, zero, of a network that reads every sign with a margin: no small change of its weights matters.

    Args:
        like: a tensor ``(P,)``.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like

    def jvp(self, v: Tensor) -> Tensor:
        return torch.zeros_like(v)

    def eigenvalues(self) -> tuple[Tensor, bool]:
        return torch.zeros(1, dtype=torch.complex128), True

    def norm(self) -> tuple[float, bool]:
        return 0.0, False

    def steepest(self) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(0), len(self._like)).to(self._like)


class Unknown(Directional):
    """The derivative of a network that raises when it is differentiated: every figure of it is NaN.

    Args:
        like: a tensor ``(P,)``.
    """

    def __init__(self, like: Tensor) -> None:
        self._like, self.finite = like, False

    def jvp(self, v: Tensor) -> Tensor:
        return torch.full_like(v, torch.nan)

    def eigenvalues(self) -> tuple[Tensor, bool]:
        return torch.full((1,), torch.nan, dtype=torch.complex128), True

    def norm(self) -> tuple[float, bool]:
        return math.nan, False

    def steepest(self) -> Tensor:
        return torch.full_like(self._like, torch.nan)


class Matrixless(Directional):
    """The derivative from products alone: the eigenvalues of largest modulus, and the norm.

    Args:
        jvp, vjp: the products, ``(P,)`` to ``(P,)``.
        like: the weights ``(P,)``.
        near: products with J in the type of the weights, and an approximate inverse of ``I - J``; what is said of the
            eigenvalues near 1 needs them.
    """

    def __init__(self, jvp: Product, vjp: Product, like: Tensor, near: tuple[Product, Product] | None = None) -> None:
        self.written_out, self._near, self._like = False, near, like
        self._jvp, self._operator = jvp, Products(jvp, vjp, like)
        self._singular: tuple[float, Tensor] | None = None

    def jvp(self, v: Tensor) -> Tensor:
        self._operator.count += 1
        return self._jvp(v)

    def eigenvalues(self) -> tuple[Tensor, bool]:
        values = self._operator.eigenvalues()
        self.products = self._operator.count
        return values, False

    def _product_near(self, v: Tensor) -> Tensor:
        assert self._near is not None
        self._operator.count += 1
        return self._near[0](v)

    def nearest_to_one(self) -> float:
        if self._near is None:
            return math.nan
        found = distance_to_one(self._product_near, self._near[1], self._like)
        self.products = self._operator.count
        return found

    def fixed_direction(self) -> Tensor | None:
        if self._near is None:
            return None
        return fixed_direction(self._product_near, self._near[1], self._like, nothing=nothing(self._like.dtype))

    def _largest(self) -> tuple[float, Tensor]:
        if self._singular is None:
            self._singular = self._operator.singular()
            self.products = self._operator.count
            self.finite = self._singular[0] < math.inf
        return self._singular

    def norm(self) -> tuple[float, bool]:
        return self._largest()[0], False

    def steepest(self) -> Tensor:
        return self._largest()[1]


def from_products(
    rows: Callable[[Tensor], Tensor], theta: Tensor, near: tuple[Product, Product] | None = None
) -> Matrixless:
    """The derivative of a map ``(P,)`` to ``(P,)`` at some weights, by forward and reverse products."""

    def jvp(v: Tensor) -> Tensor:
        return torch.func.jvp(rows, (theta,), (v.to(theta),))[1].detach()

    def vjp(u: Tensor) -> Tensor:
        with derivatives_on():
            leaf = theta.detach().clone().requires_grad_(True)
            return gradient((rows(leaf) * u.to(theta)).sum(), leaf, retain=False)

    return Matrixless(jvp, vjp, theta, near)


class InPlace(Derivative):
    """The derivative at the stored weights, by backward passes: d for the eigenvalues, four for a bound of the norm.

    Args:
        quine: the network.
        printer: E.
    """

    def __init__(self, quine: Holder, printer: Printer) -> None:
        self._quine, self._printer = quine, printer

    def eigenvalues(self) -> tuple[Tensor, bool]:
        self.products += self._printer.code_size
        return eigenvalues_of(code_by_code(self._quine, self._printer)), True

    def norm(self) -> tuple[float, bool]:
        """A lower bound: ``||E C|| >= sigma_min(E) ||C^T u||`` for every unit vector u of the code.

        One that was computed before stands where nothing that can be seen has changed since.
        """
        return known(self._quine, "norm", lambda: remembered(self._quine, self.norm_afresh))

    def norm_afresh(self) -> tuple[float, bool]:
        """:meth:`norm`, computed at the weights that are there."""
        return known(self._quine, "norm afresh", self._bound)

    def _bound(self) -> tuple[float, bool]:
        quine = self._quine
        generator = torch.Generator().manual_seed(0)
        gram = self._printer.gram().double()
        if not bool(torch.isfinite(gram).all()):
            return math.nan, True
        smallest = float(torch.linalg.eigvalsh(gram)[0].clamp_min(0).sqrt())
        draws = [
            torch.randn(self._printer.code_size, generator=generator, dtype=torch.float64) for _ in range(_DIRECTIONS)
        ]
        units = [u / torch.linalg.vector_norm(u) for u in draws]
        scalars = [lambda c, u=u: (c * u.to(c)).sum() for u in units]
        largest = max(math.hypot(*lengths) for lengths in stored_gradient_lengths(quine, scalars))
        self.products += _DIRECTIONS
        return smallest * largest, True


def eigenvalues_of(matrix: Tensor) -> Tensor:
    """The eigenvalues of a square matrix, the largest first; NaN where an entry is none.

    LAPACK is given finite numbers alone: with others it may end the whole interpreter.
    """
    matrix = matrix.double()
    if not bool(torch.isfinite(matrix).all()):
        return torch.full((len(matrix),), torch.nan, dtype=torch.complex128, device=matrix.device)
    try:
        return by_modulus(torch.linalg.eigvals(matrix))
    except RuntimeError:  # torch.linalg.LinAlgError: entries near 1e300, whose squares are none
        return torch.full((len(matrix),), torch.nan, dtype=torch.complex128, device=matrix.device)


def continuum(eigenvalues: Tensor, dtype: torch.dtype) -> float | None:
    """The distance of an eigenvalue of ``J`` to 1, where it is so small that this point lies on a line of them."""
    gap = float((1 - eigenvalues).abs().min())
    return gap if gap < nothing(dtype) else None


def nothing(dtype: torch.dtype) -> float:
    """The distance of an eigenvalue to 1 that is none in a type: what round-off leaves of 0."""
    return torch.finfo(dtype).eps ** 0.6
