"""The documents: what they tell to type works, what they link to exists, what they quote is what was measured."""

import importlib.util
import inspect
import json
import pkgutil
import re
import shlex
import statistics
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
import torch
import typer

import forked
import neuralquine as nq
from neuralquine import cli
from neuralquine.cli.commands import app
from neuralquine.evolution.worlds import WORLDS
from neuralquine.recipes import RECIPES
from neuralquine.solving.ladder import LADDER
from neuralquine.solving.methods import METHODS
from neuralquine.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text()
GROUP = typer.main.get_command(app)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page):
    """What is typed in the console blocks of a page, without the comments."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line[2:], comments=True) for line in lines]


def table(text, heading):
    """The cells of the table whose first heading cell is this."""
    rows = [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")]
    first = next(i for i, row in enumerate(rows) if row[0].strip("| ") == heading)
    body = []
    for row in rows[first + 2 :]:
        if set(row[0]) <= set("-|"):
            body.pop()  # the heading of the next table
            break
        body.append([c.strip("| ") for c in row])
    return body


CONSOLE = [(page, words) for page in PAGES for words in commands(page) if words[0] == "neuralquine"]


# -- what is typed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [w for _, w in CONSOLE], ids=[" ".join(w[1:]) for _, w in CONSOLE])
def test_every_command_line_can_be_parsed(words):
    _parse(words[1:])


def test_commands_named_in_running_text_exist():
    named = {
        match.split()[1] for page in PAGES for match in re.findall(r"`(neuralquine [a-z][^`]*)`", page.read_text())
    }
    known = set(GROUP.commands)
    assert named
    assert named <= known


INLINE = sorted({m for page in PAGES for m in re.findall(r"`neuralquine ([a-z-]+ [a-z][^`]*)`", page.read_text())})


@pytest.mark.parametrize("line", [line for line in INLINE if not re.search(r"\.\.\.|\bDIR\b", line)])
def test_command_lines_in_running_text_can_be_parsed(line):
    _parse(shlex.split(line))


def _parse(words):
    name, sub, rest = GROUP.resolve_command(GROUP.make_context("neuralquine", words, resilient_parsing=True), words)
    context = sub.make_context(name, list(rest))  # refuses unknown options and missing arguments
    assert context.info_name == words[0]


def test_a_wrong_command_line_would_not_be_parsed():
    with pytest.raises(Exception, match="No such option"):
        _parse(["solve", "blog", "--sedd", "1"])


# What is added to the commands that would take minutes, so that they take a second.
BRIEFLY = {
    "train digits-cnn --out work": "-r epochs=1 -r channels=4 -r code_size=256",
    "train digits-mlp --out work": "-r epochs=1 -r hidden=16 -r code_size=256",
    "train digits-mlp --out work/mlp": "-r epochs=1 -r hidden=8 -r code_size=128",
    "heal work --damage noise:0.5": "--trials 2",
    "heal work/mlp --damage noise:0.5 --damage zero:0.75 --trials 100": "--trials 2",
    "heal work/mlp --curve noise": "--trials 1",
    "evolve digits --out life": "--generations 1 -r size=4 -r parents=2",
    "evolve digits --out life/digits": "--generations 1 -r size=4 -r parents=2",
    "evolve soup --out life": "--generations 2 -r size=10",
    "evolve soup --out life/soup": "--generations 2 -r size=10",
    "evolve fertility --out life/lines": "--generations 2 -r lines=1 -r steps=20",
    "evolve soup --out life/alone -r size=50 -r attack=0.0 -r train=0 -r applications=1 -r replace=false": "--generations 2 -r size=10",
    "solve blog --method rmsprop": "--max-steps 20",
    "solve blog --method rmsprop -m gradient=true": "--max-steps 20",
    "solve gpt2 -r layers=2 -r width=128 --out quines/small-gpt2": "-r width=2 -r code_size=16",
    "zoo blog --starts 40": "--starts 2",
    "sweep jobs.toml --out results -j 2": "-j 1",
}

# `push` needs an account of the Hub: tests/keeping has one of its own. tests/post runs `post`, and looks at its page.
ELSEWHERE = ["push quines/blog owner/name", "post --quick --out post"]

# The exit status of each command of the README.
EXPECTED = {
    "verify quines/blog": 0,
    "plot quines/blog": 0,
    "zoo blog --starts 40": 0,
    "generations quines/blog -n 40": 1,  # every quine found so far repels: the line dies
    "solve blog --exact --out exact": 0,
    "verify exact --portable": 0,
    "export exact self.onnx": 0,
    "certify quines/blog": 0,
    "digits quines/blog --digits 1000 --out digits.txt": 0,
    "lab": 0,
    "train digits-cnn --out work": 0,
    "heal work --damage noise:0.5": 0,
    "evolve digits --out life": 0,
    "solve blog-part1": 1,  # the zero quine
}


# The same of the pages whose commands are all run, in their order: what does not end with 0.
RUN = {
    "cli.md": {},  # what no other page has
    "evolution.md": {},
    "exactness.md": {},
    "file-format.md": {},
    "lab.md": {},
    "methods.md": {"solve blog --method picard -m damping=0.1": 1},
    "recipes.md": {},
    "tasks.md": {},
    "tutorial.md": {"generations quines/blog -n 40": 1},
    "story.md": {
        "solve blog-part1": 1,
        "solve blog --method rmsprop": 1,
        "solve blog --method rmsprop -m gradient=true": 1,
    },
}

# What a page tells its reader to have: commands to run before it. The files are in `at_hand`.
BEFORE = {"cli.md": ["solve blog --out quines/blog", "certify quines/blog", "solve blog"]}


def at_hand(folder):
    """A picture of a seven and a list of jobs, as the pages name them."""
    from PIL import Image

    Image.new("L", (8, 8), 0).save(folder / "seven.png")
    Image.new("L", (8, 8), 0).save(folder / "image.png")
    (folder / "jobs.toml").write_text('recipe = ["blog"]\nseed = [0]\n')


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the entry point in this process, in an empty folder: (exit status, stdout)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neuralquine.lab.serve.serve", lambda *_, **__: None)  # for ever; tests/lab starts real ones

    def run(words):
        capsys.readouterr()
        words = [*words, *BRIEFLY.get(" ".join(words), "").split()]
        monkeypatch.setattr(sys, "argv", ["neuralquine", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code or 0, capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", list(RUN))
def test_the_commands_of_a_page_do_what_it_says(name, run, tmp_path):
    pytest.importorskip("flint")
    lines = [words[1:] for words in commands(ROOT / "docs" / name) if words[0] == "neuralquine"]
    if name == "cli.md":
        elsewhere = [ROOT / "README.md", *(ROOT / "docs" / other for other in RUN if other != name)]
        done = [words[1:] for page in elsewhere for words in commands(page)]
        lines = [words for words in lines if words not in done and " ".join(words) not in ELSEWHERE]
    assert set(RUN[name]) <= {" ".join(words) for words in lines}
    at_hand(tmp_path)
    for line in BEFORE.get(name, []):
        assert run(line.split())[0] == 0
    for words in lines:
        assert run(words)[0] == RUN[name].get(" ".join(words), 0), words


def test_the_commands_of_the_readme_do_what_it_says(tmp_path, run):
    pytest.importorskip("flint")
    make = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^\t\$\(BIN\)/neuralquine (solve .*)$", make, flags=re.MULTILINE)
    status, out = run(shlex.split(line))
    assert status == 0
    (shown,) = [b for b in blocks(ROOT / "README.md", "console") if b.startswith("$ make quine\n")]
    assert _without_figures(out) == _without_figures(shown.removeprefix("$ make quine\n"))
    for words in commands(ROOT / "README.md"):
        if words[0] == "neuralquine" and " ".join(words[1:]) not in ELSEWHERE:
            assert run(words[1:])[0] == EXPECTED[" ".join(words[1:])], words
    digits = (tmp_path / "digits.txt").read_text().split()
    assert len(digits) == 1020
    assert min(len(re.sub(r"e.*|[-.]", "", d).lstrip("0")) for d in digits) >= 1000
    assert (tmp_path / "quines" / "blog" / "certificate.json").exists()


def _without_figures(text):
    return re.sub(r"\d[\d.]*(e-\d+)?", "#", text).strip()


def test_make_has_every_target_that_is_named():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {t for page in PAGES for t in re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text())}
    assert {"quine", "test"} <= named <= targets


# -- Python -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_snippets_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state, names = torch.get_rng_state(), {}
    try:
        for number, snippet in enumerate(blocks(page, "python")):
            exec(compile(snippet, f"{page.name}, snippet {number}", "exec"), names)
    finally:
        torch.set_rng_state(state)
    if page.name == "README.md":
        shown = capsys.readouterr().out
        assert "Solution(CONVERGED: relative residual" in shown
        assert "self-sensitivity" in shown
        assert sorted(p.name for p in tmp_path.iterdir()) == ["my-quine"]


def test_names_of_the_package_in_running_text_exist():
    for page in PAGES:
        for name in re.findall(r"`nq\.([A-Za-z_]+)", page.read_text()):
            assert name in nq.__all__, (page.name, name)


def test_modules_named_in_running_text_exist():
    named = {
        (p.name, m) for p in PAGES for m in re.findall(r"\bneuralquine(?:\.[a-z_]+)+(?:\.[A-Z]\w+)?", p.read_text())
    }
    assert len(named) > 5
    for page, name in named:
        assert pkgutil.resolve_name(name), page


# -- links and lists --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_internal_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?://", target):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            assert linked.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(), flags=re.MULTILINE)
                assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, target


def test_source_files_named_in_the_documents_exist():
    for page in PAGES:
        for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|toml|md|txt))`", page.read_text()):
            places = (ROOT, ROOT / "src" / "neuralquine", page.parent)
            assert any((place / name).exists() for place in places) or name in _WRITTEN, (page.name, name)


_WRITTEN = {"digits.txt", "README.md"}  # by commands


def test_the_readme_fits_on_a_few_screens():
    assert len(README.splitlines()) <= 150


def test_the_table_of_failures_lists_every_status():
    listed = {name for row in table(README, "status") for name in re.findall(r"`(\w+)`", row[0])}
    assert listed == {status.name.lower() for status in nq.Status} - {"converged"}


def test_the_four_words_are_fields_everywhere():
    for page, heading in ((README, "word"), ((ROOT / "docs" / "exactness.md").read_text(), "word")):
        words = [row[0].replace("-", "_") for row in table(page, heading)]
        assert words == ["converged", "bit_exact", "portable", "proved"]
        for record in (nq.Solution, nq.Verification):
            assert all(hasattr(record, w) or w in record.__dataclass_fields__ for w in words)


def test_the_ladder_is_the_one_that_is_climbed():
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    starts = [int(n) for row in table(text, "rung") for n in row[1].split(", ")]
    assert starts == [width for _, width in LADDER]
    limits = [float(x) for row in table(text, "rung") for x in re.findall(r"0\.\d+", row[0])]
    assert limits == [tool.step_limit for tool, _ in LADDER if isinstance(tool, nq.Broyden)]


def test_every_recipe_has_its_command_its_size_and_its_end():
    rows = [row for row in _rows("recipes.md") if len(row) == 4 and row[0] != "recipe"]
    made = RECIPES | TASKS | WORLDS
    assert len(rows) == len(made)
    assert {row[0].strip("`") for row in rows} == set(made)
    for name, weights, line, _ in rows:
        assert re.match(rf"`neuralquine [a-z]+ {name.strip('`')}\b", line), line
        (stated,) = re.findall(r"P = ([\d,]+)", inspect.getdoc(made[name.strip("`")]))
        assert int(weights.replace(",", "")) == int(stated.replace(",", "")), name


def test_what_is_expected_of_a_recipe_is_what_its_card_found():
    cards = {card["command"]: card for card in json.loads((ROOT / "docs" / "gallery" / "cards.json").read_text())}
    compared = 0
    for name, _, line, expected in (row for row in _rows("recipes.md") if len(row) == 4 and row[0] != "recipe"):
        card = cards.get(line.strip("`").removeprefix("neuralquine "))
        if card is not None:
            compared += 1
            assert re.findall(r"`(\w+)`", expected)[0] == card["solve"]["status"], name
            assert ("bit-exact" in expected) == card["solve"]["bit_exact"], name
    assert compared >= 10


def test_the_guide_to_methods_lists_every_one_with_what_it_solves():
    raw = json.loads((ROOT / "benchmarks" / "results" / "methods.json").read_text())
    rows = table((ROOT / "docs" / "methods.md").read_text(), "method")
    listed = [name for row in rows for name in re.findall(r"`([\w-]+)`", row[0])]
    assert sorted(listed) == sorted(METHODS)
    for first, solves, *_ in rows:
        for name in re.findall(r"`([\w-]+)`", first):
            runs = [r for r in raw["runs"] if r["method"] == name]
            if runs:
                kinds = {r["problem"] for r in runs}
                most = {k for k in kinds if sum(r["converged"] for r in runs if r["problem"] == k) > 2}
                assert set(re.findall(r"free|anchored|queried", solves)) == most, name


def _rows(page):
    """The cells of every table of a page."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    rows = [[c.strip() for c in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in rows if not set(row[0]) <= set("-|")]


def test_every_dependency_is_explained_and_none_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    needed = {re.split(r"[\[<>=!~ ]", d)[0] for d in listed} - {"neuralquine"}
    rows = table((ROOT / "docs" / "dependencies.md").read_text(), "package")
    assert {name for row in rows for name in row[0].split(", ")} == needed


def test_every_file_of_a_folder_is_in_the_table(tmp_path, small):
    nq.save(small, tmp_path / "q")
    listed = {row[0].strip("`/") for row in table((ROOT / "docs" / "file-format.md").read_text(), "file")}
    assert listed == {p.name for p in (tmp_path / "q").iterdir()} | {"certificate.json", "figures", "metrics.jsonl"}


def test_round_off_is_the_figure_that_is_quoted():
    from neuralquine.quines.measure import round_off

    assert f"({round_off(torch.float64):.0e} in float64)" in README
    assert nq.recipe("blog").parameter_count == 1020


# -- figures that were measured ---------------------------------------------------------------------------------------


def _benchmark(name="blog"):
    return _loaded(ROOT / "benchmarks" / f"{name}.py")


def _loaded(path):
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_story_quotes_what_was_measured():
    raw = json.loads((ROOT / "benchmarks" / "results" / "blog.json").read_text())
    text = " ".join((ROOT / "docs" / "story.md").read_text().split())
    last = [f"{run['current'][-1][1]:.1e}".replace("e-0", "e-") for run in raw["runs"]]
    assert f"of {last[0]}, {last[1]} and {last[2]}." in text
    assert f"within {raw['runs'][2]['post'][-1][1]:.1e} on its way" in text
    assert f"the first is at {raw['runs'][0]['solution']['relative_residual']:.1e} in a tenth of a second" in text
    assert raw["runs"][0]["solution"]["seconds"] < 0.1


def test_the_page_of_the_gallery_is_that_of_its_figures():
    gallery = _benchmark("gallery")
    cards = json.loads((ROOT / "docs" / "gallery" / "cards.json").read_text())
    assert (ROOT / "docs" / "gallery.md").read_text() == gallery.page(cards)
    assert {c.name for c in gallery.CARDS if not c.long} <= {c["name"] for c in cards}
    assert {c["solve"]["recipe"] for c in cards} | {c.command.split()[1] for c in gallery.CARDS} == {*RECIPES, *TASKS}
    pictures = list((ROOT / "docs" / "gallery").glob("*.png"))
    assert {p.stem for p in pictures} == {c["name"] for c in cards}
    assert sum(p.stat().st_size for p in pictures) < 3e6
    for card in cards:
        (same,) = [c for c in gallery.CARDS if c.name == card["name"]]
        assert (card["command"], card["about"]) == (same.command, same.about), "made again, or not changed"
        assert card["environment"]["torch"]
        assert card["machine"]["processor"]


def test_a_card_is_made_by_the_commands_it_shows(tmp_path, monkeypatch):
    gallery = _benchmark("gallery")
    processes = types.SimpleNamespace(run=forked.run, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(gallery, "subprocess", processes)
    (card,) = [c for c in gallery.CARDS if c.name == "blog-exact"]
    made = gallery.make(card, tmp_path, tmp_path / "card.png")
    (kept,) = [
        c for c in json.loads((ROOT / "docs" / "gallery" / "cards.json").read_text()) if c["name"] == "blog-exact"
    ]
    assert made.keys() == kept.keys()
    for word in ("is_quine", "converged", "bit_exact", "portable", "proved"):
        assert made["verification"][word] is kept["verification"][word] is True
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")
    assert gallery.page([made]).startswith("# Gallery\n\n1 runs")


def test_the_page_of_the_command_line_is_that_of_the_commands():
    commands = _loaded(ROOT / "docs" / "commands.py")
    assert commands.PAGE.read_text() == commands.page(), "run `python docs/commands.py`"
    assert set(GROUP.commands) - {"help"} == set(re.findall(r"^### (.+)$", commands.page(), flags=re.MULTILINE))


def test_the_table_of_methods_is_that_of_its_raw_figures():
    raw = json.loads((ROOT / "benchmarks" / "results" / "methods.json").read_text())
    assert (ROOT / "benchmarks" / "results" / "methods.md").read_text() == _benchmark("methods").report(raw)


def test_the_table_of_planted_faults_is_that_of_its_raw_figures():
    raw = json.loads((ROOT / "benchmarks" / "results" / "faults.json").read_text())
    assert (ROOT / "benchmarks" / "results" / "faults.md").read_text() == _benchmark("faults").table(raw)


def test_the_table_of_the_benchmark_is_that_of_its_raw_figures():
    raw = json.loads((ROOT / "benchmarks" / "results" / "blog.json").read_text())
    text = (ROOT / "benchmarks" / "results" / "blog.md").read_text()
    again = _benchmark().report(raw["runs"], raw["steps"])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    assert rows == [line for line in again.splitlines() if line.startswith("|")]
    assert f"{raw['steps']:,} steps" in text
    assert f"torch {raw['environment']['torch']}" in text


def test_what_the_readme_says_of_the_benchmark_is_in_its_figures():
    raw = json.loads((ROOT / "benchmarks" / "results" / "blog.json").read_text())
    assert [run["seed"] for run in raw["runs"]] == [0, 1, 2]
    for run in raw["runs"]:
        assert run["current"][-1][1] > 1e-2  # the iterate that the post keeps stalls above 1e-2
        assert run["ladder"][-1][1] < 1e-14  # ours reaches round-off
        assert run["solution"]["status"] == "converged"
        assert run["solution"]["spectral_radius"] > 1  # so far every quine repels regeneration


def test_what_is_said_of_task_quines_is_what_was_measured():
    data = json.loads((ROOT / "benchmarks" / "results" / "tasks.json").read_text())
    page = (ROOT / "docs" / "tasks.md").read_text()
    for name in ("digits-mlp", "digits-cnn"):
        rows = [r for r in data["splits"] if r["recipe"] == name]
        assert len(rows) == 10
        gaps = [100 * (r["quine"] - r["body"]) for r in rows]
        mean, error = statistics.mean(gaps), statistics.stdev(gaps) / len(gaps) ** 0.5
        assert mean > -0.5
        quine, free = (100 * statistics.mean(r[key] for r in rows) for key in ("quine", "body"))
        figures = f"| {quine:.2f} % | {free:.2f} % | {mean:+.2f} +- {error:.2f} points | 0 |"
        assert f"| {name} | {rows[0]['parameters']:,} {figures}" in page
        assert f"{-mean:.2f} +- {error:.2f}" in README
        assert not any(r["differing_weights"] or any(r["differing_elsewhere"].values()) for r in rows)
        assert not any(r["trivial"] for r in rows)
    healed = {(r["damage"], r["fraction"]): r["healed"] for r in data["healing"] if r["recipe"] == "digits-cnn"}
    named = [("noise", 0.7), ("large-noise", 0.5), ("zero", 0.85), ("negate", 0.2), ("flip", 1.0)]
    named += [("words", 0.6), ("bit-errors", 0.1), ("block", 0.2)]
    assert [healed[damage] for damage in named] == [100] * len(named)
    assert healed["neurons", 0.1] == 25


def test_the_table_of_exact_quines_is_that_of_the_bench():
    raw = json.loads((ROOT / "benchmarks" / "results" / "exact-float64.json").read_text())
    lines = (ROOT / "docs" / "exactness.md").read_text().splitlines()
    first = lines.index(_benchmark("exact").HEAD[0])
    rows = _benchmark("exact").table(raw)
    assert lines[first : first + len(rows) + 1] == [*rows, ""]


def test_what_is_said_of_populations_is_what_was_measured():
    measured = (ROOT / "benchmarks" / "results" / "evolution.md").read_text().splitlines()
    page = (ROOT / "docs" / "evolution.md").read_text()
    lines = [line for line in measured if re.match(r"\| [\d.]+ \| (sink|quine) ", line)]
    assert len(lines) == 6
    assert [line for line in page.splitlines() if line in lines] == lines
    data = json.loads((ROOT / "benchmarks" / "results" / "evolution.json").read_text())
    run, control = data["digits"], data["digits -r selection=false --generations 60"]
    told = f"{100 * run['test_accuracy']:.1f} % of the held-out test images after {run['generations']} generations"
    for words in (
        told,
        f"{run['verified']:,} individuals",
        f"{run['struck_rows']:,} rows",
        f"generation {run['common_ancestor']}",
    ):
        assert words in page
    assert f"{100 * control['test_accuracy']:.1f} %" in page
