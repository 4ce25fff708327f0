"""Keeping worlds: resumed is uninterrupted, and foreign or damaged states are refused."""

import json
import os
import shutil
import signal
import sys
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import forked
from neuralquine.errors import BadOption, QuineFileError, UnknownName
from neuralquine.evolution import life, live, world
from neuralquine.evolution.life import RESULT, STATE

parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("matplotlib")
OPTIONS = {"size": 6, "train": 2, "melt": 0.3, "attack": 0.3, "learn": 0.3}


def soup(generations=6, **options):
    return world("soup", seed=3, generations=generations, **(OPTIONS | options))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of a world that has lived for two generations."""
    folder = tmp_path_factory.mktemp("life") / "two"
    live(soup(2), folder)
    return folder


def table(folder):
    return parquet.read_table(folder / "particles.parquet").to_pydict()


def test_a_resumed_world_ends_as_an_uninterrupted_one(tmp_path):
    live(soup(), tmp_path / "whole")
    first = live(soup(2), tmp_path / "parts")
    assert first.generations == 2
    rest = live(soup(), tmp_path / "parts", resume=True)
    assert rest.generations == 6
    assert rest.finished
    assert str(table(tmp_path / "whole")) == str(table(tmp_path / "parts"))  # as text: NaN equals NaN
    a, b = (load_file(tmp_path / name / STATE) for name in ("whole", "parts"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k].nan_to_num(), b[k].nan_to_num()) for k in a)
    assert len(table(tmp_path / "whole")["w0"]) == 6 * 7


def test_killed_in_the_middle_it_goes_on_from_the_last_state(tmp_path, monkeypatch):
    monkeypatch.setattr(life, "EVERY", 0.0)
    live(soup(), tmp_path / "whole")

    def die(now):
        if now.age == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live(soup(), tmp_path / "cut", progress=die)
    assert not (tmp_path / "cut" / RESULT).exists()
    live(soup(), tmp_path / "cut", resume=True)
    assert str(table(tmp_path / "whole")) == str(table(tmp_path / "cut"))


def test_a_time_limit_begins_no_generation(tmp_path):
    stopped = live(soup(), tmp_path, time_limit=1e-9)
    assert stopped.generations == 0
    assert not stopped.finished


def test_other_options_another_seed_and_damage_are_refused(two, tmp_path):
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    with pytest.raises(QuineFileError, match="another world"):
        live(soup(attack=0.2), tmp_path, resume=True)
    with pytest.raises(QuineFileError, match="another world"):
        live(world("soup", seed=4, **OPTIONS), tmp_path, resume=True)
    with pytest.raises(QuineFileError, match="not a state"):
        live(soup(), tmp_path / "nothing", resume=True)
    path = tmp_path / STATE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(QuineFileError):
        live(soup(), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("theta", torch.zeros(5, 14)),
        ("theta", torch.zeros(6, 14, dtype=torch.float64)),
        ("age", torch.tensor(7)),
        ("age", torch.tensor(-1)),
        ("age", torch.tensor(2**62)),
        ("age", torch.tensor(torch.inf)),
        ("age", torch.tensor(2.0 + 1j)),
        ("age", torch.zeros(2, dtype=torch.int64)),
        ("history.theta", torch.zeros(18, 14, dtype=torch.float8_e4m3fn)),
        ("history.identity", torch.zeros(18)),
        ("history.kind", torch.zeros(3, dtype=torch.int8)),
        ("history.kind", torch.full((18,), 99, dtype=torch.int8)),
        ("more", torch.zeros(1)),
    ],
)
def test_a_forged_state_is_refused(two, tmp_path, name, value):
    from safetensors import safe_open

    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    path = tmp_path / STATE
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {name: value}, path, metadata=metadata)
    with pytest.raises(QuineFileError, match="start without --resume"):
        live(soup(), tmp_path, resume=True)


def test_a_state_that_is_no_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / STATE)
    with pytest.raises(QuineFileError, match="not a state"):
        live(soup(), tmp_path, resume=True)


def test_unknown_names_and_impossible_numbers_are_one_line():
    with pytest.raises(UnknownName, match="did you mean 'soup'"):
        world("soop")
    with pytest.raises(UnknownName, match="did you mean 'attack'"):
        world("soup", atack=0.1)
    with pytest.raises(BadOption, match="world soup refuses size=0: size must be at least 1, not 0"):
        world("soup", size=0)


def test_the_command_line_resumes_what_was_killed(tmp_path):
    words = [sys.executable, "-m", "neuralquine", "evolve", "soup", "--out", str(tmp_path / "out"), "--json"]
    options = ["-r", "size=5", "-r", "train=1", "--seed", "1"]
    with forked.Forked([*words, *options, "--generations", "1000000"], capture_output=True) as long:
        while long.poll() is None and not (tmp_path / "out" / STATE).exists():
            time.sleep(0.05)
        time.sleep(0.5)
        assert long.kill() == -signal.SIGKILL
    done = forked.run([*words, *options, "--generations", "3", "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["finished"] is True
    assert sum(data["result"]["classes"].values()) == 5
    assert (tmp_path / "out" / "soup.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "age", [torch.tensor(float("inf")), torch.tensor(1j), torch.tensor(2.0), torch.tensor(-1), torch.tensor(2**62)]
)
def test_an_age_that_is_none_is_refused(age, two, tmp_path):
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    with safe_open(tmp_path / STATE, framework="np") as file:
        metadata = file.metadata()
    save_file(load_file(tmp_path / STATE) | {"age": age}, tmp_path / STATE, metadata)
    with pytest.raises(QuineFileError, match="start without --resume"):
        live(soup(), tmp_path, resume=True)


def test_a_history_of_another_type_is_refused(two, tmp_path):
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    with safe_open(tmp_path / STATE, framework="np") as file:
        metadata = file.metadata()
    kept = load_file(tmp_path / STATE)
    name = next(n for n, t in kept.items() if n.startswith("history.") and t.is_floating_point())
    save_file(kept | {name: kept[name].to(torch.float8_e4m3fn)}, tmp_path / STATE, metadata)
    with pytest.raises(QuineFileError, match="another type"):
        live(soup(), tmp_path, resume=True)
