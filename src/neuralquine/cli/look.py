"""The commands that look at a kept quine: verify, plot, spectrum, generations."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadOption, needed, plural
from ..files.names import CERTIFICATE
from ..files.strict_json import finite_or_none
from ..keeping.examples import located, shown
from .options import AsJson, Device, Folder, OwnFolder, TrunkOption, app, check_certificate, load_quine
from .prove import TimeLimit, saying
from .report import draw, print_json, radius, report_verification, table

if TYPE_CHECKING:
    from ..checking.spectrum import Spectrum
    from ..checking.verify import Verification

_DENIED = "a plain evaluation says that it is no quine"
_SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # generations that a table for a person shows


@app.command()
def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder that a quine was written to, `example:NAME`, or a file of `export`.",
            parser=located,
            metavar="FOLDER",
        ),
    ],
    portable: Annotated[
        bool,
        typer.Option("--portable", help="Also prove that every machine prints the same bits."),
    ] = False,
    trunk: TrunkOption = "",
    device: Device = "cpu",
    time_limit: TimeLimit = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every figure of a quine.

    The figures come from the weights alone, and every trick that makes a quine trivial is named. The exit status is 1
    for what is not a quine, and for a folder that claims what is not so. Of a file that ends in .onnx, the graph is
    compared with what `neuralquine export` writes for the quine that the file describes (extra `onnx`).
    """
    if folder.suffix == ".onnx" and not folder.is_dir():
        for flag, given in {"--device": device != "cpu", "--trunk": bool(trunk), "--portable": portable}.items():
            if given:
                raise BadOption(f"{flag} is for a folder; a graph is compared and run as it is")
        _verify_file(folder, as_json=as_json)
        return
    from ..checking.verify import verify as run

    started = time.perf_counter()
    quine = load_quine(folder, trunk, device)
    verification = run(quine)
    extra: dict[str, Any] = {}
    if portable:
        verification, extra = _with_portability(folder, verification, time_limit)
    verification, lies, unchecked = _with_claims(folder, verification, time_limit)
    if as_json:
        seconds = time.perf_counter() - started
        told = {"false_claims": lies, "not_checked": unchecked or None, "seconds": seconds}
        print_json({**verification.figures(), **extra, **told})
    else:
        report_verification(shown(folder), verification, extra.get("portable_reason", ""))
        for lie in lies:
            typer.echo(f"false claim: {lie}")
        if unchecked:
            typer.echo(f"not checked: {unchecked}")
    if lies or not verification.is_quine or (portable and not verification.portable):
        raise typer.Exit(1)


@app.command()
def plot(folder: OwnFolder, trunk: TrunkOption = "", as_json: AsJson = False) -> None:
    """Draw the figures of a quine into its folder.

    They show the residual of the search, the weights (stored, printed, difference) and the eigenvalues (extra `plot`).
    """
    files = draw(load_quine(folder, trunk), folder)
    if as_json:
        print_json({"figures": [str(f) for f in files]})
    else:
        for file in files:
            typer.echo(file)


@app.command()
def spectrum(folder: Folder, trunk: TrunkOption = "", device: Device = "cpu", as_json: AsJson = False) -> None:
    """Compute the eigenvalues of a quine's self-map.

    They and the self-sensitivity are those at the stored weights.
    """
    from ..checking.spectrum import spectrum as run

    local = run(load_quine(folder, trunk, device))
    values = [complex(v) for v in local.eigenvalues.tolist()]
    if as_json:
        figures = {
            "self_sensitivity": local.self_sensitivity,
            "self_sensitivity_is_lower_bound": local.bound,
            "spectral_radius": local.spectral_radius,
            "max_real_part": local.damped_regeneration,
            "distance_to_one": local.newton_distance,
        }
        plain = {name: finite_or_none(value) for name, value in figures.items()}
        print_json(plain | {"eigenvalues": [[v.real, v.imag] for v in values]})
        return
    table(["eigenvalue", "modulus"], [[f"{v.real:+.6f} {v.imag:+.6f}i", f"{abs(v):.6f}"] for v in values])
    _report_spectrum(local)


@app.command()
def generations(
    folder: Folder,
    n: Annotated[int, typer.Option("-n", help="Follow the line for so many generations.", metavar="N", min=1)] = 100,
    tolerance: Annotated[
        float,
        typer.Option(
            help="Count a descendant as a copy up to this relative distance from the first quine.",
            metavar="DISTANCE",
            min=0,
        ),
    ] = 1e-2,
    trunk: TrunkOption = "",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Let a quine print itself again and again.

    What is printed becomes the weights of the next generation. The exit status is 1 if the line does not stay a copy
    of the first quine.
    """
    from ..checking.generations import generations as run

    line = run(load_quine(folder, trunk, device), n, tolerance=tolerance)
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
        shown = sorted({*_SHOWN, line.survived, line.survived + 1, n} & set(range(1, n + 1)))
        table(
            ["generation", "distance to the first", "relative residual"],
            [[str(k), f"{line.distances[k - 1]:.3e}", f"{line.residuals[k - 1]:.3e}"] for k in shown],
        )
        typer.echo(
            f"survives {line.survived} of {plural(n, 'generation')}; identical bit for bit in the first {line.identical}"
        )
    if line.survived < n:
        raise typer.Exit(1)


def _verify_file(file: Path, *, as_json: bool) -> None:
    """Compare an exported file with what the exporter writes; the exit status is 1 for all but a quine."""
    needed("onnx", "onnx", "checking an ONNX file needs")
    from ..keeping.onnx.check import checked

    started = time.perf_counter()
    found = checked(file)
    if as_json:
        figures = {
            "status": found.verdict.name.lower(),
            "is_quine": found.is_quine,
            "reason": found.reason,
            "parameters": found.parameters,
            "differing_weights": found.differing,
            "trivial": list(found.trivial),
        }
        print_json(figures | {"seconds": time.perf_counter() - started})
    else:
        typer.echo(f"{file}: {'a quine' if found.is_quine else 'NOT known to be a quine'}")
        typer.echo(f"  {found.verdict.value}" + (f": {found.reason}" if found.reason else ""))
    if not found.is_quine:
        raise typer.Exit(1)


def _with_claims(
    folder: Path, verification: Verification, time_limit: float | None
) -> tuple[Verification, list[str], str]:
    """What a folder claims beside its weights: the verification with its proof, the false claims, and what was not checked."""
    from ..keeping.patience import patience
    from ..keeping.report import false_claims

    with patience(folder, time_limit):
        proved, reason = check_certificate(folder)
    if proved and not verification.converged:
        proved, reason = False, f"{CERTIFICATE}: {_DENIED}"
    verification = replace(verification, proved=proved)
    unchecked = reason if proved is None else ""
    lies = false_claims(folder, verification, unchecked=bool(unchecked))
    return verification, lies + ([reason] if proved is False else []), unchecked


def _with_portability(
    folder: Path, verification: Verification, time_limit: float | None
) -> tuple[Verification, dict[str, Any]]:
    """Prove, or fail to prove, that every machine prints the same bits; also give the margins of the proof."""
    from ..keeping.patience import patience
    from ..proving.verbs import portability

    if not verification.converged:
        nothing = {"portable_reason": _DENIED, "exact_margin": None, "float_margin": None}
        return replace(verification, portable=False), nothing
    with patience(folder, time_limit):
        found = portability(folder, say=saying("proof"))
    margins = {"exact_margin": found.exact_margin, "float_margin": found.float_margin}
    return replace(verification, portable=found.proved), {"portable_reason": found.reason, **margins}


def _report_spectrum(local: Spectrum) -> None:
    """Print what the eigenvalues say about regeneration, for a person."""
    attracts = "attracted" if local.spectral_radius < 1 else "repelled"
    damped = "attracted" if local.damped_regeneration < 1 else "repelled"
    typer.echo(
        f"spectral radius {local.spectral_radius:.4g}: plain regeneration is {attracts}, damped regeneration {damped}"
    )
    at_least = "at least " if local.bound else ""
    typer.echo(
        f"self-sensitivity {at_least}{local.self_sensitivity:.4g}, "
        f"distance of an eigenvalue to 1: {radius(local.newton_distance)}"
    )
