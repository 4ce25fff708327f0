"""Naming the tricks: ways in which weights can be printed without a quine being there.

Every check looks at what the module does, not at what it says. A network passes only if it is deterministic,
depends on its weights (and as smoothly as its own derivative claims), prints something else when it holds
something else, and has no copy of the answer outside its weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import TooLarge, first_line
from ..quines import bits
from ..quines.in_place import mean_square_spread, responses
from ..quines.measure import CONSTANT_SENSITIVITY
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from ..quines.taped import TaskQuine
from ..solving.linearized import variation
from ..solving.maps import code_jacobian
from ..solving.queried_map import UNIFORM
from .krylov import DENSE, continuum, products, sensitivity
from .outside import hidden_parameters, outside_numbers
from .spectrum import sensitivity_bound

_HUGE = 1e8  # above it a difference of 1 starts to drown in rounding
_STEP = 1e-6  # relative size of the finite differences
_NEVER = float("inf")  # in narrow types the steps are long and the derivatives rough
_NARROW = {torch.bfloat16: _NEVER, torch.float16: _NEVER}
_JUMP = {torch.float64: 1e-6, torch.float32: 2e-3} | _NARROW  # relative, above the round-off of any honest network
_TRUTHFUL = {torch.float64: 10, torch.float32: 100} | _NARROW  # factor between a claimed derivative and a measured one
_WINDOWS = 5e8  # products in the search for a scaled copy


@dataclass(frozen=True)
class Finding:
    """One trick: its name, and what was seen."""

    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


def triviality(quine: Quine) -> list[Finding]:
    """Every trick that explains the printed weights better than a quine does; empty for an honest one."""
    findings = _undeclared(quine)
    try:
        return findings + _examined(quine)
    except TooLarge:
        raise
    except Exception as error:  # whatever a module raises that does not want to be looked at
        return [*findings, unruly(error)]


def unruly(error: Exception) -> Finding:
    return Finding("unruly", f"the trunk fails when it is examined: {first_line(error)[:200]}")


def _examined(quine: Quine) -> list[Finding]:
    changing = _nondeterministic(quine)
    if changing is not None:
        return [changing]
    if isinstance(quine, TaskQuine):
        checks = [
            _zero(quine),
            _huge(quine),
            _two_faced(quine, quine.theta),
            *_constructed(quine),
            _code_outside(quine),
        ]
    elif quine.in_place:
        checks = [_zero(quine), _huge(quine), *_responses(quine), _large_lookup(quine)]
    else:
        theta = quine.theta
        checks = [_zero(quine), _huge(quine), _two_faced(quine, theta)]
        if isinstance(quine, QueryQuine) and quine.parameter_count > DENSE:
            checks += _large_queried(quine, theta)
        else:
            derivative = code_jacobian(quine, theta[None])[0].to(quine.code_dtype)
            checks += [*_dependence_of(quine, theta, derivative), _continuum(quine, derivative)]
        checks += [_copy(quine), _lookup(quine, theta)]
    return [finding for finding in checks if finding is not None]


class Witness:
    """What a quine holds and prints before it is examined, to be compared with afterwards."""

    def __init__(self, quine: Quine) -> None:
        self._quine = quine
        self._held = _digest(quine)
        with torch.no_grad():
            self._code = quine.code()

    def changes(self) -> list[Finding]:
        if _digest(self._quine) != self._held:
            return [Finding("self-modifying", "printing changes the stored weights or the probe")]
        with torch.no_grad():
            if not _same(self._quine.code(), self._code):
                return [Finding("non-deterministic", "the same weights print something else after a few calls")]
        return []


def _digest(quine: Quine) -> str:
    digest = hashlib.blake2b()
    inputs = quine.inputs.values() if isinstance(quine.inputs, Mapping) else quine.inputs
    for tensor in [*(stored for _, stored in quine.stored_pieces()), *inputs]:
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()


def _undeclared(quine: Quine) -> list[Finding]:
    """Weights that nobody prints, and tensors that answer for themselves."""
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


def _same(a: Tensor, b: Tensor) -> bool:
    return not bool(bits.differing(a, b).any())


def _nondeterministic(quine: Quine) -> Finding | None:
    state = {name: buffer.clone() for name, buffer in quine.trunk.named_buffers()}
    with torch.no_grad():
        answers = [quine.code() for _ in range(3)]
    with torch.enable_grad():
        answers.append(quine.code().detach())
    changed = [n for n, b in quine.trunk.named_buffers() if n not in state or not _same_or_int(b, state[n])]
    active = [n for n, m in quine.trunk.named_modules() if m.training and isinstance(m, nn.modules.dropout._DropoutNd)]
    if all(_same(answers[0], other) for other in answers[1:]) and not changed:
        return None
    if active:
        return Finding("non-deterministic", f"dropout is active in {active[0]!r}: call trunk.eval()")
    if changed:
        return Finding("non-deterministic", f"printing changes the buffer {changed[0]!r}: call trunk.eval()")
    return Finding("non-deterministic", "the same weights print something else at every call")


def _same_or_int(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and (_same(a, b) if a.is_floating_point() else bool(torch.equal(a, b)))


def _zero(quine: Quine) -> Finding | None:
    if not any(bool((stored != 0).any()) for _, stored in quine.stored_pieces()):
        return Finding("zero", "every weight is 0, which any network without biases prints")
    if isinstance(quine, QueryQuine) and variation(quine.theta) < UNIFORM:
        return Finding("uniform", "all weights are nearly one number, which a bias alone can answer")
    if mean_square_spread(quine) < 1e-8:
        return Finding("zero", "every weight equals the mean it is printed with: the code is 0")
    return None


def _huge(quine: Quine) -> Finding | None:
    largest = max(float(stored.abs().max()) for _, stored in quine.stored_pieces() if stored.numel())
    if largest > _HUGE:
        return Finding("huge", f"weights up to {largest:.1e}: rounding can hide any difference")
    return None


@torch.no_grad()
def _two_faced(quine: Quine, theta: Tensor) -> Finding | None:
    """Does the network print the same where it holds its weights as where it is handed them?"""
    held, handed = quine.real_code(), quine.real_code(theta)
    gap = float(torch.linalg.vector_norm(held - handed) / torch.linalg.vector_norm(held))
    if not gap <= torch.finfo(theta.dtype).eps ** (2 / 3):
        return Finding("two-faced", f"other numbers come out where the same weights are handed in ({gap:.1e} away)")
    return None


def _dependence_of(quine: Quine, theta: Tensor, derivative: Tensor) -> list[Finding]:
    """:func:`_dependence` with the code's derivative ``(d, P)`` at hand."""
    if not bool(torch.isfinite(derivative).all()):
        return [Finding("singular", "the derivative is not finite at the stored weights")]
    direction = torch.linalg.svd(derivative, full_matrices=False).Vh[0]
    return _dependence(quine, theta, direction, lambda v: quine.expand.linear(derivative @ v))


def _large_queried(quine: QueryQuine, theta: Tensor) -> list[Finding]:
    """:func:`_dependence` and :func:`_continuum` from products with the derivative alone."""
    norm, direction, _ = sensitivity(quine, theta)
    if not norm < float("inf"):
        return [Finding("singular", "the derivative is not finite at the stored weights")]
    jvp, _ = products(quine, theta)
    findings = _dependence(quine, theta, direction, jvp)
    along = theta / torch.linalg.vector_norm(theta)
    if float(torch.linalg.vector_norm(jvp(along) - along)) < 1e-5:
        findings.append(Finding("copy", "any multiple of these weights is printed again: a line of fixed points"))
    return findings


def _dependence(quine: Quine, theta: Tensor, direction: Tensor, product: Callable[[Tensor], Tensor]) -> list[Finding]:
    """Constant, discontinuous or untruthful: compare the claimed derivative with finite differences."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(theta.numel(), generator=generator, dtype=torch.float64).to(direction)
    # Half of the step must survive in every type: the cube root of round-off, relative to the weights.
    h = max(_STEP, torch.finfo(theta.dtype).eps ** (1 / 3)) * float(torch.linalg.vector_norm(theta)) or _STEP
    slopes, claims, jumps, torn = [], [], [], False
    for v in (direction, noise / torch.linalg.vector_norm(noise)):
        slope, jump = _difference(quine, theta, h * v)
        claims.append(float(torch.linalg.vector_norm(product(v))))
        slopes.append(slope / h)
        jumps.append(jump)
        # A kink shrinks with the step and a bend faster: what stays is a jump, however small.
        torn |= jump > _JUMP[theta.dtype] and _difference(quine, theta, h / 16 * v)[1] > jump / 4
    if max(slopes) < CONSTANT_SENSITIVITY:
        lie = max(claims) >= CONSTANT_SENSITIVITY
        said = f", although its derivative claims {max(claims):.2g}" if lie else ""
        return [
            Finding("constant", f"what is printed does not depend on the weights (sensitivity {max(slopes):.1e}){said}")
        ]
    if torn or min(jumps) > 0.5:
        return [
            Finding("look-up", "only these very weights are printed: a change of one part in a million prints others")
        ]
    for slope, claim in zip(slopes, claims, strict=True):
        low, high = sorted([slope, claim])
        if high >= CONSTANT_SENSITIVITY and low < high / _TRUTHFUL[theta.dtype]:
            said = f"it claims {claim:.2g} where finite differences give {slope:.2g}"
            return [Finding("untruthful derivative", said)]
    return []


@torch.no_grad()
def _difference(quine: Quine, theta: Tensor, step: Tensor) -> tuple[float, float]:
    """Half the distance of what is printed on both sides, and the relative distance of their middle from the center."""
    here, up, down = (quine.real_map((theta + s * step).to(theta.dtype)).to(step) for s in (0, 1, -1))
    size = float(torch.linalg.vector_norm(here).clamp_min(torch.finfo(step.dtype).tiny))
    middle = float(torch.linalg.vector_norm((up + down) / 2 - here)) / size
    return float(torch.linalg.vector_norm(up - down)) / 2, middle


def _continuum(quine: Quine, derivative: Tensor) -> Finding | None:
    """An eigenvalue of 1 is a whole line of fixed points: these weights were not found, they were allowed."""
    if quine.code_dtype != quine.dtype or not bool(torch.isfinite(derivative).all()):
        return None
    if continuum(quine.expand.pull_back(derivative), quine.dtype) is not None:
        return Finding("copy", "it prints whatever it is given along a line: the derivative has an eigenvalue of 1")
    return None


@torch.no_grad()
def _copy(quine: Quine) -> Finding | None:
    """Does it print whatever it is given? Then every point is a fixed point and none was found."""
    generator = torch.Generator().manual_seed(1)
    codes = quine.random_codes(3, generator)
    return _copied(codes, torch.stack([quine.real_code(quine.expand(c)) for c in codes]), quine.real_code())


def _copied(codes: Tensor, answers: Tensor, own: Tensor) -> Finding | None:
    """From what a network answers to three random codes, and to its own."""
    gap = torch.linalg.vector_norm(answers - codes) / torch.linalg.vector_norm(codes)
    if float(gap) < 1e-4:
        return Finding("copy", "it prints whatever weights it is given: every point is a fixed point")
    spread = torch.linalg.vector_norm(answers - own) / (3**0.5 * torch.linalg.vector_norm(own))
    if float(spread) < 1e-6:
        return Finding("constant", "networks that hold other weights print the same ones")
    return None


@torch.no_grad()
def _constructed(quine: TaskQuine) -> list[Finding]:
    """Does it read the code in its weights, with its own features? Then another code there is printed instead of its own.

    That any code of signs is a fixed point is what such a network is, and no trick; that any numbers are, is a copy.
    """
    codes = quine.random_codes(3, torch.Generator().manual_seed(1))
    real = codes * (0.5 + torch.rand(codes.shape, generator=torch.Generator().manual_seed(2)).to(codes))
    findings = [_copied(real, torch.stack([quine.real_code(quine.expand(c)) for c in real]), quine.real_code())]
    tensors = quine.tensors(quine.theta)
    without = [torch.zeros_like(t) if name.startswith("body.") else t for name, t in tensors.items()]
    if _same(quine.code(torch.cat([t.reshape(-1) for t in without])), quine.code()):
        findings.append(Finding("bypass", "the tape is printed without the body: its features play no part"))
    return [finding for finding in findings if finding is not None]


@torch.no_grad()
def _code_outside(quine: TaskQuine) -> Finding | None:
    """Whether the signs of the code stand outside of the weights, as numbers or as bits."""
    signs = quine.code().double().cpu()
    packed = np.packbits((signs > 0).numpy()).astype(np.float64)
    for name, values in outside_numbers(quine):
        for pattern in (signs, torch.from_numpy(packed)):
            if _aligned(values, pattern):
                return Finding("look-up", f"{name} holds the code")
    return None


@torch.no_grad()
def _responses(quine: Quine) -> list[Finding | None]:
    """The checks of :func:`_dependence` and :func:`_copy` for a large network, in directions of the code."""
    step = 1e-3
    own = quine.real_code()
    codes, answers, up, down = responses(quine, step)
    slope = float(torch.linalg.vector_norm(up - down)) / (2 * step * quine.code_size**0.5)
    findings: list[Finding | None] = [_copied(codes, answers, own)]
    bound = sensitivity_bound(quine)
    if bound < CONSTANT_SENSITIVITY:
        lie = slope > 1e-2
        kind = "untruthful derivative" if lie else "constant"
        findings.append(
            Finding(kind, f"its derivative claims a self-sensitivity of {bound:.1e}, and it answers {slope:.1e}")
        )
    if float(torch.linalg.vector_norm((up + down) / 2 - own) / torch.linalg.vector_norm(own)) > 0.05:
        findings.append(
            Finding("look-up", "only these very weights are printed: a change of one part in a thousand prints others")
        )
    return findings


def _large_lookup(quine: Quine) -> Finding | None:
    """A copy of a large network's weights is itself large; of its code, small."""
    with torch.no_grad():
        code = quine.code().double().cpu()
    for name, values in outside_numbers(quine):
        if _aligned(values, code):
            return Finding("look-up", f"{name} holds the code up to scale and shift")
        if values.numel() < quine.parameter_count / 10:
            continue
        inside = sum(int(torch.isin(stored.double().cpu(), values).sum()) for _, stored in quine.stored_pieces())
        if inside >= quine.parameter_count // 10:
            return Finding("look-up", f"{name} holds {inside} of the {quine.parameter_count} weights")
    return None


def _lookup(quine: Quine, theta: Tensor) -> Finding | None:
    """Are the weights, or the code they are expanded from, kept outside of the weights?"""
    wanted = theta[(theta - quine.expand.mean) != 0].double()
    with torch.no_grad():
        code = quine.code(theta).double()
    for name, values in outside_numbers(quine):
        if values.numel() == 0:
            continue
        inside = torch.isin(wanted, values) | torch.isin(wanted.float(), values.float())
        if wanted.numel() and int(inside.sum()) >= max(8, wanted.numel() // 10):
            return Finding("look-up", f"{name} holds {int(inside.sum())} of the {theta.numel()} weights")
        for what, pattern in (("weights", theta.double()), ("code", code)):
            if _aligned(values, pattern):
                return Finding("look-up", f"{name} holds the {what} up to scale and shift")
    return None


def _aligned(values: Tensor, pattern: Tensor) -> bool:
    """Whether some stretch of ``values`` is ``a + b * pattern``, read forwards or backwards."""
    n = pattern.numel()
    if n < 4 or values.numel() < n or (values.numel() - n) * n > _WINDOWS:
        return False
    shape = pattern - pattern.mean()
    shape = torch.stack([shape, shape.flip(0)], 1) / torch.linalg.vector_norm(shape).clamp_min(1e-300)
    for windows in values.unfold(0, n, 1).split(max(1, 2_000_000 // n)):
        windows = windows - windows.mean(1, keepdim=True)
        size = torch.linalg.vector_norm(windows, dim=1, keepdim=True).clamp_min(1e-300)
        if bool(((windows @ shape).abs() > (1 - 1e-9) * size).any()):
            return True
    return False
