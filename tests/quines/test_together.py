"""Recurrent layers written out: the same answers up to round-off, for many weights at once."""

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.together import together
from neuralquine.solving.loop import Stop, Trace, iterate, starting_points
from neuralquine.solving.maps import ReducedMap
from neuralquine.solving.methods import Broyden


class Given(nn.Module):
    """A layer that is given a first state, read at its last one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, *state):
        _, last = self.layer(x, state[0] if len(state) == 1 else state)
        return torch.cat([part.flatten() for part in (last if isinstance(last, tuple) else (last,))])


def alone(kind, *sizes, whole=True, **options):
    torch.manual_seed(1)
    return kind(*sizes, **options).double(), (torch.randn(2, 5, sizes[0]) if whole else torch.randn(5, sizes[0]),)


def with_states(kind, count):
    torch.manual_seed(2)
    layer = kind(3, 4, 2).double()
    return Given(layer), (torch.randn(5, 1, 3), *(torch.randn(2, 1, 4) for _ in range(count)))


CASES = {
    "relu": alone(nn.RNN, 3, 8, nonlinearity="relu", batch_first=True),
    "rnn without bias, both ways": alone(nn.RNN, 3, 6, 2, bias=False, bidirectional=True),
    "gru of one sequence": alone(nn.GRU, 3, 8, whole=False, batch_first=True),
    "lstm, both ways": alone(nn.LSTM, 3, 5, 2, bidirectional=True, batch_first=True),
    "gru from a state": with_states(nn.GRU, 1),
    "lstm from states": with_states(nn.LSTM, 2),
    "inside": (nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 8)), (torch.randn(6, 4),)),
}


@pytest.mark.parametrize("name", CASES)
def test_written_out_layers_answer_as_torchs_do(name):
    trunk, probe = CASES[name]
    quine = nq.Quine(trunk, probe, code_size=8, seed=0)
    other = together(quine)
    assert other is not quine
    assert other.vectorized
    codes = quine.random_codes(3, torch.Generator().manual_seed(0))
    thetas = quine.expand(codes)
    torch.testing.assert_close(other.real_codes(thetas), quine.real_codes(thetas), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(other.code_jacobian(thetas[:1]), quine.code_jacobian(thetas[:1]), rtol=1e-9, atol=1e-11)


def test_the_output_of_a_clocked_network_is_folded_into_its_recurrence():
    quine = nq.recipe("elman", seed=5)
    other = together(quine)
    assert other is not quine
    thetas = quine.random_codes(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(other.real_codes(thetas), quine.real_codes(thetas), rtol=1e-9, atol=1e-11)


def hooked():
    layer = nn.GRU(3, 8)
    layer.register_forward_hook(lambda module, inputs, output: (2 * output[0], output[1]))
    return layer


class Twice(nn.Module):
    """One layer in two places."""

    def __init__(self):
        super().__init__()
        self.first = self.second = nn.GRU(4, 4)

    def forward(self, x):
        return self.second(self.first(x)[0])[0]


@pytest.mark.parametrize(
    "trunk",
    [
        nn.Linear(3, 9, bias=False),
        hooked(),
        nn.LSTM(3, 4, proj_size=2),
        Twice(),
        nn.Sequential(nn.GRU(3, 8).bfloat16()),
    ],
    ids=["no layer", "hooks", "projections", "in two places", "narrow"],
)
def test_what_cannot_be_written_out_is_left(trunk):
    width = 4 if isinstance(trunk, Twice) else 3
    dtype = next(trunk.parameters()).dtype
    quine = nq.Quine(
        trunk, torch.ones(4, 1, width, dtype=dtype), code_size=4, dtype=dtype if dtype == torch.bfloat16 else None
    )
    assert together(quine) is quine


def test_a_race_ends_at_a_fixed_point_that_is_not_known_yet():
    f = ReducedMap(nq.recipe("blog", seed=3))
    points = starting_points(f, 16, torch.Generator().manual_seed(3), own=True)
    first = iterate(f, Broyden(), points, Stop(), Trace(f, None))
    row = int(first.residuals.argmin())
    assert first.status[row].name == "CONVERGED"
    f.known = first.best[row][None]
    again = iterate(f, Broyden(), points, Stop(), Trace(f, None))
    row = int(again.residuals.argmin())
    assert again.status[row].name == "CONVERGED"
    assert torch.linalg.vector_norm(again.best[row] - f.known[0]) > 0.03 * torch.linalg.vector_norm(f.known[0])
