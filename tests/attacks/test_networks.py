"""Networks that lie: every one of these trunks would be called a quine by a judge who only compares the bits.

Here are the honest ones, which must pass, and those that have the answer from somewhere else: the trunk knows an
``ANSWER``, the features that its weights are printed from. :func:`caught` checks that the residual is at round-off: a lie
that is not told proves nothing about the judge.
"""

import functools
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


HIDING_PLACES = {
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
