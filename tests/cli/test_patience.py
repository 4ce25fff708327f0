"""A proof about a stranger's folder ends: by the work that its weights allow for."""

import time

import pytest

import neuralquine as nq
from neuralquine.cli.options import check_certificate
from neuralquine.cli.prove import patience
from neuralquine.files.names import CERTIFICATE

pytest.importorskip("flint")


def endless(path):
    while True:
        pass


def test_a_proof_without_end_ends(tmp_path):
    with pytest.raises(nq.TooLarge, match="--time-limit allows for more"), patience(tmp_path, 0.05):
        endless(tmp_path)


def test_one_that_is_done_in_time_is_let_alone(tmp_path):
    with patience(tmp_path, 0.2):
        pass
    ended = time.process_time() + 0.3
    while time.process_time() < ended:  # no clock runs on
        pass


def test_a_certificate_that_there_is_no_time_for_is_not_examined(tmp_path, monkeypatch):
    (tmp_path / CERTIFICATE).write_text("{}")
    monkeypatch.setattr("neuralquine.proving.certificate.check", endless)
    with patience(tmp_path, 0.05):
        assert check_certificate(tmp_path) == (None, "")
