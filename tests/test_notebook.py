"""The notebook runs from top to bottom, and is kept with what one such run showed."""

import json
from pathlib import Path

import pytest
import torch

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.ipynb"))


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(line for line in cell["source"] if not line.startswith("%"))  # magics are Jupyter's


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_cell_runs_in_its_order(path, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    state, names = torch.get_rng_state(), {}
    try:
        code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
        assert len(code) > 5
        for number, cell in enumerate(code, 1):
            exec(compile(source(cell), f"{path.name}, cell {number}", "exec"), names)
    finally:
        torch.set_rng_state(state)
        names["plt"].close("all")
    assert "616 weights" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_kept_with_the_outputs_of_one_run(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert all(output.get("name") != "stderr" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert path.stat().st_size < 400_000


def test_there_is_a_notebook():
    assert [path.name for path in NOTEBOOKS] == ["first_quine.ipynb"]
