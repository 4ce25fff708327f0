"""Quines that work for a living: networks that do a task, print themselves exactly, and repair themselves."""

from .data import Data as Data
from .data import digits as digits
from .data import mnist as mnist
from .quine import straight_through as straight_through
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
    "Data",
    "Schedule",
    "Task",
    "Training",
    "accuracy",
    "digits",
    "evaluate",
    "mnist",
    "recipe",
    "straight_through",
    "train",
    "train_body",
]
