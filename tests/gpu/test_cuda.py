"""What a CUDA device must do as the CPU does: solve, verify, keep, and print the same bits."""

import json
import subprocess
import sys

import pytest
import torch

import neuralquine as nq

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

FREE = ["blog", "cnn", "rnn", "gru", "lstm"]
ANCHORED = {
    "cnn": {"skip": 0.1, "code_bits": 10},
    "rnn": {"skip": 0.1, "code_bits": 10},
    "gru": {"skip": 0.1, "code_bits": 10},
    "lstm": {"skip": 0.1, "code_bits": 10},
    "transformer": {"skip": 0.1, "code_bits": 6},
    "gpt2": {"layers": 2, "width": 128},
}


@pytest.mark.parametrize("name", FREE)
def test_a_free_network_is_solved_and_believed(name):
    quine = nq.recipe(name, seed=0).to("cuda")
    solution = nq.solve(quine, throw=False, stop=nq.Stop(time_limit=100))
    assert solution.converged
    verification = nq.verify(quine, tries=5)
    assert verification.is_quine, verification
    assert verification.self_sensitivity > 1


@pytest.mark.parametrize("name", ANCHORED)
def test_an_anchored_network_is_exact_and_the_cpu_prints_the_same_bits(name, tmp_path):
    quine = nq.recipe(name, seed=1, **ANCHORED[name]).to("cuda")
    solution = nq.solve(quine, throw=False, stop=nq.Stop(time_limit=100))
    assert solution.bit_exact, solution
    verification = nq.save(quine, tmp_path / "q")
    assert verification.is_quine, verification
    back = nq.load(tmp_path / "q")
    assert torch.equal(back.theta, quine.theta.cpu())
    assert torch.equal(back.printed(), back.theta)
    assert torch.equal(back.to("cuda").printed().cpu(), back.theta.cpu())


@pytest.mark.parametrize("name", [*FREE, "transformer"])
def test_a_free_network_is_exact_there(name, tmp_path):
    quine = nq.recipe(name, seed=2).to("cuda")
    solution = nq.solve(quine, exact=True, throw=False, time_limit=100)
    assert solution.bit_exact, solution
    verification = nq.save(quine, tmp_path / "q")
    assert verification.is_quine, verification
    assert torch.equal(nq.load(tmp_path / "q").theta, quine.theta.cpu())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_zoo_is_found(dtype):
    found = nq.zoo(nq.recipe("blog", seed=0, dtype=dtype).to("cuda"), starts=4)
    assert found.quines
    assert all(q.theta.is_cuda for q in found.quines)


def test_a_time_limit_is_kept():
    solution = nq.solve(nq.recipe("queried-2601", seed=0).to("cuda"), time_limit=2, throw=False)
    assert solution.seconds < 20


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "example:blog-exact"],
        ["spectrum", "example:blog-exact"],
        ["generations", "example:blog-exact", "-n", "3"],
        ["heal", "example:healing", "--trials", "5"],
        ["zoo", "blog", "--starts", "2"],
    ],
)
def test_commands_run_there(words, run):
    status, out, error = run(*words, "--device", "cuda", "--json")
    assert status == 0, error
    assert json.loads(out)


def test_an_exact_quine_of_the_cpu_is_printed_by_the_gpu():
    quine = nq.recipe("blog", seed=3)
    nq.solve(quine, exact=True)
    theta = quine.theta
    assert torch.equal(quine.to("cuda").printed().cpu(), theta)


def test_what_is_looked_at_is_looked_at_there():
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    here, there = nq.spectrum(quine), nq.spectrum(quine.to("cuda"))
    assert there.spectral_radius == pytest.approx(here.spectral_radius, rel=1e-6)
    assert there.self_sensitivity == pytest.approx(here.self_sensitivity, rel=1e-6)
    assert nq.generations(quine, 3).survived == 3


def test_a_task_quine_heals_and_is_guarded():
    stem = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU())
    quine = nq.TaskQuine(nq.Body(stem, torch.nn.Linear(64, 3)), (8, 4), code_size=64).to("cuda")
    assert nq.verify(quine, tries=3).is_quine
    assert nq.heal(quine, "noise:0.3", trials=5).healed == 5
    live = nq.guard(quine, every=1)
    live.quine.weights[0].data[0] = torch.nan
    assert live.check().outcome == "healed"


def test_a_queried_quine_is_solved():
    quine = nq.recipe("queried-121", seed=3).to("cuda")
    assert nq.solve(quine, throw=False, stop=nq.Stop(time_limit=60)).converged
    assert nq.verify(quine, tries=3).is_quine


def test_two_searches_at_once_may_be_the_first_to_invert_a_matrix():
    """Torch loads its linear algebra lazily, and not from two threads at once: in a process that has not loaded it yet."""
    code = """
import neuralquine as nq
quine = nq.recipe("chang-lipson", seed=11, width=50, device="cuda")
solution = nq.solve(quine, throw=False, stop=nq.Stop(time_limit=60))
print(solution.status.name, nq.verify(quine).is_quine)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=False)
    assert ran.stdout.split() == ["CONVERGED", "True"], ran.stderr[-800:]
