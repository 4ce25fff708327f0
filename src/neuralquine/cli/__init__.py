"""The command line: one module for each command, or for a few that belong together.

A command imports torch and the rest of the package when it runs, so that ``--help`` answers at once; a wrong name is
answered before even the commands are imported. Results go to stdout, progress and messages to stderr. The exit status is
0 for success, 1 where no quine was found or the answer is no, 2 for bad input, and 130 for an interruption.
"""

from __future__ import annotations

import io
import sys

from ..errors import NeuralQuineError, first_line, printable
from ..version import __version__
from .known import check_line
from .starting import briefly


def main() -> None:
    """Run a command; an error of this package, of the disk or of memory is one line on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold bytes that are no text
    try:
        if sys.argv[1:] == ["--version"]:
            print(__version__)
            sys.exit(0)
        check_line(sys.argv[1:])
        from .commands import app  # takes ten times as long as everything above

        with briefly():
            app(prog_name="neuralquine")  # however it was started: completion and usage have one name
    except NeuralQuineError as error:
        message = str(error)
    except KeyboardInterrupt:  # before the command itself began
        from .interruption import interrupted

        sys.exit(interrupted().exit_code)
    except BrokenPipeError:  # whoever read the output has gone
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = printable(where + (error.strerror or first_line(error)))
    except MemoryError as error:
        message = f"not enough memory: {printable(first_line(error))}"
    else:
        return
    print(f"neuralquine: {message}", file=sys.stderr)
    sys.exit(2)
