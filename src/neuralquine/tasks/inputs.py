"""Pictures and arrays as inputs of a task quine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import QuineFileError, first_line, needed
from ..quines.taped import TaskQuine
from .data import DIGITS
from .recipes import TASKS

_MOST = 64 << 20  # bytes of a file


def read_inputs(path: Path, quine: TaskQuine, *, invert: bool = False) -> Tensor:
    """Read inputs ``(n, ...)`` of the shape that the network was probed with, in its type.

    A ``.npy`` array is taken as it is. Any other file is opened as a picture, made gray, shrunk to the network's size and
    scaled as the images of its task are; a quine of no registered task takes them as digits.

    Raises:
        QuineFileError: the file is not readable, or of another shape.
    """
    shape = tuple(quine.probe.shape[1:])
    if not path.is_file():
        raise QuineFileError(f"{path} is missing")
    if path.stat().st_size > _MOST:
        raise QuineFileError(f"{path} is larger than {_MOST >> 20} MiB")
    x = _array(path) if path.suffix == ".npy" else _picture(path, shape, quine, invert)
    if tuple(x.shape) == shape:
        x = x[None]
    if tuple(x.shape[1:]) != shape:
        raise QuineFileError(f"{path} has shape {tuple(x.shape)}, the network takes (n, {', '.join(map(str, shape))})")
    if len(x) == 0 or not bool(torch.isfinite(x).all()):
        raise QuineFileError(f"{path} holds no input, or NaN or infinity")
    return x.to(quine.trunk_device, quine.dtype)


def is_light(pictures: Tensor) -> bool:
    """Whether the border of pictures ``(n, 1, h, w)`` is lighter on average than what it encloses, as paper is."""
    border = torch.ones(pictures.shape[-2:], dtype=torch.bool, device=pictures.device)
    border[1:-1, 1:-1] = False
    return bool(border.any() and not border.all() and pictures[..., border].mean() > pictures[..., ~border].mean())


def _array(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
        return torch.from_numpy(np.asarray(array, dtype=np.float64))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise QuineFileError(f"{path} is not a readable .npy array: {first_line(error)}") from error


def _picture(path: Path, shape: tuple[int, ...], quine: TaskQuine, invert: bool) -> Tensor:
    Image = needed("PIL.Image", "tasks", "reading pictures needs", "Pillow")  # noqa: N806 - a module called so
    if len(shape) != 3 or shape[0] != 1:
        raise QuineFileError(f"the network takes inputs of shape {shape}, not pictures: hand in a .npy array")
    try:
        with Image.open(path) as image:
            gray = image.convert("L").resize((shape[2], shape[1]), Image.Resampling.BOX)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise QuineFileError(f"{path} is not a readable picture: {first_line(error)}") from error
    light = torch.from_numpy(np.array(gray, dtype=np.float64))[None]
    light = 255.0 - light if invert else light
    source = TASKS[name].source if (name := (quine.recipe or {}).get("name")) in TASKS else DIGITS
    return source.from_gray(light)
