"""The site, built from the same Markdown that is read in the repository: ``make docs``.

Sphinx runs at the root of the repository, so that every relative link is right in both places. Two things are added
while a page is read: the tree of pages, from the lists of links in ``docs/index.md``, and below every table of
``docs/api.md`` the docstrings of the names in it.
"""

from __future__ import annotations

import re
from os.path import relpath
from pathlib import Path

from sphinx.application import Sphinx

from neuralquine.version import __version__

_ROOT = Path(__file__).resolve().parents[1]
_EXTRA = _ROOT / "docs" / "site"
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)\)")

project = "neuralquine"
author = "the authors of neuralquine"
release = version = __version__
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "benchmarks/results/*.md", "tests/attacks/README.md"]
exclude_patterns = [".*", "build", "dist", "src"]  # nobody looks through the packages of .venv for pages
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"neuralquine {__version__}"
html_extra_path = ["site"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}

smartquotes = False  # what is shown is what is typed
myst_heading_anchors = 3
nitpicky = True  # a name in a docstring that leads nowhere is a warning, and warnings are errors
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"neuralquine\.(quines\.(printers|networks|self_printer|normalized|stack|trunk|coding|derivatives|turns)\..*|solving\.(maps|methods\.(base|krylov_lm)|sweep|trace)\..*)",
    ),  # not for users
    (r"py:.*", r"(torch|numpy|np|os|pathlib|collections|types|enum|nn)\..*"),
    (
        r"py:.*",
        r"(optional|Portability|NotSound|Path|Module|Tensor|Any|Callable|Mapping|Sequence|Iterator|int|str|float|bool|None|tuple|list|dict)",
    ),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Fails when", "notes_style"), ("Source", "notes_style")]


def _tree(text: str) -> str:
    """The index with a hidden table of contents for every section of it."""
    trees = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        caption = section.splitlines()[0]
        links = [link for line in section.splitlines() if line.startswith("- ") for link in _LINK.findall(line)]
        entries = [f"{words} <{_from_root(page)}>" for words, page in links if page.endswith(".md")]
        trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```", ""]))
    return text + "\n" + "\n".join(trees)


def _from_root(page: str) -> str:
    """A link of the index as Sphinx names the page."""
    return "/" + (_ROOT / "docs" / page).resolve().relative_to(_ROOT).as_posix()


def _reference(text: str) -> str:
    """The tables of names with the docstrings below each."""
    import importlib
    import inspect

    def place(name: str) -> tuple[str, str]:
        if name.startswith("nq."):
            return "neuralquine", name.removeprefix("nq.")
        module, _, short = name.rpartition(".")
        return f"neuralquine.{module}", short

    def described(match: re.Match[str]) -> str:
        table, blocks = match.group(0), []
        for name in re.findall(r"^\| `([\w.]+)` \|", table, flags=re.MULTILINE):
            module, short = place(name)
            value = getattr(importlib.import_module(module), short)
            table = table.replace(f"| `{name}` |", "| {py:obj}`" + f"{name} <{module}.{short}>` |")
            kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
            members = [":members:", ":show-inheritance:"] if kind == "class" else []
            # What the kinds of quines share, but not the hundred methods of torch's modules.
            members += [":inherited-members: Module"] if kind == "class" and hasattr(value, "named_weights") else []
            kind = "exception" if kind == "class" and issubclass(value, Exception) else kind
            lines = [f".. auto{kind}:: {module}.{short}", *(f"   {m}" for m in members)]
            if not inspect.getdoc(value) or kind == "data":
                lines = [f".. py:data:: {module}.{short}"]
            blocks += ["", "```{eval-rst}", *lines, "```"]
        return table + "\n".join(blocks) + "\n"

    return re.sub(r"(?:^\|.*\n)+", described, text, flags=re.MULTILINE)


def _read(app: Sphinx, document: str, source: list[str]) -> None:
    folder = (_ROOT / document).parent

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        place = (folder / target).resolve()
        if place.is_relative_to(_EXTRA):  # copied as it is, to the root of the site
            return f'<a href="{relpath(_ROOT / place.relative_to(_EXTRA), folder)}">{words}</a>'
        return words if place.is_dir() else match.group(0)  # the site holds pages, not folders

    source[0] = _LINK.sub(link, source[0])
    if document == root_doc:
        source[0] = _tree(source[0])
    if document == "docs/api":
        source[0] = _reference(source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
