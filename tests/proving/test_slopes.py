"""A quine in a box of codes: tangents and rests hold, balls agree, and nothing is claimed that the theorem does not give."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flint import arb, ctx

import neuralquine as nq
from neuralquine.proving.balls import Ball, objects
from neuralquine.proving.enclosed import coded, expanded
from neuralquine.proving.network import Network
from neuralquine.proving.proofs import krawczyk
from neuralquine.proving.slopes import contraction
from neuralquine.proving.slopes.rest import Box
from neuralquine.proving.slopes.sloped import Sloped
from neuralquine.proving.tubes.tube import held, tape_of
from proving import slope_attacks
from proving.shuffled import WIDE, Shuffled

GOLDEN = Path(__file__).parents[1] / "golden" / "folders"
FREE = "blog", "hadamard", "lstm-select"


@pytest.mark.parametrize("name", slope_attacks.OPERATIONS)
def test_no_pair_of_codes_leaves_what_is_said_of_an_operation(name):
    assert slope_attacks.findings([name], range(1)) == []


def test_faults_planted_in_the_bounds_are_found():
    """A thin slice; ``slope_attacks.py`` plants all of them."""
    missed = [fault for fault in slope_attacks.FAULTS[::4] if not slope_attacks.is_found(fault)]
    assert missed == []


TRUNKS = {
    "gelu": lambda: [torch.nn.Linear(6, 12), torch.nn.GELU("tanh"), torch.nn.LayerNorm(12), torch.nn.Linear(12, 8)],
    "silu": lambda: [torch.nn.Linear(6, 12), torch.nn.SiLU(), torch.nn.Linear(12, 8), torch.nn.Softmax(-1)],
    "relu": lambda: [torch.nn.Linear(6, 12), torch.nn.ReLU(), torch.nn.BatchNorm1d(12), torch.nn.Linear(12, 8)],
    "elu": lambda: [
        torch.nn.Linear(6, 12),
        torch.nn.ELU(),
        torch.nn.Mish(),
        torch.nn.Linear(12, 8),
        torch.nn.Softsign(),
    ],
    "attention": lambda: [torch.nn.TransformerEncoderLayer(3, 1, 4, batch_first=True)],
}


@pytest.mark.parametrize("name", [*FREE, *TRUNKS])
def test_balls_agree_with_the_tangents_and_the_rests(name, tmp_path):
    """At the code of kept quines, and at that of networks just drawn, which are no quines at all."""
    if name in TRUNKS:
        torch.manual_seed(1)
        probe = torch.randn(1, 4, 3) if name == "attention" else torch.randn(1, 6)
        trunk = torch.nn.Sequential(*TRUNKS[name]())
        nq.save(nq.Quine(trunk, probe, seed=2, code_size=8, dtype=torch.float64), tmp_path / name)
    network = Network((tmp_path if name in TRUNKS else GOLDEN) / name)
    with np.errstate(all="ignore"):
        point = contraction._stored_code(network)
        g = contraction._mapped(network, point, 1e-9, step=False)
    ctx.prec = 128
    value, slopes = _in_balls(network, point)
    away = g.inverse @ (point - value)
    assert (np.abs(away - g.away) <= g.error + 1e-13 * np.abs(g.inverse).sum(1)).all()
    off = np.abs(g.inverse @ (slopes - g.slopes)).sum(1)
    assert (off <= g.rest + 1e-11 * np.abs(g.inverse).sum(1)).all()  # balls in float64 are rounded as well
    generator = np.random.default_rng(0)
    for signs in generator.choice([-1.0, 1.0], (2, network.d)):
        moved, _ = _in_balls(network, point + 1e-9 * signs)
        gap = g.inverse @ ((moved - value) - g.slopes @ (1e-9 * signs))
        assert (np.abs(gap) <= 1e-9 * g.rest + 1e-14 * np.abs(g.inverse).sum(1)).all()


def _in_balls(network, point):
    found = coded(network, expanded(network, Ball(objects(point), objects(np.eye(network.d)))))
    middle = [np.array([float(v.mid()) for v in part.flat]).reshape(part.shape) for part in (found.value, found.grad)]
    assert all(v.rad() < arb(1e-15) for v in found.value)
    return middle


@pytest.mark.parametrize("name", FREE)
def test_both_proofs_enclose_one_quine(name):
    network = Network(GOLDEN / name)
    box = contraction.enclosed(network)
    assert box.proved
    assert box.nonzero
    found = krawczyk(network, box.midpoint, box.radius)
    assert found.proved
    assert found.theta_radius == pytest.approx(box.theta_radius, abs=100 * box.radius)


def test_a_proof_takes_no_library_but_numpy(tmp_path):
    code = (
        "import sys; sys.modules['flint'] = sys.modules['torch'] = sys.modules['scipy'] = None\n"
        "from neuralquine.proving.slopes.contraction import enclosed\n"
        "from neuralquine.proving.network import Network\n"
        "assert enclosed(Network(sys.argv[1])).proved"
    )
    subprocess.run([sys.executable, "-c", code, str(GOLDEN / "blog")], check=True)


TERMS = {
    "the residual": {"away": 2.0},
    "its error": {"error": 2.0},
    "the rest": {"rest": 2.0},
    "the matrix": {"slopes": 2.0},
}


@pytest.mark.parametrize("term", TERMS)
def test_every_term_of_the_theorem_counts(term, monkeypatch):
    network = Network(GOLDEN / "blog")
    point = contraction._stored_code(network)
    radius = 1e-9
    good = contraction._mapped(network, point, radius, step=False)
    monkeypatch.setattr(contraction, "_mapped", lambda *_, **__: good)
    assert contraction.in_box(network, point.tolist(), radius).proved
    (name,) = TERMS[term]
    size = radius if name in ("away", "error") else 1.0
    wrong = getattr(good, name).copy()
    wrong.reshape(-1)[7] += (100 if name == "slopes" else 1.01) * size
    monkeypatch.setattr(contraction, "_mapped", lambda *_, **__: replace(good, **{name: wrong}))
    assert not contraction.in_box(network, point.tolist(), radius).proved


def test_a_box_without_a_quine_is_not_proved_to_hold_one():
    network = Network(GOLDEN / "blog")
    box = contraction.enclosed(network)
    generator = np.random.default_rng(0)
    for size in (2.0, 10.0, 1e3, 1e6):
        beside = np.array(box.midpoint) + size * box.radius * generator.choice([-1.0, 1.0], network.d)
        assert not contraction.in_box(network, beside.tolist(), box.radius).proved


OF_WEIGHTS = {
    "a factor": lambda x, w: x * w,
    "a summand": lambda x, w: x + w,
    "a matrix": lambda x, w: x.affine(w),
    "an offset": lambda x, w: x.affine(x.hold_(np.eye(3)), w.cut(0, 0, 1).reshape(3)),
    "a product of matrices": lambda x, w: x @ w,
    "joined": lambda x, w: x.concat([x, w], 0),
    "negated": lambda x, w: x - w,
    "scaled": lambda x, w: x * w.scale(0.3),
    "divided": lambda x, w: x * w.divide_by_root(3),
    "a mean": lambda x, w: x + w.mean(),
    "tanh": lambda x, w: x * w.tanh(),
    "sigmoid": lambda x, w: x * w.sigmoid(),
    "erf": lambda x, w: x * w.erf(),
    "relu": lambda x, w: x * w.relu(),
    "saturation": lambda x, w: x * w.relu().saturation(),
    "softsign": lambda x, w: x * w.softsign(),
    "mish_gate": lambda x, w: x * w.mish_gate(),
    "softmax": lambda x, w: x * w.softmax(),
    "normalized": lambda x, w: x * w.normalize(1e-5),
    "the largest": lambda x, w: x * w.largest(),
    "moved": lambda x, w: x * w.mT.reshape(3, 3),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_weights_that_are_not_exactly_known_count_wherever_they_stand(name):
    """Printed weights are rounded numbers, of which only a bound of the error is known, and so are their tangents."""
    generator, run = np.random.default_rng(3), OF_WEIGHTS[name]
    x, w, turn = (
        generator.standard_normal((3, 3)),
        generator.standard_normal((3, 3)),
        generator.standard_normal((2, 3, 3)),
    )
    off, flaw = 1e-6 * (1 + generator.random((3, 3))), 1e-5 * (1 + generator.random((3, 3)))
    tape = tape_of(None)
    box = Box(tape, 1e-9, 2)
    start = Sloped(box, held(tape, np.ones((1, 1)))).affine(Sloped(box, held(tape, x.reshape(-1, 1)))).reshape(3, 3)
    out = run(_Holding(start), Sloped(box, held(tape, w), turn, flaw, off))
    flat = out.reshape(1, -1)
    total = flat.affine(flat._held(generator.choice([-1.0, 1.0], (3, flat.shape[1])))).tightened()
    mixing = total.node.tape.nodes[-1].parents[1].value
    for _ in range(40):
        signs, other = generator.choice([-1.0, 1.0], (2, 3, 3))
        code = generator.choice([-1.0, 1.0], 2)
        at = w.astype(WIDE) + signs * off
        near = [run(_Holding(Shuffled(x, WIDE)), Shuffled(at, WIDE)).value]
        moved = at + WIDE(1e-9) * (np.tensordot(code, turn, 1) + other * flaw)
        near.append(run(_Holding(Shuffled(x, WIDE)), Shuffled(moved, WIDE)).value)
        gap = np.abs(near[0] - out.value)
        assert (gap <= out.node.radius * (1 + 1e-9) + 1e-17).all()
        assert (np.abs(mixing @ (near[0] - out.value).reshape(-1)) <= total.node.radius + 1e-17).all()
        rest = (near[1] - near[0]) / 1e-9
        assert (np.abs(rest - np.tensordot(code, out.slopes, 1)) <= out.rest * (1 + 1e-6) + 1e-8).all()
        rest = (mixing @ rest.reshape(-1)) - np.tensordot(code, total.slopes, 1).reshape(-1)
        assert (np.abs(rest) <= total.rest * (1 + 1e-6) + 1e-8).all()


class _Holding:
    """An array that also makes fixed ones of its own arithmetic."""

    def __init__(self, array):
        self.array = array

    def __getattr__(self, name):
        return getattr(self.array, name)

    def hold_(self, numbers):
        return self.array._held(numbers) if isinstance(self.array, Sloped) else self.array.hold(numbers)

    def __mul__(self, other):
        return self.array * other

    def __add__(self, other):
        return self.array + other

    def __sub__(self, other):
        return self.array - other

    def __matmul__(self, other):
        return self.array @ other

    def concat(self, arrays, axis):
        return self.array.concat([a.array if isinstance(a, _Holding) else a for a in arrays], axis)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gru", "lstm", "elman", "transformer")]


@pytest.mark.parametrize("name", ["blog", "cnn", "rnn", *SLOW])
def test_balls_lie_in_the_tubes_of_every_small_recipe(name, tmp_path):
    """At a random code, which is no quine's: a proof takes the same steps there."""
    options = {"size": 3, "clock": 4} if name == "elman" else {}
    nq.save(nq.recipe(name, seed=3, **options), tmp_path / "q")
    network = Network(tmp_path / "q")
    point = np.random.default_rng(3).standard_normal(network.d)
    with np.errstate(all="ignore"):
        g = contraction._mapped(network, point, 0.0, step=name == "elman")
    ctx.prec = 128
    value = coded(network, expanded(network, Ball(objects(point)))).value
    assert all(v.rad() < arb(1e-15) for v in value)
    exact = g.inverse @ (point - np.array([float(v.mid()) for v in value]))
    assert (np.abs(exact - g.away) <= g.error + 1e-14 * np.abs(g.inverse).sum(1)).all()
    assert (np.abs(exact - g.away) > 1e-9 * g.error).any()  # and the bound is not idle
