"""The command line: one JSON object on stdout, everything else on stderr, exit codes, and helpful refusals."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import typer

import neuralquine as nq
from neuralquine.cli import app, main
from neuralquine.selfmap import ReducedMap

FIGURES = {
    "status",
    "parameters",
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


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run the entry point in this process: ``(exit code, stdout, stderr)``."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["neuralquine", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def as_json(cli):
    """Run with ``--json``: ``(exit code, object)``; fails unless stdout is that object in one line."""

    def run(*words):
        code, out, err = cli(*words, "--json")
        assert out.count("\n") == 1, (out, err)
        data = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert isinstance(data, dict)
        return code, data

    return run


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A quine of the blog's network, saved; copied by whoever writes to it."""
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    folder = tmp_path_factory.mktemp("cli") / "kept"
    nq.save(quine, folder)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "kept")


# -- results ----------------------------------------------------------------------------------------------------------


def test_solve_json(as_json, tmp_path):
    code, data = as_json("solve", "blog", "--seed", 3, "--out", tmp_path / "q")
    assert code == 0
    assert data.keys() >= FIGURES
    assert (data["status"], data["recipe"], data["parameters"], data["seed"]) == ("converged", "blog", 1020, 3)
    assert data["relative_residual"] < 9e-15
    quine = nq.load(data["out"])
    assert quine.recipe == {"name": "blog", "seed": 3}
    theta, printed = quine.theta, quine.printed()
    assert data["relative_residual"] == pytest.approx(float((printed - theta).norm() / theta.norm()), rel=1e-6)
    assert data["max_abs_residual"] == float((printed - theta).abs().max())
    assert data["differing_weights"] == int((printed != theta).sum()) > 0


def test_solve_for_a_person(cli, tmp_path):
    code, out, err = cli("solve", "blog", "--out", tmp_path / "q")
    assert code == 0
    assert out.startswith("A quine: the network prints its own weights.")
    for label in ("relative residual", "RMS weight", "bit-exact", "self-sensitivity", "spectral radius", "written to"):
        assert label in out
    assert err == ""
    assert "keep it with --out" not in out


def test_solve_exact(as_json, tmp_path):
    code, data = as_json("solve", "blog", "--exact", "--out", tmp_path / "q")
    assert code == 0
    assert data["bit_exact"] is True
    assert (data["differing_weights"], data["max_abs_residual"]) == (0, 0.0)
    quine = nq.load(tmp_path / "q")
    assert quine.theta.numpy().tobytes() == quine.printed().numpy().tobytes()
    assert re.search(r"after trying (1 fixed point|\d+ fixed points) on 35 grids .* with 1 probe$", data["detail"])
    code, refused = as_json("digits", tmp_path / "q")
    assert code == 1
    assert refused["proved"] is False
    assert "no more digits" in refused["reason"]


def test_options_of_method_and_recipe_reach_them(as_json, tmp_path):
    options = ["-m", "damping=0.25", "-m", "space=full", "-r", "dtype=float32", "-r", "alpha=0.5", "--max-steps", 4]
    _, data = as_json("solve", "blog", "--method", "picard", *options, "--out", tmp_path / "q")
    quine = nq.recipe("blog", dtype=torch.float32, alpha=0.5)
    method = nq.Picard(damping=0.25, space="full")
    expected = nq.solve(quine, method, stop=nq.Stop(max_steps=4), throw=False).figures()
    assert (data["method"], data["dtype"]) == ("picard", "float32")
    for key in FIGURES - {"seconds"}:
        assert data[key] == expected[key], key
    assert nq.load(tmp_path / "q").gains == [0.025] * 6


def test_blog_part1_names_the_zero_quine(as_json, cli):
    code, data = as_json("solve", "blog-part1")
    assert code == 1
    assert data["status"] == "zero_quine"
    assert data["weight_rms"] < 1e-4
    code, out, _ = cli("solve", "blog-part1")
    assert code == 1
    assert out.startswith("No quine. Zero quine: every weight went to its mean")
    assert "normalize=True" in out


def test_a_step_limit_is_no_quine(as_json):
    code, data = as_json("solve", "blog", "--method", "rmsprop", "--max-steps", 3)
    assert (code, data["status"], data["steps"]) == (1, "max_steps", 3)


def test_zoo_json(as_json, tmp_path):
    code, data = as_json("zoo", "blog", "--starts", 4, "--out", tmp_path / "zoo")
    assert code == 0
    assert data.keys() >= {"recipe", "seed", "starts", "parameters", "map_evaluations", "jvps", "seconds", "quines"}
    assert len(data["quines"]) == data["distinct"] > 1
    for row in data["quines"]:
        assert row.keys() >= FIGURES - {"status", "parameters", "bit_exact", "map_evaluations", "jvps", "seconds"}
        assert nq.verify(nq.load(row["out"]), tries=1).is_quine


def test_a_zoo_without_quines_exits_1(as_json, cli):
    code, data = as_json("zoo", "blog-part1", "--starts", 2)
    assert code == 1
    assert data["quines"] == []
    code, out, err = cli("zoo", "blog-part1", "--starts", 1)
    assert code == 1
    assert "found" in err  # progress
    assert "0 distinct quines" in out
    assert "from 1 start:" in out


def test_verify_json(as_json, folder):
    code, data = as_json("verify", folder)
    assert code == 0
    assert data.keys() >= FIGURES - {"map_evaluations", "jvps"}
    assert (data["status"], data["is_quine"], data["proved"], data["portable"]) == ("quine", True, None, None)


def test_verify_denies_and_exits_1(as_json, cli, tmp_path):
    nq.save(nq.recipe("blog"), tmp_path / "unsolved")
    code, data = as_json("verify", tmp_path / "unsolved")
    assert (code, data["status"], data["is_quine"]) == (1, "not_converged", False)
    code, out, _ = cli("verify", tmp_path / "unsolved")
    assert code == 1
    assert "NOT a quine" in out


def test_verify_names_a_false_claim(as_json, folder):
    report = json.loads((folder / "solution.json").read_text())
    report["verification"]["bit_exact"] = True
    (folder / "solution.json").write_text(json.dumps(report))
    code, data = as_json("verify", folder)
    assert code == 1
    assert data["is_quine"] is True
    assert data["false_claims"] == ["bit_exact is claimed, and is not so"]


def test_verify_portable_of_an_unrounded_quine(as_json, folder):
    code, data = as_json("verify", folder, "--portable")
    assert (code, data["portable"]) == (1, False)
    assert "not rounded to a grid" in data["portable_reason"]


def test_certify_then_check_then_verify(as_json, folder):
    code, data = as_json("certify", folder)
    assert (code, data["proved"], data["kind"]) == (0, True, "fixed point")
    code, data = as_json("check-proof", folder / "certificate.json")
    assert (code, data["proved"]) == (0, True)
    code, data = as_json("verify", folder)
    assert (code, data["proved"]) == (0, True)


def test_certify_refuses_what_is_no_quine(as_json, cli, tmp_path):
    nq.save(nq.recipe("blog"), tmp_path / "q")
    code, data = as_json("certify", tmp_path / "q")
    assert (code, data["proved"]) == (1, False)
    assert data["reason"]
    code, out, err = cli("certify", tmp_path / "q")
    assert (code, out) == (1, "")
    assert err.startswith("not proved: ")


def test_digits(as_json, cli, folder, tmp_path):
    code, data = as_json("digits", folder, "--digits", 25)
    assert code == 0
    assert len(data["weights"]) == data["parameters"] == 1020
    code, shown = as_json("digits", folder, "--digits", 25, "--out", tmp_path / "d.txt")
    assert code == 0
    assert "weights" not in shown
    assert (tmp_path / "d.txt").read_text().split() == data["weights"]


def test_spectrum_and_generations_json(as_json, cli, folder):
    code, data = as_json("spectrum", folder)
    assert code == 0
    values = [complex(*v) for v in data["eigenvalues"]]
    assert len(values) == 20
    assert data["spectral_radius"] == pytest.approx(max(map(abs, values)))
    code, data = as_json("generations", folder, "-n", 5)
    assert (code, data["survived"], len(data["distances"])) == (0, 5, 5)
    code, data = as_json("generations", folder, "-n", 60)
    assert code == 1
    assert 5 < data["survived"] < 60
    code, out, _ = cli("generations", folder, "-n", 60)
    assert code == 1
    assert f"survives {data['survived']} of 60 generations" in out


def test_plot_json(as_json, folder):
    code, data = as_json("plot", folder)
    assert code == 0
    assert {os.path.basename(f) for f in data["figures"]} >= {"spectrum.png", "weights-1.png", "residual.png"}
    assert all(os.path.getsize(f) > 1000 for f in data["figures"])


@pytest.mark.parametrize("command", ["recipes", "methods"])
def test_listings(as_json, cli, command):
    code, data = as_json(command)
    assert code == 0
    for row in data[command]:
        assert row.keys() == {"name", "summary", "options"}
        assert row["summary"]
    _, out, _ = cli(command)
    assert all(row["name"] in out for row in data[command])


# -- refusals ---------------------------------------------------------------------------------------------------------

REFUSALS = {
    "solve blogg": "no recipe 'blogg': did you mean 'blog'?",
    "solve blog --method nevton": "no method 'nevton': did you mean 'newton'?",
    "solve blog --method picard -m damping": "'damping' is not KEY=VALUE",
    "solve blog --method picard -m dampin=1": "did you mean 'damping'?",
    "solve blog -m damping=1": "needs --method",
    "solve blog -r alhpa=1": "did you mean 'alpha'?",
    "solve blog -r alpha=much": "alpha must be a float like 0.25",
    "solve blog --figures": "needs --out",
    "solve blog --exact --method newton": "leave out the method",
    "solve blog --seed -1": "greater than or equal to 0",
    "solve blog --methd newton": "--method",
    "slove blog": "Did you mean 'solve'?",
    "zoo blog --starts 0": "greater than or equal to 1",
    "verify nowhere": "nowhere is not a folder with a quine in it",
    "verify nowhere --trunk nomodule:make": "gives no module",
    "certify nowhere": "nowhere",
    "check-proof nowhere.json": "nowhere.json is missing",
}


@pytest.mark.parametrize("line", REFUSALS)
def test_bad_input_exits_2_with_the_remedy_on_stderr(cli, monkeypatch, tmp_path, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    code, out, err = cli(*line.split())
    assert code == 2
    assert out == ""
    assert REFUSALS[line] in err
    assert "Traceback" not in err
    if err.startswith("neuralquine:"):
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_not_overwritten(cli, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    code, out, err = cli("solve", "blog", "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "thesis.tex" in err
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_missing_extra_is_named(cli, folder, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for command, extra in (("plot", "plot"), ("certify", "proof")):
        code, out, err = cli(command, folder)
        assert (code, out) == (2, "")
        assert f"pip install 'neuralquine[{extra}]'" in err
    code, _, _ = cli("verify", folder)  # needs neither
    assert code == 0


def test_a_trunk_of_the_users_own(as_json, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_nets_of_the_cli_test.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(4, 16)\n"
        "        self.b = torch.nn.Linear(16, 16)\n"
        "    def forward(self, x):\n"
        "        return self.b(torch.tanh(self.a(x)))\n"
    )
    sys.path.insert(0, str(tmp_path))
    import my_nets_of_the_cli_test as nets

    torch.manual_seed(0)
    quine = nq.Quine(nets.Net(), torch.ones(1, 4), code_size=16)
    nq.solve(quine)
    nq.save(quine, "q")
    code, data = as_json("verify", "q", "--trunk", "my_nets_of_the_cli_test:Net")
    assert (code, data["is_quine"]) == (0, True)


# -- interruption -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")
def test_ctrl_c_keeps_the_best_iterate_and_exits_130(tmp_path):
    """A real process on a real terminal: interrupted once it shows that it is searching."""
    import pty

    watcher, terminal = pty.openpty()
    command = [sys.executable, "-m", "neuralquine", "solve", "blog", "--method", "rmsprop"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    try:
        seen = b""
        while b"map evaluations" not in seen:
            seen += os.read(watcher, 4096)
        process.send_signal(signal.SIGINT)
        out = process.communicate(timeout=30)[0].decode()
    finally:
        process.kill()
        os.close(watcher)
    assert process.returncode == 130
    assert b"solving blog: step" in seen  # progress goes to stderr
    assert out.startswith("No quine. Interrupted: the best iterate so far is kept.")
    assert "map evaluations, relative" not in out
    quine = nq.load(tmp_path / "quines" / "blog-interrupted")
    verification = nq.verify(quine, tries=1)
    assert not verification.is_quine
    assert 1e-3 < verification.relative_residual < 2


def test_kill_is_like_ctrl_c(as_json, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    original, sent = ReducedMap._evaluate, []

    def evaluate(self, c):
        if not sent:
            sent.append(signal.raise_signal(signal.SIGTERM))
        return original(self, c)

    monkeypatch.setattr(ReducedMap, "_evaluate", evaluate)
    before = signal.getsignal(signal.SIGTERM)
    code, data = as_json("solve", "blog", "--out", "q")
    assert (code, data["status"], data["out"]) == (130, "interrupted", "q")
    assert signal.getsignal(signal.SIGTERM) is before
    assert nq.load("q").parameter_count == 1020
    sent.clear()
    code, data = as_json("zoo", "blog", "--starts", 4)
    assert (code, data["interrupted"]) == (130, True)


def test_ctrl_c_outside_of_a_search_is_130_too(cli, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("neuralquine.recipes.recipe", interrupted)
    code, out, _ = cli("solve", "blog")
    assert (code, out) == (130, "")


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_of_every_command_answers_without_torch():
    code = """
import sys
from typer.main import get_command
from neuralquine.cli import app, main
for words in [[], *([name] for name in get_command(app).commands)]:
    sys.argv = ["neuralquine", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words
heavy = {"torch", "numpy", "scipy", "matplotlib", "flint"} & set(sys.modules)
assert not heavy, heavy
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.count("Usage:") == len(typer.main.get_command(app).commands) + 1


def test_every_command_is_documented_and_takes_json():
    for name, command in typer.main.get_command(app).commands.items():
        assert command.help, name
        assert all(option.help for option in command.params), name
        assert "--json" in {flag for option in command.params for flag in option.opts}, name


def test_version(cli):
    assert cli("--version") == (0, f"{nq.__version__}\n", "")
