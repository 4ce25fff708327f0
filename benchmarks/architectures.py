"""Every architecture that transformers can build small, as an anchored quine that prints every bit.

    python benchmarks/architectures.py                # the whole registry: hours on one core; goes on where it stopped
    python benchmarks/architectures.py --every 10     # each tenth model type
    python benchmarks/architectures.py --only vit t5  # these afresh
    python benchmarks/architectures.py --again failed refused "not built"  # all that ended so, afresh
    python benchmarks/architectures.py --device cuda --jobs 12   # on a GPU, into architectures-cuda.json

Each model type is built small by ``benchmarks/small_models.py``, made an anchored quine, solved, saved (which verifies it), loaded
and compared bit by bit, in a process of its own that is ended when its time is over. Results go to
``benchmarks/results/architectures.json`` after each, and the table beside it is written from that file. Types are taken in an
order drawn at random once and for all, so that a run that is stopped leaves a fair sample. Each row says by which commit it was
written.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections import Counter
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from small_models import built, count, line

RESULTS = Path(__file__).resolve().parent / "results" / "architectures.json"
_FORKING = threading.Lock()  # libraries refuse to be forked while another thread forks
_MEMORY = 6 << 30  # bytes for one of them
_PATIENCE = 30  # seconds by the clock for each of the processor's: others use the machine too
_SECONDS = 120  # of the processor, for building, solving, verifying, saving and loading one of them


def names() -> list[str]:
    """Every model type of the registry that has a model."""
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    found = [name for name in sorted(CONFIG_MAPPING.keys()) if CONFIG_MAPPING[name] in MODEL_MAPPING]
    random.Random(0).shuffle(found)
    return found


def ready() -> None:
    """Import once, before the processes fork, what every trial needs: it takes longer than most of them.

    Nothing is differentiated here: that may start threads.
    """
    import neuralquine as nq

    _ = nq.Quine, nq.solve, nq.save, nq.load, nq.verify
    for name in ("gpt2", "vit"):
        built(name)


def commit() -> str:
    """The commit of the code that runs, with a mark where files differ from it."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(
        asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()  # fmt: skip


def one(name: str, device: str = "cpu") -> dict[str, Any]:
    """Build, solve, verify, save and load one model type; it is loaded on the CPU, which must print the device's bits."""
    import torch

    import neuralquine as nq

    found = built(name)
    if isinstance(found, str):
        return {"end": "not built", "reason": found}
    model, asked = found
    weights = count(model)
    torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as on the CPU that loads the quine
    start = time.process_time()
    try:
        quine = nq.Quine(model, asked, code_size=16, seed=0, skip=0.05, code_bits=8).to(device)
        solution = nq.solve(quine, throw=False, exact=True)
        with tempfile.TemporaryDirectory() as folder:
            found = nq.save(quine, Path(folder) / "q")  # what is saved is verified
            again = nq.load(Path(folder) / "q", trunk=model)
            kept = torch.equal(again.printed(), quine.theta.cpu()) if solution.bit_exact else True
    except Exception as error:
        return {"end": "refused", "weights": weights, "reason": line(error)}
    good = solution.bit_exact and found.is_quine and kept
    return {
        "end": "exact" if good else "failed",
        "weights": weights,
        "status": solution.status.name.lower(),
        "evaluations": solution.map_evaluations,
        "self_sensitivity": solution.self_sensitivity,
        "reason": "" if good else _why(found, solution, kept),
        "seconds": round(time.process_time() - start, 2),
    }  # fmt: skip


def _why(found: Any, solution: Any, kept: bool) -> str:
    """What is missing of a quine that is exact, verified and kept."""
    if solution.bit_exact and not kept:
        return "the CPU, which loads it, prints other bits"
    missed = f"verified: relative residual {found.relative_residual:.1e}, {found.differing_weights} weights differ; "
    seen = "" if found.is_quine else missed
    return "; ".join(found.trivial)[:300] or (seen + solution.detail)[:300]


def _told(name: str, seconds: float, device: str, answer: Any) -> None:
    """Run one in this process, within its processor time and memory, and send what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    if device == "cpu":  # a GPU's driver maps more than there is
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    warnings.filterwarnings("ignore")
    answer.send(one(name, device))


def apart(name: str, seconds: float, device: str = "cpu") -> dict[str, Any]:
    """The same in a process of its own, for so many seconds of its processor and a few times as many by the clock."""
    process = multiprocessing.get_context("fork")
    mine, its = process.Pipe(duplex=False)
    child = process.Process(target=_told, args=(name, seconds, device, its))
    with _FORKING:
        child.start()
    its.close()
    late = not mine.poll(_PATIENCE * seconds)
    try:
        result = None if late else mine.recv()
    except EOFError:
        result = None
    if child.is_alive() and result is None:
        child.kill()
    child.join()
    if result is not None:
        return result
    if late:
        return {"end": "failed", "reason": f"did not end in {_PATIENCE * seconds:.0f} s by the clock"}
    over = child.exitcode == -signal.SIGXCPU
    return {"end": "failed", "reason": f"did not end in {seconds:.0f} s" if over else f"it ended with {child.exitcode}"}


def table(results: dict[str, dict[str, Any]], registered: int, device: str) -> str:
    """The counts, and a row for each that is not exact."""
    ends = Counter(r["end"] for r in results.values())
    built = sum(ends.values()) - ends["not built"]
    share = f"{ends['exact']} of {built} ({ends['exact'] / max(1, built):.1%})"
    versions = ", ".join(sorted({r["transformers"] for r in results.values() if "transformers" in r}))
    codes = Counter(r["commit"] for r in results.values() if "commit" in r)
    by = ", ".join(f"{number} of them by {code}" for code, number in codes.most_common())
    lines = [
        "# Architectures" if device == "cpu" else f"# Architectures on {device}",
        "",
        f"Written by `python benchmarks/architectures.py --device {device}`.",
        "",
        f"Tried: {len(results)} of {registered} model types of transformers {versions}, in an order drawn at random. Of those that can",
        f"be built small, exact, verified, saved and loaded: **{share}**;",
        f"failed {ends['failed']}, refused {ends['refused']}, not built {ends['not built']}."
        + (f" Rows are of the code of a commit each: {by}." if by else ""),
        "",
        "| model type | end | weights | reason |",
        "|---|---|---|---|",
    ]
    for name, r in sorted(results.items()):
        if r["end"] in ("failed", "refused"):
            lines.append(f"| {name} | {r['end']} | {r.get('weights', 0):,} | {r['reason'].replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="these model types, afresh")
    parser.add_argument(
        "--again", nargs="+", default=[], help="those that ended so, afresh: failed, refused, 'not built'"
    )
    parser.add_argument("--every", type=int, default=1, help="each so many-th model type")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--results", type=Path, help="where the results are kept; by default beside this file")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: what forks must have no threads
    import transformers

    ready()
    code = commit()
    place = options.results or (
        RESULTS if options.device == "cpu" else RESULTS.with_stem(f"{RESULTS.stem}-{options.device}")
    )
    results = json.loads(place.read_text()) if place.exists() else {}
    registered = len(names())
    once_more = [name for name, r in results.items() if r["end"] in options.again]
    asked = options.only or once_more or [name for name in names()[:: options.every] if name not in results]
    with ThreadPool(options.jobs) as pool:  # each waits for a process
        for name, result in pool.imap_unordered(
            lambda name: (name, apart(name, options.seconds, options.device)), asked
        ):
            results[name] = result | {"transformers": transformers.__version__, "commit": code}
            print(name, result["end"], result.get("seconds", ""), result.get("reason", ""), flush=True)
            place.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
            place.with_suffix(".md").write_text(table(results, registered, options.device))


if __name__ == "__main__":
    main()
