"""Tables for people: nothing is ever cut, at any width, and whatever reads a pipe gets one line for each row."""

from __future__ import annotations

import os
import shutil
import sys

import typer

_GAP = "  "


def colored(text: str, color: str, *, err: bool = False) -> str:
    """The text in a color, where a terminal shows it and ``NO_COLOR`` (https://no-color.org) does not forbid it."""
    stream = sys.stderr if err else sys.stdout
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else typer.style(text, fg=color, bold=True)


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Print rows under headings.

    On a terminal that is too narrow the headings are broken at their spaces; where that is not enough each row becomes
    a list of its own.
    """
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for breaking in (False, True):
        headings = [name.split() if breaking else [name] for name in columns]
        widths = [max(map(len, [*heading, *(row[i] for row in rows)]), default=0) for i, heading in enumerate(headings)]
        if room is None or sum(widths) + len(_GAP) * (len(widths) - 1) <= room:
            _grid(headings, widths, rows)
            return
    _lists(columns, rows)


def _grid(headings: list[list[str]], widths: list[int], rows: list[list[str]]) -> None:
    """Print a table; the headings stand on the lowest of their lines."""
    height = max(map(len, headings), default=0)
    padded = [[""] * (height - len(heading)) + heading for heading in headings]
    top = [[heading[line] for heading in padded] for line in range(height)]
    for number, row in enumerate([*top, *rows]):
        text = _GAP.join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        typer.echo(colored(text, "bright_white") if number < height else text)


def _lists(columns: list[str], rows: list[list[str]]) -> None:
    """Print every row as lines of a heading and a value."""
    widest = max(map(len, columns), default=0)
    for row in rows:
        typer.echo(colored(f"{columns[0]} {row[0]}", "bright_white"))
        for name, cell in zip(columns[1:], row[1:], strict=True):
            typer.echo(f"{_GAP}{name:<{widest}}{_GAP}{cell}")
