"""A time limit holds inside a step, over the starts of a search, and over the judgement; no clock is waited for."""

import math

import pytest
import torch

import neuralquine as nq
from neuralquine.solving import judge
from neuralquine.solving.linearized import linear_starts
from neuralquine.solving.methods import METHODS
from neuralquine.solving.solution import Status
from neuralquine.solving.trace import Trace

LIMIT = 4  # evaluations, in the place of seconds


@pytest.fixture
def evaluations_for_seconds(monkeypatch):
    monkeypatch.setattr(Trace, "seconds", lambda self: float(self.f.evaluations))


@pytest.mark.parametrize("method", sorted({type(m): name for name, m in METHODS.items()}.values()))
def test_no_method_evaluates_on_after_the_limit(method, evaluations_for_seconds):
    quine = nq.recipe("blog", seed=3)
    solution = nq.solve(quine, method, starts=1, time_limit=LIMIT, throw=False)
    assert solution.status in (Status.TIME_LIMIT, Status.STALLED)
    assert solution.map_evaluations <= LIMIT + 16 + 3  # one batch of a line search, and what the judge looks at
    assert solution.theta is not None
    assert math.isfinite(solution.relative_residual)


@pytest.mark.parametrize("name", ["queried-441", "fletcher-coords"])
def test_no_search_of_a_queried_quine_does(name, evaluations_for_seconds):
    solution = nq.solve(nq.recipe(name, seed=1), time_limit=LIMIT, throw=False)
    assert solution.status is Status.TIME_LIMIT
    assert solution.map_evaluations <= LIMIT + 3 + torch.get_num_threads()


@pytest.mark.parametrize("skip", [0.0, 0.1])
def test_no_exact_search_does(skip, evaluations_for_seconds):
    quine = nq.recipe("rnn", seed=1, skip=skip)
    solution = nq.solve(quine, time_limit=5, exact=True, throw=False)
    assert solution.bit_exact or solution.status is Status.TIME_LIMIT
    assert solution.map_evaluations <= 5 + 64 + 3


def test_starts_are_not_prepared_after_the_limit():
    stack = nq.recipe("queried-121", seed=0).stack
    asked, generator = [], torch.Generator().manual_seed(0)
    assert len(list(linear_starts(stack, generator, late=lambda: asked.append(1) or True))) <= 1
    assert len(asked) == 1  # after the first draw, of a batch of 24


def test_a_judgement_that_would_take_too_long_is_a_bound(monkeypatch):
    full = nq.solve(nq.recipe("blog", seed=0))
    monkeypatch.setattr(judge, "_QUICK", 0)
    monkeypatch.setattr(judge, "_GRACE", -1e9)
    brief = nq.solve(nq.recipe("blog", seed=0), time_limit=1e8)
    assert brief.converged
    assert brief.bound
    assert not full.bound
    assert 0 < brief.self_sensitivity <= full.self_sensitivity
    assert math.isnan(brief.spectral_radius)


def test_what_is_no_quine_is_not_looked_at_after_the_limit(monkeypatch):
    monkeypatch.setattr(judge, "_QUICK", 0)
    solution = nq.solve(nq.recipe("blog", seed=0), time_limit=1e-9, throw=False)
    assert solution.status is Status.TIME_LIMIT
    assert math.isnan(solution.self_sensitivity)
    assert solution.figures()["self_sensitivity"] is None


@pytest.mark.parametrize("method", ["adam", "epochs"])
def test_what_a_method_imports_is_imported_before_the_clock_runs(method, monkeypatch):
    order = []
    tool = METHODS[method]
    monkeypatch.setattr(type(tool), "prepare", lambda self: order.append("prepared"))
    monkeypatch.setattr(Trace, "seconds", lambda self: order.append("asked") or 0.0)
    nq.solve(nq.recipe("queried-121", seed=0), method, max_steps=1, starts=1, time_limit=10, throw=False)
    assert order[0] == "prepared"
    assert "asked" in order
