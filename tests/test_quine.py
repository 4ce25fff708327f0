"""The map itself: the post's formula, any module and probe, and what a trunk may not be."""

import copy

import neuralquine as nq
import numpy as np
import pytest
import torch
from neuralquine.errors import TooLarge, TrunkError
from torch import nn


class PostNormalized(nn.Module):
    """The model of the post's part 2, line by line; only the projection is handed in."""

    def __init__(self, proj, alpha=0.25):
        super().__init__()
        self.alpha = alpha
        self.l1 = nn.Linear(8, 20)
        self.l2 = nn.Linear(20, 20)
        self.l3 = nn.Linear(20, 20)
        self.norm1 = nn.InstanceNorm1d(20, affine=False)
        self.norm2 = nn.InstanceNorm1d(20, affine=False)
        self.norm3 = nn.InstanceNorm1d(20, affine=False)
        self.register_buffer("proj", proj)
        self.activation = nn.Tanh()

    def forward(self, z):
        x = self.activation(self.l1(z))
        x = self.norm1(x.unsqueeze(0)).squeeze(0)
        x = self.activation(self.l2(x))
        x = self.norm2(x.unsqueeze(0)).squeeze(0)
        x = self.activation(self.l3(x))
        x = self.norm3(x.unsqueeze(0)).squeeze(0)
        return self.alpha * (x @ self.proj)


class PostPlain(PostNormalized):
    """Part 1's model, without normalization."""

    def forward(self, z):
        x = self.activation(self.l1(z))
        x = self.activation(self.l2(x))
        x = self.activation(self.l3(x))
        return self.alpha * (x @ self.proj)


def set_params(model, theta):
    """The post's function of that name."""
    idx = 0
    with torch.no_grad():
        for p in model.parameters():
            num = p.numel()
            p.copy_(theta[idx : idx + num].view_as(p))
            idx += num


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# torch remarks that the post's InstanceNorm1d(20) sees one channel; without affine weights it does not matter.
@pytest.mark.filterwarnings("ignore:input's size at dim=1")
@pytest.mark.parametrize(("name", "model"), [("blog", PostNormalized), ("blog-part1", PostPlain)])
def test_the_recipe_is_the_network_of_the_post(name, model):
    for seed, alpha in ((0, 0.25), (5, 0.7)):
        quine = nq.recipe(name, seed=seed, alpha=alpha)
        assert quine.parameter_count == 1020
        proj = quine.expand.matrix.mT / 20.0
        assert float(proj.std()) == pytest.approx(1 / 20, rel=0.02)  # torch.randn(20, P) / 20.0
        post = model(proj, alpha).double()
        (probe,) = quine.inputs
        assert probe.shape == (1, 8)
        for theta in (quine.theta, 0.1 * draw(1020, seed=seed)):
            set_params(post, theta)
            with torch.no_grad():
                expected = post(probe).view(-1)
            torch.testing.assert_close(quine.self_map(theta), expected, rtol=1e-12, atol=1e-14)


def test_zero_is_a_quine_of_both_parts_and_repels_in_part_2():
    zero = torch.zeros(1020, dtype=torch.float64)
    plain, normalized = nq.recipe("blog-part1"), nq.recipe("blog")
    assert torch.equal(plain.self_map(zero), zero)
    assert torch.equal(normalized.self_map(zero), zero)  # N(0) = 0
    assert nq.spectrum(plain, zero).spectral_radius < 1
    assert nq.spectrum(normalized, zero).spectral_radius > 10


def test_recipes_are_the_same_for_one_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first, second, other = nq.recipe("blog", seed=4), nq.recipe("blog", seed=4), nq.recipe("blog", seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.theta, second.theta)
    assert torch.equal(first.inputs[0], second.inputs[0])
    assert not torch.equal(first.theta, other.theta)
    assert not torch.equal(first.inputs[0], other.inputs[0])
    assert not torch.equal(first.expand.matrix, other.expand.matrix)


# -- any module, any probe --------------------------------------------------------------------------------------------


class Scalar(nn.Module):
    """A parameter without dimensions, one without elements and names that look like the quine's own."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(0.5))
        self.code = nn.Parameter(torch.randn(6, 3))
        self.empty = nn.Parameter(torch.zeros(0, 2))
        self.λ = nn.ParameterDict({"a b": torch.randn(6)})

    def forward(self, z):
        return torch.tanh(self.code @ z * self.theta + self.λ["a b"])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.embed(tokens).mean(0))


class Several(nn.Module):
    """Two inputs and a nest of outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 8), nn.Linear(2, 8)

    def forward(self, x, y):
        return {"hidden": (self.a(x),), "both": self.a(x) * self.b(y), "count": 3}


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.core = kind(3, 7, num_layers=2)

    def forward(self, x):
        return self.core(x)[0][-1]


TOKENS = torch.tensor([3, 1, 4, 1, 5])
TRUNKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 6)), draw(1, 4), {}),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten()), draw(1, 1, 5, 5), {}),
    "batch norm": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), draw(1, 4), {}),
    "lstm": (lambda: nn.LSTM(3, 7, batch_first=True), draw(1, 5, 3), {}),
    "lstm, cell state": (lambda: nn.LSTM(3, 7), draw(5, 1, 3), {"select": lambda out: out[1][1]}),
    "gru in a module": (lambda: Recurrent(nn.GRU), draw(5, 1, 3), {}),
    "bidirectional rnn": (lambda: nn.RNN(3, 4, bidirectional=True), draw(5, 1, 3), {"select": 1}),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), draw(1, 4, 8), {}),
    "scalar": (Scalar, draw(3), {}),
    "tied, on tokens": (Tied, TOKENS, {}),
    "tuple of inputs": (Several, (draw(3), draw(2, seed=1)), {"select": "both"}),
    "mapping of inputs": (Several, {"y": draw(2, seed=1), "x": draw(3)}, {"select": "hidden"}),
    "frozen": (lambda: nn.Sequential(nn.Linear(4, 6).requires_grad_(False), nn.Linear(6, 6)), draw(1, 4), {}),
}


@pytest.fixture(params=list(TRUNKS))
def quine(request):
    torch.manual_seed(0)
    make, probe, options = TRUNKS[request.param]
    return nq.Quine(make(), probe, code_size=6, seed=1, **options)


def test_the_map_of_the_stored_weights_is_what_the_network_prints(quine):
    theta = quine.theta
    assert theta.shape == (quine.parameter_count,)
    for weights in (theta, theta + 0.3 * draw(len(theta))):
        quine.theta = weights
        assert torch.equal(quine.theta, weights)
        assert torch.equal(quine.self_map(weights), quine.printed())
        torch.testing.assert_close(quine().detach(), quine.printed(), rtol=1e-14, atol=1e-15)
        assert torch.isfinite(quine.printed()).all()


def test_other_weights_print_something_else_and_do_not_stay(quine):
    # functional_call leaves its temporary weights in the private list that an LSTM computes from.
    theta, before = quine.theta, quine.printed()
    other = theta + 0.3 * draw(len(theta))
    printed = quine.self_map(other)
    assert not torch.equal(printed, before)
    assert torch.equal(quine.printed(), before)
    assert torch.equal(quine.theta, theta)
    quine.theta = other
    assert torch.equal(quine.printed(), printed)
    assert torch.equal(copy.deepcopy(quine).printed(), printed)


def test_the_trunk_alone_computes_what_the_quine_reads(quine):
    # Written out with the caller's own module: N(R trunk(z)), R only where the sizes differ.
    args = () if isinstance(quine.inputs, dict) else quine.inputs
    kwargs = quine.inputs if isinstance(quine.inputs, dict) else {}
    with torch.no_grad():
        output = quine.trunk(*args, **kwargs)
    if isinstance(output, dict):
        output = output[quine.select][0] if quine.select == "hidden" else output[quine.select]
    elif callable(quine.select):
        output = quine.select(output)
    elif isinstance(output, tuple):
        output = output[quine.select or 0]
    h = output.flatten()
    if len(h) != 6:
        h = quine._readout @ h
    expected = (h - h.mean()) / torch.sqrt(h.var(correction=0) + 1e-5)
    torch.testing.assert_close(quine.code(), expected, rtol=1e-10, atol=1e-12)


def test_weights_are_cut_in_the_order_of_named_parameters(quine):
    theta = draw(quine.parameter_count)
    quine.theta = theta
    tensors = quine.tensors(theta)
    named = dict(quine.trunk.named_parameters())
    assert list(tensors) == list(named)
    assert all(torch.equal(tensors[name], named[name]) for name in named)


def test_training_the_printed_weights_reaches_every_weight(small):
    quine = small
    quine().square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in quine.weights)


def test_a_shared_tensor_is_one_tensor():
    quine = nq.Quine(Tied(), TOKENS, code_size=6)
    assert quine.parameter_count == 66
    assert [name for name, _ in quine.named_weights()] == ["embed.weight"]
    quine.theta = draw(66)
    assert quine.trunk.head.weight is quine.trunk.embed.weight
    assert torch.equal(quine.trunk.head.weight.flatten(), draw(66))


def test_frozen_parameters_are_printed_unless_told_otherwise():
    trunk, probe, _ = TRUNKS["frozen"]
    assert nq.Quine(trunk(), probe, code_size=6).parameter_count == 30 + 42
    kept = nq.Quine(trunk(), probe, code_size=6, print_frozen=False)
    assert kept.parameter_count == 42
    assert [name for name, _ in kept.named_weights()] == ["1.weight", "1.bias"]
    before = kept.trunk[0].weight.clone()
    kept.theta = draw(42)
    assert torch.equal(kept.trunk[0].weight, before)
    assert torch.equal(kept.self_map(draw(42)), kept.printed())


def test_the_module_handed_in_is_left_as_it_was():
    trunk = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5)).train()
    weight, probe = trunk[0].weight.detach().clone(), draw(1, 4)
    quine = nq.Quine(trunk, probe, code_size=6)
    quine.theta = draw(30)
    assert trunk.training
    assert trunk[0].weight.dtype == torch.float32
    assert torch.equal(trunk[0].weight, weight)
    assert not quine.trunk.training
    assert torch.equal(quine.printed(), quine.printed())  # no dropout
    probe.zero_()
    assert bool((quine.inputs[0] != 0).any())


def test_without_copy_the_module_is_the_quines_own():
    trunk = nn.Linear(4, 6)
    quine = nq.Quine(trunk, draw(1, 4), code_size=6, copy=False)
    assert quine.trunk is trunk
    quine.theta = draw(30)
    assert torch.equal(trunk.weight.flatten(), draw(30)[:24])


# -- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_stored_and_printed_in_the_type_asked_for(dtype):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, 6))
    quine = nq.Quine(trunk, draw(1, 4), code_size=6, dtype=dtype)
    assert quine.dtype == quine.theta.dtype == quine.printed().dtype == quine.inputs[0].dtype == dtype
    assert quine.code_dtype == (dtype if dtype in (torch.float64, torch.float32) else torch.float32)
    theta = quine.theta + 0.1 * draw(quine.parameter_count, dtype=dtype)
    quine.theta = theta
    assert torch.equal(quine.self_map(theta), quine.printed())
    reference = nq.Quine(trunk, quine.inputs[0].double(), code_size=6)
    torch.testing.assert_close(
        quine.printed().double(), reference.self_map(theta.double()), rtol=0, atol=20 * torch.finfo(dtype).eps
    )


def test_float64_is_the_default_and_a_trunk_that_cannot_keeps_its_own_type():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(6, 4))

        def forward(self, z):
            return self.w @ z.float()

    assert nq.Quine(nn.Linear(4, 6), draw(4)).dtype == torch.float64
    assert nq.Quine(Single(), draw(4), code_size=6).dtype == torch.float32


def test_a_quine_keeps_the_type_it_was_made_in(small):
    with pytest.raises(TrunkError, match="the type of a quine is fixed: make it anew with dtype="):
        small.float()
    before = small.printed()
    assert torch.equal(small.to("cpu").printed(), before)


def test_code_bits_round_the_code_to_even_multiples():
    quine = nq.Quine(nn.Linear(4, 6), draw(4), code_size=6, code_bits=3)
    ties = torch.tensor([0.0625, 0.1875, -0.0625, 0.3, 1.0, -2.2], dtype=torch.float64)
    assert quine.quantize(ties).tolist() == [0.0, 0.25, -0.0, 0.25, 1.0, -2.25]
    assert torch.equal(quine.code() * 8, torch.round(quine.real_code() * 8))
    assert not torch.equal(quine.code(), quine.real_code())
    assert torch.equal(quine.self_map(quine.theta), quine.expand(quine.code()))
    assert torch.equal(quine.real_map(quine.theta), quine.expand(quine.real_code()))


def test_every_tensor_is_printed_at_its_own_scale_unless_told_otherwise():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(20, 40), nn.LayerNorm(40), nn.Linear(40, 20))
    quine = nq.Quine(trunk, draw(1, 20))
    printed = quine.tensors(quine.printed())
    for name, parameter in trunk.state_dict().items():
        if name.startswith("1."):
            assert float(printed[name].mean()) == pytest.approx(float(parameter.mean()), abs=0.02)
        else:
            assert 0.6 < float(printed[name].std() / parameter.std()) < 1.7
    alike = nq.Quine(trunk, draw(1, 20), alpha=0.5)
    assert alike.gains == [0.5 / 20] * 6
    given = nq.Quine(trunk, draw(1, 20), scales=([1.0] * 6, [0.5] * 6))
    assert (given.means, given.gains) == ([1.0] * 6, [0.5] * 6)


def test_vectorized_rows_fall_back_to_one_by_one():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 6)

        def forward(self, z):
            h = self.layer(z)
            return h if float(h.sum()) > 0 else 2 * h

    quine = nq.Quine(Branching(), draw(4), code_size=6)
    assert not quine.vectorized
    thetas = draw(3, 30)
    assert torch.equal(quine.real_codes(thetas), torch.stack([quine.real_code(t) for t in thetas]))


def test_repr_names_the_figures(small):
    assert "parameters=352, code_size=16, seed=0, dtype=torch.float64" in repr(small)


# -- what is refused --------------------------------------------------------------------------------------------------


class Returns(nn.Module):
    """A linear layer whose output is passed through any function."""

    def __init__(self, change):
        super().__init__()
        self.layer, self.change = nn.Linear(4, 6), change

    def forward(self, z):
        return self.change(self.layer(z))


def fails(_):
    raise RuntimeError("first line\nsecond line")


REFUSED = {
    "not a module": (lambda: nq.Quine(lambda z: z, draw(4)), "the trunk must be an nn.Module, not function"),
    "no weights": (lambda: nq.Quine(nn.Tanh(), draw(4)), "the trunk has no weights: there is nothing to print"),
    "all frozen": (
        lambda: nq.Quine(nn.Linear(4, 6).requires_grad_(False), draw(4), print_frozen=False),
        "the trunk has no weights that are not frozen",
    ),
    "lazy": (lambda: nq.Quine(nn.LazyLinear(6), draw(4)), "lazy parameters: run it once on the probe"),
    "complex": (lambda: nq.Quine(nn.Linear(4, 6, dtype=torch.complex64), draw(4)), "not real floating-point numbers"),
    "wrong shape": (lambda: nq.Quine(nn.Linear(4, 6), draw(5)), "the trunk fails on the probe: "),
    "wrong name": (lambda: nq.Quine(nn.Linear(4, 6), {"x": draw(4)}), "the trunk fails on the probe: .*'x'"),
    "two-line reason": (lambda: nq.Quine(Returns(fails), draw(4)), "the trunk fails on the probe: first line$"),
    "NaN": (lambda: nq.Quine(Returns(lambda h: h * torch.nan), draw(4)), "NaN or infinity on the probe"),
    "NaN weights": (
        lambda: nq.Quine(_with_nan_bias(), draw(4)),
        "NaN or infinity on the probe",
    ),
    "integers": (
        lambda: nq.Quine(Returns(lambda h: h.long()), draw(4)),
        "output is torch.int64, not floating point: choose another with select=",
    ),
    "no tensor": (lambda: nq.Quine(Returns(lambda h: "text"), draw(4)), r"\(str\) holds no tensor: choose one with"),
    "bad index": (lambda: nq.Quine(Returns(lambda h: (h,)), draw(4), select=3), "select=3 finds nothing .*tuple"),
    "bad key": (lambda: nq.Quine(Returns(lambda h: {"a": h}), draw(4), select="b"), "select='b' finds nothing .*dict"),
    "bad attribute": (lambda: nq.Quine(Returns(lambda h: h), draw(4), select="logits"), "select='logits' finds nothing"),
    "a probe of lists": (lambda: nq.Quine(nn.Linear(4, 6), [[1.0]]), "the probe must be a tensor, a tuple of tensors"),
    "a probe of text": (lambda: nq.Quine(nn.Linear(4, 6), "z"), "the probe must be a tensor"),
    "code_size": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), code_size=0), "code_size must be at least 1, not 0"),
    "seed": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), seed=-1), r"seed must be from 0 to 2\*\*64 - 1, not -1"),
    "large seed": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), seed=2**64), r"seed must be from 0 to 2\*\*64 - 1"),
    "eps": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), eps=-1.0), "eps must be a finite number of at least 0, not -1"),
    "alpha": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), alpha=torch.inf), "alpha must be finite, not inf"),
    "code_bits": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), code_bits=61), "code_bits must be from 0 to 60, not 61"),
    "expansion": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), expansion="fourier"), "must be 'gaussian' or 'hadamard'"),
    "skip": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), skip=-1.0), "skip must be a number of at least 0, and needs"),
    "skip of zeros": (lambda: nq.Quine(nn.Linear(4, 6), torch.zeros(4), skip=0.1), "skip needs a probe that is not"),
    "scales": (lambda: nq.Quine(nn.Linear(4, 6), draw(4), scales=([0.0], [1.0])), "one gain for each of the 2 tensors"),
}


def _with_nan_bias():
    layer = nn.Linear(4, 6)
    nn.init.constant_(layer.bias, torch.nan)
    return layer


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_a_quine_is_refused_in_one_line(case):
    make, message = REFUSED[case]
    with pytest.raises(TrunkError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, nq.NeuralQuineError)


def test_a_dense_projection_that_does_not_fit_is_refused_before_memory_is_taken():
    with pytest.raises(TooLarge, match=r"the dense 30 x 10000000 projection would take 2\.24 GiB, more than 2 GiB: "):
        nq.Quine(nn.Linear(4, 6), draw(4), code_size=10**7, expansion="gaussian")


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'code_sice'"):
        nq.Quine(nn.Linear(4, 6), draw(4), code_sice=6)


@pytest.mark.parametrize("value", [torch.zeros(3), torch.zeros(352, 1), torch.zeros(2, 176)])
def test_weights_of_another_shape_are_refused(small, value):
    before = small.theta
    with pytest.raises(ValueError, match=r"theta must have shape \(352,\), not"):
        small.theta = value
    assert torch.equal(small.theta, before)


def test_it_is_a_function_of_numpy_alone():
    """The whole map of a small network, with nothing of the package but the projection's integers."""
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 9))
    quine = nq.Quine(trunk, draw(1, 4), code_size=5, seed=8, alpha=0.4)
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in trunk.parameters())
    features = w2 @ np.tanh(w1 @ draw(4).numpy() + b1) + b2
    h = nq.printers.philox.dyadic_gaussian(8, 2, 0, 45).reshape(5, 9) / 3 @ features
    code = (h - h.mean()) / np.sqrt(h.var() + 1e-5)
    matrix = nq.printers.philox.dyadic_gaussian(8, 1, 0, quine.parameter_count * 5).reshape(-1, 5)
    np.testing.assert_allclose(quine.printed().numpy(), 0.4 / 5 * matrix @ code, rtol=1e-12, atol=1e-14)
