"""The second, independent look that an accusation needs: at other places, in another way, and with what it saw in words."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import TooLarge
from ..quines.derivatives import Directional
from ..quines.in_place import weights_kept
from ..quines.quine import Quine

_SIZES = (0.5, 2.0)  # of the codes of the second look, relative to those of the first
_ALONG_THE_LINE = 1e-3  # relative, how far the second look goes along a line of fixed points
_STRAIGHT = 0.1  # of that step, by which a fixed point there may be missed, and the eigenvalue there may differ from 1
_MULTIPLES = (0.99, 1.01)  # of the weights


@torch.no_grad()
def installed_answers(quine: Quine) -> tuple[Tensor, Tensor]:
    """Other codes than the first look's, and what the network answers when it holds the weights of them in other sizes.

    Where answers are normalized a copy gives back no size: then it is the codes as they were drawn that are compared.
    """
    codes = quine.random_codes(len(_SIZES), torch.Generator().manual_seed(11))
    sized = codes * torch.tensor(_SIZES, dtype=codes.dtype, device=codes.device)[:, None]
    answers = []
    with weights_kept(quine):
        for code in sized:
            quine.install(code)
            answers.append(quine.real_code())
    return (codes if quine.normalize else sized), torch.stack(answers)


@torch.no_grad()
def drowned(quine: Quine) -> str | None:
    """What large weights hide: tensor by tensor, the printed numbers against how far the stored ones differ from each other.

    The residual of a whole network is small beside its largest weights. Where each tensor by itself is printed to half
    of the digits, measured by its own spread, nothing is hidden by their size.
    """
    half = torch.finfo(quine.dtype).eps ** 0.5
    names = [name for name, _ in quine.named_weights()]
    pieces: dict[int, list[tuple[Tensor, Tensor]]] = {}
    ends = [(stored.data_ptr(), stored.data_ptr() + stored.nbytes) for _, stored in quine.stored_pieces()]
    for stored, printed in quine.printed_pieces(quine.code()):
        owner = next((i for i, (a, b) in enumerate(ends) if a <= stored.data_ptr() < b), None)
        if owner is not None:
            pieces.setdefault(owner, []).append((stored, printed))
    for i, parts in pieces.items():
        stored = torch.cat([s for s, _ in parts]).double()
        gap = torch.cat([p for _, p in parts]).double().to(stored.device) - stored
        largest, spread = float(stored.abs().max()), float((stored - stored.mean()).abs().max())
        if spread <= half * largest:
            return f"those of {names[i]!r} differ from each other by {spread:.1e}, which rounding hides"
        missed = float(gap.abs().max())
        if not missed <= half * spread:
            return f"beside them {names[i]!r} is missed by {missed:.1e}, where its weights differ by {spread:.1e}"
    return None


def line_goes_on(quine: Quine, derivative: Directional) -> str | None:
    """Whether the network prints itself, and has an eigenvalue of 1, beside the stored weights as well as at them.

    At a lone fixed point whose eigenvalue happens to be near 1 the eigenvalue moves as one goes along its direction, and
    what is printed there is something else.

    Returns:
        What was seen; None where there is no line.
    """
    direction = _fixed_direction(derivative)
    if direction is None:
        return None
    with torch.no_grad():
        code = quine.real_code()
        if len(direction) != len(code):  # in coordinates of the few dimensions that all codes lie in
            direction = getattr(derivative, "printer").linear(direction.to(code))  # noqa: B009 - of Dense alone
        step = _ALONG_THE_LINE * float(torch.linalg.vector_norm(code))
        there = code + step * direction.to(code)
        theta = quine.printer(there)
        moved = float(torch.linalg.vector_norm(quine.real_code(theta) - there)) / step
    try:
        eigenvalues, _ = quine.directional(theta).eigenvalues()
    except TooLarge:
        return None
    gap = float((1 - eigenvalues).abs().min())
    if not (moved < _STRAIGHT and gap < _STRAIGHT * _ALONG_THE_LINE):
        return None
    return f"a step of {_ALONG_THE_LINE:.0e} along it is printed again up to {moved:.0e} of it, with such an eigenvalue there"


def line_found(quine: Quine, derivative: Directional) -> str | None:
    """The same where the derivative is not written out, from products alone.

    Returns:
        What was seen; None where there is no line, or none is found.
    """
    direction = derivative.fixed_direction()
    if direction is None:
        return None
    theta = quine.theta
    step = _ALONG_THE_LINE * float(torch.linalg.vector_norm(theta))
    there = theta + step * direction.to(theta)
    with torch.no_grad():
        moved = float(torch.linalg.vector_norm(quine.real_map(there) - there)) / step
    if not moved < _STRAIGHT or quine.directional(there).fixed_direction() is None:
        return None
    return f"a step of {_ALONG_THE_LINE:.0e} along it is printed again up to {moved:.0e} of it, with such a direction there"


def _fixed_direction(derivative: Directional) -> Tensor | None:
    """The unit direction of the code that the derivative takes to itself; None where it is not written out."""
    reduced = getattr(derivative, "reduced", None)
    if reduced is None:
        return None
    values, vectors = torch.linalg.eig(reduced().double())
    direction = vectors[:, int((1 - values).abs().argmin())].real
    rows = getattr(derivative, "rows", None)
    if rows is not None or not float(torch.linalg.vector_norm(direction)) > 0:
        return None
    return direction / torch.linalg.vector_norm(direction)


@torch.no_grad()
def multiples_printed(quine: Quine, theta: Tensor) -> str | None:
    """Whether weights one percent smaller and larger are printed again, measured by that percent."""
    size, missed = float(torch.linalg.vector_norm(theta.double())), 0.0
    for factor in _MULTIPLES:
        other = factor * theta
        gap = float(torch.linalg.vector_norm(quine.real_map(other).double() - other.double()))
        missed = max(missed, gap / (abs(1 - factor) * size))
    return f"those of 0.99 and 1.01 times are, up to {missed:.0e} of the difference" if missed < _STRAIGHT else None
