"""Saving under a time limit: what there is no time to examine is saved as that, and nothing that is kept is changed."""

import json
import math
import time

import pytest
import torch

import neuralquine as nq
from neuralquine.cli import record
from neuralquine.cli.solve import _examined
from neuralquine.keeping import hurried
from neuralquine.keeping.store import save
from neuralquine.solving.loop import Clock


@pytest.fixture
def solved():
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    return quine


def said(folder):
    return json.loads((folder / "solution.json").read_text())["verification"], (folder / "README.md").read_text()


def test_what_a_search_calls_no_quine_is_not_examined(tmp_path, monkeypatch):
    monkeypatch.setattr(hurried, "verify", lambda _: pytest.fail("examined"))
    quine = nq.recipe("blog", seed=0)
    solution = nq.solve(quine, max_steps=1, throw=False)
    save(quine, tmp_path / "q", within=100.0)
    figures, card = said(tmp_path / "q")
    assert figures["status"] == "not_converged"
    assert figures["relative_residual"] == solution.relative_residual
    assert figures["self_sensitivity"] is figures["outside_bits"] is figures["generations_tried"] is None
    assert "This is not a quine" in card
    assert "not counted" in card
    assert torch.equal(nq.load(tmp_path / "q").theta, quine.theta)


def test_a_quine_that_there_is_no_time_for_is_called_unexamined_and_kept_as_it_is(solved, tmp_path, monkeypatch):
    theta = solved.theta

    def endless(quine):
        quine.theta = torch.ones_like(theta)
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(hurried, "verify", endless)
    found = save(solved, tmp_path / "q", within=0.05)
    assert found.converged
    assert not found.is_quine
    assert torch.equal(solved.theta, theta)
    figures, card = said(tmp_path / "q")
    assert figures["status"] == "not_examined"
    assert figures["is_quine"] is False
    assert "not examined" in card
    assert "not a quine" not in card
    assert "not examined" in repr(found)
    monkeypatch.undo()
    again = nq.load(tmp_path / "q")
    assert torch.equal(again.theta, theta)
    assert nq.verify(again).is_quine


def test_with_time_enough_it_is_verified(solved, tmp_path):
    assert save(solved, tmp_path / "q", within=1e6).is_quine
    assert said(tmp_path / "q")[0]["status"] == "quine"


def test_after_a_limit_no_proof_is_begun(monkeypatch, tmp_path):
    monkeypatch.setattr("neuralquine.keeping.theorems.portability_at_once", lambda *_: pytest.fail("proved"))
    quine = nq.recipe("rnn", seed=1, skip=0.1, code_bits=8)
    solution = nq.solve(quine)
    assert solution.bit_exact
    assert _examined(quine, solution, None, left=0.5) is solution


def test_the_time_that_is_left_is_counted_from_the_start(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(record.time, "perf_counter", lambda: now[0])
    request = record.Request(method="", tool=None, starts=0, stop=nq.Stop(time_limit=3), exact=False, probes=0)
    recording = record.Recording(None, nq.recipe("blog", seed=0), request)
    now[0] = 102.0
    assert recording.time_left() == pytest.approx(2.0)
    unlimited = record.Request(method="", tool=None, starts=0, stop=nq.Stop(), exact=False, probes=0)
    assert record.Recording(None, nq.recipe("blog", seed=0), unlimited).time_left() is None


class Seconds:
    """A trace that tells the times of a list."""

    def __init__(self, *times):
        self._times = iter(times)

    def seconds(self):
        return next(self._times)


def test_an_evaluation_that_would_end_long_after_the_limit_is_not_begun():
    quick = Clock(10.0, Seconds(*range(10), 9.9, 10.0))
    assert [quick() for _ in range(9)] == [False] * 9  # 9 s, and the next ends at 10
    slow = Clock(10.0, Seconds(3.0, 6.0, 9.0))
    assert [slow() for _ in range(3)] == [False, False, True]  # it would end at 12
    late = Clock(10.0, Seconds(8.0, 10.0))  # how long the first took is not known
    assert [late() for _ in range(2)] == [False, True]


def test_a_last_iterate_that_there_is_no_time_for_has_no_figures(monkeypatch):
    monkeypatch.setattr("neuralquine.solving.judge._LATE", -math.inf)
    solution = nq.solve(nq.recipe("blog", seed=0), "picard", max_steps=5, time_limit=1e8, throw=False)
    assert solution.figures()["last_relative_residual"] is None
