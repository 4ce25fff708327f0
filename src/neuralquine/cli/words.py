"""The options of every command as they stand, so that a wrong one is answered before the commands are imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import UnknownName, did_you_mean

# Kept true by tests/cli/test_known.py, which compares these with the commands. What ends in = takes a value.
OPTIONS = {
    "post": "--out= --steps= --quick --seed= --json",
    "solve": "--seed= --method= --method-option= -m= --recipe-option= -r= --starts= --max-steps= --time-limit= --rtol= "
    "--exact --probes= --resume --device= --out= --log= --figures --no-figures --json",
    "zoo": "--starts= --seed= --recipe-option= -r= --device= --out= --json",
    "sweep": "--out= -j= --processes= --ray --json",
    "keep": "--trunk= --json",
    "recipes": "--json",
    "methods": "--json",
    "verify": "--portable --trunk= --device= --time-limit= --json",
    "plot": "--trunk= --json",
    "spectrum": "--trunk= --device= --json",
    "generations": "-n= --tolerance= --trunk= --device= --json",
    "lab": "--port= --browser --no-browser",
    "certify": "--time-limit= --json",
    "check-proof": "--weights= --time-limit= --json",
    "digits": "--digits= --out= --time-limit= --json",
    "export": "--json",
    "train": "--out= --seed= --recipe-option= -r= --patience= --resume --log= --device= --json",
    "predict": "--invert --trunk= --device= --json",
    "heal": "--damage= --trials= --generations= --seed= --curve= --images= --trunk= --device= --json",
    "evolve": "--out= --seed= --generations= --time-limit= --recipe-option= -r= --resume --json",
    "push": "--private --license= --message= --trunk= --json",
    "pull": "--max-size= --trunk= --json",
    "help": "",
}


def check_options(command: str, words: Sequence[str]) -> None:
    """Refuse an option that a command does not have.

    Args:
        command: one of ``OPTIONS``.
        words: what was typed after it.

    Raises:
        UnknownName: the message suggests the nearest option.
    """
    known = {word.removesuffix("="): word.endswith("=") for word in OPTIONS[command].split()}
    for name in _options(words, known):
        if name not in known:
            raise UnknownName(f"{command} has no option {name!r}: {did_you_mean(name, sorted(known))}")


def _options(words: Sequence[str], known: dict[str, bool]) -> Iterator[str]:
    """The options among the words, without their values, whatever these look like."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            return
        if word.startswith("--"):
            name, equals, _ = word.partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, equals = word[:2], word[2:]  # a value may follow at once: -n40
        else:
            continue
        yield name
        if known.get(name) and not equals:
            next(rest, None)
