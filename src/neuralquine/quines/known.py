"""What is known of a quine while nothing changes: computed once, by whoever asks first.

Inside of :func:`known_once` the weights are said to be the same whenever something is asked. Beyond it only the norm of a large
network's derivative is kept, which takes four backward passes, beside what it depends on: the code that the network has just
answered, bits of all weights, of the probe and of the buffers, and the modules with their hooks. No verdict rests on it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

from .bits import fingerprint
from .networks.running import named

T = TypeVar("T")
_PLACE = "_norm_of_its_derivative"  # among the quine's attributes, together with what it depends on
_KNOWN: ContextVar[dict[tuple[str, int], Any] | None] = ContextVar("known", default=None)


@contextmanager
def known_once() -> Iterator[None]:
    """Compute once inside what :func:`known` is asked for."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def known(quine: object, what: str, compute: Callable[[], T]) -> T:
    """A figure of a quine by name; the one that was computed before, where somebody said that nothing changes."""
    table = _KNOWN.get()
    if table is None:
        return compute()
    if (what, id(quine)) not in table:
        table[what, id(quine)] = compute()
    return table[what, id(quine)]


@torch.no_grad()
def own_code(quine: Any) -> Tensor:
    """The code of the stored weights before its rounding; where activations lie on a grid, with and without it are two."""
    return known(quine, f"code on {quine.activation_bits}", quine.real_code)


def printed_code(quine: Any) -> Tensor:
    """The code that the stored weights answer with, rounded."""
    return quine.quantize(own_code(quine))


def digest(quine: Any) -> tuple[int, ...]:
    """Bits of the stored weights and of the probe."""
    held = [*(stored for _, stored in quine.stored_pieces()), *named(quine.inputs).values()]
    return tuple(fingerprint(t) for t in held)


def remembered(quine: Any, compute: Callable[[], T]) -> T:
    """The norm of the derivative at the stored weights; kept with the quine until something is seen to have changed."""
    now, before = _state(quine), vars(quine).get(_PLACE)
    if before is None or before[0] != now:
        before = vars(quine)[_PLACE] = now, compute()
    return before[1]


def _state(quine: Any) -> tuple[Any, ...]:
    """What that derivative depends on, as far as it can be seen; the network is asked once."""
    code = own_code(quine).double().cpu().numpy().tobytes()
    weights = known(quine, "digest", lambda: digest(quine))
    buffers = tuple(fingerprint(b) for b in quine.trunk.buffers() if not b.is_complex())
    modules = tuple((id(m), type(m), m.training, *_attached(m)) for m in quine.trunk.modules())
    return code, weights, buffers, modules, str(quine.trunk_device), repr(quine.settings())


def _attached(module: torch.nn.Module) -> tuple[int, ...]:
    """Identities of what was attached to a module: hooks, and functions in the place of its own."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values(), *module._backward_hooks.values()]
    return tuple(id(f) for f in [*hooks, *(v for v in vars(module).values() if callable(v))])
