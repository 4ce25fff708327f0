"""One module, several callers; and modules that change something in every run."""
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import neuralquine as nq
from field.nets import PROBE, Around, net

CALLERS = 6


def in_turns(*tasks):
    """What every task gives, from several threads at once."""
    with ThreadPoolExecutor(CALLERS) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


@pytest.fixture
def exact(exact_blog):
    return exact_blog()


def test_guard_verify_and_print_at_once(exact):
    live, theta = nq.guard(exact, every=2), exact.theta
    wanted, verdict = exact.trunk(exact.inputs[0]), nq.verify(exact)
    found = in_turns(
        *[lambda: live(exact.inputs[0])] * 60,
        *[exact.printed] * 10,
        *[lambda: exact.theta] * 10,
        *[lambda: exact.self_map(exact.theta)] * 10,
        *[lambda: nq.verify(exact, tries=3)] * 3,
    )
    assert all(torch.equal(answer, wanted) for answer in found[:60])
    assert all(torch.equal(answer, theta) for answer in found[60:90])
    assert all(v.is_quine and v.bit_exact and v.self_sensitivity == verdict.self_sensitivity for v in found[90:])
    assert live.repairs == []
    assert all(type(p) is nn.Parameter for p in exact.weights)
    assert torch.equal(exact.theta, theta)


def test_jacobians_from_several_threads():
    quine = nq.Quine(net(), PROBE, code_size=16)
    points = [quine.theta * factor for factor in (0.5, 1.0, 2.0)]
    wanted = [quine.code_jacobian(p[None]) for p in points]
    found = in_turns(*[lambda p=p: quine.code_jacobian(p[None]) for p in points * 4])
    assert all(torch.equal(a, b) for a, b in zip(found, wanted * 4, strict=True))


def test_folders_are_read_by_several_threads_at_once(tmp_path):
    quine = nq.Quine(net(), PROBE, code_size=16)
    nq.save(quine, tmp_path / "q")
    register = nn.Module.register_parameter
    found = in_turns(*[lambda: nq.load(tmp_path / "q").theta, lambda: net()[0].weight.is_meta] * 3)
    assert all(torch.equal(theta, quine.theta) for theta in found[::2])
    assert not any(found[1::2])
    assert nn.Module.register_parameter is register


def counter(dtype):
    def count(module, y):
        module.calls += 1
        return y

    module = Around(after=count)
    module.register_buffer("calls", torch.zeros((), dtype=dtype))
    return module


@pytest.mark.parametrize("dtype", [torch.long, torch.int8, torch.float32])
def test_a_counter_is_no_accusation(dtype):
    quine = nq.Quine(counter(dtype), PROBE, code_size=16)
    nq.solve(quine)
    assert nq.verify(quine).trivial == ()


def test_a_counter_does_not_alarm_the_guard():
    quine = nq.Quine(counter(torch.long), PROBE, code_size=16, code_bits=8, skip=0.01)
    nq.solve(quine)
    live = nq.guard(quine, every=1)
    for _ in range(3):
        live(quine.inputs[0])
    assert live.repairs == []


def test_a_counter_that_is_read_is_an_accusation():
    def late(module, y):
        module.calls += 1
        return y if module.calls < 1000 else y.flip(-1)

    module = Around(after=late)
    module.register_buffer("calls", torch.zeros((), dtype=torch.long))
    quine = nq.Quine(module, PROBE, code_size=16)
    assert any("buffer 'calls'" in trick for trick in nq.verify(quine).trivial)


def test_weights_of_zero_are_only_that():
    quine = nq.Quine(net(), PROBE, code_size=16)
    quine.theta = torch.zeros_like(quine.theta)
    assert [trick.split(":")[0] for trick in nq.verify(quine).trivial] == ["zero"]


def taped():
    stem = nn.Sequential(nn.Linear(4, 32), nn.ReLU())
    return nq.TaskQuine(nq.Body(stem, nn.Linear(32, 3)), (8, 4), code_size=64)


def half():
    return nq.Quine(net(), PROBE, code_size=16, dtype=torch.float16)


def queried():
    return nq.recipe("queried-121", seed=0)


@pytest.mark.parametrize("make", [taped, half, queried])
def test_every_kind_of_quine_is_lent_to_one_caller_at_a_time(make):
    quine = make()
    theta, printed, radius = quine.theta, quine.printed(), nq.spectrum(quine).spectral_radius
    other = 1.5 * theta
    image = quine.self_map(other)
    found = in_turns(
        *[quine.printed] * 6, *[lambda: quine.self_map(other)] * 6, *[lambda: nq.spectrum(quine).spectral_radius]
    )
    assert all(torch.equal(answer, printed) for answer in found[:6])
    assert all(torch.equal(answer, image) for answer in found[6:12])
    assert found[12:] == [radius]
    assert torch.equal(quine.theta, theta)
    assert all(type(p) is nn.Parameter for p in quine.weights)
