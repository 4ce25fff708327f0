"""The configuration of a folder: which kind of quine it describes, and which keys are checked before anything is built."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import neuralquine as nq
from neuralquine.files.folder import kind_of, read_config, sha256
from neuralquine.files.strict_json import canonical

FOLDERS = Path(__file__).resolve().parents[1] / "golden" / "folders"
KINDS = {
    "blog": "coded",
    "hadamard": "coded",
    "elman": "queried",
    "queried-121": "queried",
    "own-table": "queried",
    "tape": "signs",
    "bias-tape": "bias",
}


def forged(folder, target, changes, *removed):
    """A copy of a folder with other keys, as a careful liar or a later version would write it."""
    with safe_open(folder / "model.safetensors", framework="np") as file:
        config = json.loads(file.metadata()["neuralquine"])
    config = {key: value for key, value in (config | changes).items() if key not in removed}
    target.mkdir()
    weights = target / "model.safetensors"
    save_file(load_file(folder / "model.safetensors"), weights, metadata={"neuralquine": canonical(config)})
    (target / "config.json").write_text(json.dumps(config | {"weights_sha256": sha256(weights)}))
    return target


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_kind_of_a_folder_of_format_1(name, kind):
    assert kind_of(read_config(FOLDERS / name)) == kind


def test_a_folder_that_was_written_before_there_were_kinds_is_coded(tmp_path):
    folder = forged(FOLDERS / "blog", tmp_path / "q", {}, "queries", "tape", "width", "scale")
    config = read_config(folder)
    assert kind_of(config) == "coded"
    assert (config["queries"], config["tape"], config["width"], config["scale"]) == (None, None, None, 1.0)
    assert nq.load(folder).theta.equal(nq.load(FOLDERS / "blog").theta)


def test_a_later_kind_is_not_refused_before_it_is_asked(tmp_path):
    folder = forged(
        FOLDERS / "blog", tmp_path / "q", {"kind": "hyper", "expansion": "hyper", "hyper": {"depth": 3}}, "tape"
    )
    config = read_config(folder)
    assert kind_of(config) == "hyper"
    assert config["hyper"] == {"depth": 3}


@pytest.mark.parametrize("name", ["blog", "queried-121", "tape", "bias-tape"])
def test_a_kind_may_be_named_only_as_it_is(name, tmp_path):
    own = KINDS[name]
    assert kind_of(read_config(forged(FOLDERS / name, tmp_path / "own", {"kind": own}))) == own
    for number, kind in enumerate({*KINDS.values(), "", 3, None} - {own}):
        with pytest.raises(nq.QuineFileError, match="malformed 'kind'"):
            read_config(forged(FOLDERS / name, tmp_path / str(number), {"kind": kind}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dtype", "float8"),
        ("seed", True),
        ("means", [0, "x"]),
        ("tensors", [["a", [1], 2]]),
        ("expansion", 7),
        ("queries", "coordinates"),
        ("tape", {"kind": "signs", "repeats": 2}),
        ("scale", None),
        ("width", 0),
    ],
)
def test_a_malformed_key_is_named(key, value, tmp_path):
    with pytest.raises(nq.QuineFileError, match=f"malformed '{key}'"):
        read_config(forged(FOLDERS / "blog", tmp_path / "q", {key: value}))
    if key not in ("queries", "tape", "width", "scale"):  # which older folders lack
        with pytest.raises(nq.QuineFileError, match=f"malformed '{key}'"):
            read_config(forged(FOLDERS / "blog", tmp_path / "missing", {}, key))


def test_queries_of_an_unknown_name_are_refused_by_the_quine_itself(tmp_path):
    folder = forged(FOLDERS / "queried-121", tmp_path / "q", {"queries": "sinusoidl"})
    assert kind_of(read_config(folder)) == "queried"
    with pytest.raises(nq.QuineFileError, match="did you mean 'sinusoidal'") as caught:
        nq.load(folder)
    assert "\n" not in str(caught.value)
