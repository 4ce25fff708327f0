"""The errors a user can meet. Each message is one line: what is wrong, then what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .solution import Solution


class NeuralQuineError(Exception):
    """Base of every error this package raises on purpose."""


class TrunkError(NeuralQuineError):
    """The module or the probe cannot be made into a quine."""


class UnknownName(NeuralQuineError):
    """A recipe, method or option that does not exist; the message suggests the nearest one."""


class QuineFileError(NeuralQuineError):
    """A folder or file that is not a readable quine: missing, truncated, altered or foreign."""


class TooLarge(NeuralQuineError):
    """An object that would need more memory than allowed; the message states the bytes."""


class NothingToSolve(NeuralQuineError):
    """A network that prints itself by construction, whatever it has learned."""


class Irreparable(NeuralQuineError):
    """A guarded network was damaged beyond what it can repair."""


class NotSolved(NeuralQuineError):
    """No quine was found. The best iterate is in ``solution``."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        super().__init__(
            f"{solution.status.value} (relative residual {solution.relative_residual:.1e} after "
            f"{plural(solution.map_evaluations, 'map evaluation')}{'; ' + solution.detail if solution.detail else ''})"
        )


def did_you_mean(name: str, known: list[str]) -> str:
    """The tail of an error message: the nearest known name, else all of them."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)


def plural(count: int, noun: str) -> str:
    """``1 probe``, ``2 probes``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def check_bytes(what: str, size: int, limit: int, remedy: str) -> None:
    """Refuse an allocation of ``size`` bytes above ``limit`` bytes, naming both."""
    if size > limit:
        raise TooLarge(f"{what} would take {size / 2**30:.3g} GiB, more than {limit / 2**30:.3g} GiB: {remedy}")


def first_line(error: Exception) -> str:
    """Of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
