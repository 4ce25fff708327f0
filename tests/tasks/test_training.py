"""Training: it learns, it stays a quine, it resumes to the same bits, and it fails loudly."""

import json
import math
import os
import sys
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import forked
import neuralquine as nq
from neuralquine.files.folder import METADATA_KEY
from neuralquine.quines.bias_tape import BiasTapeQuine
from neuralquine.quines.bits import differing
from neuralquine.tasks import Schedule, evaluate, straight_through, train, train_body
from tasks.small import body, clouds, quine

SHORT = Schedule(epochs=12)


def same(a, b):
    return not bool(differing(a, b).any())


@pytest.mark.parametrize("family", [nq.TaskQuine, BiasTapeQuine])
def test_it_learns_the_task_and_prints_itself(family):
    q = family(body(), (8, 8), 256)
    before = evaluate(q.outputs, clouds(7))
    result = train(q, clouds(1), validation=clouds(2), schedule=SHORT)
    after = evaluate(q.outputs, clouds(7))
    free = body()
    train_body(free, clouds(1), validation=clouds(2), schedule=SHORT)
    assert before < 0.7 < 0.85 < after
    assert after > evaluate(lambda x: free(x)[1], clouds(7)) - 0.05
    assert result.epochs == 12
    assert result.score == pytest.approx(result.history[-1]["validation"])
    assert same(q.printed(), q.theta)


def test_regression_with_another_loss_and_score():
    q = quine(code_size=512)
    data = [(x, torch.stack([x[:, 0], x[:, 1], x[:, 0] - x[:, 1]], 1)) for x, _ in clouds(1)]

    def score(outputs, targets):
        return -nn.functional.mse_loss(outputs, targets)

    before = evaluate(q.outputs, data, score)
    train(q, data, loss=nn.functional.mse_loss, score=score, schedule=Schedule(epochs=40))
    assert evaluate(q.outputs, data, score) > before / 4
    assert same(q.printed(), q.theta)


def test_a_loop_of_ones_own():
    q = quine()
    latent = q.new_latent(torch.Generator().manual_seed(0)).requires_grad_(True)
    optimizer = torch.optim.SGD([latent], lr=1.0)
    losses = []
    for _ in range(15):
        for x, y in clouds(1, batch=600):
            loss = nn.functional.cross_entropy(q.outputs(x, straight_through(latent)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    with torch.no_grad():
        q.install(straight_through(latent))
    assert same(q.printed(), q.theta)


def test_straight_through_is_the_sign_forwards_and_the_identity_backwards():
    x = torch.tensor([-2.0, -0.0, 0.0, 0.3], requires_grad=True)
    y = straight_through(x)
    assert y.tolist() == [-1, 1, 1, 1]
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1]


def test_patience_stops_early_and_keeps_the_best():
    q = quine()
    result = train(q, clouds(1), validation=clouds(2), schedule=Schedule(epochs=400, patience=3))
    losses = [h["validation_loss"] for h in result.history]
    assert result.epochs < 400
    assert result.best_epoch == losses.index(min(losses)) == result.epochs - 4


def test_the_same_seed_learns_the_same_code():
    codes = []
    for seed in (3, 3, 4):
        q = quine()
        train(q, clouds(1), schedule=Schedule(epochs=2, noise=0.1), seed=seed)
        codes.append(q.code())
    assert same(codes[0], codes[1])
    assert not same(codes[0], codes[2])


SCRIPT = """
import sys, time, torch, neuralquine as nq
from pathlib import Path
sys.path.insert(0, {tests!r})
from tasks.small import clouds, quine
from neuralquine.tasks import Schedule, train
torch.set_num_threads(1)
q = quine()
def progress(figures):
    print(int(figures["epoch"]), flush=True)
    if {slow} and figures["epoch"] >= 4: time.sleep(3600)  # until it is killed
train(q, clouds(1), validation=clouds(2), schedule=Schedule(epochs=12, noise=0.1), checkpoint=Path({path!r}), resume=True, progress=progress)
print("done", q.theta.double().sum().item(), hash(tuple(q.code().tolist())))
"""


def test_kill_9_and_resume_ends_with_the_same_bits(tmp_path):
    from pathlib import Path

    tests = str(Path(__file__).resolve().parents[1])

    def start(path, slow):
        code = SCRIPT.format(tests=tests, path=str(path), slow=slow)
        return forked.Forked([sys.executable, "-c", code], capture_output=True, text=True)

    def finished(path):
        with start(path, False) as process:
            assert process.wait() == 0, process.stderr
            return process.stdout

    whole = finished(tmp_path / "a").split("done")[1]
    with start(tmp_path / "b", True) as process:
        while process.said().count("\n") < 4:
            time.sleep(0.01)
        process.kill()
    assert (tmp_path / "b").exists()
    resumed = finished(tmp_path / "b")
    assert int(resumed.split()[0]) >= 3  # it went on, and did not begin anew
    assert resumed.split("done")[1] == whole
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "c"

    def stop(figures):
        raise KeyboardInterrupt

    interrupted = train(quine(), clouds(1), schedule=SHORT, checkpoint=path, progress=stop)
    assert interrupted.interrupted
    assert interrupted.epochs == 1
    with pytest.raises(nq.QuineFileError, match="another training"):
        train(quine(), clouds(1), schedule=Schedule(epochs=13), checkpoint=path, resume=True)
    path.write_bytes(b"nonsense")
    with pytest.raises(nq.QuineFileError, match="not a checkpoint"):
        train(quine(), clouds(1), schedule=SHORT, checkpoint=path, resume=True)


def kept(path):
    """A checkpoint after its first epoch, as tensors and metadata."""

    def stop(figures):
        raise KeyboardInterrupt

    train(quine(), clouds(1), schedule=SHORT, checkpoint=path, progress=stop)
    with safe_open(path, framework="pt") as file:
        return {n: file.get_tensor(n) for n in file.keys()}, json.loads(file.metadata()[METADATA_KEY])  # noqa: SIM118


ROW = {"epoch": 0.0, "loss": 1.0}
FORGED = {
    "a tensor missing": lambda t, m: t.pop("exp_avg.0"),
    "another shape": lambda t, m: t.update({"now.0": torch.zeros(3)}),
    "another type": lambda t, m: t.update({"best.0": t["best.0"].double()}),
    "integers": lambda t, m: t.update({"now.0": t["now.0"].long()}),
    "a step that is a vector": lambda t, m: t.update({"step.0": torch.zeros(2)}),
    "no history": lambda t, m: m.pop("history"),
    "an empty history": lambda t, m: m.update(history=[]),
    "a history of numbers": lambda t, m: m.update(history=[1, 2]),
    "a history without a loss": lambda t, m: m.update(history=[{"epoch": 0.0}]),
    "rows of other columns": lambda t, m: m.update(history=[ROW, ROW | {"validation_loss": 1.0}]),
    "a number of 400 digits": lambda t, m: m.update(history=[ROW | {"loss": 10**400}]),
    "seconds of 400 digits": lambda t, m: m.update(seconds=10**400),
    "seconds in words": lambda t, m: m.update(seconds="long"),
    "a fingerprint that is a list": lambda t, m: m.update(fingerprint=[]),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_checkpoint_is_one_line(tmp_path, what):
    path = tmp_path / "c"
    tensors, metadata = kept(path)
    FORGED[what](tensors, metadata)
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(metadata)})
    with pytest.raises(nq.QuineFileError) as caught:
        train(quine(), clouds(1), schedule=SHORT, checkpoint=path, resume=True)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_checkpoint_nested_too_deep_or_no_file_is_one_line(tmp_path):
    path = tmp_path / "c"
    tensors, _ = kept(path)
    save_file(tensors, path, metadata={METADATA_KEY: "[" * 50_000})
    with pytest.raises(nq.QuineFileError, match="not a checkpoint"):
        train(quine(), clouds(1), schedule=SHORT, checkpoint=path, resume=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(nq.QuineFileError, match="is not a file"):
        train(quine(), clouds(1), schedule=SHORT, checkpoint=tmp_path / "pipe", resume=True)


def test_a_loss_that_is_not_finite_is_named():
    with pytest.raises(nq.NeuralQuineError, match="loss is nan in epoch 0"):
        train(quine(), clouds(1), loss=lambda o, y: o.sum() * math.nan, schedule=SHORT)
    with pytest.raises(nq.NeuralQuineError, match="no data"):
        train(quine(), [], schedule=SHORT)
    with pytest.raises(nq.NeuralQuineError, match="epochs"):
        Schedule(epochs=0)


def test_an_interrupted_training_is_kept_and_still_a_quine():
    q = quine()

    def stop(figures):
        if figures["epoch"] == 2:
            raise KeyboardInterrupt

    result = train(q, clouds(1), schedule=Schedule(epochs=10_000), progress=stop)
    assert result.epochs == 3
    assert same(q.printed(), q.theta)
