"""Commands that search: solve, zoo, and what can be named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UnknownName, plural
from .options import AsJson, Device, Recipe, RecipeOption, Seed, app, draw, key_values, terminate_like_interrupt
from .options import progress as show_progress
from .record import journal_of, last_figures, logger_of, seen_by
from .report import figure, listing, print_json, report_solution, table


@app.command()
def solve(
    recipe: Recipe,
    seed: Seed = 0,
    method: Annotated[str, typer.Option(help="See `neuralquine methods`; by default a ladder of them.")] = "",
    method_option: Annotated[
        list[str],
        typer.Option("--method-option", "-m", metavar="KEY=VALUE", help="Option of the method, such as lr=0.01."),
    ] = [],  # noqa: B006
    recipe_option: RecipeOption = [],  # noqa: B006
    starts: Annotated[int, typer.Option(help="Starts tried side by side; by default the method's.", min=0)] = 0,
    max_steps: Annotated[int, typer.Option(help="Limit of steps; by default the method's.", min=0)] = 0,
    time_limit: Annotated[float, typer.Option(help="Limit in seconds; 0 for none.", min=0)] = 0,
    rtol: Annotated[
        float, typer.Option(help="Relative residual that counts as converged; 0 for round-off.", min=0)
    ] = 0,
    exact: Annotated[
        bool, typer.Option("--exact", help="Find a quine whose printed bits equal the stored ones.")
    ] = False,
    probes: Annotated[int, typer.Option(help="With --exact: other probes that may be tried.", min=0)] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed solve with the same --out stopped.")
    ] = False,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(help="Folder to write the quine to.")] = None,
    log: Annotated[
        str,
        typer.Option(help="Also log to tensorboard, wandb or trackio (needs --out and the extra of that name)."),
    ] = "",
    figures: Annotated[bool, typer.Option(help="Also write the figures (needs --out and the extra `plot`).")] = False,
    as_json: AsJson = False,
) -> None:
    """Find weights that print themselves."""
    if figures and out is None:
        raise typer.BadParameter("needs --out", param_hint="--figures")
    if log and out is None:
        raise typer.BadParameter("needs --out", param_hint="--log")
    if resume and out is None:
        raise typer.BadParameter("needs the --out of the solve that stopped", param_hint="--resume")
    from .. import recipes
    from ..quines.networks.running import usable
    from ..solving.loop import Stop
    from ..solving.methods import make_method
    from ..solving.solution import Status
    from ..solving.solve import solve as run
    from ..tasks.recipes import TASKS

    if recipe in TASKS:
        raise UnknownName(f"{recipe} is a task, which is learned: neuralquine train {recipe} --out DIR")
    recipe_options = key_values(recipe_option, "--recipe-option")
    if launched():
        if log:
            raise typer.BadParameter("is for one process, not for torchrun's", param_hint="--log")
        _solve_sharded(recipe, seed, recipe_options, device, out, as_json)
        return
    quine = recipes.recipe(recipe, seed=seed, **recipe_options).to(usable(device))
    options = key_values(method_option, "--method-option")
    if options and not method:
        raise typer.BadParameter("needs --method", param_hint="--method-option")
    try:
        chosen = make_method(method, options) if method else None
    except TypeError as error:
        raise typer.BadParameter(str(error), param_hint="--method-option") from error
    stop = Stop(rtol=rtol or None, max_steps=max_steps or None, time_limit=time_limit or None)
    with (
        logger_of(out, quine, log, method, resume) as logger,
        journal_of(out, quine, chosen, starts, stop, exact, probes, resume) as journal,
        show_progress(f"solving {recipe}", quiet=as_json) as progress,
        terminate_like_interrupt(),
    ):
        if resume and journal is not None:
            typer.echo(f"resuming after {plural(journal.recorded, 'evaluation')} of {journal.path}", err=True)
        try:
            solution = run(
                quine,
                chosen,
                starts=starts or None,
                stop=stop,
                exact=exact,
                probes=probes,
                journal=journal,
                throw=False,
                progress=seen_by(progress, logger),
            )
            if logger is not None:
                logger.log(last_figures(solution), solution.steps)
        except KeyboardInterrupt:  # where there is no iterate yet that is worth judging
            later = f": the same command with --resume goes on from {journal.path}" if journal else ""
            typer.echo(f"neuralquine: interrupted{later}", err=True)
            raise typer.Exit(130) from None
    interrupted = solution.status is Status.INTERRUPTED
    if interrupted and out is None:
        out = Path("quines") / f"{recipe}-interrupted"
    data = {"recipe": recipe, **solution.figures(), "environment": solution.environment}
    if out is not None:
        from ..files.logs import beside
        from ..keeping.store import save

        save(quine, out, metrics=beside(out) if logger is not None else None)
        data["out"] = str(out)
        if journal is not None and not interrupted and solution.status is not Status.TIME_LIMIT:
            journal.discard()
            beside(out).unlink(missing_ok=True)
        if figures:
            draw(quine, out)
    if as_json:
        print_json(data)
    else:
        report_solution(recipe, solution, out)
    if not solution.converged:
        raise typer.Exit(130 if interrupted else 1)


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _solve_sharded(
    recipe: str, seed: int, options: dict[str, Any], device: str, out: Path | None, as_json: bool
) -> None:
    """Every rank runs this; rank 0 alone reports and writes."""
    from .. import recipes
    from ..keeping.store import save
    from ..solving.sharded import solve_sharded

    result = solve_sharded(lambda: recipes.recipe(recipe, seed=seed, **options), seed, device)
    if result is None:
        return
    quine, solution = result
    if out is not None:
        save(quine, out)
    if as_json:
        print_json({"recipe": recipe, **solution.figures(), "environment": solution.environment})
    else:
        report_solution(recipe, solution, out)
    if not solution.converged:
        raise typer.Exit(1)


@app.command()
def zoo(
    recipe: Recipe,
    starts: Annotated[int, typer.Option(help="Starting points.", min=1)] = 40,
    seed: Seed = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder to write every quine to, one folder each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the distinct quines of one network and probe."""
    from dataclasses import asdict

    from .. import recipes
    from ..keeping.store import save
    from ..solving.zoo import zoo as run

    quine = recipes.recipe(recipe, seed=seed, **key_values(recipe_option, "--recipe-option"))
    with terminate_like_interrupt():
        found = run(quine, starts=starts, progress=None if as_json else lambda n: typer.echo(f"{n} found", err=True))
    rows = []
    for number, entry in enumerate(found.quines, 1):
        row = {k: v for k, v in asdict(entry).items() if k != "theta"}
        if out is not None:
            quine.theta = entry.theta
            save(quine, out / f"quine-{number:02d}")
            row["out"] = str(out / f"quine-{number:02d}")
        rows.append(row)
    if as_json:
        print_json(
            {
                "recipe": recipe,
                "seed": seed,
                "starts": found.starts,
                "distinct": len(rows),
                "rejected": found.rejected,
                "parameters": quine.parameter_count,
                "map_evaluations": found.map_evaluations,
                "jvps": found.jvps,
                "seconds": found.seconds,
                "interrupted": found.interrupted,
                "quines": rows,
            }
        )
    else:
        columns = [
            "spectral_radius",
            "self_sensitivity",
            "relative_residual",
            "max_abs_residual",
            "weight_rms",
            "differing_weights",
        ]
        table(
            ["quine", *(c.replace("_", " ") for c in columns)],
            [[str(i), *(figure(r[c]) for c in columns)] for i, r in enumerate(rows, 1)],
        )
        typer.echo(
            f"{plural(len(rows), 'distinct quine')} of {recipe} (seed {seed}) from {plural(starts, 'start')}: "
            f"{found.map_evaluations} map evaluations, {found.jvps} JVPs, {found.seconds:.2f} s"
        )
    if found.interrupted:
        raise typer.Exit(130)
    if not rows:
        raise typer.Exit(1)


@app.command("recipes")
def list_recipes(as_json: AsJson = False) -> None:
    """What can be solved, trained or evolved by name."""
    import inspect

    from ..evolution.worlds import WORLDS
    from ..recipes import RECIPES
    from ..tasks.recipes import TASKS

    rows = []
    for name, make in (RECIPES | TASKS | WORLDS).items():
        options = [f"{p.name}={p.default}" for p in inspect.signature(make).parameters.values() if p.name != "seed"]
        rows.append([name, (inspect.getdoc(make) or "").splitlines()[0], ", ".join(options).replace("torch.", "")])
    listing(["recipe", "what it is", "options"], rows, as_json, "recipes")


@app.command("methods")
def list_methods(as_json: AsJson = False) -> None:
    """How it can be solved."""
    from dataclasses import fields

    from ..solving.methods import METHODS

    rows = []
    for name, method in METHODS.items():
        summary = (type(method).__doc__ or "").strip().split("\n\n")[0].replace("``", "").replace("\n", " ")
        options = ", ".join(f"{f.name}={getattr(method, f.name)}" for f in fields(method))
        rows.append([name, " ".join(summary.split()), options])
    listing(["method", "what it does", "options"], rows, as_json, "methods")
