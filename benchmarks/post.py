"""The whole of ``neuralquine post``, and the page that it makes, as the documents show it.

    python benchmarks/post.py       # seven minutes of one core; after Ctrl-C it goes on where it was

The folder of the command stays in ``build/post``; its page goes to ``docs/site/post/index.html`` and its figures, as the
command wrote them, to ``benchmarks/results/post.json``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the command, and copy what it wrote."""
    folder, page = ROOT / "build" / "post", ROOT / "docs" / "site" / "post" / "index.html"
    subprocess.run([sys.executable, "-m", "neuralquine", "post", "--out", str(folder)], check=True)
    page.parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / "index.html", page)
    shutil.copyfile(folder / "figures.json", ROOT / "benchmarks" / "results" / "post.json")


if __name__ == "__main__":
    main()
