"""All measurements on one GPU, in at most 200 s and 80 GB: bits, printing beside copying, the pull-back, and Llama 3.1 8B.

    python benchmarks/gpu.py --out FOLDER [--seconds 190] [--only launch,bits,scale,llama,tiles,pull,recipes]

Every part is guarded: one that fails leaves its error in the results, and the others run. The results are FOLDER/gpu.json and
FOLDER/gpu.md (and scale-cuda.md, recipes.md). ``PYTHONPATH=src`` is enough, nothing has to be installed beside torch, numpy, safetensors
and typer; without the library ``transformers`` a plain module with the tensors of Llama 3.1 8B takes the recipe's place.

    launch   both kernels once, with the whole traceback of what fails
    bits     the kernels against the plain path and against the CPU, by code size, type, grid and offset
    scale    benchmarks/scale.py --device cuda, and 4e9 weights in bfloat16
    tiles    the kernel by itself, at 1e8 and 1e9 weights, with other sizes of its tiles
    pull     the pull-back's kernel against the plain path, and its seconds at 1e8 weights
    llama    `solve llama-8b --device cuda` as a process of its own: seconds, peak of memory, bits; and then `verify`
    recipes  benchmarks/recipes.py --device cuda, as far as there is time
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scale import best_of, on_cuda, problem, row
from torch import Tensor, nn

import neuralquine as nq
from neuralquine.quines.bits import same
from neuralquine.quines.printers import fused
from neuralquine.quines.printers.hadamard import HadamardExpansion, Slot
from neuralquine.recipes import RECIPES, printed_first
from neuralquine.recipes.laws import without_drawing
from neuralquine.recipes.problem import Problem, tokens
from neuralquine.solving.solution import environment
from recipes import HUGE, all_of

WIDE, ALL = (torch.float32,), (torch.float32, torch.bfloat16, torch.float16)
Record = dict[str, Any]
LLAMA_SECONDS = 110.0  # of its process, verification included
TILES = [(32, 4), (64, 4), (64, 8), (128, 4), (128, 8), (256, 8)]  # counters and warps of a program


def printer(code: int, dtype: torch.dtype, device: str, seed: int = 7) -> HadamardExpansion:
    sizes = [100, 7, 333_333, 1, 0, 64, 1 << 22, 5000]
    means, gains = [float(i % 3) / 4 for i in range(len(sizes))], [2.0**-i for i in range(len(sizes))]
    return HadamardExpansion(sizes, means, gains, code_size=code, seed=seed, dtype=dtype, device=device)


def on_grid(code: int, bits: int) -> Tensor:
    draws = torch.randn(code, generator=torch.Generator().manual_seed(code), dtype=torch.float64)
    return (torch.round(draws * 2**bits) / 2**bits).float()


def launch(_: float) -> Record:
    """Launch both kernels once without the printer's caution, so that whatever fails is seen whole."""
    e, c = printer(64, torch.float32, "cuda"), on_grid(64, 8).cuda()
    made = fused.Fused(e)
    targets = [(s, torch.zeros(s.count, device="cuda")) for s in e.slots]
    started = time.perf_counter()
    made._launch(c, fused.Way(1, 1.0, exact=True), made._tables(targets))
    torch.cuda.synchronize()
    compiled = time.perf_counter() - started
    wanted = printer(64, torch.float32, "cpu")(c.cpu()).split(e.sizes)
    wrong = [int((t.cpu() != w).sum()) for (_, t), w in zip(targets, wanted, strict=True)]
    started = time.perf_counter()
    pulled = made._pulled([(s, t) for s, t in targets if s.count])
    return {
        "seconds of the first": compiled,
        "wrong weights": wrong,
        "pulled": pulled[:3].tolist(),
        "its seconds": time.perf_counter() - started,
    }


def bits(_: float) -> list[Record]:
    rows: list[Record] = []
    for code, types in ((20, WIDE), (64, ALL), (128, WIDE)):
        for dtype in types:
            for fine in (8, 11):
                there, here, c = printer(code, dtype, "cuda"), printer(code, dtype, "cpu"), on_grid(code, fine)
                targets = [(s, torch.empty(s.count, dtype=dtype, device="cuda")) for s in there.slots]
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    kernel = False
                    for _ in range(2):  # the second time in the way of the first
                        kernel = there._fused is not None and there._fused.written(c.cuda(), targets)
                    if not kernel:
                        there.write(c.cuda(), targets)
                expected = here(c).split(here.sizes)
                equal = all(same(t.cpu(), e) for (_, t), e in zip(targets, expected, strict=True))
                rows.append(
                    {
                        "code": code,
                        "type": str(dtype).removeprefix("torch."),
                        "grid": fine,
                        "kernel": kernel,
                        "equal": equal,
                        "said": [str(w.message) for w in said],
                    }
                )
    part = Slot(6, 12345, 3_000_001)
    e, c = printer(64, torch.float32, "cuda"), on_grid(64, 8)
    piece = torch.cat([v for _, _, v in e.pieces(c.cuda(), [part])])
    rows.append(
        {"a part": bool(same(piece.cpu(), printer(64, torch.float32, "cpu")(c).split(e.sizes)[6][12345:][:3_000_001]))}
    )
    return rows


def scale(_: float) -> Record:
    found: Record = {"float32": on_cuda(4e9, 5, OUT)}
    torch.cuda.empty_cache()
    found["bfloat16"] = row(4e9, 5, "cuda", torch.bfloat16)
    return found


def tiles(_: float) -> list[Record]:
    rows: list[Record] = []
    for weights in (1e8, 1e9):
        rows += [{"weights": weights, **row} for row in by_itself(weights)]
        torch.cuda.empty_cache()
    return rows


def by_itself(weights: float) -> list[Record]:
    """The kernel without what surrounds it, in tiles of several sizes; and what surrounds it."""
    quine, before, rows = problem(weights, "cuda"), (fused._COUNTERS, fused._WARPS), []
    code, kernel, pieces = quine.code().detach(), quine.printer._fused, quine.stored_pieces()  # type: ignore
    for counters, warps in TILES:
        fused._COUNTERS, fused._WARPS = counters, warps
        try:
            tables = kernel._tables(pieces)
            seconds = of_the_gpu(lambda t=tables: kernel._launch(code, fused.Way(1, 1.0, exact=True), t))
            rows.append({"counters": counters, "warps": warps, "seconds": seconds})
        except Exception as error:
            rows.append({"counters": counters, "warps": warps, "error": repr(error)})
    fused._COUNTERS, fused._WARPS = before
    kernel._plan = None
    held = [torch.empty_like(p) for p in quine.weights]
    rows.append({"filling with one number": of_the_gpu(lambda: [t.fill_(1.0) for t in held])})
    rows.append({"installing": best_of(9, lambda: quine.install(code), "cuda")})
    rows.append({"installing, of the GPU": of_the_gpu(lambda: quine.install(code))})
    return [*rows, {"finding the pieces": best_of(9, quine.stored_pieces, "cuda")}]


def of_the_gpu(act: Callable[[], object], times: int = 10) -> float:
    """Seconds by the GPU's own clock, the mean of some that follow each other."""
    act()
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(times):
        act()
    ended.record()
    torch.cuda.synchronize()
    return begun.elapsed_time(ended) / 1000 / times


def pull(_: float) -> Record:
    quine = problem(1e8, "cuda")
    generator = torch.Generator("cuda").manual_seed(1)
    given = [torch.randn(p.shape, generator=generator, device="cuda") for p in quine.weights]
    e: Any = quine.printer
    pairs = [(slot, t.reshape(-1)) for slot, t in zip(e.slots, given, strict=True)]
    found = e._fused.pull_back(pairs)
    expected = e.plain_pull_back(pairs)
    return {
        "kernel": found is not None,
        "relative error": float(torch.linalg.vector_norm(e.pull_back_tensors(given) - expected) / expected.norm()),
        "seconds": best_of(5, lambda: e.pull_back_tensors(given), "cuda"),
        "seconds, plain": best_of(2, lambda: e.plain_pull_back(pairs), "cuda"),
        "seconds to copy": best_of(5, lambda: [t.clone() for t in given], "cuda"),
    }


# -- Llama 3.1 8B -----------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """One layer with the tensors of Llama's."""

    def __init__(self, width: int, inner: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads, self.groups, size = heads, groups, width // heads
        self.q, self.o = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, groups * size, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)
        self.before, self.between = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        q = self.q(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (part(h).unflatten(-1, (self.groups, -1)).transpose(1, 2) for part in (self.k, self.v))
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (k, v))
        mask = torch.full((x.shape[1], x.shape[1]), -1e4, device=x.device, dtype=x.dtype).triu(1)
        answers = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask, -1) @ v
        x = x + self.o(answers.transpose(1, 2).flatten(-2))
        h = self.between(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class LlamaShape(nn.Module):
    """A plain network with the tensors of Llama 3.1 8B, without rotary positions: P = 8,030,261,248."""

    def __init__(self, layers: int = 32, width: int = 4096, vocabulary: int = 128_256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Block(width, 7 * width // 2, width // 128, width // 512) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width, eps=1e-5), nn.Linear(width, vocabulary, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x[:, -1]))


def llama_quine() -> tuple[nq.Quine, str]:
    try:
        import transformers as transformers

        return nq.recipe("llama-8b", device="cuda"), "recipe"
    except (ImportError, nq.NeuralQuineError):
        torch.set_default_dtype(torch.bfloat16)
        made = without_drawing(LlamaShape)
        torch.set_default_dtype(torch.float32)
        assert made is not None
        options = {"code_size": 64, "code_bits": 6, "skip": 0.02, "dtype": torch.bfloat16}
        quine = printed_first(
            Problem(made[0], tokens(0, 8, 128_256), options, moments=made[1]), 0, torch.device("cuda")
        )
        assert quine is not None
        return quine, "module with its tensors"


def llama_alone() -> None:
    """What the process of its own does; it prints its figures as JSON, those of the solve first."""
    started = time.perf_counter()
    quine, what = llama_quine()
    torch.cuda.synchronize()
    made = time.perf_counter()
    print(f"made {what} in {made - started:.1f} s", file=sys.stderr, flush=True)
    solution = nq.solve(quine, throw=False)
    torch.cuda.synchronize()
    solved, peak = time.perf_counter(), torch.cuda.max_memory_allocated()
    print(f"solved in {solved - made:.1f} s", file=sys.stderr, flush=True)
    size = sum(p.numel() * p.element_size() for p in quine.weights)
    found: Record = {
        "what": what,
        "parameters": quine.parameter_count,
        "status": solution.status.name,
        "bit_exact": solution.bit_exact,
        "evaluations": solution.map_evaluations,
        "self_sensitivity": solution.self_sensitivity,
        "detail": solution.detail,
        "seconds to make": made - started,
        "seconds to solve": solved - made,
        "peak / weights": peak / size,
        "kernel": bool(quine.printer._fused and quine.printer._fused._believed.get((1, True))),  # type: ignore
    }
    print("FIGURES " + json.dumps(found), flush=True)
    torch.cuda.reset_peak_memory_stats()
    report = nq.verify(quine)
    torch.cuda.synchronize()
    found = {
        "verified": report.is_quine and report.bit_exact,
        "trivial": list(report.trivial),
        "seconds to verify": time.perf_counter() - solved,
        "peak / weights, verifying": torch.cuda.max_memory_allocated() / size,
    }
    print("FIGURES " + json.dumps(found), flush=True)


def llama(left: float) -> Record:
    """The process by itself: its seconds are taken when it has printed what the solve gave."""
    started, found = time.perf_counter(), {}
    with subprocess.Popen([sys.executable, __file__, "--llama-alone"], stdout=subprocess.PIPE, text=True) as run:
        alarm = threading.Timer(min(LLAMA_SECONDS, left), run.kill)
        alarm.start()
        for line in run.stdout or ():
            if line.startswith("FIGURES "):
                found.setdefault("seconds of the process, solving", time.perf_counter() - started)
                found |= json.loads(line.removeprefix("FIGURES "))
        alarm.cancel()
    return {**found, "seconds of the process": time.perf_counter() - started, "ended with": run.returncode}


def recipes(left: float) -> Record:
    names = [name for name in RECIPES if name not in HUGE]
    return all_of(names[::-1], "cuda", 10.0, left - 5.0, OUT)  # the largest first


PARTS: dict[str, Callable[[float], Any]] = {
    "launch": launch,
    "bits": bits,
    "scale": scale,
    "llama": llama,
    "tiles": tiles,
    "pull": pull,
    "recipes": recipes,
}
OUT = Path("gpu-results")


def main() -> None:
    global OUT
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seconds", type=float, default=190.0, help="parts that would begin later are left out")
    parser.add_argument("--only", default=",".join(PARTS), help="the parts, with commas")
    parser.add_argument("--llama-alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.llama_alone:
        faulthandler.dump_traceback_later(LLAMA_SECONDS - 10, exit=False)  # what it does when the time is nearly up
        llama_alone()
        return
    OUT, started = given.out, time.perf_counter()
    OUT.mkdir(parents=True, exist_ok=True)
    machine = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, **environment()}
    found: Record = {"machine": machine, "parts": {}}
    for name in filter(None, given.only.split(",")):
        left, begun = given.seconds - (time.perf_counter() - started), time.perf_counter()
        if left < 5:
            found["parts"][name] = {"error": "no time left"}
            continue
        try:
            figures: Any = PARTS[name](left)
        except Exception:
            figures = {"error": traceback.format_exc()[-3000:]}
        torch.cuda.empty_cache()
        found["parts"][name] = {"seconds": time.perf_counter() - begun, "figures": figures}
        (OUT / "gpu.json").write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
        (OUT / "gpu.md").write_text(markdown(found), encoding="utf-8")
        print(f"{name}: {json.dumps(figures, default=str)}", flush=True)
    print(f"all: {time.perf_counter() - started:.0f} s")


def markdown(found: Record) -> str:
    lines = [
        "# Measurements on one GPU",
        "",
        "`python benchmarks/gpu.py`",
        "",
        f"Machine: {json.dumps(found['machine'])}",
    ]
    for name, part in found["parts"].items():
        lines += ["", f"## {name}", ""]
        figures = part.get("figures", part)
        listed = figures if isinstance(figures, list) else [{k: v} for k, v in figures.items()]
        lines += [f"- {json.dumps(line, default=str)}" for line in listed]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
