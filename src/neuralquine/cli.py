"""The command line. Nothing heavy is imported before a command runs, so that ``--help`` answers at once.

Results go to stdout, progress and messages to stderr. Exit status: 0 success, 1 no quine, 2 bad input,
130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import NeuralQuineError
from .report import figure, listing, print_json, report_solution, report_verification, table
from .version import __version__

if TYPE_CHECKING:
    from .quine import Quine
    from .solution import TracePoint

app = typer.Typer(
    help="Find, verify, keep and show neural quines: networks that print their own weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Recipe = Annotated[str, typer.Argument(help="A named problem; see `neuralquine recipes`.")]
Folder = Annotated[Path, typer.Argument(help="A folder written by `neuralquine solve --out`.")]
Seed = Annotated[
    int, typer.Option(help="Seed of the initial weights, the probe, the projection and the starts.", min=0)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
RecipeOption = Annotated[
    list[str],
    typer.Option("--recipe-option", "-r", metavar="KEY=VALUE", help="Option of the recipe, such as alpha=0.3."),
]
TrunkOption = Annotated[
    str,
    typer.Option(
        "--trunk",
        metavar="MODULE:FACTORY",
        help="Python factory of the trunk, for a folder that cannot describe its own.",
    ),
]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


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
    out: Annotated[Path | None, typer.Option(help="Folder to write the quine to.")] = None,
    figures: Annotated[bool, typer.Option(help="Also write the figures (needs --out and the extra `plot`).")] = False,
    as_json: AsJson = False,
) -> None:
    """Find weights that print themselves."""
    if figures and out is None:
        raise typer.BadParameter("needs --out", param_hint="--figures")
    from . import recipes
    from .methods import make_method
    from .solution import Status
    from .solve import Stop
    from .solve import solve as run

    quine = recipes.recipe(recipe, seed=seed, **_options(recipe_option, "--recipe-option"))
    options = _options(method_option, "--method-option")
    if options and not method:
        raise typer.BadParameter("needs --method", param_hint="--method-option")
    try:
        chosen = make_method(method, options) if method else None
    except TypeError as error:
        raise typer.BadParameter(str(error), param_hint="--method-option") from error
    stop = Stop(rtol=rtol or None, max_steps=max_steps or None, time_limit=time_limit or None)
    with _progress(f"solving {recipe}", quiet=as_json) as progress, _terminate_like_interrupt():
        solution = run(
            quine, chosen, starts=starts or None, stop=stop, exact=exact, probes=probes, throw=False, progress=progress
        )
    interrupted = solution.status is Status.INTERRUPTED
    if interrupted and out is None:
        out = Path("quines") / f"{recipe}-interrupted"
    data = {"recipe": recipe, **solution.figures(), "environment": solution.environment}
    if out is not None:
        from .store import save

        save(quine, out)
        data["out"] = str(out)
        if figures:
            _plot(quine, out)
    if as_json:
        print_json(data)
    else:
        report_solution(recipe, solution, out)
    if not solution.converged:
        raise typer.Exit(130 if interrupted else 1)


@app.command()
def verify(folder: Folder, trunk: TrunkOption = "", as_json: AsJson = False) -> None:
    """Recompute everything about a quine from its file, and name every trick."""
    import time

    from .store import false_claims
    from .verify import verify as run

    started = time.perf_counter()
    quine = _load(folder, trunk)
    verification = run(quine)
    lies = false_claims(folder, verification)
    if as_json:
        print_json({**verification.figures(), "false_claims": lies, "seconds": time.perf_counter() - started})
    else:
        report_verification(folder, verification)
        for lie in lies:
            typer.echo(f"false claim in solution.json: {lie}")
    if lies or not verification.is_quine:
        raise typer.Exit(1)


@app.command()
def plot(folder: Folder, trunk: TrunkOption = "", as_json: AsJson = False) -> None:
    """Draw the residual, the weights (stored, printed, difference) and the eigenvalues."""
    files = _plot(_load(folder, trunk), folder)
    if as_json:
        print_json({"figures": [str(f) for f in files]})
    else:
        for file in files:
            typer.echo(file)


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

    from . import recipes
    from .store import save
    from .zoo import zoo as run

    quine = recipes.recipe(recipe, seed=seed, **_options(recipe_option, "--recipe-option"))
    with _terminate_like_interrupt():
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
            f"{len(rows)} distinct quines of {recipe} (seed {seed}) from {starts} starts: "
            f"{found.map_evaluations} map evaluations, {found.jvps} JVPs, {found.seconds:.2f} s"
        )
    if found.interrupted:
        raise typer.Exit(130)
    if not rows:
        raise typer.Exit(1)


@app.command()
def spectrum(folder: Folder, trunk: TrunkOption = "", as_json: AsJson = False) -> None:
    """Eigenvalues and self-sensitivity of a quine's map."""
    from .spectrum import spectrum as run

    local = run(_load(folder, trunk))
    values = [complex(v) for v in local.eigenvalues.tolist()]
    if as_json:
        print_json(
            {
                "self_sensitivity": local.self_sensitivity,
                "spectral_radius": local.spectral_radius,
                "max_real_part": local.damped_regeneration,
                "distance_to_one": local.newton_distance,
                "eigenvalues": [[v.real, v.imag] for v in values],
            }
        )
        return
    table(["eigenvalue", "modulus"], [[f"{v.real:+.6f} {v.imag:+.6f}i", f"{abs(v):.6f}"] for v in values])
    attracts = "attracted" if local.spectral_radius < 1 else "repelled"
    damped = "attracted" if local.damped_regeneration < 1 else "repelled"
    typer.echo(
        f"spectral radius {local.spectral_radius:.4g}: plain regeneration is {attracts}, damped regeneration {damped}"
    )
    typer.echo(
        f"self-sensitivity {local.self_sensitivity:.4g}, distance of an eigenvalue to 1: {local.newton_distance:.3g}"
    )


@app.command()
def generations(
    folder: Folder,
    n: Annotated[int, typer.Option("-n", help="Generations.", min=1)] = 100,
    tolerance: Annotated[
        float, typer.Option(help="Relative distance up to which a descendant is a copy.", min=0)
    ] = 1e-2,
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Install what is printed, print again, and see how long the line stays true."""
    from .generations import generations as run
    from .solution import finite_or_none

    line = run(_load(folder, trunk), n, tolerance=tolerance)
    if as_json:
        print_json(
            {
                "generations": n,
                "survived": line.survived,
                "identical": line.identical,
                "tolerance": tolerance,
                "distances": [finite_or_none(d) for d in line.distances],
                "residuals": [finite_or_none(r) for r in line.residuals],
            }
        )
    else:
        shown = sorted(
            {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, line.survived, line.survived + 1, n} & set(range(1, n + 1))
        )
        table(
            ["generation", "distance to the first", "relative residual"],
            [[str(k), f"{line.distances[k - 1]:.3e}", f"{line.residuals[k - 1]:.3e}"] for k in shown],
        )
        typer.echo(f"survives {line.survived} of {n} generations; identical bit for bit in the first {line.identical}")
    if line.survived < n:
        raise typer.Exit(1)


@app.command("recipes")
def list_recipes(as_json: AsJson = False) -> None:
    """What can be solved by name."""
    import inspect

    from .recipes import RECIPES

    rows = []
    for name, make in RECIPES.items():
        options = [f"{p.name}={p.default}" for p in inspect.signature(make).parameters.values() if p.name != "seed"]
        rows.append([name, (inspect.getdoc(make) or "").splitlines()[0], ", ".join(options).replace("torch.", "")])
    listing(["recipe", "what it is", "options"], rows, as_json, "recipes")


@app.command("methods")
def list_methods(as_json: AsJson = False) -> None:
    """How it can be solved."""
    from dataclasses import fields

    from .methods import METHODS

    rows = []
    for name, method in METHODS.items():
        summary = (type(method).__doc__ or "").strip().split("\n\n")[0].replace("``", "").replace("\n", " ")
        options = ", ".join(f"{f.name}={getattr(method, f.name)}" for f in fields(method))
        rows.append([name, " ".join(summary.split()), options])
    listing(["method", "what it does", "options"], rows, as_json, "methods")


# -- helpers --------------------------------------------------------------------------------------------------------


def _load(folder: Path, trunk: str) -> Quine:
    from .store import load

    return load(folder, trunk=_import_trunk(trunk) if trunk else None)


def _import_trunk(path: str) -> Any:
    """The user's own factory: named on the command line, never by a file."""
    import importlib

    module, _, factory = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise typer.BadParameter(f"{path} gives no module: {error}", param_hint="--trunk") from error


def _options(pairs: list[str], flag: str) -> dict[str, Any]:
    """KEY=VALUE pairs; values are read as JSON where they are (numbers, true, false), else as text."""
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=flag)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        options[key.replace("-", "_")] = value
    return options


@contextlib.contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """``kill`` ends a solve as Ctrl-C does: the best iterate is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _progress(title: str, *, quiet: bool) -> Iterator[Any]:
    """A line on stderr that shows how a long search is getting on; nothing where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)

        def show(point: TracePoint) -> None:
            what = f"{title}: step {point.step}, {point.map_evaluations} map evaluations, relative residual {point.relative_residual:.1e}"
            bar.update(task, description=what)

        yield show


def _plot(quine: Quine, folder: Path) -> list[Path]:
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise NeuralQuineError("drawing needs matplotlib: pip install 'neuralquine[plot]'")
    from .plots import plot as draw
    from .store import saved_trace
    from .verify import verify as run

    verification = run(quine)
    words = [
        word for word, is_so in (("converged", verification.converged), ("bit-exact", verification.bit_exact)) if is_so
    ]
    if verification.trivial:
        words.append("trivial")
    return draw(quine, folder / "figures", trace=saved_trace(folder), words=", ".join(words) or "not converged")


def main() -> None:
    """Entry point: errors of this package become one line on stderr and exit status 2."""
    try:
        app()
    except NeuralQuineError as error:
        typer.echo(f"neuralquine: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
