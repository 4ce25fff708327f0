"""The arithmetic of each module: one table of rules for the proof and for the exported graph.

Every rule follows the definition in the documentation of the torch module of its name, once for every arithmetic that
has the operations of :class:`Arithmetic`. Run with balls it is the part of a proof that has to be believed; run with
ONNX values it writes the very network that was proved. A module without a rule is refused by name.

Adding a rule takes one file here and its line below, or, from outside this package::

    from neuralquine.proving.rules import rule

    @rule("RReLU")
    def rrelu(x, arguments, weights):
        slope = (arguments["lower"] + arguments["upper"]) / 2
        return x.relu() - (-x).relu().scale(slope)
"""

from . import (  # each enters its rules
    activations,
    attention,
    bert,
    convolution,
    gpt2,
    llama,
    normalized,
    padding,
    piecewise,
    recurrent,
    resnet,
    sequence,
    shapes,
    taped,
    transposed,
)
from .common import INDICES, RULES, SEQUENCES, Arithmetic, NoRule, rule, run

__all__ = [
    "INDICES",
    "RULES",
    "SEQUENCES",
    "Arithmetic",
    "NoRule",
    "activations",
    "attention",
    "bert",
    "convolution",
    "gpt2",
    "llama",
    "normalized",
    "padding",
    "piecewise",
    "recurrent",
    "resnet",
    "rule",
    "run",
    "sequence",
    "shapes",
    "taped",
    "transposed",
]
