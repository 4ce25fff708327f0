"""Language models of transformers on a grid of activations: how long the proof takes that every machine prints the same bits.

``python benchmarks/depth.py`` makes GPT-2 (124,439,808 weights of float32 in a trunk that runs in float64) and one of 48 layers of width
256, proves each in a process of its own, and writes ``benchmarks/results/depth.md``. ``--only NAME`` does one of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "depth.json"
COMMON = {"activation_bits": 12, "trunk_dtype": "float64"}
NETWORKS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt2 of 48 layers": {"layers": 48, "width": 256},
}


def made(name: str, seed: int, folder: str) -> dict[str, Any]:
    """Make a quine by its recipe, and see that it prints itself."""
    import neuralquine as nq
    from neuralquine.quines.measure import measure

    quine = nq.recipe("gpt2", seed=seed, **NETWORKS[name], **COMMON)
    solution = nq.solve(quine, exact=True, throw=False)
    differing = measure(quine).differing_weights
    nq.save(quine, folder, within=1)
    return {"bit_exact": solution.bit_exact, "differing": differing}


def proved(folder: str) -> dict[str, Any]:
    """Read the folder again without torch, and prove it."""
    from neuralquine.proving import checker, constructed

    started = time.process_time()
    found = constructed.portability(folder, witness=None)
    row = {"proved": found.proved, "margin": found.float_margin, "said": found.reason}
    row["parameters"] = len(checker.read(folder).theta)
    return row | {
        "seconds": time.process_time() - started,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "date": date.today().isoformat(),
    }


def _alone(*arguments: str) -> dict[str, Any]:
    """One of these in a process of its own."""
    out = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def _table(rows: dict[str, Any]) -> str:
    lines = [
        "# Deep models on a grid of activations",
        "",
        "`python benchmarks/depth.py`; seconds of the processor, one core.",
        "",
        "| network | weights | seed | prints itself | every machine | margin, in steps | CPU seconds | GB |",
        "|---|---:|---:|---|---|---:|---:|---:|",
    ]
    for name, row in rows.items():
        verdict = "proved" if row["proved"] else "not proved"
        margin = "-" if row["margin"] is None else f"{row['margin']:.2g}"
        whole = "every bit" if row["bit_exact"] and not row["differing"] else "no"
        lines.append(
            f"| `{name}` | {row['parameters']:,} | {row['seed']} | {whole} | {verdict} | {margin} | {row['seconds']:.1f} "
            f"| {row['peak_gb']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--prove", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(json.dumps(made(*(options.make[0], options.seed, options.make[1]))))
        return
    if options.prove:
        print(json.dumps(proved(options.prove)))
        return
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in [options.only] if options.only else NETWORKS:
        with tempfile.TemporaryDirectory() as place:
            folder = str(Path(place) / "quine")
            row = _alone("--make", name, folder, "--seed", str(options.seed)) | {"seed": options.seed}
            rows[name] = row | _alone("--prove", folder)
            print(name, rows[name], flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
        RESULTS.with_suffix(".md").write_text(_table(rows))


if __name__ == "__main__":
    main()
