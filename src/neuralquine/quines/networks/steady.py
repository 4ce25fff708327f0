"""Whether a module answers the same when it is asked twice: one that does not has no fixed point to be found."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import TrunkError

_ULPS = 1e4  # by which parallel sums may disagree, in units of the type's round-off; what is drawn differs by far more
_MOST = 0.1  # relative, of narrow types: an answer with a tenth of noise is no answer


@torch.no_grad()
def refuse_unsteady(module: nn.Module, first: Tensor, again: Callable[[], Tensor]) -> None:
    """Refuse a module whose second answer is another one, and name the cause. What differs by round-off is left to ``verify``.

    Args:
        module: in evaluation mode.
        first: what it answered, flat.
        again: asks it once more.

    Raises:
        TrunkError: the answers differ, in numbers or in count.
    """
    before, drawn = {name: b.clone() for name, b in module.named_buffers()}, torch.get_rng_state()
    second = again()
    if first.shape == second.shape and not _apart(first, second):
        return
    raise TrunkError(f"the trunk answers otherwise when it is asked twice: {_cause(module, before, drawn, again)}")


def _apart(first: Tensor, second: Tensor) -> bool:
    """Whether two answers differ by more than round-off; NaN is refused elsewhere."""
    allowed = min(_MOST, _ULPS * torch.finfo(first.dtype).eps)
    return bool(torch.linalg.vector_norm(first - second) > allowed * torch.linalg.vector_norm(first))


def _cause(module: nn.Module, before: dict[str, Tensor], drawn: Tensor, again: Callable[[], Tensor]) -> str:
    """Why a module that has just been asked again answered otherwise, as far as it shows."""
    parts = module.named_modules()
    awake = [name for name, part in parts if part.training and isinstance(part, nn.modules.dropout._DropoutNd)]
    if awake:
        return f"dropout is active in {awake[0]!r}, although eval() was called"
    if not torch.equal(torch.get_rng_state(), drawn):
        return f"it draws random numbers{_where(module, again)}{_instead(module)}"
    changed = [n for n, b in module.named_buffers() if n not in before or not torch.equal(b, before[n])]
    if changed:
        return f"it changes its buffer {changed[0]!r}"
    return "it remembers its calls, or depends on something outside of it"


def _where(module: nn.Module, again: Callable[[], Tensor]) -> str:
    """The innermost part that draws first, in words; nothing where it is the module itself, or a part without a forward."""
    states: list[Tensor] = []
    found: list[str] = []

    def enter(*_: object) -> None:
        states.append(torch.get_rng_state())

    def leave(name: str) -> Callable[..., None]:
        return lambda *_: found.append(name) if not torch.equal(states.pop(), torch.get_rng_state()) else None

    hooks = [
        hook
        for name, part in module.named_modules()
        for hook in (part.register_forward_pre_hook(enter), part.register_forward_hook(leave(name)))
    ]
    try:
        again()
    finally:
        for hook in hooks:
            hook.remove()
    return f" in {found[0]!r}" if found and found[0] else ""


def _instead(module: nn.Module) -> str:
    """The input of a module that takes the place of what it draws, by its name, in words."""
    names = [name for name in inspect.signature(module.forward).parameters if "noise" in name]
    return f"; perhaps its input {names[0]!r} takes their place" if names else ""
