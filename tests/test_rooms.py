"""The house: which room may import which, that no import runs in a circle, and how long files and functions are."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "neuralquine"

# The rooms from the lowest to the highest, and what each may import besides itself, errors and version.
ROOMS = {
    "errors": (),
    "version": (),
    "files": (),
    "quines": (),
    "recipes": ("quines",),
    "checking": ("files", "quines", "recipes"),
    "proving": ("files", "quines.tables"),
    "solving": ("files", "quines", "recipes", "checking"),
    "healing": ("quines", "checking"),
    "keeping": ("files", "quines", "recipes", "checking", "proving", "solving"),
    "tasks": ("files", "quines", "recipes", "healing", "solving.solution"),
    "evolution": ("files", "quines", "recipes", "checking", "proving", "solving", "healing", "keeping", "tasks"),
    "lab": ("files", "quines", "recipes", "checking", "proving", "solving", "healing", "keeping", "tasks"),
    "cli": (
        *("files", "quines", "recipes", "checking", "proving", "solving"),
        *("healing", "keeping", "tasks", "evolution", "lab"),
    ),
}
FREE = ("errors", "version")  # for every room
FACES = ("", "__main__")  # the package's own names and `python -m neuralquine`: above all rooms
# The Hub's conventions want save_pretrained and push_to_hub as methods of the quine: the only way upwards.
DOOR = ("quines.quine", "keeping.store")
KINDS = {"Quine", "QueryQuine", "TaskQuine", "BiasTapeQuine", "SelfQuine", "ShardedQuine"}

FILES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def imported(module, text, is_package):
    """The modules of this package that a module's text imports, wherever it does, in the package's own names."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = ["neuralquine", *filter(None, module.split("."))]
            home = home[: len(home) - node.level + is_package] if node.level else []
            start = ".".join([*home, *filter(None, [node.module])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
        for name in names:
            if name.partition(".")[0] == "neuralquine":
                inner = name.partition(".")[2]
                found.append(inner if inner in FILES else inner.rpartition(".")[0])  # else it is a name in a module
    return found


@functools.cache
def arrows():
    """Who imports whom, but for the door."""
    found = {m: imported(m, path.read_text(), path.name == "__init__.py") for m, path in FILES.items()}
    found[DOOR[0]].remove(DOOR[1])  # once: a second import by the same way stays
    return {module: set(others) - {module} for module, others in found.items()}


def allowed(module, other):
    room, target = module.partition(".")[0], other.partition(".")[0]
    permitted = (*FREE, *ROOMS.get(room, ()))
    return module in FACES or room == target or any(f"{other}.".startswith(f"{name}.") for name in permitted)


# -- rooms ------------------------------------------------------------------------------------------------------------


def test_the_rooms_are_those_of_the_table():
    entries = [p for p in SOURCE.iterdir() if p.name != "__pycache__"]
    folders, files = [p for p in entries if p.is_dir()], [p for p in entries if p.is_file()]
    assert {p.name for p in folders} | {p.stem for p in files} == {*ROOMS, "__init__", "__main__", "py"}
    assert len(files) <= 5
    assert len(folders) <= 12


def test_modules_import_only_from_the_rooms_below():
    upwards = {m: [o for o in sorted(others) if not allowed(m, o)] for m, others in arrows().items()}
    assert {m: others for m, others in upwards.items() if others} == {}


def test_the_guide_for_contributors_shows_the_same_table():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert [(room, re.findall(r"`([\w.]+)`", cell)) for room, cell in rows] == [
        (room, list(below)) for room, below in ROOMS.items()
    ]


def test_an_import_from_above_is_found_wherever_it_stands():
    texts = {
        "from ..solving.solve import solve": "solving.solve",
        "def f():\n    from ..solving import solve": "solving.solve",
        "if TYPE_CHECKING:\n    import neuralquine.solving.solve": "solving.solve",
        "importlib.import_module('neuralquine.solving.solve')": "solving.solve",
    }
    for text, module in texts.items():
        assert imported("checking.verify", text, False) == [module], text
        assert not allowed("checking.verify", module)
    assert imported("cli", "from .options import app", True) == ["cli.options"]
    assert allowed("proving.network", "quines.tables.philox")
    assert not allowed("proving.network", "quines.quine")


# -- circles ----------------------------------------------------------------------------------------------------------


def longest(graph):
    """The longest chain of arrows, as the names on it; a circle is an error that shows it."""
    chains, open_ = {}, []

    def chain(name):
        assert name not in open_, f"a circle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name not in chains:
            assert name in graph, f"{open_[-1]} imports {name}, which is not there"
            open_.append(name)
            chains[name] = [name, *max((chain(other) for other in sorted(graph[name])), key=len, default=[])]
            open_.pop()
        return chains[name]

    return max((chain(name) for name in sorted(graph)), key=len)


def test_no_import_runs_in_a_circle():
    assert longest(arrows())


def test_the_longest_chain_of_rooms_has_at_most_nine():
    rooms = {module.partition(".")[0]: set() for module in FILES}
    for module, others in arrows().items():
        rooms[module.partition(".")[0]] |= {other.partition(".")[0] for other in others}
    chain = longest({room: others - {room} for room, others in rooms.items()})
    assert len(chain) <= 9, chain


def test_a_circle_would_be_found():
    assert longest({"a": {"b"}, "b": set()}) == ["a", "b"]
    with pytest.raises(AssertionError, match="a circle: a -> b -> a"):
        longest({"a": {"b"}, "b": {"a"}})


# -- sizes ------------------------------------------------------------------------------------------------------------


def long_functions(text):
    """Functions of more than 50 lines without their docstring, and without a comment ``# long because``."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            said = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) is not None else 0
            length = node.end_lineno - node.lineno + 1 - said
            if length > 50 and "# long because" not in ast.get_source_segment(text, node):
                found.append(f"{node.name}: {length} lines")
    return found


def test_files_and_functions_can_be_read_at_once():
    texts = {module: path.read_text() for module, path in FILES.items()}
    lengths = {module: len(text.splitlines()) for module, text in texts.items()}
    assert {module: length for module, length in lengths.items() if length > 350} == {}
    functions = {module: long_functions(text) for module, text in texts.items()}
    assert {module: names for module, names in functions.items() if names} == {}


def test_a_long_function_would_be_found():
    body = "def f():\n" + "    x = 1\n" * 60
    assert long_functions(body) == ["f: 61 lines"]
    assert long_functions(body.replace("x = 1", '"""' + "\n" * 20 + '"""', 1)) == ["f: 60 lines"]
    assert long_functions(body.replace("x = 1", "x = 1  # long because it is a table", 1)) == []


# -- kinds ------------------------------------------------------------------------------------------------------------


def asked_for_kind(text):
    """Where a text asks which kind of quine it has before it: isinstance, issubclass or a class pattern."""
    found = []
    for node in ast.walk(ast.parse(text)):
        asked = []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = node.args[1:]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        if KINDS & set(re.findall(r"\w+", " ".join(map(ast.unparse, asked)))):
            found.append(node.lineno)
    return found


def test_hardly_any_module_asks_which_kind_of_quine_it_has():
    asked = [
        f"{m}:{line}" for m, p in FILES.items() if not m.startswith("quines") for line in asked_for_kind(p.read_text())
    ]
    assert len(asked) <= 8, asked


def test_a_question_for_the_kind_would_be_found():
    assert asked_for_kind("isinstance(q, nq.TaskQuine | Other)\nisinstance(q, (int, QueryQuine))\nf(Quine)") == [1, 2]
