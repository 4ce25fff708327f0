"""Naming the tricks: ways in which weights can be printed without a quine being there.

Every check looks at what the module does, not at what it says. A network passes only if it is deterministic,
depends on its weights (and as smoothly as its own derivative claims), prints something else when it holds
something else, and has no copy of the answer outside its weights.

Which checks a kind of quine is put to is said by :func:`checks`: a new kind registers its own.
"""

from __future__ import annotations

import hashlib
from functools import singledispatch

import torch
from torch import Tensor, nn

from ..errors import TooLarge, first_line
from ..quines.bits import largest_size, same
from ..quines.in_place import mean_square_spread, weights_kept
from ..quines.itself import SelfQuine
from ..quines.known import digest, known, printed_code
from ..quines.measure import UNIFORM, variation
from ..quines.networks.running import named
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from ..quines.taped import TaskQuine
from .copies import copied, copy
from .dependence import dependence, directional_if_any, line_of_fixed_points
from .dependence_in_place import in_directions_of_the_code
from .finding import Finding
from .lookup import lookup, lookup_in_place, signs_outside
from .outside import hidden_parameters
from .second_look import drowned

_HUGE = 1e8  # above it a difference of 1 starts to drown in rounding
_DROWNED = 1e-7  # spread over mean of a tensor below which its mean prints it; an initialization's is never below 1e-6
_SHAKEN = 20  # times what round-off in the weights changes, below which two answers are the same
_MANY = 30_000  # calls that a counter is set to, which every integer type of two bytes holds
_COLLAPSED = 1e-8  # mean square of the weights' distance to their means, in units of their spread at a quine

Checks = list[Finding | None]


def triviality(quine: Quine) -> list[Finding]:
    """Every trick that explains the printed weights better than a quine does; empty for an honest one."""
    findings = _undeclared(quine)
    try:
        return findings + _examined(quine)
    except TooLarge:
        raise
    except Exception as error:  # a foreign module may raise anything while it is looked at
        return [*findings, failing(error)]


def failing(error: Exception) -> Finding:
    """The finding about a module that raises while it is examined."""
    return Finding("failing", f"the trunk fails when it is examined: {first_line(error)[:200]}")


def _examined(quine: Quine) -> list[Finding]:
    changing = _nondeterministic(quine)
    if changing is not None:
        return [changing]
    return [finding for finding in checks(quine) if finding is not None]


@singledispatch
def checks(quine: Quine) -> Checks:
    """The checks of a quine, in the order in which their findings are shown; None where nothing was found."""
    return [_printed_from_the_means(quine), *_of_any_map(quine)]


def _of_any_map(quine: Quine) -> Checks:
    with quine.smooth():  # a staircase has no derivative to compare with; what its steps hide is looked for afterwards
        if quine.in_place:
            found = [_zero(quine), _huge(quine), *in_directions_of_the_code(quine), lookup_in_place(quine)]
        else:
            theta = quine.theta
            derivative = directional_if_any(quine, theta)
            found = [
                _zero(quine),
                _huge(quine),
                _two_faced(quine),
                *dependence(quine, theta, derivative),
                line_of_fixed_points(quine, theta, derivative),
                copy(quine),
                lookup(quine, theta),
            ]
    return found if quine.activation_bits is None else [*found, _flattened(quine)]


@torch.no_grad()
def _flattened(quine: Quine) -> Finding | None:
    """Activations on so coarse a grid that the network answers other weights as it answers its own."""
    if quine.in_place:
        with weights_kept(quine):
            answers = []
            for code in quine.random_codes(3, torch.Generator().manual_seed(1)):
                quine.install(code)
                answers.append(quine.real_code())
    else:
        answers = [quine.real_code(quine.printer(c)) for c in quine.random_codes(3, torch.Generator().manual_seed(1))]
    if any(not same(answer, quine.real_code()) for answer in answers):
        return None
    seen = (
        f"activations in steps of 2^-{quine.activation_bits} hide the weights: those of other codes are answered alike"
    )
    return Finding("constant", seen)


@checks.register
def _(quine: QueryQuine) -> Checks:
    return [_uniform(quine), *_of_any_map(quine)]


@checks.register
def _(quine: SelfQuine) -> Checks:
    return [_handed_back(quine), _uniform(quine), *_of_any_map(quine)]


@checks.register
def _(quine: TaskQuine) -> Checks:
    return [
        _zero(quine),
        _huge(quine),
        _two_faced(quine),
        *_constructed(quine),
        signs_outside(quine),
    ]


class Witness:
    """The state and the print of a quine before it is examined, for comparison afterwards."""

    def __init__(self, quine: Quine) -> None:
        self._quine = quine
        self._held = known(quine, "digest", lambda: _digest(quine))
        with torch.no_grad():
            self._code = printed_code(quine) if quine.in_place else quine.code()

    def changes(self) -> list[Finding]:
        """Report what has changed since, although nothing was asked for but printing."""
        if _digest(self._quine) != self._held:
            return [Finding("self-modifying", "printing changes the stored weights or the probe")]
        with torch.no_grad():
            if not same(self._quine.code(), self._code):
                return [Finding("non-deterministic", "the same weights print something else after a few calls")]
        return []


def _digest(quine: Quine) -> object:
    if quine.in_place:
        return digest(quine)
    digested = hashlib.blake2b()
    inputs = named(quine.inputs).values()
    for tensor in [*(stored for _, stored in quine.stored_pieces()), *inputs]:
        digested.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digested.hexdigest()


def _undeclared(quine: Quine) -> list[Finding]:
    """Find weights that nobody prints, and tensors that answer for themselves."""
    findings = []
    hidden = hidden_parameters(quine)
    if hidden:
        findings.append(
            Finding("hidden weights", f"the trunk does not name its parameter {hidden[0]!r}: nobody prints it")
        )
    disguised = [n for n, p in quine.named_weights() if not type(p).__module__.startswith("torch.")]
    if disguised:
        findings.append(
            Finding("disguised", f"{disguised[0]!r} is a tensor class of its own: its comparisons mean nothing")
        )
    return findings


def _nondeterministic(quine: Quine) -> Finding | None:
    state = {name: buffer.clone() for name, buffer in quine.trunk.named_buffers()}
    with torch.no_grad():  # a large network has answered already, and is asked several times more
        answers = [printed_code(quine), quine.code()] if quine.in_place else [quine.code() for _ in range(3)]
    with torch.enable_grad():
        answers.append(quine.code().detach())
    changed = [n for n, b in quine.trunk.named_buffers() if n not in state or not _same_or_int(b, state[n])]
    if changed and all(same(answers[0], other) for other in answers[1:]) and _unread(quine, changed, answers[0]):
        changed = []
    active = [n for n, m in quine.trunk.named_modules() if m.training and isinstance(m, nn.modules.dropout._DropoutNd)]
    if all(same(answers[0], other) for other in answers[1:]) and not changed:
        return None
    if active:
        return Finding("non-deterministic", f"dropout is active in {active[0]!r}: call trunk.eval()")
    if changed:
        return Finding("non-deterministic", f"printing changes the buffer {changed[0]!r}: call trunk.eval()")
    return Finding("non-deterministic", "the same weights print something else at every call")


@torch.no_grad()
def _unread(quine: Quine, names: list[str], code: Tensor) -> bool:
    """Whether what is printed is the same to the last bit whatever buffers hold, as with a counter of calls."""
    held = {n: b for n, b in quine.trunk.named_buffers() if n in names and not b.is_complex()}
    if len(held) < len(names):
        return False
    kept = {name: buffer.clone() for name, buffer in held.items()}
    try:
        for number in (0, 1, _MANY, -_MANY):
            for buffer in held.values():
                buffer.fill_(
                    bool(number) if buffer.dtype == torch.bool else number % 128 if buffer.itemsize == 1 else number
                )
            if not same(quine.code(), code):
                return False
        return True
    finally:
        for name, buffer in held.items():
            buffer.copy_(kept[name])


def _same_or_int(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and (same(a, b) if a.is_floating_point() else bool(torch.equal(a, b)))


def _zero(quine: Quine) -> Finding | None:
    if not any(largest_size(stored) != 0 for slot, stored in quine.stored_pieces() if slot.count):
        return Finding("zero", "every weight is 0, which any network without biases prints")
    if mean_square_spread(quine, _COLLAPSED) < _COLLAPSED:
        return Finding("zero", "every weight equals the mean it is printed with: the code is 0")
    return None


def _uniform(quine: Quine) -> Finding | None:
    theta = quine.theta
    if len(theta) > 1 and bool((theta != 0).any()) and variation(theta) < UNIFORM:
        return Finding("uniform", "all weights are nearly one number, which a bias alone can answer")
    return None


def _huge(quine: Quine) -> Finding | None:
    largest = max(largest_size(stored) for _, stored in quine.stored_pieces() if stored.numel())
    seen = drowned(quine) if largest > _HUGE else None
    return Finding("huge", f"weights up to {largest:.1e} hide differences: {seen}") if seen is not None else None


def _handed_back(quine: SelfQuine) -> Finding | None:
    """Weights that the module returns from where it holds them, whatever they are: nothing computes them."""
    count = quine.handed_back()
    if not count:
        return None
    seen = f"{count} of the {quine.parameter_count} weights are handed back whatever they are, as they stand or up to a factor"
    return Finding("copy", seen)


def _printed_from_the_means(quine: Quine) -> Finding | None:
    """Tensors whose gain is 0, or drowns in their mean: what they print stands in the list of means."""
    scales = zip(quine.named_weights(), quine.means, quine.gains, strict=True)
    held = [
        (name, p.numel())
        for (name, p), mean, gain in scales
        if abs(gain) * quine.code_size**0.5 <= _DROWNED * abs(mean)
    ]
    if not held:
        return None
    seen = f"{sum(n for _, n in held)} of the {quine.parameter_count} weights are printed from the list of means, "
    return Finding("constant", f"{seen}whatever the network answers: {held[0][0]!r} has gain 0 or next to it")


@torch.no_grad()
def _two_faced(quine: Quine) -> Finding | None:
    """Does the network print the same where it holds weights as where it is handed them: its own, and those of other codes?

    The others are handed in first, while it holds its own, and are then installed for real; its own are put back bit for
    bit. A difference must stand out of what round-off in the weights does.
    """
    codes = quine.quantize(quine.random_codes(2, torch.Generator().manual_seed(3)))
    others = [quine.printer(code) for code in codes]
    thetas = [quine.theta, *others]
    handed = [quine.real_code(theta) for theta in thetas]
    held = [quine.real_code()]
    with weights_kept(quine):
        for code in codes:
            quine.install(code)
            held.append(quine.real_code())
    for i, (inside, outside, theta) in enumerate(zip(held, handed, thetas, strict=True)):
        size = torch.linalg.vector_norm(inside)
        gap = float(torch.linalg.vector_norm(inside - outside) / size.clamp_min(torch.finfo(size.dtype).tiny))
        if gap <= torch.finfo(quine.dtype).eps ** (2 / 3):
            continue
        if not gap <= _SHAKEN * float(torch.linalg.vector_norm(quine.real_code(_shaken(theta)) - outside) / size):
            where = (
                "other weights are installed than where they are handed in" if i else "the same weights are handed in"
            )
            return Finding("two-faced", f"other numbers come out where {where} ({gap:.1e} away)")
    return None


def _shaken(theta: Tensor) -> Tensor:
    """Weights that differ by about their round-off."""
    draw = torch.randn(len(theta), generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(theta.device)
    return (theta.double() * (1 + 4 * torch.finfo(theta.dtype).eps * draw)).to(theta.dtype)


@torch.no_grad()
def _constructed(quine: TaskQuine) -> list[Finding]:
    """Does the network read the code in its weights, by its own features? Then it prints any code that is put there.

    Every code of signs is a fixed point of such a network by construction, which is no trick; where every vector of
    real numbers is one, the network copies.
    """
    codes = quine.random_codes(3, torch.Generator().manual_seed(1))
    real = codes * (0.5 + torch.rand(codes.shape, generator=torch.Generator().manual_seed(2)).to(codes))
    findings = [copied(quine, real, torch.stack([quine.real_code(quine.printer(c)) for c in real]), quine.real_code())]
    tensors = quine.tensors(quine.theta)
    without = [torch.zeros_like(t) if name.startswith("body.") else t for name, t in tensors.items()]
    if same(quine.code(torch.cat([t.reshape(-1) for t in without])), quine.code()):
        findings.append(Finding("bypass", "the tape is printed without the body: its features play no part"))
    return [finding for finding in findings if finding is not None]
