"""The commands for quines that have a task: train, predict, heal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
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
from .record import run_settings
from .report import pairs, print_json, table

if TYPE_CHECKING:
    from ..checking.verify import Verification
    from ..healing.damage import Damage
    from ..healing.heal import Healing
    from ..quines.quine import Quine
    from ..tasks.recipes import Task
    from ..tasks.training import Training

# -- train ------------------------------------------------------------------------------------------------------------


@app.command()
def train(
    task: Annotated[str, typer.Argument(metavar="RECIPE", help="A named task; `neuralquine recipes` lists them.")],
    out: Annotated[Path, typer.Option(help="Write the trained quine to this folder.")],
    seed: Seed = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    patience: Annotated[
        int, typer.Option(help="Stop after so many epochs without a lower validation loss; 0: never.", min=0)
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue a training that was stopped, from the checkpoint beside the same --out."
        ),
    ] = False,
    log: Annotated[
        str, typer.Option(help="Also log to tensorboard, wandb or trackio (needs the extra of the same name).")
    ] = "",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train a network that prints all of its weights.

    It learns a task, and what it prints equals its weights bit for bit.
    """
    from .. import tasks
    from ..files.logs import beside
    from ..keeping.store import check_target, save
    from ..quines.networks.running import usable

    check_target(out)
    made = tasks.recipe(task, seed=seed, **key_values(recipe_option, "--recipe-option"))
    made.quine.to(usable(device))
    made = replace(made, schedule=replace(made.schedule, patience=patience or None))
    checkpoint = out.with_name(out.name + ".training")
    training = _learn(task, made, out, checkpoint, tracker=log, resume=resume, quiet=as_json)
    accuracy = made.test()
    verification = save(made.quine, out, metrics=beside(out))
    if not training.interrupted:
        beside(out).unlink(missing_ok=True)
    if as_json:
        print_json(_training_figures(task, training, accuracy, verification, seed=seed, out=out))
    else:
        _report_training(task, made, training, accuracy, verification)
        typer.echo(f"written to {out}: try `neuralquine heal {out}`")
    if training.interrupted:
        typer.echo(f"neuralquine: interrupted: the same command with --resume goes on from {checkpoint}", err=True)
        raise typer.Exit(130)
    if not verification.bit_exact:
        raise typer.Exit(1)


def _learn(task: str, made: Task, out: Path, checkpoint: Path, *, tracker: str, resume: bool, quiet: bool) -> Training:
    """Train, with the progress on stderr and in the log; an interrupted training gives its best epoch."""
    from ..files.logs import open_logger

    settings = run_settings(made.quine, "train")
    with (
        status_line(f"training {task}", quiet=quiet) as show,
        closing(open_logger(out, tracker, settings=settings, resume=resume)) as logger,
        terminate_like_interrupt(),
    ):

        def progress(figures: dict[str, float]) -> None:
            epoch = int(figures["epoch"])
            logger.log({k: v for k, v in figures.items() if k != "epoch"}, epoch)
            losses = f"loss {figures['loss']:.4f}, validation {figures['validation']:.4f}"
            show(f"epoch {epoch + 1} of {made.schedule.epochs}, {losses}")

        try:
            return made.train(checkpoint=checkpoint, resume=resume, progress=progress)
        except KeyboardInterrupt:  # before there is anything to keep
            typer.echo("neuralquine: interrupted", err=True)
            raise typer.Exit(130) from None


def _training_figures(
    task: str, training: Training, accuracy: float, verification: Verification, *, seed: int, out: Path
) -> dict[str, Any]:
    from ..solving.solution import environment

    return {
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


def _report_training(task: str, made: Task, training: Training, accuracy: float, verification: Verification) -> None:
    """Print what a training gave, for a person."""
    quine = made.quine
    differing = verification.differing_weights
    typer.echo(
        "A task quine: it prints all of its weights, every bit."
        if verification.bit_exact
        else f"NOT a task quine: {plural(differing, 'printed weight')} {_verb(differing)} from the stored ones."
    )
    pairs(
        [
            ("recipe", f"{task}, seed {made.seed}, {quine.parameter_count} weights in {verification.dtype}"),
            ("test accuracy", f"{accuracy:.4f}   (validation {training.score:.4f})"),
            ("bit-exact", f"{'yes' if verification.bit_exact else 'no'}: {differing} differ"),
            ("tape", f"{quine.code_size} signs, {quine.repeats} rows each, margin {quine.margin:.3g}"),
            ("trained", f"{plural(training.epochs, 'epoch')}, {training.seconds:.0f} s"),
        ]
    )


def _verb(count: int) -> str:
    return "differs" if count == 1 else "differ"


# -- predict ----------------------------------------------------------------------------------------------------------


@app.command()
def predict(
    folder: Folder,
    image: Annotated[Path, typer.Argument(help="A picture, or a .npy array of one input or a batch of them.")],
    invert: Annotated[
        bool,
        typer.Option("--invert", help="Invert the picture first: the digits were learned as light on dark."),
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


# -- heal -------------------------------------------------------------------------------------------------------------


class _NamesKinds(TyperCommand):
    """A command whose help ends with the kinds of damage, which are known only when torch has been imported."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # of click, or of the copy inside newer typers
        super().format_help_text(ctx, formatter)
        from ..healing.damage import KINDS

        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Kinds of damage: {', '.join(KINDS)}.")


@app.command(cls=_NamesKinds)
def heal(
    folder: Folder,
    damage: Annotated[
        list[str],
        typer.Option(
            "--damage",
            metavar="KIND:FRACTION",
            help="Damage this fraction of the weights in this way, such as noise:0.5; may be given several times.",
        ),
    ] = [],  # noqa: B006
    trials: Annotated[int, typer.Option(help="Damage the quine anew so many times for each kind.", min=1)] = 100,
    generations: Annotated[
        int, typer.Option(help="Let a damaged quine print itself for at most so many generations.", min=1)
    ] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the damages.", min=0)] = 0,
    curve: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="Also draw how many quines heal as this kind of damage grows (extra `plot`)."
        ),
    ] = "",
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Damage a quine and count how often it heals.

    A damaged quine prints itself; it has healed when every bit has come back. The exit status is 1 unless every trial healed.
    """
    from ..healing.damage import Damage
    from ..healing.heal import heal as run

    damages = [Damage.parse(text) for text in damage or ([] if curve else ["noise:0.5"])]
    if curve:
        Damage(curve, 0.5)  # which refuses a kind that does not exist before anything is read
    quine = load_quine(folder, trunk)
    evaluate = _accuracy_of(quine)
    data: dict[str, Any] = {"folder": str(folder)}
    with status_line("healing", quiet=as_json) as show, terminate_like_interrupt():

        def healed(one: Damage) -> Healing:
            return run(
                quine,
                one,
                trials=trials,
                generations=generations,
                seed=seed,
                evaluate=evaluate,
                progress=_counting(show, str(one)),
            )

        found = [healed(one) for one in damages]
        data["damages"] = [h.figures() for h in found]
        if curve:
            data["curve"], data["figure"] = _curve(quine, folder, curve, trials, seed, show)
    if as_json:
        print_json(data)
    else:
        _report_healing(found)
        if curve:
            typer.echo(f"drawn to {data['figure']}")
    if not all(h.all_healed for h in found):
        raise typer.Exit(1)


def _counting(show: Callable[[str], None], what: str) -> Callable[[int, int], None]:
    """A progress callback that shows how many of the trials so far have healed."""
    return lambda done, healed: show(f"{what}: {healed} of {done} healed")


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


def _accuracy_of(quine: Quine) -> Callable[[Any], float] | None:
    """Make the measurement of a quine's test accuracy; None if it has no named task, or its data are not at hand."""
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
    """Draw the share of trials that heal against the fraction damaged, beside what the counting of votes predicts."""
    from ..checking.plots import basin_figure, write_figure
    from ..healing.heal import basin
    from ..quines.taped import TaskQuine
    from ..tasks.limits import fractions, predicted

    found = basin(quine, kind, fractions(kind), trials=trials, seed=seed, progress=_counting(show, kind))
    law = [predicted(quine, h.damage) for h in found] if isinstance(quine, TaskQuine) else [None] * len(found)
    path = write_figure(basin_figure(found, law), folder / "figures" / f"basin-{kind}.png")
    return [h.figures() | {"predicted": p} for h, p in zip(found, law, strict=True)], str(path)
