"""The command line: one JSON object, progress on stderr, exit codes, one-line errors, and what a signal leaves.

Most runs go through the entry point in this process; a few through a real one, with a terminal and real signals.
"""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

import forked
import neuralquine as nq
from neuralquine.solving.methods import Broyden, Gradient

STABLE = {
    "parameters",
    "status",
    "relative_residual",
    "max_abs_residual",
    "weight_rms",
    "differing_weights",
    "bit_exact",
    "self_sensitivity",
    "spectral_radius",
    "map_evaluations",
    "jvps",
    "seconds",
}
COST = {"map_evaluations", "jvps"}  # of a search; a verification makes none


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run the entry point in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def answer(run):
    """The exit status, and the one JSON object that ``--json`` prints."""

    def answer(*words):
        status, out, _ = run(*words, "--json")
        assert out.count("\n") == 1
        data = json.loads(out, parse_constant=pytest.fail)
        assert isinstance(data, dict)
        return status, data

    return answer


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A converged quine in a folder."""
    folder = tmp_path_factory.mktemp("kept") / "quine"
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    nq.save(quine, folder)
    return folder


@pytest.fixture(scope="module")
def exact(tmp_path_factory, exact_blog):
    """A bit-exact quine in a folder."""
    folder = tmp_path_factory.mktemp("exact") / "quine"
    nq.save(exact_blog(), folder)
    return folder


def make_trunk():
    """For ``--trunk test_cli:make_trunk``."""
    return nn.Sequential(Doubled(4, 6))


class Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_solve_prints_its_figures_as_one_object(answer, tmp_path):
    status, data = answer("solve", "blog", "--seed", 3, "--out", "q")
    assert status == 0
    assert set(data) >= STABLE
    assert data["recipe"] == "blog"
    assert (data["seed"], data["status"], data["converged"], data["parameters"]) == (3, "converged", True, 1020)
    assert data["bit_exact"] is False
    assert data["portable"] is None
    assert data["proved"] is None
    assert data["environment"]["torch"] == torch.__version__
    assert data["out"] == "q"
    # What it says is what is in the file.
    quine = nq.load(tmp_path / "q")
    theta, printed = quine.theta.numpy(), quine.printed().numpy()
    assert data["relative_residual"] == pytest.approx(np.linalg.norm(printed - theta) / np.linalg.norm(theta), rel=1e-9)
    assert data["max_abs_residual"] == np.abs(printed - theta).max()
    assert data["weight_rms"] == pytest.approx(np.sqrt((theta**2).mean()))
    assert data["differing_weights"] == int((theta.view(np.int64) != printed.view(np.int64)).sum())


def test_solve_exact_prints_a_difference_of_exactly_zero(answer):
    status, data = answer("solve", "blog", "--exact", "--out", "q")
    assert status == 0
    assert set(data) >= STABLE
    assert data["bit_exact"] is True
    assert (data["relative_residual"], data["max_abs_residual"], data["differing_weights"]) == (0, 0, 0)
    assert data["portable"] in (None, True)  # a proof that takes a second is tried where python-flint is installed
    assert data["proved"] is None
    assert isinstance(data["code_bits"], int)


def test_a_failure_prints_the_same_keys_and_exits_with_1(answer):
    status, data = answer("solve", "blog", "--method", "rmsprop", "--max-steps", 50)
    assert status == 1
    assert set(data) >= STABLE
    assert data["status"] == "max_steps"
    assert data["converged"] is False
    assert data["relative_residual"] > 1e-2


def test_part_1_ends_at_the_zero_quine_and_says_so(answer, run):
    status, data = answer("solve", "blog-part1")
    assert status == 1
    assert data["status"] == "zero_quine"
    assert data["converged"] is False
    status, out, _ = run("solve", "blog-part1")
    assert status == 1
    assert out.startswith("No quine. Zero quine: every weight went to its mean")
    assert "normalize=True" in out


def test_verify_prints_its_figures_as_one_object(answer, kept):
    status, data = answer("verify", kept)
    assert status == 0
    assert set(data) >= STABLE - COST
    assert data["status"] == "quine"
    assert data["is_quine"] is data["converged"] is True
    assert data["bit_exact"] is False
    assert data["portable"] is data["proved"] is None
    assert data["trivial"] == data["false_claims"] == []


def test_zoo_lists_its_quines(answer, tmp_path):
    status, data = answer("zoo", "blog", "--starts", 4, "--out", "zoo")
    assert status == 0
    assert set(data) >= {"recipe", "seed", "starts", "parameters", "map_evaluations", "jvps", "seconds", "quines"}
    assert data["distinct"] == len(data["quines"]) >= 2
    for entry in data["quines"]:
        figures = nq.verify(nq.load(tmp_path / entry["out"])).figures()
        assert figures["is_quine"]
        for key in STABLE - COST - {"seconds", "status", "parameters", "bit_exact"}:
            assert entry[key] == pytest.approx(figures[key])


def test_the_other_commands_print_one_object_too(answer, kept):
    status, data = answer("spectrum", kept)
    assert status == 0
    assert data["spectral_radius"] == pytest.approx(abs(complex(*data["eigenvalues"][0])))
    assert len(data["eigenvalues"]) == 20
    status, data = answer("generations", kept, "-n", 40)
    assert status == 1  # the line dies
    assert data["survived"] < data["generations"] == len(data["distances"]) == len(data["residuals"]) == 40
    assert data["identical"] == 0
    status, data = answer("recipes")
    assert status == 0
    assert [r["name"] for r in data["recipes"]][:2] == ["blog", "blog-part1"]
    status, data = answer("methods")
    assert status == 0
    assert {"picard", "broyden", "newton", "rmsprop"} <= {m["name"] for m in data["methods"]}
    assert all(m["summary"] and m["options"] for m in data["methods"])


def test_the_proofs_print_one_object_too(answer, kept, exact, tmp_path):
    pytest.importorskip("flint")
    status, data = answer("certify", kept)
    assert status == 0
    assert data["proved"] is True
    status, data = answer("check-proof", kept / "certificate.json")
    assert (status, data["proved"]) == (0, True)
    status, data = answer("verify", kept)
    assert (status, data["proved"], data["portable"], data["bit_exact"]) == (0, True, None, False)
    (kept / "certificate.json").unlink()
    status, data = answer("verify", exact, "--portable")
    assert (status, data["portable"], data["proved"], data["bit_exact"]) == (0, True, None, True)
    assert 0 < data["float_margin"] < data["exact_margin"] < 0.5
    status, data = answer("verify", kept, "--portable")
    assert (status, data["portable"]) == (1, False)
    status, data = answer("digits", kept, "--digits", 30)
    assert (status, data["parameters"], len(data["weights"])) == (0, 1020, 1020)
    theta = np.array([float(w) for w in data["weights"]])
    assert np.abs(theta - nq.load(kept).theta.numpy()).max() < 1e-12
    nq.save(nq.recipe("blog", seed=1), tmp_path / "unsolved")
    status, data = answer("certify", tmp_path / "unsolved")
    assert (status, data["proved"]) == (1, False)


def test_plot_prints_the_files_it_wrote(answer, kept):
    status, data = answer("plot", kept)
    assert status == 0
    assert [os.path.basename(f) for f in data["figures"]] == ["spectrum.png", "weights-1.png", "residual.png"]
    assert all(os.path.getsize(f) > 5000 for f in data["figures"])


# -- for people -------------------------------------------------------------------------------------------------------


def test_solve_reads_as_the_readme_shows(run):
    status, out, _ = run("solve", "blog", "--out", "q")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("A quine: the network prints its own weights. Converged: ")
    labels = "recipe|asked|answers|relative residual|largest difference|RMS weight|bit-exact|self-sensitivity|spectral radius|found by"
    assert [line[2:23].strip() for line in lines[1 : 1 + len(labels.split("|"))]] == labels.split("|")
    assert "written to q: check it with `neuralquine verify q`" in lines


def test_an_exact_quine_is_announced_as_such(run):
    status, out, _ = run("solve", "blog", "--exact")
    assert status == 0
    assert out.startswith("A quine: the network prints its own weights, every bit.")
    assert "yes: 0 of 1,020 weights differ in some bit" in out
    assert re.search(r"code grid +grid 2\^-\d+, .*margin", out)


def test_verify_shows_the_four_words_apart(run, kept):
    status, out, _ = run("verify", kept)
    assert status == 0
    assert out.startswith(f"{kept}: a quine\n")
    words = {line[2:23].strip(): line[23:].split("   ")[0] for line in out.splitlines()[1:]}
    assert words["converged"] == "yes"
    assert words["bit-exact"] == "no"
    assert words["portable"] == words["proved"] == "not examined"


def test_tables_for_people(run, kept):
    status, out, _ = run("spectrum", kept)
    assert status == 0
    assert "plain regeneration is repelled" in out
    status, out, _ = run("generations", kept, "-n", 40)
    assert status == 1
    assert re.search(r"survives \d+ of 40 generations", out)
    status, out, err = run("zoo", "blog", "--starts", 2)
    assert status == 0
    assert re.search(r"\d distinct quines? of blog \(seed 0\) from 2 starts: ", out)
    assert re.fullmatch(r"(\d+ found\n)+", err)  # progress goes to stderr
    status, out, _ = run("recipes")
    assert "blog-part1\n    Part 1's network without normalization" in out
    status, out, _ = run("--version")
    assert (status, out) == (0, nq.__version__ + "\n")


def test_solve_with_figures(run, tmp_path):
    status, _, _ = run("solve", "blog", "--out", "q", "--figures")
    assert status == 0
    assert len(list((tmp_path / "q" / "figures").glob("*.png"))) == 3
    nq.load(tmp_path / "q")


def test_options_reach_the_recipe_and_the_method(answer):
    _, data = answer("solve", "blog", "-r", "alpha=0.5", "-r", "dtype=float32", "--method", "newton", "--starts", 8)
    assert (data["dtype"], data["method"]) == ("float32", "newton")
    assert data["weight_rms"] > 0.08  # twice the usual alpha
    _, data = answer("solve", "blog", "--method", "broyden", "-m", "step-limit=0.3", "--max-steps", 2)
    assert data["steps"] <= 3
    status, data = answer("solve", "blog", "--rtol", 0.5, "--starts", 64)
    assert (status, data["status"]) == (0, "converged")


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["true", "True"])
def test_an_option_is_given_as_the_list_of_recipes_shows_it(answer, text):
    """Which is ``normalize=False``, as Python writes it."""
    _, data = answer("solve", "fletcher-onehot", "-r", f"normalize={text}", "-r", "size=4")
    assert data["converged"]  # which only the normalized one does


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["solve", "blogg"], "no recipe 'blogg': did you mean 'blog'?"),
        (["solve", "zzz"], "no recipe 'zzz': known: blog, blog-part1, "),
        (["solve", "blog", "--device", "foo"], "no device 'foo' here: "),
        (["zoo", "blog", "--device", "meta"], "no device 'meta' here: "),
        (["verify", "example:blog-exact", "--device", "foo"], "no device 'foo' here: "),
        (["heal", "example:healing", "--device", "cuda:99"], "no device 'cuda:99' here: "),
        (["spectrum", "example:blog-exact", "--device", ""], "no device '' here: "),
        (["generations", "example:blog-exact", "--device", "mps:7"], "no device 'mps:7' here: "),
        (["verify", "self.onnx", "--device", "cuda"], "is for a folder; a graph is compared and run as it is"),
        (["verify", "self.onnx", "--portable"], "is for a folder; a graph is compared and run as it is"),
        (
            ["solve", "transformer", "-r", "width=30"],
            "recipe transformer cannot be built with width=30: embed_dim must be",
        ),
        (["zoo", "blgo"], "no recipe 'blgo': did you mean 'blog'?"),
        (["solve", "blog", "--method", "newtn"], "no method 'newtn': did you mean 'newton'?"),
        (["solve", "blog", "-r", "alfa=1"], "recipe blog has no option 'alfa': did you mean 'alpha'?"),
        (["solve", "blog", "-r", "alpha=big"], "recipe blog: alpha must be a float like 0.25"),
        (["solve", "blog", "--method", "adam", "-m", "lrr=1"], "adam has no option 'lrr': did you mean 'lr'?"),
        (["solve", "blog", "--exact", "--method", "newton"], "leave the method out"),
        (["solve", "blog", "--rtol", "1e400"], "rtol must be below 1, which a network has that prints zeros, not inf"),
        (["solve", "elman", "--seed", str(2**64)], "seed must be from 0 to 2**64 - 1, not 18446744073709551616"),
        (["train", "digits-mlp", "--seed", str(2**64), "--out", "w"], "seed must be from 0 to 2**64 - 1"),
        (["sweep", ".", "--out", "s"], ". is not a readable TOML file: Is a directory"),
        (["post", "--quick", "--out", __file__], "is a file: choose a folder"),
        (["evolve", "soup", "--out", __file__], "is a file: choose a folder"),
        (["pull", "owner", "here"], "owner is not an address on the Hub, owner/name or owner/name@revision"),
        (["verify", "nowhere"], "nowhere is not a folder with a quine in it"),
        (["certify", "nowhere"], "nowhere is not a folder with a quine in it"),
        (["check-proof", "nowhere"], "nowhere"),
        (["digits", "nowhere"], "nowhere is not a folder with a quine in it"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_2(run, words, message):
    status, out, err = run(*words)
    assert status == 2
    assert out == ""
    assert err.startswith("neuralquine: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sovle", "blog"], "no command 'sovle': did you mean 'solve'?"),
        (["solve"], "Missing argument 'RECIPE'"),
        (["solve", "blog", "--seeed", "1"], "No such option: --seeed"),
        (["solve", "blog", "--seed", "-1"], "--seed"),
        (["solve", "blog", "--seed", "x"], "--seed"),
        (["solve", "blog", "-r", "alpha"], "'alpha' is not KEY=VALUE"),
        (["solve", "blog", "-m", "lr=1"], "needs --method"),
        (["solve", "blog", "--method", "adam", "-m", "lr=fast"], "lr must be float"),
        (["solve", "blog", "--figures"], "needs --out"),
        (["zoo", "blog", "--starts", "0"], "--starts"),
        (["generations", "q", "-n", "0"], "-n"),
        (["verify", "q", "--trunk", "no_such_module:make"], "gives no module"),
    ],
)
def test_bad_usage_is_explained_on_stderr_and_exit_2(run, words, message):
    status, out, err = run(*words)
    assert status == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_a_folder_with_other_files_is_not_overwritten(run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, _, err = run("solve", "blog", "--out", tmp_path)
    assert status == 2
    assert "choose another folder" in err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_altered_file_is_refused(run, kept, tmp_path):
    quine = nq.load(kept)
    nq.save(quine, tmp_path / "q")
    weights = bytearray((tmp_path / "q" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "q" / "model.safetensors").write_bytes(weights)
    for command in ("verify", "spectrum", "generations", "plot"):
        status, out, err = run(command, tmp_path / "q")
        assert status == 2
        assert "it was altered or cut short" in err
        assert out == ""


def test_a_false_claim_is_named_and_fails(run, answer, tmp_path):
    nq.save(nq.recipe("blog", seed=0), tmp_path / "q")
    report = json.loads((tmp_path / "q" / "solution.json").read_text())
    report["verification"]["is_quine"] = True
    (tmp_path / "q" / "solution.json").write_text(json.dumps(report))
    status, out, _ = run("verify", tmp_path / "q")
    assert status == 1
    assert "NOT a quine" in out
    assert "false claim: is_quine is claimed, and is not so" in out
    status, data = answer("verify", tmp_path / "q")
    assert (status, data["false_claims"]) == (1, ["is_quine is claimed, and is not so"])


def test_a_trunk_of_the_users_is_named_on_the_command_line(run, answer, tmp_path, monkeypatch):
    quine = nq.Quine(make_trunk(), torch.randn(4), code_size=6)
    nq.solve(quine, throw=False)
    nq.save(quine, tmp_path / "q")
    status, _, err = run("verify", tmp_path / "q")
    assert status == 2
    assert "--trunk on the command line" in err
    (tmp_path / "mine.py").write_text(
        "import torch\nclass D(torch.nn.Linear):\n    def forward(self, x): return 2 * super().forward(x)\n"
        "def make(): return torch.nn.Sequential(D(4, 6))\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    _, data = answer("verify", tmp_path / "q", "--trunk", "mine:make")
    assert data["parameters"] == 30


# -- interruption -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_best_iterate_and_exits_with_130(answer, monkeypatch, tmp_path, number):
    step, calls = Gradient.step, []

    def interrupted(self, *rest):
        calls.append(1)
        if len(calls) == 30:
            os.kill(os.getpid(), number)
        return step(self, *rest)

    monkeypatch.setattr(Gradient, "step", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    status, data = answer("solve", "blog", "--method", "rmsprop")
    assert status == 130
    assert data["status"] == "interrupted"
    assert 25 < data["steps"] < 35
    assert data["out"] == os.path.join("quines", "blog-interrupted")
    kept = nq.verify(nq.load(tmp_path / data["out"]), tries=1)
    assert kept.relative_residual == data["relative_residual"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_interrupted_zoo_keeps_what_it_found(answer, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Broyden, "step", interrupted)
    status, data = answer("zoo", "blog", "--starts", 2)
    assert status == 130
    assert data["interrupted"] is True
    assert data["quines"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_a_real_process_shows_progress_on_the_terminal_and_ends_on_ctrl_c(tmp_path):
    main, side = os.openpty()
    command = [sys.executable, "-m", "neuralquine", "solve", "blog", "--method", "rmsprop", "--out", "kept"]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a suite in the background may ignore it, and so would its children
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=side, env=os.environ | {"TERM": "xterm"}
    )
    signal.signal(signal.SIGINT, before)
    os.close(side)
    shown = b""
    while b"relative residual" not in shown:
        shown += os.read(main, 4096)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    os.close(main)
    assert b"solving blog: step" in shown
    assert b"relative residual" in shown
    assert process.returncode == 130
    text = out.decode()
    assert text.startswith("No quine. Interrupted: the best iterate so far is kept.")
    assert "solving" not in text
    assert nq.load(tmp_path / "kept").parameter_count == 1020


def test_a_real_process_prints_json_and_its_exit_status(tmp_path):
    command = [sys.executable, "-m", "neuralquine", "solve", "blog", "--seed", "1", "--json", "--out", "q"]
    run = forked.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stderr == ""
    assert json.loads(run.stdout)["status"] == "converged"
    assert sum(t.size for n, t in load_file(tmp_path / "q" / "model.safetensors").items() if "trunk" in n) == 1020
    command = [sys.executable, "-m", "neuralquine", "verify", "nowhere", "--json"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "neuralquine: nowhere is not a folder with a quine in it\n"


def test_ctrl_c_before_there_is_anything_to_keep_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    from neuralquine.cli import main

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        sys.modules["neuralquine.solving.solve"], "solve", interrupted
    )  # the package hides it by its function
    monkeypatch.setattr("sys.argv", ["neuralquine", "solve", "blog", "--out", str(tmp_path / "q")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    again = f"go on with `neuralquine solve blog --out {tmp_path / 'q'} --resume`"
    assert capsys.readouterr().err.endswith(f"neuralquine: interrupted: {again}\n")
    assert (tmp_path / "q.journal").exists()


@pytest.mark.parametrize(("command", "usage"), [("solve", "RECIPE"), ("export", "FOLDER FILE"), ("evolve", "WORLD")])
def test_what_a_command_takes_is_named_in_capitals_and_without_types_of_python(run, command, usage):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert out.partition("\n")[0].endswith(f"neuralquine {command} [OPTIONS] {usage}")
    assert not re.search(r"<\w+>", out)


@pytest.mark.parametrize("place", ["neuralquine.cli.check_line", "neuralquine.cli.look.load_quine"])
def test_ctrl_c_in_any_command_at_any_time_is_one_line_and_130(monkeypatch, capsys, place):
    from neuralquine.cli import main

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    monkeypatch.setattr("sys.argv", ["neuralquine", "spectrum", "example:blog"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    again = "neuralquine: interrupted: begin again with `neuralquine spectrum example:blog`\n"
    assert capsys.readouterr() == ("", again)
