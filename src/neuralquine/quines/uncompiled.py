"""Derivatives of functions without torch's compiler, which ``torch.func.grad`` imports for nothing but switching it off."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch

_NAME = "_dynamo"


class _NotThere:
    """Stands where the compiler would: there is nothing to switch off. Whoever asks for anything else gets the compiler."""

    compiled_autograd = SimpleNamespace(_disable=nullcontext)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(f"torch.{_NAME}"), name)


_LOCK, _inside = threading.Lock(), [0]
_STANDING = _NotThere()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Call ``torch.func.grad`` inside: its first call would take one or two seconds of the processor for the import."""
    with _LOCK:
        if _inside[0] == 0 and f"torch.{_NAME}" not in sys.modules:
            setattr(torch, _NAME, _STANDING)
        _inside[0] += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside[0] -= 1
            if _inside[0] == 0 and vars(torch).get(_NAME) is _STANDING:
                delattr(torch, _NAME)
