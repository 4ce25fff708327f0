"""Random single-bit flips of the stored weights in exported ONNX files: does any leave ``is_quine`` True?

The file is read once; its weights' initializers are declared as inputs too, which they are the defaults of, and the tensor
with the flipped bit is fed in place of its own. The tests do the same to the bytes of the file, for fewer flips.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

import neuralquine as nq
from neuralquine.solving.solution import environment

RESULTS = Path(__file__).parent / "results"
RECIPES: dict[str, dict[str, Any]] = {
    "blog": {},
    "cnn": {"skip": 0.1},
    "rnn": {"skip": 0.1},
    "gru": {"skip": 0.1},
    "lstm": {"skip": 0.1},
    "transformer": {"skip": 0.1, "code_bits": 4},
}


class File:
    """A file whose weights can be replaced: what it prints, stores, and says of itself."""

    def __init__(self, data: bytes, names: list[str]) -> None:
        model = onnx.load_from_string(data)
        self.held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer if i.name in names}
        for name, tensor in self.held.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
            model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, tensor.shape))
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self._session = ort.InferenceSession(model.SerializeToString(), options)

    def ask(self, **other: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        printed, stored, is_quine = (np.asarray(output) for output in self._session.run(None, other))
        return printed, stored, bool(is_quine)


def row(name: str, flips: int) -> dict[str, Any]:
    """Flip so many bits of one recipe's file, one at a time."""
    quine = nq.recipe(name, **RECIPES[name])
    nq.solve(quine, exact=True)
    with tempfile.TemporaryDirectory() as folder:
        model = nq.export(quine, Path(folder) / "self.onnx").read_bytes()
    names = [name for name, _ in quine.named_weights()]
    file = File(model, names)
    ends = np.cumsum([file.held[name].size for name in names])
    original, stored, is_quine = file.ask()
    assert is_quine
    zeros = np.flatnonzero(stored == 0)
    generator = np.random.default_rng(0)
    chosen = [(int(generator.integers(stored.size)), int(generator.integers(64))) for _ in range(flips)]
    chosen += [(int(i), 63) for i in zeros]  # the signs of zeros: other bits, the same number
    left_true, changed_print, seconds = [], 0, time.perf_counter()
    for weight, bit in chosen:
        number = int(np.searchsorted(ends, weight, side="right"))
        damaged = file.held[names[number]].copy()
        flat = damaged.reshape(-1)
        flat.view(np.uint64)[weight - (ends[number - 1] if number else 0)] ^= np.uint64(1 << bit)
        printed, now, is_quine = file.ask(**{names[number]: damaged})
        assert np.flatnonzero(now.view(np.uint64) != stored.view(np.uint64)).tolist() == [weight]
        changed_print += printed.tobytes() != original.tobytes()
        if is_quine:
            left_true.append([weight, bit])
    return {
        "recipe": name,
        "options": RECIPES[name],
        "weights": stored.size,
        "bytes": len(model),
        "flips": flips,
        "signs_of_zeros": len(zeros),
        "changed_print": changed_print,
        "left_true": left_true,
        "seconds": time.perf_counter() - seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--flips", type=int, default=1000, help="random flips for each recipe")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for name in RECIPES:
        rows.append(row(name, options.flips))
        print(json.dumps(rows[-1]), flush=True)
        write(rows, options.flips, options.out)


def write(rows: list[dict[str, Any]], flips: int, out: Path) -> None:
    """The table and the raw figures, of the recipes done so far."""
    columns = [
        "recipe",
        "weights",
        "file",
        "random flips",
        "signs of zeros",
        "print changed too",
        "is_quine still True",
    ]
    lines = [
        "# One flipped bit in self.onnx",
        "",
        f"`python benchmarks/flips.py --flips {flips}`: a random bit of a random stored weight of the file, each",
        "flip on its own, and the sign of every weight that is zero; ONNX Runtime answers. The changed tensor is fed in place of the stored one; the tests change bytes of the files.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
    ]
    for r in rows:
        named = " ".join([r["recipe"], *(f"{k}={v}" for k, v in r["options"].items())])
        figures = [named, f"{r['weights']:,}", f"{r['bytes']:,} bytes", r["flips"], r["signs_of_zeros"]]
        lines.append("| " + " | ".join(map(str, [*figures, r["changed_print"], len(r["left_true"])])) + " |")
    lines += [
        "",
        "Where the print did not change, the flipped weight no longer agrees with it. Where it did, the print has many other",
        "weights, and what is stored only one.",
        "",
        f"Machine: {json.dumps(environment() | {'onnxruntime': ort.__version__, 'onnx': onnx.__version__})}",
        "",
    ]
    out.mkdir(exist_ok=True)
    (out / "flips.md").write_text("\n".join(lines))
    (out / "flips.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
