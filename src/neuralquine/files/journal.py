"""Journals: a long search writes down what it evaluates, so that it can be resumed after ``kill -9``.

A search is a deterministic program around its evaluations of the map. So a journal keeps nothing but the evaluations,
in their order: a resumed search runs the same program from the start, is given the recorded values, bit for bit, and
goes on computing where they end. A record is small, d numbers or a ``d x d`` derivative, whatever P is.

    header   one line of JSON: the format and the problem's fingerprint
    record   kind, SHA-256 of the point, shape and type, the values, CRC-32; a last record that was cut off is dropped
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import QuineFileError
from .strict_json import canonical

_FORMAT = 1
_HEAD = struct.Struct("<1s32s1sBQ")  # kind, hash of the point, type, dimensions, bytes
_TYPES = {b"d": torch.float64, b"f": torch.float32, b"e": torch.float16, b"b": torch.bfloat16}
_NUMBERS = {b"d": np.float64, b"f": np.float32, b"e": np.int16, b"b": np.int16}  # NumPy has no bfloat16: bits are bits
_SYNC = 1.0  # seconds of work that a power failure may cost


class Journal:
    """An append-only file of evaluations. Use it as a context manager.

    Args:
        path: the file, made with its folder where it is missing.
        problem: everything that determines the search, ready for JSON; a journal of another problem is refused.
        resume: read the evaluations that the file holds; otherwise they are overwritten.

    Raises:
        QuineFileError: the file is not a journal, or is another problem's.
    """

    def __init__(self, path: Path, problem: dict[str, Any], *, resume: bool) -> None:
        self.path = path
        self._fingerprint = hashlib.sha256(canonical(problem).encode()).hexdigest()
        if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
            raise QuineFileError(f"{path} is not a file")
        self._records = self._read() if resume and path.exists() else []
        self.recorded = len(self._records)
        self._next, self._synced = 0, time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if self.recorded or (resume and path.exists()) else "wb")
            if self.recorded:
                self._file.seek(self._end)
                self._file.truncate()
            else:
                self._file.seek(0)
                self._file.truncate()
                self._file.write(self._header())
                self._file.flush()
        except OSError as error:
            raise QuineFileError(f"cannot write {path}: {error.strerror or error}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def discard(self) -> None:
        """Close and remove the file: the search has ended, and nothing is left to resume."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def __call__(
        self,
        kind: bytes,
        point: Tensor,
        evaluate: Callable[[], Tensor],
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return the recorded value of this evaluation, or evaluate and record it.

        Args:
            kind: one byte that tells the evaluations of a search apart.
            point: where it is evaluated.
            evaluate: computes the value.
            shape: of the value; a recorded one of another shape or type is refused. None: it is not checked.
            dtype: type of the value, by default the point's.

        Raises:
            QuineFileError: the record is of another evaluation.
        """
        key = hashlib.sha256(_bytes(point)).digest()
        if self._next < len(self._records):
            recorded_kind, recorded_key, value = self._records[self._next]
            if (recorded_kind, recorded_key) != (kind, key):
                raise QuineFileError(f"{self.path} was written by another run of this search: start without --resume")
            self._records[self._next] = (kind, key, torch.zeros(0))  # read once
            self._next += 1
            found = value
            if shape is not None and (found.shape, found.dtype) != (shape, dtype or point.dtype):
                raise QuineFileError(
                    f"{self.path} holds numbers that this search never computes: start without --resume"
                )
            return found.to(point.device)
        value = evaluate()
        self._append(kind, key, value)
        return value

    def _append(self, kind: bytes, key: bytes, value: Tensor) -> None:
        data = _bytes(value)
        code = next(code for code, dtype in _TYPES.items() if dtype == value.dtype)
        record = (
            _HEAD.pack(kind, key, code, value.ndim, len(data)) + struct.pack(f"<{value.ndim}Q", *value.shape) + data
        )
        self._file.write(record + struct.pack("<I", zlib.crc32(record)))
        self._file.flush()  # survives the death of the process; the disk's own cache is emptied now and then
        if time.monotonic() - self._synced > _SYNC:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _header(self) -> bytes:
        return (json.dumps({"neuralquine-journal": _FORMAT, "problem": self._fingerprint}) + "\n").encode()

    def _read(self) -> list[tuple[bytes, bytes, Tensor]]:
        """The records, from the file as it is mapped: no more memory is taken than they hold."""
        header = self._header()
        try:
            with self.path.open("rb") as file:
                first = file.read(len(header))
                if first != header:
                    if header.startswith(first):
                        return []  # killed before the first line was whole
                    ours = first.startswith(b'{"neuralquine-journal"')
                    what = "belongs to another problem or other options" if ours else "is not a journal of neuralquine"
                    raise QuineFileError(f"{self.path} {what}: start without --resume")
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                    return self._parsed(data, len(header))
        except (OSError, ValueError, OverflowError) as error:
            raise QuineFileError(f"cannot read {self.path}: {getattr(error, 'strerror', None) or error}") from error

    def _parsed(self, data: memoryview, at: int) -> list[tuple[bytes, bytes, Tensor]]:
        records = []
        while (record := _parse(data, at)) is not None:
            kind, key, value, at = record
            records.append((kind, key, value))
        self._end = at
        return records


def _parse(data: memoryview, at: int) -> tuple[bytes, bytes, Tensor, int] | None:
    """The record at an offset and where the next one begins; None if the record is cut off or damaged."""
    if at + _HEAD.size > len(data):
        return None
    kind, key, code, ndim, size = _HEAD.unpack_from(data, at)
    body = at + _HEAD.size + 8 * ndim
    stop = body + size
    if code not in _TYPES or ndim > 3 or stop + 4 > len(data):
        return None
    shape, kind_of_number = struct.unpack_from(f"<{ndim}Q", data, at + _HEAD.size), np.dtype(_NUMBERS[code])
    if math.prod(shape) * kind_of_number.itemsize != size:
        return None
    if zlib.crc32(data[at:stop]) != struct.unpack_from("<I", data, stop)[0]:
        return None
    value = np.frombuffer(data[body:stop], kind_of_number).reshape(shape).copy()
    return kind, key, torch.from_numpy(value).view(_TYPES[code]), stop + 4


def _bytes(t: Tensor) -> bytes:
    t = t.detach().cpu().contiguous()
    return (t.view(torch.int16) if t.dtype in (torch.float16, torch.bfloat16) else t).numpy().tobytes()
