"""Every kind of quine there is, by the name that files know it by: one file, one import line each."""

from .bias_tape import BiasTapeQuine as BiasTapeQuine
from .itself import SelfQuine as SelfQuine
from .queried import QueryQuine as QueryQuine
from .quine import KINDS as KINDS
from .quine import Quine as Quine
from .taped import TaskQuine as TaskQuine

__all__ = ["KINDS", "BiasTapeQuine", "QueryQuine", "Quine", "SelfQuine", "TaskQuine"]
