"""A lab as a process of its own, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass


@dataclass
class Opened:
    """A running lab: its process, its address without the token, the token."""

    process: subprocess.Popen
    base: str
    token: str

    @property
    def address(self):
        return f"{self.base}/?token={self.token}"


def open_lab(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "neuralquine", "lab", "--no-browser", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},  # as in every test process
    )
    line = process.stdout.readline()
    match = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)", line)
    assert match, line + process.stderr.read()
    return Opened(process, match[1], match[2])


def close_lab(opened, sign=signal.SIGINT):
    """What it says when it is asked to stop, and what it complains about."""
    opened.process.send_signal(sign)
    return opened.process.communicate(timeout=600)
