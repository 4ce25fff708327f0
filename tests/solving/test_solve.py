"""``solve`` on the blog's network and on ones that have no quine: what it says is recomputed by other means."""
# pyright: reportArgumentType=false, reportOperatorIssue=false, reportOptionalMemberAccess=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.errors import NotSolved, UnknownName
from neuralquine.solving.judge import _chosen
from neuralquine.solving.loop import Search
from neuralquine.solving.maps import FullMap
from neuralquine.solving.solution import Status
from neuralquine.solving.solve import Stop


def printed_by_numpy(quine):
    """The post's network with nothing but numpy: ``0.25 * (code @ proj)``, ``proj`` a Gaussian matrix over 20."""
    weights = [p.detach().numpy() for p in quine.trunk.parameters()]
    matrix = quine.expand.matrix.numpy()

    def norm(h):
        return (h - h.mean()) / np.sqrt(h.var() + 1e-5)

    h = quine.inputs[0].numpy()[0]
    for layer in range(3):
        h = norm(np.tanh(weights[2 * layer] @ h + weights[2 * layer + 1]))
    return 0.25 * (h @ (matrix / 20).T)


def check_by_numpy(quine, solution):
    theta = quine.theta.numpy()
    difference = printed_by_numpy(quine) - theta
    assert np.linalg.norm(difference) / np.linalg.norm(theta) <= 1e-14
    assert np.abs(difference).max() <= 1e-14
    assert np.sqrt((theta**2).mean()) > 0.01
    assert solution.weight_rms == pytest.approx(np.sqrt((theta**2).mean()))
    assert solution.self_sensitivity > 0.1


@pytest.mark.parametrize("seed", range(10))
def test_the_default_ladder_solves_the_blog_network(seed):
    quine = nq.recipe("blog", seed=seed)
    solution = nq.solve(quine)
    assert solution.status is Status.CONVERGED
    assert solution.converged
    assert solution.relative_residual <= 1e-14
    assert torch.equal(quine.theta, solution.theta)
    assert solution.parameters == quine.theta.numel() == 1020
    check_by_numpy(quine, solution)


@pytest.mark.slow
@pytest.mark.parametrize("decade", range(10))
def test_the_default_ladder_solves_a_hundred_seeds(decade):
    for seed in range(10 * decade, 10 * decade + 10):
        quine = nq.recipe("blog", seed=seed)
        check_by_numpy(quine, nq.solve(quine))


@pytest.mark.parametrize(
    ("method", "seed"),
    [
        *((method, seed) for method in ("newton", "broyden") for seed in range(3)),
        *(pytest.param("newton-krylov", seed, marks=pytest.mark.slow) for seed in (0, 1, 2)),  # most of a minute each
    ],
)
def test_single_methods_with_several_starts_solve_it_too(method, seed):
    quine = nq.recipe("blog", seed=seed)
    solution = nq.solve(quine, method, starts=64)
    check_by_numpy(quine, solution)
    assert solution.method == method


def test_it_solves_a_network_in_single_precision():
    quine = nq.recipe("blog", seed=1, dtype=torch.float32)
    solution = nq.solve(quine)
    assert solution.theta.dtype == quine.printed().dtype == torch.float32
    assert solution.dtype == "float32"
    assert solution.relative_residual <= 40 * 2**-23


def test_the_figures_are_those_of_a_fresh_evaluation(solved):
    said = solved.solution
    theta, printed = solved.theta, solved.self_map(solved.theta)
    assert said.relative_residual == pytest.approx(float((printed - theta).norm() / theta.norm()), rel=1e-6)
    assert said.max_abs_residual == float((printed - theta).abs().max())
    assert said.differing_weights == int((printed != theta).sum())
    assert said.bit_exact == (said.differing_weights == 0)
    assert said.portable is None
    assert said.proved is None


def test_spectral_radius_and_sensitivity_are_those_of_the_full_jacobian(solved):
    jacobian = FullMap(solved).jacobian(solved.theta[None])[0]
    assert solved.solution.spectral_radius == pytest.approx(float(torch.linalg.eigvals(jacobian).abs().max()), rel=1e-8)
    assert solved.solution.self_sensitivity == pytest.approx(float(torch.linalg.matrix_norm(jacobian, 2)), rel=1e-8)


def test_map_evaluations_and_jvps_are_counted():
    quine = nq.recipe("blog", seed=2)
    calls = [0]
    real_code = quine.real_code

    def counted(theta):
        calls[0] += 1
        return real_code(theta)

    quine.real_code = counted
    quine._vectorized = False  # one call, one row
    solution = nq.solve(quine, "picard", stop=Stop(max_steps=7), throw=False)
    # The judge evaluates the last iterate and the best one; the derivative for the spectrum runs the map once, and is compared with
    # one difference of two runs.
    assert solution.steps == 7
    assert not torch.equal(solution.theta, solution.last_theta)
    assert solution.map_evaluations == 1 + 8 + 2
    assert solution.jvps == quine.code_size
    assert calls[0] == solution.map_evaluations + 3


def test_the_trace_is_of_best_residuals_and_ends_at_the_end(solved):
    trace = solved.solution.trace
    residuals = [point.relative_residual for point in trace]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[-1] < 1e-14
    assert [p.step for p in trace] == sorted({p.step for p in trace})
    assert all(a.map_evaluations <= b.map_evaluations for a, b in itertools.pairwise(trace))


def test_a_long_trace_is_thinned(monkeypatch):
    monkeypatch.setattr("neuralquine.solving.trace._POINTS", 200)
    solution = nq.solve(nq.recipe("blog", seed=0), "sgd", stop=Stop(max_steps=600), throw=False)
    assert solution.steps == 600
    assert len(solution.trace) < 450


def test_progress_is_told():
    told = []
    nq.solve(nq.recipe("blog", seed=3), progress=told.append)
    assert told[-1].relative_residual < 1e-14
    assert told[-1].map_evaluations > told[0].map_evaluations


def test_solving_a_solved_quine_keeps_it(solved):
    before, cost = solved.theta, solved.solution.map_evaluations
    again = nq.solve(solved)
    assert again.converged
    assert float((solved.theta - before).norm() / before.norm()) < 1e-13
    assert again.map_evaluations < cost / 10
    assert again.steps <= 4
    one = nq.solve(solved, "newton", starts=1)
    assert one.map_evaluations <= 8
    assert one.relative_residual <= 1e-14


def test_an_attracting_quine_is_found_from_the_network_itself(small):
    with torch.no_grad():
        small.expand.mean.copy_(small.theta)  # small changes of an ordinary network: regeneration contracts
        small.expand.gain *= 0.1
    solution = nq.solve(small, "picard")
    assert solution.converged
    assert solution.spectral_radius < 1
    assert solution.steps < 100


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_autograd_gets_the_same_answer(mode, solved):
    quine = nq.recipe("blog", seed=0)
    with mode():
        solution = nq.solve(quine)
        spectrum = nq.spectrum(quine)
        report = nq.verify(quine)
    assert torch.equal(solution.theta, solved.theta)
    assert solution.self_sensitivity == spectrum.self_sensitivity == report.self_sensitivity > 1


def test_the_same_seed_gives_the_same_bits(solved):
    again = nq.recipe("blog", seed=0)
    solution = nq.solve(again)
    assert again.theta.numpy().tobytes() == solved.theta.numpy().tobytes()
    first, second = (copy.deepcopy(s.figures()) for s in (solved.solution, solution))
    del first["seconds"], second["seconds"]
    assert first == second


def test_another_seed_of_the_starts_finds_another_quine(solved):
    other = nq.recipe("blog", seed=0)
    nq.solve(other, seed=12345)
    assert torch.equal(other.expand.matrix, solved.expand.matrix)
    assert float((other.theta - solved.theta).norm() / solved.theta.norm()) > 1e-3


def test_solving_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    nq.solve(nq.recipe("blog", seed=4))
    assert torch.equal(torch.rand(3), expected)


# -- the post's gradient ----------------------------------------------------------------------------------------------


def after_one_sgd_step(quine, gradient, lr):
    twin = copy.deepcopy(quine)
    method = nq.Gradient(optimizer="sgd", lr=lr, gradient=gradient)
    return nq.solve(twin, method, stop=Stop(max_steps=1), throw=False).last_theta


def test_the_semi_gradient_is_what_the_posts_loop_computes():
    quine, lr = nq.recipe("blog", seed=0), 2.0**-10
    theta = quine.theta
    step = (theta - after_one_sgd_step(quine, "semi", lr)) / lr
    # The post writes the weights into the network by copying, so autograd sees them as constants.
    leaf = theta.clone().requires_grad_(True)
    printed = quine.self_map(theta).detach()
    (expected,) = torch.autograd.grad(((printed - leaf) ** 2).sum(), leaf)
    assert torch.equal(expected, -2 * (printed - theta))
    assert float((step - expected).abs().max()) < 1e-12


def test_the_true_gradient_is_autograd_through_the_network():
    quine, lr = nq.recipe("blog", seed=0), 2.0**-10
    theta = quine.theta
    step = (theta - after_one_sgd_step(quine, "true", lr)) / lr
    leaf = theta.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(((quine.self_map(leaf) - leaf) ** 2).sum(), leaf)
    assert float((step - expected).abs().max()) < 1e-12 * (1 + float(expected.abs().max()))
    semi = -2 * (quine.self_map(theta) - theta)
    assert float((expected - semi).norm()) > 0.1 * float(semi.norm())


def test_the_best_point_is_kept_beside_the_last():
    quine = nq.recipe("blog", seed=0)
    solution = nq.solve(quine, "rmsprop", stop=Stop(max_steps=400), throw=False)
    best = quine.self_map(solution.theta)
    assert solution.relative_residual == pytest.approx(float((best - solution.theta).norm() / solution.theta.norm()))
    last = quine.self_map(solution.last_theta)
    assert solution.last_relative_residual == pytest.approx(
        float((last - solution.last_theta).norm() / solution.last_theta.norm())
    )
    assert solution.relative_residual < solution.last_relative_residual
    assert min(p.relative_residual for p in solution.trace) == pytest.approx(solution.relative_residual)


def test_the_figures_keep_their_names_and_their_order(solved):
    assert list(solved.solution.figures()) == [
        *("status", "converged", "parameters", "relative_residual", "max_abs_residual", "last_relative_residual"),
        *("squared_residual", "last_squared_residual", "course"),
        *("weight_rms", "differing_weights", "bit_exact", "self_sensitivity", "spectral_radius", "map_evaluations"),
        *(
            "jvps",
            "steps",
            "seconds",
            "method",
            "seed",
            "dtype",
            "code_bits",
            "code_phase",
            "portable",
            "proved",
            "detail",
            "asked",
            "answers",
            "determinant",
            "prospect",
        ),
    ]
    assert solved.solution.max_ulp >= 0
    assert solved.solution.nonfinite_weights == 0


def test_a_sensitivity_that_is_only_a_lower_bound_is_marked_so(solved, monkeypatch):
    assert not solved.solution.bound
    monkeypatch.setattr(nq.Quine, "in_place", property(lambda quine: quine.printer.chunked))
    trunk = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 16))
    large = nq.Quine(trunk, torch.ones(1, 6), code_size=8, skip=0.1, code_bits=8, expansion="hadamard")
    solution = nq.solve(large, throw=False)
    assert solution.bound
    assert solution.theta is None


# -- failure ----------------------------------------------------------------------------------------------------------


def test_without_normalization_every_search_ends_at_the_zero_quine():
    quine = nq.recipe("blog-part1", seed=0)
    with pytest.raises(NotSolved, match=r"^zero quine: .* \(relative residual .* map evaluations\)") as caught:
        nq.solve(quine)
    solution = caught.value.solution
    assert solution.status is Status.ZERO_QUINE
    assert not solution.converged
    assert solution.weight_rms < 1e-4
    assert torch.equal(solution.theta, quine.theta)
    assert quine.solution is solution
    assert "\n" not in str(caught.value)


class Constant(nn.Module):
    """Prints the same whatever it holds."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(30))
        self.register_buffer("answer", torch.linspace(-1, 1, 8) ** 3)

    def forward(self, x):
        return self.answer + 0 * self.weight.sum() * x.sum()


class Root(nn.Module):
    """Not a number once a weight has become negative enough."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((8,), 9.0))

    def forward(self, x):
        return torch.sqrt(self.weight * x - 1)


def interrupt(point):
    raise KeyboardInterrupt


FAILURES = {
    Status.CONSTANT_QUINE: (lambda: nq.Quine(Constant(), torch.ones(1), code_size=8), {}),
    Status.ZERO_QUINE: (lambda: nq.recipe("blog-part1"), {"method": "newton"}),
    Status.MAX_STEPS: (lambda: nq.recipe("blog"), {"method": "rmsprop", "stop": Stop(max_steps=5)}),
    Status.TIME_LIMIT: (lambda: nq.recipe("blog"), {"stop": Stop(time_limit=0.0)}),
    Status.STALLED: (lambda: nq.recipe("blog"), {"method": "picard", "stop": Stop(patience=20)}),
    Status.NONFINITE: (
        lambda: nq.Quine(Root(), torch.ones(1), code_size=8, alpha=1.0, prints="code"),
        {"method": "picard"},
    ),
    Status.INTERRUPTED: (lambda: nq.recipe("blog"), {"progress": interrupt}),
    Status.DIVERGED: (
        lambda: nq.recipe("blog", seed=1),
        {"method": nq.Gradient(optimizer="sgd", lr=10.0), "stop": Stop(max_steps=1000)},
    ),
}


@pytest.mark.parametrize("status", FAILURES, ids=lambda s: s.name)
def test_every_failure_is_named_and_raised_only_on_request(status):
    make, options = FAILURES[status]
    quine = make()
    solution = nq.solve(quine, throw=False, **options)
    assert solution.status is status
    assert not solution.converged
    assert bool(torch.isfinite(quine.theta).all())
    assert status.name in repr(solution)
    json.dumps(solution.figures(), allow_nan=False)
    with pytest.raises(NotSolved) as caught:
        nq.solve(make(), **options)
    assert caught.value.solution.status is status
    assert str(caught.value).startswith(status.value)


def test_a_tolerance_that_round_off_cannot_meet_is_not_called_converged():
    solution = nq.solve(nq.recipe("blog"), "broyden", stop=Stop(rtol=1e-25), throw=False)
    assert not solution.converged
    assert solution.relative_residual < 1e-14  # yet the best point is kept


def test_a_looser_tolerance_is_named_by_its_residual():
    solution = nq.solve(nq.recipe("blog"), stop=Stop(rtol=1e-3))
    assert solution.converged
    assert solution.relative_residual <= 1e-3


def test_an_evaluation_limit_ends_the_ladder():
    solution = nq.solve(nq.recipe("blog-part1"), stop=Stop(max_evaluations=100), throw=False)
    assert solution.map_evaluations < 200


def test_full_newton_on_a_large_network_is_refused_with_the_bytes():
    trunk = nn.Sequential(nn.Linear(8, 400), nn.Tanh(), nn.Linear(400, 40))
    quine = nq.Quine(trunk, torch.ones(1, 8), code_size=4)  # 19,640 weights: 2.9 GiB
    with pytest.raises(nq.TooLarge, match=r"19640 x 19640 Jacobian would take 2\.87 GiB"):
        nq.solve(quine, "newton-full")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_steps": -5}, "max_steps must be a number of at least 0, not -5"),
        ({"max_evaluations": -1}, "max_evaluations must be a number of at least 0, not -1"),
        ({"time_limit": float("nan")}, "time_limit must be a number of at least 0, not nan"),
        ({"rtol": -1e-3}, "rtol must be a number of at least 0, not -0.001"),
        ({"patience": "long"}, "patience must be a number of at least 0, not 'long'"),
        ({"max_steps": True}, "max_steps must be a number of at least 0, not True"),
    ],
)
def test_a_limit_that_is_none_is_refused(limits, message):
    with pytest.raises(nq.BadOption) as caught:
        Stop(**limits)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": 0}, "starts must be at least 1, not 0"),
        ({"starts": -1}, "starts must be at least 1, not -1"),
        ({"exact": True, "probes": -2}, "probes must be at least 0, not -2"),
        ({"exact": True, "method": "newton"}, "an exact quine is sought by a search of its own: leave the method out"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_the_search(small, options, message):
    before = small.theta
    with pytest.raises(nq.BadOption) as caught:
        nq.solve(small, **options)
    assert str(caught.value) == message
    assert torch.equal(small.theta, before)


def test_unknown_names_suggest_the_nearest(small):
    with pytest.raises(UnknownName, match="no method 'anderso': did you mean 'anderson'"):
        nq.solve(small, "anderso")
    with pytest.raises(UnknownName, match="no recipe 'blogg': did you mean 'blog'"):
        nq.recipe("blogg")
    with pytest.raises(UnknownName, match="no option 'alhpa': did you mean 'alpha'"):
        nq.recipe("blog", alhpa=1.0)
    with pytest.raises(nq.BadOption, match="alpha must be a float"):
        nq.recipe("blog", alpha="much")
    with pytest.raises(TypeError):
        nq.solve(small, step=3)
    with pytest.raises(TypeError):
        Stop(steps=3)
    with pytest.raises(AttributeError, match="no attribute 'slove'"):
        nq.slove  # noqa: B018


def test_the_solution_prints_on_one_screen_and_cannot_be_changed(solved):
    text = repr(solved.solution)
    assert len(text.splitlines()) <= 5
    for word in ("CONVERGED", "relative residual", "weight RMS", "self-sensitivity", "spectral radius"):
        assert word in text
    with pytest.raises(AttributeError):
        solved.solution.status = Status.STALLED


def test_submodules_do_not_hide_the_functions_of_their_name():
    import neuralquine.checking.generations
    import neuralquine.checking.spectrum
    import neuralquine.checking.verify
    import neuralquine.solving.solve
    import neuralquine.solving.zoo

    for name in ("solve", "verify", "spectrum", "zoo", "generations", "save", "load", "recipe"):
        assert callable(getattr(neuralquine, name)), name


@pytest.mark.parametrize("rtol", [0.5, 1e-3])
def test_a_wider_tolerance_is_not_called_round_off(rtol):
    solution = nq.solve(nq.recipe("blog", seed=0), stop=nq.Stop(rtol=rtol))
    assert solution.converged
    assert solution.relative_residual > 1e-14
    assert solution.loose
    assert "round-off is a relative residual of 9e-15" in solution.sentence
    assert nq.solve(nq.recipe("blog", seed=0)).sentence.endswith("to round-off")


def test_a_quine_that_was_found_outweighs_starts_that_went_to_zero():
    """Also where the time was over before it was called converged."""

    def ended(residual, status):
        point = torch.full((1, 2), residual)
        return "broyden", Search(point, torch.tensor([residual]), point, [status], 1)

    results = [ended(3.0, Status.ZERO_QUINE), ended(1e-16, Status.TIME_LIMIT), ended(2.0, Status.ZERO_QUINE)]
    _, search, row = _chosen(results, 1e-14)
    assert float(search.residuals[row]) < 1e-15
    _, search, row = _chosen([results[0], ended(0.1, Status.TIME_LIMIT), results[2]], 1e-14)
    assert search.status[row] is Status.ZERO_QUINE
