"""Chromium for the tests: Debian's own, headless, and a server of plain files; skipped, with the reason, where there is none."""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest

LONG = 300_000  # milliseconds: other people compute on this machine too
NAMES = ("chromium", "chromium-browser", "google-chrome")
# A process for every page would read and compile the same scripts again, which takes longer than most tests.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--process-per-site"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """The address under which the files of a folder can be fetched."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def chromium():
    """A browser that is driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install 'neuralquine[test]'")
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    playwright.expect.set_options(timeout=LONG)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
