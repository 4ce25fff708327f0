"""Ctrl-C and ``kill``: one wording for all commands, which always names the command that goes on."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Let ``kill`` end a command as Ctrl-C does, so that the best iterate is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupted(kept: str = "", *, resume: str | None = None) -> typer.Exit:
    """Say in the one way that all commands share that this one was interrupted, and by which command it goes on.

    Args:
        kept: what is there of it, in words.
        resume: what to add to the command line so that it goes on; None where it can only begin again.

    Returns:
        The exit to raise, with the status 130.
    """
    words = [w for w in sys.argv[1:] if w != resume]
    again = shlex.join(["neuralquine", *words, *([resume] if resume else [])])
    verb = "begin again" if resume is None else "go on"
    typer.echo(f"neuralquine: interrupted: {kept + '; ' if kept else ''}{verb} with `{again}`", err=True)
    return typer.Exit(130)
