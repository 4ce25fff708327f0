"""A large network is measured once where nothing changes; what was remembered is never believed about another network."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines import in_place, self_printer
from neuralquine.quines.derivatives import InPlace
from neuralquine.quines.printers.hadamard import HadamardExpansion
from neuralquine.quines.trunk import Trunk


@pytest.fixture
def printed_in_place(monkeypatch):
    monkeypatch.setattr(self_printer, "_IN_PLACE", 0)
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 16))
    options = {"code_size": 16, "expansion": "hadamard", "code_bits": 8, "skip": 0.05, "dtype": torch.float32}
    quine = nq.Quine(trunk, torch.randn(1, 6), **options)
    assert nq.solve(quine).bit_exact
    return quine


class Counts:
    """Runs of the trunk, networks printed, and bounds of the norm computed."""

    def __init__(self, monkeypatch, quine):
        self.runs = self.prints = self.norms = 0
        run, pieces, bound = Trunk.run, HadamardExpansion.plain_pieces, InPlace._bound

        def counted_run(*given, **named):
            self.runs += 1
            return run(*given, **named)

        def counted_pieces(printer, c, slots):
            self.prints += sum(slot.count for slot in slots) / quine.parameter_count
            return pieces(printer, c, slots)

        def counted_bound(derivative):
            self.norms += 1
            return bound(derivative)

        monkeypatch.setattr(Trunk, "run", counted_run)
        monkeypatch.setattr(HadamardExpansion, "plain_pieces", counted_pieces)
        monkeypatch.setattr(InPlace, "_bound", counted_bound)


def test_verify_evaluates_four_times_and_takes_the_norm_that_the_judge_computed(printed_in_place, monkeypatch):
    quine = printed_in_place
    counts = Counts(monkeypatch, quine)
    report = nq.verify(quine)
    assert report.is_quine
    assert report.bit_exact
    assert report.self_sensitivity == quine.solution.self_sensitivity
    assert counts.norms == 0
    assert counts.prints == pytest.approx(
        5
    )  # its own weights, three others, and the direction that a derivative claims
    assert counts.runs <= 12  # nine, and three of the twin that its description gives


@pytest.mark.parametrize("what", ["a weight", "the probe", "a hook", "a function", "a module"])
def test_a_norm_is_computed_again_after_any_change(printed_in_place, monkeypatch, what):
    quine = printed_in_place
    counts = Counts(monkeypatch, quine)
    with torch.no_grad():
        if what == "a weight":
            quine.trunk[4].bias[3] += 1e-3
        elif what == "the probe":
            quine.inputs = tuple(t + 1e-3 for t in quine.inputs)
        elif what == "a hook":
            quine.trunk[1].register_forward_hook(lambda module, given, out: out + 0.0)
        elif what == "a function":
            quine.trunk[1].forward = torch.tanh
        else:
            quine.trunk[1] = nn.Tanh()
    nq.verify(quine)
    assert counts.norms == 1


def test_a_network_that_was_made_a_constant_afterwards_is_found_out_in_spite_of_what_is_remembered(printed_in_place):
    quine = printed_in_place
    assert nq.verify(quine).is_quine
    answer = quine.trunk(*quine.inputs).detach()
    quine.trunk[4].forward = lambda x: answer
    report = nq.verify(quine)
    assert not report.is_quine
    assert any(trick.startswith("constant") for trick in report.trivial)


def test_a_network_that_changes_its_weights_when_it_is_asked_first_is_found_out(printed_in_place):
    quine = printed_in_place

    class Writing(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            with torch.no_grad():
                self.layer.weight.data[0, 0] = wanted
            return self.layer(x)

    wanted = float(quine.trunk[0].weight[0, 0].detach())
    quine.trunk[0].weight.data[0, 0] += 1.0
    quine.trunk[0] = Writing(quine.trunk[0])
    report = nq.verify(quine)
    assert not report.is_quine
    assert any(trick.startswith("self-modifying") for trick in report.trivial)


def test_large_weights_that_print_themselves_are_put_back_by_printing_them(printed_in_place, monkeypatch):
    quine = printed_in_place
    theta = quine.theta
    monkeypatch.setattr(in_place, "_ROOM", 0)
    with in_place.weights_kept(quine) as kept:
        assert kept._copies == []
        quine.install(quine.random_codes(1, torch.Generator().manual_seed(1))[0])
        assert kept.distance() > 0.1
    assert torch.equal(quine.theta, theta)
    assert nq.verify(quine).is_quine
    with torch.no_grad():
        quine.trunk[4].bias[3] += 1e-3
    theta = quine.theta
    with in_place.weights_kept(quine) as kept:
        assert kept._copies != []
        quine.install(quine.random_codes(1, torch.Generator().manual_seed(1))[0])
    assert torch.equal(quine.theta, theta)
