"""Queried quines: the network is asked for one weight at a time, ``f(x_i; theta) = theta_i``.

    F(theta)_i = f(x_i; theta),    i = 1 .. P

with a fixed query ``x_i`` for every weight. Nothing is expanded: the quine is P equations in P unknowns. All queries
are answered together, some thousands at a time. A recurrent network that runs freely and emits its weights one after the
other is the same with a single input and P outputs.

Source: Chang and Lipson, "Neural Network Quine" (2018), section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from ..errors import BadOption, QuineFileError, TrunkError, check_bytes
from .coding import Coding
from .derivatives import DENSE, Dense, Directional, Matrixless, from_products
from .gradients import derivatives_on, gradient
from .networks.running import Inputs, Probe, Select, called_with, differentiable_kernels
from .normalized import Normalized, NormalizedLinearization, normalized_of
from .numbers import real, whole
from .printers.direct import DirectExpansion
from .printers.scales import initial_scales
from .quine import Quine, check_grid, checked_scales
from .self_printer import SelfPrinter
from .stack import Linearization, MeanField, Stack, layers_of
from .tables.phases import grid_name
from .tables.queries import QueryTable
from .trunk import LAZY, Trunk, modular
from .uncompiled import uncompiled

_CHUNK = 4096  # queries answered at once
_FEW = 64  # queries whose gradients are computed at once


class QueriedTrunk(Trunk):
    """A trunk that is asked with many queries, some thousands at a time unless it looks at all of them together.

    Attributes:
        coupled: whether an answer depends on the other queries, as with batch normalization; None until it is known.
    """

    coupled: bool | None = None

    def run(self, inputs: Inputs, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """All answers, ``(P,)``."""
        if not isinstance(inputs, tuple) or len(inputs) != 1 or len(inputs[0]) != sum(self.sizes):
            return super().run(inputs, tensors)
        table = inputs[0]
        if self.coupled is None:
            with torch.no_grad():
                self.coupled = self._looks_at_others(table, tensors)
        if self.coupled:
            return super().run(inputs, tensors)
        return torch.cat([super(QueriedTrunk, self).run((part,), tensors) for part in table.split(_CHUNK)])

    def _looks_at_others(self, table: Tensor, tensors: Mapping[str, Tensor] | None) -> bool:
        """Whether the trunk answers the first queries otherwise, or fails, where it is asked fewer of them."""
        try:
            few, more = (super(QueriedTrunk, self).run((table[:n],), tensors)[:3] for n in (3, 64))
        except (
            Exception
        ):  # a module that needs all queries may raise anything; another fault is raised again when all are asked
            return True
        close = len(few) == len(more) and torch.allclose(few, more, rtol=1e-4, atol=1e-6 * float(more.abs().max()))
        return not close


class QueryQuine(Quine):
    """A network that answers ``theta_i`` when it is asked for weight number i; solved or not.

    Args:
        trunk: any ``nn.Module`` that maps queries ``(n, q)`` to ``(n,)`` or ``(n, 1)``. It is copied.
        queries: a kind of :class:`~neuralquine.quines.tables.queries.QueryTable`, or a tensor of your own: ``(P, q)``,
            or whatever one input makes the trunk emit all P weights.
        seed: key of the ``projection`` table and of the starts of a search.
        width: q, for ``projection`` and ``sinusoidal``; by default what the first linear layer takes.
        scale: factor of the queries; a table of your own is taken as it is.
        dtype: type in which the network computes and stores; by default float64 where the trunk runs in it.
        select: which part of the trunk's output is read.
        print_frozen: ask for parameters with ``requires_grad=False`` too.
        code_bits: k, round every answer to multiples of ``2^-k``, so that it can equal its weight to the last bit. None
            for no rounding.
        code_phase: moves that grid by offsets drawn from the seed and this number; 0 leaves it at zero.
        scales: means and gains of the weights, where searches start; by default those of ``trunk``.
        copy: work on a copy of the module. With False the quine takes the module itself.

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

    kind = "queried"
    _in_batches = True  # whether the derivatives by many queries are taken together, until that has failed

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
        code_bits: int | None = None,
        code_phase: int = 0,
        scales: tuple[Sequence[float], Sequence[float]] | None = None,
        copy: bool = True,
    ) -> None:
        module = modular(trunk)
        seed, scale, width = whole("seed", seed), real("scale", scale), None if width is None else whole("width", width)
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters()):
            raise TrunkError(LAZY)
        shapes = [tuple(p.shape) for p in module.parameters() if print_frozen or p.requires_grad]
        if not any(torch.Size(shape).numel() for shape in shapes):
            raise TrunkError("the trunk has no weights to print")
        self_made = isinstance(queries, str)
        if self_made:
            if width is None and queries in ("projection", "sinusoidal"):
                width = next((m.in_features for m in module.modules() if isinstance(m, nn.Linear)), None)
            table = QueryTable(queries, shapes, width=width, scale=scale, seed=seed)
            probe, width, scale = torch.from_numpy(table.rows()), table.width, table.scale
        elif width is not None or scale != 1.0:
            raise BadOption("a query table of your own has its own width and scale: leave out width= and scale=")
        else:
            probe = queries
        held = QueriedTrunk(module, probe, dtype=dtype, select=select, print_frozen=print_frozen, copy=copy)
        count = sum(held.sizes)
        if held.width != count:
            raise TrunkError(f"the trunk answers {held.width} numbers to the queries of its {count} weights")
        means, gains = checked_scales(held, scales or initial_scales(held.weights, count))
        printer = DirectExpansion(held.sizes, gains, code_size=count, dtype=held.dtype, device=held.device)
        coding = Coding(normalize=False, eps=1e-5, skip=None, readout=None, anchor=None)
        check_grid(code_bits, code_phase)
        grid = {"code_bits": code_bits, "code_phase": code_phase}
        SelfPrinter.__init__(self, held, printer, coding, means, gains, seed=seed, **grid)
        self.queries, self.width, self.scale = queries if self_made else None, width, scale

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.__dict__.pop("stack", None)  # the query table is the user's
        self.__dict__.pop("normalized", None)
        return super()._apply(fn, recurse)

    @property
    def vectorized(self) -> bool:
        """Whether several networks are evaluated at once, which pays only where one leaves the processor idle."""
        return self.code_size <= _FEW * 8 and super().vectorized

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Random weights of the size of the initial ones: ``(count, P)``."""
        spread = self.printer.gain * self.code_size**0.5
        return super().random_codes(count, generator) * spread

    # -- derivatives --------------------------------------------------------------------------------------------

    @cached_property
    def stack(self) -> Stack | None:
        """The trunk as a plain stack of linear layers, if it is one; its derivatives are written out."""
        if self.dtype not in (torch.float64, torch.float32) or not self._one_by_one:
            return None
        found = layers_of(self.trunk, list(self.weights)) if self._trunk.plain else None
        table = next(iter(self.inputs)) if isinstance(self.inputs, tuple) else None
        return None if found is None or table is None else Stack(table, *found)

    @cached_property
    def normalized(self) -> Normalized | None:
        """The trunk as one printed matrix with batch normalization, if it is one; its derivatives are written out."""
        table = next(iter(self.inputs)) if isinstance(self.inputs, tuple) and len(self.inputs) == 1 else None
        if table is None or self.dtype not in (torch.float64, torch.float32):
            return None
        if self.select is not None or not self._trunk.plain:
            return None
        return normalized_of(self.trunk, list(self.weights), table)

    @property
    def _one_by_one(self) -> bool:
        """Whether the trunk answers each query by itself, with its whole output."""
        assert isinstance(self._trunk, QueriedTrunk)
        return self._trunk.coupled is False and self.select is None

    def code_jacobian(self, thetas: Tensor) -> Tensor:
        """``J[b, i, j] = d f(x_i) / d theta_j`` at every row: ``(B, P)`` to ``(B, P, P)``.

        Raises:
            TooLarge: it would take more than 2 GiB.
        """
        count = self.code_size
        size = len(thetas) * count * count * thetas.element_size()
        check_bytes(f"the dense {count} x {count} Jacobian", size, "use a matrix-free method, such as krylov-lm")
        if self._one_by_one and self._in_batches:
            try:
                return torch.stack([self._rows_one_by_one(theta) for theta in thetas])
            except (
                Exception
            ):  # no batching rule, data-dependent control flow, in-place writes; a foreign module may raise anything
                self._in_batches = False
        return torch.stack([self._rows_in_reverse(theta) for theta in thetas])

    def _rows_one_by_one(self, theta: Tensor) -> Tensor:
        """The Jacobian as a gradient for each query, many queries at once."""
        tensors = {name: piece.clone() for name, piece in self.tensors(theta).items()}
        assert isinstance(self.inputs, tuple)
        (table,) = self.inputs

        def answer(tensors: dict[str, Tensor], query: Tensor) -> Tensor:
            replaced = {place: tensors[name] for name in tensors for place in self._trunk.places[name]}
            output = called_with(self.trunk, replaced, (query[None].clone(),))
            return self._trunk.picked(output).reshape(())

        rows = []
        with self.turn, self._settled(), differentiable_kernels(), uncompiled():
            for part in table.split(_FEW):
                gradients = vmap(grad(answer), in_dims=(None, 0))(tensors, part)
                rows.append(torch.cat([gradients[name].reshape(len(part), -1) for name in tensors], 1))
        return torch.cat(rows).detach()

    def _rows_in_reverse(self, theta: Tensor) -> Tensor:
        """The Jacobian by reverse passes: one over as many copies as there are answers, or one for each answer."""
        if self.vectorized:
            return super().code_jacobian(theta[None])[0]
        with derivatives_on():
            leaf = theta.detach().clone().requires_grad_(True)
            answers = self.real_code(leaf)
            if not answers.requires_grad:
                return theta.new_zeros(len(theta), len(theta))
            return torch.stack([gradient(answer, leaf, retain=True) for answer in answers])

    def directional(self, theta: Tensor | None = None) -> Directional:
        """The derivative, dense up to 600 weights; above from products, which a stack of layers computes in float32."""
        theta = self.theta if theta is None else theta
        if self.parameter_count <= DENSE:
            return Dense(self.code_jacobian(theta[None])[0].to(self.code_dtype), self.printer)
        if self.stack is not None:
            at = Linearization(self.stack, theta)
            inverse = MeanField(at)
            near = Linearization(self.stack, theta, dtype=theta.dtype).jvp, lambda v: inverse(v.float()).to(v)
            return Matrixless(lambda v: at.jvp(v.float()).to(v), lambda u: at.vjp(u.float()).to(u), theta, near)
        near = None
        if self.normalized is not None and theta.dtype in self.normalized.fixed:
            near = NormalizedLinearization(self.normalized, theta, theta.dtype).jvp, lambda v: v
        return from_products(self.real_code, theta, near)

    # -- what files and cards say -------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments beside the trunk and the queries, ready for JSON."""
        return super().settings() | {"queries": self.queries or "table", "width": self.width, "scale": self.scale}

    @classmethod
    def rebuilt(cls, trunk: nn.Module, probe: Probe, settings: dict[str, Any], **options: Any) -> Self:
        """The quine of a file; see :meth:`neuralquine.Quine.rebuilt`."""
        own = settings["queries"] == "table"
        if not isinstance(probe, tuple) or own != (len(probe) == 1):
            raise QuineFileError(f"it holds {len(probe)} probes for its queries")
        grid = {"code_bits": settings["code_bits"], "code_phase": settings.get("code_phase", 0)}
        shape = grid if own else grid | {"width": settings["width"], "scale": settings["scale"]}
        scales = settings["means"], settings["gains"]
        queries = probe[0] if own else settings["queries"]
        quine = cls(trunk, queries, settings["seed"], scales=scales, copy=False, **shape, **options)
        if quine.code_size != settings["code_size"]:
            raise QuineFileError("it has a malformed 'code_size'")
        return quine

    def stored_inputs(self) -> Inputs:
        """The query table, if it is the user's own; a named one is made again from its name, its width and the seed."""
        return () if self.queries else self.inputs

    def question(self) -> tuple[str, str]:
        """What is asked and what answers; see :meth:`neuralquine.Quine.question`."""
        count = self.parameter_count
        asked = f"the module with {count:,} queries, one for each of its weights"
        if self.queries is None:
            asked = "the module with a table of queries of its user's own"
        return asked, f"its {count:,} answers are compared with its {count:,} weights"

    def what_it_is(self) -> list[tuple[str, str]]:
        """Rows of the model card that only this kind has."""
        grid = [] if self.code_bits is None else [("grid of the answers", grid_name(self.code_bits, self.code_phase))]
        return [("printed", "every weight answered by itself"), *grid]

    def what_is_printed(self) -> list[str]:
        """The paragraph of the model card that says what is printed, and from what."""
        named = f"{self.queries} queries, made again from seed {self.seed}"
        table = named if self.queries else "the table in the weights file"
        return [
            f"What is printed: every weight of the trunk, one answer for each query; the queries: {table}.",
            "A self-sensitivity near 0 would mean a printed constant.",
        ]
