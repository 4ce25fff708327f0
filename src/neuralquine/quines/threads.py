"""The number of threads that a network is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch

from .quine import Quine

_WORTH = 10_000  # weights from which a second thread saves more than it costs

P = ParamSpec("P")
T = TypeVar("T")

_AVAILABLE = torch.get_num_threads()


def available() -> int:
    """The threads that this process started with, which is how many searches may run side by side."""
    return _AVAILABLE


@contextmanager
def threads_for(weights: int) -> Iterator[None]:
    """One thread for a small network: OpenMP waits for threads that have no core to run on, ten times longer than
    the work takes where other processes are busy."""
    before = torch.get_num_threads()
    if weights > _WORTH or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread_if_small(
    function: Callable[Concatenate[Quine, P], T],
) -> Callable[Concatenate[Quine, P], T]:
    """Run a function of a quine under :func:`threads_for`."""

    @wraps(function)
    def run(quine: Quine, *args: P.args, **kwargs: P.kwargs) -> T:
        # A tape is read once, as fast as memory gives it: a second thread only waits.
        with threads_for(0 if quine.constructed else quine.parameter_count):
            return function(quine, *args, **kwargs)

    return run
