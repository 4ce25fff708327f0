"""Commands for quines that work: train, predict, heal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import NeuralQuineError, plural
from .options import (
    AsJson,
    Device,
    Folder,
    RecipeOption,
    Seed,
    TrunkOption,
    app,
    key_values,
    load_quine,
    status_line,
    terminate_like_interrupt,
)
from .record import logger_of
from .report import pairs, print_json, table

if TYPE_CHECKING:
    from ..healing.heal import Healing
    from ..quines.quine import Quine


@app.command()
def train(
    task: Annotated[str, typer.Argument(metavar="RECIPE", help="A named task; see `neuralquine recipes`.")],
    out: Annotated[Path, typer.Option(help="Folder to write the trained quine to.")],
    seed: Seed = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    patience: Annotated[
        int, typer.Option(help="Stop after so many epochs without a lower validation loss; 0: never.", min=0)
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed training with the same --out stopped.")
    ] = False,
    log: Annotated[
        str, typer.Option(help="Also log to tensorboard, wandb or trackio (needs the extra of that name).")
    ] = "",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train a network on a task as a quine that prints all of its weights, bit for bit."""
    from dataclasses import replace

    from .. import tasks
    from ..files.logs import beside
    from ..keeping.store import check_target, save
    from ..quines.networks.running import usable
    from ..solving.solution import environment

    check_target(out)
    made = tasks.recipe(task, seed=seed, **key_values(recipe_option, "--recipe-option"))
    quine = made.quine.to(usable(device))
    schedule = replace(made.schedule, patience=patience or None)
    checkpoint = out.with_name(out.name + ".training")
    with (
        status_line(f"training {task}", quiet=as_json) as show,
        logger_of(out, quine, log, "train", resume) as logger,
        terminate_like_interrupt(),
    ):

        def progress(figures: dict[str, float]) -> None:
            epoch = f"epoch {int(figures['epoch']) + 1} of {schedule.epochs}"
            if logger is not None:
                logger.log({k: v for k, v in figures.items() if k != "epoch"}, int(figures["epoch"]))
            show(f"{epoch}, loss {figures['loss']:.4f}, validation {figures['validation']:.4f}")

        try:
            training = made.train(schedule=schedule, checkpoint=checkpoint, resume=resume, progress=progress)
        except KeyboardInterrupt:  # before there is anything to keep
            typer.echo("neuralquine: interrupted", err=True)
            raise typer.Exit(130) from None
    accuracy = made.test()
    verification = save(quine, out, metrics=beside(out))
    if not training.interrupted:
        beside(out).unlink(missing_ok=True)
    data = {
        "recipe": task,
        "seed": seed,
        "epochs": training.epochs,
        "best_epoch": training.best_epoch,
        "validation_accuracy": training.score,
        "test_accuracy": accuracy,
        "interrupted": training.interrupted,
        "seconds": training.seconds,
        **verification.figures(),
        "environment": environment(),
        "out": str(out),
    }
    if as_json:
        print_json(data)
    else:
        typer.echo(f"{'A' if verification.bit_exact else 'NOT a'} task quine: it prints all of its weights, every bit.")
        pairs(
            [
                ("recipe", f"{task}, seed {seed}, {quine.parameter_count} weights in {verification.dtype}"),
                ("test accuracy", f"{accuracy:.4f}   (validation {training.score:.4f})"),
                ("bit-exact", f"{'yes' if verification.bit_exact else 'no'}: {verification.differing_weights} differ"),
                ("tape", f"{quine.code_size} signs, {quine.repeats} rows each, margin {quine.margin:.3g}"),
                ("trained", f"{plural(training.epochs, 'epoch')}, {training.seconds:.0f} s"),
            ]
        )
        typer.echo(f"written to {out}: try `neuralquine heal {out}`")
    if training.interrupted:
        typer.echo(f"neuralquine: interrupted: the same command with --resume goes on from {checkpoint}", err=True)
        raise typer.Exit(130)
    if not verification.bit_exact:
        raise typer.Exit(1)


@app.command()
def predict(
    folder: Folder,
    image: Annotated[Path, typer.Argument(help="A picture, or a .npy array of one input or a batch of them.")],
    invert: Annotated[
        bool, typer.Option("--invert", help="The picture is dark on light; digits are light on dark.")
    ] = False,
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Ask a task quine for its answer to a picture."""
    import torch

    from ..quines.taped import TaskQuine
    from ..tasks.inputs import read_inputs

    quine = load_quine(folder, trunk)
    if not isinstance(quine, TaskQuine):
        raise NeuralQuineError(f"{folder} has no task: it was not written by `neuralquine train`")
    with torch.no_grad():
        outputs = quine.outputs(read_inputs(image, quine, invert=invert)).double()
    shares = outputs.softmax(-1)
    rows = [
        {"class": int(o.argmax()), "probability": float(s.max()), "outputs": o.tolist()}
        for o, s in zip(outputs, shares, strict=True)
    ]
    if as_json:
        print_json({"predictions": rows})
    else:
        table(
            ["input", "class", "probability"],
            [[str(i), str(r["class"]), f"{r['probability']:.4f}"] for i, r in enumerate(rows)],
        )


class _HealCommand(TyperCommand):
    """Names the registered kinds of damage in its help, and imports them only when the help is shown."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        from ..healing.kinds import KINDS

        super().format_help_text(ctx, formatter)
        with formatter.section("Kinds of damage"):
            formatter.write_dl([(name, kind.about) for name, kind in KINDS.items()])


@app.command(cls=_HealCommand)
def heal(
    folder: Folder,
    damage: Annotated[
        list[str], typer.Option("--damage", metavar="KIND:FRACTION", help="Damage, such as noise:0.5; may be repeated.")
    ] = [],  # noqa: B006
    trials: Annotated[int, typer.Option(help="Independent damages of each kind.", min=1)] = 100,
    generations: Annotated[int, typer.Option(help="Generations that a line is followed.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the damages.", min=0)] = 0,
    curve: Annotated[
        str, typer.Option(metavar="KIND", help="Also draw how healing ends as this damage grows (extra `plot`).")
    ] = "",
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Damage a quine, let it print itself, and count how often every bit comes back.

    Exits with 1 unless every trial healed.
    """
    from ..healing.damage import Damage
    from ..healing.heal import heal as run

    damages = [Damage.parse(text) for text in damage or ([] if curve else ["noise:0.5"])]
    if curve:
        Damage(curve, 0.5)
    quine = load_quine(folder, trunk)
    evaluate = _accuracy_of(quine)
    found: list[Healing] = []
    with status_line("healing", quiet=as_json) as show, terminate_like_interrupt():
        for one in damages:
            count: Callable[[int, int], None] = lambda done, ok, one=one: show(f"{one}: {ok} of {done} healed")  # noqa: E731
            found.append(
                run(quine, one, trials=trials, generations=generations, seed=seed, evaluate=evaluate, progress=count)
            )
        data: dict[str, Any] = {"folder": str(folder), "damages": [h.figures() for h in found]}
        if curve:
            data["curve"], data["figure"] = _curve(quine, folder, curve, trials, seed, show)
    if as_json:
        print_json(data)
    else:
        table(
            ["damage", "healed", "95 %", "mutants", "prints", "before", "damaged", "after"],
            [_row(h) for h in found],
        )
        if any(h.accuracy for h in found):
            typer.echo("before, damaged, after: test accuracy")
        if curve:
            typer.echo(f"drawn to {data['figure']}")
    if not all(h.all_healed for h in found):
        raise typer.Exit(1)


def _row(h: Healing) -> list[str]:
    low, high = h.confidence
    needed = f"<= {max(h.generations)}" if h.generations else "-"
    scores = [f"{a:.3f}" for a in h.accuracy] or ["-"] * 3
    return [str(h.damage), f"{h.healed}/{h.trials}", f"{low:.2f}-{high:.2f}", str(h.mutants), needed, *scores]


def _accuracy_of(quine: Quine) -> Callable[[Any], float] | None:
    """Test accuracy of a quine of one of our tasks; None where its data are not at hand."""
    from ..tasks.recipes import TASKS, test_data
    from ..tasks.training import evaluate

    made = quine.recipe or {}
    if made.get("name") not in TASKS:
        return None
    try:
        data = test_data(made)
    except NeuralQuineError:
        return None
    return lambda q: evaluate(lambda x: q.outputs(x.to(q.trunk_device, q.dtype)), data)


def _curve(
    quine: Quine, folder: Path, kind: str, trials: int, seed: int, show: Callable[[str], None]
) -> tuple[list[dict[str, Any]], str]:
    """Healed share against the fraction damaged, beside what the counting of votes predicts."""
    from ..checking.plots import write_figure
    from ..healing.curve import basin_figure
    from ..healing.heal import basin
    from ..quines.taped import TaskQuine
    from ..tasks.limits import fractions, predicted

    found = basin(
        quine,
        kind,
        fractions(kind),
        trials=trials,
        seed=seed,
        progress=lambda done, ok: show(f"{kind}: {ok} of {done} healed"),
    )
    law = [predicted(quine, h.damage) for h in found] if isinstance(quine, TaskQuine) else [None] * len(found)
    path = write_figure(basin_figure(found, law), folder / "figures" / f"basin-{kind}.png")
    return [h.figures() | {"predicted": p} for h, p in zip(found, law, strict=True)], str(path)
