"""The quines that are installed with the package, made by the commands that anybody would type.

python benchmarks/examples.py        # some half a minute; src/neuralquine/keeping/example_quines
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PLACE = Path(__file__).resolve().parents[1] / "src" / "neuralquine" / "keeping" / "example_quines"
MADE = {
    "blog": "solve blog",
    "blog-exact": "solve blog --exact",
    "elman": "solve elman",
    "healing": "solve rnn -r skip=0.1 -r code_bits=8",
    "queried-121": "solve queried-121",
}
PROVED = ("blog", "blog-exact")  # with a certificate; there is no rule for quines that are asked one by one
DROPPED = ("metrics.jsonl", "figures")  # the course of the search is in solution.json


def _run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "neuralquine", *words], check=True)


def main() -> None:
    """Make all of them in the place of those that are there."""
    with tempfile.TemporaryDirectory() as place:
        for name, command in MADE.items():
            folder = Path(place) / name
            _run(*shlex.split(command), "--out", str(folder))
            if name in PROVED:
                _run("certify", str(folder))
            for file in DROPPED:
                (folder / file).unlink(missing_ok=True)
        shutil.rmtree(PLACE, ignore_errors=True)
        shutil.copytree(place, PLACE)


if __name__ == "__main__":
    main()
