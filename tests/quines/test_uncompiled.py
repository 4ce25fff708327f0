"""The Jacobian of a queried network needs no compiler, and whoever does need it gets it."""

import sys
import types

import pytest
import torch

import forked
from neuralquine.quines import uncompiled as room
from neuralquine.quines.uncompiled import uncompiled

CODE = """
import sys
import torch
import neuralquine as nq
quine = nq.recipe("queried-121", seed=0)
kept = quine.code_jacobian(quine.theta[None])
for name in [name for name in sys.modules if name.startswith("torch._dynamo")]:
    del sys.modules[name]
vars(torch).pop("_dynamo", None)
class Refused:
    def find_spec(self, name, path=None, target=None):
        assert not name.startswith("torch._dynamo"), "imported"
sys.meta_path.insert(0, Refused())
assert torch.equal(quine.code_jacobian(quine.theta[None]), kept)
assert "_dynamo" not in vars(torch)
print("done")
"""


def test_a_jacobian_imports_no_compiler():
    done = forked.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr


def test_who_asks_for_more_gets_the_real_one(monkeypatch):
    monkeypatch.setattr(room, "_NAME", "_stand_in")
    with uncompiled():
        with uncompiled():
            pass
        with torch._stand_in.compiled_autograd._disable():
            pass
        with pytest.raises(ModuleNotFoundError):
            torch._stand_in.graph_break()
        monkeypatch.setitem(sys.modules, "torch._stand_in", types.SimpleNamespace(graph_break=lambda: 5))
        assert torch._stand_in.graph_break() == 5
    assert "_stand_in" not in vars(torch)
    with uncompiled():  # now it is there
        assert "_stand_in" not in vars(torch)
