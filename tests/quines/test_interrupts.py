"""Ctrl-C comes at any moment: what goes on afterwards has the weights, the settings and the locks that it had before."""

import os
import signal
import sys
import threading
import time
from functools import partial

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.keeping.hurried import verified_within
from neuralquine.quines.in_place import weights_kept
from neuralquine.quines.interrupts import interrupt_here, interrupts_held
from neuralquine.quines.measure import measure
from neuralquine.quines.networks.running import called_with
from neuralquine.recipes import recipe
from neuralquine.solving.solution import Status


class Remembering(nn.Module):
    """Has all that can be exchanged: weights, a buffer, and the private list of a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.LSTM(3, 4, batch_first=True), nn.BatchNorm1d(5), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.norm(self.first(x)[0]))


def held_by(module):
    """The very tensors that a module holds, by identity."""
    lists = [t for m in module.modules() if isinstance(m, nn.RNNBase) for t in m._flat_weights]
    return [id(t) for t in (*module.parameters(), *module.buffers(), *lists)]


def interrupted_at(moment, run):
    """Run with a ``KeyboardInterrupt`` at the moment-th instruction of Python; whether it came."""
    left = moment

    def trace(frame, event, _):
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before, differentiable = sys.gettrace(), torch.is_grad_enabled()
    try:
        sys.settrace(trace)
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        torch.set_grad_enabled(differentiable)  # as it is where a search holds interrupts back
    return False


def test_wherever_an_interrupt_comes_a_module_has_its_own_weights_back():
    module = Remembering().eval()
    x, others = torch.randn(5, 5, 3), {n: torch.randn_like(p) for n, p in module.named_parameters()}
    others |= {n: torch.rand_like(b) for n, b in module.named_buffers() if b.is_floating_point()}
    own, answer = held_by(module), module(x)

    def run():
        called_with(module, others, (x,), recurrent=[module.first])

    run()  # what is imported is imported
    moment = 1
    while interrupted_at(moment, run):
        assert held_by(module) == own, moment
        moment += 3
    assert moment > 1000  # thousands of instructions, each third of them
    torch.testing.assert_close(module(x), answer, rtol=0, atol=0)


def test_weights_that_are_kept_come_back_wherever_an_interrupt_comes():
    quine = nq.Quine(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 8)), torch.ones(3), seed=0)
    theta = quine.theta

    def run():
        with weights_kept(quine):
            began.append(True)
            for weight in quine.weights:
                weight.data.add_(1.0)

    began: list[bool] = []
    run()  # what is imported is imported
    moment, ends = 1, 0
    while True:
        began.clear()
        came = interrupted_at(moment, run)
        assert torch.equal(quine.theta, theta), moment
        if not came:
            break
        moment, ends = moment + 1, ends + bool(began)
    assert ends > 30


def test_an_interrupt_waits_until_it_is_asked_for():
    def run():
        with interrupts_held():
            interrupt_here()  # there is none
            with interrupts_held():  # held already
                signal.raise_signal(signal.SIGINT)
            came.append("within")
            interrupt_here()
            came.append("after")

    came, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert came == ["within"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_nobody_asked_for_comes_at_the_end_or_is_forgotten():
    def run(forget):
        with interrupts_held(forget=forget):
            signal.raise_signal(signal.SIGINT)
        return "forgotten"

    assert run(True) == "forgotten"
    with pytest.raises(KeyboardInterrupt):
        run(False)


def test_whoever_asks_twice_does_not_wait():
    def run():
        with interrupts_held(forget=True):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run()


def test_the_frame_is_that_in_which_the_signal_came():
    """As a profiler that samples reads it."""
    frames = []
    before = signal.signal(signal.SIGPROF, lambda _, frame: frames.append(frame.f_code.co_name))
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGPROF)
    finally:
        signal.signal(signal.SIGPROF, before)
    assert frames == ["test_the_frame_is_that_in_which_the_signal_came"]


def test_only_interrupts_are_forgotten_at_the_end():
    def out_of_patience(*_):
        raise TimeoutError

    def run():
        with interrupts_held(forget=True):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, out_of_patience)
    try:
        with pytest.raises(TimeoutError):
            run()
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_that_is_forked_meanwhile_is_interrupted_at_once():
    with interrupts_held():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0


def test_handlers_of_others_are_asked_and_stay():
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append("before"))
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGTERM)
            assert not told
            interrupt_here()
            assert told == ["before"]
            signal.signal(signal.SIGTERM, other := lambda *_: told.append("other"))
        assert signal.getsignal(signal.SIGTERM) is other
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_held():
    def work():
        with interrupts_held():
            interrupt_here()
            found.append(signal.getsignal(signal.SIGINT))

    found: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def settings():
    """What evaluations and derivatives switch over in the whole process."""
    kernels = torch.backends.mkldnn.enabled, torch.backends.cuda.flash_sdp_enabled(), torch.backends.cudnn.enabled
    return *kernels, torch.is_grad_enabled(), torch.get_num_threads(), torch._C._functorch.maybe_current_level()


def free(turn):
    """Whether another thread can take its turn."""

    def take():
        found.append(turn.acquire(timeout=1.0))
        if found[0]:
            turn.release()

    found: list[bool] = []
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def ctrl_c():
    """Runs something, with Ctrl-C after so many seconds; None where that came when it had ended."""
    due: list[bool] = []

    def ring(*_):
        if due:
            due.clear()
            signal.raise_signal(signal.SIGINT)

    def interrupted(seconds, run):
        try:
            due.append(True)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            result = run()
            due.clear()
            return result
        except KeyboardInterrupt:
            return None

    before = signal.signal(signal.SIGALRM, ring)
    yield interrupted
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("name", "method", "most"), [("blog", "rmsprop", 0.5), ("transformer", "newton", 0.3), ("lstm", "broyden", 0.1)]
)
def test_a_search_that_is_interrupted_leaves_all_as_it_was(ctrl_c, name, method, most):
    quine = recipe(name, seed=4)
    nq.solve(quine, method, max_steps=2, throw=False)  # what is imported is imported
    own, before, statuses = held_by(quine.trunk), settings(), []
    for count in range(15):
        quine.theta = torch.randn(quine.parameter_count, generator=torch.Generator().manual_seed(count)).to(quine.dtype)
        solution = ctrl_c(0.002 + most * count / 15, lambda: nq.solve(quine, method, throw=False))
        assert held_by(quine.trunk) == own
        assert settings() == before
        assert free(quine.turn)
        if solution is not None:
            statuses.append(solution.status)
            assert measure(quine).relative_residual == solution.relative_residual
    assert Status.INTERRUPTED in statuses or method != "rmsprop"  # which goes on for minutes


def test_an_exact_search_that_is_interrupted_keeps_its_best_and_its_grid(ctrl_c):
    def search(quine):
        return nq.solve(quine, exact=True, throw=False)

    search(recipe("elman", seed=1))  # what is imported is imported
    began = time.monotonic()
    search(recipe("elman", seed=1))
    took, statuses = time.monotonic() - began, []
    for count in range(1, 12):
        quine = recipe("elman", seed=1)
        phase = quine.code_phase
        solution = ctrl_c(took * count / 12, partial(search, quine))
        if solution is not None:
            statuses.append(solution.status)
            if solution.status is Status.INTERRUPTED:
                assert (quine.code_bits, quine.code_phase) == (None, phase)
            else:
                assert solution.converged
                assert quine.code_bits is not None
    assert Status.INTERRUPTED in statuses


def test_an_interrupt_reaches_a_search_that_waits_for_other_threads():
    """It comes when a thread reports the first steps from a start; the main thread has nothing left to do then."""
    due = [True]

    def press(point):
        if due and point.step > 3:
            due.clear()
            os.kill(os.getpid(), signal.SIGINT)

    solution = nq.solve(recipe("chang-lipson", seed=3, width=50), throw=False, progress=press)
    assert not due
    assert solution.status is Status.INTERRUPTED


def test_a_verification_that_its_alarm_ends_leaves_all_as_it_was():
    quine = recipe("cnn", seed=2)
    nq.solve(quine)
    nq.verify(quine)  # what is imported is imported
    began = time.monotonic()
    assert nq.verify(quine).is_quine
    took = time.monotonic() - began
    own, before, theta, ended = held_by(quine.trunk), settings(), quine.theta, 0
    for count in range(40):
        quine.solution = None  # which would say that these weights are known
        ended += not verified_within(quine, 1e-4 + took * count / 20).is_quine
        assert held_by(quine.trunk) == own
        assert settings() == before
        assert free(quine.turn)
        assert torch.equal(quine.theta, theta)
    assert ended


def test_an_interrupt_comes_between_starts_that_take_no_time(ctrl_c):
    quine = recipe("elman", seed=1)
    nq.solve(quine, "picard", starts=3, throw=False)  # what is imported is imported
    began = time.monotonic()
    ctrl_c(0.3, lambda: nq.solve(quine, "picard", starts=100_000, throw=False))
    assert time.monotonic() - began < 60  # all of them take a quarter of an hour


@pytest.mark.parametrize("limit", [0.0, 0.02, 0.1])
def test_a_time_limit_within_the_making_of_a_start_is_a_status(limit):
    quine = recipe("fletcher-coords", seed=5, size=64)
    solution = nq.solve(quine, throw=False, time_limit=limit)
    assert solution.status is Status.TIME_LIMIT


def test_an_interrupted_exact_search_holds_the_best_that_a_race_came_to(ctrl_c):
    quine = recipe("transformer", seed=3, code_size=60)
    nq.solve(quine, "broyden", max_steps=2, throw=False)  # what is imported is imported
    solution = ctrl_c(1.0, lambda: nq.solve(quine, exact=True, throw=False))
    if solution is not None and len(solution.trace) > 1:
        assert solution.relative_residual <= 1.01 * solution.trace[-1].relative_residual
