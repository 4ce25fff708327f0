"""The law of an initialization, read without drawing, beside what is drawn."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.printers.scales import initial_scales, scales_of
from neuralquine.recipes import laws, problem
from neuralquine.recipes.laws import built_without_memory, given_memory

MAKERS = {
    "linear": lambda: nn.Linear(300, 400),
    "convolution": lambda: nn.Conv2d(8, 16, 5),
    "embedding": lambda: nn.Embedding(500, 40, padding_idx=3),
    "recurrent": lambda: nn.LSTM(60, 90),
    "encoder": lambda: nn.TransformerEncoderLayer(64, 4),
    "normalization": lambda: nn.Sequential(nn.LayerNorm(9), nn.RMSNorm(7), nn.BatchNorm2d(5)),
}
DRAWS = {
    "normal": lambda w: nn.init.normal_(w, 0.3, 0.02),
    "uniform": lambda w: nn.init.uniform_(w, 0.5, 2.0),
    "constant": lambda w: nn.init.constant_(w, 0.7),
    "xavier": nn.init.xavier_normal_,
    "kaiming": nn.init.kaiming_uniform_,
    "cut off": lambda w: nn.init.trunc_normal_(w, 0.5, 1.0, -0.3, 1.0),
    "hardly cut off": lambda w: nn.init.trunc_normal_(w, std=0.02),
    "scaled": lambda w: w.detach().normal_().mul_(0.1).add_(2.0),
}


def drawn_with(draw):
    def make():
        module = nn.Linear(300, 400)
        with torch.no_grad():
            draw(module.weight)
        return module

    return make


@pytest.mark.parametrize("make", [*MAKERS.values(), *map(drawn_with, DRAWS.values())], ids=[*MAKERS, *DRAWS])
def test_the_law_gives_the_scales_of_the_drawn_weights(make):
    module, found = built_without_memory(make)
    assert all(p.is_meta for p in module.parameters())
    torch.manual_seed(3)
    drawn = make()
    assert all(p.is_meta is False for p in drawn.parameters())
    for (name, p), law in zip(drawn.named_parameters(), found.values(), strict=True):
        spread = float(p.detach().std(correction=0))
        assert law is not None, name
        assert law.mean == pytest.approx(float(p.detach().mean()), abs=5 * spread / p.numel() ** 0.5 + 1e-6), name
        assert law.spread == pytest.approx(spread, rel=3 / p.numel() ** 0.5, abs=1e-6), name


def test_what_no_law_is_known_of_is_said_to_be_unknown():
    _, found = built_without_memory(drawn_with(lambda w: nn.init.orthogonal_(w)))
    assert found["weight"] is None
    assert found["bias"] is not None


def test_a_tensor_that_has_numbers_has_the_law_of_these():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(50, 60) * 0.5)

    module, found = built_without_memory(Positions)
    assert module.table.is_meta
    assert found["table"].spread == pytest.approx(0.5, rel=0.1)


def test_shared_tensors_stay_shared_and_buffers_keep_their_numbers():
    def make():
        module = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.BatchNorm1d(5))
        module[1].weight = module[0].weight
        module.register_buffer("angles", torch.arange(4.0))
        return module

    module, found = built_without_memory(make)
    given_memory(module, [float(i) for i in range(len(found))], torch.device("cpu"))
    assert module[0].weight is module[1].weight
    assert not any(p.is_meta for p in module.parameters())
    assert torch.equal(module.angles, torch.arange(4.0))


def test_a_large_anchored_network_is_not_drawn_and_is_the_same_quine(monkeypatch):
    options = {"layers": 1, "width": 32, "code_size": 16, "code_bits": 6}
    drawn = nq.recipe("gpt2", seed=5, **options)
    nq.solve(drawn)
    monkeypatch.setattr(laws, "DRAWN", 1000)
    assert all(p.is_meta for p in problem("gpt2", seed=5, **options).trunk.parameters())
    assert not any(p.is_meta for p in problem("gpt2", seed=5, skip=0.0, **options).trunk.parameters())
    made = nq.recipe("gpt2", seed=5, **options)
    assert (made.means, made.gains) == (drawn.means, drawn.gains)
    nq.solve(made)
    assert torch.equal(made.theta, drawn.theta)


def test_scales_of_numbers_are_those_of_their_moments():
    tensors = [torch.randn(100), torch.ones(5), torch.zeros(0)]
    moments = [
        (float(t.double().mean()), float(t.double().std(correction=0))) if len(t) else (0.0, 0.0) for t in tensors
    ]
    assert initial_scales(tensors, 20) == scales_of(moments, [100, 5, 0], 20)
