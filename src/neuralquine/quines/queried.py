"""Queried quines: the network is asked for one weight at a time, ``f(x_i; theta) = theta_i``.

    F(theta)_i = f(x_i; theta),    i = 1 .. P

with a fixed query ``x_i`` for every weight. Nothing is expanded: the quine is P equations in P unknowns. All queries
are answered together, some thousands at a time. A recurrent network that runs freely and emits its weights one after the
other is the same with a single input and P outputs.

Source: Chang and Lipson, "Neural Network Quine" (2018), section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ..errors import TrunkError, check_bytes
from .networks.running import Inputs, Select, differentiable_kernels, pick, unwrapped
from .queries import QueryTable
from .quine import Quine
from .stack import Stack, layers_of

_CHUNK = 4096  # queries answered at once
_FEW = 64  # queries that are differentiated one by one at once


class QueryQuine(Quine):
    """A network that answers ``theta_i`` when it is asked for weight number i; solved or not.

    Args:
        trunk: any ``nn.Module`` that maps queries ``(n, q)`` to ``(n,)`` or ``(n, 1)``. It is copied.
        queries: a kind of :class:`~neuralquine.quines.queries.QueryTable`, or a tensor of your own: ``(P, q)``,
            or whatever one input makes the trunk emit all P weights.
        seed: of the ``projection`` table, and of the starts of a search.
        width: q, for ``projection`` and ``sinusoidal``; by default what the first linear layer takes.
        scale: of the queries; not of a table of your own.
        dtype: type in which the network computes and stores; by default float64 where the trunk runs in it.
        select: which part of the trunk's output is read.
        print_frozen: ask for parameters with ``requires_grad=False`` too.
        scales: of the weights, where searches start; by default those of ``trunk``.
        copy: leave the module handed in as it was.

    Raises:
        TrunkError: the trunk fails on the queries, or does not answer one number for each weight.
        TooLarge: the query table would take more than 2 GiB.

    Example:
        >>> import torch, neuralquine as nq
        >>> trunk = torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))
        >>> quine = nq.QueryQuine(trunk, "projection", seed=0)
        >>> quine.theta.shape == quine.printed().shape == (49,)
        True
    """

    _expansions = ("direct",)
    _coupled: bool | None = None  # whether one answer depends on the other queries, as with batch normalization

    def __init__(
        self,
        trunk: nn.Module,
        queries: str | Tensor = "projection",
        seed: int = 0,
        *,
        width: int | None = None,
        scale: float = 1.0,
        dtype: torch.dtype | None = None,
        select: Select = None,
        print_frozen: bool = True,
        scales: tuple[Sequence[float], Sequence[float]] | None = None,
        copy: bool = True,
    ) -> None:
        if not isinstance(trunk, nn.Module):
            raise TrunkError(f"the trunk must be an nn.Module, not {type(trunk).__name__}")
        shapes = [tuple(p.shape) for p in unwrapped(trunk).parameters() if print_frozen or p.requires_grad]
        count = sum(torch.Size(shape).numel() for shape in shapes)
        if count == 0:
            raise TrunkError("the trunk has no weights to print")
        self.queries: str | None = None
        if isinstance(queries, str):
            if width is None and queries in ("projection", "sinusoidal"):
                width = next((m.in_features for m in trunk.modules() if isinstance(m, nn.Linear)), None)
            table = QueryTable(queries, shapes, width=width, scale=scale, seed=seed)
            self.queries, self.width, self.scale = queries, table.width, table.scale
            probe = torch.from_numpy(table.rows())
        else:
            if width is not None or scale != 1.0:
                raise TrunkError("a query table of your own has its own width and scale: leave out width= and scale=")
            probe, self.width, self.scale = queries, None, 1.0
        super().__init__(
            trunk,
            probe,
            count,
            seed,
            dtype=dtype,
            normalize=False,
            scales=scales,
            select=select,
            expansion="direct",
            print_frozen=print_frozen,
            copy=copy,
        )

    def _make_readout(self, features: int) -> Tensor | None:
        if features != self.code_size:
            raise TrunkError(f"the trunk answers {features} numbers to the queries of its {self.code_size} weights")
        return None

    def _run(self, inputs: Inputs, tensors: dict[str, Tensor] | None) -> Tensor:
        """All answers; in chunks, unless the trunk looks at all queries together."""
        if not isinstance(inputs, tuple) or len(inputs) != 1 or len(inputs[0]) != self.code_size:
            return super()._run(inputs, tensors)
        table = inputs[0]
        if self._coupled is None:
            with torch.no_grad():
                self._coupled = self._looks_at_others(table, tensors)
        if self._coupled:
            return super()._run(inputs, tensors)
        return torch.cat([super(QueryQuine, self)._run((part,), tensors) for part in table.split(_CHUNK)])

    def _looks_at_others(self, table: Tensor, tensors: dict[str, Tensor] | None) -> bool:
        """Whether the first queries are answered otherwise, or not at all, where fewer are asked."""
        try:
            few, more = (super(QueryQuine, self)._run((table[:n],), tensors)[:3] for n in (3, 64))
        except (
            Exception
        ):  # whatever a module raises that wants them all; if it is another fault, it will be raised again
            return True
        close = len(few) == len(more) and torch.allclose(few, more, rtol=1e-4, atol=1e-6 * float(more.abs().max()))
        return not close

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Quine:
        self.__dict__.pop("stack", None)  # it has a table of its own
        return super()._apply(fn, recurse)

    @property
    def vectorized(self) -> bool:
        """Several networks at once pay only where one leaves the processor idle."""
        return self.code_size <= _FEW * 8 and super().vectorized

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Random weights of the size of the initial ones: ``(count, P)``."""
        spread = self.expand.gain * self.code_size**0.5
        return super().random_codes(count, generator) * spread

    # -- derivatives --------------------------------------------------------------------------------------------

    @cached_property
    def stack(self) -> Stack | None:
        """The trunk as a plain stack of linear layers, if it is one; its derivatives are written out."""
        if self.dtype not in (torch.float64, torch.float32) or self._coupled or not self._one_by_one:
            return None
        found = layers_of(self.trunk, list(self.weights))
        table = next(iter(self.inputs)) if isinstance(self.inputs, tuple) else None
        return None if found is None or table is None else Stack(table, *found)

    @property
    def _one_by_one(self) -> bool:
        return self._coupled is False and self.select is None

    def code_derivative(self, theta: Tensor) -> Tensor:
        """``J[i, j] = d f(x_i) / d theta_j``, dense: ``(P, P)``."""
        count = self.code_size
        check_bytes(
            f"the dense {count} x {count} Jacobian",
            count * count * theta.element_size(),
            "use a matrix-free method, such as krylov-lm",
        )
        if not self._one_by_one:
            return _rows_in_reverse(self.real_code, theta)
        tensors = {name: piece.clone() for name, piece in self.tensors(theta).items()}

        def answer(tensors: dict[str, Tensor], query: Tensor) -> Tensor:
            replaced = {place: tensors[name] for name in tensors for place in self._places[name]}
            output = functional_call(self.trunk, replaced, (query[None],), tie_weights=False)
            return pick(output, self.select).reshape(())

        rows = []
        assert isinstance(self.inputs, tuple)
        (table,) = self.inputs
        with differentiable_kernels():
            for part in table.split(_FEW):
                gradients = vmap(grad(answer), in_dims=(None, 0))(tensors, part)
                rows.append(torch.cat([gradients[name].reshape(len(part), -1) for name in tensors], 1))
        return torch.cat(rows).detach()


def _rows_in_reverse(f: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """One reverse pass for each answer, over one graph."""
    with torch.enable_grad():
        leaf = theta.detach().clone().requires_grad_(True)
        answers = f(leaf)
        if not answers.requires_grad:
            return theta.new_zeros(len(theta), len(theta))
        rows: list[Any] = [torch.autograd.grad(a, leaf, retain_graph=True)[0] for a in answers]
    return torch.stack(rows)
