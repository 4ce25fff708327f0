"""Quines that were kept and come back: whatever is uploaded is untrusted, and verified anew."""

import contextlib
import io
import json
import re
import zipfile

import pytest

pytest.importorskip("starlette")

import neuralquine as nq
from neuralquine.errors import BadOption
from neuralquine.files.names import CONFIG, WEIGHTS
from neuralquine.lab import opened


def packed(files, method=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return data.getvalue()


PAIR = [("quine-q1/" + CONFIG, "{}"), ("quine-q1/" + WEIGHTS, "w")]


def test_only_the_two_files_of_a_quine_are_written_and_only_into_the_folder(tmp_path):
    place = tmp_path / "in"
    place.mkdir()
    opened.unpack(packed([*PAIR, ("../evil", "x"), ("/abs/README.md", "x"), ("quine-q1/solution.json", "x")]), place)
    opened_files = {f.relative_to(tmp_path).as_posix() for f in tmp_path.rglob("*") if f.is_file()}
    assert opened_files == {f"in/{CONFIG}", f"in/{WEIGHTS}"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no zip", "no zip file"),
        (packed(PAIR)[:-30], "no zip file"),
        (packed(PAIR[:1]), f"it holds {WEIGHTS} 0 times"),
        (packed([*PAIR, ("other/" + CONFIG, "{}")]), f"it holds {CONFIG} 2 times"),
        (packed([PAIR[0], ("../../" + WEIGHTS + "/x", "w")]), f"it holds {WEIGHTS} 0 times"),
    ],
)
def test_another_archive_is_refused_in_one_line(data, words, tmp_path):
    with pytest.raises(BadOption, match=words) as raised:
        opened.unpack(data, tmp_path)
    assert "\n" not in str(raised.value)


def test_a_bomb_is_read_no_further_than_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "MAX_ARCHIVE", 1 << 20)
    data = packed([PAIR[0], (WEIGHTS, bytes(5 << 20))])
    assert len(data) < 1 << 14
    with pytest.raises(BadOption, match="larger than 1 MiB"):
        opened.unpack(data, tmp_path)


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_an_archive_with_a_flipped_byte_is_read_or_refused(place, tmp_path):
    data = bytearray(packed([(CONFIG, json.dumps(list(range(60)))), (WEIGHTS, bytes(range(60)))]))
    data[place % len(data)] ^= 0x55
    with contextlib.suppress(BadOption):  # nothing else may be raised
        opened.unpack(bytes(data), tmp_path)


def test_folders_are_listed_and_looked_up_never_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert opened.folders() == []
    for name in ("a", "b"):
        (tmp_path / "quines" / name).mkdir(parents=True)
    (tmp_path / "quines" / "a" / CONFIG).write_text("{}")
    assert opened.folders() == ["a"]
    assert opened.folder("a") == opened.HOME / "a"
    for name in ("b", "..", "../quines/a", "/etc", ""):
        with pytest.raises(BadOption, match="holds no quine of that name"):
            opened.folder(name)


def test_a_lie_of_the_folder_about_itself_is_not_taken_over(tmp_path):
    from neuralquine.lab.search import reopen

    quine = nq.recipe("blog", seed=3)
    nq.save(quine, tmp_path / "kept")
    (tmp_path / "kept" / "solution.json").write_text(json.dumps({"verification": {"is_quine": True}}))
    told = reopen(print, source=str(tmp_path / "kept"), folder=str(tmp_path / "again"))
    assert not told["verification"]["is_quine"]
    assert told["title"] == "blog, seed 3, opened"
    assert nq.load(tmp_path / "again").theta.equal(quine.theta)


def test_every_panel_leads_to_its_place_in_the_documents():
    from neuralquine.lab.app import STATIC

    page, documents = ((STATIC / name).read_text() for name in ("index.html", "documents.html"))
    anchors = set(re.findall(r'id="([^"]+)"', documents))
    assert len(linked := re.findall(r"/static/documents\.html#([\w-]+)", page)) >= 5
    assert set(linked) <= anchors
    assert not anchors & set(re.findall(r"#([\w-]+)", (STATIC / "style.css").read_text()))  # its styles are the lab's
