"""A guarded network repairs itself while it works, and says what it did."""

import logging

import pytest
import torch
from torch import nn

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


# -- what printing cannot bring back ----------------------------------------------------------------------------------


def normalized(seed=0):
    """A task quine with the buffers of a batch normalization."""
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU())
    return nq.TaskQuine(nq.Body(stem, nn.Linear(16, 3)), (8, 8), code_size=64, repeats=4)


def frozen():
    """An exact quine with a layer that is not printed."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 12))
    trunk[0].requires_grad_(False)
    q = nq.Quine(trunk, torch.randn(1, 4), code_size=12, print_frozen=False, code_bits=6, skip=0.1)
    nq.solve(q, exact=True)
    return q


def flip(tensor, index=0, bit=20):
    """Turn one bit over where it lies."""
    width = {4: torch.int32, 8: torch.int64, 2: torch.int16}[tensor.element_size()]
    with torch.no_grad():
        tensor.detach().reshape(-1).view(width)[index] ^= 1 << bit


PLACES = {
    "buffer body.stem.1.running_var": (normalized, lambda q: q.trunk.body.stem[1].running_var),
    "buffer body.stem.1.running_mean": (normalized, lambda q: q.trunk.body.stem[1].running_mean),
    "probe 0": (normalized, lambda q: q.inputs[0]),
    "table start of the printer": (normalized, lambda q: q.printer.start),
    "table signs of the printer": (normalized, lambda q: q.printer.signs),
    "table entries of the printer": (normalized, lambda q: q.printer.entries),
    "frozen weight 0.weight": (frozen, lambda q: q.trunk[0].weight),
    "table matrix of the printer": (frozen, lambda q: q.printer.matrix),
    "table anchor of the coding": (frozen, lambda q: q._coding.anchor),
}


@pytest.mark.parametrize("part", PLACES)
def test_one_bit_elsewhere_is_reported_where_it_lies_and_no_weight_is_overwritten(part, caplog):
    make, place = PLACES[part]
    q = make()
    live = nq.guard(q)
    theta = q.theta
    assert live.check() is None
    flip(place(q), 5, bit=2)
    with caplog.at_level(logging.ERROR, "neuralquine.guard"):
        repair = live.check()
    assert (repair.outcome, repair.weights, repair.parts, repair.unmended) == ("broken", 0, (part,), (part,))
    assert same(q.theta, theta)
    assert f"{part} (not mended)" in caplog.text
    flip(place(q), 5, bit=2)
    assert live.check() is None


@pytest.mark.parametrize("part", PLACES)
def test_a_spare_mends_it_bit_for_bit(part):
    make, place = PLACES[part]
    q = make()
    asked = []
    live = nq.guard(q, strict=True, spare=lambda: asked.append(1) or make())
    right, theta = place(q).clone(), q.theta
    assert live.check() is None
    flip(place(q), 5, bit=2)
    repair = live.check()
    assert (repair.outcome, repair.parts, repair.unmended) == ("healed", (part,), ())
    assert same(place(q), right)
    assert same(q.theta, theta)
    assert live.check() is None
    assert asked == [1]  # only when it was needed


def test_a_spare_that_is_wrong_itself_is_not_believed():
    q = normalized()
    wrong = normalized()
    flip(wrong.trunk.body.stem[1].running_var, 3)
    live = nq.guard(q, spare=lambda: wrong)
    flip(q.trunk.body.stem[1].running_var, 5)
    found = q.trunk.body.stem[1].running_var.clone()
    assert live.check().unmended == ("buffer body.stem.1.running_var",)
    assert same(q.trunk.body.stem[1].running_var, found)


def test_a_spare_that_cannot_be_read_is_reported_and_the_network_goes_on(tmp_path, caplog):
    q = normalized()
    live = nq.guard(q, every=1, spare=lambda: nq.load(tmp_path / "nowhere"))
    flip(q.trunk.body.stem[1].running_var, 5)
    live(torch.randn(2, 8))
    assert live.repairs[0].outcome == "broken"
    assert "the spare cannot be read" in caplog.text


def test_a_folder_is_a_spare_and_brings_weights_back_that_printing_does_not(tmp_path):
    q = normalized()
    theta = q.theta
    nq.save(q, tmp_path / "q")
    live = nq.guard(q, spare=lambda: nq.load(tmp_path / "q"))
    strike(q, "words:1")
    flip(q.trunk.body.stem[1].running_var, 5)
    assert live.check().outcome == "healed"
    assert same(q.theta, theta)
    assert live.check() is None


def test_damaged_weights_and_a_broken_table_never_become_a_mutant():
    q = normalized()
    live = nq.guard(q)
    flip(q.printer.start, 7, bit=30)
    strike(q, "noise:0.3")
    found = q.theta
    repair = live.check()
    assert repair.outcome == "lost"
    assert repair.unmended == ("table start of the printer",)
    assert same(q.theta, found)


def test_strict_names_what_is_broken():
    q = normalized()
    live = nq.guard(q, every=1, strict=True)
    flip(q.trunk.body.stem[1].running_var, 3, bit=29)
    with pytest.raises(nq.Irreparable, match=r"broken: buffer body\.stem\.1\.running_var"):
        live(torch.randn(2, 8))


def test_the_mode_is_watched_and_put_back():
    q = normalized()
    live = nq.guard(q, every=1)
    x = torch.randn(5, 8)
    wanted = live(x)
    live.train()
    assert not q.trunk.training
    assert torch.equal(live(x), wanted)
    assert live.repairs == []
    q.train()
    assert torch.equal(live(x), wanted)
    assert (live.repairs[0].outcome, live.repairs[0].parts) == ("healed", ("training mode",))
    assert not q.trunk.training


def test_a_print_that_is_wrong_for_no_reason_to_be_seen_overwrites_nothing(monkeypatch):
    q = normalized()
    live = nq.guard(q)
    theta = q.theta
    monkeypatch.setattr(type(q), "self_map", lambda self, theta: theta + 1)
    repair = live.check()
    assert (repair.outcome, repair.unmended) == ("broken", ("what it prints",))
    assert same(q.theta, theta)


@pytest.mark.parametrize("seed", range(3))
def test_300_single_flips_anywhere_are_found_and_nothing_right_is_changed(seed):
    q = normalized()
    live = nq.guard(q, spare=normalized)
    theta = q.theta
    places = {"weights": q.weights, "parts": [place(q) for make, place in PLACES.values() if make is normalized]}
    before = [[t.detach().clone() for t in tensors] for tensors in places.values()]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(100):
        tensors = places["weights" if int(torch.randint(2, (1,), generator=generator)) else "parts"]
        tensor = tensors[int(torch.randint(len(tensors), (1,), generator=generator))]
        index = int(torch.randint(tensor.numel(), (1,), generator=generator))
        flip(tensor, index, bit=int(torch.randint(31, (1,), generator=generator)))
        assert live.check().outcome == "healed"
        for tensors_now, tensors_then in zip(places.values(), before, strict=True):
            assert all(same(a.detach(), b) for a, b in zip(tensors_now, tensors_then, strict=True))
    assert same(q.theta, theta)


def test_damage_is_not_taken_for_an_optimizer(recwarn):
    q = quine()
    strike(q, "noise:0.3")
    q.answer(torch.randn(2, 8))
    assert not recwarn.list
