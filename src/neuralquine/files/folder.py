"""Reading a quine's folder without torch: the configuration, checked against the weights it was written with."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import QuineFileError, first_line

FORMAT = 1
WEIGHTS, CONFIG, SOLUTION, CARD = "model.safetensors", "config.json", "solution.json", "README.md"
METRICS = "metrics.jsonl"
METADATA_KEY = "neuralquine"
FUNCTION = {"function": True}  # stands for a select= that no file can hold
DTYPES = ("float64", "float32", "bfloat16", "float16")
_MAX_JSON = 16 << 20


def read_config(folder: Path) -> dict[str, Any]:
    """The checked configuration of a folder: it fits the weights file, which is what was written."""
    if not folder.is_dir():
        raise QuineFileError(f"{folder} is not a folder with a quine in it")
    config = read_json(folder / CONFIG)
    stated = config.pop("weights_sha256", None)
    if config.get("format") != FORMAT:
        raise QuineFileError(
            f"{folder / CONFIG} has format {str(config.get('format'))[:20]!r}, this version reads {FORMAT}"
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise QuineFileError(f"{weights} is missing")
    try:
        if stated != sha256(weights):
            raise QuineFileError(
                f"{weights} is not the file that {CONFIG} was written with: it was altered or cut short"
            )
        with safe_open(weights, framework="np") as file:
            inner = (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise QuineFileError(f"{weights} is not a readable safetensors file: {first_line(error)}") from error
    if inner != canonical(config):
        raise QuineFileError(
            f"{folder / CONFIG} is not the configuration that {WEIGHTS} was written with: it was altered"
        )
    _check(config, folder / CONFIG)
    return config


def _check(config: dict[str, Any], where: Path) -> None:
    """Every key that is used, type by type."""

    def number(v: Any) -> bool:
        return isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)

    def integer(v: Any) -> bool:
        return isinstance(v, int) and not isinstance(v, bool)

    def tape(v: Any) -> bool:
        known = isinstance(v, dict) and set(v) == {"kind", "repeats"} and v["kind"] in ("signs", "bias")
        return known and integer(v["repeats"]) and 1 <= v["repeats"] <= 1024

    rules = {
        "dtype": lambda v: isinstance(v, str) and v in DTYPES,
        "code_size": lambda v: integer(v) and 1 <= v <= 2**20,
        "code_bits": lambda v: v is None or (integer(v) and 0 <= v <= 60),
        "tensors": lambda v: (
            isinstance(v, list)
            and all(isinstance(t, list) and len(t) == 2 and isinstance(t[0], str) and isinstance(t[1], list) for t in v)
        ),
        "seed": lambda v: integer(v) and 0 <= v < 2**64,
        "normalize": lambda v: isinstance(v, bool),
        "eps": lambda v: number(v) and v >= 0,
        "means": lambda v: isinstance(v, list) and all(number(m) for m in v),
        "gains": lambda v: isinstance(v, list) and all(number(g) for g in v),
        "select": lambda v: v is None or integer(v) or isinstance(v, str) or v == FUNCTION,
        "probe": lambda v: (
            (integer(v) and 0 <= v < 1000) or (isinstance(v, list) and all(isinstance(n, str) for n in v))
        ),
        "trunk": lambda v: v is None or isinstance(v, dict),
        "skip": lambda v: v is None or (number(v) and 0 <= v <= 1e6),
        "expansion": lambda v: v in ("gaussian", "hadamard", "direct", "tape"),
        "queries": lambda v: v is None or v == "table" or isinstance(v, str),
        "tape": lambda v: v is None or tape(v),
        "width": lambda v: v is None or (integer(v) and 1 <= v <= 2**20),
        "scale": lambda v: number(v),
        "kept": lambda v: isinstance(v, list) and all(isinstance(n, str) for n in v),
        "trunk_class": lambda v: isinstance(v, str),
        "recipe": lambda v: v is None or isinstance(v, dict),
    }
    for key, value in (
        ("queries", None),
        ("tape", None),
        ("width", None),
        ("scale", 1.0),
    ):  # written before there were any
        config.setdefault(key, value)
    if (config.get("expansion") == "direct") != (config["queries"] is not None):
        raise QuineFileError(f"{where} has a malformed 'queries'")
    if (config.get("expansion") == "tape") != (config["tape"] is not None):
        raise QuineFileError(f"{where} has a malformed 'tape'")
    for key, rule in rules.items():
        if key not in config or not rule(config[key]):
            raise QuineFileError(f"{where} has a malformed {key!r}")


def kind_of(config: dict[str, Any]) -> str:
    """The kind of a folder's quine. Folders of format 1 tell it by the settings that they have."""
    if "kind" in config:
        return str(config["kind"])
    if config["queries"] is not None:
        return "queried"
    return "coded" if config["tape"] is None else str(config["tape"]["kind"])


def canonical(data: dict[str, Any]) -> str:
    """JSON in one spelling, so that equal configurations are equal texts."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from an untrusted file: bounded, strict, no NaN, no key twice."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise QuineFileError(f"{path} is not a file")
        if path.stat().st_size > _MAX_JSON:
            raise QuineFileError(f"{path} is larger than {_MAX_JSON >> 20} MiB: not a file of neuralquine")
        data = json.loads(
            path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique
        )
    except FileNotFoundError as error:
        raise QuineFileError(f"{path} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise QuineFileError(f"{path} is not readable JSON: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise QuineFileError(f"{path} does not hold a JSON object")
    return data


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):  # also 1e400, which JSON allows
        raise ValueError(f"it holds {text[:20]}")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("it names a key twice")
    return data
