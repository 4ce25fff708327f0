"""What a search did is recorded as it was: the current residual beside the best, and its course in words."""

import math
import random

import pytest
import torch

import neuralquine as nq
from neuralquine.files.logs import Lines
from neuralquine.solving.course import course, sentence
from neuralquine.solving.loop import Stop, following
from neuralquine.solving.maps import ReducedMap
from neuralquine.solving.trace import Residuals, Trace

FLOOR = 9e-15


@pytest.mark.parametrize("seed", range(20))
def test_the_four_courses_are_told_apart(seed):
    draw = random.Random(seed)
    count, level = draw.randint(20, 3000), 10 ** draw.uniform(-12, 1)
    rate = 1 - draw.uniform(4, 15) / count
    assert course([level * rate**i for i in range(count)], 0.0) == "falls"
    assert course([level * draw.uniform(1.0, 1.24) for _ in range(count)], FLOOR) == "stalls"
    assert course([level * (draw.uniform(2, 4) if i % 2 else draw.uniform(0.5, 1)) for i in range(count)], FLOOR) in (
        "oscillates"
    )
    slow = [level * (2 + math.sin(i * 9 / min(count, 1000))) for i in range(count)]
    assert course(slow, FLOOR) == "wanders"


def test_round_off_is_level_and_too_few_steps_say_nothing():
    draw = random.Random(0)
    assert course([draw.uniform(1e-17, FLOOR) for _ in range(100)], FLOOR) == "stalls"
    assert course([1.0, 2.0, 3.0], FLOOR) == ""
    assert course([math.nan, math.inf, 1.0], FLOOR) == ""
    assert sentence("", [1.0]) == ""
    assert "between 1 and 3 in its last 4 steps" in sentence("oscillates", [1.0, 3.0, math.nan, 1.0, 3.0])


@pytest.mark.parametrize(
    ("method", "steps", "name"),
    [("rmsprop", 600, "wanders"), ("picard", 300, "oscillates"), ("rmsprop", 60, "falls")],
)
def test_a_solution_says_how_its_search_went(method, steps, name):
    solution = nq.solve(nq.recipe("blog"), method, stop=Stop(max_steps=steps), throw=False)
    assert solution.course == name == solution.figures()["course"]
    assert solution.course_in_words in solution.failure


def test_the_trace_holds_the_current_iterate_beside_the_best(tmp_path):
    quine = nq.recipe("blog")
    logger = Lines(tmp_path / "lines")
    solution = nq.solve(quine, "rmsprop", stop=Stop(max_steps=400), throw=False, progress=following(logger))
    logger.close()
    best = [p.relative_residual for p in solution.trace]
    current = [p.current_relative_residual for p in solution.trace]
    assert best == sorted(best, reverse=True)
    assert current != sorted(current, reverse=True)
    assert all(b <= c for b, c in zip(best, current, strict=True))
    assert solution.last_theta is not None
    gap = quine.self_map(solution.last_theta) - solution.last_theta
    assert solution.trace[-1].current_squared_residual == pytest.approx(float(gap.square().sum()), rel=0.2)
    assert solution.last_squared_residual == pytest.approx(float(gap.square().sum()))
    keys = {"relative_residual", "current_relative_residual", "squared_residual", "current_squared_residual"}
    assert all(key in (tmp_path / "lines").read_text().splitlines()[0] for key in keys)


@pytest.mark.parametrize("name", ["blog", "rnn", "cnn"])
def test_the_squared_residual_of_a_code_is_that_of_the_weights(name):
    quine = nq.recipe(name)
    solution = nq.solve(quine, "picard", stop=Stop(max_steps=0), throw=False)
    (point,) = solution.trace
    gap = quine.self_map(quine.theta) - quine.theta
    assert point.squared_residual == pytest.approx(float(gap.square().sum()), rel=1e-3)
    assert solution.squared_residual == pytest.approx(float(gap.square().sum()))


def test_resting_starts_are_not_taken_for_the_current_iterate():
    trace = Trace(ReducedMap(nq.recipe("blog")), None)
    trace.record(Residuals(*(torch.tensor(v) for v in ([math.inf, 0.5], [1.0, 3.0], [0.1, 0.4], [0.01, 0.2]))))
    (point,) = trace.points
    assert (point.relative_residual, point.current_relative_residual) == (pytest.approx(0.1), 0.5)
    assert (point.squared_residual, point.current_squared_residual) == (pytest.approx(0.01), 3.0)


def test_a_zero_quine_has_the_loss_that_the_post_would_have_reported():
    solution = nq.solve(nq.recipe("blog-part1"), throw=False)
    assert solution.status is nq.Status.ZERO_QUINE
    assert solution.squared_residual < 1e-7
    assert solution.relative_residual > 0.1
    assert solution.course == ""
