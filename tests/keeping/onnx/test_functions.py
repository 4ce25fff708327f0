"""Elementary functions in the runtimes: no farther from the truth than a proof of portability assumes, 4 ulp."""

import numpy as np
import pytest
from mpmath import mp

from keeping.onnx.test_rules import answers, model_of
from neuralquine.keeping.onnx.functions import erf, normalize, sigmoid, softmax, tanh
from neuralquine.keeping.onnx.values import Graph
from neuralquine.proving.rules.activations import gelu

POINTS = np.concatenate([np.linspace(-7, 7, 2001), np.geomspace(1e-300, 1e-3, 200), -np.geomspace(1e-20, 1e-3, 50)])
FUNCTIONS = {
    "tanh": (tanh, mp.tanh, 4),
    "exp": (lambda x: x.unary("Exp"), mp.exp, 4),
    "sqrt": (lambda x: x.unary("Abs").unary("Sqrt"), lambda v: mp.sqrt(abs(v)), 0.5),
    "erf": (erf, mp.erf, 1),
    "sigmoid": (sigmoid, lambda v: 1 / (1 + mp.exp(-v)), 9),  # two functions and two operations
}


def ulps(found, exact):
    """Distances to the exact values, in units in the last place of these."""
    gaps = [abs(mp.mpf(float(f)) - e) for f, e in zip(found, exact, strict=True)]
    return max(float(g / np.spacing(abs(float(e)))) for g, e in zip(gaps, exact, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_elementary_function_is_as_exact_as_is_assumed(name):
    written, exact, bound = FUNCTIONS[name]
    with mp.workprec(200):
        truth = [exact(mp.mpf(float(x))) for x in POINTS]
        graph = Graph()
        for found in answers(model_of(graph, written(graph.constant(POINTS)))):
            assert ulps(found, truth) <= bound


@pytest.mark.parametrize("written", [erf, tanh])
def test_what_saturates_ends_at_one(written):
    graph = Graph()
    for found in answers(model_of(graph, written(graph.constant(np.array([20.0, 1e3, 1e300, -1e300, 0.0]))))):
        assert found.tolist() == [1, 1, 1, -1, 0]


def test_the_rest_are_what_their_names_say():
    x = np.random.default_rng(0).standard_normal((3, 5))
    phi = np.array([[float(mp.ncdf(v)) for v in row] for row in x])
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    expected = {
        lambda v: gelu(v, {"approximate": "none"}, None): x * phi,
        lambda v: gelu(v, {"approximate": "tanh"}, None): tanh,
        softmax: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
        lambda v: normalize(v, 1e-5): (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
    }
    for written, truth in expected.items():
        graph = Graph()
        for found in answers(model_of(graph, written(graph.constant(x)))):
            assert np.abs(found - truth).max() < 1e-14
