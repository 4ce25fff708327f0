"""Neural quines: networks that print their own weights, found, verified, kept and shown.

>>> import neuralquine as nq
>>> quine = nq.recipe("blog", seed=7)
>>> solution = nq.solve(quine)
>>> solution.converged, solution.relative_residual < 1e-14
(True, True)
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import Irreparable as Irreparable
from .errors import NeuralQuineError as NeuralQuineError
from .errors import NothingToSolve as NothingToSolve
from .errors import NotSolved as NotSolved
from .errors import QuineFileError as QuineFileError
from .errors import TooLarge as TooLarge
from .errors import TrunkError as TrunkError
from .errors import UnknownName as UnknownName
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import tasks as tasks
    from .bodies import Body as Body
    from .damage import Damage as Damage
    from .damage import damaged as damaged
    from .generations import Generations as Generations
    from .generations import generations as generations
    from .guard import Guard as Guard
    from .guard import Repair as Repair
    from .guard import guard as guard
    from .heal import Healing as Healing
    from .heal import basin as basin
    from .heal import heal as heal
    from .loop import Stop as Stop
    from .methods import Anderson as Anderson
    from .methods import Broyden as Broyden
    from .methods import Epochs as Epochs
    from .methods import Gradient as Gradient
    from .methods import HillClimbing as HillClimbing
    from .methods import KrylovLM as KrylovLM
    from .methods import Newton as Newton
    from .methods import NewtonKrylov as NewtonKrylov
    from .methods import Picard as Picard
    from .queried.quine import QueryQuine as QueryQuine
    from .quine import Quine as Quine
    from .recipes import recipe as recipe
    from .solution import Solution as Solution
    from .solution import Status as Status
    from .solve import solve as solve
    from .spectrum import Spectrum as Spectrum
    from .spectrum import spectrum as spectrum
    from .store import load as load
    from .store import save as save
    from .tasks.quine import TaskQuine as TaskQuine
    from .verify import Verification as Verification
    from .verify import verify as verify
    from .zoo import Zoo as Zoo
    from .zoo import zoo as zoo

# Names that need torch are imported when they are first used: `neuralquine --help` answers without it.
# A room that is public itself has no other home.
_HOMES = {
    "Anderson": "methods",
    "Body": "bodies",
    "Broyden": "methods",
    "Generations": "generations",
    "Damage": "damage",
    "Epochs": "methods",
    "Gradient": "methods",
    "Guard": "guard",
    "Healing": "heal",
    "HillClimbing": "methods",
    "KrylovLM": "methods",
    "Newton": "methods",
    "NewtonKrylov": "methods",
    "Picard": "methods",
    "QueryQuine": "queried.quine",
    "Quine": "quine",
    "Repair": "guard",
    "Solution": "solution",
    "Spectrum": "spectrum",
    "Status": "solution",
    "Stop": "loop",
    "TaskQuine": "tasks.quine",
    "Verification": "verify",
    "Zoo": "zoo",
    "basin": "heal",
    "damaged": "damage",
    "generations": "generations",
    "guard": "guard",
    "heal": "heal",
    "load": "store",
    "recipe": "recipes",
    "save": "store",
    "solve": "solve",
    "spectrum": "spectrum",
    "tasks": "",
    "verify": "verify",
    "zoo": "zoo",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f".{_HOMES[name] or name}", __name__)
    value = getattr(home, name) if _HOMES[name] else home
    globals()[name] = value
    return value


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the submodule `verify` would bind it here and hide the function of that name.
        if not (_HOMES.get(name) and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Anderson",
    "Body",
    "Broyden",
    "Damage",
    "Epochs",
    "Generations",
    "Gradient",
    "Guard",
    "Healing",
    "HillClimbing",
    "Irreparable",
    "KrylovLM",
    "NeuralQuineError",
    "Newton",
    "NewtonKrylov",
    "NotSolved",
    "NothingToSolve",
    "Picard",
    "QueryQuine",
    "Quine",
    "QuineFileError",
    "Repair",
    "Solution",
    "Spectrum",
    "Status",
    "Stop",
    "TaskQuine",
    "TooLarge",
    "TrunkError",
    "UnknownName",
    "Verification",
    "Zoo",
    "__version__",
    "basin",
    "damaged",
    "generations",
    "guard",
    "heal",
    "load",
    "recipe",
    "save",
    "solve",
    "spectrum",
    "tasks",
    "verify",
    "zoo",
]
