"""A guarded network repairs itself while it works, and says what it did."""

import logging

import pytest
import torch

import neuralquine as nq
from neuralquine.quines.bits import differing
from tasks.small import quine


def same(a, b):
    return not bool(differing(a, b).any())


def strike(q, damage, seed=0):
    q.theta = nq.damaged(q, damage, seed)


def test_it_repairs_in_place_while_it_answers(caplog):
    q = quine()
    theta = q.theta
    held = [p.data_ptr() for p in q.weights]
    live = nq.guard(q, every=5)
    x = torch.randn(4, 8)
    wanted = live(x)
    strike(q, "noise:0.3")
    with caplog.at_level(logging.WARNING, "neuralquine.guard"):
        answers = [live(x) for _ in range(8)]
    assert same(q.theta, theta)
    assert [p.data_ptr() for p in q.weights] == held
    assert torch.equal(answers[-1], wanted)
    (repair,) = live.repairs
    assert (repair.outcome, repair.call) == ("healed", 5)
    assert repair.weights == round(0.3 * len(theta))
    assert "tape.weight" in repair.tensors
    assert "healed" in caplog.text
    assert live.checks == 1
    assert live.seconds > 0


def test_nothing_is_done_where_nothing_has_changed():
    live = nq.guard(quine(), every=1)
    for _ in range(3):
        live(torch.randn(2, 8))
    assert live.repairs == []
    assert live.checks == 3


def test_one_flipped_bit_is_found():
    q = quine()
    live = nq.guard(q)
    with torch.no_grad():
        q.weights[1].view(torch.int32)[3] ^= 1
    repair = live.check()
    assert (repair.outcome, repair.weights, repair.tensors) == ("healed", 1, ("body.stem.0.bias",))


def test_a_mutant_is_told_from_the_original(caplog):
    q = quine()
    live = nq.guard(q)
    code = q.code()
    code[0] *= -1
    q.install(code)  # an exact quine, and not the one that was guarded
    with caplog.at_level(logging.ERROR, "neuralquine.guard"):
        assert live.check().outcome == "mutant"
    assert "mutant" in caplog.text


def test_what_is_lost_is_left_as_it_was_found_and_raised_where_asked():
    q = quine()
    live = nq.guard(q, strict=True, generations=1)
    strike(q, "noise:1")
    found = q.theta
    with pytest.raises(nq.Irreparable, match="load it again"):
        live.check()
    assert same(q.theta, found) or live.repairs[0].outcome == "mutant"


def test_any_bit_exact_quine_can_be_guarded():
    q = nq.recipe("blog", seed=2)
    nq.solve(q, exact=True)
    live = nq.guard(q, every=1)
    with torch.no_grad():
        q.weights[0].view(torch.int64)[0, 0] ^= 1
    live(*q.inputs)
    assert live.repairs[0].outcome == "healed"
    with pytest.raises(nq.NeuralQuineError, match="bit-exact"):
        nq.guard(nq.recipe("blog", seed=0))
