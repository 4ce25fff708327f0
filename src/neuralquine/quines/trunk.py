"""A module as a function of its weights: it holds some, and can be evaluated with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrunkError, first_line
from .networks.running import (
    Inputs,
    Probe,
    Select,
    arguments,
    called_with,
    cast,
    checked_select,
    differentiable_kernels,
    moved_to,
    pick,
    places_of,
    probe_inputs,
    selected,
    unwrapped,
    which,
)
from .networks.steady import refuse_unsteady
from .networks.stepped import rounded_modules, stepped
from .networks.taking import are_same, copied, in_type, is_plain, is_rough, is_steep
from .networks.whole import Layout, doubt_about, layout_of
from .networks.wider import refuse_narrow, wide_tensors, wider_than
from .printers.base import Slot, slots_of, working_type
from .turns import Turn

LARGE = 100_000  # weights above which a trunk keeps its own type and its printer is structured
LAZY = "the trunk has lazy parameters: run it once on the probe before making a quine of it"


class Trunk:
    """``theta -> what is read of the module's output on its fixed inputs``.

    Args:
        module: any ``nn.Module`` with parameters. It is put in evaluation mode.
        probe: the fixed inputs: a tensor, a tuple of positional inputs, or a mapping of keyword inputs.
        dtype: type in which the module computes and holds its weights. By default float64; a module that does not run
            in float64, or has more than 100,000 weights, keeps its own type.
        select: which part of the output is read: an index, a key, an attribute or a callable. By default the first
            floating-point tensor of more than one number.
        print_frozen: whether parameters with ``requires_grad=False`` belong to theta, too.
        copy: work on a copy of the module. With False the trunk takes the module itself, which saves memory.
        activation_bits: k, activations are rounded to multiples of ``2^-k`` (``networks/stepped.py``); None: they are not.
        trunk_dtype: type in which the module runs, if it is wider than that of its weights (``networks/wider.py``).

    Attributes:
        module: the module, in ``dtype``.
        inputs: the probe's tensors, floating-point ones in ``dtype``.
        width: n, how many numbers are read of the output.
        layout: how the whole output is the weights; None where it does not have as many numbers as they are.
        doubt: where the output holds the weights among other numbers, or several times, in words.
        answered: the type of the output's numbers.
        plain: the module is made of torch's and this package's classes alone.
        turn: whoever holds it has the module to himself.
        wide: the type in which the module runs, where it is wider than that of its weights; None where it is not.

    Raises:
        TrunkError: the module has no weights, fails on the probe, gives no finite numbers, or others when asked again.
    """

    def __init__(
        self,
        module: nn.Module,
        probe: Probe,
        *,
        dtype: torch.dtype | None = None,
        select: Select = None,
        print_frozen: bool = True,
        copy: bool = True,
        activation_bits: int | None = None,
        trunk_dtype: torch.dtype | None = None,
    ) -> None:
        module, self.activation_bits, self.wide = modular(module), activation_bits, None
        if activation_bits is not None:
            rounded_modules(module)  # refuses a module that has none
        self.select, self.print_frozen = checked_select(select), print_frozen
        self.layout: Layout | None = None
        self.doubt: str | None = None
        self.answered: torch.dtype | None = None
        self._whole, self._number = False, 0
        self.turn = Turn()
        inputs, failure = probe_inputs(probe), None
        parameters = self._checked(module)
        own = parameters[0].dtype
        for candidate in _types(parameters, dtype):
            made = in_type(copied(module) if copy else module, candidate)
            made.eval()  # as a statement: some modules' train() returns nothing
            self.wide = wider_than(candidate, trunk_dtype)
            try:
                features = self._take(made, candidate, inputs)
                if sum(self.sizes) <= LARGE:  # of a larger one an evaluation is dear; `verify` asks it often enough
                    refuse_unsteady(made, features, lambda: self.run(self.inputs))
            except TrunkError:
                raise
            except Exception as error:  # a foreign module may raise anything
                failure = error
                continue
            if candidate == own or not copy or is_plain(module) or self._is_of(module, inputs, own):
                break
            if dtype is None:
                continue
            raise TrunkError(f"the trunk answers otherwise in {_name(dtype)} than in its own type: pass dtype={own}")
        else:
            assert failure is not None
            raise TrunkError(f"the trunk fails on the probe: {first_line(failure)}") from failure
        self._refuse_useless()

    def _refuse_useless(self) -> None:
        """Refuse a trunk that answers with no numbers that could be read, or in another type than it is said to."""
        if not self.width:
            raise TrunkError("the trunk answers with no numbers on the probe: is its batch empty?")
        if not self._finite:
            raise TrunkError("the trunk gives NaN or infinity on the probe")
        if self.wide is not None and sum(self.sizes) <= LARGE:
            refuse_narrow(self._is_rough_in_wide, self.wide)

    def _is_of(self, module: nn.Module, inputs: Inputs, own: torch.dtype) -> bool:
        """Whether the copy that was taken, of another type, computes what the module does, and in its whole width."""
        if torch.finfo(self.dtype).bits < torch.finfo(own).bits:
            return True  # it was asked for, and its round-off may do anything
        if own in (torch.float32, torch.float64) and not self._answers_as(in_type(copied(module), own), inputs, own):
            return False
        return self.dtype != torch.float64 or not is_rough(lambda: self.run(self.inputs), self.weights)

    def _is_rough_in_wide(self) -> bool:
        """Whether a copy of the module with weights of the wider type answers in steps all the same."""
        assert self.wide is not None
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | {"wide": None})
        other._take(in_type(copied(self.module), self.wide), self.wide, self.inputs)
        return is_rough(lambda: other.run(other.inputs), other.weights)

    def _answers_as(self, module: nn.Module, inputs: Inputs, dtype: torch.dtype) -> bool:
        """Whether a module of another type gives the same features up to its round-off; where it fails there is nothing to say."""
        module.eval()
        try:
            other = object.__new__(type(self))
            other.__dict__.update(self.__dict__ | {"wide": None})
            other._take(module, dtype, inputs)
            with torch.no_grad():
                mine, answer = self.run(self.inputs), other.run(other.inputs)
                return are_same(mine, answer) or is_steep(lambda: other.run(other.inputs), other.weights)
        except Exception:  # a foreign module may raise anything
            return True

    def _checked(self, module: nn.Module) -> list[nn.Parameter]:
        """The parameters that are to be printed, if they can be."""
        parameters = [p for p in module.parameters() if self.print_frozen or p.requires_grad]
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
            raise TrunkError(LAZY)
        if sum(p.numel() for p in parameters) == 0:
            frozen = "" if self.print_frozen else " that are not frozen"
            raise TrunkError(f"the trunk has no weights{frozen}: there is nothing to print")
        if not all(p.is_floating_point() for p in parameters):
            raise TrunkError("the trunk has weights that are not real floating-point numbers")
        if any(p.is_meta for p in module.parameters()):
            raise TrunkError("the trunk is on the meta device, where there are no numbers: put it on another")
        return parameters

    def _take(self, module: nn.Module, dtype: torch.dtype, inputs: Inputs) -> Tensor:
        """Hold the module in one type, and run it once to see that it answers; returns its answer."""
        self.module, self.dtype, self.plain = module, dtype, is_plain(module)
        for parameter in module.parameters():
            parameter.data = parameter.data.contiguous()
        self.inputs = cast(inputs, dtype)
        self._recurrent = [m for m in module.modules() if isinstance(m, nn.RNNBase)]
        self.places = places_of(module)
        with torch.no_grad():
            features = self.run(self.inputs)
        self.width, self._finite = features.numel(), bool(torch.isfinite(features).all())
        return features

    def taken_whole(self) -> Layout:
        """Read the whole output from now on, as all weights.

        Raises:
            TrunkError: it does not have as many numbers as there are weights.
        """
        count = sum(self.sizes)
        if self.layout is None:
            raise TrunkError(
                f"the trunk prints {self.width:,} numbers, and has {count:,} weights: it cannot print them itself"
            )
        self._whole, self.width = True, count
        return self.layout

    def twin(self, module: nn.Module) -> Trunk:
        """A trunk with the same inputs and another module of the same names, such as a description gives."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._take(module, self.dtype, self.inputs)
        return other

    def moved(self, device: torch.device) -> None:
        """Follow the module, which was moved to a device."""
        self.inputs = moved_to(self.inputs, device)

    # -- the weights ----------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.module.parameters()).device

    @property
    def code_dtype(self) -> torch.dtype:
        """Type of what is read of the output: float32 where the weights are narrower."""
        return working_type(self.dtype)

    @property
    def read_dtype(self) -> torch.dtype:
        """Type of the module's output as it is read, and of what the code is computed in before it is rounded."""
        return self.code_dtype if self.wide is None else self.wide

    def named_weights(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that are printed, in ``named_parameters()`` order; shared ones once."""
        return [(n, p) for n, p in self.module.named_parameters() if self.print_frozen or p.requires_grad]

    @property
    def weights(self) -> list[nn.Parameter]:
        """The printed parameters, in the order of theta."""
        return [p for _, p in self.named_weights()]

    @property
    def sizes(self) -> list[int]:
        """Weights in each printed parameter."""
        return [p.numel() for p in self.weights]

    def stored_pieces(self) -> list[tuple[Slot, Tensor]]:
        """The stored weights where they lie, as flat views: one for each tensor."""
        flat = [p.detach().view(-1) for p in self.weights]
        return list(zip(slots_of(tuple(part.numel() for part in flat)), flat, strict=True))

    def tensors(self, theta: Tensor) -> dict[str, Tensor]:
        """Cut a weight vector ``(P,)`` into the module's named tensors (views)."""
        named = self.named_weights()
        pieces = theta.split([p.numel() for _, p in named])
        return {name: piece.view(p.shape) for (name, p), piece in zip(named, pieces, strict=True)}

    # -- the function ---------------------------------------------------------------------------------------------

    def features(self, theta: Tensor | None = None) -> Tensor:
        """The module's output at weights ``theta`` ``(P,)``, by default the stored ones: a flat vector ``(n,)``.

        Raises:
            TrunkError: it has another size than at the module's first weights.
        """
        tensors = None
        if theta is not None:
            # Copies, because kernels add up in another order where a tensor does not start on a cache line, as the
            # stored ones do: the bits would not be those of the network that holds these weights.
            tensors = {name: piece.clone() for name, piece in self.tensors(theta).items()}
        answer = self.run(self.inputs, tensors)
        if answer.numel() != self.width:
            raise TrunkError(
                f"the size of the trunk's output depends on its weights ({self.width:,} numbers before, now "
                f"{answer.numel():,}): choose an output of fixed size with select="
            )
        return answer

    def stepped(self) -> AbstractContextManager[None]:
        """Let the module's activations be rounded to their grid, if they have one."""
        return stepped(self.module, self.activation_bits)

    def run(self, inputs: Inputs, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
        """The part of the module's output that is read, flat, at its own weights or at ``tensors``.

        The module is lent a copy of the inputs, because it may write into them.
        """
        inputs = inputs if self.wide is None else cast(inputs, self.wide)
        with self.turn:
            try:
                return self._read(self._run(*arguments(inputs), tensors))
            except RuntimeError as error:
                if _ESCAPED in str(error):
                    raise TrunkError(_REMEMBERS) from error
                raise

    def _read(self, output: Any) -> Tensor:
        """The numbers of a selected output: those of one tensor, or all where it is taken whole."""
        if self.answered is None:
            shapes = {name: p.shape for name, p in self.named_weights()}
            self.layout, self.doubt = layout_of(output, shapes), doubt_about(output, shapes)
            self._number = which(output)
        picked = self.layout.join(output) if self._whole and self.layout is not None else self.picked(output)
        if not picked.is_floating_point():
            raise TrunkError(f"the trunk's output is {picked.dtype}, not floating point: choose another with select=")
        self.answered = picked.dtype
        return picked.reshape(-1).to(self.read_dtype)

    def picked(self, output: Any) -> Tensor:
        """The tensor of a selected output that is read: always the same one, also where it has a single number."""
        return pick(output, self._number)

    def _run(self, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], tensors: Mapping[str, Tensor] | None) -> Any:
        """The part of the module's output that ``select`` names."""
        placed = None if tensors is None else {p: t for name, t in tensors.items() for p in self.places[name]}
        if self.wide is not None:
            placed = wide_tensors(self.module, placed or {}, self.wide)
        with differentiable_kernels(recurrent=bool(self._recurrent)), self.stepped():
            if placed is None:
                output = self.module(*args, **kwargs)
            else:
                output = called_with(self.module, placed, args, kwargs, recurrent=self._recurrent)
        return selected(output, self.select)


_ESCAPED = "escaped from inside a function being vmapped"
_REMEMBERS = "the trunk answers with a tensor that it keeps of an earlier run: print from what is computed anew"


def modular(module: object) -> nn.Module:
    """The module to work on, without wrappers such as ``torch.compile``'s.

    Raises:
        TrunkError: the module is no ``nn.Module``.
    """
    if not isinstance(module, nn.Module):
        raise TrunkError(f"the trunk must be an nn.Module, not {type(module).__name__}")
    return unwrapped(module)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _types(parameters: list[nn.Parameter], dtype: torch.dtype | None) -> Iterator[torch.dtype]:
    """The types to try, in order."""
    if dtype is not None:
        yield dtype
        return
    own, count = parameters[0].dtype, sum(p.numel() for p in parameters)
    yield from dict.fromkeys([torch.float64, own] if count <= LARGE else [own, torch.float64])
