"""Task quines: networks that do a task, print themselves exactly, and repair themselves."""

from ..quines.bias_tape import BiasTapeQuine as BiasTapeQuine
from ..quines.taped import straight_through as straight_through
from .auxiliary import Auxiliary as Auxiliary
from .auxiliary import auxiliary as auxiliary
from .data import Data as Data
from .data import digits as digits
from .data import mnist as mnist
from .recipes import TASKS as TASKS
from .recipes import Task as Task
from .recipes import recipe as recipe
from .training import Schedule as Schedule
from .training import Training as Training
from .training import accuracy as accuracy
from .training import evaluate as evaluate
from .training import train as train
from .training import train_body as train_body

__all__ = [
    "TASKS",
    "Auxiliary",
    "BiasTapeQuine",
    "Data",
    "Schedule",
    "Task",
    "Training",
    "accuracy",
    "auxiliary",
    "digits",
    "evaluate",
    "mnist",
    "recipe",
    "straight_through",
    "train",
    "train_body",
]
