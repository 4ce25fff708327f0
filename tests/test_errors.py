"""What a message advises can be typed as it stands."""

import shlex
import sys
from importlib import metadata
from pathlib import Path

import pytest

from neuralquine.errors import NeuralQuineError, installing, needed

CLONE = '{"url": "file:///home/me/my%20clone", "dir_info": {"editable": true}}'


@pytest.fixture
def installed(monkeypatch):
    """Pretends that the package was installed in a way, seen from a virtual environment that is active."""

    def pretend(origin, cwd="/"):
        monkeypatch.setattr(Path, "cwd", lambda: Path(cwd))
        monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
        found = type("Found", (), {"read_text": lambda self, name: origin})()
        monkeypatch.setattr(metadata, "distribution", lambda name: found)

    return pretend


@pytest.mark.parametrize(
    ("origin", "cwd", "words"),
    [
        (None, "/", ["neuralquine[plot]"]),  # from an index
        (CLONE, "/", ["-e", "home/me/my clone[plot]"]),
        (CLONE, "/home/me/my clone", ["-e", ".[plot]"]),
        (CLONE, "/elsewhere", ["-e", "/home/me/my clone[plot]"]),
        (CLONE.replace("true", "false"), "/elsewhere", ["/home/me/my clone[plot]"]),
        ('{"url": "https://host/q.whl", "archive_info": {}}', "/", ["neuralquine[plot] @ https://host/q.whl"]),
        ("nothing that is JSON", "/", ["neuralquine[plot]"]),
    ],
)
def test_an_extra_is_added_to_the_installation_that_is_there(installed, origin, cwd, words):
    installed(origin, cwd)
    assert shlex.split(installing("plot")) == ["pip", "install", *words]


def test_outside_of_an_active_environment_its_own_pip_is_named(installed, monkeypatch, tmp_path):
    installed(None, str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("VIRTUAL_ENV")
    assert installing("plot") == "bin/pip install 'neuralquine[plot]'"


def test_a_missing_library_is_named_with_the_command_that_installs_it():
    with pytest.raises(NeuralQuineError) as refused:
        needed("no_such_library.part", "plot", "figures need")
    assert str(refused.value) == f"figures need no_such_library: {installing('plot')}"
