"""Several processes print one quine, each its own part: the same file as one process writes."""

import contextlib
import os
import subprocess
import sys

import pytest
import torch

import forked
import neuralquine as nq

pytest.importorskip("transformers")
MADE = {"layers": 2, "width": 64}
OPTIONS = [part for key, value in MADE.items() for part in ("-r", f"{key}={value}")]


def by_torchrun(command):
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    run += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return [subprocess.run([*run, *command], env=environment, capture_output=True, text=True, check=False)]


def as_torchrun_does(command):
    """Two processes with the variables that torchrun sets; as there, the store that they meet at is held by whoever starts them."""
    forked.warm("transformers.models.gpt2.modeling_gpt2")
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as both:
        ranks = []
        for rank in ("0", "1"):
            own = {"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
            process = forked.Forked(
                [sys.executable, *command], env=os.environ | shared | own, capture_output=True, text=True
            )
            ranks.append(both.enter_context(process))
        for process in ranks:
            process.wait()
    return ranks


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
@pytest.mark.parametrize("start", [as_torchrun_does, pytest.param(by_torchrun, marks=pytest.mark.slow)])
def test_two_gloo_ranks_write_the_file_of_one_process(start, tmp_path):
    command = ["-m", "neuralquine", "solve", "gpt2", *OPTIONS, "--out", str(tmp_path / "two"), "--json"]
    sharded = start(command)
    assert [done.returncode for done in sharded] == [0] * len(sharded), sharded[0].stderr
    assert ['"bit_exact": true' in done.stdout for done in sharded] == [True, False][: len(sharded)]
    quine = nq.recipe("gpt2", **MADE)
    nq.solve(quine)
    nq.save(quine, tmp_path / "one")
    one, two = ((tmp_path / part / "README.md").read_text().splitlines() for part in ("one", "two"))
    # What foreign code keeps beside its weights is counted as each process holds it.
    assert [r for r in one if "stored outside" not in r] == [r for r in two if "stored outside" not in r]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
