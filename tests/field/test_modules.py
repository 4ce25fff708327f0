"""Real modules: either the quine computes what the module computes, or it is refused in one line."""
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false

import copy
import functools
import math
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import neuralquine as nq
from field.nets import PROBE, Around, Checkpointed, Masked, Narrow, Oneway, Rope, Spectrum, net
from neuralquine.errors import TrunkError
from neuralquine.quines import self_printer
from neuralquine.quines.networks.running import differentiable_kernels
from neuralquine.quines.stack import Linearization, MeanField
from neuralquine.solving.linearized import linear_starts


def quine_of(module, probe=PROBE, **options):
    return nq.Quine(module, probe, **{"code_size": 16, **options})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [Rope, Spectrum])
def test_complex_buffers_stay_complex(kind, seed):
    module, probe = kind(seed), torch.randn(5, 8, generator=torch.Generator().manual_seed(seed))
    quine = quine_of(module, probe, seed=seed, skip=0.2)
    assert next(quine.trunk.buffers()).dtype == torch.complex128
    nq.solve(quine)
    twin = kind(seed)  # the module handed in, holding theta
    twin.load_state_dict(quine.trunk.state_dict())
    assert nq.verify(quine).is_quine
    assert torch.allclose(twin(probe).double().reshape(-1), quine.features(), rtol=1e-5, atol=1e-5)


class Paced(nn.Module):
    """Speech that lasts as long as its weights say."""

    def __init__(self):
        super().__init__()
        self.body, self.pace = nn.Linear(8, 24), nn.Linear(8, 1)

    def forward(self, x):
        spoken = self.body(x).view(-1)
        return {"spoken": spoken[: 6 + int(8 * self.pace(x).sum().abs())], "body": spoken}


def test_an_output_whose_size_depends_on_the_weights_is_refused_in_one_line():
    torch.manual_seed(0)
    probe = torch.randn(1, 8)
    for seed in range(3):
        with pytest.raises(
            TrunkError, match=r"depends on its weights \(\d+ numbers before, now \d+\): choose"
        ) as refused:
            nq.solve(nq.Quine(Paced(), probe, code_size=6, seed=seed, skip=0.5), throw=False)
        assert "\n" not in str(refused.value)
    assert nq.solve(nq.Quine(Paced(), probe, code_size=6, select="body", skip=0.05), throw=False).converged


def test_a_module_that_answers_otherwise_in_another_type_keeps_its_own():
    class Fussy(Around):
        def forward(self, x):
            return self.inner(x) if x.dtype == torch.float32 else 2 - self.inner(x)

    assert quine_of(Fussy()).dtype == torch.float32
    with pytest.raises(TrunkError, match=r"dtype=torch\.float32"):
        quine_of(Fussy(), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_a_module_that_computes_in_float32_inside_is_solved_there(seed):
    quine = quine_of(Narrow(seed), seed=seed)
    assert quine.dtype == torch.float32
    assert nq.solve(quine).converged


def test_a_module_that_computes_in_its_type_is_held_in_float64():
    for module in (net(), Around(), Checkpointed(None)):
        assert quine_of(module).dtype == torch.float64


@pytest.mark.parametrize("write", [lambda s, x: x.mul_(2.0), lambda s, x: torch.relu_(x), lambda s, x: x.fill_(0.5)])
def test_the_probe_is_lent(write):
    probe = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    quine = quine_of(Around(before=write), probe)
    assert nq.solve(quine).converged
    assert torch.equal(quine.inputs[0], probe.double())
    assert nq.verify(quine).is_quine
    quine = quine_of(Around(before=write), {"x": probe})
    quine.printed()
    assert torch.equal(quine.inputs["x"], probe.double())


def test_queries_are_lent():
    trunk = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))
    quine = nq.QueryQuine(trunk, "projection", seed=0)
    before = quine.inputs[0].clone()
    quine.printed()
    nq.spectrum(quine)
    assert torch.equal(quine.inputs[0], before)
    assert quine.stack is None


def hooked(layer):
    layer.register_forward_hook(lambda module, inputs, output: 3 * output)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        hooked(nn.Linear(8, 8)),
        nn.utils.spectral_norm(nn.Linear(8, 8)),
        nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
    ],
)
def test_a_stack_is_a_stack_only_without_hooks(layer):
    quine = nq.QueryQuine(nn.Sequential(layer, nn.Tanh(), nn.Linear(8, 1)), "projection", seed=0)
    assert quine.stack is None
    slope = nq.spectrum(quine).self_sensitivity
    assert slope == pytest.approx(finite_difference_norm(quine), rel=1e-4)


def test_a_layer_used_twice_is_no_stack():
    shared = nn.Linear(8, 8)
    quine = nq.QueryQuine(nn.Sequential(shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(8, 1)), "projection", seed=0)
    assert quine.stack is None
    assert nq.spectrum(quine).self_sensitivity == pytest.approx(finite_difference_norm(quine), rel=1e-4)


def finite_difference_norm(quine, h=1e-6):
    """The norm of the Jacobian of what is printed, by central differences in every direction."""
    theta = quine.theta
    with torch.no_grad():
        columns = [
            (quine.real_map(theta + h * unit) - quine.real_map(theta - h * unit)) / (2 * h)
            for unit in torch.eye(len(theta), dtype=theta.dtype)
        ]
    return float(torch.linalg.matrix_norm(torch.stack(columns, 1), 2))


@pytest.mark.parametrize("how", [True, False])
def test_checkpointing_changes_no_derivative(how):
    plain, checkpointed = quine_of(Checkpointed(None)), quine_of(Checkpointed(how))
    for factor in (1.0, 1.5, -0.7):
        theta = factor * plain.theta
        assert torch.equal(plain.self_map(theta), checkpointed.self_map(theta))
        assert torch.equal(plain.code_jacobian(theta[None]), checkpointed.code_jacobian(theta[None]))
    assert nq.solve(checkpointed, "newton").converged
    import torch.utils.checkpoint as module

    assert not [
        name for name in vars(module) if getattr(vars(module)[name], "__module__", "").startswith("neuralquine")
    ]


def in_place(module, x):
    return x.mul_(0.5).add_(x)


KINDS = {
    "shared": lambda: nn.Sequential(nn.Linear(4, 16), *[shared := nn.Linear(16, 16), nn.Tanh(), shared]),
    "in place": lambda: Around(before=in_place, after=lambda s, y: y.mul_(y.clone().tanh_())),
    "inplace activation": lambda: nn.Sequential(nn.Linear(4, 16), nn.ELU(inplace=True), nn.Linear(16, 16)),
    "hook": lambda: nn.Sequential(nn.Linear(4, 16), hooked(nn.Tanh()), nn.Linear(16, 16)),
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 16)), nn.Tanh()),
    "checkpointed": lambda: Checkpointed(False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_jacobian_is_that_of_finite_differences(kind):
    torch.manual_seed(1)
    quine = quine_of(KINDS[kind]())
    assert nq.spectrum(quine).self_sensitivity == pytest.approx(finite_difference_norm(quine), rel=1e-4)


def test_what_cannot_be_differentiated_is_one_line():
    quine = quine_of(Around(after=lambda s, y: Oneway.apply(y)))
    for ask in (lambda: nq.solve(quine, method="newton"), lambda: nq.spectrum(quine)):
        with pytest.raises(TrunkError, match="cannot be differentiated: there is no way back"):
            ask()
    assert not nq.verify(quine).is_quine


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_quine_that_is_found_without_a_derivative_is_not_lost_for_want_of_one(seed, large, monkeypatch):
    monkeypatch.setattr(self_printer, "_IN_PLACE", 0 if large else 1 << 28)
    options = {"seed": seed, "skip": 0.05, "code_bits": 8, "expansion": "hadamard", "dtype": torch.float32}
    quine = quine_of(Around(after=lambda s, y: Oneway.apply(y)), **options)
    assert quine.in_place == large
    solution, verdict = nq.solve(quine, exact=True, time_limit=60), nq.verify(quine)
    assert solution.bit_exact
    assert verdict.is_quine
    assert math.isnan(solution.self_sensitivity)
    assert math.isnan(verdict.self_sensitivity)


def test_a_constant_without_a_derivative_is_a_constant():
    quine = quine_of(Around(after=lambda s, y: Oneway.apply(0 * y + torch.arange(y.numel()).view_as(y))))
    quine.install(quine.code())
    assert "constant" in [found.split(":")[0] for found in nq.verify(quine).trivial]


def keep(module, y):
    module.last = y
    return y


def test_what_a_run_leaves_behind_is_dead_no_longer():
    quine = quine_of(Around(after=keep))
    nq.solve(quine)
    for ask in (
        lambda: quine.vectorized,
        lambda: nq.spectrum(quine),
        lambda: quine.real_codes(quine.theta.expand(3, -1)),
    ):
        ask()
        assert copy.deepcopy(quine).trunk.last.shape == (1, 16)
    assert nq.verify(quine).trivial == ()


def test_a_function_that_goes_on_to_use_the_original_is_refused():
    module = net()
    module[1].register_forward_hook(lambda m, i, o: o + module[0].weight.sum())
    with pytest.raises(TrunkError, match="copy=False"):
        quine_of(module)
    assert nq.solve(quine_of(module, copy=False)).converged
    other = net()
    other[1].register_forward_hook(functools.partial(lambda weight, m, i, o: o + weight.sum(), other[0].weight))
    assert quine_of(other).vectorized  # what a partial function holds is copied with it


class Returning(nn.Module):
    """As open-mmlab's ResNet: ``train`` returns nothing."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def train(self, mode=True):
        super().train(mode)

    def forward(self, x):
        return self.inner(x)


def test_train_may_return_nothing():
    assert nq.solve(quine_of(Returning())).converged


def test_what_is_computed_before_each_run_can_be_copied():
    with pytest.warns(FutureWarning):
        weighted = nn.utils.weight_norm(nn.Linear(4, 16))
    weighted(PROBE)
    pruned = nn.Linear(4, 16)
    prune.l1_unstructured(pruned, "weight", 0.3)
    for module in (weighted, pruned):
        quine = quine_of(module)
        assert nq.spectrum(quine).self_sensitivity == pytest.approx(finite_difference_norm(quine), rel=1e-4)


def test_a_copy_that_fails_is_called_so():
    module = net()
    module.lock = threading.Lock()
    with pytest.raises(TrunkError, match=r"cannot be copied.*copy=False"):
        quine_of(module)
    assert nq.solve(quine_of(module, copy=False)).converged


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 16), nn.Linear(4, 16)

    def forward(self, x):
        return self.a(x), self.b(x)


@pytest.mark.parametrize("index", [1, -1, np.int64(1), np.uint8(1)])
def test_a_selected_output_is_that_one(index):
    quine = quine_of(Two(), select=index)
    assert torch.equal(quine.features(), quine.trunk.b(quine.inputs[0])[0])


@pytest.mark.parametrize("select", [(1,), slice(0, 1), 1.0, True, np.float64(1), [0]])
def test_what_selects_nothing_is_refused(select):
    with pytest.raises(TrunkError, match="select must be"):
        quine_of(Two(), select=select)


class NoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 16)

    def forward(self):
        return self.linear(self.linear.weight.new_ones(1, 4))


REFUSED = {
    "lazy": (lambda: nq.QueryQuine(nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 1)), "projection", width=8), "lazy"),
    "meta": (lambda: quine_of(nn.Linear(4, 16, device="meta"), torch.ones(1, 4, device="meta")), "meta device"),
    "skip": (lambda: quine_of(NoInputs(), (), skip=0.1), "skip needs a probe"),
    "empty": (lambda: quine_of(net(), torch.ones(0, 4)), "batch empty"),
    "sparse": (lambda: quine_of(net(), torch.eye(4).to_sparse()), "dense"),
    "complex": (lambda: quine_of(net(), torch.ones(1, 4) * 1j), "real numbers"),
    "number": (lambda: quine_of(net(), 5), "probe must be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_quine_is_one_line(case):
    make, words = REFUSED[case]
    with pytest.raises(TrunkError, match=words):
        make()


def test_no_inputs_make_a_free_quine():
    assert nq.solve(quine_of(NoInputs(), ())).converged


def test_another_default_type_changes_nothing():
    def found():
        stack = nq.QueryQuine(trunk, "projection", seed=0).stack
        assert stack is not None
        start = next(linear_starts(stack, torch.Generator().manual_seed(0), batch=2))
        return start, MeanField(Linearization(stack, start))(start.float())

    trunk = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
    expected = found()
    torch.set_default_dtype(torch.float64)
    try:
        assert all(torch.equal(a, b) for a, b in zip(found(), expected, strict=True))
    finally:
        torch.set_default_dtype(torch.float32)


def test_switches_are_turned_back_by_the_last_thread():
    before = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    inside, leave = threading.Barrier(2), threading.Event()

    def hold():
        with differentiable_kernels():
            inside.wait()
            leave.wait()

    thread = threading.Thread(target=hold)
    with differentiable_kernels():
        thread.start()
        inside.wait()
    leave.set()
    thread.join()
    assert (torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()) == before


def test_masks_are_no_matter_to_the_comparison_of_types():
    class Leaking(Masked):
        def forward(self, x):
            return super().forward(x), self.mask

    assert quine_of(Leaking(), torch.randn(1, 5, 8), select=0).dtype == torch.float64
