"""Many solves in one table, continued where they stopped."""

import json
import os

import pytest

import neuralquine as nq
from neuralquine.solving.sweep import JOBS, TABLE, read_spec, run_job, sweep

parquet = pytest.importorskip("pyarrow.parquet")
SPEC = 'recipe = ["blog", "blog-part1"]\nseed = "0-1"\n[options]\nalpha = [0.25, 0.3]\n'
JOB = 'recipe = "blog"\n'


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "spec.toml").write_text(SPEC)
    return read_spec(tmp_path / "spec.toml")


def rows(path):
    return parquet.read_table(path).drop(["seconds"]).to_pylist()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a sweep that was never interrupted, and its table."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "spec.toml").write_text(SPEC)
    return folder / "whole", rows(sweep(folder / "spec.toml", folder / "whole", processes=1))


def test_every_combination_is_one_row(spec, whole):
    table = whole[1]
    assert len(table) == len(spec.jobs) == 8
    assert {(r["recipe"], r["seed"], r["alpha"]) for r in table} == {
        (n, s, a) for n in ("blog", "blog-part1") for s in (0, 1) for a in (0.25, 0.3)
    }
    assert all(r["converged"] == (r["recipe"] == "blog") for r in table)
    assert {r["status"] for r in table} == {"converged", "zero_quine"}


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ("[false, 0.3]", ["false", "0.3"]),
        ("[1, 0.5]", [1.0, 0.5]),
        ('["0.5", 1]', ["0.5", "1"]),
        ('[true, "x", 2]', ["true", "x", "2"]),
    ],
)
def test_values_of_several_types_are_one_column(values, held, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "neuralquine.solving.sweep._numbered", lambda index, job: (index, {"alpha": job["options"]["alpha"]})
    )
    (tmp_path / "spec.toml").write_text(f'recipe = "blog"\n[options]\nalpha = {values}\n')
    assert [
        row["alpha"]
        for row in parquet.read_table(sweep(tmp_path / "spec.toml", tmp_path / "out", processes=1)).to_pylist()
    ] == held


def test_an_interrupted_sweep_continues_and_ends_the_same(spec, whole, tmp_path):
    lines = (whole[0] / JOBS).read_text().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / JOBS).write_text("".join(lines[:4]) + lines[4][:40])  # killed while it wrote the fourth
    told = []
    again = rows(sweep(spec, tmp_path / "cut", processes=1, progress=lambda done, total: told.append(done)))
    assert told == [4, 5, 6, 7, 8]
    assert again == whole[1]


@pytest.fixture
def job(tmp_path):
    """A sweep of one solve, where more would show no more."""
    (tmp_path / "job.toml").write_text(JOB)
    return read_spec(tmp_path / "job.toml")


def test_a_finished_sweep_solves_nothing_again(job, tmp_path):
    sweep(job, tmp_path / "out", processes=1)
    (tmp_path / "out" / TABLE).unlink()
    told = []
    sweep(job, tmp_path / "out", processes=1, progress=lambda done, total: told.append(done))
    assert told == []
    assert (tmp_path / "out" / TABLE).exists()


def test_another_sweeps_folder_is_refused(job, tmp_path):
    sweep(job, tmp_path / "out", processes=1)
    (tmp_path / "other.toml").write_text('recipe = "blog-part1"\n')
    with pytest.raises(nq.NeuralQuineError, match="belongs to another sweep"):
        sweep(read_spec(tmp_path / "other.toml"), tmp_path / "out")


def test_a_job_that_fails_is_a_row(tmp_path):
    row = run_job({"recipe": "blog", "seed": 0, "options": {"alhpa": 1.0}})
    assert row["status"] == "error"
    assert "did you mean 'alpha'" in row["error"]
    json.dumps(row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe = [", "not a readable TOML"),
        ('recpie = "blog"', "did you mean 'recipe'"),
        ("seed = 1", "names no recipe"),
        ('recipe = "blog"\nseed = "x-y"', "a range such as"),
        ('recipe = "blog"\nseed = []', "describes 0 jobs"),
        ('recipe = "blog"\noptions = 3', "must be a table"),
        ("recipe = 3", "recipe must be a name, not 3"),
        ('recipe = "blog"\nseed = [0, -1]', "seed must be a whole number of at least 0, not -1"),
        ('recipe = "blog"\nseed = true', "seed must be a whole number of at least 0, not True"),
        ('recipe = "blog"\nexact = "no"', "exact must be true or false, not 'no'"),
        ('recipe = "blog"\nstarts = 2.5', r"starts must be a whole number of at least 0, not 2\.5"),
        ('recipe = "blog"\ntime_limit = nan', "time_limit must be a number of seconds of at least 0, not nan"),
        ('recipe = "blog"\nmethod = ["newton", 1]', "method must be a name, not 1"),
    ],
)
def test_a_bad_specification_is_one_clear_line(text, message, tmp_path):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(nq.NeuralQuineError, match=message) as caught:
        read_spec(tmp_path / "s.toml")
    assert "\n" not in str(caught.value)


def test_a_ray_cluster_gives_the_same_table(spec, tmp_path):
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    try:
        theirs = rows(sweep(spec, tmp_path / "ray", processes=1, ray=True))
    finally:
        ray.shutdown()
    ours = rows(sweep(spec, tmp_path / "joblib", processes=1))
    for a, b in zip(theirs, ours, strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}


def test_a_pipe_in_the_place_of_the_jobs_is_refused_and_not_waited_for(spec, tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / JOBS)
    with pytest.raises(nq.NeuralQuineError, match="it is not a file"):
        sweep(spec, tmp_path / "out", processes=1)
