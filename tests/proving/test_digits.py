"""Digits: guaranteed, and checked by running the network in another arithmetic."""

from fractions import Fraction

import mpmath
import pytest
from flint import arb, ctx

import neuralquine as nq
from neuralquine.proving.certificate import NotProved
from neuralquine.proving.digits import _decimal, digits
from neuralquine.quines.tables.philox import dyadic_gaussian


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    path = tmp_path_factory.mktemp("digits") / "q"
    nq.save(quine, path)
    return path


def printed_by_mpmath(weights, quine, precision):
    """The blog's network at ``precision`` decimal digits, with mpmath and nothing of ours but the fixed table."""
    with mpmath.workdps(precision):
        theta = [mpmath.mpf(w) for w in weights]
        h = [mpmath.mpf(float(z)) for z in quine.inputs[0][0]]
        start = 0
        for inputs in (8, 20, 20):
            rows = [theta[start + inputs * i : start + inputs * (i + 1)] for i in range(20)]
            bias = theta[start + 20 * inputs : start + 20 * inputs + 20]
            start += 20 * inputs + 20
            a = [mpmath.tanh(mpmath.fdot(row, h) + b) for row, b in zip(rows, bias, strict=True)]
            mean = mpmath.fsum(a) / 20
            variance = mpmath.fsum((v - mean) ** 2 for v in a) / 20
            h = [(v - mean) / mpmath.sqrt(variance + mpmath.mpf(1e-5)) for v in a]
        matrix = dyadic_gaussian(quine.seed, 1, 0, 1020 * 20).reshape(-1, 20)
        gain = mpmath.mpf(0.25 / 20)
        return [gain * mpmath.fdot([mpmath.mpf(float(m)) for m in row], h) for row in matrix]


def test_a_thousand_digits_are_a_fixed_point_at_higher_precision_elsewhere(folder):
    weights = digits(folder, 1000)
    assert len(weights) == 1020
    quine = nq.load(folder)
    printed = printed_by_mpmath(weights, quine, 1040)
    with mpmath.workdps(1040):
        worst = max(abs(p - mpmath.mpf(w)) for p, w in zip(printed, weights, strict=True))
        assert worst < mpmath.mpf(10) ** -995


def test_more_digits_continue_fewer(folder):
    short, long = digits(folder, 20), digits(folder, 60)
    for a, b in zip(short, long, strict=True):
        assert abs(Fraction(a) - Fraction(b)) <= abs(Fraction(b)) * Fraction(1, 10**19)
        assert len(a.split("e")[0].lstrip("-").replace(".", "")) == 20


def test_they_begin_like_the_stored_weights(folder):
    theta = nq.load(folder).theta.tolist()
    assert all(abs(float(w) - t) < 1e-12 for w, t in zip(digits(folder, 30), theta, strict=True))


def test_on_a_grid_the_digits_are_those_of_the_stored_numbers(tmp_path):
    quine = nq.load("example:blog-exact")
    nq.save(quine, tmp_path / "q")
    exact = [Fraction(text) for text in digits(tmp_path / "q", 100)]
    assert exact == [Fraction(weight) for weight in quine.theta.tolist()]
    quine.theta = quine.theta * (1 + 2**-52)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NotProved):
        digits(tmp_path / "q", 100, witness=None)


def test_no_digits_of_a_point_that_is_not_a_quine(tmp_path):
    nq.save(nq.recipe("blog", seed=0), tmp_path / "q")
    with pytest.raises(NotProved):
        digits(tmp_path / "q", 50)


def test_no_digit_is_guessed():
    ctx.prec = 128
    with pytest.raises(NotProved, match="too wide"):
        _decimal(arb(1.25, 1e-3), 10)
    with pytest.raises(NotProved, match="zero"):
        _decimal(arb(0, 1e-3), 2)
    with pytest.raises(NotProved, match="too wide"):
        _decimal(arb("-0.00125"), 2)  # a tie: neither neighbour can be called the nearest
    assert _decimal(arb("-0.00125"), 3) == "-1.25e-3"
    assert _decimal(arb(999.96), 4) == "1.000e3"
