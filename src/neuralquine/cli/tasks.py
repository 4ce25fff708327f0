"""The commands for quines that have a task: train, predict."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NeuralQuineError, plural
from .interruption import interrupted, terminate_like_interrupt
from .known import check_name, completed
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
    named,
    status_line,
)
from .record import run_settings
from .report import pairs, print_json, table

if TYPE_CHECKING:
    from ..checking.verify import Verification
    from ..tasks.recipes import Task
    from ..tasks.training import Training

# -- train ------------------------------------------------------------------------------------------------------------


TaskName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A named task; `neuralquine recipes` lists them.",
        autocompletion=completed("task"),
    ),
]
Patience = Annotated[
    int,
    typer.Option(
        help="Stop after so many epochs without a lower validation loss; by default never.",
        metavar="N",
        show_default=False,
        min=0,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue a training that was stopped, from the checkpoint beside the same --out."),
]
Log = Annotated[
    str,
    typer.Option(
        help="Also log to tensorboard, wandb or trackio (needs the extra of the same name).",
        metavar="TRACKER",
        show_default=False,
    ),
]


@app.command()
def train(
    task: TaskName,
    out: Annotated[Path, typer.Option(help="Write the trained quine to this folder.", metavar="FOLDER")],
    seed: Seed = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    patience: Patience = 0,
    resume: Resume = False,
    log: Log = "",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Train a network that prints all of its weights.

    It learns a task, and what it prints equals its weights bit for bit.
    """
    check_name(task, "task")
    from .. import tasks
    from ..files.logs import beside
    from ..keeping.store import check_target, save
    from ..quines.networks.running import usable

    out = named(out) or out
    check_target(out)
    made = tasks.recipe(task, seed=seed, **key_values(recipe_option, "--recipe-option"))
    made.quine.to(usable(device))
    made = replace(made, schedule=replace(made.schedule, patience=patience or None))
    checkpoint = out.with_name(out.name + ".training")
    training = _learn(task, made, out, checkpoint, tracker=log, resume=resume, quiet=as_json)
    accuracy = made.test()
    verification = save(made.quine, out, metrics=beside(out), test_accuracy=accuracy)
    if not training.interrupted:
        beside(out).unlink(missing_ok=True)
    if as_json:
        print_json(_training_figures(task, training, accuracy, verification, seed=seed, out=out))
    else:
        _report_training(task, made, training, accuracy, verification)
        typer.echo(f"written to {out}: try `neuralquine heal {shlex.quote(str(out))}`")
    if training.interrupted:
        raise interrupted(f"the best epoch is in {out}, the last one in {checkpoint}", resume="--resume")
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
            raise interrupted() from None


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
            ("recipe", f"{task}, seed {made.seed}, {quine.parameter_count:,} weights in {verification.dtype}"),
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
    image: Annotated[
        Path, typer.Argument(help="A picture, or a .npy array of one input or a batch of them.", metavar="PICTURE")
    ],
    invert: Annotated[
        bool,
        typer.Option("--invert", help="Invert the picture first: the digits were learned as light on dark."),
    ] = False,
    trunk: TrunkOption = "",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Ask a task quine for its answer to a picture."""
    import torch

    from ..quines.taped import TaskQuine
    from ..tasks.inputs import is_light, read_inputs

    quine = load_quine(folder, trunk, device)
    if not isinstance(quine, TaskQuine):
        raise NeuralQuineError(f"{folder} has no task: it was not written by `neuralquine train`")
    inputs = read_inputs(image, quine, invert=invert)
    if image.suffix != ".npy" and is_light(inputs):
        hint = "without --invert" if invert else "with --invert"
        typer.echo(f"the picture's border is light, and digits were learned as light on dark: try {hint}", err=True)
    with torch.no_grad():
        outputs = quine.outputs(inputs).double().cpu()
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
