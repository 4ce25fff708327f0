"""What surrounds a search: making, solving, judging, saving, verifying and loading, beside copying the weights once.

    python benchmarks/around.py [--recipes blog,transformer,resnet18,gpt2,gpt2-xl] [--judged] [--before SRC] [--out FOLDER]

Every recipe has a process of its own on one thread. Seconds are of the processor, so that other work on the machine changes
them little; ``evaluations`` are runs of the trunk, ``prints`` how often all weights were printed. ``--judged`` ends with the judge.
With ``--before`` each recipe is measured with an older version first, whose ``src`` folder is named (``git worktree add /tmp/before COMMIT``). Rows that are in
the results already are kept, so that a recipe can be measured by itself. ``--profile`` adds where the time of a solve goes.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RECIPES = ("blog", "transformer", "resnet18", "gpt2", "gpt2-xl")
OPTIONS: dict[str, dict[str, Any]] = {
    "transformer": {"skip": 0.1, "code_bits": 6},
}
LINES = 12  # of a profile
PULL = "pull-back"  # measured by itself, in the place of a recipe
Record = dict[str, Any]


class Counter:
    """Counts runs of trunks and printed weights, in this version and in older ones."""

    def __init__(self) -> None:
        from neuralquine.quines.printers.base import Whole
        from neuralquine.quines.printers.hadamard import HadamardExpansion
        from neuralquine.quines.trunk import Trunk

        self.evaluations = self.printed = 0
        run = Trunk.run

        def counted(*given: Any, **named: Any) -> Any:
            self.evaluations += 1
            return run(*given, **named)

        Trunk.run = counted
        if hasattr(HadamardExpansion, "_rows"):
            from neuralquine.quines.printers.rows import Rows

            write = Rows._write

            def written(rows: Rows, c: Any, targets: Any, *how: Any) -> None:
                self.printed += sum(len(target) for _, target in targets)
                write(rows, c, targets, *how)

            setattr(Rows, "_write", written)  # noqa: B010 - of another signature than the method
        for cls, name in ((HadamardExpansion, "plain_pieces"), (HadamardExpansion, "pieces"), (Whole, "pieces")):
            if name == "pieces" and hasattr(cls, "plain_pieces"):
                continue
            if hasattr(cls, name):
                setattr(cls, name, self._counting(getattr(cls, name)))

    def _counting(self, pieces: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            for piece in pieces(*given, **named):
                self.printed += len(piece[2])
                yield piece

        return counted


def peak() -> float:
    """The largest memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measured(name: str, profiled: bool, judged: bool) -> Record:
    """All steps of one recipe, in this process; only making, search and judge where no others are asked for."""
    import torch

    torch.set_num_threads(1)
    import neuralquine as nq
    from neuralquine.solving import judge, solve

    counter, steps = Counter(), {}
    quine: Any = None
    judging, finish = [0.0, 0, 0], judge.finish

    def step(label: str, act: Callable[[], Any]) -> Any:
        before = time.process_time(), counter.evaluations, counter.printed
        made = act()
        weights = (quine or made).parameter_count
        steps[label] = [
            time.process_time() - before[0],
            counter.evaluations - before[1],
            (counter.printed - before[2]) / weights,
        ]
        return made

    def finished(*given: Any, **named: Any) -> Any:
        before = time.process_time(), counter.evaluations, counter.printed
        made = finish(*given, **named)
        after = time.process_time(), counter.evaluations, counter.printed
        judging[:] = [a - b for a, b in zip(after, before, strict=True)]
        return made

    solve.finish = finished
    profile = cProfile.Profile()
    quine = step("make", lambda: nq.recipe(name, seed=1, **OPTIONS.get(name, {})))
    if profiled:
        profile.enable()
    solution = step("search", lambda: nq.solve(quine, throw=False))
    profile.disable()
    judging[2] /= quine.parameter_count
    steps["search"] = [a - b for a, b in zip(steps["search"], judging, strict=True)]
    steps["judge"] = judging
    until_judged, report = peak(), None
    if not judged:
        with tempfile.TemporaryDirectory() as place:
            step("save", lambda: nq.save(quine, Path(place) / "q"))
            report = step("verify", lambda: nq.verify(quine))
            step("load", lambda: nq.load(Path(place) / "q"))
    over_all = peak()
    targets = [torch.empty_like(p) for p in quine.weights]
    copies = []
    for _ in range(4):
        started = time.process_time()
        for to, p in zip(targets, quine.weights, strict=True):
            to.copy_(p.detach())
        copies.append(time.process_time() - started)
    text = io.StringIO()
    if profiled:
        pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(LINES)
    return {
        "recipe": name,
        "parameters": quine.parameter_count,
        "status": solution.status.name,
        "bit_exact": solution.bit_exact,
        "is_quine": report and report.is_quine,
        "steps": {k: list(v) for k, v in steps.items()},
        "seconds_to_copy": min(copies[1:]),
        "peak_gib_until_judged": until_judged,
        "peak_gib": over_all,
        "profile": text.getvalue(),
    }


def pulled_back(rows: int = 16) -> Record:
    """Derivatives by 2.8 million weights times the expansion's Jacobian, all at once and tensor by tensor, beside copying them."""
    import torch

    torch.set_num_threads(1)
    from neuralquine.quines.printers.hadamard import HadamardExpansion

    options: dict[str, Any] = {"code_size": 64, "seed": 1, "dtype": torch.float32}
    printer = HadamardExpansion([2_000_000, 800_123], [0.0, 0.0], [2.0**-6, 2.0**-7], **options)
    given = torch.randn(rows, printer.parameters)
    tensors = [row.split(printer.sizes) for row in given]

    def best(act: Callable[[], Any]) -> float:
        seconds = []
        for _ in range(4):
            started = time.process_time()
            act()
            seconds.append(time.process_time() - started)
        return min(seconds[1:])

    return {
        "pulled": given.numel(),
        "at_once": best(lambda: printer.pull_back(given)),
        "by_tensor": best(lambda: [printer.pull_back_tensors(row) for row in tensors]),
        "copied": best(given.clone),
    }


def apart(name: str, source: Path, profiled: bool, judged: bool) -> Record:
    """Measure one recipe in a fresh process, with the package in ``source``."""
    words = [
        sys.executable,
        __file__,
        "--alone",
        name,
        *(["--profile"] if profiled else []),
        *(["--judged"] if judged else []),
    ]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(words, capture_output=True, text=True, env=environment)
    found = [line for line in run.stdout.splitlines() if line.startswith("ROW ")]
    return json.loads(found[0][4:]) if found else {"recipe": name, "error": run.stderr[-2000:]}


def table(rows: dict[str, Record]) -> str:
    """The results as Markdown."""
    heads = ["recipe", "version", "weights", "bit-exact", *("make", "search", "judge", "save", "verify", "load")]
    heads += ["all", "s to copy", "peak GiB until judged", "peak GiB"]
    lines = [
        "# What surrounds a search",
        "",
        "`python benchmarks/around.py`. Seconds of the processor, one thread; in brackets runs of the trunk and how often all weights",
        "were printed. The ratio after a slash is to copying all weights once. Rows that end with the judge are named so; a peak over",
        "all holds the network that is loaded beside the first, and in rows without one until the judge, a copy of all weights, too.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    places = {name: number for number, name in enumerate(RECIPES)}
    ordered = sorted(rows.items(), key=lambda pair: places.get(pair[0].split(" ")[0], len(places)))
    for key, row in ordered:
        if "pulled" in row:
            continue
        if "error" in row:
            lines.append(f"| {row['recipe']} | {key.split(' ')[1]} | failed: {row['error'].splitlines()[-1]} |")
            continue
        cells = [row["recipe"], key.split(" ")[1], f"{row['parameters']:,}", "yes" if row["bit_exact"] else "no"]
        for label in heads[4:10]:
            if label not in row["steps"]:
                cells.append("-")
                continue
            seconds, evaluations, prints = row["steps"][label]
            cells.append(f"{seconds:.2f} ({evaluations}, {prints:.0f}) / {seconds / row['seconds_to_copy']:.0f}")
        cells.append(f"{sum(step[0] for step in row['steps'].values()):.1f}")
        until = f"{row['peak_gib_until_judged']:.2f}" if "peak_gib_until_judged" in row else "-"
        cells += [f"{row['seconds_to_copy']:.2g}", until, f"{row['peak_gib']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    heads = ["derivatives by weights", "version", "all at once", "tensor by tensor", "copying them", "ratio", "ratio"]
    lines += ["", "Derivatives times the Jacobian of the structured expansion, d = 64 (`--recipes pull-back`):", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for key, row in rows.items():
        if "pulled" in row:
            seconds = [row["at_once"], row["by_tensor"], row["copied"]]
            cells = [f"{row['pulled']:,}", key.split(" ")[1], *(f"{s:.3f}" for s in seconds)]
            lines.append("| " + " | ".join([*cells, *(f"{s / row['copied']:.1f}" for s in seconds[:2])]) + " |")
    for key, row in ordered:
        if row.get("profile"):
            lines += ["", f"## Where the time of `solve {row['recipe']}` goes, {key.split(' ')[1]}", "", "```"]
            lines += [line for line in row["profile"].splitlines() if line.strip()] + ["```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--before", type=Path, help="the src folder of an older version")
    parser.add_argument("--judged", action="store_true", help="only make, search and judge, in rows of their own")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        made = pulled_back() if given.alone == PULL else measured(given.alone, given.profile, given.judged)
        print("ROW " + json.dumps(made), flush=True)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "around.json"
    rows: dict[str, Record] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    sources = {"before": given.before, "now": Path(__file__).parent.parent / "src"}
    for name in given.recipes.split(","):
        for version, source in sources.items():
            if source is not None:
                key = f"{name} {version}{'-judged' if given.judged else ''}"
                rows[key] = apart(name, source, False, given.judged)
                if given.profile:  # of a second process: what is profiled takes longer
                    rows[key]["profile"] = apart(name, source, True, True).get("profile", "")
                print(json.dumps({k: v for k, v in rows[key].items() if k != "profile"}), flush=True)
                path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
                (given.out / "around.md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
