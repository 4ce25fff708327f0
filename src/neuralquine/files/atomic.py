"""Atomic writes: a reader, or a crash at any moment, finds the old file or the new one and nothing between."""

from __future__ import annotations

import contextlib
import ctypes
import errno
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

    A symbolic link is followed: the folder that it names is replaced, and the link stays. On Linux the two folders are
    exchanged in one system call. Elsewhere the old one is moved aside first, and a crash between the two moves leaves it
    beside, under a name that starts with ``.NAME.old``. A mount point and the current folder cannot be moved: their files
    are replaced one by one, after all new ones have been written beside them.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    fixed = target.is_dir() and (os.path.ismount(target) or os.path.samefile(target, os.curdir))
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=None if fixed else target.parent))
    try:
        yield folder
        mask = _umask()
        os.chmod(folder, 0o777 & ~mask)
        for path in sorted(folder.rglob("*")):
            os.chmod(path, (0o777 if path.is_dir() else 0o666) & ~mask)
            _sync(path)
        _sync(folder)
        if fixed:
            _refill(target, folder)
        elif not target.exists():
            os.rename(folder, target)
        elif _exchange(folder, target):
            shutil.rmtree(folder)
        else:
            _swap_by_moves(target, folder)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def replace_file(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target``; on success it takes the place of ``target``, on failure it is removed.

    A symbolic link is followed: the file that it names is replaced, and the link stays.

    Raises:
        FileExistsError: a folder, a device or a pipe is there.
    """
    target = Path(os.path.realpath(target))
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "there is something that is no file", str(target))
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


def _swap_by_moves(target: Path, folder: Path) -> None:
    """Move the old folder aside and the new one to its place; a move that fails leaves the old one where it was."""
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    try:
        os.rename(target, old)
        try:
            os.rename(folder, target)
        except OSError:
            os.rename(old, target)
            raise
    except OSError:
        with contextlib.suppress(OSError):
            old.rmdir()  # empty unless it could not be moved back, and then it is all that is left
        raise
    shutil.rmtree(old)


def _refill(target: Path, folder: Path) -> None:
    """Give a folder that cannot be moved the files of another one, and remove those that it had."""
    copies: dict[Path, Path] = {}
    try:
        for path in sorted(folder.iterdir()):
            copy = target / f".{path.name}.new"
            copies[copy] = target / path.name
            shutil.copy(path, copy)
            _sync(copy)
        for copy, place in copies.items():
            os.replace(copy, place)
    except BaseException:
        for copy in copies:
            copy.unlink(missing_ok=True)
        raise
    for path in set(target.iterdir()) - set(copies.values()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(folder)


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
