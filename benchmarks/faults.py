"""Faults planted in what has to be believed of a proof, one at a time, and how many of them the tests' comparisons find.

    python benchmarks/faults.py [--again] [FILE ...]

In the rules of modules every sum, product, comparison, constant and choice is changed, in the bounds of tubes, slopes and the small
checker a list of factors and terms. A change is found when the comparison with torch, or an attack on the bound, tells the changed file
from the true one. Those that are not found and are no faults stand with the reason in ``tests/proving/harmless.py``. Files that are not
named keep their rows; all of them take half an hour of the processor. With ``--again`` only what was not found the last time is planted. Writes ``benchmarks/results/faults.json`` and ``faults.md`` beside it.
"""

# pyright: reportMissingImports=false
# (what plants the faults lies among the tests, whose folder is put on the path below)

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "faults.json"
sys.path.insert(0, str(ROOT / "tests"))


def _kinds() -> dict[str, Any]:
    """What is attacked, and the scripts that do it: each has ``FILES`` and gives the faults of one."""
    from proving import model_mutants, mutants, slope_attacks, test_checker, tube_faults

    return {
        "rules of modules": mutants,
        "rules of models": model_mutants,
        "bounds of tubes": tube_faults,
        "bounds of slopes": slope_attacks,
        "bounds of the checker": test_checker,
    }


def main() -> None:
    """Plant, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="such as llama or convolution; by default all")
    parser.add_argument("--again", action="store_true", help="only what was not found the last time")
    options = parser.parse_args()
    files = options.files
    from proving.planted import row

    warnings.simplefilter("ignore")
    order = [(kind, file) for kind, script in _kinds().items() for file in script.FILES]
    odd = set(files) - {file for _, file in order}
    if odd:
        parser.error(f"no such file: {', '.join(sorted(odd))}")
    for kind, file in order:
        if files and file not in files:
            continue
        started = time.process_time()
        found = {"of": kind} | row(
            file, _kinds()[kind].planted_in(file), _missed(kind, file) if options.again else None
        )
        rows = _rows()
        rows[kind, file] = found | {"seconds": time.process_time() - started, "date": date.today().isoformat()}
        print(f"{file}: {found['found']} of {found['planted']}, not found: {found['missed']}", flush=True)
        held = [rows[place] for place in order if place in rows]
        OUT.write_text(json.dumps(held, indent=1) + "\n")
        OUT.with_suffix(".md").write_text(table(held))
    print(f"written to {OUT} and {OUT.with_suffix('.md').name}")


def _rows() -> dict[tuple[str, str], dict[str, Any]]:
    """What was measured before; which of it is harmless is judged by the list as it stands now."""
    from proving.planted import judged

    rows = json.loads(OUT.read_text()) if OUT.is_file() else []
    for r in rows:
        r |= judged(r["file"], [*r["missed"], *(said for said, _ in r["harmless"])])
    return {(r["of"], r["file"]): r for r in rows}


def _missed(kind: str, file: str) -> set[str] | None:
    """What was not found in a file the last time, if it was looked at."""
    last = _rows().get((kind, file))
    return None if last is None else {*last["missed"], *(said for said, _ in last["harmless"])}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, and below them what was not found and why."""
    lines = [
        "# Faults planted in rules and bounds",
        "",
        "`python benchmarks/faults.py`",
        "",
        "Harmless: the changed source computes the same, or only refuses more or less; each is listed below with its reason.",
        "Open: faults that no comparison finds.",
        "",
        "| of | file | planted | found | harmless | open | CPU seconds | date |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        counts = r["planted"], r["found"], len(r["harmless"]), len(r["missed"]), round(r["seconds"])
        lines.append(f"| {r['of']} | `{r['file']}` | " + " | ".join(map(str, counts)) + f" | {r['date']} |")
    sums = [sum(r[key] for r in rows) for key in ("planted", "found")]
    sums += [sum(len(r[key]) for r in rows) for key in ("harmless", "missed")]
    lines += ["| all | | " + " | ".join(map(str, sums)) + " | | |", ""]
    for title, key in (("Open", "missed"), ("Harmless", "harmless")):
        said = [(r["file"], *([m] if key == "missed" else m)) for r in rows for m in r[key]]
        lines += [f"## {title}", "", *(["None."] if not said else [])]
        lines += [f"- `{file}`: `{what}`" + "".join(f": {why}" for why in rest) for file, what, *rest in said] + [""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
