"""The process that computes, from within: ``python -m neuralquine.lab.worker`` reads requests, one JSON line each.

An interrupt reaches a task only while it computes, never while a line is being written. When the server is gone, so is
this process, in the middle of anything.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import Any

from ..errors import NeuralQuineError, first_line


class _Line:
    """The way back to the server, and the interrupts from it."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._computing = self._pending = False
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        if self._computing:
            self._computing = False  # the best iterate is judged and kept undisturbed
            raise KeyboardInterrupt
        self._pending = True

    def begin(self) -> None:
        self._pending, self._computing = False, True

    def end(self) -> None:
        self._computing = False

    def send(self, kind: str, value: Any) -> None:
        data = json.dumps([kind, value], allow_nan=False).encode() + b"\n"
        computing, self._computing = self._computing, False
        while data:
            data = data[os.write(self._out, data) :]
        if computing and self._pending:
            raise KeyboardInterrupt
        self._computing = computing


def main() -> None:
    """Answer until the server closes the line."""
    # What a library prints must not end up between our lines.
    out = os.dup(1)
    os.dup2(2, 1)
    line = _Line(out)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    from . import compared, patient, search, work

    tasks = {
        task.__name__: task for task in (*search.DONE_HERE, *patient.DONE_HERE, *work.DONE_HERE, *compared.DONE_HERE)
    }
    while True:
        request = json.loads(requests.get())
        line.begin()
        try:
            result = tasks[request["task"]](lambda value: line.send("event", value), **request["arguments"])
            line.end()
            line.send("done", result)
        except KeyboardInterrupt:
            line.end()
            line.send("interrupted", None)
        except NeuralQuineError as error:
            line.end()
            line.send("failed", str(error))
        except Exception as error:  # whatever a network raises: the page shows it in one line
            line.end()
            line.send("failed", f"{type(error).__name__}: {first_line(error)}")


def _read(requests: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
