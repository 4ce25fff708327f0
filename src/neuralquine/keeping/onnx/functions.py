"""Functions of one value in elementary operators, in float64, as accurate as a proof assumes of them (4 ulp).

Some runtimes have no float64 kernel for the error function, the hyperbolic tangent of ONNX Runtime is a little less accurate
than that, and a normalization operator keeps its epsilon in float32.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeVar


class Elementary(Protocol):
    """The operators in which the functions are written."""

    def __add__(self, other: Self | float, /) -> Self: ...
    def __sub__(self, other: Self | float, /) -> Self: ...
    def __mul__(self, other: Self | float, /) -> Self: ...
    def __truediv__(self, other: Self, /) -> Self: ...
    def __neg__(self) -> Self: ...
    def at_most(self, bound: float) -> Self: ...
    def at_least(self, bound: float) -> Self: ...
    def less(self, bound: float) -> Self: ...
    def where(self, other: Self, chosen: Self) -> Self: ...
    def unary(self, kind: str) -> Self: ...
    def over_last(self, kind: str) -> Self: ...
    def cast(self, dtype: str) -> Self: ...
    def number(self, number: float) -> Self: ...


E = TypeVar("E", bound=Elementary)


def normalize(x: E, eps: float) -> E:
    """``(x - mean) / sqrt(var + eps)`` over the last axis, biased variance in two passes."""
    centered = x - x.over_last("ReduceMean")
    return centered / ((centered * centered).over_last("ReduceMean") + eps).unary("Sqrt")


def tanh(x: E) -> E:
    """The hyperbolic tangent to 2 ulp: a quotient of polynomials near zero, an exponential elsewhere.

    Source: Moshier (1989), Cephes ``tanh.c``.
    """
    size = x.unary("Abs")
    inner = size.at_most(0.625)
    square = inner * inner
    small = x + x * square * _ratio(square, _T, _U)
    one = x.number(1.0)
    # Beyond 20 it is 1 to the last bit; the exponential must not overflow.
    large = one - x.number(2.0) / ((size.at_most(20.0) * 2.0).unary("Exp") + 1.0)
    return small.where(x.unary("Sign") * large, size.less(0.625))


def sigmoid(x: E) -> E:
    """``1 / (1 + exp(-x))``."""
    return x.number(1.0) / ((-x).unary("Exp") + 1.0)


def saturation(x: E) -> E:
    """``1 - exp(-x)``."""
    return x.number(1.0) - (-x).unary("Exp")


def softsign(x: E) -> E:
    """``x / (1 + |x|)``."""
    return x / (x.unary("Abs") + 1.0)


def mish_gate(x: E) -> E:
    """``tanh(log(1 + exp(x)))`` as a quotient of sums of positive powers of ``exp(-|x|)``."""
    e = (-x.unary("Abs")).unary("Exp")
    above = x.number(1.0) + e * 2.0
    below = e * (e + 2.0)
    return (below / (below + 2.0)).where(above / (above + e * e * 2.0), x.less(0.0))


def softmax(x: E) -> E:
    """Over the last axis, shifted by its largest entry."""
    powers = (x - x.over_last("ReduceMax")).unary("Exp")
    return powers / powers.over_last("ReduceSum")


def erf(x: E) -> E:
    """The error function to less than an ulp: five pieces, each a quotient of two polynomials.

    Source: Sun Microsystems (1993), fdlibm ``s_erf.c``, freely granted.
    """
    size = x.unary("Abs")
    inner = size.at_most(1.0)
    small = x + x * _ratio(inner * inner, _P, _Q)
    near = (size - 1.0).at_most(0.25).at_least(-0.25)
    middle = _ratio(near, _A, _B) + _C
    capped = size.at_least(1.25).at_most(6.0)
    inverse = x.number(1.0) / (capped * capped)
    tail = _ratio(inverse, _R1, _S1).where(_ratio(inverse, _R2, _S2), capped.less(1 / 0.35))
    short = capped.cast("float32").cast("float64")  # its square is exact, so that the exponential loses nothing
    powers = (-(short * short) - 0.5625).unary("Exp") * ((short - capped) * (short + capped) + tail).unary("Exp")
    large = x.number(1.0) - powers / capped
    return small.where(x.unary("Sign") * middle.where(large, size.less(1.25)), size.less(0.84375))


def _ratio(x: E, above: tuple[float, ...], below: tuple[float, ...]) -> E:
    return _polynomial(x, above) / _polynomial(x, below)


def _polynomial(x: E, coefficients: tuple[float, ...]) -> E:
    total = x * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        total = (total + c) * x
    return total + coefficients[0]


# tanh below 0.625, in x squared
_T = (-1.61468768441708447952e03, -9.92877231001918586564e01, -9.64399179425052238628e-01)
_U = (4.84406305325125486048e03, 2.23548839060100448583e03, 1.12811678491632931402e02, 1.0)
# erf(1), nearly
_C = 8.45062911510467529297e-01
# erf below 0.84375, in x squared
_P = (
    1.28379167095512558561e-01,
    -3.25042107247001499370e-01,
    -2.84817495755985104766e-02,
    -5.77027029648944159157e-03,
    -2.37630166566501626084e-05,
)
_Q = (
    1.0,
    3.97917223959155352819e-01,
    6.50222499887672944485e-02,
    5.08130628187576562776e-03,
    1.32494738004321644526e-04,
    -3.96022827877536812320e-06,
)
# up to 1.25, in |x| - 1
_A = (
    -2.36211856075265944077e-03,
    4.14856118683748331666e-01,
    -3.72207876035701323847e-01,
    3.18346619901161753674e-01,
    -1.10894694282396677476e-01,
    3.54783043256182359371e-02,
    -2.16637559486879084300e-03,
)
_B = (
    1.0,
    1.06420880400844228286e-01,
    5.40397917702171048937e-01,
    7.18286544141962662868e-02,
    1.26171219808761642112e-01,
    1.36370839120290507362e-02,
    1.19844998467991074170e-02,
)
# up to 1 / 0.35, in 1 / x squared
_R1 = (
    -9.86494403484714822705e-03,
    -6.93858572707181764372e-01,
    -1.05586262253232909814e01,
    -6.23753324503260060396e01,
    -1.62396669462573470355e02,
    -1.84605092906711035994e02,
    -8.12874355063065934246e01,
    -9.81432934416914548592e00,
)
_S1 = (
    1.0,
    1.96512716674392571292e01,
    1.37657754143519042600e02,
    4.34565877475229228821e02,
    6.45387271733267880336e02,
    4.29008140027567833386e02,
    1.08635005541779435134e02,
    6.57024977031928170135e00,
    -6.04244152148580987438e-02,
)
# beyond
_R2 = (
    -9.86494292470009928597e-03,
    -7.99283237680523006574e-01,
    -1.77579549177547519889e01,
    -1.60636384855821916062e02,
    -6.37566443368389627722e02,
    -1.02509513161107724954e03,
    -4.83519191608651397019e02,
)
_S2 = (
    1.0,
    3.03380607434824582924e01,
    3.25792512996573918826e02,
    1.53672958608443695994e03,
    3.19985821950859553908e03,
    2.55305040643316442583e03,
    4.74528541206955367215e02,
    -2.24409524465858183362e01,
)
