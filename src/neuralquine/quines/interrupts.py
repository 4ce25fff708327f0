"""Ctrl-C, ``kill`` and alarms between two evaluations of a network, never within one.

Python raises what a handler of a signal raises between any two of its instructions: while a module holds other weights than its own,
between the call that switches derivatives off and the block that switches them on again, in the middle of an import. Who
goes on afterwards goes on with what was left there. So a search holds interrupts back, and takes them where nothing is
under way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGPROF") if hasattr(signal, name)]

Handler = Callable[[int, Any], Any]


class _Hold:
    """Notes the signals that have a handler in Python, and hands them on when it is asked to."""

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._noted: list[int] = []
        self._holding = True

    def begin(self) -> None:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                self._before[number] = before
                signal.signal(number, self._note)

    def end(self) -> None:
        self._holding = False  # first: a handler that an interrupt left in its place below then hands on at once
        for number, before in self._before.items():
            found = signal.signal(number, before)
            if found != self._note:  # somebody has set another meanwhile
                signal.signal(number, found)

    def _note(self, number: int, frame: Any) -> None:
        if not self._holding or number in self._noted:  # whoever asks twice does not want to wait
            self._noted.clear()
            self._before[number](number, frame)
        else:
            self._noted.append(number)

    def hand_on(self) -> None:
        while self._noted:
            number = self._noted.pop(0)
            self._before[number](number, None)


_hold: _Hold | None = None


@contextmanager
def interrupts_held(*, forget: bool = False) -> Iterator[None]:
    """Let interrupts and alarms wait for :func:`interrupt_here`, or for the end; a second one of a kind waits for nothing.

    Within another such block, and in any thread but the main one, which no signal reaches, this does nothing.

    Args:
        forget: what nothing has taken by the end came when all was done, and is forgotten.
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
        if not forget:
            hold.hand_on()


def interrupt_here() -> None:
    """Hand on what was held back: to be called where an exception leaves nothing half done."""
    if _hold is not None and threading.current_thread() is threading.main_thread():
        _hold.hand_on()
