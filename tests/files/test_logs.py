"""Loggers: lines that survive a kill, trackers that are there or are named, and what ``solve`` writes while it runs."""

import json
import os
import signal
import sys
import time
import types
from pathlib import Path

import pytest

import forked
import neuralquine as nq
from neuralquine.files import logs
from neuralquine.files.logs import Lines, Several, beside, open_logger
from neuralquine.solving.loop import following


def lines(path):
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


class Kept:
    """A logger that remembers."""

    def __init__(self):
        self.seen, self.closed = [], False

    def log(self, figures, step):
        self.seen.append((step, dict(figures)))

    def close(self):
        self.closed = True


# -- the file of lines ------------------------------------------------------------------------------------------------


def test_a_line_is_in_the_file_before_the_next_is_written(tmp_path):
    logger = Lines(tmp_path / "new" / "metrics.jsonl")
    logger.log({"loss": 0.5}, 3)
    assert lines(logger.path) == [{"run": 0, "step": 3, "loss": 0.5}]
    logger.log({"loss": float("nan"), "accuracy": 1}, 4)
    assert lines(logger.path)[1] == {"run": 0, "step": 4, "loss": None, "accuracy": 1}
    logger.close()


def test_a_new_run_begins_anew_and_a_resumed_one_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for resume, runs in ((False, [0]), (True, [0, 1]), (True, [0, 1, 2]), (False, [0])):
        logger = Lines(path, resume=resume)
        logger.log({"loss": 1.0}, 0)
        logger.close()
        assert [line["run"] for line in lines(path)] == runs


def test_a_torn_last_line_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"run": 0, "step": 0, "loss": 1.0}\n{"run": 0, "step": 1, "lo')
    logger = Lines(path, resume=True)
    logger.log({"loss": 0.5}, 1)
    logger.close()
    assert lines(path) == [{"run": 0, "step": 0, "loss": 1.0}, {"run": 1, "step": 1, "loss": 0.5}]


@pytest.mark.parametrize("text", ["not ours\n", "[1]\n", '{"step": 0}\n', '{"run": null}\n', "\xff\n"])
def test_a_foreign_file_is_not_appended_to(tmp_path, text):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(nq.QuineFileError, match="not a file of metrics: start without --resume"):
        Lines(path, resume=True)
    assert path.read_text(encoding="latin-1") == text


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(nq.QuineFileError, match=r"cannot write .*metrics.jsonl: Not a directory|File exists"):
        Lines(tmp_path / "file" / "metrics.jsonl")


# -- trackers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_every_figure_and_leaves_stdout_alone(tmp_path, monkeypatch, capsys, name):
    calls = []
    fake = types.ModuleType(name)
    fake.__file__ = "here"
    fake.init = lambda **options: (print("hello from the tracker"), calls.append(("init", options)))
    fake.log = lambda figures, step: calls.append((step, figures))
    fake.finish = lambda: calls.append("finish")
    monkeypatch.setitem(sys.modules, name, fake)
    logger = open_logger(tmp_path / "q", name, settings={"recipe": "blog"})
    logger.log({"loss": 0.5}, 7)
    logger.close()
    options = {"project": "neuralquine", "name": "q", "config": {"recipe": "blog"}}
    assert calls == [("init", options), (7, {"loss": 0.5}), "finish"]
    assert lines(beside(tmp_path / "q")) == [{"run": 0, "step": 7, "loss": 0.5}]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello from the tracker\n")


def test_a_tracker_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    def refuse(**_):
        raise RuntimeError("no API key\nmore about it")

    fake = types.ModuleType("wandb")
    fake.__file__, fake.init = "here", refuse
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(nq.NeuralQuineError, match=r"^wandb does not start: no API key$"):
        open_logger(tmp_path / "q", "wandb", settings={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", list(logs.TRACKERS))
def test_a_missing_tracker_names_its_extra(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(nq.NeuralQuineError, match=rf"pip install .*\[{name}\]'"):
        open_logger(tmp_path / "q", name, settings={})
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))  # a folder of that name in the working directory
    with pytest.raises(nq.NeuralQuineError, match=rf"needs {name}"):
        open_logger(tmp_path / "q", name, settings={})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_suggests_the_nearest(tmp_path):
    with pytest.raises(nq.UnknownName, match="did you mean 'tensorboard'"):
        open_logger(tmp_path / "q", "tensorbord", settings={})


def test_every_tracker_is_an_extra_that_the_help_names():
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    for name in logs.TRACKERS:
        assert f'\n{name} = ["{name}' in text
    run = forked.run(
        command("--help"), capture_output=True, text=True, timeout=600, env=os.environ | {"COLUMNS": "200"}
    )
    assert all(name in run.stdout for name in logs.TRACKERS)


def test_tensorboard_reads_back_what_was_logged(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = open_logger(tmp_path / "q", "tensorboard", settings={"recipe": "blog"})
    for step, value in ((0, 1.0), (5, 0.25)):
        logger.log({"relative_residual": value}, step)
    logger.close()
    events = EventAccumulator(str(tmp_path / "q.tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("relative_residual")] == [(0, 1.0), (5, 0.25)]


# -- together ---------------------------------------------------------------------------------------------------------


def test_several_loggers_are_all_closed_even_if_one_fails():
    class Broken(Kept):
        def close(self):
            raise RuntimeError("broken")

    first, last = Kept(), Kept()
    several = Several(first, Broken(), last)
    several.log({"a": 1.0}, 0)
    with pytest.raises(RuntimeError, match="broken"):
        several.close()
    assert first.closed
    assert last.closed
    assert first.seen == last.seen == [(0, {"a": 1.0})]


def test_a_search_can_be_followed_from_python(small):
    logger = Kept()
    solution = nq.solve(small, throw=False, progress=following(logger))
    assert [step for step, _ in logger.seen] == [point.step for point in solution.trace]
    assert logger.seen[-1][1]["relative_residual"] == solution.trace[-1].relative_residual


# -- the command ------------------------------------------------------------------------------------------------------


def command(*words):
    return [sys.executable, "-m", "neuralquine", "solve", "blog", *words]


def test_a_solve_moves_its_lines_into_the_folder(tmp_path):
    run = forked.run(command("--out", "q", "--json"), cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    told = lines(tmp_path / "q" / "metrics.jsonl")
    answer = json.loads(run.stdout)
    assert told[-1]["relative_residual"] == answer["relative_residual"]
    assert told[-1]["weight_rms"] == answer["weight_rms"]
    assert told[-1]["step"] == answer["steps"]
    steps = [line["step"] for line in told]
    assert steps == sorted(steps)
    assert len(told) > 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["q"]
    quine = nq.load(tmp_path / "q")
    nq.save(quine, tmp_path / "q")  # a folder of ours, which may be replaced
    assert not (tmp_path / "q" / "metrics.jsonl").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_lines_survive_a_kill_and_a_resumed_solve_goes_on_with_them(tmp_path):
    slow = command("--method", "rmsprop", "--out", "q")
    path = tmp_path / "q.metrics.jsonl"
    with forked.Forked(slow, cwd=tmp_path, capture_output=True) as process:
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > 50):
            time.sleep(0.02)
        assert process.kill() == -signal.SIGKILL
    before = lines(path)
    assert len(before) > 50
    again = forked.run(
        [*slow, "--resume", "--time-limit", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 1, again.stderr
    told = lines(path)
    assert told[: len(before)] == before
    assert {line["run"] for line in told} == {0, 1}
    assert lines(tmp_path / "q" / "metrics.jsonl") == told  # kept beside as well: the search can still be resumed
    assert (tmp_path / "q.journal").exists()


def test_what_cannot_be_logged_is_said_before_anything_is_computed(tmp_path):
    for words, said in (
        (("--log", "tensorboard"), "needs --out"),
        (("--log", "tensorbord", "--out", "q"), "did you mean 'tensorboard'?"),
    ):
        run = forked.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert run.returncode == 2
        assert said in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_in_the_place_of_the_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(nq.QuineFileError, match="it is not a file"):
        logs.Lines(tmp_path / "metrics.jsonl")
