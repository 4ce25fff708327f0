"""Searches that outlive a reload: they belong to the server, run one at a time, and tell their story again to whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import NeuralQuineError
from .process import Interrupted, Process

WAITING, KEPT = 4, 30  # jobs that may wait; jobs that are remembered
_EVENTS = 20_000  # of one job


class Busy(NeuralQuineError):
    """Too many jobs wait already."""


@dataclass
class Job:
    """One search.

    Attributes:
        id: its name in addresses.
        task: the name of a function that the worker offers.
        arguments: its keywords.
        title: for a person.
        limit: the seconds after which it is stopped.
        finish: turns what the task returns into what the page is told.
        quine: the one it is about, where there is one already.
        state: waiting, running, done, failed or cancelled.
        events: all it has said, the result last.
    """

    id: str
    task: str
    arguments: dict[str, Any]
    title: str
    limit: float
    finish: Callable[[Any], dict[str, Any]]
    quine: str | None = None
    state: str = "waiting"
    events: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        """Whether nothing more will be said."""
        return self.state in ("done", "failed", "cancelled")

    def say(self, kind: str, **what: Any) -> None:
        """Add to the story, and wake those who listen."""
        if len(self.events) < _EVENTS or kind != "point":
            self.events.append({"kind": kind, **what})
        self.news.set()
        self.news = asyncio.Event()

    def describe(self) -> dict[str, Any]:
        """Return what the page is told of the job."""
        return {"id": self.id, "task": self.task, "title": self.title, "state": self.state, "quine": self.quine}


class Jobs:
    """The queue, and the one worker behind it.

    Args:
        worker: does the jobs, one after the other.
        forget: called with a job that is remembered no longer, to remove what it left.
    """

    def __init__(self, worker: Process, forget: Callable[[Job], None] = lambda _: None) -> None:
        self.worker, self._forget = worker, forget
        self._jobs: dict[str, Job] = {}
        self._made = 0
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._closing = asyncio.Event()

    def __iter__(self) -> Any:
        return iter(self._jobs.values())

    def add(
        self,
        task: str,
        arguments: dict[str, Any],
        title: str,
        limit: float,
        finish: Callable[[Any], dict[str, Any]],
        quine: str | None = None,
    ) -> Job:
        """Put a job in line.

        Raises:
            Busy: ``WAITING`` others wait already.
        """
        if sum(job.state == "waiting" for job in self) >= WAITING:
            raise Busy(f"{WAITING} searches wait already: cancel one, or wait")
        self._made += 1
        job = Job(f"j{self._made}", task, arguments, title, limit, finish, quine)
        self._jobs[job.id] = job
        for old in [j.id for j in self if j.ended][: max(0, len(self._jobs) - KEPT)]:
            self._forget(self._jobs.pop(old))
        self._queue.put_nowait(job)
        return job

    def get(self, name: str) -> Job:
        """Find a job by its name.

        Raises:
            NeuralQuineError: it is not there, or no longer.
        """
        if name not in self._jobs:
            raise NeuralQuineError(f"there is no search {name[:20]!r}")
        return self._jobs[name]

    async def run(self) -> None:
        """Work through the queue for ever."""
        while True:
            job = await self._queue.get()
            if job.ended:
                continue
            job.state = "running"
            job.say("running")
            try:
                result = await self.worker.ask(
                    job.task, job.arguments, limit=job.limit, event=lambda value, job=job: job.say("point", **value)
                )
                told = job.finish(result)
                job.state = "done"
                job.say("done", result=told)
            except Interrupted:
                job.state = "cancelled"
                job.say("cancelled")
            except NeuralQuineError as error:
                job.state = "failed"
                job.say("failed", error=str(error))

    async def cancel(self, job: Job) -> None:
        """Stop a job at once; a search that has an iterate worth keeping still hands it in."""
        if job.state == "waiting":
            job.state = "cancelled"
            job.say("cancelled")
        elif job.state == "running":
            await self.worker.stop()

    def close(self) -> None:
        """End every open stream, so that the server can stop."""
        self._closing.set()
        for job in self:
            job.news.set()

    async def story(self, job: Job, start: int) -> AsyncIterator[tuple[int, dict[str, Any] | None]]:
        """Yield every event from number ``start`` on, those to come too; None now and then where nothing happens."""
        while not self._closing.is_set():
            news = job.news
            while start < len(job.events) and not self._closing.is_set():
                yield start, job.events[start]
                start += 1
                # A backlog is sent without waiting for anything. The loop must get its turn all the same, or it never
                # learns that the client has gone, and nobody else is answered.
                await asyncio.sleep(0)
            if job.ended:
                return
            try:
                await asyncio.wait_for(news.wait(), 10)
            except TimeoutError:
                yield start, None
