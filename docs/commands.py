"""Write ``docs/cli.md``, the page of the command line, from the commands themselves: ``python docs/commands.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from neuralquine.cli.commands import app
from neuralquine.cli.group import EXAMPLES, GROUPS

PAGE = Path(__file__).with_name("cli.md")

_TOP = """# The command line

Every command, in the groups of `neuralquine --help`; `neuralquine COMMAND -h` says the same on a terminal. Results go to
stdout (`--json` makes them one JSON object), progress and messages to stderr. The exit status is 0 for success, 1 where no
quine was found or the answer is no, 2 for bad input, and 130 for an interruption, which names the command that goes on.
A search takes Ctrl-C and `kill` between two evaluations of the network, and judges and keeps its best iterate; a second one ends
it at once.
`neuralquine --install-completion` teaches your shell the commands, recipes, methods and kinds of damage.
"""


def page() -> str:
    """The whole page, as ``docs/cli.md`` should be."""
    group: Any = typer.main.get_command(app)
    grouped = {name for members in GROUPS.values() for name in members}
    rest = tuple(sorted(set(group.commands) - grouped - {"help"}))
    parts = [_TOP]
    for title, members in {**GROUPS, "More": rest}.items():
        found = [name for name in members if name in group.commands]
        if found:
            parts.append(f"## {title}\n")
            parts += ["\n".join(_command(name, group.commands[name])) for name in found]
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    """The lines on one command: what it is for, one example, and what it takes."""
    summary, _, more = command.help.strip().partition("\n\n")
    yield f"### {name}\n"
    yield " ".join(summary.split()) + "\n"
    for paragraph in filter(None, more.split("\n\n")):
        yield " ".join(paragraph.split()) + "\n"
    yield f"```console\n$ {EXAMPLES[name][0]}\n```\n"
    yield "| takes | what it is |\n|---|---|"
    context = command.make_context(name, [], resilient_parsing=True)
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            yield _row(parameter, context)
    yield ""


def _row(parameter: Any, context: Any) -> str:
    """The row of one argument or option: how it is typed, what it is, and its default."""
    typed, about = parameter.get_help_record(context)  # as --help shows it
    if parameter.param_type_name == "argument":
        typed = typed.partition(" ")[0].upper()
    text, _, limits = about.partition("  [")
    default = re.match(r"default: ([^;\]]+)", limits)
    text = " ".join(text.split()) + (f" Default: {default[1]}." if default else "")
    return f"| `{typed}` | {text} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
