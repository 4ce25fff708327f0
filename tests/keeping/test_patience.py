"""A proof about a stranger's folder ends, in Python as on the command line: by the work that its weights allow for."""

import signal
import threading
import time

import pytest

import neuralquine as nq
from neuralquine.cli.options import check_certificate
from neuralquine.files.names import CERTIFICATE
from neuralquine.keeping import theorems
from neuralquine.keeping.patience import patience

pytest.importorskip("flint")


def endless(*_, **__):
    while True:
        pass


def test_a_proof_without_end_ends(tmp_path):
    with pytest.raises(nq.TooLarge, match=r"time_limit= allows for more, --time-limit on"), patience(tmp_path, 0.05):
        endless()


def test_one_that_is_done_in_time_is_let_alone(tmp_path):
    with patience(tmp_path, 0.2):
        pass
    ended = time.process_time() + 0.3
    while time.process_time() < ended:  # no clock runs on
        pass


def test_the_clock_of_a_profiler_goes_on(tmp_path):
    rung = []
    before = signal.signal(signal.SIGPROF, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_PROF, 0.02, 0.02)
    try:
        with patience(tmp_path, 100):
            pass
        ended = time.process_time() + 0.3
        while not rung and time.process_time() < ended:
            pass
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert rung


def test_in_another_thread_nothing_is_limited(tmp_path):
    done = []

    def asked():
        with patience(tmp_path, 0.01):
            done.append(1)

    thread = threading.Thread(target=asked)
    thread.start()
    thread.join()
    assert done


def test_a_certificate_that_there_is_no_time_for_is_not_examined(tmp_path, monkeypatch):
    (tmp_path / CERTIFICATE).write_text("{}")
    monkeypatch.setattr("neuralquine.proving.certificate.check", endless)
    with patience(tmp_path, 0.05):
        proved, reason = check_certificate(tmp_path)
    assert proved is None
    assert reason.startswith("certificate.json: ")
    assert "seconds" in reason or "time" in reason


VERBS = {
    "certify": ("certificate.certify", lambda q, t: nq.certify(q, time_limit=t)),
    "check-proof": ("certificate.check", lambda q, t: nq.check_proof(q, time_limit=t)),
    "portable": ("portable.portability", lambda q, t: nq.portable(q, time_limit=t)),
    "digits": ("digits.digits", lambda q, t: nq.digits(q, 5, time_limit=t)),
    "many digits": ("digits.digits", lambda q, t: nq.digits(q, 1000, time_limit=t)),
}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(theorems, "check_sound", lambda _: None)
    monkeypatch.setattr("neuralquine.keeping.patience._PATIENCE", 0.05)
    monkeypatch.setattr("neuralquine.keeping.patience._PER_BYTE", 0)


@pytest.mark.parametrize("verb", VERBS)
def test_the_verbs_of_python_have_the_limit_of_the_commands(verb, quick, tmp_path, monkeypatch):
    place, ask = VERBS[verb]
    (tmp_path / CERTIFICATE).write_text("{}")
    ends = time.process_time() + 0.3
    done = f"neuralquine.proving.{place}"
    monkeypatch.setattr(done, endless)
    with pytest.raises(nq.TooLarge):
        ask(tmp_path, 0.05 if verb == "many digits" else None)

    def slow(*_, **__):
        while time.process_time() < ends:
            pass
        return {"claim": "slow"}

    ends = time.process_time() + 0.2
    monkeypatch.setattr(done, slow)
    assert ask(tmp_path, None if verb == "many digits" else 100)


def test_no_time_for_a_proof_that_nobody_asked_for_is_no_error(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("neuralquine.proving.portable.portability", endless)
    assert theorems.portability_at_once(nq.recipe("queried-121"), tmp_path) is None
