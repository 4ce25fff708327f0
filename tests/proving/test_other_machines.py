"""What another machine, or another way to compute a layer, does that a bound might forget."""

import numpy as np
import pytest
import torch
from torch import nn

from neuralquine.proving.checker.held import Machine
from neuralquine.proving.checker.numbers import Bounded
from neuralquine.proving.rules import NoRule, run
from neuralquine.proving.rules.attention import attend
from neuralquine.proving.tubes.machine import Unbounded
from neuralquine.proving.tubes.tube import held, tape_of
from neuralquine.proving.verdicts import NotProved
from neuralquine.quines.networks.description import build
from proving.coarse import Coarse, machine

NOTHING = (NotProved, Unbounded)  # is said


def checked(numbers, dtype="float32"):
    return Bounded(numbers, None, Machine.of(dtype))


def in_tube(numbers, dtype="float32"):
    return held(tape_of(dtype), np.asarray(numbers, np.float64))


def cancelling(seed, dtype):
    """Attention whose queries are orthogonal to all keys, by short numbers, so that their products are exactly 0."""
    draw = np.random.default_rng(seed)
    module = nn.MultiheadAttention(3, 1, batch_first=True, dtype=dtype).eval()
    x = torch.from_numpy(np.round(draw.standard_normal((1, 2, 3)) * 4)).to(dtype)
    x[0, :, 0] = torch.tensor([3.0, -1.0])
    q = np.round(draw.standard_normal(3) * 1000)
    with torch.no_grad():
        module.in_proj_weight[:6] = 0
        module.in_proj_bias[:] = torch.from_numpy(np.concatenate([q, np.zeros(6)]))
        module.in_proj_weight[3:6, 0] = torch.tensor([q[1], -q[0], 0.0])
        module.in_proj_weight[6:] = torch.eye(3)
        module.out_proj.weight.copy_(torch.eye(3))
    return module, x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_queries_may_be_scaled_before_they_meet_the_keys(dtype):
    """As torch does where weights are asked for, and in its fused kernels: each term is rounded once or twice more."""
    off, name = [], str(dtype).removeprefix("torch.")
    for seed in range(10):
        module, x = cancelling(seed, dtype)
        weights = {n: checked(t.numpy(), name) for n, t in module.state_dict().items()}
        found = attend(checked(x.numpy(), name), 1, weights.get, causal=False, parts=False)
        with torch.no_grad():
            y = module(x, x, x, need_weights=True)[0].numpy()
        assert (np.abs(y - found.value) <= found.reach).all()
        off.append(np.abs(y - found.value).max())
    assert max(off) > 0


@pytest.mark.parametrize("make", [checked, in_tube])
def test_numbers_that_float32_may_not_hold_prove_nothing_of_it(make):
    """The order of the sum says whether it overflows, and a variance of numbers near 1e25 does."""
    wide, weight = np.array([[1e30, 1e30, -1e30]]), np.full((2, 3), 2.0**28)
    steps = [
        lambda dtype: make(wide, dtype).affine(make(weight, dtype)).tanh(),
        lambda dtype: make(np.array([[1e25, -3e25, 2e25]]), dtype).normalize(1e-5),
        lambda dtype: (make(np.array([[1e25]]), dtype) * make(np.array([[1e25]]), dtype)).tanh(),
        lambda dtype: make(np.zeros((1, 1)), dtype).batch_norm(
            *(make(np.array([v]), dtype) for v in (0.0, 1e-30, 1e30, 0.0)), 0.0
        ),
    ]
    for step in steps:
        step("float64")
        with pytest.raises(NOTHING):
            step("float32")


@pytest.mark.parametrize("make", [checked, in_tube])
def test_a_variance_below_zero_proves_nothing(make):
    """Beside it the epsilon is rounded to the type, and what is left of the two may be anything."""
    eps, one = 1e-5, np.ones(1)
    x, mean, variance = make(np.ones((1, 1))), make(one), make(one * (2.0**-40 - np.float32(eps)))
    with pytest.raises(NOTHING):
        x.batch_norm(mean, variance, None, None, eps)


def test_a_difference_that_is_flushed_to_zero_counts_by_how_it_is_scaled():
    tiny = Machine.of("float32").tiny
    x = np.array([[tiny, 1.5 * tiny]])
    found = checked(x).normalize(1e-8)
    assert (np.abs(found.value) <= found.reach).all()  # a machine that flushes x - mean to 0
    found = checked(x).batch_norm(checked(x[:, :1]), checked(np.zeros(1)), None, None, 1e-8)
    assert (np.abs(found.value) <= found.reach).all()


def welford(x):
    """Normalized with the mean and the variance updated number by number."""
    mean = total = x.made(np.zeros((*x.shape[:-1], 1)))
    for k in range(x.shape[-1]):
        step = x.cut(-1, k, k + 1) - mean
        mean = mean + x.op(step.value / (k + 1))
        total = total + step * (x.cut(-1, k, k + 1) - mean)
    return mean, x.op(total.value / x.shape[-1])


def one_pass(x):
    mean = x.mean()
    return mean, (x * x).mean() - mean * mean


@pytest.mark.parametrize("moments", [welford, one_pass])
def test_moments_may_be_taken_in_one_pass_or_updated(moments):
    worst = 0.0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        x = np.round(draw.standard_normal((2, draw.integers(2, 9))) * 512 + draw.choice([0, 500])) / 256
        try:
            found = Bounded(x, None, machine(20)).normalize(1e-5)
        except NotProved:  # a row that is small beside its mean
            continue
        for way in (1, -1, 2, 0):
            row = Coarse(x, draw, way, 20)
            mean, variance = moments(row)
            inverse = row.op(1 / row.rounded(np.sqrt(row.rounded(variance.value + 1e-5))))
            for y in ((row - mean) * inverse, row * inverse - mean * inverse):
                worst = max(worst, (np.abs(y.value - found.value) / found.reach).max())
    assert 0.01 < worst <= 1


@pytest.mark.parametrize("kind", ["MaxPool1d", "MaxPool2d"])
def test_a_description_that_leaves_a_stride_out_is_not_read_in_another_way_than_torch_builds_it(kind):
    spec = {"type": kind, "arguments": {"kernel_size": 2, "stride": None, "padding": 0}}
    x = np.zeros((1, 2, 6, 6)[: 2 + int(kind[-2])])
    assert build(spec)(torch.from_numpy(x)).shape[-1] == 3
    with pytest.raises(NoRule):
        run(spec, checked(x), lambda _: None)
