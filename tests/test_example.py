"""The quine in forty lines: the same network as the package's, solved without it."""

import ast
import importlib.util
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import neuralquine as nq

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "quine_in_40_lines.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tables(quine):
    """The package's projection and probe in the script's form: ``F(theta) = table @ network(theta, probe)``."""
    assert not bool(quine.expand.mean.any())
    return (quine.expand.gain[:, None] * quine.expand.matrix).numpy(), quine.inputs[0][0].numpy()


def test_it_has_forty_lines_and_imports_numpy_alone():
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 120
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]


def test_its_map_is_that_of_the_package(script):
    quine = nq.recipe("blog", seed=5)
    table, probe = tables(quine)
    generator = torch.Generator().manual_seed(0)
    for spread in (0.01, 0.1, 1.0):
        theta = spread * torch.randn(1020, generator=generator, dtype=torch.float64)
        ours, printed = quine.self_map(theta).numpy(), table @ script.network(theta.numpy(), probe)
        assert np.linalg.norm(printed - ours) <= 1e-14 * np.linalg.norm(ours)


def test_what_it_finds_is_a_quine_to_the_package(script):
    quine = nq.recipe("blog", seed=5)
    table, probe = tables(quine)
    quine.theta = torch.from_numpy(script.solve(table, probe, np.random.default_rng(0)))
    verification = nq.verify(quine)
    assert verification.is_quine
    assert verification.converged
    assert verification.trivial == ()


@pytest.mark.parametrize("seed", range(2))
def test_it_finds_a_quine_of_any_seed(script, seed):
    rng = np.random.default_rng(seed)
    table, probe = rng.normal(size=(1020, 20)) * 0.25 / 20, rng.normal(size=8)
    theta = script.solve(table, probe, rng)
    assert np.linalg.norm(table @ script.network(theta, probe) - theta) < 1e-13 * np.linalg.norm(theta)
    assert np.std(theta) > 0.01


def test_a_map_without_a_fixed_point_is_given_up(script, monkeypatch):
    monkeypatch.setattr(script, "network", lambda theta, x: theta + 1 + theta * theta)
    few = types.SimpleNamespace(normal=lambda size: np.random.default_rng(0).normal(size=(5, size[1])))
    with pytest.raises(RuntimeError, match="none of 200 starts"):
        script.solve(np.eye(20), None, few)


def test_run_as_a_program_it_prints_the_weights_twice_and_their_difference():
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=600, check=True)
    stored, printed = (line.split("[")[1].rstrip("] ") for line in run.stdout.splitlines()[:2])
    assert stored == printed
    assert float(re.search(r"1,020: (\S+)", run.stdout)[1]) < 1e-13
