"""A quine as a notebook shows it: its tensors stored | printed | difference, as pictures inside the page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .bits import differing
from .png import address

if TYPE_CHECKING:
    from .self_printer import SelfPrinter

_TENSORS = 6  # that are shown: the first ones, as in the figures of `neuralquine plot`
_CELLS = 64  # of a picture in either direction; a larger tensor shows its first ones
_WIDTH = 160  # pixels of a picture on the page
_LARGEST = 1 << 20  # weights above which nothing is printed for a picture
_BLUE, _RED, _PALE, _EXACT = (33, 102, 172), (178, 24, 43), (247, 247, 247), (116, 196, 118)


@torch.no_grad()
def as_html(quine: SelfPrinter) -> str:
    """The pictures and the figures of a quine; a large one has its sizes alone."""
    head = f"<b>{escape(type(quine).__name__)}</b>: {quine.parameter_count:,} weights in {escape(quine.dtype_name)}"
    if quine.parameter_count > _LARGEST:
        return f"<div>{head}</div>"
    theta, answer = quine.theta, quine.printed()
    size = float(theta.double().norm())
    residual = float((answer.double() - theta.double()).norm()) / size if size else float("inf")
    count = int(differing(answer, theta).sum())
    head += f", relative residual {residual:.2e}, {count:,} weights differ in some bit"
    printed = quine.tensors(answer)
    rows = []
    for name, stored in list(quine.tensors(theta).items())[:_TENSORS]:
        rows.append(_row(name, stored, printed[name]))
    left = len(printed) - len(rows)
    more = f"<div>and {left} more tensors</div>" if left > 0 else ""
    headings = "".join(f"<th>{text}</th>" for text in ("", "stored", "printed", "difference"))
    return f"<div>{head}</div><table><tr>{headings}</tr>{''.join(rows)}</table>{more}"


def _row(name: str, stored: Tensor, printed: Tensor) -> str:
    a, b = _cells(stored), _cells(printed)
    reach = float(a.abs().max()) or 1.0
    difference = b - a
    largest = float((printed.double() - stored.double()).abs().max()) if stored.numel() else 0.0
    cells = [
        _picture(a / reach),
        _picture(b / reach),
        _picture(difference / largest) if largest else _exact(difference),
    ]
    words = f"at most {largest:.1e}" if largest else "exactly 0"
    shape = " x ".join(map(str, stored.shape))
    labels = (f"at most {reach:.2g} in size", "", words)
    pictures = "".join(f"<td>{p}<br><small>{w}</small></td>" for p, w in zip(cells, labels, strict=True))
    return f"<tr><td>{escape(name)}<br><small>{shape}</small></td>{pictures}</tr>"


def _cells(tensor: Tensor) -> Tensor:
    """The first rows and columns of a tensor as a matrix of finite numbers."""
    flat = tensor.detach().double().cpu()
    matrix = flat.reshape(flat.shape[0], -1) if flat.dim() > 1 else flat.reshape(1, -1)
    return torch.nan_to_num(matrix[:_CELLS, :_CELLS], posinf=0.0, neginf=0.0)


def _picture(values: Tensor) -> str:
    """Numbers from -1, blue, over 0, pale, to 1, red."""
    share = values.clamp(-1, 1).unsqueeze(-1)
    ends = torch.where(share < 0, torch.tensor(_BLUE, dtype=torch.float64), torch.tensor(_RED, dtype=torch.float64))
    pale = torch.tensor(_PALE, dtype=torch.float64)
    return _image((pale + share.abs() * (ends - pale)).round().to(torch.uint8))


def _exact(values: Tensor) -> str:
    return _image(torch.tensor(_EXACT, dtype=torch.uint8).expand(*values.shape, 3))


def _image(pixels: Tensor) -> str:
    """An ``img`` whose data are inside of it: a PNG of ``(rows, columns, 3)`` bytes."""
    rows, columns, _ = pixels.shape
    height = max(8, min(_WIDTH, round(_WIDTH * rows / max(columns, 1))))
    size = f"width:{_WIDTH}px;height:{height}px;image-rendering:pixelated"
    return f'<img alt="heat map" style="{size}" src="{address(pixels.numpy())}">'
