"""The application: commands in groups, each with whole sentences and with examples that can be copied."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .interruption import interrupted
from .known import GROUPS as GROUPS
from .known import check_command
from .starting import spared

EXAMPLES = {
    "post": ("neuralquine post --quick --out post", "neuralquine post --out post"),
    "solve": (
        "neuralquine solve blog --out quines/blog",
        "neuralquine solve blog --exact --out exact",
        "neuralquine solve blog --method rmsprop -m gradient=true --max-steps 2000",
        "neuralquine solve my_network.py:make --out quines/mine",
    ),
    "keep": ("neuralquine keep quines/blog",),
    "zoo": ("neuralquine zoo blog --starts 40", "neuralquine zoo blog --out quines/zoo"),
    "sweep": ("neuralquine sweep jobs.toml --out results -j 2",),
    "recipes": ("neuralquine recipes",),
    "methods": ("neuralquine methods",),
    "verify": ("neuralquine verify quines/blog", "neuralquine verify exact --portable"),
    "plot": ("neuralquine plot quines/blog",),
    "spectrum": ("neuralquine spectrum quines/blog",),
    "generations": ("neuralquine generations quines/blog -n 40",),
    "lab": ("neuralquine lab",),
    "certify": ("neuralquine certify quines/blog",),
    "check-proof": ("neuralquine check-proof quines/blog",),
    "digits": ("neuralquine digits quines/blog --digits 1000 --out digits.txt",),
    "export": ("neuralquine export exact self.onnx",),
    "train": ("neuralquine train digits-mlp --out work",),
    "predict": ("neuralquine predict work seven.png", "neuralquine predict work seven.png --invert"),
    "heal": ("neuralquine heal work --damage noise:0.5", "neuralquine heal work --damage zero:0.3 --trials 20"),
    "evolve": ("neuralquine evolve soup --out life",),
    "push": ("neuralquine push quines/blog owner/name", "neuralquine push quines/blog owner/name --private"),
    "pull": ("neuralquine pull example:blog-exact quines/exact", "neuralquine pull owner/name quines/theirs"),
}
"""Command lines that ``--help`` shows; the tests parse all of them, and run those of the documents."""


class Verb(TyperCommand):
    """A command whose help ends with examples, which are never wrapped: they are there to be copied."""

    def get_params(self, ctx: Any) -> list[Any]:
        return spared(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # of a command that has nothing to keep, or not yet
            raise interrupted() from None

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]  # braces are newer typers'

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for argument in self.get_params(ctx):
            if argument.param_type_name == "argument":  # its name says what it is; newer typers add a type of Python
                vars(argument)["display_type_rich"] = lambda ctx: None
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # of click, or of the copy inside newer typers
        super().format_epilog(ctx, formatter)
        if lines := EXAMPLES.get(self.name or ""):
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(TyperGroup):
    """The commands under the headings of ``GROUPS``, each with its first sentence, whole at every width."""

    def get_params(self, ctx: Any) -> list[Any]:
        return spared(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not args[0].startswith("-"):
            check_command(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        grouped = {name for members in GROUPS.values() for name in members}
        more = tuple(name for name in self.list_commands(ctx) if name not in grouped)
        for title, members in {**GROUPS, "More": more}.items():
            found = [(name, self.get_command(ctx, name)) for name in members]
            rows = [(name, _summary(command)) for name, command in found if command and not command.hidden]
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(f"{name:<{_WIDEST}}", text) for name, text in rows])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        super().format_epilog(ctx, formatter)
        with formatter.section("First steps"):
            for line in ("neuralquine solve blog --out quines/blog", "neuralquine verify quines/blog"):
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        formatter.write_paragraph()
        formatter.write_text("`neuralquine COMMAND -h` explains a command.")


_WIDEST = max(len(name) for members in GROUPS.values() for name in members)  # one column for all groups


def _summary(command: Any) -> str:
    """The first sentence of a command's help."""
    return (command.help or "").strip().partition("\n\n")[0].replace("\n", " ")


class App(typer.Typer):
    """An application whose commands are all of the class above."""

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **options: Any) -> Any:
        """Register the decorated function as a command, as ``typer`` does."""
        return super().command(name, cls=cls or Verb, **options)
