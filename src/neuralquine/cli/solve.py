"""The command that searches: solve."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadOption
from ..files.names import CERTIFICATE
from .interruption import interrupted, terminate_like_interrupt
from .known import check_name, check_recipe, completed
from .last import remember
from .options import AsJson, Device, Recipe, RecipeOption, Seed, app, key_values, named
from .record import Recording, Request
from .report import draw, print_json, report_solution

if TYPE_CHECKING:
    from ..quines.quine import Quine
    from ..solving.solution import Solution

_AT_ONCE = 3.0  # seconds that a proof of portability which nobody asked for may take

MethodName = Annotated[
    str,
    typer.Option(
        help="The method of the search; `neuralquine methods` lists them. By default several are tried in turn.",
        metavar="NAME",
        autocompletion=completed("method"),
        show_default=False,
    ),
]
MethodOption = Annotated[
    list[str],
    typer.Option("--method-option", "-m", metavar="KEY=VALUE", help="Set an option of the method, such as lr=0.01."),
]
Starts = Annotated[
    int,
    typer.Option(
        help="Try so many starting points side by side; by default the method's own number.",
        metavar="N",
        show_default=False,
        min=0,
    ),
]
MaxSteps = Annotated[
    int,
    typer.Option(
        help="Stop after so many steps; by default at the method's own limit.", metavar="N", show_default=False, min=0
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        help="Stop after so many seconds; by default there is no limit.", metavar="SECONDS", show_default=False, min=0
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        help="Count a relative residual of at most this as converged; by default the round-off of the weights.",
        metavar="RESIDUAL",
        show_default=False,
        min=0,
    ),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Find a quine whose printed weights equal the stored ones, bit for bit.")
]
Probes = Annotated[
    int,
    typer.Option(
        help="Try so many other probes where the recipe's own has no exact quine (with --exact).", metavar="N", min=0
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue a solve that was stopped, from the journal beside the same --out.")
]
Out = Annotated[Path | None, typer.Option(help="Write the quine to this folder.", metavar="FOLDER")]
Log = Annotated[
    str,
    typer.Option(
        help="Also log to tensorboard, wandb or trackio (needs --out, and the extra of the same name installed).",
        metavar="TRACKER",
        show_default=False,
    ),
]
Figures = Annotated[
    bool,
    typer.Option(
        "--figures/--no-figures",
        help="Also draw the figures into the folder (needs --out and the extra `plot`).",
        show_default=False,
    ),
]


@app.command()
def solve(
    recipe: Recipe,
    seed: Seed = 0,
    method: MethodName = "",
    method_option: MethodOption = [],  # noqa: B006
    recipe_option: RecipeOption = [],  # noqa: B006
    starts: Starts = 0,
    max_steps: MaxSteps = 0,
    time_limit: TimeLimit = 0,
    rtol: Tolerance = 0,
    exact: Exact = False,
    probes: Probes = 0,
    resume: Resume = False,
    device: Device = "cpu",
    out: Out = None,
    log: Log = "",
    figures: Figures = False,
    as_json: AsJson = False,
) -> None:
    """Find weights that a network prints itself.

    They are a fixed point of its self-map.
    """
    _check_names(recipe, method, method_option)
    _refuse_without_out(out, {"--figures": figures, "--log": bool(log), "--resume": resume})
    from ..solving.loop import Stop

    out = named(out)
    options = key_values(recipe_option, "--recipe-option")
    if _launched():
        if log:
            raise typer.BadParameter("is for one process, not for torchrun's", param_hint="--log")
        _solve_sharded(recipe, seed, options, device, out, as_json)
        return
    quine = _problem(recipe, seed, options, device)
    proved = out if out and (out / CERTIFICATE).exists() else None
    request = Request(
        method=method,
        tool=_tool(method, method_option),
        starts=starts,
        stop=Stop(rtol=rtol or None, max_steps=max_steps or None, time_limit=time_limit or None),
        exact=exact,
        probes=probes,
    )
    with Recording(out, quine, request, tracker=log, resume=resume) as recording:
        solution = _search(quine, request, recording, title=f"solving {recipe}", quiet=as_json)
        recording.finish(solution)
    solution = _examined(quine, solution, out, recording.time_left())
    out = out or _keep_interrupted(recipe, quine, solution)
    kept = out is None and remember(quine, solution, probes=probes)
    if out is not None and figures:
        draw(quine, out)
    _say_lost(proved)
    _report(recipe, quine, solution, out, as_json, kept=kept, resumes=recording.journal is not None)


def _check_names(recipe: str, method: str, method_option: list[str]) -> None:
    """Refuse a name that does not exist, before anything slow is imported."""
    check_recipe(recipe)
    if method:
        check_name(method, "method")
    elif method_option:
        raise typer.BadParameter("needs --method", param_hint="--method-option")


def _say_lost(proved: Path | None) -> None:
    """Say so where a folder had a certificate, and the quine that is in it now has none."""
    if proved and not (proved / CERTIFICATE).exists():
        hint = f"neuralquine certify {shlex.quote(str(proved))}"
        typer.echo(f"the certificate in {proved} was of the quine before this one and went with it: `{hint}`", err=True)


def _refuse_without_out(out: Path | None, asked: dict[str, bool]) -> None:
    """Refuse an option that writes beside or into a folder, where no folder is named."""
    for flag, is_set in asked.items():
        if is_set and out is None:
            what = "needs the --out of the solve that stopped" if flag == "--resume" else "needs --out"
            raise typer.BadParameter(what, param_hint=flag)


def _problem(recipe: str, seed: int, options: dict[str, Any], device: str) -> Quine:
    """Build the quine of a recipe, unsolved, on a device."""
    from ..quines.networks.running import usable
    from ..recipes.own import recipe_or_own

    return recipe_or_own(recipe, seed=seed, made_on=usable(device), **options)


def _tool(method: str, pairs: list[str]) -> Any:
    """Build the method of a name; None where none is named, so that the ladder of methods is tried."""
    if not method:
        return None
    from ..solving.methods import METHODS, make_method

    texts = {f.name for f in fields(METHODS[method]) if isinstance(getattr(METHODS[method], f.name), str)}
    options = key_values(pairs, "--method-option", texts=texts)
    try:
        return make_method(method, options)
    except (TypeError, BadOption) as error:
        raise typer.BadParameter(str(error), param_hint="--method-option") from error


def _search(quine: Quine, request: Request, recording: Recording, *, title: str, quiet: bool) -> Solution:
    """Search, with the progress on stderr; an interrupted search gives its best iterate."""
    from ..solving.bar import shown
    from ..solving.search import step_limit
    from ..solving.solve import solve as run

    limit = None if request.exact else step_limit(quine, request.tool, request.stop)
    with shown(False if quiet else None, title=title, steps=limit) as progress, terminate_like_interrupt():
        try:
            return run(
                quine,
                request.tool,
                starts=request.starts or None,
                stop=request.stop,
                exact=request.exact,
                probes=request.probes,
                journal=recording.journal,
                throw=False,
                progress=recording.following(progress) or False,
            )
        except KeyboardInterrupt:  # where there is no iterate yet that is worth judging
            raise interrupted(resume="--resume" if recording.journal else None) from None


def _keep_interrupted(recipe: str, quine: Quine, solution: Solution) -> Path | None:
    """Write the best iterate of an interrupted search to ``quines/``, where no folder was named; else do nothing."""
    from ..solving.solution import Status

    if solution.status is not Status.INTERRUPTED:
        return None
    from ..keeping.store import save  # a room that most searches have no use for

    out = Path("quines") / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', recipe)}-interrupted"
    save(quine, out)
    return out


def _examined(quine: Quine, solution: Solution, out: Path | None, left: float | None) -> Solution:
    """The solution of a search for exact bits, with what can be said at once about other machines, if there is time."""
    if left is not None and left < _AT_ONCE:
        return solution
    if not (solution.converged and solution.bit_exact and solution.code_bits is not None):
        return solution
    from ..keeping.theorems import portability_at_once

    verdict = portability_at_once(quine, out)
    return solution if verdict is None else replace(solution, portable=verdict.proved)


def _report(
    recipe: str,
    quine: Quine,
    solution: Solution,
    out: Path | None,
    as_json: bool,
    *,
    kept: bool = False,
    resumes: bool = False,
) -> None:
    """Print what was found, and exit with 1 if it is no quine, or with 130 if the search was interrupted."""
    from ..solving.solution import Status

    if as_json:
        data = {"recipe": recipe, **solution.figures(), "environment": solution.environment}
        print_json(data | ({"out": str(out)} if out is not None else {}))
    else:
        report_solution(recipe, solution, out, kept=kept, grid=quine.roundable)
    if solution.status is Status.INTERRUPTED:
        raise interrupted(f"the best iterate is in {out}", resume="--resume" if resumes else None)
    if not solution.converged:
        raise typer.Exit(1)


def _launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _solve_sharded(
    recipe: str, seed: int, options: dict[str, Any], device: str, out: Path | None, as_json: bool
) -> None:
    """Solve over all processes that ``torchrun`` started. Each of them runs this; rank 0 alone writes and reports."""
    from ..keeping.store import save
    from ..recipes.own import recipe_or_own
    from ..solving.sharded import solve_sharded

    result = solve_sharded(lambda: recipe_or_own(recipe, seed=seed, **options), seed, device)
    if result is None:
        return
    quine, solution = result
    if out is not None:
        save(quine, out)
    _report(recipe, quine, solution, out, as_json)
