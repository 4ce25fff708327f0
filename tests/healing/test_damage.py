"""Each damage does what its name says, to as many weights as it says."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import neuralquine as nq
from neuralquine.cli.commands import app
from neuralquine.healing.kinds import KINDS, kind
from neuralquine.quines.bits import differing, integer_view
from neuralquine.tasks.limits import FRACTIONS, fractions, predicted
from tasks.small import quine

Q = quine()
THETA = Q.theta
P = len(THETA)


def struck(kind, fraction, seed=0):
    theta = nq.damaged(Q, nq.Damage(kind, fraction), seed)
    return theta, differing(theta, THETA)


@pytest.mark.parametrize("kind", ["noise", "large-noise", "negate", "flip", "words"])
@given(fraction=st.floats(0, 1), seed=st.integers(0, 2**63))
@settings(max_examples=8, deadline=None)
def test_exactly_that_share_of_the_weights_is_struck(kind, fraction, seed):
    _theta, changed = struck(kind, fraction, seed)
    slack = 2 if kind == "words" else 0  # a word may be drawn again
    assert round(fraction * P) - slack <= int(changed.sum()) <= round(fraction * P)


def test_sizes_of_the_noise_are_those_of_the_tensors():
    for noise, times in (("noise", 1), ("large-noise", 10)):
        theta, _ = struck(noise, 1.0)
        for (name, new), old in zip(Q.tensors(theta).items(), Q.tensors(THETA).values(), strict=True):
            if old.numel() > 100:
                ratio = float(new.square().mean().sqrt() / old.square().mean().sqrt())
                assert ratio == pytest.approx(times, rel=0.2), name


def test_one_bit_of_each_is_flipped():
    theta, _ = struck("flip", 1.0)
    flipped = (integer_view(theta) ^ integer_view(THETA)).numpy().view(np.uint32)
    assert set(np.bitwise_count(flipped)) == {1}
    assert len(set(flipped)) == 32


def test_random_words_hold_what_is_no_number():
    theta, _ = struck("words", 1.0)
    assert theta.isnan().any()
    assert (theta.abs() > 1e30).any()


def test_bit_errors_come_at_their_rate():
    theta, _ = struck("bit-errors", 0.1)
    flipped = (integer_view(theta) ^ integer_view(THETA)).numpy().view(np.uint32)
    assert np.bitwise_count(flipped).mean() == pytest.approx(3.2, rel=0.05)


def test_a_block_is_one_stretch_and_neurons_are_whole_rows():
    theta, _ = struck("block", 0.25)
    (changed,) = torch.nonzero(theta != THETA, as_tuple=True)
    assert changed[-1] - changed[0] < round(0.25 * P)
    assert not theta[changed[0] : changed[-1] + 1].any()
    assert len(changed) > 0.2 * P  # a few weights of the body are 0 anyway
    theta, _ = struck("neurons", 0.25)
    rows = Q.tensors(theta)["tape.weight"]
    dead = (rows == 0).all(1)
    assert int(dead.sum()) == round(0.25 * len(rows))
    assert not (rows[~dead] == 0).any()


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_stored_stays_and_the_seed_decides(kind):
    first, again, other = (struck(kind, 0.3, seed)[0] for seed in (1, 1, 2))
    assert not differing(Q.theta, THETA).any()
    assert not differing(first, again).any()
    assert differing(first, other).any()


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types(kind, dtype):
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 16))
    q = nq.Quine(trunk, torch.randn(1, 4), code_size=16, dtype=dtype)
    theta = nq.damaged(q, nq.Damage(kind, 0.5))
    assert theta.dtype == dtype
    assert differing(theta, q.theta).any()


def test_what_is_no_damage_is_named():
    with pytest.raises(nq.UnknownName, match="did you mean"):
        nq.Damage.parse("nois:0.5")
    for text, word in (
        ("noise", "KIND:FRACTION"),
        ("noise:x", "KIND:FRACTION"),
        ("noise:2", "between 0 and 1, not 2"),
        ("noise:nan", "between 0 and 1, not nan"),
    ):
        with pytest.raises(nq.BadOption, match=word):
            nq.Damage.parse(text)


@pytest.fixture
def halving():
    """A kind of damage that this package does not know."""

    @kind("halve", "halved", label="one half", pointwise=True, independent=True, worst=0.8)
    def halve(target, fraction):
        target.theta[target.some(fraction)] *= 0.5

    yield halve
    del KINDS["halve"]


def test_a_kind_from_outside_is_one_function(halving):
    theta, changed = struck("halve", 0.25)
    assert 0.24 * P < int(changed.sum()) <= round(0.25 * P)  # some weights are 0, and stay it
    assert torch.equal(theta[changed], THETA[changed] / 2)
    assert nq.heal(Q, "halve:0.5", trials=3).all_healed
    assert fractions("halve") == [round(0.8 * f, 4) for f in FRACTIONS]
    assert predicted(Q, "halve:0.5") > 0.9


def test_a_kind_from_outside_is_healed_on_the_command_line(halving, tmp_path):
    nq.save(Q, tmp_path / "q")
    runner = CliRunner()
    done = runner.invoke(app, ["heal", str(tmp_path / "q"), "--damage", "halve:0.5", "--trials", "2", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["damages"][0]["healed"] == 2
    shown = runner.invoke(app, ["heal", "--help"]).stdout
    assert all(name in shown for name in KINDS if name != "halve")  # the help knows those of the package


def test_a_pointwise_kind_from_outside_is_in_the_labs_list(halving):
    from neuralquine.lab.search import catalog

    shown = {d["name"]: d["label"] for d in catalog(lambda _: None)["damages"]}
    assert list(shown) == ["noise", "large-noise", "zero", "negate", "flip", "words", "halve"]
    assert list(shown.values()) == [
        *("noise", "noise, ten times", "zero", "negation", "bit flips", "random bits"),
        "one half",
    ]


def test_a_name_that_is_taken_is_refused(halving):
    for name in ("noise", "halve", "", "a:b"):
        with pytest.raises(nq.BadOption, match="cannot name a kind"):
            kind(name, "halved")(halving)
    with pytest.raises(nq.BadOption, match="worst"):
        kind("other", "halved", worst=2.0)(halving)
    assert "other" not in KINDS


def test_what_others_list_follows_from_the_attributes():
    assert [k.name for k in KINDS.values() if k.pointwise] == [
        "noise",
        "large-noise",
        "zero",
        "negate",
        "flip",
        "words",
    ]
    assert {k.name for k in KINDS.values() if k.bitwise} == {"negate", "flip", "words", "bit-errors"}
    assert {k.name: k.worst for k in KINDS.values() if k.worst != 1} == {"negate": 0.5, "bit-errors": 0.4, "block": 0.5}
    assert {k.name for k in KINDS.values() if not k.independent} == {"block", "neurons"}
    assert fractions("negate")[-1] == 0.5
