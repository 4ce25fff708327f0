"""Functions of one number, gates, and softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..reals import Real
from .common import A, NoRule, Spec, Weights, rule

if TYPE_CHECKING:
    from flint import arb


def _cubic() -> arb:
    from flint import arb

    return arb("0.044715")


def _slope() -> arb:
    from flint import arb

    return (2 / arb.pi()).sqrt()


def _scale() -> arb:
    from flint import arb

    return arb("1.0507009873554804934193349852946")


def _below() -> arb:
    from flint import arb

    return _scale() * arb("1.6732632423543772848170429916717")


_SELU_SCALE = Real(_scale, 1.0507009873554805)  # torch's decimals of Klambauer et al. (2017)
_SELU_BELOW = Real(_below, 1.0507009873554805 * 1.6732632423543773)
_CUBIC = Real(_cubic, 0.044715)
_SLOPE = Real(_slope, math.sqrt(2 / math.pi))


@rule("Tanh")
def tanh(x: A, _: Spec, __: Weights[A]) -> A:
    return x.tanh()


@rule("ReLU")
def relu(x: A, _: Spec, __: Weights[A]) -> A:
    return x.relu()


@rule("LeakyReLU")
def leaky_relu(x: A, arguments: Spec, _: Weights[A]) -> A:
    """``max(x, 0) - slope max(-x, 0)``, of which one term is zero."""
    return x.relu() - (-x).relu().scale(arguments["negative_slope"])


@rule("Sigmoid")
def sigmoid(x: A, _: Spec, __: Weights[A]) -> A:
    return x.sigmoid()


@rule("SiLU")
def silu(x: A, _: Spec, __: Weights[A]) -> A:
    return x * x.sigmoid()


@rule("GELU")
def gelu(x: A, arguments: Spec, _: Weights[A]) -> A:
    """``x Phi(x)``, by the error function or by the usual hyperbolic tangent."""
    match arguments["approximate"]:
        case "none":
            gate = x.divide_by_root(2).erf()
        case "tanh":
            gate = (x + (x * x * x).scale(_CUBIC)).scale(_SLOPE).tanh()
        case other:
            raise NoRule(f"no proof rule for GELU with approximate={other!r}")
    return (x * (gate + 1.0)).scale(0.5)


@rule("ELU")
def elu(x: A, arguments: Spec, _: Weights[A]) -> A:
    """``x`` above 0, ``alpha (exp(x) - 1)`` below."""
    return x.relu() - (-x).relu().saturation().scale(float(arguments["alpha"]))


@rule("CELU")
def celu(x: A, arguments: Spec, _: Weights[A]) -> A:
    """``x`` above 0, ``alpha (exp(x / alpha) - 1)`` below."""
    alpha = float(arguments["alpha"])
    if not 2.0**-30 <= alpha <= 2.0**30:  # also where it is no number
        raise NoRule(f"no proof rule for CELU with alpha={alpha}")

    def inverse() -> arb:
        from flint import arb

        return 1 / arb(alpha)

    return x.relu() - (-x).relu().scale(Real(inverse, 1 / alpha)).saturation().scale(alpha)


@rule("SELU")
def selu(x: A, _: Spec, __: Weights[A]) -> A:
    """``scale x`` above 0, ``scale alpha (exp(x) - 1)`` below."""
    return x.relu().scale(_SELU_SCALE) - (-x).relu().saturation().scale(_SELU_BELOW)


@rule("Softsign")
def softsign(x: A, _: Spec, __: Weights[A]) -> A:
    return x.softsign()


@rule("Mish")
def mish(x: A, _: Spec, __: Weights[A]) -> A:
    """``x tanh(log(1 + exp(x)))``."""
    return x * x.mish_gate()


@rule("Tanhshrink")
def tanhshrink(x: A, _: Spec, __: Weights[A]) -> A:
    return x - x.tanh()


@rule("GLU")
def gated(x: A, arguments: Spec, _: Weights[A]) -> A:
    """The first half of an axis, times the logistic function of the second."""
    axes, axis = len(x.shape), arguments["dim"]
    if not -axes <= axis < axes or x.shape[axis % axes] % 2:
        raise NoRule(f"no proof rule for GLU over axis {axis} of a tensor of shape {x.shape}")
    half = x.shape[axis % axes] // 2
    return x.cut(axis, 0, half) * x.cut(axis, half, 2 * half).sigmoid()


@rule("Softmax")
def softmax(x: A, arguments: Spec, _: Weights[A]) -> A:
    if arguments["dim"] not in (-1, len(x.shape) - 1):
        raise NoRule(f"no proof rule for Softmax over axis {arguments['dim']}: only over the last one")
    return x.softmax()


@rule("Softmin")
def softmin(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return softmax(-x, arguments, weights)
