"""Strict JSON: what is refused on reading, and the one spelling on writing."""

import json
import math

import pytest

import neuralquine as nq
from neuralquine.files.strict_json import canonical, finite_or_none, read_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "does not hold a JSON object"),
        ('{"a": 1', "is not readable JSON"),
        ('{"a": NaN}', "it holds NaN"),
        ('{"a": -Infinity}', "it holds -Infinity"),
        ('{"a": 1e400}', "it holds 1e400"),
        ('{"a": 1, "a": 2}', "it names a key twice"),
        ('{"a": {"b": 1, "b": 1}}', "it names a key twice"),
        ("[" * 100_000, "is not readable JSON"),
    ],
)
def test_what_is_not_strict_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(nq.QuineFileError, match=message) as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_so_are_a_folder_and_a_file_that_is_missing_or_too_large(tmp_path):
    with pytest.raises(nq.QuineFileError, match="is missing"):
        read_json(tmp_path / "x.json")
    with pytest.raises(nq.QuineFileError, match="is not a file"):
        read_json(tmp_path)
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(nq.QuineFileError, match="larger than 16 MiB"):
        read_json(tmp_path / "x.json")


def test_equal_objects_have_one_spelling_that_reads_back(tmp_path):
    one, other = {"b": [1, 0.1], "a": {"d": None, "c": "ü"}}, {"a": {"c": "ü", "d": None}, "b": [1, 0.1]}
    assert canonical(one) == canonical(other) == '{"a":{"c":"\\u00fc","d":null},"b":[1,0.1]}'
    (tmp_path / "x.json").write_text(canonical(one))
    assert read_json(tmp_path / "x.json") == one
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical({"a": math.inf})


def test_nan_and_infinity_become_null_and_nothing_else_does():
    values = [math.nan, math.inf, -math.inf, 0.0, 1.5, 7, True, None, "NaN"]
    assert [finite_or_none(v) for v in values] == [None, None, None, 0.0, 1.5, 7, True, None, "NaN"]
    assert json.loads(json.dumps(finite_or_none(math.nan), allow_nan=False)) is None
