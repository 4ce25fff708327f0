"""The shelf: what it keeps, and that what goes leaves no file."""

import asyncio
import zipfile

import pytest

from neuralquine.errors import NeuralQuineError
from neuralquine.lab.jobs import KEPT, Jobs
from neuralquine.lab.shelf import Shelf


def filled(shelf, count):
    for _ in range(count):
        entry = shelf.reserve()
        entry.folder.mkdir()
        (entry.folder / "config.json").write_text(entry.id)
        shelf.put(entry, {"title": entry.id})


def test_what_makes_room_leaves_no_file(tmp_path):
    shelf = Shelf(tmp_path)
    filled(shelf, 12)
    first = shelf.get("q1")

    async def make(path):
        path.write_text("graph")

    async def kept():
        await shelf.archive(first)
        await shelf.archive(shelf.get("q11"))
        await shelf.made(first, "onnx", make)

    asyncio.run(kept())
    assert {p.name.split(".")[0] for p in tmp_path.iterdir() if p.is_file()} == {"q1", "q11"}
    filled(shelf, 13)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("q1.") or p.name == "q1"] == []
    assert any(p.name.startswith("q11.") for p in tmp_path.iterdir())
    with pytest.raises(NeuralQuineError, match="there is no quine 'q1'"):
        shelf.get("q1")


def test_an_archive_is_made_once_and_anew_when_the_folder_has_changed(tmp_path):
    shelf = Shelf(tmp_path)
    filled(shelf, 1)
    entry = shelf.get("q1")

    async def packed():
        found = []
        for _ in range(2):
            found.append(set(await asyncio.gather(*(shelf.archive(entry) for _ in range(20)))))
            stamps.append(next(iter(found[0])).stat().st_mtime_ns)
            entry.certificate.write_text("{}")
        return found

    stamps = []
    (before,), (after,) = asyncio.run(packed())
    (stamp,) = set(stamps)
    assert before.stat().st_mtime_ns == stamp  # somebody may still be reading it
    assert zipfile.ZipFile(before).namelist() == ["quine-q1/config.json"]
    assert zipfile.ZipFile(after).namelist() == ["quine-q1/certificate.json", "quine-q1/config.json"]


def test_a_folder_that_has_gone_is_one_line(tmp_path):
    shelf = Shelf(tmp_path)
    filled(shelf, 1)
    entry = shelf.get("q1")

    async def gone(path):
        (entry.folder / "config.json").unlink()
        entry.folder.rmdir()
        await asyncio.to_thread(path.write_text, "x")

    asyncio.run(shelf.made(entry, "first", gone))
    files = [entry.folder / "config.json"]
    from neuralquine.lab.shelf import _zipped

    with pytest.raises(NeuralQuineError, match="q1 cannot be packed"):
        _zipped(tmp_path / "q1.partial.zip", entry, files)
    assert not (tmp_path / "q1.partial.zip").exists()


def test_a_job_that_is_forgotten_says_so():
    async def forgotten():
        gone = []
        jobs = Jobs(None, lambda job: gone.append(job.id))
        for _ in range(KEPT + 3):
            jobs.add("zoo", {}, "", 1.0, lambda result: result).state = "done"
        return gone

    assert asyncio.run(forgotten()) == ["j1", "j2", "j3"]
