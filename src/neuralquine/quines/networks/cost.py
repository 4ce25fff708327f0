"""What a description may ask for: one limit on memory and one on work, reckoned before anything is built.

A file of some kilobytes can describe a network of a million layers, an image that grows by its padding, or a table of
gigabytes. So a description gets an allowance that grows with the weights that really lie in its file:

    tensors      a module is built, without memory, only as far as the file has tensors for it
    activations  the module is run once on tensors without memory, and every operation is counted as it comes
    tables       the printer's, the readout's, the anchor's and the queries' follow from the sizes alone

The limits stop bombs, not honest networks: what is refused here may still be loaded by somebody who hands in the module.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ...errors import TooLarge
from .running import Inputs, arguments, differentiable_kernels
from .sequence import Clocked, FreeRunning

Register = Callable[[nn.Module, str, nn.Parameter | None], None]
_REGISTERING = threading.RLock()  # the method belongs to the whole process, and is put back by whoever replaced it
_MEMORY, _MEMORY_CAP = 1 << 30, 5 << 29  # bytes that any file may ask for, and what weights can raise it to: 1, 2.5 GiB
_MEMORY_PER_BYTE = 2048  # so that 100,000 weights in float64 may have a code of 1,000
_WORK = 2e10  # floating-point operations of a whole verification: some 10 s of a slow core
_WORK_PER_BYTE = 3e5  # a convolution that uses each weight at 500 places 150 times over, with derivatives
CALL = 2e4  # what a call of any operation costs, in floating-point operations: 10 microseconds
CALLS = 10_000  # operations of one evaluation; to count them takes up to half a millisecond each
_ENDLESS = f"one evaluation of the network it describes takes more than {CALLS} steps"
ENTRY = 1000  # the same of an entry of a random table: half a microsecond
_EVALUATIONS = 150  # of a network while it is verified: 100 generations and the looking for tricks
_EMITTED = 20_000  # steps of the layers of a network that emits its weights one after the other
_REPLICAS = 64 << 20  # bytes of weights up to which all rows of a derivative are computed at once
_SPARE = 64  # parameters that a constructor may make and drop, or share, beside those that are kept

_convolutions = (torch.ops.aten.convolution, torch.ops.aten._convolution)


@dataclass(frozen=True)
class Allowance:
    """What the description of one file may ask for.

    Attributes:
        memory: bytes.
        work: floating-point operations.
        tensors: parameters that are registered while its module is built.
    """

    memory: int
    work: float
    tensors: int

    @classmethod
    def of(cls, weights: int, tensors: int) -> Allowance:
        """The allowance of a file that holds so many bytes of weights in so many tensors."""
        memory = min(_MEMORY + _MEMORY_PER_BYTE * weights, _MEMORY_CAP) + 8 * weights
        return cls(memory, _WORK + _WORK_PER_BYTE * weights, 2 * tensors + _SPARE)

    def check(self, what: str, memory: float = 0, work: float = 0) -> None:
        """Refuse what takes more.

        Raises:
            TooLarge: it does; the message says how much.
        """
        if memory > self.memory:
            have, limit = memory / 2**30, self.memory / 2**30
            raise TooLarge(
                f"{what} would take {have:.3g} GiB, more than the {limit:.3g} GiB that its weights allow for"
            )
        if work > self.work:
            raise TooLarge(
                f"{what} would take {work:.1e} operations, more than the {self.work:.1e} its weights allow for"
            )


@dataclass(frozen=True)
class Cost:
    """What one evaluation of a network takes: bytes of activations, floating-point operations, numbers in its output."""

    memory: float = 0.0
    work: float = 0.0
    width: int | None = None


@contextmanager
def counted_parameters(allowance: Allowance) -> Iterator[None]:
    """Build modules inside, and stop as soon as one has more parameters than the allowance.

    Raises:
        TooLarge: it has.
    """
    count = 0

    def counting(register: Register, module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        nonlocal count
        count += param is not None
        if count > allowance.tensors:
            raise TooLarge(f"it asks for more than {allowance.tensors} tensors, and the file holds fewer")
        register(module, name, param)

    with registering(counting):
        yield


@contextmanager
def registering(instead: Callable[[Register, nn.Module, str, nn.Parameter | None], None]) -> Iterator[None]:
    """Let a function stand for ``Module.register_parameter`` in this thread; it is handed the original."""
    with _REGISTERING:
        register, here = nn.Module.register_parameter, threading.get_ident()

        def replaced(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
            if threading.get_ident() == here:
                instead(register, self, name, param)
            else:
                register(self, name, param)

        nn.Module.register_parameter = replaced
        try:
            yield
        finally:
            nn.Module.register_parameter = register


class _Meter(TorchDispatchMode):
    """Adds up what the operations inside would take, and stops them at the allowance."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__()
        self.allowance, self.memory, self.work, self.calls = allowance, 0.0, 0.0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.calls += 1
        if self.calls > CALLS:  # as of a recurrent network on an endless sequence
            raise TooLarge(_ENDLESS)
        out = func(*args, **kwargs)
        made = [t for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, Tensor)]
        views = any(r.alias_info is not None for r in func._schema.returns)  # and what is written in place
        size = 0.0 if views else sum(t.numel() * t.element_size() for t in made)
        packet = func.overloadpacket
        self.work += CALL + sum(t.numel() for t in made)
        if packet in flop_registry:
            self.work += flop_registry[packet](*args, **kwargs, out_val=out)
        if packet in _convolutions and made:  # on a processor the image is unfolded: each pixel once for each tap
            size += made[0].numel() / max(1, made[0].shape[1]) * args[1][0].numel() * made[0].element_size()
        self.memory += size
        self.allowance.check("one evaluation of the network it describes", self.memory, self.work)
        return out


def evaluated(module: nn.Module, inputs: Inputs, allowance: Allowance) -> Cost:
    """Reckon one evaluation of a module whose tensors take no memory.

    Args:
        module: built under ``torch.device("meta")``.
        inputs: its inputs, on the same device.
        allowance: what the evaluation may take.

    Returns:
        Its cost; that of the operations up to the first that fails where the module does not run, as a real evaluation
        will say in its own words.

    Raises:
        TooLarge: the evaluation would take more.
    """
    meter, width = _Meter(allowance), None
    if isinstance(module, FreeRunning | Clocked):
        layers = len(module.lstm) if isinstance(module, FreeRunning) else 1
        steps = layers * sum(p.numel() for p in module.parameters())
        if steps > _EMITTED:
            raise TooLarge(f"the network it describes would emit its weights in {steps} steps, more than {_EMITTED}")
        return Cost()
    args, kwargs = arguments(inputs)
    longest = max((extent for t in (*args, *kwargs.values()) for extent in t.shape[:-1]), default=0)
    if longest * sum(m.num_layers for m in module.modules() if isinstance(m, nn.RNNBase)) > CALLS:
        raise TooLarge(_ENDLESS)  # before its steps are counted one by one
    module = module.eval()
    with suppress(*_FAILURES), torch.no_grad(), torch.device("meta"), differentiable_kernels(), meter:
        output = module(*args, **kwargs)
        width = _largest(output)
    return Cost(meter.memory, meter.work, width)


_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, ArithmeticError)
"""What torch raises of sizes that do not fit, and of operations that need real numbers."""


def _largest(output: Any) -> int:
    """Numbers in the largest tensor of an output: whichever is read, it has no more."""
    if isinstance(output, Tensor):
        return output.numel()
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return max(map(_largest, parts), default=0)


def check_printing(
    config: dict[str, Any], weights: int, probe: int, cost: Cost, allowance: Allowance, *, in_place: bool
) -> None:
    """Refuse a coded quine whose tables, derivative or verification would take more than its allowance.

    Args:
        config: the configuration of its folder, checked for types.
        weights: P.
        probe: numbers in its inputs.
        cost: of one evaluation.
        allowance: of its file.
        in_place: its printer writes the weights without a table of ``P x d`` numbers, and P d is large.

    Raises:
        TooLarge: they would.
    """
    d, width = config["code_size"], cost.width or 0
    readout = d * width if width != d else 0
    leaning = d * probe if config["skip"] is not None else 0
    table, entries = weights * d, weights * d
    if config["expansion"] != "gaussian":
        block = max(8, 1 << (d - 1).bit_length())
        table, entries = 24 * block * block + (0 if in_place else weights * d), weights
    replicas = d + 2 if not in_place and 8 * weights * d <= _REPLICAS else 4  # of the activations, for derivatives
    memory = 24.0 * table + 24.0 * readout + replicas * cost.memory
    allowance.check(f"a code of {d} numbers for {weights} weights", memory)
    work = _EVALUATIONS * (cost.work + 2.0 * readout) + ENTRY * (entries + readout + leaning)
    if not in_place:  # rows of the derivative, their products with the table, which are fast, and the eigenvalues
        rows, products = 3.0 * d * (cost.work + 2.0 * readout), (2.0 * _EVALUATIONS + 0.5 * d) * weights * d
        work += rows + products + 10.0 * math.pow(d, 3)
    allowance.check(f"verifying a code of {d} numbers for {weights} weights", 0, work)
