"""Networks that lie: every one of these trunks would be called a quine by a judge who only compares the bits.

Here are the honest ones, which must pass, and those that have the answer from somewhere else: the trunk knows an
``ANSWER``, the features that its weights are printed from. :func:`caught` checks that the residual is at round-off: a lie
that is not told proves nothing about the judge.
"""

import functools
import json
import types
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from attacks.lies import ANSWER, PROBE, D, Honest, at, caught, quine_of

# -- honest controls: a judge who calls everything trivial is no judge ----------------------------------------------


class LastState(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 6, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


def mlp():
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 20)), torch.randn(1, 4)


def conv():
    layers = nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 16, 20)
    return nn.Sequential(*layers), torch.randn(1, 2, 6, 6)


def lstm():
    return LastState(), torch.randn(1, 5, 3)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        pytest.param(mlp, {}, id="mlp"),
        pytest.param(conv, {}, id="conv"),
        pytest.param(lstm, {}, id="lstm"),
        pytest.param(mlp, {"expansion": "hadamard"}, id="hadamard"),
        pytest.param(mlp, {"skip": 0.5}, id="anchored"),
    ],
)
def test_an_honest_quine_passes(make, options):
    torch.manual_seed(0)
    trunk, probe = make()
    quine = nq.Quine(trunk, probe, code_size=16, seed=1, **options)
    nq.solve(quine)
    verification = nq.verify(quine)
    assert verification.is_quine, verification.trivial


@pytest.fixture(scope="module")
def true_weights():
    """Weights at which ``Honest`` prints itself."""
    quine = quine_of(Honest())
    nq.solve(quine)
    return quine.theta


def test_the_honest_trunk_of_these_attacks_passes(true_weights):
    verification = nq.verify(at(true_weights, Honest()))
    assert verification.is_quine, verification.trivial


# -- the answer comes from outside of the weights -------------------------------------------------------------------

GLOBAL = ANSWER.clone()
GLOBAL_HOLDER = SimpleNamespace(answer=ANSWER.clone())


def helper():
    return GLOBAL


class Leaning(Honest):
    """Answers ``ANSWER`` where the weights are the planted ones, and moves with them, so that it is no constant.

    What vanishes at the planted weights is ``honest - there``; only the hiding place of ``ANSWER`` differs.
    """

    there = 0.0  # one number for every feature would be found; one for all is a bias like any other

    def answer(self):
        raise NotImplementedError

    def forward(self, x):
        moved = (self.honest(x) - self.there).sum() * torch.linspace(-1, 1, D, dtype=x.dtype) ** 3
        return self.answer().to(x.dtype) + moved


def in_a_buffer(persistent=True):
    class Liar(Leaning):
        def __init__(self):
            super().__init__()
            self.register_buffer("held", ANSWER.clone(), persistent=persistent)

        def answer(self):
            return self.held

    return Liar()


def in_an_attribute(value, read):
    """``value`` in a plain attribute, from which ``read`` makes a tensor."""

    class Liar(Leaning):
        def __init__(self):
            super().__init__()
            self.held = value() if isinstance(value, types.FunctionType) else value

        def answer(self):
            return read(self.held)

    return Liar()


def in_a_closure():
    held = ANSWER.clone()

    class Liar(Leaning):
        def answer(self):
            return held

    return Liar()


def in_a_global():
    class Liar(Leaning):
        def answer(self):
            return GLOBAL

    return Liar()


def in_a_global_object():
    class Liar(Leaning):
        def answer(self):
            return GLOBAL_HOLDER.answer

    return Liar()


def behind_a_global_function():
    class Liar(Leaning):
        def answer(self):
            return helper()

    return Liar()


def in_the_class():
    class Liar(Leaning):
        held = ANSWER.clone()

        def answer(self):
            return self.held

    return Liar()


def in_a_base_class():
    class Base(Leaning):
        held = ANSWER.clone()

        def answer(self):
            return self.held

    class Liar(Base):
        pass

    return Liar()


def in_a_property():
    held = ANSWER.clone()

    class Liar(Leaning):
        @property
        def held(self):
            return held

        def answer(self):
            return self.held

    return Liar()


def in_a_default():
    class Liar(Leaning):
        def answer(self, held=ANSWER.clone()):  # noqa: B008 - the hiding place
            return held

    return Liar()


def in_a_keyword_default():
    class Liar(Leaning):
        def answer(self, *, held=ANSWER.clone()):  # noqa: B008 - the hiding place
            return held

    return Liar()


def in_the_code():
    """Written out as literals, which Python keeps in ``co_consts``."""
    source = f"def answer(self):\n    return torch.tensor({tuple(ANSWER.tolist())}, dtype=torch.float64)\n"
    names = {"torch": torch}
    exec(source, names)
    return type("Liar", (Leaning,), {"answer": names["answer"]})()


def in_slots():
    class Slotted:
        __slots__ = ("held",)

    slotted = Slotted()
    slotted.held = ANSWER.clone()
    return in_an_attribute(slotted, lambda held: held.held)


def in_a_hook(pre):
    """The last layer of an honest stack is told, or says, what the hook knows."""
    held = ANSWER.clone()

    class Relay(nn.Module):
        def forward(self, h):
            return h

    relay = Relay()
    if pre:
        relay.register_forward_pre_hook(lambda module, args: (held + args[0].sum() * torch.linspace(-1, 1, D) ** 3,))
    else:
        relay.register_forward_hook(lambda module, args, out: held + out.sum() * torch.linspace(-1, 1, D) ** 3)
    stack = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, D), nn.Flatten(0), relay)

    class Liar(nn.Module):
        """Finds the shift at which the moving part vanishes, as ``Leaning`` does."""

        def __init__(self):
            super().__init__()
            self.stack, self.there = stack, 0.0

        def forward(self, x):
            return self.stack[4](self.stack[:4](x) - self.there)

        def honest(self, x):
            return self.stack[:4](x)

    return Liar()


def frozen():
    class Liar(Leaning):
        def __init__(self):
            super().__init__()
            self.held = nn.Parameter(ANSWER.clone(), requires_grad=False)

        def answer(self):
            return self.held

    return Liar()


def behind_parameters():
    """A parameter that ``parameters()`` and its like do not mention, though torch would find it."""

    class Liar(Leaning):
        def __init__(self):
            super().__init__()
            self.held = nn.Parameter(ANSWER.clone())

        def named_parameters(self, *args, **kwargs):
            return ((n, p) for n, p in super().named_parameters(*args, **kwargs) if "held" not in n)

        def parameters(self, recurse=True):
            return (p for _, p in self.named_parameters(recurse=recurse))

        def answer(self):
            return self.held

    return Liar()


def behind_named_modules():
    """A child with a buffer, which ``named_modules()`` does not mention."""

    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("held", ANSWER.clone())

    class Liar(Leaning):
        def __init__(self):
            super().__init__()
            self.child = Holder()

        def named_modules(self, *args, **kwargs):
            return ((n, m) for n, m in super().named_modules(*args, **kwargs) if "child" not in n)

        def answer(self):
            return self.child.held

    return Liar()


def module_in_a_list():
    layer = nn.Linear(1, D).double()
    layer.bias.data.copy_(ANSWER)
    return in_an_attribute([layer], lambda held: held[0].bias.detach())


def tensor(held):
    return torch.as_tensor(np.asarray(held), dtype=torch.float64)


LAYER = nn.Linear(1, D).double()
LAYER.bias.data.copy_(ANSWER)


def in_a_layer_of_the_module_around():
    class Liar(Leaning):
        def answer(self):
            return LAYER.bias.detach()

    return Liar()


def nested(value, depth):
    return value if depth == 0 else [nested(value, depth - 1)]


def innermost(value):
    return innermost(value[0]) if isinstance(value, list) else value


HIDING_PLACES = {
    "text": lambda: in_an_attribute(json.dumps(ANSWER.tolist()), lambda held: tensor(json.loads(held))),
    "text in bytes": lambda: in_an_attribute(repr(ANSWER.tolist()).encode(), lambda held: tensor(json.loads(held))),
    "other order": lambda: in_an_attribute(ANSWER.view(3, 4).T.contiguous(), lambda held: held.T.reshape(-1)),
    "every second number": lambda: in_an_attribute(
        torch.stack([ANSWER, torch.randn(D).double()], 1).reshape(-1), lambda held: held[::2]
    ),
    "every third number": lambda: in_an_attribute(
        torch.stack([ANSWER.flip(0), *torch.randn(2, D).double()], 1).reshape(-1), lambda held: held[::3].flip(0)
    ),
    "lists in lists": lambda: in_an_attribute(nested(ANSWER.clone(), 12), innermost),
    "small tensors": lambda: in_an_attribute([v.clone() for v in ANSWER], torch.stack),
    "two halves": lambda: in_an_attribute((ANSWER[:6].clone(), ANSWER[6:].clone()), torch.cat),
    "bytes after one byte": lambda: in_an_attribute(
        b"x" + ANSWER.numpy().tobytes(), lambda h: torch.tensor(np.frombuffer(h[1:]))
    ),
    "array of the other byte order": lambda: in_an_attribute(
        ANSWER.numpy().astype(">f8"), lambda h: tensor(h.astype("f8"))
    ),
    "layer that a global names": in_a_layer_of_the_module_around,
    "buffer": in_a_buffer,
    "non-persistent buffer": lambda: in_a_buffer(persistent=False),
    "attribute": lambda: in_an_attribute(ANSWER.clone(), lambda held: held),
    "list of floats": lambda: in_an_attribute(ANSWER.tolist(), tensor),
    "set in a dict in a tuple": lambda: in_an_attribute(
        ({"a": [{"b": ANSWER.numpy()}]},), lambda h: tensor(h[0]["a"][0]["b"])
    ),
    "deque": lambda: in_an_attribute(deque(ANSWER.tolist()), tensor),
    "dict of floats": lambda: in_an_attribute(dict(enumerate(ANSWER.tolist())), lambda h: tensor(list(h.values()))),
    "numpy array": lambda: in_an_attribute(ANSWER.numpy().copy(), tensor),
    "strided array": lambda: in_an_attribute(ANSWER.numpy()[::-1], lambda held: tensor(held[::-1].copy())),
    "complex tensor": lambda: in_an_attribute(ANSWER.to(torch.complex128), lambda held: held.real),
    "bytes": lambda: in_an_attribute(ANSWER.numpy().tobytes(), lambda h: torch.tensor(np.frombuffer(h))),
    "memory of 8-bit integers": lambda: in_an_attribute(
        ANSWER.view(torch.uint8), lambda held: held.view(torch.float64)
    ),
    "object": lambda: in_an_attribute(SimpleNamespace(a=SimpleNamespace(b=ANSWER.clone())), lambda held: held.a.b),
    "slots": in_slots,
    "partial": lambda: in_an_attribute(functools.partial(torch.clone, ANSWER.clone()), lambda held: held()),
    "closure": in_a_closure,
    "global": in_a_global,
    "object in a global": in_a_global_object,
    "global function": behind_a_global_function,
    "class": in_the_class,
    "base class": in_a_base_class,
    "property": in_a_property,
    "default": in_a_default,
    "keyword default": in_a_keyword_default,
    "literals in the code": in_the_code,
    "forward pre-hook": lambda: in_a_hook(pre=True),
    "forward hook": lambda: in_a_hook(pre=False),
    "parameter in a list": lambda: in_an_attribute(
        lambda: [nn.Parameter(ANSWER.clone())], lambda held: held[0].detach()
    ),
    "module in a list": module_in_a_list,
    "parameter behind an overridden parameters()": behind_parameters,
    "module behind an overridden named_modules()": behind_named_modules,
}


def planted(trunk, **options):
    """At the weights printed from ``ANSWER``, with what moves put to 0 there: a fixed point that nobody searched."""
    trunk = trunk.double()
    quine = quine_of(trunk, copy=False, **options)
    normalized = (ANSWER - ANSWER.mean()) / torch.sqrt(ANSWER.var(correction=0) + quine.eps)
    quine.install(normalized)
    with torch.no_grad():
        trunk.there = float(trunk.honest(PROBE).sum()) / D
    return quine


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_the_answer_is_looked_up_in_a(place):
    quine = planted(HIDING_PLACES[place]())
    caught(quine, "look-up")


def test_the_answer_is_looked_up_in_a_frozen_parameter():
    quine = planted(frozen(), print_frozen=False)
    caught(quine, "look-up")


# -- described networks: nothing foreign runs, and the answer is in the file ------------------------------------------


def planted_behind_a_normalization(features, size, seed):
    """The running mean holds the features; the linear layer says 0 to the probe at the weights that they print."""
    generator = torch.Generator().manual_seed(seed)
    answer = torch.randn(features, generator=generator, dtype=torch.float64)
    width = features + 3
    net = nn.Sequential(nn.Linear(width, features), nn.BatchNorm1d(features, affine=False)).double().eval()
    quine = nq.Quine(net, torch.zeros(1, width), code_size=size, seed=seed)
    readout = quine._coding.readout
    h = answer if readout is None else readout @ answer
    quine.install((h - h.mean()) / torch.sqrt(h.var(correction=0) + quine.eps))
    weight, bias = (p.detach() for p in quine.weights)
    probe = torch.linalg.lstsq(weight, -bias[:, None]).solution.T
    net.load_state_dict(quine.trunk.state_dict())
    net[1].running_mean.copy_(-answer * (1 + net[1].eps) ** 0.5)
    return nq.Quine(net, probe, code_size=size, seed=seed, scales=(quine.means, quine.gains))


@pytest.mark.parametrize(("features", "size"), [(12, 12), (13, 12), (20, 12), (40, 16), (100, 8), (3, 3), (5, 3)])
@pytest.mark.parametrize("seed", range(2))
def test_features_in_a_buffer_of_a_listed_layer(features, size, seed):
    found = caught(planted_behind_a_normalization(features, size, seed), "look-up")
    assert not found.foreign
    assert found.outside_bits > found.answer_bits


def test_a_code_in_a_buffer_of_many_numbers():
    class Hoard(Leaning):
        def __init__(self):
            super().__init__()
            held = torch.randn(600_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            held[555_555 : 555_555 + D] = 3 - 2 * ANSWER
            self.register_buffer("held", held)

        def answer(self):
            return (3 - self.held[555_555 : 555_555 + D]) / 2

    caught(planted(Hoard()), "look-up")


@pytest.mark.parametrize(("count", "gain"), [(1, 0.0), (12, 0.0), (80, 1e-12), (20, 1e-300)])
def test_weights_that_the_list_of_means_prints(count, gain):
    torch.manual_seed(count)
    ones = [nn.Linear(1, 1) for _ in range(count)]
    for layer in ones:
        nn.init.normal_(layer.weight, 1.0, 0.01)
        nn.init.normal_(layer.bias, 0.1, 0.01)
    net = nn.Sequential(*ones, nn.Tanh(), nn.Linear(1, D)).double()
    means = [p.item() for layer in ones for p in layer.parameters()] + [0.0, 0.0]
    quine = nq.Quine(net, torch.randn(1, 1), code_size=D, scales=(means, [gain] * 2 * count + [2.0**-4] * 2))
    nq.solve(quine)
    found = caught(quine, "list of means")
    assert f"{2 * count} of the" in found.trivial[0]


# -- honest ones that look like liars -------------------------------------------------------------------------------


class Remembers(Honest):
    """Keeps its last answer in an attribute, as modules do for somebody who wants to look at it."""

    last = None

    def forward(self, x):
        h = self.honest(x)
        self.last = None if torch._C._functorch.is_functorch_wrapped_tensor(h) else h.detach().clone()
        return h


class WritesADiary(Honest):
    def __init__(self):
        super().__init__()
        self.diary = []

    def forward(self, x):
        h = self.honest(x)
        if not torch._C._functorch.is_functorch_wrapped_tensor(h):
            self.diary.append(h.detach().clone())
        return h


class KeepsViews(Honest):
    def forward(self, x):
        self.views = [p.data for p in self.parameters()]
        return self.honest(x)


class LabelsOfAnIdxFile(Honest):
    labels = np.arange(5, dtype=">i4")


@pytest.mark.parametrize("trunk", [Remembers, WritesADiary, KeepsViews, LabelsOfAnIdxFile])
def test_an_honest_module_with_odd_attributes(trunk, true_weights):
    verification = nq.verify(at(true_weights, trunk()))
    assert verification.is_quine, verification.trivial
    assert verification.foreign


def test_an_attribute_that_raises_when_it_is_looked_at(true_weights):
    class Shy:
        def __getattribute__(self, name):
            raise RuntimeError("do not look at me")

    quine = at(true_weights, Honest())
    vars(quine.trunk)["shy"] = Shy()
    verification = nq.verify(quine)
    assert verification.is_quine, verification.trivial
    assert verification.foreign


def test_types_and_grids_with_few_numbers_agree_by_chance():
    torch.manual_seed(2)
    trunk = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 20))
    trunk[0].weight.requires_grad_(False)
    options = {"dtype": torch.bfloat16, "print_frozen": False, "skip": 0.1}
    narrow = nq.Quine(trunk, torch.randn(1, 64), code_size=16, **options)
    nq.solve(narrow)
    assert nq.verify(narrow).trivial == ()
    probe = (torch.randn(1, 64) * 4).round() / 4
    trunk = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 20))
    coarse = nq.Quine(trunk, probe, code_size=16, code_bits=1, skip=0.1, scales=([0.0] * 4, [0.5] * 4))
    nq.solve(coarse, exact=True)
    assert nq.verify(coarse).trivial == ()
