"""A quine's folder, read without torch: its configuration is checked against the weights it was written with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import QuineFileError, first_line
from .names import CONFIG, WEIGHTS
from .strict_json import canonical, read_json

FORMAT = 1
METADATA_KEY = "neuralquine"
FUNCTION = {"function": True}  # stands for a select= that no file can hold
DTYPES = ("float64", "float32", "bfloat16", "float16")
TAPES = ("signs", "bias")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a folder and check that it is the one its weights were written with.

    Every key that all kinds of quines share is checked here, type by type. The keys of one kind alone are checked for
    the kinds of format 1; a later kind checks its own keys when the quine is rebuilt.

    Raises:
        QuineFileError: a file is missing, altered or malformed.
    """
    return read_hashed(folder)[0]


def read_hashed(folder: Path) -> tuple[dict[str, Any], str]:
    """The configuration of a folder, as :func:`read_config` reads it, and the hash of its weights, which was compared."""
    if not folder.is_dir():
        inside = f": name the folder, {folder.parent}" if folder.name in (CONFIG, WEIGHTS) and folder.is_file() else ""
        raise QuineFileError(f"{folder} is not a folder with a quine in it{inside}")
    where, weights = folder / CONFIG, folder / WEIGHTS
    config = read_json(where)
    stated = config.pop("weights_sha256", None)
    if config.get("format") != FORMAT:
        raise QuineFileError(f"{where} has format {str(config.get('format'))[:20]!r}, this version reads {FORMAT}")
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
        raise QuineFileError(f"{where} is not the configuration that {WEIGHTS} was written with: it was altered")
    config = _ABSENT_AT_FIRST | config
    _check(config, where)
    return config, str(stated)


def kind_of(config: dict[str, Any]) -> str:
    """Name the kind of quine that a configuration describes.

    Returns:
        ``config["kind"]`` where it is given. The folders of format 1 give none, and the keys that they have say it:
        ``"signs"`` or ``"bias"`` for a network that reads its code from such a tape, ``"queried"`` for one that is
        asked for its weights one by one, and ``"coded"`` for one whose code is expanded.
    """
    if "kind" in config:
        return config["kind"]
    return _first_kind(config)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- what the values of a configuration may be ----------------------------------------------------------------------

Rule = Callable[[Any], bool]

_ABSENT_AT_FIRST = {"queries": None, "tape": None, "width": None, "scale": 1.0}
"""Keys that the first folders of format 1 lack, because there was one kind of quine, and what their absence means."""


_LARGEST = 1e36  # of any number: no network holds weights near it, and it can be squared in float64, held in float32
_MOST_TENSORS = 1 << 16  # of one file; the largest model in use has some thousand


def _number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool) and -_LARGEST <= v <= _LARGEST


def _integer(v: Any) -> bool:
    return isinstance(v, int) and not isinstance(v, bool)


def _name(v: Any) -> bool:
    return isinstance(v, str) and 0 < len(v) <= 64 and v.isprintable()  # it is repeated in messages


def _names(v: Any) -> bool:
    return isinstance(v, list) and all(isinstance(n, str) and n.isprintable() for n in v)


def _numbers(v: Any) -> bool:
    return isinstance(v, list) and all(_number(n) for n in v)


def _tensors(v: Any) -> bool:
    """Whether this is a list of names of tensors and their shapes."""
    pairs = isinstance(v, list) and len(v) <= _MOST_TENSORS and all(isinstance(t, list) and len(t) == 2 for t in v)
    return pairs and all(isinstance(n, str) and n.isprintable() and isinstance(shape, list) for n, shape in v)


def _tape(v: Any) -> bool:
    known = isinstance(v, dict) and set(v) == {"kind", "repeats"} and isinstance(v["kind"], str) and v["kind"] in TAPES
    return known and _integer(v["repeats"]) and 1 <= v["repeats"] <= 1024


_GENERAL: dict[str, Rule] = {
    "dtype": lambda v: isinstance(v, str) and v in DTYPES,
    "code_size": lambda v: _integer(v) and 1 <= v <= 2**20,
    "code_bits": lambda v: v is None or (_integer(v) and 0 <= v <= 60),
    "tensors": _tensors,
    "seed": lambda v: _integer(v) and 0 <= v < 2**64,
    "normalize": lambda v: isinstance(v, bool),
    "eps": lambda v: _number(v) and v >= 0,
    "means": _numbers,
    "gains": _numbers,
    "select": lambda v: v is None or (_integer(v) and abs(v) < 2**31) or _name(v) or v == FUNCTION,
    "probe": lambda v: (_integer(v) and 0 <= v < 1000) or (_names(v) and len(v) < 1000),
    "trunk": lambda v: v is None or isinstance(v, dict),
    "skip": lambda v: v is None or (_number(v) and 0 <= v <= 1e6),
    "expansion": _name,
    "kept": _names,
    "trunk_class": lambda v: isinstance(v, str),
    "recipe": lambda v: v is None or (isinstance(v, dict) and isinstance(v.get("name"), str)),
}
"""Keys that every folder has."""

_OPTIONAL: dict[str, Rule] = {
    "code_phase": lambda v: _integer(v) and 0 <= v < 2**32,
    "activation_bits": lambda v: _integer(v) and 0 <= v <= 40,
    "trunk_dtype": lambda v: v == "float64",
    "undescribed": lambda v: isinstance(v, str) and 0 < len(v) <= 200 and v.isprintable(),
}
"""Keys that stand in a folder only where they say something: a code whose grid is not moved has no phase."""

_FIRST_KINDS: dict[str, Rule] = {
    "queries": lambda v: v is None or _name(v),
    "tape": lambda v: v is None or _tape(v),
    "width": lambda v: v is None or (_integer(v) and 1 <= v <= 2**20),
    "scale": _number,
}
"""Keys that tell the kinds of format 1 apart, and the settings that one of these kinds alone has."""


def _check(config: dict[str, Any], where: Path) -> None:
    """Refuse a configuration with a key that is missing or malformed."""
    named = "kind" in config
    if named and not _name(config["kind"]):
        raise QuineFileError(f"{where} has a malformed 'kind'")
    later = named and config["kind"] not in ("coded", "queried", *TAPES)
    for key, rule in (_GENERAL if later else _GENERAL | _FIRST_KINDS).items():
        if key not in config or not rule(config[key]):
            raise QuineFileError(f"{where} has a malformed {key!r}")
    for key, rule in _OPTIONAL.items():
        if key in config and not rule(config[key]):
            raise QuineFileError(f"{where} has a malformed {key!r}")
    of_a_code = [key for key in ("activation_bits", "trunk_dtype") if key in config]
    if later:
        if of_a_code:
            raise QuineFileError(f"{where} has a malformed {of_a_code[0]!r}")
        return
    for key, expansion in (("queries", "direct"), ("tape", "tape")):
        if (config["expansion"] == expansion) != (config[key] is not None):
            raise QuineFileError(f"{where} has a malformed {key!r}")
    if of_a_code and _first_kind(config) != "coded":
        raise QuineFileError(f"{where} has a malformed {of_a_code[0]!r}")
    if "trunk_dtype" in config and config["dtype"] == config["trunk_dtype"]:
        raise QuineFileError(f"{where} has a malformed 'trunk_dtype'")
    if named and config["kind"] != _first_kind(config):
        raise QuineFileError(f"{where} has a malformed 'kind'")


def _first_kind(config: dict[str, Any]) -> str:
    """The kind of format 1 that the other keys say."""
    if config.get("tape") is not None:
        return config["tape"]["kind"]
    return "coded" if config.get("queries") is None else "queried"
