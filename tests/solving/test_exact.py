"""Bit-exact quines: found for every seed, the same bits wherever they are read, and denied where they are not."""

import json
import math
import re
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import forked
import neuralquine as nq
from neuralquine.quines.tables.philox import dyadic_gaussian, words
from neuralquine.solving import harvest
from neuralquine.solving.grids import Grid, Repels, regenerate, settle
from neuralquine.solving.lattice import points_in_cubes
from neuralquine.solving.maps import ReducedMap, SelfMap
from neuralquine.solving.prospect import prospect


def printed_by_numpy(folder):
    """The blog's network with a grid, in float64, with nothing but numpy and the folder's files."""
    config = json.loads((folder / "config.json").read_text())
    held = load_file(folder / "model.safetensors")
    weights = [held[f"trunk.{name}"] for name, _ in config["tensors"]]
    theta = np.concatenate([w.ravel() for w in weights])

    def norm(h):
        centered = h - h.mean()
        return centered / np.sqrt((centered**2).mean() + 1e-5)

    h = held["probe.0"][0]
    for layer in range(3):
        h = norm(np.tanh(weights[2 * layer] @ h + weights[2 * layer + 1]))
    scale, phase = 2.0 ** config["code_bits"], config.get("code_phase", 0)
    offset = (words(config["seed"], 11, 20 * phase, 20) >> 29) / 8 if phase else 0.0
    code = (np.round(h * scale - offset) + offset) / scale
    matrix = dyadic_gaussian(config["seed"], 1, 0, theta.size * 20).reshape(-1, 20)
    return theta, 0.25 / 20 * (matrix @ code)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Exact quines of three seeds, saved."""
    made = {}
    for seed in range(3):
        quine = nq.recipe("blog", seed=seed)
        nq.solve(quine, exact=True)
        made[seed] = tmp_path_factory.mktemp("exact") / f"quine-{seed}"
        nq.save(quine, made[seed])
    return made


def test_the_printed_bits_equal_the_stored_ones_for_every_seed():
    for seed in range(5, 7):
        quine = nq.recipe("blog", seed=seed)
        solution = nq.solve(quine, exact=True)
        assert solution.bit_exact
        assert solution.differing_weights == 0
        assert solution.relative_residual == 0.0
        assert solution.code_bits == quine.code_bits
        assert solution.self_sensitivity > 0.1
        assert solution.weight_rms > 0.01
        assert quine.theta.numpy().tobytes() == quine.printed().numpy().tobytes()
        assert nq.verify(quine).is_quine


@pytest.mark.slow
def test_twenty_seeds_in_a_minute_each():
    for seed in range(20):
        solution = nq.solve(nq.recipe("blog", seed=seed), exact=True)
        assert solution.bit_exact
        assert solution.seconds < 60


def test_numpy_alone_prints_the_same_bits(folders):
    for folder in folders.values():
        theta, printed = printed_by_numpy(folder)
        assert theta.tobytes() == printed.tobytes()


def test_another_process_with_another_number_of_threads_prints_the_same_bits(folders):
    code = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[1])); import neuralquine as nq\n"
        "for f in sys.argv[2:]:\n"
        "    q = nq.load(f); assert q.theta.numpy().tobytes() == q.printed().numpy().tobytes(), f"
    )
    for threads in ("1", "3"):
        forked.run([sys.executable, "-c", code, threads, *map(str, folders.values())], check=True)


def test_it_stays_the_same_for_a_thousand_generations(folders):
    line = nq.generations(nq.load(folders[0]), 1000)
    assert line.identical == 1000


def test_small_damage_to_the_weights_is_repaired_in_one_generation(folders):
    quine = nq.load(folders[0])
    theta = quine.theta
    damaged = theta * (1 + 1e-12 * torch.sign(theta))
    assert not torch.equal(damaged, theta)
    assert torch.equal(quine.self_map(damaged), theta)


def test_an_unrounded_quine_is_not_called_bit_exact():
    quine = nq.recipe("blog", seed=0)
    solution = nq.solve(quine)
    assert solution.converged
    assert not solution.bit_exact
    verification = nq.verify(quine)
    assert verification.converged
    assert not verification.bit_exact


def test_one_flipped_bit_is_no_longer_bit_exact(folders):
    quine = nq.load(folders[1])
    theta = quine.theta
    theta.view(torch.int64)[7] ^= 1
    quine.theta = theta
    verification = nq.verify(quine)
    assert verification.differing_weights == 1
    assert not verification.bit_exact
    assert verification.max_ulp == 1


def test_a_given_grid_is_kept():
    quine = nq.Quine(*_net(), code_size=12, code_bits=9)
    solution = nq.solve(quine, throw=False)
    assert quine.code_bits == 9
    assert solution.bit_exact == (solution.status is nq.Status.CONVERGED)


def test_failure_says_what_was_tried():
    quine = nq.Quine(*_net(), code_size=12, code_bits=9)
    with pytest.raises(nq.NotSolved, match=r"tried \d+ fixed points? on 1 grid \(.* with 2 probes") as caught:
        nq.solve(quine, starts=4, probes=1, stop=nq.Stop(max_steps=1))
    assert caught.value.solution.status is nq.Status.NOT_EXACT
    assert "with skip=0.1 the network is anchored" in str(caught.value)


def test_large_codes_are_settled_asynchronously():
    generator = torch.Generator().manual_seed(0)
    matrix = 0.1 * torch.randn(100, 100, generator=generator, dtype=torch.float64) / 10
    shift = torch.randn(100, generator=generator, dtype=torch.float64)
    f = SelfMap(lambda x: x @ matrix.mT + shift, 100)
    point = torch.linalg.solve(torch.eye(100, dtype=torch.float64) - matrix, shift)
    moved = torch.arange(100, dtype=torch.float64) % 8 / 8
    tried = [Grid(bits, phase, phase * moved) for bits in range(8, 20) for phase in (0, 1)]
    found = [(grid, x) for grid in tried for x in settle(f, point, grid, generator)]
    assert {grid.phase for grid, _ in found} == {0, 1}  # about one in 1 / |det| grids has one
    for grid, x in found:
        assert torch.equal(torch.round(grid.steps(f(grid.code(x)[None])[0])), x)


def test_a_grid_that_does_not_settle_gives_nothing():
    f = SelfMap(lambda x: 1 - x, 3)
    point, grid = torch.full((3,), 0.5, dtype=torch.float64), Grid(0, 0, torch.zeros(3, dtype=torch.float64))
    assert not list(settle(f, point, grid, torch.Generator().manual_seed(0)))


def test_other_methods_are_refused_together_with_exact():
    with pytest.raises(nq.BadOption, match="an exact quine is sought by a search of its own: leave the method out"):
        nq.solve(nq.recipe("blog"), "newton", exact=True)


def test_lattice_points_are_those_of_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(20):
        basis = np.eye(4) + 0.2 * generator.standard_normal((4, 4))
        target = 5 * generator.standard_normal(4)
        center = np.round(np.linalg.solve(basis, target))
        span = np.arange(-6, 7)
        near = np.stack(np.meshgrid(*[span] * 4), -1).reshape(-1, 4) + center
        expected = near[np.abs(near @ basis.T - target).max(1) <= 0.5]
        found = {tuple(x) for x in points_in_cubes(basis, target[None], 1.0).points}
        assert found <= {tuple(x) for x in expected}
        missed = len(expected) - len(found)
        assert missed <= 0.1 * len(expected)


def test_of_many_targets_in_many_dimensions_a_narrow_search_meets_some():
    rng = np.random.default_rng(3)
    basis = np.eye(84) - rng.normal(size=(84, 6)) @ rng.normal(size=(6, 84)) / 60
    targets = rng.random((256, 84)) @ basis.T
    near = points_in_cubes(basis, targets, 1.0, 8 * len(targets))
    assert len(near.points) > 0
    assert near.visited < 84 * 8 * len(targets) * 4  # all that there are would be millions for each target
    assert (np.abs(near.points @ basis.T - targets[near.owner]) <= 0.5).all()
    assert (near.points == near.points.round()).all()


def test_lattice_finds_nothing_where_nothing_is():
    assert len(points_in_cubes(np.eye(3) * 10, np.full((1, 3), 5.0)).points) == 0


def _net():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.Tanh(), torch.nn.Linear(12, 12)), torch.randn(1, 4)


def test_a_search_that_runs_out_of_time_says_so_and_claims_nothing():
    quine = nq.recipe("blog", seed=3)
    with pytest.raises(nq.NotSolved, match="time limit"):
        nq.solve(quine, exact=True, stop=nq.Stop(time_limit=1e-9))
    assert quine.solution.status.name == "TIME_LIMIT"
    assert quine.code_bits is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_of_every_type_are_printed_to_the_last_bit(dtype, tmp_path):
    seed = {"float32": 640, "bfloat16": 641, "float16": 642}[dtype]
    quine = nq.recipe("blog", seed=seed, dtype=getattr(torch, dtype))
    solution = nq.solve(quine, exact=True)
    assert solution.differing_weights == 0
    assert solution.self_sensitivity > 1
    nq.save(quine, tmp_path / "quine")
    again = nq.load(tmp_path / "quine")
    assert again.theta.dtype == quine.dtype
    assert nq.verify(again).bit_exact
    again.code_phase += 1
    assert not nq.verify(again).is_quine


def test_the_same_seed_finds_the_same_quine_and_a_given_grid_is_moved():
    found = []
    for _ in range(2):
        quine = nq.recipe("blog", seed=77)
        quine.code_bits = 9
        nq.solve(quine)
        found.append((quine.code_bits, quine.code_phase, quine.theta.numpy().tobytes()))
    assert found[0] == found[1]
    assert found[0][0] == 9


def test_where_everything_ends_at_zero_the_zero_quine_is_named():
    trunk = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Hardshrink(10.0))  # gives zeros only
    with pytest.raises(nq.NotSolved, match="zero quine"):
        nq.solve(nq.Quine(trunk, torch.ones(1, 6), code_size=8), exact=True)


def test_regeneration_on_a_grid_keeps_the_time_limit():
    quine = nq.recipe("lstm", skip=0.1, code_bits=8)
    solution = nq.solve(quine, stop=nq.Stop(time_limit=1e-9), throw=False)
    assert solution.status.name == "TIME_LIMIT"
    assert not solution.bit_exact
    assert nq.solve(nq.recipe("lstm", skip=0.1, code_bits=8)).bit_exact


def test_a_contraction_that_flickers_on_its_grid_is_tried_on_others():
    trunk, probe = _net()
    found = []
    for seed in (40, 43, 45):
        quine = nq.Quine(trunk, probe, code_size=12, seed=seed, skip=0.5, code_bits=3)
        found.append(nq.solve(quine, throw=False))
    assert all(s.bit_exact and s.code_bits == 3 for s in found)
    assert all(s.code_phase for s in found)  # the grid that is not moved has none of them


def test_what_does_not_contract_is_not_regenerated_for_long():
    trunk, probe = _net()
    quine = nq.Quine(trunk, probe, code_size=12, seed=40, skip=50.0, code_bits=8)
    f = ReducedMap(quine)
    with pytest.raises(Repels):
        regenerate(quine, f, 8, torch.Generator().manual_seed(0))
    assert f.evaluations == 17
    slow = nq.Quine(trunk, probe, code_size=12, seed=40, skip=0.5, code_bits=12)
    assert regenerate(slow, ReducedMap(slow), 12, torch.Generator().manual_seed(0)) is not None


def test_progress_tells_the_trials_against_their_expected_number():
    points = []
    solution = nq.solve(nq.recipe("blog", seed=6302), exact=True, progress=points.append)
    trials = [p for p in points if p.trials]
    assert trials[-1].trials == int(re.search(r"(\d+) trials", solution.detail)[1])
    assert all(p.expected_trials > 1 and "expected" in p.trials_in_words for p in trials)
    assert not any("trials" in p.figures() for p in solution.trace)  # the record is of the search for fixed points


def test_where_evaluations_are_dear_curves_are_followed_in_float32(monkeypatch):
    monkeypatch.setattr("neuralquine.solving.enumerate.LARGE", 100)
    seen = []
    evaluated = ReducedMap.__call__
    monkeypatch.setattr(ReducedMap, "__call__", lambda f, x: (seen.append((x.dtype, len(x))), evaluated(f, x))[1])
    trunk, probe = _net()
    solution = nq.solve(nq.Quine(trunk, probe, code_size=6, seed=2), exact=True, starts=3)
    assert solution.bit_exact
    rough, fine = (sum(n for kind, n in seen if kind is dtype) for dtype in (torch.float32, torch.float64))
    assert rough > 2 * fine
    assert solution.map_evaluations >= rough + fine


def test_where_every_start_is_trapped_curves_are_followed(monkeypatch):
    raced = []

    class Trapped(harvest.Broyden):
        def limits(self, n):
            raced.append("broyden")
            return 0, 1

    class Followed(harvest.Homotopy):
        def limits(self, n):
            raced.append("homotopy")
            return super().limits(n)

    monkeypatch.setattr(harvest, "Broyden", Trapped)
    monkeypatch.setattr(harvest, "Homotopy", Followed)
    quine = nq.recipe("blog", seed=11)
    assert nq.solve(quine, exact=True).bit_exact
    assert raced[:2] == ["broyden", "homotopy"]


def test_a_network_that_is_printed_in_place_is_exact(monkeypatch):
    monkeypatch.setattr("neuralquine.quines.self_printer._IN_PLACE", 0)
    trunk, probe = _net()
    quine = nq.Quine(trunk, probe, code_size=8, seed=1, expansion="hadamard", dtype=torch.float32)
    assert quine.in_place
    assert nq.solve(quine, exact=True).bit_exact
    assert nq.verify(quine).bit_exact


def test_a_large_network_has_one_start_after_the_other(monkeypatch):
    monkeypatch.setattr("neuralquine.solving.harvest._SIDE_BY_SIDE", 0)
    trunk, probe = _net()
    seen = []
    evaluated = ReducedMap.__call__
    monkeypatch.setattr(ReducedMap, "__call__", lambda f, x: (seen.append(len(x)), evaluated(f, x))[1])
    quine = nq.Quine(trunk, probe, code_size=8, seed=5, expansion="hadamard")
    solution = nq.solve(quine, exact=True)
    assert solution.bit_exact
    assert solution.map_evaluations < 200
    assert seen[0] == seen[1] == 1


def test_a_hopeless_search_ends_and_says_why(monkeypatch):
    monkeypatch.setattr("neuralquine.solving.exact.HOPELESS", 1e-9)  # as where the determinants are above 4e6
    points = []
    quine = nq.recipe("blog", seed=6302)
    solution = nq.solve(quine, exact=True, throw=False, progress=points.append)
    assert solution.status is nq.Status.NOT_EXACT
    assert re.search(r"0 trials where \S+ are expected, more than the 1e-09 that are made", solution.detail)
    assert "0 trials, " in points[-1].trials_in_words
    assert int(re.search(r"tried (\d+) fixed", solution.detail)[1]) >= 3
    assert quine.code_bits is None


def test_a_quine_says_what_a_search_for_its_bits_would_meet():
    quine = nq.recipe("blog", seed=5)
    solution = nq.solve(quine)
    jacobian = ReducedMap(quine).jacobian(quine.code()[None])[0].detach()
    expected = abs(float(torch.linalg.det(torch.eye(20, dtype=torch.float64) - jacobian)))
    assert solution.determinant == pytest.approx(expected, rel=1e-6)
    assert solution.prospect == f"at this fixed point it takes about {round(solution.determinant):,} trials"
    assert nq.solve(nq.recipe("blog", seed=6302), exact=True).prospect == ""


@pytest.mark.parametrize(
    ("unknowns", "radius", "expected", "words"),
    [
        (20, 3.0, 0.4, "at this fixed point it takes about 1 trial"),
        (20, 3.0, 1e9, "1.0e+09 trials, more than are made"),
        (441, 0.75, 0.9, "attracts"),
        (441, 1.6, 0.9, "repels, and no grid is met by chance in 441 dimensions"),
        (20, math.nan, math.nan, ""),
    ],
)
def test_the_prospect_of_a_fixed_point_is_said_in_words(unknowns, radius, expected, words):
    said = prospect(unknowns, radius, expected)
    assert words in said
    assert bool(said) == bool(words)
