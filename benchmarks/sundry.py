"""Single figures that the documents quote, and that no other bench measures.

python benchmarks/sundry.py                 # what is missing in benchmarks/results/sundry.json, and sundry.md
python benchmarks/sundry.py --only sizes    # these afresh
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

import neuralquine as nq
from neuralquine.files.atomic import replace_file
from neuralquine.solving.methods import Broyden

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FIGURES: dict[str, Callable[[], dict[str, Any]]] = {}
_SEEDS = 100


def figure(measure: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Enter a measurement under the name of its function."""
    FIGURES[measure.__name__] = measure
    return measure


@figure
def first_rung() -> dict[str, Any]:
    """Seeds of the post's network that Broyden's method with its capped steps solves, the ladder's first rung."""
    return {"seeds": _SEEDS, "solved": sum(_solved(seed, 0.67) for seed in range(_SEEDS))}


@figure
def uncapped() -> dict[str, Any]:
    """The same with steps of any length."""
    return {"seeds": 10, "solved": sum(_solved(seed, 1e9) for seed in range(10))}


def _solved(seed: int, step_limit: float) -> bool:
    method = Broyden(step_limit=step_limit)
    return nq.solve(nq.recipe("blog", seed=seed), method=method, throw=False).converged


@figure
def zoo() -> dict[str, Any]:
    """Distinct quines of the post's network, seed 0, by the number of starting points."""
    return {str(starts): len(nq.zoo(nq.recipe("blog"), starts=starts).quines) for starts in (20, 40)}


@figure
def queried_on_a_grid() -> dict[str, Any]:
    """Queried quines with ``exact=True``: by recipe and seed, the weights whose bits differ and the spectral radius."""
    found = {}
    for name, seed in (("fletcher-coords", 1), ("fletcher-coords", 4), ("queried-441", 0)):
        quine = nq.recipe(name, seed=seed)
        solution = nq.solve(quine, exact=True, throw=False)
        found[f"{name}, seed {seed}"] = {
            "differing": solution.differing_weights,
            "weights": quine.parameter_count,
            "spectral_radius": solution.spectral_radius,
        }
    return found


@figure
def tape() -> dict[str, Any]:
    """The weights of the tape of ``digits-mlp`` for each of its body."""
    quine = nq.tasks.recipe("digits-mlp").quine
    sizes = {name: t.numel() for name, t in quine.tensors(quine.theta).items()}
    tapes = sum(count for name, count in sizes.items() if name.startswith("tape."))
    return {"tape": tapes, "body": sum(sizes.values()) - tapes, "ratio": tapes / (sum(sizes.values()) - tapes)}


@figure
def lab() -> dict[str, Any]:
    """The test accuracy of the lab's ``digits-mlp`` at seed 0, as ``neuralquine train`` says."""
    words = "digits-mlp -r repeats=1 -r epochs=120"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "neuralquine", "train", *words.split(), "--out", f"{folder}/q", "--json"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {words: json.loads(done.stdout)["test_accuracy"]}


@figure
def sizes() -> dict[str, Any]:
    """Megabytes of the wheel, and of what a plain installation puts on the disk, torch's build for processors."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (wheel,) = Path(folder).iterdir()
        size = wheel.stat().st_size
    each = {name: _on_disk(name) for name in _needed("neuralquine", set()) if name != "neuralquine"}
    in_all = sum(each.values())
    largest = dict(sorted(((n, round(s / 1e6)) for n, s in each.items()), key=lambda pair: -pair[1])[:5])
    return {
        "wheel": round(size / 1e6, 1),
        "installed": round(in_all / 1e6),
        "largest": largest,
        "torch": torch.__version__,
    }


def _needed(name: str, seen: set[str]) -> set[str]:
    """A distribution and all that it requires here, without extras."""
    if name not in seen:
        seen.add(name)
        for words in importlib.metadata.requires(name) or []:
            requirement = Requirement(words)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _needed(requirement.name.lower(), seen)
    return seen


def _on_disk(name: str) -> int:
    files = importlib.metadata.files(name) or []
    return sum(Path(str(file.locate())).stat().st_size for file in files if Path(str(file.locate())).is_file())


def page(kept: dict[str, dict[str, Any]]) -> str:
    """Every figure with what it is, from what is kept."""
    lines = [
        "# Single figures",
        "",
        "`python benchmarks/sundry.py`",
        "",
        "| figure | what it is | measured |",
        "|---|---|---|",
    ]
    for name, measure in FIGURES.items():
        told = _told(kept[name]) if name in kept else "not yet"
        lines.append(f"| {name} | {(measure.__doc__ or '').strip()} | {told} |")
    return "\n".join([*lines, ""])


def _told(value: Any) -> str:
    """A figure, or the figures of a dictionary, as a person reads them."""
    if isinstance(value, dict):
        return "; ".join(
            f"{key}: {f'({_told(one)})' if isinstance(one, dict) else _told(one)}" for key, one in value.items()
        )
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measure what is asked for or missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=[], metavar="FIGURE", help="these afresh")
    asked = parser.parse_args().only
    file = RESULTS / "sundry.json"
    kept: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    for name in asked or [name for name in FIGURES if name not in kept]:
        kept[name] = FIGURES[name]()
        print(name, kept[name], flush=True)
        with replace_file(file) as path:
            path.write_text(json.dumps(kept, indent=1) + "\n")
        text = page(kept)
        with replace_file(RESULTS / "sundry.md") as path:
            path.write_text(text)


if __name__ == "__main__":
    main()
