"""The recording of a solve: what lies beside the folder while it runs, what is left of it, and what it belongs to."""

import contextlib
import itertools
import json
import re

import pytest
import torch

import neuralquine as nq
from neuralquine.cli.record import Recording, Request
from neuralquine.solving.loop import Stop
from neuralquine.solving.methods import make_method
from neuralquine.solving.trace import Trace


@pytest.fixture
def quine():
    return nq.recipe("blog", seed=0)


def request_for(method="", *, stop=None, starts=0, exact=False):
    tool = make_method(method) if method else None
    return Request(method=method, tool=tool, starts=starts, stop=stop or Stop(), exact=exact, probes=0)


def recorded(out, quine, asked, *, resume=False, progress=None):
    with Recording(out, quine, asked, resume=resume) as recording:
        solution = nq.solve(
            quine,
            asked.tool,
            stop=asked.stop,
            journal=recording.journal,
            throw=False,
            progress=recording.following(progress),
        )
        recording.finish(solution)
    return solution


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_problem_of_a_journal_is_what_older_journals_were_written_with():
    quine = nq.recipe("blog", seed=5, alpha=0.25)
    asked = request_for("newton", stop=Stop(rtol=1e-9, max_steps=7, time_limit=3.0), starts=4)
    assert asked.problem(quine) == {
        "recipe": {"name": "blog", "seed": "5", "alpha": "0.25"},
        "method": repr(make_method("newton")),
        "options": [4, {"rtol": 1e-9, "max_steps": 7, "max_evaluations": None, "patience": None}, False, 0],
        "torch": torch.__version__,
    }
    assert request_for().problem(quine)["method"] == "None"


def test_a_search_that_ends_leaves_the_folder_alone(tmp_path, quine):
    seen = []
    solution = recorded(tmp_path / "q", quine, request_for(), progress=seen.append)
    assert solution.converged
    assert names(tmp_path) == ["q"]
    told = lines(tmp_path / "q" / "metrics.jsonl")
    assert [line["step"] for line in told[:-1]] == [point.step for point in seen] == [p.step for p in solution.trace]
    assert told[-1]["relative_residual"] == solution.relative_residual
    assert nq.load(tmp_path / "q").theta.equal(quine.theta)


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by a second whenever it is looked at, so that a time limit allows for the same on every machine."""
    monkeypatch.setattr(Trace, "seconds", lambda self: float(next(ticks)))
    ticks = itertools.count()


def test_a_search_that_can_be_resumed_keeps_its_journal_and_its_log(tmp_path, quine, ticking, capsys):
    asked = request_for("rmsprop", stop=Stop(time_limit=50))
    assert recorded(tmp_path / "q", quine, asked).status.name == "TIME_LIMIT"
    assert names(tmp_path) == ["q", "q.journal", "q.metrics.jsonl"]
    assert capsys.readouterr().err == ""
    again = nq.recipe("blog", seed=0)
    recorded(tmp_path / "q", again, request_for("rmsprop", stop=Stop(time_limit=1000)), resume=True)
    assert re.match(r"resuming after \d+ evaluations? of ", capsys.readouterr().err)
    assert {line["run"] for line in lines(tmp_path / "q" / "metrics.jsonl")} == {0, 1}


def test_an_error_closes_the_files_and_removes_none(tmp_path, quine):
    recording = Recording(tmp_path / "q", quine, request_for())
    with contextlib.suppress(ZeroDivisionError), recording:
        raise ZeroDivisionError
    assert recording.journal._file.closed
    assert names(tmp_path) == ["q.journal", "q.metrics.jsonl"]


def test_a_journal_of_another_problem_is_refused_and_the_log_is_closed(tmp_path, quine, ticking, monkeypatch):
    from neuralquine.files.logs import Lines

    recorded(tmp_path / "q", quine, request_for("rmsprop", stop=Stop(time_limit=50)))
    closed, close = [], Lines.close
    monkeypatch.setattr(Lines, "close", lambda self: (closed.append(self), close(self)))
    with pytest.raises(nq.QuineFileError, match="another problem"):
        Recording(tmp_path / "q", nq.recipe("blog", seed=1), request_for("rmsprop"), resume=True)
    assert len(closed) == 1


def test_a_place_that_cannot_be_written_is_refused_before_the_search(tmp_path, quine):
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "mine.txt").write_text("mine")
    with pytest.raises(nq.QuineFileError, match="choose another folder"):
        Recording(tmp_path / "q", quine, request_for())
    assert names(tmp_path) == ["q"]


def test_without_a_folder_nothing_is_written(tmp_path, quine, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []
    assert recorded(None, quine, request_for(), progress=seen.append).converged
    assert seen
    assert names(tmp_path) == []
