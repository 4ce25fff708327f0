"""Atomic writes: a reader, or a crash at any moment, finds the old file or the new one and nothing between."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``; on success it takes the place of ``target``, on failure it is removed.

    On Linux the two folders are exchanged in one system call. Elsewhere the old one is moved aside first, and a
    crash between the two moves leaves it beside, under a name that starts with ``.NAME.old``.
    """
    target = Path(os.path.abspath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        yield folder
        os.chmod(folder, 0o777 & ~_umask())
        for path in sorted(folder.rglob("*")):
            _sync(path)
        _sync(folder)
        if not target.exists():
            os.rename(folder, target)
        elif _exchange(folder, target):
            shutil.rmtree(folder)
        else:
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
            os.rename(target, old)
            os.rename(folder, target)
            shutil.rmtree(old)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target``; on success it takes the place of ``target``, on failure it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}.new-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    path = Path(name)
    try:
        yield path
        os.chmod(path, 0o666 & ~_umask())
        _sync(path)
        os.replace(path, target)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders atomically (Linux ``renameat2``); False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0
