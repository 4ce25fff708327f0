"""A lab as a process of its own, without its workers: with quines on the shelf and a long story, for tests of the streams."""

import os
import re
import subprocess
import sys

from lab.opened import Opened

EVENTS, SIZE = 20_000, 1 << 20

SCRIPT = f"""
import contextlib, os, resource, sys, tempfile
from pathlib import Path
from neuralquine.lab import serve
from neuralquine.lab.app import Lab
from neuralquine.lab.jobs import Job

files = int(sys.argv[1])
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

@contextlib.asynccontextmanager
async def opened(self):
    self._catalog = {{"networks": [], "methods": [], "damages": [], "works": []}}
    entry = self.shelf.reserve()
    entry.folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        (entry.folder / name).write_bytes(os.urandom({SIZE}))
    self.shelf.put(entry, {{"title": "q1"}})
    job = Job("j1", "zoo", {{}}, "long", 1.0, lambda result: result, state="done")
    job.events = [{{"kind": "point", "step": i, "text": "x" * 100}} for i in range({EVENTS})]
    job.events.append({{"kind": "done", "result": {{"quines": []}}}})
    self.jobs._jobs["j1"] = job
    yield

Lab.open = opened
serve.serve(0, browser=False, say=lambda text: print(text, flush=True))
"""


def stand(files=0):
    """Open it; ``files`` limits how many files it may have open."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    line = process.stdout.readline()
    match = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)", line)
    assert match, line + process.stderr.read()
    process.stdout.readline()
    return Opened(process, match[1], match[2])
