"""Writing that is seen whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from neuralquine.files import atomic
from neuralquine.files.atomic import replace_file, replace_folder


def half_written(replace, target, reason, name=None):
    """Start to replace something, and fail."""
    with replace(target) as path:
        (path / name if name else path).write_text("half")
        raise reason


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchanging(request, monkeypatch):
    """Both ways of taking an older folder's place."""
    if not request.param:
        monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)


@pytest.mark.usefixtures("exchanging")
def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    target = tmp_path / "deep" / "quine"
    for text in ("first", "second"):
        with replace_folder(target) as folder:
            assert folder.parent == target.parent
            (folder / "figures").mkdir()
            (folder / "figures" / text).write_text(text)
        assert contents(target) == {f"figures/{text}": text}
    assert [p.name for p in target.parent.iterdir()] == ["quine"]


@pytest.mark.usefixtures("exchanging")
@pytest.mark.parametrize("reason", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path, reason):
    target = tmp_path / "quine"
    with replace_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(reason):
        half_written(replace_folder, target, reason, "a")
    assert contents(tmp_path) == {"quine/a": "old"}


def test_a_failure_leaves_no_folder_where_there_was_none(tmp_path):
    with pytest.raises(ValueError, match="half way"):
        half_written(replace_folder, tmp_path / "quine", ValueError("half way"), "a")
    assert list(tmp_path.iterdir()) == []


def test_until_the_end_readers_see_the_old_folder(tmp_path):
    target = tmp_path / "quine"
    with replace_folder(target) as folder:
        (folder / "a").write_text("old")
    with replace_folder(target) as folder:
        (folder / "a").write_text("new")
        assert contents(target) == {"a": "old"}
    assert contents(target) == {"a": "new"}


def test_a_relative_name_is_meant_where_the_writer_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with replace_folder(type(tmp_path)("quine")) as folder:
        (folder / "a").write_text("here")
        monkeypatch.chdir(tmp_path / "other")
    assert contents(tmp_path) == {"quine/a": "here"}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_what_is_written_has_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with replace_folder(tmp_path / "quine") as folder:
            (folder / "a").write_text("a")
        with replace_file(tmp_path / "b.txt") as path:
            path.write_text("b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "quine").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "b.txt").stat().st_mode) == 0o640
    assert os.umask(before) == before


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "digits.txt"
    with replace_file(target) as path:
        assert path.suffix == ".txt"  # matplotlib chooses the format by it
        path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        half_written(replace_file, target, OSError("disk full"))
    assert contents(tmp_path) == {"new/digits.txt": "old"}
    with replace_file(target) as path:
        path.write_text("new")
    assert contents(tmp_path) == {"new/digits.txt": "new"}


def test_a_process_killed_while_writing_leaves_the_old_folder(tmp_path):
    target = tmp_path / "quine"
    with replace_folder(target) as folder:
        (folder / "a").write_text("old")
    code = (
        "import os, pathlib, sys; from neuralquine.files.atomic import replace_folder\n"
        "with replace_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'a').write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)], timeout=600).returncode == 9
    assert contents(target) == {"a": "old"}


# -- links, and places that cannot be moved ---------------------------------------------------------------------------


def test_a_link_is_followed_and_stays(exchanging, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("old")
    os.symlink("real", tmp_path / "latest")
    with replace_folder(tmp_path / "latest") as path:
        (path / "a").write_text("new")
    assert (tmp_path / "latest").is_symlink()
    assert contents(tmp_path / "real") == {"a": "new"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "real"]


def test_a_link_to_nothing_is_filled(tmp_path):
    os.symlink("real", tmp_path / "latest")
    with replace_folder(tmp_path / "latest") as path:
        (path / "a").write_text("new")
    assert (tmp_path / "latest").is_symlink()
    assert contents(tmp_path / "real") == {"a": "new"}


def test_a_link_to_a_file_is_followed(tmp_path):
    os.symlink("real.txt", tmp_path / "latest.txt")
    with replace_file(tmp_path / "latest.txt") as path:
        path.write_text("new")
    assert (tmp_path / "latest.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.parametrize("where", [".", "mount"])
def test_a_folder_that_cannot_be_moved_is_refilled(where, tmp_path, monkeypatch):
    place = tmp_path / "place"
    (place / "figures").mkdir(parents=True)
    (place / "a").write_text("old")
    (place / "b").write_text("old")
    monkeypatch.chdir(place if where == "." else tmp_path)
    if where == "mount":
        monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(place))
    with replace_folder(place if where == "mount" else Path(".")) as path:
        (path / "a").write_text("new")
    assert contents(place) == {"a": "new"}
    assert sorted(p.name for p in place.iterdir()) == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["place"]
    with pytest.raises(OSError, match="full"):
        half_written(replace_folder, place, OSError("full"), "a")
    assert contents(place) == {"a": "new"}


def test_a_folder_that_cannot_be_moved_aside_leaves_no_litter(tmp_path, monkeypatch):
    (tmp_path / "q").mkdir()
    monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    rename = os.rename

    def busy(a, b):
        if str(a) == str(tmp_path / "q"):
            raise OSError(16, "Device or resource busy")
        rename(a, b)

    monkeypatch.setattr(os, "rename", busy)
    with pytest.raises(OSError, match="busy"), replace_folder(tmp_path / "q") as path:
        (path / "a").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["q"]


def test_a_device_or_a_folder_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", tmp_path):
        with pytest.raises(FileExistsError), replace_file(target) as path:
            path.write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_everything_in_a_new_folder_is_readable_as_the_umask_says(tmp_path):
    with replace_folder(tmp_path / "q") as path:
        (path / "a").write_text("new")
        (path / "a").chmod(0o600)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "q/a").stat().st_mode) == 0o666 & ~mask
