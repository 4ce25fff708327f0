"""Data of the task recipes: scikit-learn's digits, which are bundled, and MNIST files from a local folder."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ..errors import QuineFileError
from .bundled import handwritten, stratified

Loader = DataLoader[tuple[Tensor, ...]]
MNIST_DIR = "NQ_MNIST_DIR"  # the environment variable that names the folder
_MOST = 1 << 30  # bytes of one file, unpacked
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Data:
    """Three loaders of batches ``(inputs, targets)``.

    Attributes:
        train: shuffles its batches, by a generator of its own.
        validation: yields its batches in order.
        test: yields its batches in order.
    """

    train: Loader
    validation: Loader
    test: Loader


def digits(split: int = 0, batch: int = 128) -> Data:
    """Load scikit-learn's 1,797 digits of 8 x 8, as ``(n, 1, 8, 8)`` of ``(pixel - 5) / 6``: 60 % to train, 20 and 20.

    Args:
        split: the seed of the stratified split.
        batch: the number of images in a batch.

    Raises:
        NeuralQuineError: scikit-learn is not installed.
    """
    pictures, answers = handwritten()
    rest, test = stratified(answers, 0.2, split)
    train, validation = (rest[part] for part in stratified(answers[rest], 0.25, 1000 + split))
    images, labels = scaled(torch.from_numpy(pictures)), torch.from_numpy(answers)
    return _loaders(images, labels, train, validation, test, batch)


def scaled(images: Tensor) -> Tensor:
    """Turn digits ``(n, 8, 8)`` of 0 to 16 into a network's input ``(n, 1, 8, 8)``: ``(x - 5) / 6``, float32."""
    return ((images - 5.0) / 6.0).float()[:, None]


def ink_of(inputs: Tensor) -> Tensor:
    """Turn a network's input ``(n, 1, 8, 8)`` back into whole numbers of 0 to 16, ``(n, 8, 8)``: undoes :func:`scaled`."""
    return (inputs[:, 0].double() * 6 + 5).round().to(torch.int64)


def mnist(folder: str | Path | None = None, split: int = 0, batch: int = 128) -> Data:
    """Load MNIST, or any data in its format, from files on this machine: ``(n, 1, 28, 28)`` of ``pixel / 128 - 1``.

    Args:
        folder: holds the four files under their usual names, packed (``.gz``) or not; a folder as torchvision lays it
            out will do. By default what the environment variable ``NQ_MNIST_DIR`` names.
        split: the seed of the split of the training files; a sixth of them validates.
        batch: the number of images in a batch.

    Raises:
        QuineFileError: a file is missing or malformed.
    """
    named = folder or os.environ.get(MNIST_DIR)
    if not named:
        raise QuineFileError(f"MNIST is not downloaded: name the folder with its files (folder=..., or {MNIST_DIR})")
    parts = {}
    for part in ("train", "t10k"):
        images, labels = (
            read_idx(_find(Path(named), f"{part}-{kind}")) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or len(labels) < 12:
            raise QuineFileError(f"{named} holds images {images.shape} and labels {labels.shape} for {part}")
        if int(labels.max()) > 9:
            raise QuineFileError(f"{named} holds a label {labels.max()}: not digits")
        parts[part] = (
            torch.from_numpy(images.astype(np.float32))[:, None] / 128 - 1,
            torch.from_numpy(labels.astype(np.int64)),
        )
    (images, labels), (others, answers) = parts["train"], parts["t10k"]
    if images.shape[1:] != others.shape[1:]:
        raise QuineFileError(
            f"{named} holds images of two sizes, {tuple(images.shape[2:])} and {tuple(others.shape[2:])}"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(split)).numpy()
    held = len(labels) // 6
    return _loaders(
        torch.cat([images, others]),
        torch.cat([labels, answers]),
        order[held:],
        order[:held],
        len(labels) + np.arange(len(answers)),
        batch,
    )


@dataclass(frozen=True)
class Source:
    """Where the data of a task come from.

    Attributes:
        load: returns the data of a seed, which decides the split, and a folder; an empty one stands for the usual place.
        from_gray: turns a gray picture ``(1, height, width)`` of 0 to 255, of the network's size, into its input.
    """

    load: Callable[[int, str], Data]
    from_gray: Callable[[Tensor], Tensor]


DIGITS = Source(load=lambda seed, _: digits(seed), from_gray=lambda gray: scaled(gray * 16 / 255))
MNIST = Source(load=lambda seed, folder: mnist(folder or None, seed), from_gray=lambda gray: gray[:, None] / 128 - 1)


def _find(folder: Path, name: str) -> Path:
    places = [folder, folder / "raw", folder / "MNIST" / "raw"]
    for place in places:
        for spelled in (name, name.replace("-idx", ".idx")):
            for path in (place / spelled, place / f"{spelled}.gz"):
                if path.is_file():
                    return path
    raise QuineFileError(f"{folder} holds no {name} (nor {name}.gz)")


def read_idx(path: Path) -> NDArray[np.generic]:
    """Read an array in the IDX format, packed by gzip or not.

    Raises:
        QuineFileError: the file is of another format, cut short, or larger than 1 GiB.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or not 1 <= head[3] <= 4:
                raise QuineFileError(f"{path} is not an IDX file")
            kind = np.dtype(_IDX_TYPES[head[2]])
            sizes = file.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise QuineFileError(f"{path} is cut short")
            shape = struct.unpack(f">{head[3]}I", sizes)
            length = math.prod(shape) * kind.itemsize
            if length > _MOST:
                raise QuineFileError(f"{path} states {length / 2**30:.3g} GiB of numbers, more than 1 GiB")
            data = file.read(length + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise QuineFileError(f"{path} is not readable: {error}") from error
    if len(data) != length:
        raise QuineFileError(
            f"{path} states {length} bytes of numbers and holds {'fewer' if len(data) < length else 'more'}"
        )
    return np.frombuffer(data, kind).reshape(shape).astype(kind.newbyteorder("="))


def _loaders(
    images: Tensor,
    labels: Tensor,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    test: NDArray[np.int64],
    batch: int,
) -> Data:
    def loader(index: NDArray[np.int64], *, shuffle: bool) -> Loader:
        chosen = torch.from_numpy(np.asarray(index, dtype=np.int64))
        generator = torch.Generator() if shuffle else None
        size = batch if shuffle else max(batch, 512)
        return DataLoader(TensorDataset(images[chosen], labels[chosen]), size, shuffle=shuffle, generator=generator)

    return Data(loader(train, shuffle=True), loader(validation, shuffle=False), loader(test, shuffle=False))
