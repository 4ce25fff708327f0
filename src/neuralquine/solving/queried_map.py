"""The self-map of a queried quine, for searches: counted, cancellable, with derivatives written out where possible."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from ..quines.derivatives import Directional
from ..quines.itself import SelfQuine
from ..quines.measure import UNIFORM, round_off
from ..quines.normalized import NormalizedLinearization
from ..quines.queried import QueryQuine
from ..quines.stack import Linearization, MeanField
from .maps import FullMap, Product, unpreconditioned
from .search import map_of

_NEARLY = 1e5  # times round-off, the residual from which on the module itself answers: its order of sums decides the last digits


class QueryMap(FullMap):
    """``F(theta)`` of a network that answers every weight by itself; several threads may search on it at once.

    Attributes:
        cancelled: once set, every search on this map ends as if interrupted.
    """

    def __init__(self, quine: QueryQuine | SelfQuine, together: QueryQuine | SelfQuine | None = None) -> None:
        super().__init__(quine, together)
        self.queried = quine
        self.stack = quine.stack
        self.normalized = quine.normalized
        self.written_out = self.normalized if self.stack is None else self.stack
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._alone = threading.Lock()  # a module can hold one set of weights at a time
        self._spare: list[list[Tensor]] = []
        self._local: tuple[Tensor, Directional] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        self.count(len(x), 0)
        if self.stack is not None:
            return torch.stack([self.stack.answers(row) for row in x])
        if self.normalized is not None and x.dtype in self.normalized.fixed:
            y = torch.stack([self.normalized.answers(row) for row in x])
            residuals = torch.linalg.vector_norm(y - x, dim=1) / torch.linalg.vector_norm(x, dim=1)
            if float(residuals.min()) > _NEARLY * round_off(x.dtype):
                return y
        with torch.no_grad(), self._alone:
            return self._evaluate(x)

    def answers(self, x: Tensor, rows: Tensor) -> Tensor:
        if self.stack is None:
            return super().answers(x, rows)
        self.in_time()
        return self.stack.some_answers(x, rows)

    def rough(self, x: Tensor) -> Tensor:
        if self.written_out is None:
            return self(x[None])[0]
        self.count(1, 0)
        return self.written_out.answers(x.float())

    def linearize(self, x: Tensor) -> tuple[Product, Product]:
        if self.stack is not None:
            at = Linearization(self.stack, x, self._spare)
        elif self.normalized is not None:
            at = NormalizedLinearization(self.normalized, x)
        else:
            return super().linearize(x)

        return self._counted(at.jvp), MeanField(at) if isinstance(at, Linearization) else unpreconditioned

    def sharply(self, x: Tensor) -> tuple[Product, Product] | None:
        if self.stack is None or x.dtype == torch.float32:
            return None
        inverse = MeanField(Linearization(self.stack, x, self._spare))
        exact = Linearization(self.stack, x, dtype=x.dtype)
        return self._counted(exact.jvp), lambda v: inverse(v.float()).to(v)

    def _counted(self, jvp: Product) -> Product:
        def product(v: Tensor) -> Tensor:
            self.count(0, 1)
            return jvp(v)

        return product

    def collapsed(self, x: Tensor) -> Tensor:
        """Whether the weights of a row are zero or all one number, which a network of dead units and a bias answers."""
        size = x.square().mean(1).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        uniform = x.std(1, correction=0) / size < UNIFORM
        return super().collapsed(x) | uniform if self.n > 1 else super().collapsed(x)

    def local(self, theta: Tensor) -> Directional:
        """The derivative at some weights, kept until others are asked for."""
        if self._local is None or not torch.equal(self._local[0], theta):
            self._local = theta.clone(), self.together.directional(theta)
        return self._local[1]

    def count(self, evaluations: int, jvps: int) -> None:
        """Count what is about to be computed, unless the search was cancelled or its time has passed."""
        if self.cancelled.is_set():
            raise KeyboardInterrupt
        self.in_time()
        with self._lock:
            self.evaluations += evaluations
            self.jvps += jvps


@map_of.register(QueryQuine)
def _map_of(quine: QueryQuine) -> QueryMap:
    return QueryMap(quine)
