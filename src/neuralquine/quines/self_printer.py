"""A network that prints its own weights, put together: a trunk that holds them, a coding, a printer.

theta -> h = trunk(z; theta) -> c = Q(coding(h)) -> F(theta) = E(c)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.func import vmap

from ..errors import BadOption, TrunkError, check_bytes
from .altered import warn_of_strange_weights
from .bits import same
from .coding import Coding
from .derivatives import Dense, Derivative, Directional, InPlace
from .gradients import reverse_jacobian
from .networks.normalize import instance_norm
from .networks.running import Inputs, Select
from .printers import Printer, Slot
from .stairs import Stairs
from .tables.phases import offset
from .trunk import Trunk
from .turns import Turn

_IN_PLACE = 1 << 28  # bytes of the code's derivative (d, P) above which a network is printed in place


class SelfPrinter(Stairs, nn.Module):
    """The common base of all kinds of quines: their weights, their maps and their derivatives.

    The constructor of every kind makes the parts first and ends here.

    Args:
        trunk: holds the weights.
        printer: E.
        coding: from the trunk's features to the code.
        means, gains: one of each for every tensor, as the printer was given them.
        seed: key of the fixed tables.
        code_bits: k, the code is rounded to multiples of ``2^-k``; None for no rounding.
        code_phase: moves that grid; 0 leaves it at zero.
    """

    constructed: ClassVar[bool] = False  # whether it prints itself with any code, so that there is nothing to solve
    roundable: ClassVar[bool] = True  # whether it may print on a grid, so that every bit can be asked for
    recipe: dict[str, Any] | None  # name and options, set by the recipe that made it
    solution: Any  # the Solution of the last solve, kept for the model card

    def __init__(
        self,
        trunk: Trunk,
        printer: Printer,
        coding: Coding,
        means: list[float],
        gains: list[float],
        *,
        seed: int,
        code_bits: int | None = None,
        code_phase: int = 0,
    ) -> None:
        super().__init__()
        self._trunk, self.trunk = trunk, trunk.module
        self.printer, self._coding = printer, coding
        self.means, self.gains = means, gains
        self.seed, self.code_size = seed, printer.code_size
        self.code_bits, self.code_phase = code_bits, code_phase
        self.recipe, self.solution = None, None
        self._vectorized: bool | None = None
        self.register_load_state_dict_post_hook(warn_of_strange_weights)

    # -- what it is made of -------------------------------------------------------------------------------------

    @property
    def turn(self) -> Turn:
        """The lock of the trunk. Who holds it, as in ``with quine.turn``, has the weights to himself."""
        return self._trunk.turn

    @property
    def inputs(self) -> Inputs:
        """The probe's tensors, the trunk's fixed inputs."""
        return self._trunk.inputs

    @inputs.setter
    def inputs(self, inputs: Inputs) -> None:
        self._trunk.inputs = inputs

    @property
    def dtype(self) -> torch.dtype:
        """Type in which the network computes and stores."""
        return self._trunk.dtype

    @property
    def dtype_name(self) -> str:
        """That type as files and reports call it, such as ``float64``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def select(self) -> Select:
        """The part of the trunk's output that is read."""
        return self._trunk.select

    @property
    def print_frozen(self) -> bool:
        """Whether frozen parameters are printed, too."""
        return self._trunk.print_frozen

    @property
    def normalize(self) -> bool:
        """Whether the code is normalized before it is expanded."""
        return self._coding.normalize

    @property
    def eps(self) -> float:
        """The number added to the variance in it."""
        return self._coding.eps

    @property
    def skip(self) -> float | None:
        """beta of an anchored quine; None of a free one."""
        return self._coding.skip

    @property
    def expansion(self) -> str:
        """The printer's name."""
        return self.printer.name

    @property
    def expand(self) -> Printer:
        """The printer, read as the map ``E``: ``quine.expand(c)``."""
        return self.printer

    # -- weights ------------------------------------------------------------------------------------------------

    @property
    def trunk_device(self) -> torch.device:
        """The device of the weights."""
        return self._trunk.device

    @property
    def code_dtype(self) -> torch.dtype:
        """Type of the code and of the sums that print, float32 where the weights are narrower."""
        return self._trunk.code_dtype

    @property
    def in_place(self) -> bool:
        """Whether codes are evaluated by printing them into the trunk's own weights, where d copies would not fit."""
        return self.printer.chunked and self.parameter_count * self.code_size * self.code_dtype.itemsize > _IN_PLACE

    def named_weights(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that are printed, in ``named_parameters()`` order; shared ones once."""
        return self._trunk.named_weights()

    @property
    def weights(self) -> list[nn.Parameter]:
        """The printed parameters, in the order of theta."""
        return self._trunk.weights

    @property
    def parameter_count(self) -> int:
        """P, the number of weights that are printed; shared tensors count once."""
        return sum(self._trunk.sizes)

    @property
    def theta(self) -> Tensor:
        """A copy of the stored weights, ``(P,)``, in ``named_parameters()`` order."""
        with self.turn:
            return torch.cat([p.detach().reshape(-1) for p in self.weights])

    @theta.setter
    def theta(self, value: Tensor) -> None:
        if value.shape != (self.parameter_count,):
            raise BadOption(f"theta must have shape ({self.parameter_count},), not {tuple(value.shape)}")
        with self.turn, torch.no_grad():
            pieces = value.split(self._trunk.sizes)
            for parameter, piece in zip(self.weights, pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))
        self.given_weights()

    def given_weights(self) -> None:
        """Take note that weights were given on purpose, such as damaged ones; a kind that watches its weights does."""

    def tensors(self, theta: Tensor) -> dict[str, Tensor]:
        """Cut a weight vector ``(P,)`` into the trunk's named tensors (views)."""
        return self._trunk.tensors(theta)

    def stored_pieces(self) -> list[tuple[Slot, Tensor]]:
        """The stored weights where they lie, as flat views: one for each tensor, or for this rank's part of it."""
        return self._trunk.stored_pieces()

    def printed_pieces(self, code: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """``E(code)`` beside what is stored, piece by piece: (view of the stored weights, printed values)."""
        held = self.stored_pieces()
        for number, start, values in self.printer.pieces(code, [slot for slot, _ in held]):
            yield held[number][1][start : start + len(values)], values

    @torch.no_grad()
    def install(self, code: Tensor) -> None:
        """Write ``E(code)`` into the trunk's own weights, in place."""
        with self.turn:
            self.printer.write(code, self.stored_pieces())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move everything that belongs to the quine; its type was chosen when it was made."""
        if fn(torch.zeros(0, dtype=self.dtype)).dtype != self.dtype:
            what = (
                f"the type of a quine is fixed, because it prints the bits of {self.dtype}: make it anew with dtype=, "
            )
            raise TrunkError(f"{what}or convert a copy of q.trunk, which then is a plain module")
        super()._apply(fn, recurse)
        device = self.trunk_device
        self._trunk.moved(device)
        self.printer, self._coding = self.printer.to(device), self._coding.to(device)
        return self

    # -- the maps -----------------------------------------------------------------------------------------------

    def features(self, theta: Tensor | None = None) -> Tensor:
        """The trunk's output at weights ``theta`` ``(P,)``, by default the stored ones: a flat vector ``(n,)``."""
        return self._trunk.features(theta)

    def real_code(self, theta: Tensor | None = None) -> Tensor:
        """``N(R trunk(z; theta))``, anchored or not: weights ``(P,)`` to the code ``(d,)`` before its rounding."""
        return self._coding(self.features(theta)).to(self.code_dtype)

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Codes ``(count, d)`` of the size of the trunk's own, drawn in float64 whatever the type."""
        codes = torch.randn(count, self.code_size, generator=generator, dtype=torch.float64)
        codes = instance_norm(codes, 0.0) if self.normalize and self.code_size > 1 else codes
        return codes.to(self.trunk_device, self.code_dtype)

    def quantize(self, c: Tensor) -> Tensor:
        """``o + round((c - o) 2^k) / 2^k``, ties to even; ``c`` itself where the code has no grid."""
        if self.code_bits is None:
            return c
        scale = 2.0**self.code_bits
        if self.code_phase == 0:  # not the same as adding zeros: the sign of zero is a bit
            return torch.round(c * scale) / scale
        steps = torch.tensor(offset(self.seed, self.code_phase, self.code_size)).to(c.device, c.dtype)
        return (torch.round(c * scale - steps) + steps) / scale

    def code(self, theta: Tensor | None = None) -> Tensor:
        """``c = Q(N(R trunk(z; theta)))``: weights ``(P,)``, by default the stored ones, to the code ``(d,)``."""
        return self.quantize(self.real_code(theta))

    def real_codes(self, thetas: Tensor) -> Tensor:
        """:meth:`real_code` of every row ``(B, P)``: ``(B, d)``, vectorized where the trunk's operations allow it."""
        if len(thetas) > 1 and self.vectorized:
            with self._settled():
                return vmap(self.real_code)(thetas)
        return torch.stack([self.real_code(theta) for theta in thetas])

    @property
    def vectorized(self) -> bool:
        """Whether the trunk can be evaluated at several weight vectors at once (``torch.func.vmap``)."""
        if self.in_place:
            return False  # the weights of several at once are what a large network has no room for
        if self._vectorized is None:
            try:
                with self._settled(), torch.no_grad():
                    vmap(self.real_code)(self.theta.expand(2, -1))
                self._vectorized = True
            except Exception:  # no batching rule, data-dependent control flow, in-place writes, randomness
                self._vectorized = False
        return self._vectorized

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Run once more afterwards: what a module remembers of a run is not to be a tensor of a transform that has ended."""
        try:
            yield
        finally:
            if not self._trunk.plain:
                with torch.no_grad():
                    self.real_code()

    def self_map(self, theta: Tensor) -> Tensor:
        """``F(theta)``: the weights printed by the network that holds ``theta`` ``(P,)``."""
        return self.printer(self.code(theta))

    def real_map(self, theta: Tensor) -> Tensor:
        """``F`` without rounding of the code or of activations: the smooth map that is differentiated and solved."""
        with self.smooth():
            return self.printer(self.real_code(theta))

    @torch.no_grad()
    def printed(self) -> Tensor:
        """``F(theta)`` of the stored weights, ``(P,)``."""
        with self.turn:
            return torch.cat([values for _, values in self.printed_pieces(self.code())])

    def forward(self, *inputs: Any) -> Tensor:
        """Print: :meth:`self_map` at the stored weights, differentiable in them. It takes no input of its own.

        Raises:
            BadOption: something is handed over.
        """
        if inputs:
            raise BadOption(
                "a quine is asked with its own probe, which it holds: q() prints its weights, q.trunk(x) answers other "
                f"inputs, in {self.dtype}"
            )
        return self.self_map(torch.cat([p.reshape(-1) for p in self.weights]))

    def extra_repr(self) -> str:
        return f"parameters={self.parameter_count}, code_size={self.code_size}, seed={self.seed}, dtype={self.dtype}"

    def answer(self, *args: Any, **kwargs: Any) -> Any:
        """The trunk's output for an input of its user."""
        with self.turn, self._trunk.stepped():
            return self.trunk(*args, **kwargs)

    # -- derivatives --------------------------------------------------------------------------------------------

    def code_jacobian(self, thetas: Tensor) -> Tensor:
        """``d code_i / d theta_j`` at every row: ``(B, P)`` to ``(B, d, P)``."""
        with self._settled(), self.smooth():
            return reverse_jacobian(self.real_codes, thetas, self.code_size, replicate=self.vectorized)

    def derivative(self, theta: Tensor | None = None) -> Derivative:
        """The derivative of the self-map at weights ``(P,)``, by default the stored ones.

        Raises:
            TooLarge: the code's derivative would take more than 2 GiB.
        """
        if self.in_place and theta is None:
            return InPlace(self, self.printer)
        return self.directional(theta)

    def directional(self, theta: Tensor | None = None) -> Directional:
        """:meth:`derivative` of a network that is not printed in place: it can be asked in any direction."""
        theta = self.theta if theta is None else theta
        check_bytes(
            "the derivative of the code", theta.numel() * self.code_size * theta.element_size(), "use fewer weights"
        )
        return Dense(self.code_jacobian(theta[None])[0].to(self.code_dtype), self.printer)

    def holding(self, module: nn.Module) -> Self:
        """This quine with another module of the same names in the trunk's place."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | {"_trunk": self._trunk.twin(module), "_vectorized": None})
        return other

    def answers_as(self, module: nn.Module) -> bool:
        """Whether another module, put in the trunk's place, gives the same code to the last bit."""
        with torch.no_grad():
            return same(self.holding(module).code(self.theta), self.code(self.theta))
