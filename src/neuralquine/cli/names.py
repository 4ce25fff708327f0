"""The commands that list what can be named: recipes, methods."""

from __future__ import annotations

import inspect
from dataclasses import fields

import typer

from .options import AsJson, app
from .report import print_json


@app.command("recipes")
def list_recipes(as_json: AsJson = False) -> None:
    """List the named problems, tasks and worlds with their options."""
    from ..evolution.worlds import WORLDS
    from ..recipes import RECIPES
    from ..tasks.recipes import TASKS

    rows = []
    for name, make in (RECIPES | TASKS | WORLDS).items():
        options = [f"{p.name}={p.default}" for p in inspect.signature(make).parameters.values() if p.name != "seed"]
        summary = (inspect.getdoc(make) or "").partition("\n")[0]
        rows.append((name, summary, ", ".join(options).replace("torch.", "")))
    _listing(rows, as_json, "recipes")


@app.command("methods")
def list_methods(as_json: AsJson = False) -> None:
    """List the methods, what each does and its options."""
    from ..solving.methods import METHODS

    rows = []
    for name, method in METHODS.items():
        summary = (type(method).__doc__ or "").strip().split("\n\n")[0].replace("``", "")
        options = ", ".join(f"{f.name}={getattr(method, f.name)}" for f in fields(method))
        rows.append((name, " ".join(summary.split()), options))
    _listing(rows, as_json, "methods")


def _listing(rows: list[tuple[str, str, str]], as_json: bool, key: str) -> None:
    """Print names, what each of them stands for, and its options."""
    if as_json:
        print_json({key: [dict(zip(("name", "summary", "options"), row, strict=True)) for row in rows]})
        return
    for name, summary, options in rows:
        typer.echo(f"{name}\n    {summary}" + (f"\n    options: {options}" if options else ""))
