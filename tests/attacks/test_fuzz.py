"""Folders forged by the hundred: each is refused in one line, or loads and gets a verdict; no traceback, no signal."""

import collections
import json
import sys
from pathlib import Path

import pytest

import forked
from attacks import fuzz

SCRIPT = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    fuzz.make(place)
    return place


def ends(work, first, count):
    """How many folders came to which end; a process that dies by a signal is started anew after the folder that did it."""
    found, odd, last = collections.Counter(), [], first + count
    while first < last:
        command = [sys.executable, "-c", SCRIPT, fuzz.__file__, str(work), str(first), str(last - first)]
        done = forked.run(command, capture_output=True, text=True, timeout=25 * count)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            if line["end"] != "begun":
                found[line["end"] + (" as a quine" if line.get("quine") else "")] += 1
                odd += [line] if line["end"] in ("traceback", "ugly") else []
        if done.returncode == 0:
            break
        found["died"] += 1
        odd.append(
            {"number": lines[-1]["number"] if lines else first, "end": done.returncode, "text": done.stderr[-500:]}
        )
        first = odd[-1]["number"] + 1
    return found, odd


def test_seventy_forged_folders(work):
    found, odd = ends(work, 0, 70)
    assert odd == []
    assert found["refused"] > 35
    assert found["loaded"] > 2  # or nothing deeper than the gate was tried


@pytest.mark.slow
def test_ten_thousand_forged_folders(work):
    found, odd = collections.Counter(), []
    for first in range(1000, 11_000, 500):
        more, strange = ends(work, first, 500)
        found, odd = found + more, odd + strange
    print(dict(found))
    assert odd == []


def test_a_traceback_would_be_found(work):
    assert Path(fuzz.__file__).exists()
    found, odd = ends(work / "nowhere", 0, 1)
    assert found["died"] == 1
    assert odd
