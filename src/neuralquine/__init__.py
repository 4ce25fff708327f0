"""Neural quines: networks that print their own weights, found, verified, kept and shown.

>>> import neuralquine as nq
>>> quine = nq.recipe("blog", seed=7)
>>> solution = nq.solve(quine)
>>> solution.converged, solution.relative_residual < 1e-14
(True, True)
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .proving.witness import name_witness
from .quines.interrupts import interrupts_held
from .version import __version__ as __version__

if TYPE_CHECKING:  # for editors and type checkers, which do not run __getattr__
    from . import tasks as tasks
    from .checking.generations import Generations as Generations
    from .checking.generations import generations as generations
    from .checking.plots import plot as plot
    from .checking.spectrum import Spectrum as Spectrum
    from .checking.spectrum import spectrum as spectrum
    from .checking.verify import Verification as Verification
    from .checking.verify import verify as verify
    from .errors import BadOption as BadOption
    from .errors import Irreparable as Irreparable
    from .errors import NeuralQuineError as NeuralQuineError
    from .errors import NothingToSolve as NothingToSolve
    from .errors import NotSolved as NotSolved
    from .errors import QuineFileError as QuineFileError
    from .errors import TooLarge as TooLarge
    from .errors import TrunkError as TrunkError
    from .errors import UnknownName as UnknownName
    from .healing.damage import Damage as Damage
    from .healing.damage import damaged as damaged
    from .healing.guard import Guard as Guard
    from .healing.guard import Repair as Repair
    from .healing.guard import guard as guard
    from .healing.heal import Healing as Healing
    from .healing.heal import basin as basin
    from .healing.heal import heal as heal
    from .keeping.doors import certify as certify
    from .keeping.doors import check_proof as check_proof
    from .keeping.doors import digits as digits
    from .keeping.doors import portable as portable
    from .keeping.export import export as export
    from .keeping.store import load as load
    from .keeping.store import save as save
    from .quines.kinds import Quine as Quine
    from .quines.networks.bodies import Body as Body
    from .quines.queried import QueryQuine as QueryQuine
    from .quines.taped import TaskQuine as TaskQuine
    from .recipes import recipe as recipe
    from .solving.loop import Stop as Stop
    from .solving.methods import Anderson as Anderson
    from .solving.methods import Broyden as Broyden
    from .solving.methods import Epochs as Epochs
    from .solving.methods import Gradient as Gradient
    from .solving.methods import HillClimbing as HillClimbing
    from .solving.methods import Homotopy as Homotopy
    from .solving.methods import KrylovLM as KrylovLM
    from .solving.methods import Newton as Newton
    from .solving.methods import NewtonKrylov as NewtonKrylov
    from .solving.methods import Picard as Picard
    from .solving.solution import Solution as Solution
    from .solving.solution import Status as Status
    from .solving.solve import solve as solve
    from .solving.sweep import sweep as sweep
    from .solving.zoo import Zoo as Zoo
    from .solving.zoo import zoo as zoo

# Where each public name lives. Names are imported when they are first used: `neuralquine --help` answers without torch.
_PUBLIC = {
    "checking.generations": ("Generations", "generations"),
    "checking.plots": ("plot",),
    "checking.spectrum": ("Spectrum", "spectrum"),
    "checking.verify": ("Verification", "verify"),
    "errors": (
        *("BadOption", "Irreparable", "NeuralQuineError", "NotSolved", "NothingToSolve"),
        *("QuineFileError", "TooLarge", "TrunkError", "UnknownName"),
    ),
    "healing.damage": ("Damage", "damaged"),
    "healing.guard": ("Guard", "Repair", "guard"),
    "healing.heal": ("Healing", "basin", "heal"),
    "keeping.doors": ("certify", "check_proof", "digits", "portable"),
    "keeping.export": ("export",),
    "keeping.store": ("load", "save"),
    "quines.kinds": ("Quine",),
    "quines.networks.bodies": ("Body",),
    "quines.queried": ("QueryQuine",),
    "quines.taped": ("TaskQuine",),
    "recipes": ("recipe",),
    "solving.loop": ("Stop",),
    "solving.methods": (
        *("Anderson", "Broyden", "Epochs", "Gradient", "HillClimbing", "Homotopy"),
        *("KrylovLM", "Newton", "NewtonKrylov", "Picard"),
    ),
    "solving.solution": ("Solution", "Status"),
    "solving.solve": ("solve",),
    "solving.sweep": ("sweep",),
    "solving.zoo": ("Zoo", "zoo"),
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", "tasks"]
__all__ += _HOMES  # pyright: ignore[reportUnsupportedDunderAll]


def _evaluated(folder: Path) -> str | None:
    """What one run of a folder's network has against a proof about it; nothing where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    return importlib.import_module(".keeping.gate", __name__).contradiction(folder)


name_witness(_evaluated)  # proofs run no network: this face, above all rooms, names who does


def __getattr__(name: str) -> Any:
    if name == "tasks":  # a room that is public itself
        return importlib.import_module(".tasks", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with interrupts_held():  # torch does not import again what an interrupt left half imported
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    own = {name for name in globals() if name.startswith("__")}  # not what was imported to make this face
    return sorted(own | {*__all__})
