"""Ctrl-C, ``kill`` and alarms between two evaluations of a network, never within one.

Python raises what a handler of a signal raises between any two of its instructions: while a module holds other weights than its own,
between the call that switches derivatives off and the block that switches them on again, in the middle of an import. Who
goes on afterwards goes on with what was left there. So a search holds interrupts back, and takes them where nothing is
under way.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGPROF") if hasattr(signal, name)]

Handler = Callable[[int, Any], Any]


class _Hold:
    """Notes the signals that have a handler in Python, and hands them on when it is asked to."""

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._noted: dict[int, Any] = {}  # the frame that each came in

    def begin(self) -> None:
        # What Python calls the main thread is another one where a host has started it first.
        with suppress(ValueError):
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if callable(before):
                    self._before[number] = before
                    signal.signal(number, self._note)

    def end(self) -> None:
        with suppress(ValueError):
            for number, before in self._before.items():
                found = signal.signal(number, before)
                if found != self._note:  # somebody has set another meanwhile
                    signal.signal(number, found)

    def _note(self, number: int, frame: Any) -> None:
        # Whoever asks twice does not want to wait; and an interrupt of the end may have left this handler in its place.
        if number in self._noted or _hold is not self:
            self._noted.pop(number, None)
            self._before[number](number, frame)
        else:
            self._noted[number] = frame

    def hand_on(self) -> None:
        if self._noted:
            number = next(iter(self._noted))
            frame = self._noted.pop(number)
            try:
                self._before[number](number, frame)
            finally:  # what one handler raises does not keep the next from its signal
                self.hand_on()


_hold: _Hold | None = None


@contextmanager
def interrupts_held(*, forget: bool = False) -> Iterator[None]:
    """Let interrupts and alarms wait for :func:`interrupt_here`, or for the end; a second one of a kind waits for nothing.

    Within another such block, and in any thread but the main one, which no signal reaches, this does nothing.

    Args:
        forget: a ``KeyboardInterrupt`` of the end came when all was done, and is forgotten.
    """
    global _hold
    if _hold is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    hold = _Hold()
    try:
        _hold = hold
        hold.begin()
        yield
    finally:
        _hold = None
        hold.end()
        with suppress(KeyboardInterrupt) if forget else nullcontext():
            hold.hand_on()


def interrupt_here() -> None:
    """Hand on what was held back: to be called where an exception leaves nothing half done."""
    if _hold is not None and threading.current_thread() is threading.main_thread():
        _hold.hand_on()


def _forked() -> None:
    """Give a child process that begins in such a block its handlers back."""
    global _hold
    hold, _hold = _hold, None
    if hold is not None:
        hold.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
