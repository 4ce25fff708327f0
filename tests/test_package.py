"""The public names, and that nothing heavy is imported before it is needed."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import types

import pytest

import neuralquine as nq

PUBLIC = [
    "Homotopy",
    *("certify", "check_proof", "digits", "plot", "portable", "sweep"),
    "Body",
    "Damage",
    "Guard",
    "Healing",
    "Repair",
    "TaskQuine",
    "Irreparable",
    "NothingToSolve",
    "basin",
    "damaged",
    "guard",
    "heal",
    "Anderson",
    "Broyden",
    "Epochs",
    "Generations",
    "Gradient",
    "HillClimbing",
    "KrylovLM",
    "Newton",
    "NewtonKrylov",
    "Picard",
    "QueryQuine",
    "Quine",
    "Solution",
    "Spectrum",
    "Status",
    "Stop",
    "Verification",
    "Zoo",
    "NeuralQuineError",
    "NotSolved",
    "QuineFileError",
    "TooLarge",
    "TrunkError",
    "UnknownName",
    "BadOption",
    "export",
    "generations",
    "load",
    "recipe",
    "save",
    "solve",
    "spectrum",
    "verify",
    "zoo",
    "__version__",
]


def fresh(code):
    """Run code in a new interpreter; what it prints."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    return run.stdout.split()


def test_importing_the_package_and_its_command_line_does_not_import_torch():
    heavy = "print(*(m for m in ('torch', 'numpy', 'scipy', 'matplotlib', 'flint', 'safetensors') if m in sys.modules))"
    assert (
        fresh(f"import sys, neuralquine, neuralquine.cli; neuralquine.NotSolved; neuralquine.__version__; {heavy}")
        == []
    )


def test_help_answers_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['neuralquine', '--help']\n"
        "from neuralquine.cli import main\n"
        "main()"
    )
    words = fresh(code)
    commands = (
        "solve zoo recipes methods verify plot spectrum generations certify check-proof digits train predict heal "
        "evolve export sweep lab"
    )
    assert set(commands.split()) <= set(words)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_listed(name):
    assert name in dir(nq)
    value = getattr(nq, name)
    assert value is not None
    if name != "__version__":
        assert not isinstance(value, types.ModuleType)
        assert value.__module__.startswith("neuralquine.")
        assert value.__doc__


def test_dir_lists_every_name_once():
    assert dir(nq) == sorted(set(dir(nq)))


def test_a_star_import_brings_the_public_names_and_no_others():
    names = {}
    exec("from neuralquine import *", names)
    assert set(names) - {"__builtins__"} == {*PUBLIC, "tasks"} == set(nq.__all__)
    assert set(nq._HOMES) < set(nq.__all__)


def test_the_lazy_names_are_those_that_type_checkers_see():
    source = importlib.util.find_spec("neuralquine").loader.get_source("neuralquine")  # pyright: ignore
    typed = {
        (line.split()[3], line.split()[1].lstrip("."))
        for line in source.splitlines()
        if line.startswith("    from .") and not line.startswith("    from . ")
    }
    assert typed == set(nq._HOMES.items())


def test_no_room_has_the_name_of_a_public_function():
    rooms = {m.name for m in pkgutil.iter_modules(nq.__path__)}
    assert rooms & set(nq._HOMES) == set()


def test_other_names_can_be_set_as_in_any_module(monkeypatch):
    monkeypatch.setattr(nq, "verify", "replaced")
    assert nq.verify == "replaced"
    monkeypatch.undo()
    assert callable(nq.verify)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'neuralquine' has no attribute 'solv'"):
        nq.solv  # noqa: B018
    assert not hasattr(nq, "__path_of_nothing__")
    with pytest.raises(ImportError, match="cannot import name 'solv'"):
        from neuralquine import solv  # noqa: F401


def test_every_error_has_one_base():
    for name in ("BadOption", "NotSolved", "QuineFileError", "TooLarge", "TrunkError", "UnknownName"):
        assert issubclass(getattr(nq, name), nq.NeuralQuineError)


def test_the_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert nq.__version__ == version("neuralquine")
