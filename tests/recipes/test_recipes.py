"""Every named problem: built, printed at healthy scales, solved and kept where it is small."""

import pytest
import torch

import neuralquine as nq
from neuralquine.recipes import RECIPES, problem
from neuralquine.solving.solution import Status

SMALL = ("cnn", "rnn", "gru", "lstm", "transformer")
TINY = {
    "gpt2": {"layers": 2, "width": 8},
    "gpt2-xl": {"layers": 2, "width": 16},
    "llama-8b": {"layers": 1, "width": 32},
}
WEIGHTS = {
    "blog": 1020,
    "blog-part1": 1020,
    "cnn": 25_320,
    "rnn": 13_568,
    "gru": 40_704,
    "lstm": 54_272,
    "transformer": 117_504,
    "chang-lipson": 20_100,
    "queried-121": 121,
    "queried-441": 441,
    "queried-2601": 2_601,
    "fletcher-coords": 256,
    "fletcher-onehot": 4_096,
    "fletcher-rnn": 3_665,
    "elman": 84,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_number_of_weights_is_the_one_in_the_listing(name):
    quine = nq.recipe(name)
    assert quine.parameter_count == WEIGHTS[name]
    assert name.startswith("blog") or f"P = {WEIGHTS[name]:,}" in RECIPES[name].__doc__


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet18", 11_689_512),
        ("vit-b16", 86_567_656),
        ("gpt2", 124_439_808),
        ("gpt2-xl", 1_557_611_200),
        ("llama-8b", 8_030_261_248),
    ],
)
def test_the_well_known_models_have_their_known_sizes(name, weights):
    pytest.importorskip("transformers")
    with torch.device("meta"):
        trunk = problem(name).trunk
    assert sum(p.numel() for p in trunk.parameters()) == weights
    assert f"P = {weights:,}" in RECIPES[name].__doc__


@pytest.mark.parametrize("name", [n for n in SMALL if n != "transformer"])
def test_small_ones_are_solved_free_and_anchored(name):
    free = nq.solve(nq.recipe(name))
    assert free.converged
    assert free.self_sensitivity > 1
    assert free.relative_residual < 1e-14
    anchored = nq.solve(nq.recipe(name, skip=0.1))
    assert anchored.converged
    assert anchored.spectral_radius < 1
    assert anchored.self_sensitivity > 0.1
    assert anchored.map_evaluations < 40


@pytest.mark.parametrize("name", SMALL)
def test_an_anchored_one_is_exact_on_some_grid(name, tmp_path):
    quine = nq.recipe(name, skip=0.05)
    solution = nq.solve(quine, exact=True)
    assert solution.bit_exact
    assert solution.self_sensitivity > 0.1
    report = nq.save(quine, tmp_path / "q")
    assert report.is_quine
    again = nq.load(tmp_path / "q")
    assert torch.equal(again.theta, quine.theta)
    assert torch.equal(again.printed(), quine.theta)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "gpt2-xl")) for n in TINY])
def test_language_models_in_small_are_exact_and_load_again_at_the_scales_of_their_initialization(name, tmp_path):
    pytest.importorskip("transformers")
    quine = nq.recipe(name, **TINY[name])
    before = {n: (p.detach().mean().item(), p.detach().std().item()) for n, p in quine.trunk.named_parameters()}
    solution = nq.solve(quine)
    assert solution.bit_exact
    assert solution.self_sensitivity > 0.01
    assert nq.save(quine, tmp_path / "q").is_quine
    again = nq.load(tmp_path / "q")
    assert again.dtype == quine.dtype == (torch.bfloat16 if name == "llama-8b" else torch.float32)
    assert torch.equal(again.theta, quine.theta)
    assert torch.equal(again.printed(), quine.theta)
    for key, p in quine.trunk.named_parameters():  # the scales are those of the initialization
        mean, std = before[key]
        if std > 0:
            assert 0.6 < p.detach().std().item() / std < 1.6, key
        assert abs(p.detach().mean().item() - mean) < 0.2 + std, key


def test_a_zero_skip_prints_a_constant_and_is_called_so():
    quine = nq.Quine(problem("cnn").trunk, problem("cnn").probe, skip=0.0)
    solution = nq.solve(quine, throw=False)
    assert solution.status is Status.CONSTANT_QUINE


def test_forged_options_are_refused():
    with pytest.raises(nq.BadOption, match="must be from 0 to"):
        problem("gpt2", layers=1 << 30)
    with pytest.raises(nq.UnknownName, match="did you mean 'skip'"):
        problem("cnn", skap=0.1)


@pytest.mark.slow
def test_a_recurrent_network_emits_its_own_weights():
    quine = nq.recipe("elman", seed=1)
    solution = nq.solve(quine)
    assert solution.relative_residual < 1e-14
    assert float(quine.theta.std()) > 0.5 * solution.weight_rms
    assert nq.verify(quine).is_quine


def test_a_free_running_network_feeds_its_output_back():
    """Step by step by hand, with torch's own layers."""
    quine = nq.recipe("fletcher-rnn", size=3, layers=2)
    trunk, emitted = quine.trunk, []
    y = torch.zeros(1, 1, dtype=torch.float64)
    states = [None, None]
    for _ in range(quine.parameter_count):
        states[0] = trunk.lstm[0](y, states[0])
        states[1] = trunk.lstm[1](states[0][0], states[1])
        z = torch.nn.functional.instance_norm(trunk.mix(states[1][0])[None])[0]
        y = trunk.out(torch.relu(z))
        emitted.append(y.reshape(()))
    torch.testing.assert_close(quine.printed(), torch.stack(emitted), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["selu", "tanh", "relu", "gelu"])
def test_the_papers_recipe_takes_an_activation_by_name(activation):
    quine = nq.recipe("chang-lipson", width=8, activation=activation, scale=0.25)
    assert quine.parameter_count == 2 * 64 + 8
    assert quine.scale == 0.25


def test_an_unknown_activation_is_named():
    with pytest.raises(nq.UnknownName, match="did you mean 'selu'"):
        nq.recipe("chang-lipson", activation="sellu")


def test_the_papers_initial_loss_is_the_published_one():
    """90.16 in the paper; torch's initialization and queries of standard deviation 1/16."""
    losses = []
    for seed in range(5):
        quine = nq.recipe("chang-lipson", seed=seed, scale=1 / 16)
        losses.append(float((quine.printed() - quine.theta).square().sum()))
    assert min(losses) < 90.16 < max(losses)
