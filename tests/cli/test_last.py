"""What becomes of a result: the last one is kept without --out, and what --out would not take is refused before the search."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import neuralquine as nq
from neuralquine.cli import last
from neuralquine.cli.last import place, recalled, remember
from neuralquine.solving.methods import Gradient


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NQ_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


# -- the last result --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--exact"], ["-r", "dtype=float32"], ["-r", "alpha=0.3"]])
def test_the_last_result_is_kept_as_if_it_had_been_written_at_once(run, words):
    assert "`neuralquine keep DIR`" in run("solve", "blog", "--seed", 2, *words)[1]
    status, out, _ = run("keep", "kept quine")
    assert status == 0
    assert "`neuralquine verify 'kept quine'`" in out
    run("solve", "blog", "--seed", 2, *words, "--out", "written")
    kept, written = nq.load("kept quine"), nq.load("written")
    assert torch.equal(kept.theta, written.theta)
    cards = [Path(folder, "README.md").read_text() for folder in ("kept quine", "written")]
    assert cards[0] == cards[1]


def test_a_search_that_failed_can_be_kept_and_says_so(run):
    assert run("solve", "blog", "--method", "picard", "--max-steps", 5)[0] == 1
    assert "step limit reached" in run("keep", "q")[1]
    assert run("verify", "q")[0] == 1


def test_there_is_nothing_to_keep_before_anything_was_found(run):
    status, out, err = run("keep", "q")
    assert (status, out) == (2, "")
    assert "there is no last result" in err


def test_what_is_written_to_a_folder_is_not_kept_twice(run):
    run("solve", "blog", "--out", "q")
    assert not place().exists()


def test_a_network_that_was_changed_meanwhile_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    text = "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.{}(), torch.nn.Linear(9, 20)), torch.ones(1, 4)\n"
    (tmp_path / "meanwhile.py").write_text(text.format("Tanh"))
    assert run("solve", "meanwhile.py:make")[0] == 0
    sys.modules.pop("meanwhile")
    (tmp_path / "meanwhile.py").write_text(text.format("Sigmoid "))  # another length, so that no byte code is taken
    status, _, err = run("keep", "q")
    assert status == 2
    assert err.endswith("no file may run code: add --trunk meanwhile.py:make\n")
    assert "meanwhile" not in sys.modules
    status, out, err = run("keep", "q", "--trunk", "meanwhile.py:make")
    assert (status, out) == (2, "")
    assert "prints something else now" in err
    assert not (tmp_path / "q").exists()


def test_what_is_too_large_is_not_kept(monkeypatch, solved):
    monkeypatch.setattr(last, "_LARGEST", 100)
    assert not remember(solved, solved.solution, probes=0)
    monkeypatch.undo()


def test_a_damaged_file_is_refused_in_one_line(solved):
    assert remember(solved, solved.solution, probes=0)
    data = place().read_bytes()
    for at in (0, 7, 40, 4000):
        for wrong in (data[:at], data[:at] + b"\xff" + data[at + 1 :]):
            place().write_bytes(wrong)
            with pytest.raises(nq.NeuralQuineError, match=r"^[^\n]* is damaged: [^\n]*$"):
                recalled(place())
    place().write_bytes(data[:-1] + b"\xff")  # the exponent of the last weight, a NaN
    with pytest.raises(nq.NeuralQuineError, match="prints something else now"):
        recalled(place())


def test_searches_that_end_together_leave_one_whole_result(solved):
    other = nq.recipe("blog", seed=1)
    nq.solve(other)
    quines = [solved, other]
    errors, ends = [], threading.Event()

    def write(quine):
        while not ends.is_set():
            if not remember(quine, quine.solution, probes=0):
                errors.append(quine.seed)

    threads = [threading.Thread(target=write, args=(quine,)) for quine in quines]
    remember(quines[0], quines[0].solution, probes=0)
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            again, solution = recalled(place())
            assert torch.equal(again.theta, quines[again.seed].theta)
            assert solution.seed == again.seed
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert [f.name for f in place().parent.iterdir()] == ["last.safetensors"]


# -- --out is decided before the search -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["foreign", "file", "below a file", "circle", "pipe", "unwritable"])
def test_a_place_that_cannot_be_written_is_refused_before_the_search(run, monkeypatch, tmp_path, case):
    out = tmp_path / "q"
    if case == "foreign":
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    elif case == "file":
        out.write_text("mine")
    elif case == "below a file":
        (tmp_path / "f").write_text("mine")
        out = tmp_path / "f" / "q"
    elif case == "circle":
        out.symlink_to(out)
    elif case == "pipe":
        os.mkfifo(out)
    else:
        out = "/proc/q"  # which not even root may write
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(sys.modules["neuralquine.solving.solve"], "solve", lambda *_, **__: pytest.fail("it searched"))
    for words in (["solve", "blog"], ["train", "digits-mlp"]):
        status, printed, err = run(*words, "--out", out)
        assert (status, printed) == (2, ""), err
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_certificate_stays_with_its_weights_and_its_loss_is_said(run, tmp_path):
    pytest.importorskip("flint")
    for _ in range(2):
        assert run("solve", "blog", "--out", "q")[2] == ""
        if not (tmp_path / "q" / "certificate.json").exists():
            assert "`neuralquine check-proof q`" in run("certify", "q")[1]
    assert run("check-proof", "q")[0] == 0  # the second solve found the same bits
    status, _, err = run("solve", "blog", "--seed", 1, "--out", "q")
    assert status == 0
    assert "the certificate in q was of the quine before this one and went with it: `neuralquine certify q`" in err
    assert not (tmp_path / "q" / "certificate.json").exists()


# -- interruption -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", [[], ["--out", "my quine"]])
def test_ctrl_c_always_names_the_command_that_goes_on(run, monkeypatch, out):
    step, calls = Gradient.step, []

    def interrupted(self, *rest):
        calls.append(1)
        if len(calls) == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *rest)

    monkeypatch.setattr(Gradient, "step", interrupted)
    status, _, err = run("solve", "blog", "--method", "rmsprop", "--max-steps", 60, *out)
    assert status == 130
    begin = "neuralquine solve blog --method rmsprop --max-steps 60"
    wanted = f"go on with `{begin} --out 'my quine' --resume`" if out else f"begin again with `{begin}`"
    assert err.startswith("neuralquine: interrupted: the best iterate is in ")
    assert err.endswith(f"; {wanted}\n")
    if out:
        assert run("solve", "blog", "--method", "rmsprop", "--max-steps", 60, *out, "--resume")[0] == 1


def test_an_interrupted_zoo_says_that_it_is_not_whole(run, monkeypatch):
    from neuralquine.solving.methods import Newton

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Newton, "step", interrupted)
    status, _, err = run("zoo", "blog", "--starts", 2)
    assert status == 130
    assert "interrupted: these are the quines that were found until then; begin again with `neuralquine zoo" in err


def test_the_cache_is_where_the_system_keeps_what_may_be_deleted(monkeypatch, tmp_path):
    code = "from neuralquine.cli.last import place; print(place())"
    environment = {k: v for k, v in os.environ.items() if k not in ("NQ_CACHE_DIR", "XDG_CACHE_HOME")}
    for more, wanted in ({"XDG_CACHE_HOME": "/x"}, "/x/neuralquine"), ({"HOME": "/h"}, "neuralquine"):
        done = subprocess.run([sys.executable, "-c", code], env=environment | more, capture_output=True, text=True)
        assert wanted in done.stdout


DAMAGED = {
    "a course of words": {"trace": ["x"]},
    "a residual that is none": {"solve": {"status": "converged", "relative_residual": {}}},
    "a grid that is none": {"code_bits": "x"},
    "a phase beyond all": {"code_bits": 8, "code_phase": 1 << 200},
    "a recipe of a million layers": {"recipe": {"name": "transformer", "seed": 0, "layers": 1_000_000}},
    "a recipe of gigabytes": {"recipe": {"name": "llama-8b", "seed": 0}},
    "a recipe that is a list": {"recipe": ["blog"]},
    "a seed that is none": {"recipe": {"name": "blog", "seed": [0]}},
}


@pytest.mark.parametrize("name", [*DAMAGED, "nesting"])
def test_what_a_damaged_file_asks_for_is_refused_in_one_line(name, solved):
    from safetensors.torch import save_file

    remember(solved, solved.solution, probes=0)
    told, theta = last._read(place())
    text = "[" * 100_000 if name == "nesting" else json.dumps(told | DAMAGED[name])
    save_file({"theta": theta}, place(), metadata={last._KEY: text})
    with pytest.raises(nq.QuineFileError) as refused:
        recalled(place())
    assert str(refused.value).isprintable()
