"""Methods for fixed points of a map on rows of points: one file, one method.

A method is a frozen dataclass of its hyper-parameters with ``init`` and ``step``. It proposes points; whether
a point is good is decided by ``judge.py``, by one rule for all of them. A file registers its names when it is imported,
so that the lines below fix the order in which ``neuralquine methods`` lists them.
"""

from __future__ import annotations

# isort: off
from .registry import METHODS, make_method, method, name_of
from .base import Method, State
from .picard import Picard
from .anderson import Anderson
from .broyden import Broyden
from .homotopy import Homotopy
from .newton import Newton
from .newton_krylov import NewtonKrylov
from .krylov_lm import KrylovLM
from .basin_hopping import BasinHopping
from .epochs import Epochs
from .hill_climbing import HillClimbing
from .gradient import Gradient
# isort: on

__all__ = [
    "METHODS",
    "Anderson",
    "BasinHopping",
    "Broyden",
    "Epochs",
    "Gradient",
    "HillClimbing",
    "Homotopy",
    "KrylovLM",
    "Method",
    "Newton",
    "NewtonKrylov",
    "Picard",
    "State",
    "make_method",
    "method",
    "name_of",
]
