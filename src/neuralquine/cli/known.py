"""The names that a command line may hold, as they stand: a wrong one is answered, and one half typed completed, without torch.

Whatever registers more names has imported the package before it runs a command, and then the registry itself is asked.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UnknownName, did_you_mean
from .words import check_options

GROUPS = {
    "Find": ("post", "solve", "zoo", "sweep", "keep", "recipes", "methods"),
    "Look": ("verify", "plot", "spectrum", "generations", "lab"),
    "Prove": ("certify", "check-proof", "digits", "export"),
    "Work": ("train", "predict", "heal"),
    "Live": ("evolve",),
    "Share": ("push", "pull"),
}
"""The headings of ``--help`` with the commands below each of them; a command that none names stands under ``More``."""


# Kept true by tests/cli/test_known.py, which compares these with the registries.
RECIPES = (
    *("blog", "blog-part1", "chang-lipson", "queried-121", "queried-441", "queried-2601", "fletcher-coords"),
    *("fletcher-onehot", "fletcher-rnn", "elman", "cnn", "rnn", "gru", "lstm", "transformer", "resnet18", "vit-b16"),
    *("gpt2", "gpt2-xl", "llama-8b"),
)
TASKS = ("digits-mlp", "digits-cnn", "digits-vit", "mnist-cnn")
WORLDS = ("soup", "digits", "fertility")
METHODS = (
    *("picard", "regeneration", "anderson", "broyden", "homotopy", "newton", "newton-full", "deflation"),
    *("newton-krylov", "krylov-lm", "basin-hopping", "epochs", "hill-climbing", "sgd", "momentum", "rmsprop"),
    *("adam", "adamw", "adamax", "nadam", "radam", "adagrad", "adadelta", "rprop"),
)
DAMAGES = {
    "noise": "replaced by Gaussian noise of their tensor's own size",
    "large-noise": "replaced by Gaussian noise ten times as large",
    "zero": "set to zero",
    "negate": "sign turned over",
    "flip": "one random bit turned over in each",
    "words": "replaced by random bits, NaN and infinity among them",
    "bit-errors": "every bit turned over with this probability",
    "block": "one contiguous block in memory set to zero",
    "neurons": "whole output rows of every layer set to zero",
}
_REGISTRIES = {
    "recipe": (RECIPES, "recipes.registry", "RECIPES"),
    "task": (TASKS, "tasks.registry", "TASKS"),
    "world": (WORLDS, "evolution.registry", "WORLDS"),
    "method": (METHODS, "solving.methods.registry", "METHODS"),
    "damage": (tuple(DAMAGES), "healing.kinds", "KINDS"),
}
_FIRST = {"solve": "recipe", "zoo": "recipe", "train": "task", "evolve": "world"}  # what a command's first word names
_OPTIONS = {("solve", "--method"): "method", ("heal", "--damage"): "damage", ("heal", "--curve"): "damage"}
_COMMANDS = "cli.commands"
_PACKAGE = __name__.partition(".")[0]


def names(what: str) -> list[str]:
    """All names of recipes, tasks, worlds, methods or kinds of damage: the static ones and whatever is registered by now."""
    static, home, registry = _REGISTRIES[what]
    loaded = sys.modules.get(f"{_PACKAGE}.{home}")
    return list(dict.fromkeys([*static, *getattr(loaded, registry, ())]))


def kinds_of_damage() -> dict[str, str]:
    """Every kind of damage with what it does, those that somebody has registered by now among them."""
    loaded = sys.modules.get(f"{_PACKAGE}.{_REGISTRIES['damage'][1]}")
    return DAMAGES | {name: kind.about for name, kind in getattr(loaded, "KINDS", {}).items()}


def check_name(name: str, what: str) -> None:
    """Refuse a name that nothing has, before anything slow is imported.

    Raises:
        UnknownName: the message suggests the nearest name.
    """
    if name not in names(what):
        raise UnknownName(f"no {what} {name!r}: {did_you_mean(name, names(what))}")


def check_recipe(name: str) -> None:
    """Refuse what is neither a recipe nor a factory ``FILE.py:FUNCTION``; a task's name is told what it is for.

    Raises:
        UnknownName: the message suggests the nearest name, or the command that the name belongs to.
    """
    if is_factory(name):
        return
    if name in names("task"):
        raise UnknownName(f"{name} is a task, which is learned: neuralquine train {name} --out DIR")
    if name in names("world") and name not in names("recipe"):
        raise UnknownName(f"{name} is a world, which lives: neuralquine evolve {name} --out DIR")
    if name not in names("recipe") and (name.endswith(".py") or Path(name).is_file()):
        raise UnknownName(f"{name} is a file: name the function in it that makes the network, {name}:FUNCTION")
    check_name(name, "recipe")


def check_command(name: str, known: Sequence[str]) -> None:
    """Refuse a command that does not exist.

    Raises:
        UnknownName: the message suggests the nearest one.
    """
    if name not in known:
        raise UnknownName(f"no command {name!r}: {did_you_mean(name, list(known))}")


def check_line(words: Sequence[str]) -> None:
    """Refuse a command line with a wrong name in one of its usual places, before typer is imported.

    Whatever is written in another order is left to the command, which checks its names again.

    Args:
        words: what was typed after the name of the program.

    Raises:
        UnknownName: no command, option, recipe, task, world, method or kind of damage has that name.
    """
    if not words or words[0].startswith("-") or f"_{_PACKAGE.upper()}_COMPLETE" in os.environ:
        return
    command, *rest = words
    if f"{_PACKAGE}.{_COMMANDS}" not in sys.modules:  # where it is, somebody may have added commands to it
        check_command(command, [*(name for members in GROUPS.values() for name in members), "help"])
    if {"-h", "--help", "--"} & set(rest):
        return
    if rest and not rest[0].startswith("-") and command in _FIRST:
        what = _FIRST[command]
        check_recipe(rest[0]) if what == "recipe" else check_name(rest[0], what)
    for word, value in itertools.pairwise(rest):
        if what := _OPTIONS.get((command, word)):
            check_name(value.partition(":")[0], what)
    if f"{_PACKAGE}.{_COMMANDS}" not in sys.modules:
        check_options(command, rest)


def is_factory(name: str) -> bool:
    """Whether a name stands for somebody's own function: ``my_file.py:make`` or ``module:make``."""
    return ":" in name


def completed(what: str) -> Callable[[str], list[str]]:
    """Make the function that a shell asks for the names which begin as what is typed."""
    return lambda incomplete: [name for name in names(what) if name.startswith(incomplete)]


def completed_damage(incomplete: str) -> list[str]:
    """The kinds of damage that begin as what is typed, each with the colon that its fraction follows."""
    return [f"{name}:" for name in names("damage") if name.startswith(incomplete)]
