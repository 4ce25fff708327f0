"""Random modules and inputs for each rule, and whether the rule computes what torch does, in balls and in a graph.

One generator for each rule: it draws a module and says which shapes it takes at a rank. Ranks that torch does not take, sizes
that do not fit and arguments that have no rule are drawn too: there the rule has to refuse.
"""

import math
import warnings
from functools import cache

import numpy as np
import onnxruntime as ort
import torch
from flint import ctx
from onnx import TensorProto, helper
from torch import nn

from neuralquine.errors import BadOption
from neuralquine.keeping.export import IR, OPSET
from neuralquine.keeping.onnx.values import Graph
from neuralquine.proving.balls import Ball, Rounding
from neuralquine.proving.checker.held import Machine
from neuralquine.proving.checker.numbers import Bounded
from neuralquine.proving.known import description
from neuralquine.proving.rules import INDICES, NoRule, common, run
from neuralquine.proving.rules.common import described
from neuralquine.proving.rules.on_grid import ON_GRID
from neuralquine.proving.tubes.adjoint import Steps
from neuralquine.proving.tubes.machine import Unbounded
from neuralquine.proving.tubes.tube import held, tape_of
from neuralquine.proving.verdicts import NotProved
from neuralquine.quines.networks.bodies import TokenMean, Tokens
from neuralquine.quines.networks.causal import CausalTransformer
from neuralquine.quines.networks.description import describe
from neuralquine.quines.networks.normalize import InstanceNorm
from neuralquine.quines.networks.sequence import Clocked
from neuralquine.quines.networks.stepped import stepped

RANKS = range(6)


class Draw:
    """Random choices of one seed."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    def size(self, low=1, high=4):
        return int(self.generator.integers(low, high + 1))

    def sizes(self, count, high=3):
        return [self.size(1, high) for _ in range(count)]

    def one(self, *options):
        return options[self.generator.integers(len(options))]

    def seldom(self, usual, *others):
        """The usual choice six times out of seven."""
        return usual if self.generator.random() < 0.85 else self.one(*others)


# Each generator gives a module and the shape that it takes at a rank: None where it takes none.


def _anything(make):
    return lambda draw: (make(draw), lambda rank: draw.sizes(rank))


def _last(make):
    """Modules over the last axis of a size."""

    def generator(draw):
        size = draw.size()
        return make(draw, size), lambda rank: [*draw.sizes(rank - 1), size] if rank else None

    return generator


def _channels(axes, make):
    """Modules with channels before the last axes, and a batch before these or not."""

    def generator(draw):
        channels = draw.size()
        return (
            make(draw, channels),
            lambda rank: (
                [*draw.sizes(rank - axes - 1), channels, *(draw.size(1, 6) for _ in range(axes))]
                if rank > axes
                else None
            ),
        )

    return generator


def _second(axes, kind):
    """Batch normalization, whose channels are axis 1."""

    def generator(draw):
        size = draw.size()
        norm = kind(
            size, affine=draw.one(True, False), eps=draw.one(1e-5, 0.1), track_running_stats=draw.seldom(True, False)
        )
        if norm.running_mean is not None:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        return norm, lambda rank: [draw.size(), size, *draw.sizes(rank - 2)] if rank > 1 else None

    return generator


def _divisors(n):
    return [g for g in range(2, n + 1) if n % g == 0] or [1]


def _convolution(kind, axes):
    def make(draw, channels):
        several = draw.one(
            lambda low, high: draw.size(low, high), lambda low, high: [draw.size(low, high) for _ in range(axes)]
        )
        return kind(
            channels,
            channels * draw.size(1, 2),
            several(1, 3),
            stride=several(1, 3),
            padding=draw.seldom(several(0, 1), "valid"),
            dilation=several(1, 2),
            groups=draw.seldom(1, *_divisors(channels)),
            bias=draw.one(True, False),
            padding_mode=draw.seldom("zeros", "circular"),
        )

    return _channels(axes, make)


def _unflatten(draw):
    axis, sizes = draw.one(0, 1, 2, -1, -2), draw.one((2, 2), (1, 3), (4, 1))

    def shape_at(rank):
        shape = [*draw.sizes(rank)]
        if -rank <= axis < rank:
            shape[axis] = math.prod(sizes)
        return shape

    return nn.Unflatten(axis, draw.seldom(sizes, (2, -1))), shape_at


def _gated(draw):
    axis = draw.one(0, 1, 2, -1, -2)

    def shape_at(rank):
        shape = [*draw.sizes(rank)]
        if -rank <= axis < rank:
            shape[axis] = draw.seldom(2 * draw.size(1, 2), 3)
        return shape

    return nn.GLU(axis), shape_at


def _pooling(kind, axes):
    def make(draw, _):
        kernel = draw.size(1, 3)
        return kind(kernel, stride=draw.size(1, 3), padding=draw.size(0, kernel // 2))

    return _channels(axes, make)


def _rms_norm(draw):
    shape = draw.seldom(draw.sizes(1), draw.sizes(2))
    norm = nn.RMSNorm(shape, eps=draw.one(None, 1e-6, 0.1), elementwise_affine=draw.one(True, False))
    return norm, lambda rank: [*draw.sizes(rank - len(shape)), *shape] if rank >= len(shape) else None


def _transposed(kind, axes):
    def make(draw, channels):
        return kind(
            channels,
            channels * draw.size(1, 2),
            draw.size(1, 3),
            stride=draw.size(1, 3),
            padding=draw.size(0, 1),
            output_padding=draw.seldom(0, 1),
            groups=draw.seldom(1, *_divisors(channels)),
            bias=draw.one(True, False),
            dilation=draw.size(1, 2),
        )

    return _channels(axes, make)


def _prelu(draw):
    count = draw.size(1, 3)
    return nn.PReLU(count), lambda rank: [draw.size(), count, *draw.sizes(rank - 2)] if rank > 1 else draw.sizes(rank)


def _padding(kind, axes):
    def make(draw, _):
        return kind(draw.one(draw.size(0, 2), tuple(draw.size(0, 2) for _ in range(2 * axes))))

    return _channels(axes, make)


def _group_norm(draw):
    groups = draw.size(1, 3)
    size = groups * draw.size(1, 3)
    norm = nn.GroupNorm(groups, size, eps=draw.one(1e-5, 0.1), affine=draw.one(True, False))
    return norm, lambda rank: [draw.size(), size, *draw.sizes(rank - 2)] if rank > 1 else None


def _instance(axes, kind):
    def make(draw, channels):
        tracked = draw.seldom(False, True)
        return kind(channels, affine=draw.one(True, False), eps=draw.one(1e-5, 0.1), track_running_stats=tracked)

    return _channels(axes, make)


def _tokens(draw):
    sizes = draw.sizes(2)
    return Tokens(
        int(np.prod(sizes)), width := draw.size()
    ), lambda rank: [draw.size(), width, *(sizes if rank == 4 else ())] if rank in (2, 4) else None


def _recurrent(kind):
    def generator(draw):
        size = draw.size()
        own = {"nonlinearity": draw.one("tanh", "relu")} if kind is nn.RNN else {}
        own |= {"proj_size": draw.seldom(0, 1)} if kind is nn.LSTM else {}
        layers = draw.size(1, 2)
        common = {"num_layers": layers, "bias": draw.one(True, False), "batch_first": draw.one(True, False)}
        hidden = draw.size(2)
        module = kind(size, hidden, bidirectional=draw.seldom(False, True), **common, **own)
        return module, lambda rank: [*draw.sizes(rank - 1), size] if rank else None

    return generator


def _cell(kind):
    def make(draw, size):
        own = {"nonlinearity": draw.one("tanh", "relu")} if kind is nn.RNNCell else {}
        return kind(size, draw.size(), bias=draw.one(True, False), **own)

    return _last(make)


def _encoder(draw, _):
    heads = draw.size(1, 2)
    return nn.TransformerEncoderLayer(
        heads * draw.size(1, 3),
        heads,
        draw.size(),
        dropout=0.1,
        activation=draw.one("relu", "gelu"),
        layer_norm_eps=draw.one(1e-5, 1e-2),
        batch_first=draw.seldom(True, False),
        norm_first=draw.one(True, False),
        bias=draw.one(True, False),
    )


def _of_encoder(draw):
    module = _encoder(draw, None)
    return module, lambda rank: [*draw.sizes(rank - 1), module.self_attn.embed_dim] if rank else None


def _causal(draw):
    heads = draw.size(1, 2)
    return CausalTransformer(
        draw.size(2), 2 * heads, draw.size(1, 2), heads
    ), lambda rank: [*draw.sizes(rank - 1), draw.seldom(draw.size(), 16, 17)] if rank else None


def _clocked(draw):
    return Clocked(draw.one(1, 2, 3), draw.one(2, 4)), lambda rank: [1] if rank == 1 else None


def _layer_norm(draw):
    shape = draw.seldom(draw.sizes(1), draw.sizes(2))
    norm = nn.LayerNorm(
        shape, eps=draw.one(1e-5, 0.1), elementwise_affine=draw.one(True, False), bias=draw.one(True, False)
    )
    return norm, lambda rank: [*draw.sizes(rank - len(shape)), *shape] if rank >= len(shape) else None


GENERATORS = {
    "Linear": _last(lambda draw, n: nn.Linear(n, draw.size(), bias=draw.one(True, False))),
    "Tanh": _anything(lambda _: nn.Tanh()),
    "ReLU": _anything(lambda _: nn.ReLU()),
    "LeakyReLU": _anything(lambda draw: nn.LeakyReLU(draw.one(0.01, 0.3, 0.0, -0.5))),
    "ELU": _anything(lambda draw: nn.ELU(draw.one(1.0, 0.3, 2.5))),
    "SELU": _anything(lambda _: nn.SELU()),
    "Softsign": _anything(lambda _: nn.Softsign()),
    "Mish": _anything(lambda _: nn.Mish()),
    "Conv3d": _convolution(nn.Conv3d, 3),
    "Unflatten": _unflatten,
    "CELU": _anything(lambda draw: nn.CELU(draw.one(1.0, 0.3, 2.5))),
    "Tanhshrink": _anything(lambda _: nn.Tanhshrink()),
    "Hardtanh": _anything(lambda draw: nn.Hardtanh(*draw.seldom(draw.one((-1.0, 1.0), (-0.25, 0.5)), (0.1, 0.7)))),
    "ReLU6": _anything(lambda _: nn.ReLU6()),
    "Hardsigmoid": _anything(lambda _: nn.Hardsigmoid()),
    "Hardswish": _anything(lambda _: nn.Hardswish()),
    "Softshrink": _anything(lambda draw: nn.Softshrink(draw.seldom(draw.one(0.5, 0.25, 0.0), 0.3, -0.5))),
    "PReLU": _prelu,
    "Softmin": _anything(lambda draw: nn.Softmin(dim=draw.seldom(-1, 0, 1, 2, None))),
    "ConvTranspose1d": _transposed(nn.ConvTranspose1d, 1),
    "ConvTranspose2d": _transposed(nn.ConvTranspose2d, 2),
    "ConvTranspose3d": _transposed(nn.ConvTranspose3d, 3),
    **{
        f"{kind}Pad{axes}d": _padding(getattr(nn, f"{kind}Pad{axes}d"), axes)
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for axes in (1, 2, 3)
    },
    "AdaptiveAvgPool3d": _channels(3, lambda draw, _: nn.AdaptiveAvgPool3d(draw.one(1, 2, (1, 2, 2)))),
    "AvgPool3d": _pooling(nn.AvgPool3d, 3),
    "MaxPool3d": _pooling(nn.MaxPool3d, 3),
    "Dropout1d": _anything(lambda _: nn.Dropout1d()),
    "Dropout2d": _anything(lambda _: nn.Dropout2d()),
    "Dropout3d": _anything(lambda _: nn.Dropout3d()),
    "AlphaDropout": _anything(lambda _: nn.AlphaDropout()),
    "FeatureAlphaDropout": _anything(lambda _: nn.FeatureAlphaDropout()),
    "GLU": _gated,
    "Sigmoid": _anything(lambda _: nn.Sigmoid()),
    "SiLU": _anything(lambda _: nn.SiLU()),
    "GELU": _anything(lambda draw: nn.GELU(approximate=draw.seldom(draw.one("none", "tanh"), "other"))),
    "Softmax": _anything(lambda draw: nn.Softmax(dim=draw.seldom(-1, 0, 1, 2, None))),
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
    "GroupNorm": _group_norm,
    "InstanceNorm1d": _instance(1, nn.InstanceNorm1d),
    "InstanceNorm2d": _instance(2, nn.InstanceNorm2d),
    "neuralquine.InstanceNorm": _anything(lambda draw: InstanceNorm(draw.one(1e-5, 0.1))),
    "BatchNorm1d": _second(1, nn.BatchNorm1d),
    "BatchNorm2d": _second(2, nn.BatchNorm2d),
    "Conv1d": _convolution(nn.Conv1d, 1),
    "Conv2d": _convolution(nn.Conv2d, 2),
    "RNN": _recurrent(nn.RNN),
    "GRU": _recurrent(nn.GRU),
    "LSTM": _recurrent(nn.LSTM),
    "RNNCell": _cell(nn.RNNCell),
    "GRUCell": _cell(nn.GRUCell),
    "LSTMCell": _cell(nn.LSTMCell),
    "TransformerEncoderLayer": _of_encoder,
    "neuralquine.CausalTransformer": _causal,
    "neuralquine.Clocked": _clocked,
    "Embedding": _anything(lambda draw: nn.Embedding(5, draw.size(), padding_idx=draw.one(None, 0))),
    "AdaptiveAvgPool1d": _channels(1, lambda draw, _: nn.AdaptiveAvgPool1d(draw.seldom(1, 2))),
    "AdaptiveAvgPool2d": _channels(2, lambda draw, _: nn.AdaptiveAvgPool2d(draw.seldom(1, (1, 1), (1, 2), 2))),
    "AvgPool1d": _pooling(nn.AvgPool1d, 1),
    "AvgPool2d": _pooling(nn.AvgPool2d, 2),
    "MaxPool1d": _pooling(nn.MaxPool1d, 1),
    "MaxPool2d": _pooling(nn.MaxPool2d, 2),
    "neuralquine.Tokens": _tokens,
    "neuralquine.TokenMean": _anything(lambda _: TokenMean()),
    "Flatten": _anything(lambda draw: nn.Flatten(draw.one(0, 1, 2, -1, -2), draw.one(-1, -2, 0, 1, 2))),
    "Identity": _anything(lambda _: nn.Identity()),
    "Dropout": _anything(lambda draw: nn.Dropout(draw.one(0.0, 0.5))),
}


_FAR_CORNERS = {"ReLU6", "Hardsigmoid", "Hardswish"}  # corners that standard normal numbers do not reach


# Modules and shapes that random choices meet too seldom to tell a rule from a faulty one; they have the seeds -1, -2, ...
EDGES = {
    "Conv1d": [(lambda: nn.Conv1d(4, 6, 2, groups=2), (2, 4, 5))],
    "ConvTranspose1d": [
        (lambda: nn.ConvTranspose1d(4, 6, 2, groups=2), (2, 4, 5)),
        (lambda: nn.ConvTranspose1d(1, 1, 2, padding=1), (1, 1)),  # its output would have no number
    ],
    "AvgPool3d": [  # torch refuses a window that only the padding makes room for, by three axes alone
        (lambda: nn.AvgPool3d(3, padding=1), shape) for shape in ((3, 2, 3, 3), (3, 3, 3, 2), (2, 3, 3, 3))
    ]
    + [(lambda: nn.AvgPool3d((1, 2, 3)), (2, 3, 3, 3))],
    "AdaptiveAvgPool1d": [(lambda n=n: nn.AdaptiveAvgPool1d(n), (2, 4)) for n in (0, (1,), (2,))],
    "AdaptiveAvgPool2d": [(lambda n=n: nn.AdaptiveAvgPool2d(n), (2, 4, 4)) for n in (0, (0, 0), (2, 2), (2, 1))],
    "neuralquine.Tokens": [(lambda: Tokens(1, 3), (2, 3))],
}


def _edge(name, place):
    make, shape = EDGES[name][place]
    return lambda _: (make(), lambda _: list(shape))


def drawn(name, rank, seed):
    """A module of a type and an input of a rank; of a negative seed, one of the edges."""
    draw = Draw([sum(map(ord, name)), rank, abs(seed)])
    torch.default_generator.manual_seed(abs(seed))  # torch.manual_seed notes a stack for every device: a millisecond
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, shape_at = (GENERATORS[name] if seed >= 0 else _edge(name, ~seed))(draw)
    module = module.double().eval()
    for weight in module.parameters():  # also those that torch starts at zero or one
        nn.init.normal_(weight)
    fitting, indices = shape_at(rank), name in INDICES
    if seed >= 0:
        shape = draw.seldom(fitting, draw.sizes(rank), [0] * rank) if fitting is not None else draw.sizes(rank)
        indices = draw.seldom(indices, not indices)
    else:
        shape = fitting
    x = torch.from_numpy(draw.generator.integers(0, draw.seldom(2, 5, 6), shape)) if indices else None
    spread = 4.0 if name in _FAR_CORNERS else 1.0
    return module, torch.from_numpy(np.asarray(spread * draw.generator.standard_normal(shape))) if x is None else x


def asked(module, x):
    """The first tensor that torch gives, or None where it refuses."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = module(x)
        except (RuntimeError, ValueError, IndexError, AssertionError, NotImplementedError, TypeError):
            return None
    while isinstance(y, tuple):
        y = y[0]
    return y.numpy()


def spec_of(module):
    """The description that a proof reads from a folder with the module."""
    tensors = [[name, list(p.shape)] for name, p in module.named_parameters()]
    whole = f"{type(module).__module__}.{type(module).__name__}"
    return description({"trunk": describe(module), "trunk_class": whole, "tensors": tensors, "dtype": "float64"})


def in_balls(spec, state, x, rounding):
    """The rule's enclosure; None where it refuses."""
    weights = {name: Ball.exact(t.numpy(), rounding) for name, t in state.items()}
    indices = not x.is_floating_point()
    try:
        return run(spec, Ball.exact(x.numpy(), rounding), weights.get, indices=indices).value
    except NoRule:
        return None


def in_tubes(spec, state, x, dtype):
    """The rule's tube of the evaluations of a type; None where it refuses."""
    tape = tape_of(dtype)
    tape.watch = Steps(tape.machine) if len(state) < 8 else None
    weights = {name: held(tape, t.numpy()) for name, t in state.items()}
    try:
        return run(spec, held(tape, x.numpy()), weights.get, indices=not x.is_floating_point())
    except NoRule:
        return None


def outside(tube, numbers):
    """How far the numbers lie outside of a tube, relative to its radius and to their own round-off; at most 0: nowhere."""
    gap = np.abs(tube.numbers - numbers) - tube.radius
    return float((gap / (tube.radius + 2.0**-1074 + 2.0**-60 * np.abs(numbers))).max(initial=-np.inf))


def in_a_graph(spec, state, x):
    """What ONNX Runtime computes of the graph that the same rule writes; None where the rule refuses."""
    graph = Graph()
    weights = {name: graph.hold(name, t.numpy()) for name, t in state.items() if t.is_floating_point()}
    try:
        y = run(spec, graph.hold("/probe", x.numpy()), weights.get, indices=not x.is_floating_point())
    except NoRule:
        return None
    y = graph.op("Identity", [y], y.shape)
    kind = TensorProto.DOUBLE if x.is_floating_point() or spec["type"] in INDICES else TensorProto.INT64
    body = helper.make_graph(
        graph.nodes, "test", [], [helper.make_tensor_value_info(y.name, kind, y.shape)], graph.initializers
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    found = ort.InferenceSession(model.SerializeToString(), options).run(None, {})[0]
    assert found.shape == y.shape, f"{spec} writes {found.shape} and says {y.shape}"
    return found


def _rounds_as_torch(spec, module, x, bits=6):
    """Whether the rule rounds activations where torch does, if torch rounds any of this module's."""
    machine = Machine.of("float64", bits)
    weights = {name: Bounded(t.numpy(), None, machine) for name, t in module.state_dict().items()}
    try:
        with stepped(module, bits):
            answer = asked(module, x)
        found = run(spec, Bounded(x.numpy(), None, machine), weights.get, indices=not x.is_floating_point())
    except (BadOption, NotProved):  # nothing is rounded, or nothing is said of it
        return True
    return bool((np.abs(found.value - answer) <= found.reach).all())


def agreement(name, rank, seed):
    """``equal``, ``refused`` (the rule refuses what torch computes), ``both`` refuse; else how they differ."""
    module, x = drawn(name, rank, seed)
    spec, expected = spec_of(module), asked(module, x)
    shapes, state = described(spec), {n: tuple(t.shape) for n, t in module.state_dict(keep_vars=True).items()}
    state.pop("head.weight", None)  # of the causal transformer, the same tensor as its table of tokens
    if shapes is not None and list(shapes.items()) != list(state.items()):
        return f"{module} is said to have the tensors {shapes}"
    ctx.prec = 128
    held = in_balls(spec, module.state_dict(), x, Rounding.of("float64"))
    if held is None:
        return "both" if expected is None else "refused"
    if expected is None:
        return f"rank {rank}, seed {seed}: {module} takes {tuple(x.shape)}, which torch refuses"
    where = f"rank {rank}, seed {seed}: {module} of {tuple(x.shape)} {x.dtype}"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(module(x), tuple) != (name in common.SEQUENCES):
            return f"{where} gives a tuple where its rule says that it gives none, or the other way round"
    if shapes is None:
        return f"{module} has a rule, and its tensors are not known"
    if held.shape != expected.shape:
        return f"{where} has shape {held.shape}, in torch {expected.shape}"
    exact = in_balls(spec, module.state_dict(), x, None)
    gap = max((abs(float(b.mid()) - v) for b, v in zip(exact.flat, expected.flat, strict=True)), default=0.0)
    if not gap < 1e-9 * max(1.0, np.abs(expected).max(initial=0.0)):
        return f"{where} is off by {gap:.1e}"
    if not all(b.contains(float(v)) for b, v in zip(held.flat, expected.flat, strict=True)):
        return f"{where}: the ball does not hold torch's result"
    if not all(math.isfinite(float(b.rad())) for b in held.flat):
        return f"{where}: the ball says nothing"
    middle = np.array([float(b.mid()) for b in exact.flat]).reshape(exact.shape)
    for dtype, numbers in ((None, middle), ("float64", expected)):
        try:
            tube = in_tubes(spec, module.state_dict(), x, dtype)
        except Unbounded:  # a network that runs freely may magnify every error by more than a float holds
            return "refused"
        if tube is None or tube.shape != expected.shape:
            return f"{where} has shape {None if tube is None else tube.shape} in tubes, in torch {expected.shape}"
        if not outside(tube, numbers) <= 1e-3:
            return f"{where}: the tube of {dtype or 'exact arithmetic'} does not hold the result"
        if not tube.radius.max(initial=0.0) < 1e-4 * max(1.0, np.abs(expected).max(initial=0.0)):
            return f"{where}: the tube of {dtype or 'exact arithmetic'} says nothing"
    found = in_a_graph(spec, module.state_dict(), x)
    if found is None or found.shape != expected.shape:
        return f"{where} has shape {None if found is None else found.shape} in a graph, in torch {expected.shape}"
    if not np.allclose(found, expected, rtol=1e-9, atol=1e-9):
        return f"{where} is off by {np.abs(found - expected).max():.1e} in a graph"
    if name in ON_GRID and not _rounds_as_torch(spec, module, x):
        return f"{where} is rounded elsewhere where activations are on a grid"
    return "equal"


@cache
def true_agreement(name, rank, seed):
    """The same of the rules as they are, compared once however many ask."""
    return agreement(name, rank, seed)
