"""The command that damages a quine and counts how often it heals: heal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NeuralQuineError, plural
from .group import Verb
from .interruption import interrupted, terminate_like_interrupt
from .known import check_name, completed, completed_damage, kinds_of_damage
from .options import AsJson, Device, Folder, TrunkOption, app, load_quine, status_line
from .report import print_json, table

if TYPE_CHECKING:
    from ..healing.damage import Damage
    from ..healing.heal import Healing
    from ..quines.quine import Quine


Damages = Annotated[
    list[str],
    typer.Option(
        "--damage",
        metavar="KIND:FRACTION",
        help="Damage this fraction of the weights in this way, such as noise:0.5; may be given several times.",
        autocompletion=completed_damage,
    ),
]
_TRIALS, _CURVE_TRIALS = 100, 20  # a curve has a dozen points: 100 each would take minutes
Trials = Annotated[
    int,
    typer.Option(
        help=f"Damage the quine anew so many times; by default {_TRIALS} for each kind, and {_CURVE_TRIALS} for each point "
        "of a curve.",
        metavar="N",
        show_default=False,
        min=0,
    ),
]
Generations = Annotated[
    int, typer.Option(help="Let a damaged quine print itself for at most so many generations.", metavar="N", min=1)
]
Curve = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="Also draw how many quines heal as this kind of damage grows (extra `plot`).",
        autocompletion=completed("damage"),
    ),
]
Images = Annotated[
    str,
    typer.Option(
        metavar="DIR",
        help="Measure a task quine's accuracy on the test images of this folder; by default on those that come with the "
        "package or that NQ_MNIST_DIR names. A folder that the quine itself names is not opened.",
    ),
]


class _NamesKinds(Verb):
    """A command whose help lists the kinds of damage, those registered from outside among them."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # of click, or of the copy inside newer typers
        super().format_help_text(ctx, formatter)
        with formatter.section("Kinds of damage"):
            formatter.write_dl(list(kinds_of_damage().items()))


Seed = Annotated[int, typer.Option(help="Seed of the damages.", metavar="N", min=0)]


@app.command(cls=_NamesKinds)
def heal(
    folder: Folder,
    damage: Damages = [],  # noqa: B006
    trials: Trials = 0,
    generations: Generations = 8,
    seed: Seed = 0,
    curve: Curve = "",
    images: Images = "",
    trunk: TrunkOption = "",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Damage a quine and count how often it heals.

    A damaged quine prints itself; it has healed when every bit has come back. The exit status is 1 unless every trial
    healed.
    """
    _check_kinds([*damage, *([curve] if curve else [])])
    from ..healing.damage import Damage
    from ..healing.heal import heal as run

    damages = [Damage.parse(text) for text in damage or ([] if curve else ["noise:0.5"])]
    if curve:
        Damage(curve, 0.5)  # which refuses a kind that does not exist before anything is read
    quine = load_quine(folder, trunk, device)
    evaluate = _accuracy_of(quine, images)
    data: dict[str, Any] = {"folder": str(folder)}
    with status_line("healing", quiet=as_json) as show, terminate_like_interrupt():

        def healed(one: Damage) -> Healing:
            return run(
                quine,
                one,
                trials=trials or _TRIALS,
                generations=generations,
                seed=seed,
                evaluate=evaluate,
                progress=_counting(show, str(one), trials or _TRIALS),
            )

        found: list[Healing] = []
        try:
            for one in damages:
                found.append(healed(one))
            data["damages"] = [h.figures() for h in found]
            if curve:
                for points, figure in _curve(quine, folder, curve, trials or _CURVE_TRIALS, seed, show):
                    data["curve"], data["figure"] = points, figure
        except KeyboardInterrupt:
            if found and not as_json:
                _report_healing(found)
            raise interrupted(_kept(data, bool(found))) from None
    _report(found, data, as_json)
    if not all(h.all_healed for h in found):
        raise typer.Exit(1)


def _report(found: list[Healing], data: dict[str, Any], as_json: bool) -> None:
    """Print what was counted, and where the curve is, if one was drawn."""
    if as_json:
        print_json(data)
        return
    if found:
        _report_healing(found)
    if "figure" in data:
        typer.echo(f"drawn to {data['figure']}")


def _kept(data: dict[str, Any], counted: bool) -> str:
    """What an interruption has left."""
    if "figure" in data:
        return f"{data['figure']} has {plural(len(data['curve']), 'point')}"
    return "these damages were counted" if counted else "nothing is kept"


def _check_kinds(texts: list[str]) -> None:
    """Refuse a kind of damage that does not exist, before anything slow is imported."""
    for text in texts:
        check_name(text.partition(":")[0], "damage")


def _counting(show: Callable[[str], None], what: str, trials: int) -> Callable[[int, int], None]:
    """A progress callback that shows how many of the trials so far have healed."""
    return lambda done, healed: show(f"{what}: {healed} of {done} healed, {trials} trials in all")


def _report_healing(found: list[Healing]) -> None:
    """Print how often a quine healed from each damage, for a person."""
    table(
        ["damage", "healed", "95 %", "mutants", "prints", "before", "damaged", "after"],
        [_row(h) for h in found],
    )
    if any(h.accuracy for h in found):
        typer.echo("before, damaged, after: test accuracy")


def _row(h: Healing) -> list[str]:
    low, high = h.confidence
    prints = f"<= {max(h.generations)}" if h.generations else "-"
    scores = [f"{a:.3f}" for a in h.accuracy] or ["-"] * 3
    return [str(h.damage), f"{h.healed}/{h.trials}", f"{low:.2f}-{high:.2f}", str(h.mutants), prints, *scores]


def _accuracy_of(quine: Quine, folder: str) -> Callable[[Any], float] | None:
    """Make the measurement of a quine's test accuracy; None if it has no named task, or its data are not at hand."""
    from ..tasks.recipes import TASKS, test_data
    from ..tasks.training import evaluate

    made = quine.recipe or {}
    if made.get("name") not in TASKS or not quine.constructed:
        return None
    try:
        data = test_data(made, folder)
        images, _ = next(iter(data))
        quine.answer(images.to(quine.trunk_device, quine.dtype))
    except (NeuralQuineError, ValueError, RuntimeError):  # not at hand, or those of another network: a file may lie
        return None
    return lambda q: evaluate(lambda x: q.outputs(x.to(q.trunk_device, q.dtype)), data)


def _curve(
    quine: Quine, folder: Path, kind: str, trials: int, seed: int, show: Callable[[str], None]
) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Draw the share of trials that heal against the fraction damaged, beside what the counting of votes predicts.

    The figure is drawn anew at every point, so that one that is interrupted has all points so far.

    Yields:
        The figures of all points so far, and the file that shows them.
    """
    from ..checking.plots import write_figure
    from ..healing.curve import basin_figure
    from ..healing.heal import basin
    from ..quines.taped import TaskQuine
    from ..tasks.limits import fractions, predicted

    points, found = fractions(kind), []
    law: list[float | None] = []
    for number, fraction in enumerate(points, 1):
        what = f"{kind}:{fraction:g}, point {number} of {len(points)}"
        found += basin(quine, kind, [fraction], trials=trials, seed=seed, progress=_counting(show, what, trials))
        law += [predicted(quine, found[-1].damage) if isinstance(quine, TaskQuine) else None]
        path = write_figure(basin_figure(found, law), folder / "figures" / f"basin-{kind}.png")
        yield [h.figures() | {"predicted": p} for h, p in zip(found, law, strict=True)], str(path)
