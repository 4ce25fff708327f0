"""Somebody's own function in the place of a recipe: ``my_file.py:make`` or ``module:make``.

A command line or a sweep names it, and naming it runs it. No file of a quine ever does: what a folder says of its origin is
looked up among the registered recipes alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadOption, NeuralQuineError, UnknownName, first_line
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from . import recipe
from .problem import Problem, drawn

_WANTED = "it returns (module, probe), (module, probe, {options of nq.Quine}) or a quine"


def is_own(name: str) -> bool:
    """Whether a name stands for somebody's own function rather than for a recipe."""
    return ":" in name


def recipe_or_own(name: str, *, seed: int = 0, made_on: torch.device | None = None, **options: Any) -> Quine:
    """Build a recipe, or what somebody's own function makes; the latter runs the code that ``name`` names.

    Args:
        name: of a recipe, or ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.
        seed: handed to a function that takes ``seed``; for any other the random numbers of torch begin with it. It is the
            quine's too.
        made_on: the device that the network is made for; by default the CPU.
        options: those that the function takes are handed to it; the others are options of :class:`neuralquine.Quine`.

    Raises:
        UnknownName: there is no such recipe, file or function.
        BadOption: the function fails, or returns nothing that a quine can be made of.
    """
    if not is_own(name):
        return recipe(name, seed=seed, device=made_on, **options)
    made, rest = _called(name, seed, options)
    quine = _quine(name, made, seed, rest)
    quine.recipe = {"name": name, "seed": seed, **options}
    return quine if made_on is None else quine.to(made_on)


def own_trunk(name: str) -> nn.Module:
    """The network alone that somebody's own function makes, for a folder that holds its weights.

    Raises:
        UnknownName: there is no such file or function.
        BadOption: the function fails, or makes no module.
    """
    made, _ = _called(name, 0, {})
    if isinstance(made, tuple) and made:
        made = made[0]
    found = made.trunk if isinstance(made, Quine | Problem) else made
    if not isinstance(found, nn.Module):
        raise BadOption(f"{name} gives a {type(found).__name__}, not a module")
    return found


def _called(name: str, seed: int, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What the function returns, and the options that it does not take itself."""
    make = _function(name)
    try:
        takes = inspect.signature(make).parameters
    except (TypeError, ValueError):  # of a class written in C
        takes = {}
    mine = {key: value for key, value in options.items() if key in takes}
    given = mine | ({"seed": seed} if "seed" in takes else {})
    try:
        with drawn(seed):
            made = make(**given)
    except (Exception, SystemExit) as error:  # whatever somebody's own code raises
        raise BadOption(f"{name} gives no module: {type(error).__name__}: {first_line(error)}") from error
    return made, {key: value for key, value in options.items() if key not in takes}


def _quine(name: str, made: Any, seed: int, options: dict[str, Any]) -> Quine:
    """The quine of whatever a function returned."""
    if isinstance(made, Quine):
        if options:
            raise BadOption(f"{name} returns a quine itself and takes no option {next(iter(options))!r}")
        return made
    if isinstance(made, Problem):
        made = (made.trunk, made.queries if made.probe is None else made.probe, made.options)
        kind: type[Quine] = QueryQuine if made[1] is None or isinstance(made[1], str) else Quine
    else:
        kind = Quine
    if not (isinstance(made, tuple) and len(made) in (2, 3) and isinstance(made[0], nn.Module)):
        what = "a module alone, and no probe" if isinstance(made, nn.Module) else f"a {type(made).__name__}"
        raise BadOption(f"{name} returns {what}: {_WANTED}")
    parts: Any = (*made, {})
    trunk, probe, own = parts[:3]
    if isinstance(name_of_type := options.get("dtype"), str):  # as a command line spells it
        options = options | {"dtype": getattr(torch, name_of_type, name_of_type)}
    if not isinstance(own, dict):
        raise BadOption(f"{name} returns options that are no dictionary: {_WANTED}")
    try:
        settings: dict[str, Any] = {"seed": seed} | own | options
        return kind(trunk, probe, **settings)
    except NeuralQuineError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadOption(f"{name} makes no quine: {first_line(error)}") from error


def _function(name: str) -> Any:
    """Find the function that ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` names."""
    home, _, function = name.rpartition(":")
    if not home or not function:
        raise UnknownName(f"{name!r} is not FILE.py:FUNCTION or MODULE:FUNCTION")
    try:
        module = _file(Path(home)) if home.endswith(".py") else _module(home)
    except NeuralQuineError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's own code raises when it is imported
        raise UnknownName(f"{name} gives no module: {type(error).__name__}: {first_line(error)}") from error
    found = getattr(module, function, None)
    if not callable(found):
        near = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_") and _of(v, module)]
        there = f"it defines {', '.join(near[:8])}" if near else "it defines none"
        raise UnknownName(f"{name} gives no module: {home} has no function {function!r}; {there}")
    return found


def _of(value: Any, module: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _module(home: str) -> Any:
    """Import a module, from the current folder too."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(home)


def _file(path: Path) -> Any:
    """Run a file once; what lies beside it can be imported from it, as when Python runs it."""
    if not path.is_file():
        raise UnknownName(f"there is no file {path}")
    path = path.resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules.setdefault(path.stem, module)  # where classes look for their own module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(path.stem) is module:
            del sys.modules[path.stem]
        raise
    return module
