"""Running a module that the user wrote: its inputs, its kernels, and the part of its output that is read."""

from __future__ import annotations

import operator
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import islice
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from ...errors import TrunkError, first_line
from ..interrupts import interrupts_held

Probe = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
Inputs = Sequence[Tensor] | Mapping[str, Tensor]
Select = str | int | Callable[[Any], Tensor] | None
_SCORE = 1  # numbers of a loss or a score, which modules answer with beside what they compute

# What torch remarks of an instance normalization whose `num_features` it does not use: nothing that a search should repeat.
_REMARK = ("ignore", re.compile(r"input's size at dim=-?\d+ does not match num_features\. "), UserWarning, None, 0)


def probe_inputs(probe: Probe) -> Inputs:
    """The probe as a tuple of positional inputs or a dictionary of keyword inputs.

    Raises:
        TrunkError: it is neither, or a tensor is not made of real numbers that lie side by side.
    """
    inputs = (probe,) if isinstance(probe, Tensor) else probe
    values: list[Tensor] = list(inputs.values()) if isinstance(inputs, Mapping) else []
    if not values and isinstance(inputs, Sequence):
        values = list(inputs)
    if not isinstance(inputs, Mapping | Sequence) or not all(isinstance(v, Tensor) for v in values):
        raise TrunkError("the probe must be a tensor, a tuple of tensors, or a mapping from names to tensors")
    for tensor in values:
        if tensor.layout is not torch.strided or tensor.is_complex() or tensor.is_quantized or tensor.is_nested:
            raise TrunkError("the probe must hold dense tensors of real numbers")
    return dict(inputs) if isinstance(inputs, Mapping) else tuple(inputs)


def named(inputs: Inputs) -> dict[str, Tensor]:
    """The tensors of a probe by name; positional ones are called by their number."""
    items = inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs)
    return {str(name): t for name, t in items}


def arguments(inputs: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """The positional and the keyword arguments that a probe stands for: copies, because a module may write into them."""
    if isinstance(inputs, Mapping):
        return (), {name: t.clone() for name, t in inputs.items()}
    return tuple(t.clone() for t in inputs), {}


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    def cast(t: Tensor) -> Tensor:
        return t.detach().clone().to(dtype) if t.is_floating_point() else t.detach().clone()

    if isinstance(inputs, Mapping):
        return {name: cast(t) for name, t in inputs.items()}
    return tuple(cast(t) for t in inputs)


def moved_to(inputs: Inputs, device: torch.device) -> Inputs:
    if isinstance(inputs, Mapping):
        return {name: t.to(device) for name, t in inputs.items()}
    return tuple(t.to(device) for t in inputs)


def unwrapped(trunk: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, ``DataParallel`` and the like, which run it but hold no weights.

    Raises:
        TrunkError: a scripted or traced module, whose weights cannot be replaced for one evaluation.
    """
    if isinstance(trunk, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrapped(trunk.module)
    original = getattr(trunk, "_orig_mod", None)
    if isinstance(original, nn.Module):
        return unwrapped(original)
    if any(isinstance(module, torch.jit.ScriptModule) for module in trunk.modules()):
        raise TrunkError("the trunk is scripted or traced (torch.jit): hand in the nn.Module that it was made from")
    return trunk


def usable(device: str) -> torch.device:
    """A device by name, if this machine and this torch have it.

    Raises:
        TrunkError: it is not there.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except NotImplementedError as error:  # of the meta device
        raise TrunkError(f"no device {device!r} here: it holds no numbers") from error
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error).partition(". ")[0]  # what follows is a list of all there are
        raise TrunkError(f"no device {device!r} here: {reason}") from error
    return found


def places_of(trunk: nn.Module) -> dict[str, list[str]]:
    """Every place of each parameter's tensor, by the parameter's name; a module that is used twice is one place.

    ``functional_call(tie_weights=True)`` takes such a module for two, and leaves its temporary weights in it.
    """
    names: dict[nn.Parameter, str] = {}
    places: dict[str, list[str]] = {}
    for prefix, module in trunk.named_modules():
        for name, parameter in module.named_parameters(prefix=prefix, recurse=False, remove_duplicate=False):
            places.setdefault(names.setdefault(parameter, name), []).append(name)
    return places


def as_numpy(inputs: Inputs) -> list[NDArray[Any]]:
    """The probe's tensors in their order; types that numpy lacks as float64."""
    return [(t.double() if t.is_floating_point() else t).detach().cpu().numpy() for t in named(inputs).values()]


def which(output: Any) -> int:
    """The number of the tensor of a selected output that is read: the first floating-point one of more numbers than a score has.

    A code made of a single number does not depend on the weights once it is normalized. Where there is no such tensor it is
    the first of all.
    """
    found = tensors_in(output)
    return next((i for i, t in enumerate(found) if t.is_floating_point() and t.numel() > _SCORE), 0)


def pick(output: Any, number: int) -> Tensor:
    """The tensor of a selected output that has a number.

    Raises:
        TrunkError: it holds fewer.
    """
    found = next(islice(tensors_in(output), number, None), None)
    if found is None:
        few = f"only {number} of the tensors that it had before" if number else "no tensor"
        raise TrunkError(f"the trunk's output ({type(output).__name__}) holds {few}: choose one with select=")
    return plain(found)


def checked_select(select: Select) -> Select:
    """What says which part of an output is read, with NumPy's integers as Python's.

    Raises:
        TrunkError: it is none of an index, a key and a callable.
    """
    if select is None or isinstance(select, str) or callable(select):
        return select
    try:
        if not isinstance(select, bool):
            return operator.index(select)
    except TypeError:
        pass
    raise TrunkError(f"select must be an index, a key, an attribute or a callable, not {select!r}")


def selected(output: Any, select: Select) -> Any:
    """The part of a module's output that ``select`` names; all of it where nothing is selected."""
    try:
        if callable(select):
            return select(output)
        if isinstance(select, int):
            return output[select]
        if isinstance(select, str):
            return output[select] if isinstance(output, Mapping) else getattr(output, select)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise TrunkError(f"select={select!r} finds nothing in the trunk's output ({type(output).__name__})") from error
    return output


def plain(tensor: Tensor) -> Tensor:
    """A tensor of torch's own class: a user's would answer for itself whenever it is compared."""
    if type(tensor).__module__.startswith("torch"):
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(Tensor)


def tensors_in(output: Any) -> Iterator[Tensor]:
    """The tensors of an output, in their order; lists, tuples and mappings are looked into."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from tensors_in(value)


def called_with(
    module: nn.Module,
    tensors: dict[str, Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    recurrent: Sequence[nn.RNNBase] = (),
) -> Any:
    """The module's answer while other tensors stand in the place of its own.

    Afterwards it has its own back, whatever ended the run: ``functional_call`` alone returns only some of them where an
    alarm or an interrupt comes while they are exchanged.

    Args:
        module: the module.
        tensors: by the names of their places.
        args, kwargs: its input.
        recurrent: its recurrent layers, which keep their weights in a private list besides.
    """
    held_by: list[dict[str, Any]] = [held for m in module.modules() for held in (m._parameters, m._buffers) if held]
    own = [(held, dict(held)) for held in held_by]
    try:
        output = functional_call(module, tensors, args, kwargs, tie_weights=False)
        _list_weights(recurrent)
        return output
    except BaseException:
        for held, before in own:
            held.update(before)
        _list_weights(recurrent)
        raise


def _list_weights(recurrent: Sequence[nn.RNNBase]) -> None:
    """Write a recurrent layer's weights into its private list, where ``functional_call`` leaves the temporary ones."""
    for layer in recurrent:
        layer._flat_weights = [getattr(layer, name) for name in layer._flat_weights_names]


@contextmanager
def differentiable_kernels(*, recurrent: bool = False) -> Iterator[None]:
    """Run attention and recurrent layers in the kernels that have derivatives of every kind.

    Flash attention and the mkldnn LSTM have no forward derivative, the fused encoder layer has no derivative at all, and
    cuDNN differentiates recurrent layers in training mode only; one choice for every evaluation also keeps the printed
    bits the same inside and outside a solver. An interrupt waits until the settings are turned back.

    Args:
        recurrent: there are recurrent layers; without them cuDNN stays on, which convolutions are quicker with.
    """
    with interrupts_held(), _SWITCHES(_others_off), _CUDNN(_cudnn_off) if recurrent else nullcontext():
        yield


class _Switches:
    """Settings of the whole process: the first thread that comes turns them, and the last one that leaves turns them back."""

    def __init__(self) -> None:
        self._lock, self._inside, self._back = threading.Lock(), 0, ExitStack()

    @contextmanager
    def __call__(self, turn: Callable[[ExitStack], None]) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                turn(self._back)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._back.close()


_SWITCHES, _CUDNN = _Switches(), _Switches()


def _cudnn_off(back: ExitStack) -> None:
    back.callback(setattr, torch.backends.cudnn, "enabled", torch.backends.cudnn.enabled)
    torch.backends.cudnn.enabled = False


def _others_off(back: ExitStack) -> None:
    back.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
    back.callback(torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled())
    back.callback(torch.backends.cuda.enable_mem_efficient_sdp, torch.backends.cuda.mem_efficient_sdp_enabled())
    back.callback(torch.backends.mkldnn.set_flags, *torch.backends.mkldnn.set_flags(False))
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    _checkpointing_off(back)
    _remark_off(back)


def _remark_off(back: ExitStack) -> None:
    """Silence one remark of torch, without `catch_warnings`: that forgets which other warnings have been given once."""

    filters: Any = warnings.filters  # a list, if typed as a sequence

    def again() -> None:
        with suppress(ValueError):  # somebody has changed all of them meanwhile
            filters.remove(_REMARK)

    filters.insert(0, _REMARK)
    back.callback(again)


def _checkpointing_off(back: ExitStack) -> None:
    """Let checkpointed parts run as they are: in a backward pass they would run again, with the stored weights."""
    checkpointing: Any = sys.modules.get("torch.utils.checkpoint")
    for name, stand_in in (("_checkpoint_hook", _no_hook), ("CheckpointFunction", _NoCheckpoint)):
        if hasattr(checkpointing, name):
            back.callback(setattr, checkpointing, name, getattr(checkpointing, name))
            setattr(checkpointing, name, stand_in)


def _no_hook(frame: Any) -> Any:
    return nullcontext()


class _NoCheckpoint:
    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        return function(*args)
