"""QueryQuine: what is printed is what the network answers when it is asked for one weight at a time."""

import json
import re

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.errors import NeuralQuineError, QuineFileError, TooLarge, TrunkError
from neuralquine.files.folder import canonical, sha256
from neuralquine.quines.tables.queries import KINDS
from quines.networks_of_queries import Batched, OneByOne, stack

WIDTHS = {"projection": 6, "sinusoidal": 6, "coordinates": 2, "one-hot": 10, "binary": 6}


def matrix(kind):
    """One 5 x 5 matrix between two fixed projections."""
    torch.manual_seed(0)
    front, out = nn.Linear(WIDTHS[kind], 5).requires_grad_(False), nn.Linear(5, 1).requires_grad_(False)
    trunk = nn.Sequential(front, nn.Tanh(), nn.Linear(5, 5, bias=False), nn.Tanh(), out)
    return nq.QueryQuine(trunk, kind, print_frozen=False)


@pytest.mark.parametrize("kind", KINDS)
def test_printing_all_at_once_is_asking_for_one_weight_at_a_time(kind):
    quine = matrix(kind)
    (table,) = quine.inputs
    assert table.shape == (25, WIDTHS[kind])
    asked = torch.cat([quine.trunk(row[None]).reshape(-1) for row in table])
    torch.testing.assert_close(quine.printed(), asked, rtol=1e-12, atol=1e-12)


def test_chunks_answer_like_the_whole(monkeypatch):
    whole = stack(size=12).printed()
    monkeypatch.setattr("neuralquine.quines.queried._CHUNK", 7)
    torch.testing.assert_close(stack(size=12).printed(), whole, rtol=1e-13, atol=1e-13)


def test_a_network_that_looks_at_all_queries_together_is_never_cut_into_chunks(monkeypatch):
    torch.manual_seed(0)
    trunk = Batched()
    whole = nq.QueryQuine(trunk, "coordinates", print_frozen=False).printed()
    monkeypatch.setattr("neuralquine.quines.queried._CHUNK", 7)
    assert torch.equal(nq.QueryQuine(trunk, "coordinates", print_frozen=False).printed(), whole)


class Scored(nn.Module):
    """Answers with numbers of the whole batch in front of its answers."""

    def __init__(self, front):
        super().__init__()
        self.inner, self.front = OneByOne(4), front

    def forward(self, x):
        y = self.inner(x)
        return *self.front(y), y


@pytest.mark.parametrize("front", [lambda y: (y.sum(),), lambda y: (torch.arange(len(y)), y.new_ones(1, 1))])
def test_the_same_tensor_is_read_of_a_single_query_as_of_many(monkeypatch, front):
    torch.manual_seed(0)
    trunk = Scored(front)
    count = sum(p.numel() for p in trunk.parameters())
    monkeypatch.setattr("neuralquine.quines.queried._CHUNK", count - 1)  # the last chunk is one query
    quine, plain = (nq.QueryQuine(t, torch.randn(count, 4).double(), seed=0) for t in (trunk, trunk.inner))
    plain.inputs = quine.inputs
    assert torch.equal(quine.printed(), plain.printed())
    theta = quine.theta[None]
    torch.testing.assert_close(quine.code_jacobian(theta), plain.code_jacobian(theta), rtol=1e-12, atol=1e-14)


class ReadsItself(nn.Module):
    """Takes a weight's value beside its query, and so wants all queries at once."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(4, 2, bias=False), nn.Linear(2, 1, bias=False)

    def forward(self, places):
        own = torch.cat([p.reshape(-1) for p in self.parameters()])[:, None]
        return self.out(self.first(torch.cat([own, places], 1)))


def test_a_network_that_takes_its_weights_as_input_is_asked_for_all_of_them_together():
    torch.manual_seed(0)
    quine = nq.QueryQuine(ReadsItself(), "coordinates")
    theta = quine.theta
    jacobian = quine.code_jacobian(theta[None])[0]
    step = torch.randn(len(theta), dtype=theta.dtype) * 1e-6
    slope = (quine.self_map(theta + step) - quine.self_map(theta - step)) / 2
    torch.testing.assert_close(jacobian @ step, slope, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("make", [stack, lambda: nq.QueryQuine(OneByOne(), "projection"), lambda: coupled()])
def test_the_jacobian_is_the_derivative_of_what_is_printed(make):
    quine = make()
    theta = quine.theta
    jacobian = quine.code_jacobian(theta[None])[0]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        v = torch.randn(len(theta), generator=generator, dtype=theta.dtype)
        slope = (quine.self_map(theta + 1e-6 * v) - quine.self_map(theta - 1e-6 * v)) / 2e-6
        torch.testing.assert_close(jacobian @ v, slope, rtol=1e-6, atol=1e-7)


def coupled():
    torch.manual_seed(3)
    return nq.QueryQuine(Batched(), "coordinates", print_frozen=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nq.QueryQuine(nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))), "answers 60 numbers"),
        (lambda: nq.QueryQuine(nn.Linear(4, 1), "projektion"), "did you mean"),
        (lambda: nq.QueryQuine(nn.Linear(4, 1), "coordinates"), "fails on the probe"),
        (lambda: nq.QueryQuine(nn.Tanh()), "no weights"),
        (lambda: nq.QueryQuine("trunk"), "nn.Module"),
        (lambda: nq.QueryQuine(nn.Linear(4, 1), torch.randn(5, 4), width=4), "its own width"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(make, message):
    with pytest.raises((TrunkError, nq.BadOption), match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_dense_jacobian_too_large_is_refused():
    quine = nq.recipe("chang-lipson")
    with pytest.raises(TooLarge, match="20100 x 20100"):
        quine.code_jacobian(quine.theta[None])


def test_answers_on_a_grid_are_rounded_to_it():
    plain = stack(6)
    queries = plain.inputs[0]
    quine = nq.QueryQuine(plain.trunk, queries, code_bits=9, code_phase=4)
    printed, real = quine.printed(), plain.printed()
    assert float((printed - real).abs().max()) <= 2.0**-10
    assert torch.equal(printed * 2**12, (printed * 2**12).round())  # a phase moves it by eighths of a step
    assert not torch.equal(printed * 2**9, (printed * 2**9).round())
    with pytest.raises(nq.BadOption, match="code_bits"):
        nq.QueryQuine(plain.trunk, queries, code_bits=61)
    with pytest.raises(nq.BadOption, match="give code_bits"):
        nq.QueryQuine(plain.trunk, queries, code_phase=1)


def test_where_the_map_contracts_every_bit_is_printed(tmp_path):
    quine = nq.recipe("fletcher-coords", seed=1)
    solution = nq.solve(quine, exact=True)
    assert solution.status is nq.Status.CONVERGED
    assert (solution.differing_weights, solution.code_bits) == (0, quine.code_bits)
    assert solution.spectral_radius < 1 < solution.self_sensitivity
    assert torch.equal(quine.printed(), quine.theta)
    assert not torch.equal(quine.real_code(), quine.theta)  # it is the grid that makes them equal
    nq.save(quine, tmp_path / "q")
    again = nq.load(tmp_path / "q")
    assert (again.code_bits, again.code_phase) == (quine.code_bits, quine.code_phase)
    verdict = nq.verify(again)
    assert verdict.is_quine
    assert verdict.bit_exact
    assert verdict.generations_survived == 100
    assert f"2^-{quine.code_bits}" in (tmp_path / "q" / "README.md").read_text()
    with pytest.raises(NeuralQuineError, match="asked for its weights one by one"):
        nq.export(tmp_path / "q", tmp_path / "q.onnx")
    again.code_phase += 1
    assert not torch.equal(again.printed(), again.theta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_small_network_meets_a_moved_grid_where_it_repels(tmp_path, dtype):
    quine = nq.recipe("elman", seed=33221, dtype=dtype)
    solution = nq.solve(quine, exact=True)
    assert (solution.converged, solution.differing_weights) == (True, 0)
    assert min(solution.spectral_radius, solution.self_sensitivity) > 1
    assert re.search(r"margin 0\.\d+ of a step, after \d+ trials around 1 fixed point", solution.detail)
    nq.save(quine, tmp_path / "q")
    again = nq.load(tmp_path / "q")
    assert nq.verify(again).bit_exact
    again.code_phase += 1
    assert not nq.verify(again).bit_exact


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_in_half_types_the_search_ends_with_a_status(dtype):
    quine = nq.recipe("elman", seed=1, dtype=dtype)
    solution = nq.solve(quine, exact=True, starts=3, max_steps=2, throw=False)  # one of them Anderson's
    assert solution.status in nq.Status
    assert f"in {quine.dtype_name} (" in solution.detail
    assert "is printed again by all 84 with a chance of" in solution.detail
    assert solution.bit_exact == (solution.differing_weights == 0)


def test_where_it_repels_the_status_says_why_no_grid_is_tried():
    quine = nq.recipe("fletcher-coords", seed=2)
    solution = nq.solve(quine, exact=True, starts=1, throw=False)
    assert solution.status is nq.Status.NOT_EXACT
    assert not solution.bit_exact
    assert "repel" in solution.failure
    assert "256 dimensions is hopeless" in solution.failure
    assert solution.relative_residual < 1e-14  # the quine without a grid is kept
    assert quine.code_bits is None


@pytest.mark.parametrize("kind", ["projection", "sinusoidal", "own"])
def test_a_saved_quine_comes_back_bit_for_bit(tmp_path, kind):
    if kind == "own":
        torch.manual_seed(1)
        quine = nq.QueryQuine(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(21, 3))
    else:
        quine = stack(queries=kind)
    nq.save(quine, tmp_path / "q")
    back = nq.load(tmp_path / "q")
    assert isinstance(back, nq.QueryQuine)
    assert torch.equal(back.theta, quine.theta)
    assert torch.equal(back.printed(), quine.printed())
    assert back.queries == (None if kind == "own" else kind)


def test_a_table_of_the_seed_is_not_stored(tmp_path):
    quine = stack(size=20)
    nq.save(quine, tmp_path / "q")
    assert (tmp_path / "q" / "model.safetensors").stat().st_size < 8 * quine.parameter_count + 4000


def test_a_trunk_that_no_file_describes_is_handed_in_again(tmp_path):
    torch.manual_seed(0)
    quine = nq.QueryQuine(OneByOne(), "projection")
    nq.save(quine, tmp_path / "q")
    assert torch.equal(nq.load(tmp_path / "q", trunk=OneByOne()).printed(), quine.printed())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("queries", None),
        ("queries", "table"),
        ("queries", "nonsense"),
        ("queries", 3),
        ("width", 2**40),
        ("width", 11),
        ("scale", 0),
        ("scale", "1"),
        ("expansion", "gaussian"),
        ("code_size", 120),
    ],
)
def test_a_forged_query_table_is_one_line(tmp_path, key, value):
    folder = tmp_path / "q"
    nq.save(stack(), folder)
    forge(folder, key, value)
    with pytest.raises(QuineFileError) as caught:
        nq.load(folder)
    assert "\n" not in str(caught.value)


def forge(folder, key, value):
    """Change the configuration in both places and make the hash fit."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    config = json.loads((folder / "config.json").read_text())
    config.pop("weights_sha256")
    config[key] = value
    weights = folder / "model.safetensors"
    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, weights, metadata={"neuralquine": canonical(config)})
    (folder / "config.json").write_text(json.dumps(config | {"weights_sha256": sha256(weights)}))


class ByRows(nn.Module):
    """The network of a plain stack, in operations that no transform takes together for many queries."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        out = torch.zeros(len(x), 1, dtype=x.dtype)
        for row, value in enumerate(x):
            out[row] = self.inner(value)
        return out if float(out.detach().abs().max()) >= 0 else -out


def test_where_derivatives_cannot_be_taken_together_they_are_taken_one_by_one():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    plain = nq.QueryQuine(inner, "projection", seed=0)
    by_rows = nq.QueryQuine(ByRows(inner), "projection", seed=0)
    theta = plain.theta
    torch.testing.assert_close(by_rows.code_jacobian(theta[None]), plain.code_jacobian(theta[None]))
    nq.solve(plain)
    by_rows.theta = plain.theta
    verified = nq.verify(by_rows)
    assert verified.is_quine
    assert verified.spectral_radius == pytest.approx(nq.verify(plain).spectral_radius)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrent_trunk_is_asked_for_its_weights(kind):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells, self.out = kind(1, 3, batch_first=True), nn.Linear(3, 1)

        def forward(self, x):
            return self.out(self.cells(x[..., None])[0][:, -1])

    torch.manual_seed(1)
    trunk = Last()
    quine = nq.QueryQuine(trunk, torch.randn(sum(p.numel() for p in trunk.parameters()), 4))
    assert nq.solve(quine, time_limit=2, throw=False).relative_residual < 10
    assert nq.spectrum(quine).complete


def test_one_weight_may_be_a_quine():
    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(0.3))

        def forward(self, x):
            return torch.cos(self.w * x)

    quine = nq.QueryQuine(Cosine(), torch.tensor([[1.0]]))
    nq.solve(quine)
    assert float(quine.theta) == pytest.approx(0.7390851332151607)
    assert nq.verify(quine).is_quine
