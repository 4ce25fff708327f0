"""The quine itself: the post's formula, weights in and out, any module, any probe, and refusals with a remedy."""

import copy
import re

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.networks.normalize import instance_norm


def mlp(inputs=4, outputs=16, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16, **options), nn.Tanh(), nn.Linear(16, outputs, **options))


class Named(nn.Module):
    """A trunk whose forward is given."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self._answer = forward

    def forward(self, *args, **kwargs):
        return self._answer(self, *args, **kwargs)


def perturbed(quine):
    noise = torch.randn(quine.parameter_count, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return quine.theta + 0.1 * noise.to(quine.dtype)


def assert_consistent(quine):
    """Every way of printing agrees, and what is printed depends on theta, wherever theta comes from."""
    theta = quine.theta
    assert torch.equal(quine.self_map(theta), quine.printed())
    assert torch.equal(quine().detach(), quine.printed())
    other = perturbed(quine)
    expected = quine.self_map(other)
    assert torch.equal(quine.theta, theta)
    assert not torch.equal(expected, quine.printed())
    quine.theta = other
    assert torch.equal(quine.printed(), expected)
    assert quine.printed().shape == (quine.parameter_count,)


# -- the map ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7])
def test_blog_is_the_posts_formula(seed):
    quine = nq.recipe("blog", seed=seed)
    theta, z = quine.theta, quine.inputs[0]
    norm = nn.InstanceNorm1d(1, affine=False)
    layers, start = [], 0
    for n in (8, 20, 20):
        layers.append((theta[start : start + 20 * n].view(20, n), theta[start + 20 * n : start + 20 * n + 20]))
        start += 20 * n + 20
    assert start == len(theta) == 1020
    h = z
    for weight, bias in layers:
        h = norm(torch.tanh(h @ weight.T + bias)[None])[0]
    projection = quine.expand.matrix.T / 20
    assert torch.allclose(0.25 * (h @ projection)[0], quine.printed(), rtol=0, atol=1e-14)
    assert abs(float((20 * projection).var()) - 1) < 0.05


def test_part_1_is_the_same_without_normalization():
    quine = nq.recipe("blog-part1", seed=0)
    h = quine.inputs[0]
    for layer in (0, 3, 6):
        h = torch.tanh(quine.trunk[layer](h))
    expected = 0.25 * (h @ quine.expand.matrix.T / 20)[0]
    assert torch.allclose(expected.detach(), quine.printed(), rtol=0, atol=1e-15)
    assert torch.equal(quine.theta, nq.recipe("blog", seed=0).theta)


def test_seeds_are_independent_of_the_global_random_state():
    torch.manual_seed(1)
    first = nq.recipe("blog", seed=3)
    torch.manual_seed(2)
    assert torch.equal(nq.recipe("blog", seed=3).printed(), first.printed())
    assert not torch.equal(nq.recipe("blog", seed=4).printed(), first.printed())


def test_the_readout_has_rank_of_the_code():
    quine = nq.Quine(mlp(outputs=50), torch.ones(1, 4), code_size=6)
    assert quine.real_code(quine.theta).shape == (6,)
    assert_consistent(quine)
    codes = torch.stack([quine.real_code(perturbed(quine) * k) for k in range(1, 20)])
    assert torch.linalg.matrix_rank(codes) == 5  # normalization takes one


def test_code_bits_round_the_code(small):
    smooth = small.code(small.theta)
    small.code_bits = 3
    rounded = small.code(small.theta)
    assert torch.equal(rounded, torch.round(8 * smooth) / 8)
    assert not torch.equal(rounded, smooth)
    assert torch.equal(small.real_code(small.theta), smooth)
    half = torch.tensor([0.0625, 0.1875, -0.0625], dtype=torch.float64)
    assert small.quantize(half).tolist() == [0.0, 0.25, 0.0]  # ties to even


def test_forward_is_differentiable_in_the_stored_weights(small):
    small().square().sum().backward()
    grads = torch.cat([p.grad.reshape(-1) for p in small.trunk.parameters()])
    leaf = small.theta.requires_grad_(True)
    (expected,) = torch.autograd.grad(small.self_map(leaf).square().sum(), leaf)
    assert torch.allclose(grads, expected, rtol=1e-12, atol=1e-15)
    assert float(grads.norm()) > 1e-6


# -- weights ----------------------------------------------------------------------------------------------------------


def test_theta_is_a_copy_in_the_order_of_named_parameters(small):
    theta = small.theta
    start = 0
    for name, p in small.trunk.named_parameters():
        piece = theta[start : start + p.numel()]
        assert torch.equal(piece.view(p.shape), p.detach())
        assert torch.equal(small.tensors(theta)[name], p.detach())
        start += p.numel()
    assert start == len(theta) == small.parameter_count == 352
    theta.zero_()
    assert float(small.theta.abs().max()) > 0


def test_theta_can_be_set_and_the_given_trunk_is_left_alone():
    trunk = mlp()
    before = copy.deepcopy(trunk.state_dict())
    quine = nq.Quine(trunk, torch.ones(1, 4), code_size=16)
    target = torch.arange(352, dtype=torch.float64)
    quine.theta = target
    assert torch.equal(quine.theta, target)
    target.zero_()
    assert float(quine.theta[-1]) == 351.0
    assert all(torch.equal(before[name], value) for name, value in trunk.state_dict().items())
    assert trunk.training
    with pytest.raises(ValueError, match=r"theta must have shape \(352,\), not \(351,\)"):
        quine.theta = torch.zeros(351)


def test_a_module_that_is_used_twice_keeps_its_weights_and_solves(tmp_path):
    torch.manual_seed(0)
    shared = nn.Linear(12, 12)
    trunk = nn.Sequential(shared, nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), shared)
    quine = nq.Quine(trunk, torch.randn(1, 12), code_size=8, seed=0)
    theta = quine.theta
    assert theta.numel() == 2 * (12 * 12 + 12)
    torch.func.vmap(quine.code)(theta.expand(2, -1))
    assert torch.equal(quine.theta, theta)
    assert torch.equal(quine.code(theta), quine.code())
    assert nq.solve(quine).converged
    nq.save(quine, tmp_path / "q")
    with pytest.raises(nq.QuineFileError, match="trunk="):
        nq.load(tmp_path / "q")
    assert nq.verify(nq.load(tmp_path / "q", trunk=trunk)).is_quine


def test_tied_weights_count_once_and_stay_tied():
    trunk = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
    trunk[2].weight = trunk[0].weight
    quine = nq.Quine(trunk, torch.ones(1, 16), code_size=16)
    assert quine.parameter_count == 16 * 16 + 32
    assert_consistent(quine)
    assert quine.trunk[2].weight is quine.trunk[0].weight
    nq.solve(quine)
    h = torch.tanh(quine.trunk[0](quine.inputs[0]))
    code = instance_norm((h @ quine.trunk[0].weight.T + quine.trunk[2].bias)[0], 1e-5).detach()
    assert torch.allclose(quine.expand(code), quine.theta, rtol=0, atol=1e-13)


def test_scalar_parameters_and_odd_names():
    trunk = Named(lambda m, x: m.scale * getattr(m, "forward pass")(x), scale=nn.Parameter(torch.tensor(1.5)))
    trunk.add_module("forward pass", nn.Linear(4, 16))
    trunk.register_parameter("weights", nn.Parameter(torch.ones(1)))
    quine = nq.Quine(trunk, torch.ones(1, 4), code_size=16, normalize=False)
    assert list(quine.tensors(quine.theta)) == ["scale", "weights", "forward pass.weight", "forward pass.bias"]
    assert quine.tensors(quine.theta)["scale"].shape == ()
    assert quine.parameter_count == 82
    assert_consistent(quine)


# -- probes and outputs -----------------------------------------------------------------------------------------------


def test_a_tuple_and_a_mapping_of_inputs():
    x, y = torch.randn(1, 4, generator=torch.Generator().manual_seed(0)), torch.ones(1, 4)
    trunk = Named(lambda m, left, right: m.net(left - 2 * right), net=mlp())
    by_place = nq.Quine(trunk, (x, y), code_size=16)
    by_name = nq.Quine(trunk, {"right": y, "left": x}, code_size=16)
    swapped = nq.Quine(trunk, {"right": x, "left": y}, code_size=16)
    assert torch.equal(by_place.printed(), by_name.printed())
    assert not torch.equal(by_place.printed(), swapped.printed())
    assert_consistent(by_name)


def test_integer_tokens_stay_integers():
    trunk = nn.Sequential(nn.Embedding(10, 8), nn.Flatten(), nn.Linear(24, 16))
    probe = torch.tensor([[1, 7, 3]])
    quine = nq.Quine(trunk, probe, code_size=16)
    assert quine.inputs[0].dtype == torch.int64
    assert quine.dtype == torch.float64
    assert_consistent(quine)
    assert nq.solve(quine).converged


def test_the_probe_is_copied():
    probe = torch.ones(1, 4)
    quine = nq.Quine(mlp(), probe, code_size=16)
    before = quine.printed()
    probe.zero_()
    assert torch.equal(quine.printed(), before)


def outputs(m, x):
    a, b = m.net(x), m.net(2 * x)
    return {"a": a, "b": [b, (a, b)]}


@pytest.mark.parametrize(
    ("select", "which"),
    [(None, 1), ("a", 1), ("b", 2), (lambda out: out["b"][1][0], 1), (lambda out: out["b"], 2)],
    ids=["first", "key", "list", "callable", "callable giving a list"],
)
def test_select_reads_a_part_of_the_output(select, which):
    quine = nq.Quine(Named(outputs, net=mlp()), torch.ones(1, 4), code_size=16, select=select)
    expected = quine.trunk.net(which * quine.inputs[0]).detach()
    assert torch.equal(quine.features(quine.theta), expected.flatten())


def test_a_score_and_indices_before_the_features_are_passed_over():
    answers = Named(lambda m, x: {"loss": m.net(x).mean(), "ids": torch.arange(3), "features": m.net(x)}, net=mlp())
    quine = nq.Quine(answers, torch.ones(1, 4), code_size=16)
    assert torch.equal(quine.features(), quine.trunk.net(quine.inputs[0]).detach().flatten())


def test_select_by_index_and_attribute():
    lstm = nn.LSTM(3, 5, batch_first=True)
    probe = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    states = nq.Quine(lstm, probe, code_size=5, select=1)  # (h, c): its first tensor
    everything = nq.Quine(lstm, probe, code_size=20)
    assert torch.allclose(states.features(states.theta), everything.features(everything.theta)[-5:])
    pair = Named(lambda m, x: m.net(x).max(-1, keepdim=True), net=mlp())
    values = nq.Quine(pair, torch.ones(3, 4), code_size=3, select="values")
    assert torch.equal(values.features(values.theta), pair.net.double()(torch.ones(3, 4).double()).max(-1)[0].detach())


# -- kinds of modules -------------------------------------------------------------------------------------------------

MODULES = {
    "lstm": (lambda: nn.LSTM(3, 6), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))),
    "gru": (lambda: nn.GRU(3, 6, num_layers=2), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))),
    "cnn": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 16)),
        torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
    ),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True),
        torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0)),
    ),
    "batchnorm": (
        lambda: nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.Tanh(), nn.Linear(16, 16)),
        torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_kind_of_module_prints_from_the_weights_it_is_given(name):
    make, probe = MODULES[name]
    torch.manual_seed(0)
    quine = nq.Quine(make(), probe, code_size=16)
    assert not any(m.training for m in quine.trunk.modules())
    assert_consistent(quine)


def test_setting_theta_of_an_lstm_changes_the_module_itself():
    torch.manual_seed(0)
    quine = nq.Quine(nn.LSTM(3, 6), MODULES["lstm"][1], code_size=16)
    before = quine.trunk(quine.inputs[0])[0].detach()
    quine.self_map(perturbed(quine))  # leaves nothing behind
    assert torch.equal(quine.trunk(quine.inputs[0])[0].detach(), before)
    quine.theta = torch.zeros(quine.parameter_count)
    assert float(quine.trunk(quine.inputs[0])[0].detach().abs().max()) == 0.0
    assert all(a is b for a, b in zip(quine.trunk._flat_weights, quine.trunk.parameters(), strict=True))


def test_types():
    double = nq.Quine(mlp(), torch.ones(1, 4))
    single = nq.Quine(mlp(), torch.ones(1, 4), dtype=torch.float32)
    assert double.theta.dtype == double.printed().dtype == double.inputs[0].dtype == torch.float64
    assert single.theta.dtype == single.printed().dtype == single.inputs[0].dtype == torch.float32
    assert torch.allclose(single.printed().double(), double.printed(), atol=1e-5)
    assert_consistent(single)


def test_a_trunk_that_refuses_float64_keeps_its_own_type():
    def forward(m, x):
        if x.dtype == torch.float64:
            raise RuntimeError("only single precision here")
        return m.net(x)

    quine = nq.Quine(Named(forward, net=mlp()), torch.ones(1, 4))
    assert quine.dtype == torch.float32
    with pytest.raises(nq.TrunkError, match="the trunk fails on the probe: only single precision here"):
        nq.Quine(Named(forward, net=mlp()), torch.ones(1, 4), dtype=torch.float64)


def test_repr_names_the_size(small):
    assert "parameters=352, code_size=16, seed=0, dtype=torch.float64" in repr(small)


# -- refusals ---------------------------------------------------------------------------------------------------------


def broken(m, x):
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nand more lines")


def refused(trunk=None, probe=None, **options):
    return lambda: nq.Quine(trunk or mlp(), torch.ones(1, 4) if probe is None else probe, **options)


def with_nan():
    trunk = mlp()
    trunk[0].weight.data[0, 0] = float("nan")
    return trunk


REFUSALS = {
    "no module": (refused(lambda x: x), "the trunk must be an nn.Module, not function"),
    "no weights": (refused(nn.Tanh()), "the trunk has no weights: there is nothing to print"),
    "empty weights": (refused(Named(broken, a=nn.Parameter(torch.zeros(0)))), "the trunk has no weights"),
    "lazy": (refused(nn.LazyLinear(3)), "lazy parameters: run it once on the probe before"),
    "complex": (refused(nn.Linear(4, 4, dtype=torch.complex64)), "not real floating-point numbers"),
    "fails": (refused(Named(broken, net=mlp())), "fails on the probe: mat1 and mat2 shapes cannot be multiplied"),
    "wrong shape": (refused(probe=torch.ones(1, 5)), "the trunk fails on the probe: mat1 and mat2"),
    "NaN weights": (refused(with_nan()), "the trunk gives NaN or infinity on the probe"),
    "NaN probe": (refused(probe=torch.full((1, 4), float("nan"))), "the trunk gives NaN or infinity on the probe"),
    "no tensor": (refused(Named(lambda m, x: "hello", net=mlp())), r"\(str\) holds no tensor: choose one with select="),
    "integers": (
        refused(Named(lambda m, x: m.net(x).argmax(-1), net=mlp())),
        "torch.int64, not floating point: choose another with select=",
    ),
    "key": (refused(Named(outputs, net=mlp()), select="c"), "select='c' finds nothing in the trunk's output"),
    "index": (refused(nn.LSTM(4, 16), select=2), r"select=2 finds nothing in the trunk's output \(tuple\)"),
    "probe of text": (refused(probe="hello"), "probe must be a tensor, a tuple of tensors, or a mapping"),
    "probe of numbers": (refused(probe=[1.0, 2.0]), "probe must be a tensor, a tuple of tensors, or a mapping"),
    "probe of nothing": (refused(probe=3), "probe must be a tensor, a tuple of tensors, or a mapping"),
    "code size": (refused(code_size=0), "code_size must be at least 1, not 0"),
    "seed": (refused(seed=-1), r"seed must be from 0 to 2\*\*64 - 1, not -1"),
    "eps": (refused(eps=-1.0), "eps must be a finite number of at least 0"),
    "eps NaN": (refused(eps=float("nan")), "eps must be a finite number of at least 0"),
    "alpha": (refused(alpha=float("inf")), "alpha must be finite"),
    "bits": (refused(code_bits=61), "code_bits must be from 0 to 60, not 61"),
    "scales": (refused(scales=([0.0], [1.0])), "scales must hold one mean and one gain for each of the 4 tensors"),
}


OPTIONS = {"code size", "seed", "eps", "eps NaN", "alpha", "bits"}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_say_what_is_wrong_in_one_line(name):
    make, message = REFUSALS[name]
    expected = nq.BadOption if name in OPTIONS else nq.TrunkError
    with pytest.raises(expected, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_weights_handed_over_print_the_bits_of_weights_that_are_stored(kind):
    # Kernels add up in another order where a tensor does not start on a cache line.
    torch.manual_seed(0)
    quine = nq.Quine(kind(3, 7, num_layers=2), torch.randn(5, 1, 3), code_size=6, seed=1, select=0)
    for seed in range(5):
        torch.manual_seed(seed)
        quine.theta = theta = quine.theta + 0.3 * torch.randn(quine.parameter_count, dtype=torch.float64)
        assert torch.equal(quine.self_map(theta), quine.printed())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_dense_expansion_prints_narrow_types_too(dtype):
    quine = nq.Quine(mlp(), torch.randn(1, 4), code_size=16, dtype=dtype)
    assert quine.dtype == quine.theta.dtype == quine.printed().dtype == dtype
    assert quine.code_dtype == torch.float32  # summed in it, rounded once
    assert torch.equal(quine.self_map(quine.theta), quine.printed())
    reference = nq.Quine(mlp(), quine.inputs[0].double(), code_size=16)
    gap = quine.printed().double() - reference.self_map(quine.theta.double())
    assert float(gap.abs().max()) < 20 * torch.finfo(dtype).eps


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 8)

    def forward(self, x):
        y = torch.tanh(self.linear(x))
        return y.mul_(y.detach() + 1)  # tanh needs what it gave for its derivative


def test_a_module_without_derivatives_is_one_clear_line():
    quine = nq.Quine(InPlace(), torch.ones(1, 4), code_size=8)
    with pytest.raises(nq.TrunkError, match="the trunk cannot be differentiated: one of the variables needed"):
        nq.solve(quine, method="newton")


def test_a_wrapped_module_is_unwrapped_and_a_scripted_one_is_refused():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))
    quine = nq.Quine(nn.DataParallel(plain), torch.ones(1, 4), code_size=8)
    assert torch.equal(quine.theta, nq.Quine(plain, torch.ones(1, 4), code_size=8).theta)
    assert [n for n, _ in quine.named_weights()] == [n for n, _ in plain.named_parameters()]
    compiled = nq.Quine(torch.compile(plain), torch.ones(1, 4), code_size=8)
    assert [n for n, _ in compiled.named_weights()] == [n for n, _ in plain.named_parameters()]
    with pytest.raises(nq.TrunkError, match="scripted or traced"):
        nq.Quine(torch.jit.trace(plain, torch.ones(1, 4)), torch.ones(1, 4), code_size=8)


class Wordless(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.tanh()

    @staticmethod
    def backward(context, gradient):
        raise NotImplementedError


def test_a_failure_without_words_is_named_by_its_type():
    trunk = Named(lambda m, x: Wordless.apply(m.linear(x)))
    trunk.add_module("linear", nn.Linear(4, 8))
    with pytest.raises(nq.TrunkError, match="the trunk cannot be differentiated: NotImplementedError"):
        nq.solve(nq.Quine(trunk, torch.ones(1, 4), code_size=8), method="newton")


class Unsteady(nn.Module):
    """A module that answers otherwise at every call; ``how`` says why."""

    def __init__(self, how):
        super().__init__()
        self.layer, self.dropout, self.how, self.calls = nn.Linear(4, 20), nn.Dropout(0.5), how, 0
        self.register_buffer("count", torch.ones(1))

    def train(self, mode=True):
        super().train(mode)
        self.dropout.train(mode or self.how == "dropout")
        return self

    def forward(self, x):
        self.calls += 1
        if self.how == "buffer":
            self.count += 1
        noise = {"noise": lambda: torch.randn(20), "calls": lambda: self.calls, "buffer": lambda: self.count}
        return self.dropout(self.layer(x)) + noise.get(self.how, lambda: 0)()


class Noisy(nn.Module):
    """A part that draws where nothing is given to it."""

    def forward(self, x, noise=None):
        return x + (torch.rand_like(x) if noise is None else noise)


class Masked(nn.Module):
    """A module with such a part, which hands a noise on to it."""

    def __init__(self):
        super().__init__()
        self.first, self.parts = nn.Linear(4, 8), nn.ModuleList([nn.Tanh(), Noisy()])

    def forward(self, x, noise=None):
        return self.parts[1](self.parts[0](self.first(x)), noise)


def test_a_module_that_draws_is_told_where_and_the_input_that_may_take_the_place_of_it():
    said = "it draws random numbers in 'parts.1'; perhaps its input 'noise' takes their place"
    with pytest.raises(nq.TrunkError, match=re.escape(said)):
        nq.Quine(Masked(), torch.ones(1, 4), code_size=8)
    quine = nq.Quine(Masked(), {"x": torch.ones(1, 4), "noise": torch.ones(1, 8)}, code_size=8, skip=0.05, code_bits=8)
    assert nq.solve(quine, exact=True).bit_exact
    assert nq.verify(quine).is_quine


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("dropout", "dropout is active in 'dropout', although eval() was called"),
        ("noise", "it draws random numbers"),
        ("buffer", "it changes its buffer 'count'"),
        ("calls", "it remembers its calls"),
    ],
)
@pytest.mark.parametrize("dtype", [None, torch.float64, torch.float32])
def test_a_module_that_answers_otherwise_the_second_time_is_refused_with_the_cause(how, cause, dtype):
    with pytest.raises(nq.TrunkError, match=re.escape(f"answers otherwise when it is asked twice: {cause}")):
        nq.Quine(Unsteady(how), torch.randn(1, 4), dtype=dtype)
    assert nq.Quine(Unsteady("steady"), torch.randn(1, 4), dtype=dtype).printed().isfinite().all()
