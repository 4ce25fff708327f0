"""Where searches of queried quines start, in turn, and which method follows each start.

For a stack of layers the starts are the quines of its linearized network; for homogeneous positive networks the limit
of regeneration with a normalization; for any other trunk its present weights, and random ones. How well a start
will do cannot be told beforehand: about one in ten ends at a quine, the others in local minima of the residual. Where nearly
all do, the minima are hopped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice

import torch
from torch import Tensor

from ..quines.stack import Stack
from .linearized import linear_starts, starts_of_slopes
from .loop import Stop, starting_points
from .methods import Anderson, BasinHopping, Broyden, KrylovLM, Method, Picard
from .methods.krylov_lm import relative
from .queried_map import QueryMap
from .regenerated import damped_starts, positive_starts
from .unbent import bendable, unbent_starts

_STARTS = 400
# Of a network with kinks so many starts are followed by one descent each, up to ``TOGETHER`` weights and above; the next ones are hopped
# from, for so many steps without progress. Of 37 networks of 441 weights with ReLU all were solved by 108 starts; without hops one was not
# by 1,000. Of ten of 2,601 weights all were by 267 descents, and one was not in three minutes where hops began at the hundredth.
_DESCENTS, _MANY_DESCENTS, _HOPPED, _HOPS_PATIENCE = 100, 300, 100, 150
# Starts of a normalized matrix that are hopped from, for seconds or minutes each; of a small one after so many rounds. Of 30 matrices of
# 256 weights these solved 22, 400 starts without hops 26, and of the other four the first start that was hopped from solved each.
_CHAINS, _ROUNDS = 20, 4
TOGETHER = 2_000  # weights below which a start is too quick to share the processor
# At 2 x 50 units six starts took 2,700 products with the default tolerances and gave 4 quines, with these 1,500 and 3; of 2 x 100,
# from the same 33 starts, ``eta`` 0.2 left 0.67 of the residual that 0.05 left.
_FOLLOWER = KrylovLM(eta=0.2, forcing=0.9, gain=0.7)
# A start has to keep up with a pace. At 0.035, which is cheapest for starts that lead nowhere, winners were left that come late: of three
# networks of 2 x 100 units with queries a 16th as long one was solved, at 0.08 all, and the others took no longer.
_PACED, _PACE = 10_000, 0.08  # weights from which a start has to keep up with a pace, and that pace
_RACE = Broyden(rescale=2.0)  # away from zero, which is a quine of any network without biases, and attracts
_RACERS, _RACE_STEPS = 16, 100  # starts side by side; a race that is won at all is mostly won within 65 steps
_RACED = 512  # weights up to which there is a race: its matrices take 34 MB
_SMALL = 128  # weights up to which a race comes first: an evaluation of all starts costs as much as one of one
_NEAR = 0.5  # relative residual below which weights are a start worth its price
_CURVES = 60  # curves of a small ReLU network that are followed; most networks are solved by one of the first ten

Rung = tuple[Method, Tensor, Stop]
"""What follows a start, ``(P,)`` or for a race ``(B, P)``, and how far."""


def ladder(f: QueryMap, stop: Stop, generator: torch.Generator, *, exact: bool = False) -> Iterator[Rung]:
    """The default: starts without end, the likeliest first."""
    own, solver = f.quine.theta, KrylovLM()
    quick = replace(stop, max_steps=stop.max_steps or 400, patience=stop.patience or 60)
    race = replace(stop, max_steps=stop.max_steps or _RACE_STEPS)
    whole = f.quine.dtype == f.quine.code_dtype  # no matrix is inverted in narrower types
    raced = f.stack is None and whole and f.n <= _RACED and f.quine.vectorized
    small = raced and f.n <= _SMALL
    races_alone = small and exact  # any fixed point is as good
    near = (small or f.stack is not None) and relative(own, f(own[None])[0]) < _NEAR
    if small and not near:
        yield _RACE, starting_points(f, _RACERS, generator, own=False), race
    if near or (f.stack is None and not races_alone):
        yield solver, own, stop
    if f.stack is not None:
        if f.stack.homogeneous:
            yield from ((solver, start, stop) for start in islice(positive_starts(f, f.stack, generator), 2))
        follower = _FOLLOWER if f.n > TOGETHER else solver
        follower = replace(follower, pace=_PACE) if f.n > _PACED else follower
        for number, start in enumerate(_stack_starts(f, f.stack, generator)):
            if f.stack.kinked and number >= _descents(f):
                yield _hopping(generator), start, replace(stop, patience=stop.patience or _HOPS_PATIENCE)
            else:
                yield follower, start, stop
    for _ in count() if f.normalized is None else range(_rounds(f)):
        if raced:
            yield _RACE, starting_points(f, _RACERS, generator, own=False), race
        if races_alone:
            continue
        for tool, limits in ((Picard(), quick), (solver, stop), (Anderson(), quick)):
            yield tool, starting_points(f, 1, generator, own=False)[0], limits
    yield from ((_hopping(generator), start, stop) for start in damped_starts(f, generator))


def most_starts(f: QueryMap) -> int:
    """How many starts of the ladder are followed by default: hours of them would be no help."""
    if f.stack is not None:
        return _descents(f) + _HOPPED if f.stack.kinked else _STARTS
    return _STARTS if f.normalized is None else 1 + 4 * _rounds(f) + _CHAINS


def _rounds(f: QueryMap) -> int:
    """The rounds of races and descents before the minima of a normalized matrix are hopped over."""
    return _ROUNDS if f.n <= _RACED else 0


def _descents(f: QueryMap) -> int:
    return _DESCENTS if f.n <= TOGETHER else _MANY_DESCENTS


def _hopping(generator: torch.Generator) -> BasinHopping:
    return BasinHopping(seed=int(torch.randint(1 << 31, (), generator=generator)))


def _stack_starts(f: QueryMap, stack: Stack, generator: torch.Generator) -> Iterator[Tensor]:
    """Quines of the linearized network, without end; of a small one with kinks, as they become while it is bent."""
    if bendable(stack):
        twins = linear_starts(stack, generator, batch=4, late=f.late, slope=1.0)  # the first curve may do
        yield from unbent_starts(stack, islice(twins, _CURVES), f.count, lambda: f.late is not None and f.late())
    if stack.kinked:
        yield from starts_of_slopes(stack, generator, late=f.late)
        return
    yield from linear_starts(stack, generator, late=f.late)


def of_method(f: QueryMap, method: Method, stop: Stop, generator: torch.Generator) -> Iterator[Rung]:
    """One method, from the present weights and then from random ones."""
    yield method, f.quine.theta, stop
    while True:
        yield method, starting_points(f, 1, generator, own=False)[0], stop
