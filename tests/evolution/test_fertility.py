"""Fertility: the map against torch's own layers, what is copied, and lines that settle only with the sink loss."""

import json
import sys

import pytest
import torch

import forked
from neuralquine.evolution import live
from neuralquine.evolution.fertility import Fertility
from neuralquine.evolution.life import STATE

SMALL = {"hidden": 8, "lines": 1, "frequency": 2.0}


def lived(generations, **options):
    world = Fertility(**(SMALL | options))
    for _ in range(generations):
        world.step()
        world.age += 1
    return world


@pytest.fixture(scope="module")
def fertile():
    return lived(60, steps=1500)


def test_a_child_is_what_the_mixture_answers_with_its_parents_statistics():
    world = Fertility(**SMALL)
    theta, genome = world.theta[0], world.genome[0]
    pieces = (0.72 * theta + 0.28 * genome).split(world.sizes)
    shapes = world.shapes
    h = torch.sin(torch.nn.functional.linear(world.queries, pieces[0].reshape(shapes[0]), pieces[1]))
    h = torch.sin(torch.nn.functional.linear(h, pieces[2].reshape(shapes[2]), pieces[3]))
    answers = (h @ pieces[4]).split(world.sizes)
    child = world.printed(theta, genome).split(world.sizes)
    for a, c, parent in zip(answers, child, theta.split(world.sizes), strict=True):
        torch.testing.assert_close(c.mean(), parent.mean())
        torch.testing.assert_close(c.std(), parent.std())
        torch.testing.assert_close((c - c.mean()) / c.std(), (a - a.mean()) / a.std())
    assert len(set(map(tuple, world.queries.tolist()))) == theta.numel()  # every weight is asked for by its own query


@pytest.mark.parametrize(("share", "repels"), [(0.28, True), (0.76, False)])
def test_with_a_genome_any_network_has_a_fixed_point_that_repels_for_a_small_share(share, repels):
    world, plain = Fertility(**SMALL, share=share), Fertility(**SMALL, share=0.0)
    w = world.theta[:1]
    theta = plain.printed(w, w)
    genome = (w - (1 - share) * theta) / share
    torch.testing.assert_close(world.printed(theta, genome), theta, rtol=1e-12, atol=1e-12)
    radius, sensitivity = world.derivative(theta[0], genome[0])
    assert radius < sensitivity
    assert (radius > 1) == repels


def test_a_line_settles_near_its_founder_with_the_sink_loss_and_is_lost_without(fertile):
    steps, distances = (fertile.column(name).reshape(-1, 2) for name in ("step", "distance"))
    assert bool(fertile.settled()[0])
    assert steps[50, 0] < 1e-6 * steps[1, 0]
    assert distances[-1, 0] < 0.1
    assert steps[1, 1] < 0.4  # the control was trained too: its first child is alike,
    assert distances[2:, 1].min() > 0.5  # and no other
    founders = [fertile.derivative(*pair)[0] for pair in zip(fertile.founder, fertile.genome, strict=True)]
    assert founders[0] < 1 < founders[1]
    assert not lived(20, steps=0).settled().any()


def test_the_rate_at_which_a_line_settles_is_the_spectral_radius(fertile):
    radius, _ = fertile.derivative(fertile.theta[0], fertile.genome[0])
    steps = fertile.column("step").reshape(-1, 2)[1:, 0]
    inside = ((steps < 1e-4) & (steps > 1e-13)).nonzero()[:, 0]  # near the fixed point, above round-off
    a, b = int(inside[0]), int(inside[-1])
    assert b - a >= 5
    assert float(steps[b] / steps[a]) ** (1 / (b - a)) == pytest.approx(radius, rel=0.15)


def test_copied_statistics_are_eigenvalues_one_that_the_radius_leaves_out(fertile):
    theta, genome = fertile.theta[0], fertile.genome[0]
    jacobian = torch.func.jacrev(lambda t: fertile.printed(t, genome))(theta)
    values = torch.linalg.eigvals(jacobian)
    ones = (values - 1).abs() < 1e-6
    assert int(ones.sum()) == 2 * len(fertile.sizes)
    assert float(values[~ones].abs().max()) == pytest.approx(fertile.derivative(theta, genome)[0], rel=1e-6)


def test_a_resumed_line_is_the_uninterrupted_one(tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    from safetensors.torch import load_file

    options = SMALL | {"steps": 20}
    live(Fertility(generations=6, **options), tmp_path / "whole")
    live(Fertility(generations=2, **options), tmp_path / "parts")
    live(Fertility(generations=6, **options), tmp_path / "parts", resume=True)
    a, b = (load_file(tmp_path / name / STATE) for name in ("whole", "parts"))
    assert all(torch.equal(a[k].nan_to_num(), b[k].nan_to_num()) for k in a)


def test_the_command_line_writes_lines_and_results(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("matplotlib")
    words = [sys.executable, "-m", "neuralquine", "evolve", "fertility", "--out", str(tmp_path), "--json"]
    options = [part for k, v in (SMALL | {"steps": 10}).items() for part in ("-r", f"{k}={v}")]
    done = forked.run([*words, *options, "--generations", "3"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["result"]
    table = parquet.read_table(tmp_path / "lines.parquet").to_pydict()
    assert table["sink"] == [True, False] * 4
    assert result["last_step"] == [pytest.approx(table["step"][6], rel=5e-3)]
    assert result["genome"] == result["weights"] == len(Fertility(**SMALL).theta[0])
    assert (tmp_path / "fertility.png").stat().st_size > 10_000
    wrong = forked.run([*words, "-r", "share=1.0"], capture_output=True, text=True)
    assert wrong.returncode != 0
    assert "share must be" in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
