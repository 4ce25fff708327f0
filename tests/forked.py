"""Commands as processes of their own, without the seconds that importing torch takes each time.

One server of all test processes imports the package once and forks a child for every command. The child has its own standard
streams, folder, environment and exit status, and ends like any process; only how long it takes to start, and what an
environment variable does to the interpreter or to torch while they start, is not seen here. Tests of these, of terminals and
of limits start real processes.
"""

import array
import atexit
import contextlib
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

# What few commands need, or none: a page and its server, files for other runtimes, and modules that are programs.
_LEFT_OUT = r"neuralquine\.(lab|keeping\.onnx|quines\.printers\.kernels)\b|.*\.__main__$"

# What commands import while they run.
_LATER = ["scipy.stats", "scipy.sparse.linalg", "numpy.ctypeslib", "matplotlib.backends.backend_agg"]

# Of the run, whose processes share it; in Linux's space without files, where nothing is left.
_ADDRESS = f"\0forked-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"

_life = None  # while a process of the run holds its end of this line, the server lives
_lock = threading.Lock()


def run(command, **options):
    """``subprocess.run`` of ``[sys.executable, "-m", "neuralquine", ...]`` or ``[sys.executable, "-c", code, ...]``."""
    check, timeout = options.pop("check", False), options.pop("timeout", None)
    with Forked(command, **options) as process:
        process.wait(timeout or 600)
        done = subprocess.CompletedProcess(process.command, process.returncode, process.stdout, process.stderr)
    if check:
        done.check_returncode()
    return done


class Forked:
    """A command that runs, as ``subprocess.Popen`` of the same words; it is killed where its ``with`` is left earlier."""

    def __init__(self, command, *, cwd=None, env=None, input=None, text=False, capture_output=False):
        self.command = [str(word) for word in command]
        assert self.command[0] == sys.executable
        assert self.command[1] in ("-m", "-c")
        self.text, self.returncode, self.stdout, self.stderr = text, None, None, None
        self._files = [_file(given) for given in (input, None, None)]
        self._captured = capture_output
        taken = self._files if capture_output else self._files[:1]
        streams = [file.fileno() for file in taken] + [1, 2][len(taken) - 1 :]
        self._socket = _asked(streams)
        self._line = self._socket.makefile("rw")
        asked = {
            "words": self.command[1:],
            "cwd": str(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
        }
        self._line.write(json.dumps(asked) + "\n")
        self._line.flush()
        self.pid = int(self._line.readline())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.returncode is None:
            self.kill()
        self._line.close()
        self._socket.close()
        for file in self._files:
            file.close()

    def said(self):
        """What a captured process has written to its standard output so far."""
        return os.pread(self._files[1].fileno(), 1 << 20, 0).decode()

    def poll(self):
        """The exit status, or None while it runs."""
        if self.returncode is None and select.select([self._socket], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout=600):
        if self.returncode is None:
            self._socket.settimeout(timeout)
            try:
                self.returncode = int(self._line.readline())
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.command, timeout) from None
            if self._captured:
                self.stdout, self.stderr = (_read(file, self.text) for file in self._files[1:])
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)
        return self.wait()


def warm(*modules):
    """Have these imported for all commands that follow, as each of them would do for itself."""
    with _file(" ".join(modules)) as names, _asked([names.fileno()], b"w"):
        pass


def _file(text=None):
    file = os.fdopen(os.memfd_create("stream"), "w+b")
    file.write(text.encode() if isinstance(text, str) else text or b"")
    file.flush()
    file.seek(0)
    return file


def _read(file, text):
    file.seek(0)
    found = file.read()
    return found.decode().replace("\r\n", "\n") if text else found


def _asked(streams, message=b"."):
    """The line to a new process of the server, which has these standard streams."""
    global _life
    with _lock:
        if _life is None:
            _begin()
            _life = _line([], b"l")
            atexit.register(_life.close)
        return _line(streams, message)


def _line(streams, message):
    line, until = socket.socket(socket.AF_UNIX), time.monotonic() + 600
    while line.connect_ex(_ADDRESS):  # whoever has the address does not listen yet
        assert time.monotonic() < until
        time.sleep(0.01)
    line.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))])
    return line


def _begin():
    """Start the server, where no other process of the test run has done so."""
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            listening.bind(_ADDRESS)
        except OSError:
            return
        listening.listen()
        listening.set_inheritable(True)
        start = [sys.executable, __file__, str(listening.fileno())]
        os.posix_spawn(sys.executable, start, os.environ | {"OMP_NUM_THREADS": "1"})


# -- the server --------------------------------------------------------------------------------------------------------


def _serve(number):
    import functools
    import gc
    import importlib
    import pkgutil

    gc.disable()
    import torch
    import typer.main

    import neuralquine.cli
    from neuralquine.cli.group import App

    torch.set_num_threads(1)
    names = [m.name for m in pkgutil.walk_packages(neuralquine.__path__, "neuralquine.")]
    for name in [name for name in names if not re.match(_LEFT_OUT, name)] + _LATER:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    made = functools.cache(typer.main.get_command)
    App.__call__ = lambda app, *words, **options: made(app)(*words, **options)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        sys.argv = ["neuralquine", "verify", os.devnull]  # what reads a command line is made with the first one
        neuralquine.cli.main()
    torch.func.jvp(torch.tanh, (torch.ones(1),), (torch.ones(1),))  # its imports take seconds, too
    torch.ones(1, device="meta") * 2  # as do those of the first operation without memory, of which every load has some
    gc.freeze()  # what was imported stays, and children that looked through it would copy its memory
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
    listening, lives = socket.socket(fileno=number), []
    while True:
        ready = select.select([listening, *lives], [], [])[0]
        if listening not in ready:
            lives = [life for life in lives if life not in ready]
            if not lives:
                return
            continue
        line, _ = listening.accept()
        message, handed, *_ = line.recvmsg(1, socket.CMSG_SPACE(12))
        files = array.array("i")
        files.frombytes(b"".join(data for *_, data in handed))
        if message == b"l":
            lives.append(line)
        elif message == b"w":
            with contextlib.suppress(ImportError):
                for name in _read(os.fdopen(files[0], "rb", closefd=False), True).split():
                    importlib.import_module(name)
            gc.freeze()
        elif os.fork() == 0:
            listening.close()
            _watch(line, *files)
        if message != b"l":
            line.close()
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(answer, *streams):
    """Fork the command, say its number and then its exit status, as a shell would: minus the signal that ended it."""
    line = answer.makefile("rw")
    asked = json.loads(line.readline())
    pid = os.fork()
    if pid == 0:
        _become(asked, streams)
    line.write(f"{pid}\n")
    line.flush()
    line.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
    line.flush()
    os._exit(0)


def _become(asked, streams):
    for own, file in enumerate(streams):
        os.dup2(file, own)
    os.closerange(3, 256)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(own, "rww"[own], encoding=os.environ.get("PYTHONIOENCODING", "utf-8"), closefd=False)
        for own in range(3)
    )
    sys.path.insert(0, "")  # as the interpreter does
    code = 0
    try:
        _perform(asked["words"])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _perform(words):
    kind, what, *rest = words
    if kind == "-m":
        import runpy

        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *rest]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
