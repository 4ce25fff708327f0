"""The command that searches: solve."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadOption, UnknownName
from .options import AsJson, Device, Recipe, RecipeOption, Seed, app, key_values, named, terminate_like_interrupt
from .options import progress as show_progress
from .record import Recording, Request
from .report import draw, print_json, report_solution

if TYPE_CHECKING:
    from ..quines.quine import Quine
    from ..solving.solution import Solution

MethodName = Annotated[
    str,
    typer.Option(
        help="The method of the search; `neuralquine methods` lists them. By default several are tried in turn."
    ),
]
MethodOption = Annotated[
    list[str],
    typer.Option("--method-option", "-m", metavar="KEY=VALUE", help="Set an option of the method, such as lr=0.01."),
]
Starts = Annotated[
    int, typer.Option(help="Try so many starting points side by side; 0 for the method's own number.", min=0)
]
MaxSteps = Annotated[int, typer.Option(help="Stop after so many steps; 0 for the method's own limit.", min=0)]
TimeLimit = Annotated[float, typer.Option(help="Stop after so many seconds; 0 for no limit.", min=0)]
Tolerance = Annotated[
    float,
    typer.Option(
        help="Count a relative residual of at most this as converged; 0 asks for the round-off of the weights.", min=0
    ),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Find a quine whose printed weights equal the stored ones, bit for bit.")
]
Probes = Annotated[
    int, typer.Option(help="Try so many other probes where the recipe's own has no exact quine (with --exact).", min=0)
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue a solve that was stopped, from the journal beside the same --out.")
]
Out = Annotated[Path | None, typer.Option(help="Write the quine to this folder.")]
Log = Annotated[
    str,
    typer.Option(
        help="Also log to tensorboard, wandb or trackio (needs --out, and the extra of the same name installed)."
    ),
]
Figures = Annotated[
    bool, typer.Option(help="Also draw the figures into the folder (needs --out and the extra `plot`).")
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
    if out is None:
        _refuse_without_out({"--figures": figures, "--log": bool(log), "--resume": resume})
    from ..solving.loop import Stop

    out = named(out)
    options = key_values(recipe_option, "--recipe-option")
    if _launched():
        if log:
            raise typer.BadParameter("is for one process, not for torchrun's", param_hint="--log")
        _solve_sharded(recipe, seed, options, device, out, as_json)
        return
    quine = _problem(recipe, seed, options, device)
    request = Request(
        method=method,
        tool=_tool(method, key_values(method_option, "--method-option")),
        starts=starts,
        stop=Stop(rtol=rtol or None, max_steps=max_steps or None, time_limit=time_limit or None),
        exact=exact,
        probes=probes,
    )
    with Recording(out, quine, request, tracker=log, resume=resume) as recording:
        solution = _search(quine, request, recording, title=f"solving {recipe}", quiet=as_json)
        recording.finish(solution)
    solution = _examined(quine, solution, out)
    out = out or _keep_interrupted(recipe, quine, solution)
    if out is not None and figures:
        draw(quine, out)
    _report(recipe, solution, out, as_json)


def _refuse_without_out(asked: dict[str, bool]) -> None:
    """Refuse an option that writes beside or into a folder, where no folder is named."""
    for flag, is_set in asked.items():
        if is_set:
            what = "needs the --out of the solve that stopped" if flag == "--resume" else "needs --out"
            raise typer.BadParameter(what, param_hint=flag)


def _problem(recipe: str, seed: int, options: dict[str, Any], device: str) -> Quine:
    """Build the quine of a recipe, unsolved, on a device."""
    from .. import recipes
    from ..quines.networks.running import usable

    _refuse_task(recipe)
    return recipes.recipe(recipe, seed=seed, **options).to(usable(device))


def _refuse_task(recipe: str) -> None:
    from ..tasks.recipes import TASKS

    if recipe in TASKS:
        raise UnknownName(f"{recipe} is a task, which is learned: neuralquine train {recipe} --out DIR")


def _tool(method: str, options: dict[str, Any]) -> Any:
    """Build the method of a name; None where none is named, so that the ladder of methods is tried."""
    from ..solving.methods import make_method

    if not method:
        if options:
            raise typer.BadParameter("needs --method", param_hint="--method-option")
        return None
    try:
        return make_method(method, options)
    except (TypeError, BadOption) as error:
        raise typer.BadParameter(str(error), param_hint="--method-option") from error


def _search(quine: Quine, request: Request, recording: Recording, *, title: str, quiet: bool) -> Solution:
    """Search, with the progress on stderr; an interrupted search gives its best iterate."""
    from ..solving.solve import solve as run

    with show_progress(title, quiet=quiet, steps=_limit(quine, request)) as progress, terminate_like_interrupt():
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
                progress=recording.following(progress),
            )
        except KeyboardInterrupt:  # where there is no iterate yet that is worth judging
            journal = recording.journal
            later = f": the same command with --resume goes on from {journal.path}" if journal else ""
            typer.echo(f"neuralquine: interrupted{later}", err=True)
            raise typer.Exit(130) from None


def _limit(quine: Quine, request: Request) -> int | None:
    """The steps after which the search ends at the latest; None for the ladder, which usually ends long before."""
    if request.tool is None or request.exact:
        return None
    return request.stop.max_steps or request.tool.limits(quine.parameter_count)[0]


def _keep_interrupted(recipe: str, quine: Quine, solution: Solution) -> Path | None:
    """Write the best iterate of an interrupted search to ``quines/``, where no folder was named; else do nothing."""
    from ..solving.solution import Status

    if solution.status is not Status.INTERRUPTED:
        return None
    from ..keeping.store import save  # a room that most searches have no use for

    out = Path("quines") / f"{recipe}-interrupted"
    save(quine, out)
    return out


def _examined(quine: Quine, solution: Solution, out: Path | None) -> Solution:
    """The solution of a search for exact bits, with what can be said at once about other machines."""
    if not (solution.converged and solution.bit_exact and solution.code_bits is not None):
        return solution
    from ..keeping.theorems import portability_at_once

    verdict = portability_at_once(quine, out)
    return solution if verdict is None else replace(solution, portable=verdict.proved)


def _report(recipe: str, solution: Solution, out: Path | None, as_json: bool) -> None:
    """Print what was found, and exit with 1 if it is no quine, or with 130 if the search was interrupted."""
    from ..solving.solution import Status

    if as_json:
        data = {"recipe": recipe, **solution.figures(), "environment": solution.environment}
        print_json(data | ({"out": str(out)} if out is not None else {}))
    else:
        report_solution(recipe, solution, out)
    if not solution.converged:
        raise typer.Exit(130 if solution.status is Status.INTERRUPTED else 1)


def _launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _solve_sharded(
    recipe: str, seed: int, options: dict[str, Any], device: str, out: Path | None, as_json: bool
) -> None:
    """Solve over all processes that ``torchrun`` started. Each of them runs this; rank 0 alone writes and reports."""
    from .. import recipes
    from ..keeping.store import save
    from ..solving.sharded import solve_sharded

    _refuse_task(recipe)
    result = solve_sharded(lambda: recipes.recipe(recipe, seed=seed, **options), seed, device)
    if result is None:
        return
    quine, solution = result
    if out is not None:
        save(quine, out)
    _report(recipe, solution, out, as_json)
