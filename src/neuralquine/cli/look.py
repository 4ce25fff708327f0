"""Commands that look at a kept quine: verify, plot, spectrum, generations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import plural
from .options import AsJson, Folder, TrunkOption, app, check_certificate, draw, load_quine, prover
from .report import print_json, report_verification, table


@app.command()
def verify(
    folder: Folder,
    portable: Annotated[
        bool, typer.Option("--portable", help="Bound the round-off of every machine (extra `proof`).")
    ] = False,
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Recompute everything about a quine from its file, and name every trick."""
    import time
    from dataclasses import replace

    from ..checking.verify import verify as run
    from ..keeping.report import false_claims

    started = time.perf_counter()
    quine = load_quine(folder, trunk)
    verification = run(quine)
    extra: dict[str, Any] = {}
    if portable:
        bound = prover("portable").portability(folder)
        verification = replace(verification, portable=bound.proved)
        extra = {
            "portable_reason": bound.reason,
            "exact_margin": bound.exact_margin,
            "float_margin": bound.float_margin,
        }
    proved, reason = check_certificate(folder)
    verification = replace(verification, proved=proved)
    lies = false_claims(folder, verification) + ([reason] if proved is False else [])
    if as_json:
        seconds = time.perf_counter() - started
        print_json({**verification.figures(), **extra, "false_claims": lies, "seconds": seconds})
    else:
        report_verification(folder, verification, extra.get("portable_reason", ""))
        for lie in lies:
            typer.echo(f"false claim: {lie}")
    if lies or not verification.is_quine or (portable and not verification.portable):
        raise typer.Exit(1)


@app.command()
def plot(folder: Folder, trunk: TrunkOption = "", as_json: AsJson = False) -> None:
    """Draw the residual, the weights (stored, printed, difference) and the eigenvalues."""
    files = draw(load_quine(folder, trunk), folder)
    if as_json:
        print_json({"figures": [str(f) for f in files]})
    else:
        for file in files:
            typer.echo(file)


@app.command()
def spectrum(folder: Folder, trunk: TrunkOption = "", as_json: AsJson = False) -> None:
    """Eigenvalues and self-sensitivity of a quine's map."""
    from ..checking.spectrum import spectrum as run

    local = run(load_quine(folder, trunk))
    values = [complex(v) for v in local.eigenvalues.tolist()]
    if as_json:
        print_json(
            {
                "self_sensitivity": local.self_sensitivity,
                "self_sensitivity_is_lower_bound": local.bound,
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
        f"self-sensitivity {'at least ' if local.bound else ''}{local.self_sensitivity:.4g}, distance of an eigenvalue to 1: {local.newton_distance:.3g}"
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
    from ..checking.generations import generations as run
    from ..solving.solution import finite_or_none

    line = run(load_quine(folder, trunk), n, tolerance=tolerance)
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
        typer.echo(
            f"survives {line.survived} of {plural(n, 'generation')}; identical bit for bit in the first {line.identical}"
        )
    if line.survived < n:
        raise typer.Exit(1)
