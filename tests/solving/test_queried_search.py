"""Searches: small queried networks are solved, zero and one constant are named, and long searches can be resumed."""
# pyright: reportArgumentType=false, reportOperatorIssue=false

import math
import os
import signal
import threading
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.errors import NeuralQuineError
from neuralquine.files.journal import Journal
from neuralquine.solving.linearized import variation
from neuralquine.solving.loop import Search, Stop
from neuralquine.solving.queried_map import QueryMap
from neuralquine.solving.queried_search import _SharedTrace, put_aside
from neuralquine.solving.solution import Status
from neuralquine.solving.trace import Residuals
from quines.networks_of_queries import Batched, OneByOne, stack


@pytest.mark.parametrize(
    ("seed", "size", "act"), [(1, 10, nn.Tanh), (11, 20, nn.SELU), (3, 10, nn.SELU), (4, 20, nn.Tanh)]
)
def test_a_network_of_one_hidden_layer_is_solved(seed, size, act):
    quine = stack(size, act=act, seed=seed)
    solution = nq.solve(quine)
    assert solution.relative_residual < 1e-14
    assert solution.weight_rms > 0.01
    assert solution.self_sensitivity > 1
    assert variation(quine.theta) > 0.5
    assert nq.verify(quine).is_quine


@pytest.mark.parametrize("layers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_papers_network_is_solved_at_a_small_width(layers):
    quine = stack(20, layers=layers, bias=False, act=nn.SELU, front=True, seed=5)
    assert nq.solve(quine).relative_residual < 1e-14
    assert nq.verify(quine).is_quine


@pytest.mark.slow
@pytest.mark.parametrize("act", [nn.Tanh, nn.SELU], ids=["tanh", "selu"])
def test_a_network_of_2601_weights_is_solved(act):
    quine = stack(50, act=act, seed=1)
    assert nq.solve(quine).relative_residual < 1e-14
    assert nq.verify(quine).is_quine


def test_a_homogeneous_network_is_solved_by_normalized_regeneration():
    quine = stack(20, layers=2, bias=False, act=nn.ReLU)
    solution = nq.solve(quine)
    assert solution.relative_residual < 1e-14
    assert solution.detail == "1 start tried"
    assert variation(quine.theta) > 0.5


def test_a_network_that_is_no_plain_stack_is_searched_too():
    torch.manual_seed(2)
    quine = nq.QueryQuine(OneByOne(4), "projection", seed=2)
    solution = nq.solve(quine, throw=False, stop=Stop(max_evaluations=600))
    assert solution.relative_residual <= solution.last_relative_residual
    assert solution.converged == (solution.relative_residual < 1e-14)


def test_fletchers_normalized_matrix_is_solved():
    torch.manual_seed(1)
    quine = nq.QueryQuine(Batched(8), "coordinates", print_frozen=False)
    solution = nq.solve(quine)
    assert solution.relative_residual < 1e-13
    assert nq.verify(quine).is_quine


def test_a_small_normalized_matrix_that_no_descent_solves_is_hopped_on():
    """Of this one 400 starts without hops come no nearer than 4e-3."""
    quine = nq.recipe("fletcher-coords", seed=967127)
    solution = nq.solve(quine)
    assert solution.relative_residual < 1e-14
    assert nq.verify(quine).is_quine


def test_without_normalization_fletchers_matrix_is_the_zero_quine():
    quine = nq.recipe("fletcher-coords", normalize=False)
    solution = nq.solve(quine, "regeneration", throw=False)
    assert solution.status is Status.ZERO_QUINE
    assert not nq.verify(quine).is_quine


def test_zero_is_no_quine_of_a_network_without_biases():
    quine = stack(10, layers=2, bias=False, act=nn.SELU)
    quine.theta = torch.zeros(quine.parameter_count, dtype=torch.float64)
    verification = nq.verify(quine)
    assert not verification.is_quine
    assert any("zero" in trick for trick in verification.trivial)
    solution = nq.solve(quine, "regeneration", throw=False)
    assert solution.status is Status.ZERO_QUINE


@pytest.fixture
def dead():
    """A ReLU network whose weights are all -1/2: every unit is dead, and the output bias answers."""
    quine = stack(10, act=nn.ReLU)
    quine.inputs = (quine.inputs[0].abs(),)  # queries of a positive sum put all units to sleep
    quine.theta = torch.full_like(quine.theta, -0.5)
    assert torch.equal(quine.printed(), quine.theta)
    return quine


def test_one_constant_answered_by_a_bias_is_no_quine(dead):
    verification = nq.verify(dead)
    assert verification.converged
    assert not verification.is_quine
    assert any(trick.startswith("uniform") for trick in verification.trivial)
    assert any(trick.startswith("copy") for trick in verification.trivial)
    assert nq.solve(dead, throw=False, starts=1).status is Status.ZERO_QUINE


def test_a_search_puts_a_line_of_fixed_points_aside(dead):
    theta = dead.theta[None]
    search = Search(theta, torch.zeros(1, dtype=theta.dtype), theta, [Status.CONVERGED], 1)
    assert put_aside(QueryMap(dead), search)
    assert search.status == [Status.CONSTANT_QUINE]
    assert not bool(torch.isfinite(search.residuals).any())
    trace = _SharedTrace(QueryMap(dead), None)
    for residual in (0.5, 0.1, 1e-16):
        now = torch.tensor([residual], dtype=theta.dtype)
        trace.record(Residuals(now, now, now, now))
    trace.forget(0.1)
    assert [point.relative_residual for point in trace.points] == [0.5, 0.1]
    assert trace.best == 0.1
    honest = stack(10, seed=1)
    nq.solve(honest)
    theta = honest.theta[None]
    assert not put_aside(
        QueryMap(honest), Search(theta, torch.zeros(1, dtype=theta.dtype), theta, [Status.CONVERGED], 1)
    )


def test_a_solved_quine_is_recognized_at_once():
    quine = stack(10, seed=1)
    nq.solve(quine)
    again = nq.solve(quine)
    assert again.converged
    assert again.detail == "1 start tried"


def test_the_same_seed_gives_the_same_bits():
    thetas = []
    for _ in range(2):
        quine = stack(10, act=nn.SELU, seed=12)
        nq.solve(quine)
        thetas.append(quine.theta)
    assert torch.equal(*thetas)


def test_a_time_limit_ends_a_hopeless_search_and_keeps_the_best():
    quine = stack(20, act=nn.ReLU, seed=1)
    solution = nq.solve(quine, throw=False, stop=Stop(time_limit=0.5))
    assert solution.status is Status.TIME_LIMIT
    assert solution.seconds < 600  # generous: the machine may be busy
    assert solution.relative_residual <= solution.last_relative_residual


def test_a_limit_of_evaluations_ends_it_too():
    solution = nq.solve(stack(20, act=nn.ReLU, seed=1), throw=False, stop=Stop(max_evaluations=100))
    assert not solution.converged
    assert solution.map_evaluations < 1000


def test_a_killed_search_goes_on_where_it_was(tmp_path):
    def search(resume, **limits):
        quine = stack(10, seed=0)
        with Journal(tmp_path / "j", {"a": 1}, resume=resume) as journal:
            recorded = journal.recorded
            solution = nq.solve(quine, journal=journal, throw=False, **limits)
        return recorded, solution, quine.theta

    _, whole, theta = search(False)
    starts = int(whole.detail.split()[0])
    assert starts > 1
    search(False, starts=starts - 1)
    recorded, resumed, same = search(True)
    assert recorded == starts - 1
    assert resumed.converged
    assert torch.equal(theta, same)
    assert resumed.jvps < whole.jvps


def test_an_interrupt_keeps_the_best_start(monkeypatch):
    from neuralquine.solving import queried_search as search

    real, calls = search.iterate, []

    def interrupted(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(search, "iterate", interrupted)
    solution = nq.solve(stack(20, act=nn.ReLU, seed=1), throw=False)
    assert solution.status is Status.INTERRUPTED
    assert solution.relative_residual <= solution.last_relative_residual


@pytest.mark.parametrize("method", ["sgd", "adam", "adamax", "epochs", "hill-climbing", "regeneration", "anderson"])
def test_the_methods_of_history_run_and_do_not_find_one(method):
    quine = stack(10, layers=2, bias=False, act=nn.SELU, front=True)
    solution = nq.solve(quine, method, throw=False, stop=Stop(max_steps=20))
    assert not solution.converged


def test_epochs_with_regeneration_install_what_is_printed():
    quine = stack(6, seed=4)
    solution = nq.solve(quine, nq.Epochs(regenerate=1, lr=0.0, optimizer="sgd"), throw=False, stop=Stop(max_steps=1))
    other = stack(6, seed=4)
    torch.testing.assert_close(solution.last_theta, other.printed(), rtol=1e-12, atol=1e-12)


def test_epochs_follow_the_gradient_with_frozen_targets():
    quine = stack(6, seed=4)
    theta = quine.theta
    rate = 1e-3
    r = quine.printed() - theta
    wanted = theta - rate * 2 * quine.code_jacobian(theta[None])[0].T @ r
    method = nq.Epochs(optimizer="sgd", lr=rate, batch=len(theta))
    solution = nq.solve(quine, method, throw=False, stop=Stop(max_steps=1))
    torch.testing.assert_close(solution.last_theta, wanted, rtol=1e-10, atol=1e-12)


def test_hill_climbing_never_climbs_down():
    quine = stack(6, seed=4)
    first = float((quine.printed() - quine.theta).square().sum())
    solution = nq.solve(quine, "hill-climbing", throw=False, stop=Stop(max_steps=200))
    theta = solution.last_theta
    last = float((quine.self_map(theta) - theta).square().sum())
    assert last < first


def test_unknown_optimizers_are_named():
    with pytest.raises(NeuralQuineError, match="did you mean 'adamax'"):
        nq.Epochs(optimizer="adamaxx")


def test_a_zoo_holds_distinct_quines_of_one_queried_network():
    quine = stack(10, seed=1)
    theta = quine.theta
    zoo = nq.zoo(quine, starts=5)
    assert torch.equal(quine.theta, theta)
    assert len(zoo.quines) >= 2
    for entry in zoo.quines:
        assert entry.relative_residual < 1e-14
        torch.testing.assert_close(quine.self_map(entry.theta), entry.theta, rtol=1e-9, atol=1e-12)
    thetas = torch.stack([entry.theta for entry in zoo.quines])
    gaps = torch.cdist(thetas, thetas) + torch.eye(len(thetas)) * 9
    assert float(gaps.min()) > 1e-6


def test_a_queried_quine_is_proved_and_an_unsolved_network_is_not(tmp_path):
    pytest.importorskip("flint")
    from neuralquine.proving.certificate import certify, check
    from neuralquine.proving.verdicts import NotProved

    quine = stack(6, seed=1)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NotProved, match="no box"):
        certify(tmp_path / "q")
    assert nq.solve(quine).converged
    nq.save(quine, tmp_path / "q")
    certify(tmp_path / "q")
    assert "has a quine, not zero" in check(tmp_path / "q" / "certificate.json")["claim"]


def test_a_network_in_float32_is_solved_to_its_round_off():
    quine = stack(10, seed=1, dtype=torch.float32)
    solution = nq.solve(quine)
    assert solution.dtype == "float32"
    assert solution.relative_residual < 5e-6
    assert nq.verify(quine).is_quine


@pytest.mark.parametrize("end", [Status.TIME_LIMIT, Status.MAX_STEPS])
def test_a_limit_does_not_make_a_quine_of_what_was_put_aside(dead, monkeypatch, end):
    from neuralquine.solving import queried_map as query_map
    from neuralquine.solving import queried_search as search

    monkeypatch.setattr(query_map, "UNIFORM", 0.0)  # let it through, for the eigenvalue of 1 to be found
    monkeypatch.setattr(
        search, "ladder", lambda f, stop, generator, **_: iter([(nq.KrylovLM(), f.quine.theta, Stop())])
    )
    answers = iter([None])
    monkeypatch.setattr(search, "_over", lambda stop, trace: next(answers, end))
    solution = nq.solve(dead, throw=False)
    assert solution.relative_residual < 1e-14
    assert solution.status is Status.CONSTANT_QUINE
    assert not solution.converged


def test_a_time_limit_that_is_over_at_once_still_judges_the_start():
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    solution = nq.solve(nq.QueryQuine(trunk, seed=1), stop=nq.Stop(time_limit=1e-9), throw=False)
    assert solution.status is nq.Status.TIME_LIMIT
    assert solution.relative_residual > 1e-9


def test_a_small_relu_network_is_solved_by_bending_its_linear_twin():
    quine = stack(6, act=nn.ReLU, seed=2)
    solution = nq.solve(quine)
    assert solution.relative_residual < 1e-14
    assert solution.jvps > quine.parameter_count  # the curve was counted
    assert variation(quine.theta) > 0.3
    assert nq.verify(quine).distance_to_one > 1e-3


def test_a_search_for_linear_twins_that_finds_none_keeps_its_time(monkeypatch):
    from neuralquine.solving import linearized

    asked = []
    monkeypatch.setattr(linearized, "fixed_point", lambda *_: None)
    starts = linearized.linear_starts(stack(5, seed=1).stack, torch.Generator(), late=lambda: not asked.append(1))
    assert list(starts) == []
    assert len(asked) == 1


def test_a_curve_is_followed_to_the_network_itself():
    from neuralquine.solving.linearized import linear_starts
    from neuralquine.solving.unbent import bendable, unbent_starts

    small = stack(5, act=nn.ReLU, seed=3).stack
    assert bendable(small)
    assert not bendable(stack(5, seed=3).stack)
    assert not bendable(stack(20, act=nn.ReLU, seed=3).stack)
    counted = []
    starts = linear_starts(small, torch.Generator().manual_seed(0), slope=1.0)
    end = next(unbent_starts(small, starts, lambda *spent: counted.append(spent), lambda: False))
    assert float(torch.linalg.vector_norm(small.answers(end) - end)) < 1e-4 * float(torch.linalg.vector_norm(end))
    assert counted
    assert counted[0] == (3, 36)


def test_time_that_runs_out_on_a_curve_of_bent_networks_ends_the_search_in_good_order(monkeypatch):
    asked = iter(range(10**6))
    monkeypatch.setattr(Stop, "clock", lambda self, trace: lambda: next(asked) > 30)
    quine = nq.recipe("queried-121", seed=31, activation="relu", scale=10**-0.5)
    solution = nq.solve(quine, throw=False, stop=Stop(time_limit=600.0))
    assert solution.status is Status.TIME_LIMIT
    assert 0 < solution.relative_residual < 1e3


def test_weights_that_are_no_fixed_point_are_not_asked_how_near_their_spectrum_is_to_one(monkeypatch):
    """At 80,000 weights it took five minutes to say of a search that had found nothing."""
    from neuralquine.quines import derivatives

    asked = []
    monkeypatch.setattr(derivatives, "distance_to_one", lambda *_: asked.append(1) or 0.5)
    quine = nq.recipe("chang-lipson", seed=1, width=20)  # 820 weights: not all eigenvalues are computed
    found = nq.verify(quine)
    assert not found.converged
    assert math.isnan(found.distance_to_one)
    assert not asked
    nq.solve(quine, throw=False, stop=Stop(time_limit=60))
    found = nq.verify(quine)
    assert (found.converged, found.distance_to_one, len(asked)) == (True, 0.5, 1)


@pytest.mark.parametrize("journal", [False, True])
def test_ctrl_c_keeps_the_best_point_of_the_search_that_is_under_way(journal, tmp_path):
    """The first start of this matrix ends at 0.4; the second, which is hopped from for minutes, is soon below 0.05."""
    quine = nq.recipe("fletcher-onehot", seed=0, size=24, normalize=True)
    near = threading.Event()

    def progress(seen):
        if seen.relative_residual < 0.02 and not near.is_set():
            near.set()
            os.kill(os.getpid(), signal.SIGINT)  # whose main thread waits for this one

    with Journal(tmp_path / "j", {"a": 1}, resume=False) if journal else nullcontext() as kept:
        solution = nq.solve(quine, throw=False, progress=progress, journal=kept)
    assert near.is_set()
    assert solution.status is Status.INTERRUPTED
    assert solution.relative_residual < 0.02
