"""The page to play with, ``docs/site/play``: copies what it shares with the lab, so that it opens from a file too.

A browser loads no ES modules from a file, so each module of the lab is copied as a plain script that defines one name:
``js/heat.js`` becomes ``lab/heat.js`` with ``const Heat = ...``. Run it (``make play``) after a change of these modules;
a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "src" / "neuralquine" / "lab" / "static"
PLAY = ROOT / "docs" / "site" / "play"
MODULES = ("page", "tables", "onnx", "graph", "heat", "chart", "plots")  # each after those that it imports
_HEAD = "made by `make play` from src/neuralquine/lab/static/{}: do not edit"
_IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function\*?|class) ([\w$]+))", re.MULTILINE)


def plain(name: str, text: str) -> str:
    """A module as a plain script that defines one name, the module's with a capital letter.

    Raises:
        ValueError: it imports or exports in a way that is not known here.
    """
    names = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub(lambda m: f"const {{ {m[1]} }} = {m[2].capitalize()};\n", text))
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise ValueError(f"{name}.js imports or exports in a way that {Path(__file__).name} does not know")
    return (
        f"// {_HEAD.format(f'js/{name}.js')}\n"
        f'"use strict";\n\nconst {name.capitalize()} = (() => {{\n{body}\nreturn {{ {", ".join(names)} }};\n}})();\n'
    )


def files() -> dict[Path, str]:
    """Every file that is copied, with its content."""
    made = {PLAY / "lab" / f"{name}.js": plain(name, (LAB / "js" / f"{name}.js").read_text()) for name in MODULES}
    made[PLAY / "lab" / "style.css"] = f"/* {_HEAD.format('style.css')} */\n" + (LAB / "style.css").read_text()
    return made


def main() -> None:
    """Write them."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
