"""The gallery: every recipe solved, verified and certified by the commands it shows, one card each.

    python benchmarks/gallery.py                     # the quick ones: docs/gallery.md, docs/gallery/*.png and cards.json
    python benchmarks/gallery.py --all               # those of minutes and gigabytes too
    python benchmarks/gallery.py --only blog gru     # these afresh; the others stay as they are

A card is one line in ``CARDS``: any command that writes a quine's folder and answers ``--json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralquine.files.atomic import replace_file
from neuralquine.keeping.card import word

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "gallery"
CARDS_FILE = "cards.json"
_CELLS = 96  # of the picture of a tensor, in either direction
_REACH = 3.0  # standard deviations of weights printed at random that the color scale reaches: a zero quine is pale
_COLORS = 256  # of a picture, so that all of them together stay small
_PROOF_SECONDS = 600
_DAMAGE = "noise:0.5"
# What a picture shows, of a network that was solved and of one that learned.
_SHOWS = "its largest tensor stored, printed and the difference, its eigenvalues, its search"
_SHOWS_HEALING = "its largest tensor stored, printed and the difference, then damaged and printed once more"
_INK, _ACCENT, _QUIET, _COOL, _EXACT = "#222222", "#b3541e", "#8a8a8a", "#2b6a99", "#74c476"


@dataclass(frozen=True)
class Card:
    """One entry.

    Attributes:
        name: of the card, its picture and its folder.
        command: what follows ``neuralquine``, without ``--out``.
        about: what to look at, in one sentence.
        long: takes minutes or gigabytes, and is made with ``--all`` only.
    """

    name: str
    command: str
    about: str
    long: bool = False


CARDS = (
    Card("blog", "solve blog", "The network of the post: found at once."),
    Card("blog-exact", "solve blog --exact", "The same network on a grid: every bit is printed as it is stored."),
    Card("blog-part1", "solve blog-part1", "Without a normalization every search ends at zero, and is named so."),
    Card("cnn", "solve cnn", "A convolutional network."),
    Card("rnn", "solve rnn", "A recurrent network with tanh."),
    Card("gru", "solve gru", "A gated recurrent network."),
    Card("lstm", "solve lstm", "A long short-term memory."),
    Card("transformer", "solve transformer", "A Transformer, printed by the Hadamard expansion."),
    Card("digits-mlp", "train digits-mlp", "Classifies digits, prints itself from a tape, and heals."),
    Card("digits-cnn", "train digits-cnn", "The same with convolutions."),
    Card("digits-vit", "train digits-vit", "The same with attention.", long=True),
    Card("mnist-cnn", "train mnist-cnn", "MNIST, from files in NQ_MNIST_DIR.", long=True),
    Card("queried-121", "solve queried-121", "Asked for one weight at a time: P equations in P unknowns."),
    Card("queried-441", "solve queried-441", "The same with 20 hidden units."),
    Card("queried-2601", "solve queried-2601", "The same with 50 hidden units."),
    Card("fletcher-coords", "solve fletcher-coords", "Fletcher's matrix, asked for by row and column."),
    Card(
        "fletcher-onehot",
        "solve fletcher-onehot --time-limit 120",
        "Fletcher's larger matrix. In two minutes no quine is found, and none is claimed.",
        long=True,
    ),
    Card("fletcher-rnn", "solve fletcher-rnn", "A recurrent network that emits itself, a weight at a time.", long=True),
    Card("elman", "solve elman", "A recurrent network that emits its weights one after the other."),
    Card(
        "chang-lipson",
        "solve chang-lipson --seed 1",
        "The paper's own network, whose published best is 5 % off.",
        long=True,
    ),
    Card("resnet18", "solve resnet18", "ResNet-18, anchored on a grid and printed in place.", long=True),
    Card("vit-b16", "solve vit-b16", "A vision transformer of 87 million weights.", long=True),
    Card("gpt2", "solve gpt2", "GPT-2 small: 124 million weights, every bit.", long=True),
    Card("gpt2-xl", "solve gpt2-xl", "GPT-2 XL: 1.6 billion weights.", long=True),
    Card("llama-8b", "solve llama-8b", "Llama's shape: 8 billion weights in bfloat16.", long=True),
)


# -- making one -------------------------------------------------------------------------------------------------------


def make(card: Card, folder: Path, picture: Path) -> dict[str, Any]:
    """Run a card's commands in real processes, draw its picture, and return its figures, ready for JSON."""
    target = folder / card.name
    started = time.perf_counter()
    solve = _answer([*shlex.split(card.command), "--out", str(target)])
    seconds = time.perf_counter() - started
    exact = solve["bit_exact"] and (solve.get("code_bits") is not None or "test_accuracy" in solve)
    proof: dict[str, Any] = {"proved": None, "reason": "nothing to prove"}
    if solve["converged"]:
        proof = _answer(["certify", str(target)])
    listed = exact and "no proof rule" not in proof.get("reason", "")  # a module without a rule has no bound either
    verification = _answer(["verify", str(target), *(["--portable"] if listed else [])])
    environment = solve.pop("environment")
    draw(target, picture)
    return {
        "name": card.name,
        "command": card.command,
        "about": card.about,
        "summary": _summary(solve["recipe"]),
        "seconds_in_all": seconds,
        "solve": {k: v for k, v in solve.items() if k != "out"},
        "verification": verification,
        "proof": {k: proof.get(k) for k in ("proved", "claim", "reason", "kind")},
        "environment": environment,
        "shows": _SHOWS_HEALING if "test_accuracy" in solve else _SHOWS,
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "platform": platform.platform()},
    }


def _answer(words: list[str]) -> dict[str, Any]:
    """The one JSON object of a command; what it refuses becomes its reason."""
    command = [sys.executable, "-m", "neuralquine", *words, "--json"]
    limit = _PROOF_SECONDS if words[0] == "certify" else None
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"proved": None, "reason": f"no proof within {_PROOF_SECONDS} s"}
    if run.stdout:
        return json.loads(run.stdout)
    if words[0] != "certify":
        raise SystemExit(f"{' '.join(words)}: {run.stderr.strip()}")
    return {"proved": None, "reason": run.stderr.strip().splitlines()[-1].removeprefix("neuralquine: ")}


def _summary(recipe: str) -> str:
    from neuralquine.recipes import RECIPES
    from neuralquine.tasks import TASKS

    return ((RECIPES | TASKS)[recipe].__doc__ or "").strip().splitlines()[0]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


# -- its picture ------------------------------------------------------------------------------------------------------


def draw(folder: Path, picture: Path) -> None:
    """The largest tensor stored, printed and their difference; below, the eigenvalues of the self-map and the search.

    Below the weights of a network that learned: the same tensor with half of all weights damaged, what it prints then, and
    how far that is from what was stored.
    """
    from matplotlib.figure import Figure

    import neuralquine as nq
    from neuralquine.keeping.report import saved_trace
    from neuralquine.quines.measure import round_off

    quine = nq.load(folder)
    figure = Figure(figsize=(10, 5.2), layout="constrained", dpi=80)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    above, below = parts
    stored = quine.theta.clone()
    _draw_weights(above.subplots(1, 3), quine, stored, ("stored: {}", "printed"))
    if quine.constructed:
        quine.theta = nq.damaged(quine, _DAMAGE)
        words = "damaged: noise on half of all weights", "printed by the damaged network"
        _draw_weights(below.subplots(1, 3), quine, stored, words)
    else:
        plane, search = below.subplots(1, 2, width_ratios=(1, 1.6))
        _draw_eigenvalues(plane, quine)
        _draw_search(search, saved_trace(folder), round_off(quine.dtype))
    with replace_file(picture) as path:
        figure.savefig(path)
        _fewer_colors(path)


def _draw_weights(axes: Any, quine: Any, stored: Any, words: tuple[str, str]) -> None:
    """The largest tensor as it is held, as it is printed, and the difference to ``stored``; exactly zero is green.

    The first two have one scale of colors, that of the stored weights.
    """
    from matplotlib import colormaps

    from neuralquine.checking.plots import rounded_up

    held, printed, before = (quine.tensors(t) for t in (quine.theta, quine.printed(), stored))
    # A tape is rows of one sign each: what a network has learned is in its body.
    body = {name: tensor for name, tensor in before.items() if not (quine.constructed and name.startswith("tape."))}
    name, largest = max(body.items(), key=lambda pair: pair[1].numel())
    difference = printed[name].double() - largest.double()
    spread = quine.tensors(_REACH * quine.printer.gain * quine.code_size**0.5)[name]
    usual = 0.0 if quine.constructed else float(spread.abs().max())  # each weight there is printed from a few signs
    bound = max(float(largest.abs().max()), usual) or 1.0
    most = float(difference.abs().max())
    palette = colormaps["RdBu_r"].with_extremes(bad=_EXACT)
    whole = largest.numel() <= _CELLS**2 and max(_corner(largest).shape) < _CELLS
    shape = f"{name} {tuple(largest.shape)}{'' if whole else ', a corner'}"
    to = "" if quine.theta.equal(stored) else " to the stored"
    last = (
        f"difference{to}: exactly 0"
        if most == 0
        else f"difference{to}, at most {rounded_up(most, 2)} (green: exactly 0)"
    )
    panels = (
        (_corner(held[name]), bound, words[0].format(shape)),
        (_corner(printed[name]), bound, words[1]),
        (np.ma.masked_equal(_corner(difference), 0.0), most or 1.0, last),
    )
    for axis, (values, limit, title) in zip(axes, panels, strict=True):
        axis.imshow(values, cmap=palette, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        axis.set_title(title, fontsize=9, color=_INK)
        axis.set(xticks=[], yticks=[])


def _corner(tensor: Any) -> np.ndarray:
    """The first rows and columns of a tensor as a matrix."""
    flat = tensor.detach().double().reshape(tensor.shape[0], -1) if tensor.dim() > 1 else tensor.double().reshape(1, -1)
    return flat[:_CELLS, :_CELLS].cpu().numpy()


def _draw_eigenvalues(axis: Any, quine: Any) -> None:
    import neuralquine as nq

    if quine.in_place:
        axis.text(0.5, 0.5, "eigenvalues: not computed\nfor a large network", ha="center", va="center", color=_QUIET)
        axis.set_axis_off()
        return
    local = nq.spectrum(quine)
    values = local.eigenvalues.cpu().numpy()
    values = values[np.isfinite(values)]
    angle = np.linspace(0, 2 * np.pi, 200)
    axis.plot(np.cos(angle), np.sin(angle), color=_QUIET, linewidth=1)
    outside = np.abs(values) >= 1
    for chosen, color in ((~outside, _COOL), (outside, _ACCENT)):
        axis.scatter(np.real(values)[chosen], np.imag(values)[chosen], s=14, color=color, zorder=3)
    reach = 1.1 * max(1.0, float(np.abs(values).max(initial=0)))
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=7)
    shown = "eigenvalues" if local.complete else "largest eigenvalues"
    axis.set_title(f"{shown}, {outside.sum()} of {len(values)} outside the circle", fontsize=9, color=_INK)


def _draw_search(axis: Any, trace: list[dict[str, Any]], floor: float) -> None:
    axis.semilogy(
        [p["step"] for p in trace],
        [p["relative_residual"] for p in trace],
        color=_ACCENT,
        marker="." if len(trace) < 50 else "",
        markersize=4,
    )
    axis.axhline(floor, color=_QUIET, linestyle="--", linewidth=1)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("step", fontsize=8)
    axis.set_title("best relative residual (dashed: round-off)", fontsize=9, color=_INK)


def _fewer_colors(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        few = image.convert("RGB").quantize(_COLORS, Image.Quantize.MAXCOVERAGE, kmeans=1)  # white stays white
        few.save(path, optimize=True)


# -- the page ---------------------------------------------------------------------------------------------------------


def page(cards: list[dict[str, Any]]) -> str:
    """The page of all cards, from nothing but their figures."""
    solved = sum(card["verification"]["is_quine"] for card in cards)
    versions = sorted({f"torch {c['environment']['torch']}, {c['machine']['processor']}" for c in cards})
    lines = [
        "# Gallery",
        "",
        f"{len(cards)} runs, {solved} of them quines. Made by `python benchmarks/gallery.py`, which runs the command of every",
        "card, `neuralquine certify` and `neuralquine verify` in processes of their own; the figures below are theirs, kept in",
        f"[gallery/{CARDS_FILE}](gallery/{CARDS_FILE}) ({'; '.join(versions)}).",
        "Each picture: the largest tensor as it is stored, as it is printed, and the difference; below, the eigenvalues of the",
        "self-map with the unit circle, and the search. Of a network that learned, below: half of all weights are damaged, and",
        "it prints itself. Seconds depend on the machine and on what else it does, so none are shown: evaluations of the map and",
        "products with its derivative (JVPs) do not.",
        "",
        "| card | weights | converged | bit-exact | portable | proved |",
        "|---|---|---|---|---|---|",
        *(_overview(card) for card in cards),
        "",
    ]
    for card in cards:
        lines += _entry(card)
    return "\n".join(lines)


def _words(card: dict[str, Any]) -> list[str]:
    v = card["verification"]
    names = ("converged", "bit_exact", "portable", "proved")
    return ["trivially" if v[name] and not v["is_quine"] else word(v[name]) for name in names]


def _overview(card: dict[str, Any]) -> str:
    cells = [f"[{card['name']}](#{card['name']})", f"{card['verification']['parameters']:,}", *_words(card)]
    return "| " + " | ".join(cells) + " |"


def _found(s: dict[str, Any]) -> tuple[str, str]:
    if "test_accuracy" in s:
        return "learned", f"test accuracy {100 * s['test_accuracy']:.1f} %, {s['epochs']} epochs"
    return (
        "found by",
        f"{s['method']}: {s['map_evaluations']:,} map evaluations, {s['jvps']:,} JVPs",
    )


def _entry(card: dict[str, Any]) -> list[str]:
    v, s, name = card["verification"], card["solve"], card["name"]
    verdict = "a quine" if v["is_quine"] else "; ".join(v["trivial"]) or f"no quine: {s['status'].replace('_', ' ')}"
    rows = [
        ("verdict", verdict),
        ("relative residual", _number(v["relative_residual"], ".2e")),
        ("RMS weight", _number(v["weight_rms"], ".3g")),
        ("self-sensitivity", _number(v["self_sensitivity"], ".3g")),
        ("spectral radius", _number(v["spectral_radius"], ".3g")),
        ("weights whose bits differ", f"{v['differing_weights']:,} of {v['parameters']:,}"),
        ("generations survived", f"{v['generations_survived']} of {v['generations_tried']}"),
        _found(s),
    ]
    if "portable_reason" in v:
        rows.append(("portable", v["portable_reason"]))
    if v["is_quine"]:
        proof = card["proof"]
        rows.append(
            ("proof", proof["claim"] if proof["proved"] else f"none: {proof['reason'].partition(': it covers')[0]}")
        )
    return [
        f"## {name}",
        "",
        f"{card['about']} {card['summary']}",
        "",
        "```console",
        f"$ neuralquine {card['command']} --out quines/{name}",
        "```",
        "",
        f"![{name}: {card['shows']}](gallery/{name}.png)",
        "",
        "| figure | |",
        "|---|---|",
        *(f"| {label} | {value} |" for label, value in rows),
        "",
    ]


def _number(value: float | None, form: str) -> str:
    return "not computed" if value is None else format(value, form)


def main() -> None:
    """Make the cards that are asked for, and the page of all there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of pictures and figures; the page goes beside it")
    parser.add_argument(
        "--all", action="store_true", help="also those that take minutes, or gigabytes of memory and disk"
    )
    parser.add_argument("--only", nargs="+", metavar="CARD", choices=[c.name for c in CARDS], help="these cards afresh")
    options = parser.parse_args()
    file = options.out / CARDS_FILE
    made = {c["name"]: c for c in json.loads(file.read_text())} if file.exists() else {}
    wanted = [c for c in CARDS if (c.name in options.only if options.only else options.all or not c.long)]
    for card in wanted:
        print(f"{card.name}: neuralquine {card.command}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            made[card.name] = make(card, Path(folder), options.out / f"{card.name}.png")
        cards = [made[c.name] for c in CARDS if c.name in made]
        with replace_file(file) as path:
            path.write_text(json.dumps(cards, indent=1, allow_nan=False) + "\n")
        with replace_file(options.out.with_suffix(".md")) as path:
            path.write_text(page(cards))


if __name__ == "__main__":
    main()
