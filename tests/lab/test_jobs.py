"""The queue and the process behind it: replay, limits, cancellation, a worker that dies."""

import asyncio
import os
import signal
import time

import pytest

from neuralquine.errors import NeuralQuineError
from neuralquine.lab.jobs import KEPT, WAITING, Busy, Jobs
from neuralquine.lab.process import Interrupted, Process


class Idle:
    """A worker that answers when it is told to, and says what it was asked."""

    def __init__(self):
        self.asked, self.go, self.stopped = [], asyncio.Event(), False

    async def ask(self, task, arguments, *, limit, event):
        self.asked.append(task)
        event({"step": 1})
        await self.go.wait()
        if self.stopped:
            raise Interrupted
        if task == "bad":
            raise NeuralQuineError("no such thing")
        return {"answer": 42}

    async def stop(self):
        self.stopped = True
        self.go.set()


def add(jobs, task="good"):
    return jobs.add(task, {}, task, 10, lambda result: result)


async def told(jobs, job, start=0):
    return [event["kind"] async for _, event in jobs.story(job, start) if event]


def with_jobs(test):
    """Run a coroutine of jobs and their idle worker."""

    async def run():
        worker = Idle()
        jobs = Jobs(worker)
        queue = asyncio.create_task(jobs.run())
        try:
            await asyncio.wait_for(test(jobs, worker), 20)
        finally:
            queue.cancel()

    asyncio.run(run())


def test_a_story_is_told_again_from_any_point_also_while_it_goes_on():
    async def test(jobs, worker):
        job = add(jobs)
        early = asyncio.create_task(told(jobs, job))
        await asyncio.sleep(0.01)
        late = asyncio.create_task(told(jobs, job, 1))
        await asyncio.sleep(0.01)
        assert job.state == "running"
        worker.go.set()
        assert await early == ["running", "point", "done"]
        assert await late == ["point", "done"]
        assert await told(jobs, job) == ["running", "point", "done"]
        assert await told(jobs, job, 3) == []
        assert job.events[-1]["result"] == {"answer": 42}

    with_jobs(test)


def test_a_failure_is_one_line_and_the_queue_goes_on():
    async def test(jobs, worker):
        worker.go.set()
        bad, good = add(jobs, "bad"), add(jobs)
        assert await told(jobs, bad) == ["running", "point", "failed"]
        assert bad.events[-1]["error"] == "no such thing"
        assert await told(jobs, good) == ["running", "point", "done"]

    with_jobs(test)


def test_one_runs_a_few_wait_and_more_are_turned_away():
    async def test(jobs, worker):
        first = add(jobs)
        await asyncio.sleep(0.01)
        others = [add(jobs) for _ in range(WAITING)]
        with pytest.raises(Busy, match=f"{WAITING} searches wait already"):
            add(jobs)
        assert worker.asked == ["good"]
        await jobs.cancel(others[0])
        assert others[0].state == "cancelled"
        add(jobs)
        await jobs.cancel(first)
        assert await told(jobs, first) == ["running", "point", "cancelled"]

    with_jobs(test)


def test_only_the_last_jobs_are_remembered():
    async def test(jobs, worker):
        worker.go.set()
        for _ in range(KEPT + 5):
            await told(jobs, add(jobs))
        assert len(list(jobs)) == KEPT
        with pytest.raises(NeuralQuineError, match="no search 'j1'"):
            jobs.get("j1")

    with_jobs(test)


def test_closing_ends_open_stories():
    async def test(jobs, worker):
        listening = asyncio.create_task(told(jobs, add(jobs)))
        await asyncio.sleep(0.01)
        jobs.close()
        assert await listening == ["running", "point"]

    with_jobs(test)


SLOW = {"network": "blog", "seed": 1, "method": "rmsprop", "exact": False, "anchored": False, "time_limit": 300}


def test_a_real_worker_answers_fails_stops_keeps_its_best_and_comes_back_from_the_dead(tmp_path):
    async def run():
        process = Process()
        try:
            catalog = await process.ask("catalog", {}, limit=600)
            assert catalog["networks"][0]["name"] == "blog"
            with pytest.raises(NeuralQuineError, match="no recipe 'nothing'"):
                await process.ask("solve", {"folder": str(tmp_path / "a"), **SLOW, "network": "nothing"}, limit=600)

            # A polite stop keeps the best iterate.
            points = []
            asked = asyncio.create_task(
                process.ask("solve", {"folder": str(tmp_path / "b"), **SLOW}, limit=600, event=points.append)
            )
            while not points:
                await asyncio.sleep(0.02)
            started = time.monotonic()
            await process.stop()
            result = await asked
            assert time.monotonic() - started < 300
            assert result["solution"]["status"] == "interrupted"
            assert (tmp_path / "b" / "model.safetensors").exists()

            # One that is killed is one line, and the next request has a new one.
            asked = asyncio.create_task(process.ask("solve", {"folder": str(tmp_path / "c"), **SLOW}, limit=600))
            await asyncio.sleep(0.2)
            os.kill(process._process.pid, signal.SIGKILL)
            with pytest.raises(NeuralQuineError, match="ended by itself"):
                await asked
            with pytest.raises(NeuralQuineError, match="stopped after 1 seconds"):
                await process.ask("solve", {"folder": str(tmp_path / "d"), **SLOW}, limit=1)
        finally:
            await process.close()

    asyncio.run(run())
