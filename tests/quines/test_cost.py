"""What a description may ask for: the reckoning is that of the real run, and stops where the allowance ends."""

import random
import subprocess
import sys

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.errors import TooLarge
from neuralquine.quines.networks import cost
from neuralquine.quines.networks.bodies import Body, Taped
from neuralquine.quines.networks.cost import Allowance, check_printing, counted_parameters, evaluated
from neuralquine.quines.networks.description import _CLASSES, build, describe
from neuralquine.quines.networks.normalize import InstanceNorm
from neuralquine.quines.networks.plain import bound

AMPLE = Allowance(1 << 40, 1e15, 10_000)
RUN = {
    "linear": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.ELU(), nn.Hardtanh()), (2, 3)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.MaxPool1d(2)),
        (1, 2, 8),
    ),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(3)
        ),
        (1, 1, 12, 12),
    ),
    "volumes": (lambda: nn.Conv3d(1, 2, 2), (1, 1, 4, 4, 4)),
    "recurrent": (lambda: nn.GRU(2, 3, 2, batch_first=True, bidirectional=True), (1, 5, 2)),
    "long short-term memory": (lambda: nn.LSTM(2, 4), (5, 1, 2)),
    "cell": (lambda: nn.GRUCell(2, 3), (1, 2)),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (1, 3, 4)),
    "norms": (lambda: nn.Sequential(nn.LayerNorm(4), nn.RMSNorm(4), nn.InstanceNorm1d(3), nn.Softmax(-1)), (2, 3, 4)),
    "shapes": (lambda: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 6)), nn.GELU(), nn.Softplus()), (2, 3, 4)),
}


@pytest.mark.parametrize("name", RUN)
def test_every_listed_network_runs_without_memory_as_it_does_with(name):
    make, shape = RUN[name]
    module = make()
    real = module.eval()(torch.randn(shape))
    with torch.device("meta"):
        shell = build(describe(module))
    cost = evaluated(shell, (torch.empty(shape, device="meta"),), AMPLE)
    real = real[0] if isinstance(real, tuple) else real
    assert cost.width == real.numel()
    assert cost.memory >= real.numel() * 4
    assert cost.work > 0


def _drawn(seed):
    """A plain network of drawn sizes, and the shape of its input."""
    rng = random.Random(seed)
    size = lambda: rng.choice([1, 2, 3, 5, 8, 16, 40])  # noqa: E731
    act = lambda: rng.choice([nn.Tanh, nn.GELU, nn.SELU, nn.Softplus, nn.Mish, InstanceNorm])()  # noqa: E731
    a, b, c, batch = size(), size(), size(), rng.choice([1, 2, 7, 1000])
    kind = rng.choice(["stack", "images", "recurrent", "body"])
    if kind == "stack":
        return nn.Sequential(nn.Linear(a, b), act(), nn.Linear(b, c, bias=False), act(), nn.Dropout()), (batch, a)
    if kind == "images":
        conv = nn.Conv2d(2, a, rng.choice([1, 3]), padding=rng.choice([0, 2]), stride=rng.choice([1, 2]))
        return nn.Sequential(conv, act(), nn.Conv2d(a, b, 1, groups=1), nn.Flatten()), (min(batch, 7), 2, 9, 6)
    if kind == "recurrent":
        layer = rng.choice([nn.RNN, nn.GRU, nn.LSTM])
        one = layer(a, b, rng.choice([1, 2]), batch_first=rng.random() < 0.5, bidirectional=rng.random() < 0.5)
        return one, (min(batch, 7), size(), a)
    body = Body(nn.Sequential(nn.Linear(a, b), act()), nn.Linear(b, 3))
    return Taped(body, b, c) if rng.random() < 0.5 else body, (batch, a)


def test_the_bound_of_a_plain_network_is_above_what_is_counted():
    """Over 60 drawn networks; and it is no wild guess, which would leave everything to the counting."""
    for seed in range(60):
        module, shape = _drawn(seed)
        module = module.to("meta")
        inputs = (torch.empty(shape, device="meta"),)
        counted, most = evaluated(module, inputs, AMPLE), bound(module, inputs)
        assert most is not None, module
        assert most.width == counted.width, module
        assert counted.memory <= most.memory <= 200 * counted.memory + 1e5, module
        assert counted.work <= most.work <= 50 * counted.work + 1e7, module


def test_what_does_not_run_or_is_no_plain_stack_is_counted():
    for module, shape in ((nn.Linear(3, 2), (1, 4)), (nn.TransformerEncoderLayer(4, 2), (3, 1, 4)), (nn.Tanh(), ())):
        found = bound(module.to("meta"), (torch.empty(shape, device="meta"),))
        assert found is None or shape == ()


def test_a_plain_folder_is_read_without_the_compiler(tmp_path):
    """It takes two seconds to import, as the first operation without memory does."""
    quine = nq.recipe("blog")
    nq.save(quine, tmp_path / "q")
    code = f"import sys, neuralquine as nq; nq.load({str(tmp_path / 'q')!r}); print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_networks_above_are_of_most_listed_classes():
    used = {type(m) for make, _ in RUN.values() for m in make().modules()}
    assert len(used & set(_CLASSES)) > 20


def test_work_and_memory_are_those_of_the_layers():
    with torch.device("meta"):
        layers = nn.Sequential(nn.Linear(100, 1000, bias=False), nn.Linear(1000, 10, bias=False))
    cost = evaluated(layers, (torch.empty(50, 100, device="meta"),), AMPLE)
    assert cost.memory == 50 * 1010 * 4
    assert 2 * 50 * 110_000 <= cost.work < 2 * 50 * 110_000 + 3e5


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv2d(1, 1, 1, padding=10**5), (1, 1, 2, 2)),
        (lambda: nn.AdaptiveAvgPool1d(10**12), (1, 1, 4)),
        (lambda: nn.Sequential(*(nn.Conv2d(1, 1, 1, padding=900) for _ in range(40))), (1, 1, 2, 2)),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (1, 10**6, 4)),
        (lambda: nn.Linear(4, 10**9), (1, 4)),
    ],
)
def test_what_grows_beyond_its_allowance_is_stopped(layer, shape):
    with torch.device("meta"):
        shell = layer()
    with pytest.raises(TooLarge, match="more than the"):
        evaluated(shell, (torch.empty(shape, device="meta"),), Allowance.of(1000, 10))


def test_building_stops_where_the_file_has_no_more_tensors():
    with pytest.raises(TooLarge, match="tensors"), torch.device("meta"), counted_parameters(Allowance.of(8, 2)):
        nn.RNN(1, 1, 10**6)
    with torch.device("meta"), counted_parameters(Allowance.of(8, 2)):
        nn.Linear(3, 4)


@pytest.mark.parametrize(
    ("weights", "code", "expansion", "fits"),
    [
        (1020, 20, "gaussian", True),
        (1020, 500, "gaussian", True),
        (100_000, 1000, "gaussian", True),
        (1020, 100_000, "gaussian", False),
        (1020, 8000, "hadamard", False),
        (10**7, 64, "hadamard", True),
        (10**6, 2048, "hadamard", True),
    ],
)
def test_codes_of_every_size(weights, code, expansion, fits):
    config = {"code_size": code, "expansion": expansion, "skip": None}
    cost, place = evaluated(nn.Identity(), (torch.empty(code, device="meta"),), AMPLE), weights * code * 8 > 1 << 28
    allowance = Allowance.of(8 * weights, 10)
    if fits:
        check_printing(config, weights, 8, cost, allowance, in_place=place and expansion == "hadamard")
    else:
        with pytest.raises(TooLarge):
            check_printing(config, weights, 8, cost, allowance, in_place=False)


def test_whoever_hands_in_the_module_may_run_what_a_file_may_not(tmp_path):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(1400), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    quine = nq.Quine(trunk, torch.randn(1, 1, 2, 2), code_size=4)
    # Saving would verify it for minutes: the same folder, written for a small image, and read for a large one.
    quine.trunk[1] = nn.AdaptiveAvgPool2d(4)
    nq.save(quine, tmp_path / "q")
    assert torch.equal(nq.load(tmp_path / "q", trunk=trunk).theta, quine.theta)


def test_an_endless_sequence_is_refused_after_some_thousand_steps(monkeypatch):
    """To count the steps of a recurrent network takes time itself."""
    monkeypatch.setattr(cost, "CALLS", 500)
    with torch.device("meta"):
        network = nn.RNN(1, 2, batch_first=True)
    allowance = Allowance.of(64, 4)
    assert evaluated(network, (torch.empty(1, 20, 1, device="meta"),), allowance).width is not None
    with pytest.raises(nq.TooLarge, match="more than 10000 steps"):
        evaluated(network, (torch.empty(1, 300_000, 1, device="meta"),), allowance)
