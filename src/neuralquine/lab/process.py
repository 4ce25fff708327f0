"""A process that computes, seen from the server: one request at a time, JSON lines both ways, and an end at any time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from ..errors import NeuralQuineError

_LINE = 1 << 26  # bytes of one answer: the heat maps of every layer
_GRACE = 10.0  # seconds an interrupted search has to hand in its best iterate


class Interrupted(Exception):
    """The request was stopped by the user, and left nothing behind."""


class Process:
    """A worker that is started when it is first needed, or before, and again after it had to be killed."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._stopping = False

    async def start(self) -> asyncio.subprocess.Process:
        """Return the running process; torch is imported in it while the page is being read."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "neuralquine.lab.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE,
                start_new_session=True,  # Ctrl-C in the terminal is for the server, which then ends its workers
            )
        return self._process

    async def ask(
        self,
        task: str,
        arguments: dict[str, Any],
        *,
        limit: float,
        event: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> Any:
        """Have a task done.

        Args:
            task: the name of a function that the worker offers.
            arguments: its keywords.
            limit: the seconds after which the process is killed.
            event: called with what the task reports on its way.

        Raises:
            Interrupted: :meth:`stop` was called.
            NeuralQuineError: the task failed, in one line.
        """
        async with self._turn:
            self._stopping = False
            process = await self.start()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(limit):
                    process.stdin.write(json.dumps({"task": task, "arguments": arguments}).encode() + b"\n")
                    await process.stdin.drain()
                    while line := await process.stdout.readline():
                        kind, value = json.loads(line)
                        if kind == "done":
                            return value
                        if kind == "failed":
                            raise NeuralQuineError(value)
                        if kind == "interrupted":
                            raise Interrupted
                        event(value)
            except TimeoutError:
                await self.close()
                raise NeuralQuineError(f"stopped after {limit:.0f} seconds, the lab's limit") from None
            except asyncio.CancelledError:
                await self.close()
                raise
            except ConnectionError:
                pass  # it ended before it read the request: said below
            await self.close()
            if self._stopping:
                raise Interrupted
            raise NeuralQuineError("the computing process ended by itself: too little memory?")

    async def stop(self) -> None:
        """End the present task: politely, so that a search keeps its best iterate; asked again, or after a while, at once."""
        process = self._process
        if process is None or process.returncode is not None or not self._turn.locked():
            return
        again, self._stopping = self._stopping, True
        if os.name == "posix" and not again:
            process.send_signal(signal.SIGINT)
            for _ in range(int(_GRACE / 0.05)):
                await asyncio.sleep(0.05)
                if not (self._turn.locked() and self._stopping):
                    return
        await self.close()

    async def close(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
