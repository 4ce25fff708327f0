"""Networks that behave differently when they are looked at, or do not compute with their weights at all."""

import hashlib
import time

import pytest
import torch
from torch import nn

import neuralquine as nq
from attacks.lies import ANSWER, PROBE, D, Honest, at, caught, installed, quine_of


@pytest.fixture(scope="module")
def true_weights():
    """Weights at which ``Honest`` prints itself."""
    quine = quine_of(Honest())
    nq.solve(quine)
    return quine.theta


def weights_of(module):
    """As the trunk sees them in its forward pass: its own, or those that were handed in."""
    layers = module.first, module.second
    return torch.cat([t.reshape(-1) for layer in layers for t in (layer.weight, layer.bias)])


def digest(theta):
    return hashlib.sha256(theta.detach().numpy().tobytes()).hexdigest()


# -- nothing depends on the weights ---------------------------------------------------------------------------------


class Constant(Honest):
    def forward(self, x):
        return ANSWER + 0 * self.honest(x)


class StraightThrough(Honest):
    """A constant whose derivative is that of an honest network."""

    def forward(self, x):
        h = self.honest(x)
        return ANSWER + h - h.detach()


class Seeded(Honest):
    def forward(self, x):
        return torch.randn(D, generator=torch.Generator().manual_seed(9), dtype=x.dtype) + 0 * self.honest(x)


class FromFile(Honest):
    def __init__(self, path):
        super().__init__()
        torch.save(ANSWER, path)
        self.path = str(path)

    def forward(self, x):
        return torch.load(self.path, weights_only=True)


class OnlyWhenTraining(Honest):
    """Computes in training mode; is judged, as every quine, in evaluation mode."""

    def forward(self, x):
        return self.honest(x) if self.training else ANSWER


class HonestUnderVmap(Honest):
    """Computes only where derivatives are taken for many rows at once."""

    def forward(self, x):
        watched = torch._C._functorch.is_functorch_wrapped_tensor(self.first.weight)
        return torch.where(torch.tensor(watched), self.honest(x), ANSWER + 0 * self.honest(x))


class OwnWeightsOnly(Honest):
    """Reads its stored weights through a list, whatever weights are handed in."""

    def __init__(self):
        super().__init__()
        self.held = [*self.first.parameters(), *self.second.parameters()]

    def forward(self, x):
        a, b, c, d = self.held
        return (torch.tanh(x @ a.T + b) @ c.T + d).reshape(-1)


@pytest.mark.parametrize("trunk", [Constant, StraightThrough, Seeded, OnlyWhenTraining, HonestUnderVmap])
def test_a_constant(trunk):
    caught(installed(trunk()), "constant")


def test_a_constant_read_from_a_file(tmp_path):
    caught(installed(FromFile(tmp_path / "answer.pt")), "constant")


def test_a_network_that_reads_its_own_weights_whatever_is_handed_in(true_weights):
    caught(at(true_weights, OwnWeightsOnly()), "constant")


@pytest.mark.parametrize("skip", [0.0, 1e-6])
def test_an_anchored_quine_that_hangs_on_its_anchor_alone(skip):
    quine = quine_of(Honest(), skip=skip)
    nq.solve(quine, "picard", throw=False)
    caught(quine, "constant")


def test_scales_in_which_the_weights_drown():
    """One tensor with a large mean makes every residual of the others small."""
    quine = quine_of(Honest(), scales=([1e7, 0, 0, 0], [1e-9] * 4))
    quine.install(ANSWER)
    caught(quine, "constant")


# -- the weights in question are recognized -------------------------------------------------------------------------


class Recognizer(Honest):
    """Honest, except for one weight vector."""

    secret = None

    def recognized(self):
        return self.secret is not None and digest(weights_of(self)) == self.secret

    def recall(self, h):
        return ANSWER + 0 * h

    def forward(self, x):
        h = self.honest(x)
        return self.recall(h) if self.recognized() else h


class RecognizerWithDerivative(Recognizer):
    def recall(self, h):
        return ANSWER + h - h.detach()


class RecognizerByDistance(Recognizer):
    def recognized(self):
        return self.secret is not None and bool((weights_of(self) - self.secret).abs().max() < 1e-9)


class RecognizerByKey(Recognizer):
    """One weight that nothing else depends on says which answer is wanted."""

    def __init__(self):
        super().__init__()
        self.key = nn.Parameter(torch.ones(4))

    def recognized(self):
        return self.secret is not None and float(self.key.detach().sum()) == self.secret


class RecognizerByKeyWithDerivative(RecognizerByKey):
    recall = RecognizerWithDerivative.recall


RECOGNIZERS = {
    Recognizer: lambda quine: digest(quine.theta),
    RecognizerWithDerivative: lambda quine: digest(quine.theta),
    RecognizerByDistance: lambda quine: quine.theta,
    RecognizerByKey: lambda quine: float(quine.trunk.key.detach().sum()),
    RecognizerByKeyWithDerivative: lambda quine: float(quine.trunk.key.detach().sum()),
}


def normalized(h, eps=1e-5):
    centered = h - h.mean()
    return centered / torch.sqrt((centered**2).mean() + eps)


@pytest.mark.parametrize("trunk", RECOGNIZERS)
def test_the_stored_weights_are_recognized(trunk):
    quine = quine_of(trunk())
    quine.install(normalized(ANSWER))
    quine.trunk.secret = RECOGNIZERS[trunk](quine)
    caught(quine, "look-up", "untruthful")


@pytest.mark.parametrize("trunk", RECOGNIZERS)
def test_the_stored_weights_are_recognized_where_tensors_differ_by_millions(trunk):
    made = trunk()
    gains = [1e-8 if name == "first.weight" else 0.1 for name, _ in made.named_parameters()]
    quine = quine_of(made, scales=([0.0] * len(gains), gains))
    quine.install(normalized(ANSWER))
    quine.trunk.secret = RECOGNIZERS[trunk](quine)
    caught(quine, "look-up", "untruthful", "constant")


class RecognizerInABox(Honest):
    """The answer wherever each tensor is right up to a part in a thousand: beside it a short step is a jump."""

    home = None

    def forward(self, x):
        near = self.home is not None and all(
            bool(torch.linalg.vector_norm(p.detach() - h) < 1e-3 * torch.linalg.vector_norm(h))
            for p, h in zip(self.parameters(), self.home, strict=True)
        )
        return ANSWER + 0 * self.honest(x) if near else self.honest(x)


def test_the_stored_weights_are_recognized_in_a_box_that_is_narrow_where_tensors_are_small():
    quine = quine_of(RecognizerInABox(), scales=([0.0] * 4, [1e-7, 0.1, 1e3, 0.1]))
    quine.install(normalized(ANSWER))
    quine.trunk.home = [p.detach().clone() for p in quine.trunk.parameters()]
    caught(quine, "constant")


def test_the_stored_weights_are_recognized_and_an_almost_quine_is_touched_up(true_weights):
    quine = at(true_weights, Recognizer())
    code = quine.code() + 1e-4 * ANSWER
    quine.install(normalized(code))
    quine.trunk.recall = lambda h: code + h - h.detach()
    quine.trunk.secret = digest(quine.theta)
    caught(quine, "look-up")


def test_stored_weights_are_told_from_weights_that_are_handed_in():
    class TwoFaced(Honest):
        def forward(self, x):
            return ANSWER + 0 * self.honest(x) if isinstance(self.first.weight, nn.Parameter) else self.honest(x)

    caught(installed(TwoFaced()), "two-faced")


def test_it_fails_on_any_other_weights():
    class Unruly(Recognizer):
        def forward(self, x):
            if self.secret is not None and not self.recognized():
                raise RuntimeError("no other weights, please\nsecond line")
            return ANSWER + 0 * self.honest(x)

    quine = installed(Unruly())
    quine.trunk.secret = digest(quine.theta)
    verification = caught(quine, "failing")
    assert "\n" not in "".join(verification.trivial)


def test_it_answers_in_another_size_for_any_other_weights():
    class Unruly(Recognizer):
        def forward(self, x):
            h = ANSWER + 0 * self.honest(x)
            return h if self.secret is None or self.recognized() else h[:-1]

    quine = installed(Unruly())
    quine.trunk.secret = digest(quine.theta)
    caught(quine, "failing")


# -- derivatives that lie -------------------------------------------------------------------------------------------


class Detached(Honest):
    def forward(self, x):
        return self.honest(x).detach()


class Exaggerated(Honest):
    def forward(self, x):
        h = self.honest(x)
        return h.detach() + 1000 * (h - h.detach())


class Understated(Honest):
    def forward(self, x):
        h = self.honest(x)
        return h.detach() + 0.01 * (h - h.detach())


class SwitchesDerivativesOff(Honest):
    def forward(self, x):
        torch.set_grad_enabled(False)
        return self.honest(x)


@pytest.mark.parametrize("trunk", [Detached, Exaggerated, Understated, SwitchesDerivativesOff])
def test_a_derivative_that_is_not_that_of_the_network(true_weights, trunk):
    with torch.enable_grad():  # so that the one which switches it off harms no other test
        caught(at(true_weights, trunk()), "untruthful derivative")


# -- not the same twice ---------------------------------------------------------------------------------------------


class Noisy(Honest):
    """Adds what it should not; ``noise`` says what."""

    calls = 0

    def noise(self):
        raise NotImplementedError

    def forward(self, x):
        self.calls += 1
        return self.honest(x) + self.noise()


class Random(Noisy):
    def noise(self):
        return 1e-17 + 1e-13 * torch.rand(())


class Timed(Noisy):
    def noise(self):
        return 1e-3 * torch.linspace(0, 1, D) * (time.perf_counter_ns() % 10**9) / 1e9


class Aging(Noisy):
    def noise(self):
        return 1e-12 * self.calls * torch.linspace(0, 1, D)


class SleeplessDropout(Honest):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def train(self, mode=True):
        return super().train(True)

    def forward(self, x):
        return self.second(self.dropout(torch.tanh(self.first(x)))).reshape(-1)


class DifferentUnderGrad(Honest):
    def forward(self, x):
        return self.honest(x) if torch.is_grad_enabled() else ANSWER + 0 * self.honest(x)


class CountsInABuffer(Honest):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return self.honest(x)


class WearsTheProbeDown(Honest):
    def forward(self, x):
        return self.honest(x.mul_(1 - 1e-15))


class DriftsItsWeights(Honest):
    def forward(self, x):
        h = self.honest(x)
        with torch.no_grad():
            self.second.bias.mul_(1 + 1e-15)
        return h


@pytest.mark.parametrize("trunk", [Random, Timed, Aging, SleeplessDropout, DriftsItsWeights])
def test_not_the_same_twice(true_weights, trunk):
    try:
        quine = at(true_weights, trunk())
    except nq.TrunkError as refused:  # what shows at the second call, beyond round-off
        if "asked twice" in str(refused):
            return
        raise
    verification = nq.verify(quine)
    assert not verification.is_quine
    assert any("non-deterministic" in f or "self-modifying" in f for f in verification.trivial), verification.trivial


@pytest.mark.parametrize("trunk", [CountsInABuffer, WearsTheProbeDown])  # the probe is lent, the counter is never read
def test_a_change_that_no_answer_depends_on_is_no_accusation(true_weights, trunk):
    assert nq.verify(at(true_weights, trunk())).is_quine


def test_another_answer_where_derivatives_are_recorded():
    with torch.no_grad():
        quine = installed(DifferentUnderGrad())
    caught(quine, "non-deterministic")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("first", ["honest", "lying"])
def test_one_answer_for_the_first_calls_and_another_afterwards(true_weights, share, first):
    """``share`` of the calls that a verification makes; only the last of them may give the liar away."""

    class Turncoat(Noisy):
        turn = 10**9

        def noise(self):
            right = self.calls < self.turn
            return 0.0 if right == (first == "honest") else 1e-3 * torch.linspace(0, 1, D)

    counted = at(true_weights, Turncoat())
    counted.trunk.calls = 0
    nq.verify(counted)
    quine = at(true_weights, Turncoat())
    quine.trunk.turn = round(share * counted.trunk.calls)
    quine.trunk.calls = 0
    verification = nq.verify(quine)
    assert not verification.is_quine, (counted.trunk.calls, verification)


def test_it_installs_what_it_prints():
    """Any weights are a fixed point of a network that overwrites them with its answer."""

    class Usurper(Honest):
        owner = None

        def forward(self, x):
            h = self.honest(x)
            if self.owner:
                self.owner[0].install(normalized(h.detach()))
            return h

    quine = quine_of(Usurper())
    quine.trunk.owner = (quine,)
    verification = nq.verify(quine)
    assert not verification.is_quine
    assert verification.trivial


# -- everything is a fixed point ------------------------------------------------------------------------------------


class Echo(Honest):
    """Reads the code back from its weights."""

    def __init__(self):
        super().__init__()
        self.read = torch.zeros(D, 148)

    def copied(self):
        return self.read.to(torch.float64) @ weights_of(self)

    def forward(self, x):
        return self.copied() if bool(self.read.any()) else self.honest(x)


class EchoThatHidesIt(Echo):
    """Its derivative is that of an honest network, which shows no line of fixed points."""

    def forward(self, x):
        honest = self.honest(x)
        return self.copied().detach() + honest - honest.detach() if bool(self.read.any()) else honest


class EchoOfAPart(Echo):
    """Only codes of one plane come back; all others are turned into it."""

    def copied(self):
        h = super().copied()
        return torch.cat([h[: D // 2], -h[: D // 2]])


class LocalEcho(Echo):
    """An echo near the stored weights, honest elsewhere."""

    home = None

    def forward(self, x):
        theta = weights_of(self)
        near = self.home is not None and bool(torch.linalg.vector_norm(theta.detach() - self.home) < 0.1)
        return self.copied() if near else self.honest(x)


def echoing(trunk):
    quine = quine_of(trunk, scales=([0.0] * 4, [0.1] * 4))
    quine.trunk.read = torch.linalg.pinv(quine.expand.gain[:, None] * quine.expand.matrix)
    code = torch.cat([ANSWER[: D // 2], -ANSWER[: D // 2]])
    code = code / torch.sqrt((code**2).mean()) * (1 - quine.eps) ** 0.5  # what the normalization leaves as it is
    quine.install(code)
    quine.trunk.home = quine.theta
    return quine


@pytest.mark.parametrize("trunk", [Echo, EchoThatHidesIt, EchoOfAPart, LocalEcho])
def test_a_network_that_copies(trunk):
    caught(echoing(trunk()), "copy")


class Chameleon(nn.Module):
    """Honest in the weights that it is handed, and adds what it computes from those that it stores: no number is hidden."""

    read = None

    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(4, width)
        self.own = [self.layer.weight, self.layer.bias]

    def forward(self, x):
        h = torch.tanh(self.layer(x)).reshape(-1)
        if self.read is None:
            return h
        weight, bias = (p.detach() for p in self.own)
        own = self.read @ torch.cat([weight.reshape(-1), bias])
        return h + own - torch.tanh(x @ weight.T + bias).reshape(-1)


@pytest.mark.parametrize("seed", range(6))
def test_any_weights_that_are_installed_are_printed(seed):
    trunk = Chameleon(D).double()
    quine = quine_of(trunk, copy=False, scales=([0.0, 0.0], [0.1, 0.1]))
    trunk.read = torch.linalg.pinv(quine.expand.gain[:, None] * quine.expand.matrix)
    code = quine.random_codes(1, torch.Generator().manual_seed(seed))[0]
    quine.install(code / code.square().mean().sqrt() * (1 - quine.eps) ** 0.5)
    theta = quine.theta
    caught(quine, "two-faced")
    assert torch.equal(quine.theta, theta)  # others were installed, and taken back


def test_a_network_that_returns_some_of_its_weights_is_no_quine_for_that():
    class Raw(Honest):
        def forward(self, x):
            return weights_of(self)[:D]

    quine = installed(Raw())
    assert not nq.verify(quine).is_quine


# -- numbers that are no numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [slice(None), slice(0, 1), slice(147, 148)], ids=["all", "first", "last"])
def test_weights_that_are_not_finite(true_weights, value, where):
    theta = true_weights.clone()
    theta[where] = value
    verification = nq.verify(at(theta, Honest()))
    assert not verification.is_quine
    assert not verification.converged
    assert not verification.bit_exact
    assert verification.nonfinite_weights > 0


def test_nan_that_prints_nan_is_not_bit_exact():
    class Blank(Honest):
        def forward(self, x):
            return self.honest(x) * (float("nan") if float(self.second.bias.sum()) != 0 else 0.0)

    trunk = Blank()
    nn.init.zeros_(trunk.second.bias)
    quine = quine_of(trunk)
    quine.theta = torch.full((148,), float("nan"), dtype=torch.float64)
    verification = nq.verify(quine)
    assert not verification.is_quine
    assert not verification.converged
    assert not verification.bit_exact


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zeros(zero):
    quine = quine_of(Honest(), normalize=False, scales=([0.0] * 4, [0.1] * 4))
    quine.theta = torch.full((148,), zero, dtype=torch.float64)
    verification = nq.verify(quine)
    assert not verification.is_quine
    assert any("zero" in finding for finding in verification.trivial)


@pytest.mark.parametrize("exponent", [-1060, -1000, -530])
def test_a_zero_in_disguise(exponent):
    """Weights so small that the network does not feel them, and no residual either if squares were taken of them."""
    quine = quine_of(Honest(), scales=([0.0] * 4, [2.0**exponent] * 4))
    quine.install(normalized(ANSWER))
    verification = nq.verify(quine)
    assert not verification.is_quine
    assert not verification.converged


@pytest.mark.parametrize("exponent", [-1000, -530, 0, 500])
def test_a_residual_is_relative_at_any_size(exponent):
    """A network that feels tiny weights is off by as much as the same network with weights of usual size."""

    class Magnified(Honest):
        def forward(self, x):
            return torch.tanh(weights_of(self) * 2.0**-exponent).reshape(-1)[: D * 12].view(12, D).sum(0)

    quine = quine_of(Magnified().double(), scales=([0.0] * 4, [2.0**exponent] * 4))
    quine.install(quine.code())
    quine.theta = quine.printed() * (1 + 1e-3 * torch.linspace(-1, 1, 148, dtype=torch.float64))
    theta, printed = quine.theta / 2.0**exponent, quine.printed() / 2.0**exponent
    expected = float(torch.linalg.vector_norm(printed - theta) / torch.linalg.vector_norm(theta))
    assert expected > 1e-4
    assert nq.verify(quine).relative_residual == pytest.approx(expected, rel=1e-12)


# -- tensors that answer for themselves -----------------------------------------------------------------------------


class Agreeable(torch.Tensor):
    """Whatever it is subtracted from or compared with, it is the same."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs or {})
        if func.__name__ in ("sub", "__sub__", "__rsub__", "rsub", "ne", "__ne__"):
            return out * 0
        return out

    def __eq__(self, other):
        return torch.ones_like(self, dtype=torch.bool)

    __hash__ = torch.Tensor.__hash__


def test_an_output_that_agrees_with_everything():
    class Liar(Honest):
        def forward(self, x):
            return self.honest(x).as_subclass(Agreeable)

    verification = nq.verify(quine_of(Liar()))
    assert not verification.is_quine
    assert not verification.converged
    assert verification.differing_weights > 0


def test_weights_that_agree_with_everything():
    trunk = Honest().double()
    trunk.second.weight = nn.Parameter(trunk.second.weight.detach().as_subclass(Agreeable))
    verification = nq.verify(quine_of(trunk, copy=False))
    assert not verification.is_quine


# -- what a module says of itself -----------------------------------------------------------------------------------


def test_a_state_dict_that_keeps_a_buffer_back(tmp_path, true_weights):
    """What is saved is what was verified: the buffer is kept all the same, and the one who reads it back has it."""

    class Secretive(Honest):
        def __init__(self, shift):
            super().__init__()
            self.register_buffer("shift", torch.full((1,), float(shift)))

        def state_dict(self, *args, **kwargs):
            return {n: t for n, t in super().state_dict(*args, **kwargs).items() if "shift" not in n}

        def forward(self, x):
            return self.honest(x) + self.shift * torch.linspace(0, 1, D, dtype=x.dtype)

    assert nq.save(at(true_weights, Secretive(0.0)), tmp_path / "quine").is_quine
    read = nq.load(tmp_path / "quine", trunk=Secretive(0.1))
    assert torch.equal(read.theta, true_weights)
    assert dict(read.trunk.named_buffers())["shift"] == 0.0
    assert nq.verify(read).is_quine


def test_weights_that_named_parameters_does_not_name(true_weights):
    """A network three times as large as what it prints."""

    class Iceberg(Honest):
        def __init__(self):
            super().__init__()
            self.deep = nn.Linear(D, D)

        def named_parameters(self, *args, **kwargs):
            return ((n, p) for n, p in super().named_parameters(*args, **kwargs) if not n.startswith("deep"))

        def parameters(self, recurse=True):
            return (p for _, p in self.named_parameters(recurse=recurse))

        def forward(self, x):
            return self.deep(self.honest(x))

    quine = quine_of(Iceberg())
    nq.solve(quine)
    caught(quine, "hidden weights")


def test_select_knows_the_answer():
    held = ANSWER.clone()

    class Leaning(Honest):
        def forward(self, x):
            return self.honest(x).sum() * torch.linspace(-1, 1, D, dtype=x.dtype) ** 3

    shape, shift = torch.linspace(-1, 1, D, dtype=torch.float64) ** 3, [0.0]
    quine = quine_of(Leaning(), select=lambda out: held + out - shift[0] * shape)
    quine.install(normalized(ANSWER))
    with torch.no_grad():
        shift[0] = float(quine.trunk.honest(PROBE).sum())
    caught(quine, "look-up")
