"""What the command line answers without torch: names, wrong names, help and completion, whole at every width."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer

import forked
from neuralquine.cli import known
from neuralquine.cli.commands import app
from neuralquine.cli.group import EXAMPLES, GROUPS
from neuralquine.cli.words import OPTIONS
from neuralquine.evolution.worlds import WORLDS
from neuralquine.healing.kinds import KINDS
from neuralquine.recipes import RECIPES
from neuralquine.solving.methods import METHODS
from neuralquine.tasks import TASKS
from neuralquine.version import __version__ as version

GROUP: Any = typer.main.get_command(app)
COMMANDS = GROUP.commands


def ours(registry):
    """The names that this package registers; other tests register more."""
    return [name for name, made in registry.items() if _home(made).startswith("neuralquine.")]


def _home(made):
    function = getattr(made, "__wrapped__", getattr(made, "strike", made))
    return getattr(function, "__module__", None) or type(made).__module__


def test_the_static_names_are_those_of_the_registries():
    assert list(known.RECIPES) == ours(RECIPES)
    assert list(known.TASKS) == ours(TASKS)
    assert list(known.WORLDS) == ours(WORLDS)
    assert list(known.METHODS) == [n for n, m in METHODS.items() if type(m).__module__.startswith("neuralquine.")]
    assert {name: KINDS[name].about for name in ours(KINDS)} == known.DAMAGES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("solve blgo", "no recipe 'blgo': did you mean 'blog'?"),
        ("zoo blgo", "no recipe 'blgo'"),
        ("solve blog --method newtn", "no method 'newtn': did you mean 'newton'?"),
        ("solve digits-mlp", "neuralquine train digits-mlp --out DIR"),
        ("solve soup", "neuralquine evolve soup --out DIR"),
        ("solve mine.py", "name the function in it that makes the network, mine.py:FUNCTION"),
        ("train digits-mpl --out x", "no task 'digits-mpl'"),
        ("evolve suop --out x", "no world 'suop': did you mean 'soup'?"),
        ("heal x --damage niose:0.5", "no damage 'niose': did you mean 'noise'?"),
        ("heal x --curve niose", "no damage 'niose'"),
    ],
)
def test_a_wrong_name_is_answered(run, words, message):
    status, out, err = run(*words.split())
    assert (status, out) == (2, "")
    assert message in err


def test_names_and_help_import_no_torch():
    lines = [
        "solve blgo",
        "solve blog --method newtn",
        "heal x --damage niose:1",
        "heal --help",
        "help solve",
        "solve x -m a=1",
    ]
    code = (
        "import sys\nfrom neuralquine.cli import main\n"
        f"for line in {lines!r}:\n    sys.argv = ['neuralquine', *line.split()]\n"
        "    try: main()\n    except SystemExit: pass\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("slove blog", "no command 'slove': did you mean 'solve'?"),
        ("solve blgo", "no recipe 'blgo': did you mean 'blog'?"),
        ("zoo blgo", "no recipe 'blgo': did you mean 'blog'?"),
        ("train digits-mpl", "no task 'digits-mpl': did you mean 'digits-mlp'?"),
        ("evolve suop", "no world 'suop': did you mean 'soup'?"),
        ("solve blog --seed 1 --method newtn", "no method 'newtn': did you mean 'newton'?"),
        ("heal x --trials 3 --damage niose:0.5", "no damage 'niose': did you mean 'noise'?"),
        ("solve blog --metod newton", "solve has no option '--metod': did you mean '--method'?"),
        ("solve blog --jsn", "solve has no option '--jsn': did you mean '--json'?"),
        ("keep q --traunk x", "keep has no option '--traunk': did you mean '--trunk'?"),
        ("--version", version),
    ],
)
def test_a_typo_is_answered_before_the_commands_are_imported(line, answer):
    """A tenth of a second is all that Python itself and a few files of the library take."""
    code = (
        f"import sys\nsys.argv = ['neuralquine', *{line.split()!r}]\nfrom neuralquine.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*{'typer', 'rich', 'numpy', 'torch', 'neuralquine.cli.commands'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    *said, imported = (
        (done.stdout + done.stderr).splitlines() if not done.stderr else [done.stderr, done.stdout.strip()]
    )
    assert "".join(said).strip().removeprefix("neuralquine: ") == answer
    assert imported == ""


@pytest.mark.parametrize(
    "line",
    [
        "solve blgo --help",
        "solve --seed 1 blgo",
        "heal -- --damage niose",
        "-h",
        "solve blog --out --odd --seed=1 -ralpha=1 -r -x=1",
        "push q o/n --message --no --private",
        "verify -- --odd",
    ],
)
def test_only_what_a_command_would_refuse_is_refused_early(line, monkeypatch):
    monkeypatch.delitem(sys.modules, "neuralquine.cli.commands", raising=False)
    known.check_line(line.split())


def test_the_options_that_are_known_are_those_of_the_commands():
    found = {}
    for name, command in COMMANDS.items():
        options = [p for p in command.params if p.param_type_name == "option"]
        words = [(word, p.is_flag) for p in options for word in (*p.opts, *p.secondary_opts)]
        found[name] = {word + "=" * (not flag) for word, flag in words}
    assert found == {name: set(words.split()) for name, words in OPTIONS.items()}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("neuralquine solve bl", {"blog", "blog-part1"}),
        ("neuralquine zoo gr", {"gru"}),
        ("neuralquine solve blog --method newton-", {"newton-full", "newton-krylov"}),
        ("neuralquine train digits-m", {"digits-mlp"}),
        ("neuralquine evolve s", {"soup"}),
        ("neuralquine heal work --damage n", {"noise:", "negate:", "neurons:"}),
        ("neuralquine heal work --curve b", {"bit-errors", "block"}),
    ],
)
def test_names_are_completed(run, monkeypatch, line, wanted):
    monkeypatch.setenv("_NEURALQUINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    _, out, _ = run()
    assert set(out.split()) == wanted


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 200])
def test_help_lists_every_command_with_a_whole_sentence(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _, out, _ = run("--help")
    assert "..." not in out.replace("[ARGS]...", "")
    text = re.sub(r"\s+", " ", out)
    for name, command in COMMANDS.items():
        sentence = re.sub(r"\s+", " ", command.help.partition("\n\n")[0])
        assert sentence.endswith(".")
        assert len(sentence) <= 62, name  # one line of 80 columns
        assert f" {name} {sentence}" in text
    assert {"Find:", "Look:", "Prove:", "Work:", "Live:"} <= set(out.split())
    assert run("-h")[1] == run("help")[1] == out


def test_every_command_is_in_a_group_and_has_examples_that_can_be_parsed():
    grouped = [name for members in GROUPS.values() for name in members]
    assert len(grouped) == len(set(grouped))
    for name in set(COMMANDS) - {"help"}:
        assert name in grouped, name
        for line in EXAMPLES[name]:
            program, verb, *rest = line.split()
            assert (program, verb) == ("neuralquine", name)
            COMMANDS[name].make_context(name, rest)


def test_help_of_a_command_is_that_of_the_command(run):
    for name in sorted(COMMANDS):
        whole = run(name, "--help")[1]
        assert run(name, "-h")[1] == run("help", name)[1] == whole
        assert "<int range>" not in whole
    status, _, err = run("help", "sovle")
    assert status == 2
    assert "did you mean 'solve'?" in err


# -- tables and colors ------------------------------------------------------------------------------------------------


def test_tables_are_never_cut(monkeypatch, capsys):
    from neuralquine.cli.tables import table

    columns, rows = ["quine", "spectral radius", "relative residual"], [["1", "3.402123", "1.234e-16"]]
    table(columns, rows)
    assert capsys.readouterr().out.splitlines()[0] == "quine  spectral radius  relative residual"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    for width in range(1, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        table(columns, rows)
        out = capsys.readouterr().out
        assert {"3.402123", "1.234e-16", "quine", "radius", "residual"} <= set(out.split())
        assert width < 28 or max(map(len, out.splitlines())) <= width


@pytest.mark.parametrize(
    ("terminal", "environment", "shown"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False), (False, {}, False)],
)
def test_color_is_for_terminals_that_want_it(monkeypatch, terminal, environment, shown):
    from neuralquine.cli.tables import colored

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ("\x1b[" in colored("A quine", "green")) == shown


def test_nothing_raises_where_the_terminal_speaks_ascii(tmp_path):
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "COLUMNS": "40", "PYTHONUTF8": "0"}
    words = [sys.executable, "-m", "neuralquine", "zoo", "blog", "--starts", "2"]
    done = forked.run(words, capture_output=True, cwd=tmp_path, env=environment)
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1)
