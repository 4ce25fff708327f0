"""Several processes print one quine, each its own part: the same file as one process writes."""

import os
import subprocess
import sys

import pytest
import torch

import forked

pytest.importorskip("transformers")
OPTIONS = ["solve", "gpt2", "-r", "layers=2", "-r", "width=64", "--out"]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_gloo_ranks_write_the_file_of_one_process(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    run += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "neuralquine"]
    sharded = subprocess.run(
        [*run, *OPTIONS, str(tmp_path / "two"), "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert sharded.returncode == 0, sharded.stderr
    assert '"bit_exact": true' in sharded.stdout
    forked.run([sys.executable, "-m", "neuralquine", *OPTIONS, str(tmp_path / "one")], capture_output=True, check=True)
    one, two = ((tmp_path / part / "README.md").read_text().splitlines() for part in ("one", "two"))
    # What foreign code keeps beside its weights is counted as each process holds it.
    assert [r for r in one if "stored outside" not in r] == [r for r in two if "stored outside" not in r]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
