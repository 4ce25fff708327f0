"""train, predict, heal as processes, on small networks."""

import json
import shutil
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

import forked
import neuralquine as nq
from neuralquine.keeping.report import saved_accuracy
from neuralquine.quines.bits import differing
from neuralquine.tasks import TASKS, auxiliary, digits
from tasks.test_data import write

SMALL = ["-r", "hidden=48", "-r", "code_size=1024", "-r", "repeats=3", "-r", "epochs=15"]


def run(*arguments, **options):
    command = [sys.executable, "-m", "neuralquine", *map(str, arguments)]
    return forked.run(command, capture_output=True, text=True, timeout=600, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task") / "mlp"
    done = run("train", "digits-mlp", "--seed", 3, "--out", folder, "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_train_writes_a_quine_that_does_its_task(trained):
    folder, data = trained
    assert data["bit_exact"]
    assert data["is_quine"]
    assert data["test_accuracy"] > 0.9
    quine = nq.load(folder)
    assert not differing(quine.printed(), quine.theta).any()
    assert (folder / "model.safetensors").exists()
    assert f"| test accuracy, when it was trained | {data['test_accuracy']:.2%} |" in (folder / "README.md").read_text()
    assert saved_accuracy(folder) == data["test_accuracy"]
    assert not folder.with_name("mlp.training").exists()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(15))
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["validation"] == pytest.approx(data["validation_accuracy"])
    verified = run("verify", folder, "--json")
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["false_claims"] == []


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        (0, "A task quine: it prints all of its weights, every bit."),
        (1, "NOT a task quine: 1 printed weight differs from the stored ones."),
        (3, "NOT a task quine: 3 printed weights differ from the stored ones."),
    ],
)
def test_train_says_whether_every_bit_is_printed(tmp_path, monkeypatch, capsys, differing, said):
    from neuralquine import cli
    from neuralquine.keeping import store

    def save(*arguments, **options):
        found = store_save(*arguments, **options)
        assert found.bit_exact
        return replace(found, bit_exact=not differing, differing_weights=differing)

    store_save = store.save
    monkeypatch.setattr(store, "save", save)
    words = ["train", "digits-mlp", "--out", str(tmp_path / "q"), *SMALL[:-1], "epochs=1"]
    monkeypatch.setattr(sys, "argv", ["neuralquine", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code or 0) == (1 if differing else 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == said
    assert f"{'no' if differing else 'yes'}: {differing} differ" in lines[3]


def test_predict_reads_arrays_and_pictures(trained, tmp_path):
    from PIL import Image

    folder, data = trained
    images, labels = next(iter(digits(3).test))
    np.save(tmp_path / "x.npy", images.numpy())
    rows = json.loads(run("predict", folder, tmp_path / "x.npy", "--json").stdout)["predictions"]
    right = sum(r["class"] == int(y) for r, y in zip(rows, labels, strict=True))
    assert right / len(labels) == pytest.approx(data["test_accuracy"])
    assert all(0 < r["probability"] <= 1 for r in rows)
    picture = ((images[0, 0] * 6 + 5) / 16 * 255).round().clamp(0, 255).numpy().astype(np.uint8)
    Image.fromarray(picture).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "x.png")
    (row,) = json.loads(run("predict", folder, tmp_path / "x.png", "--json").stdout)["predictions"]
    assert row["class"] == rows[0]["class"]
    Image.fromarray(255 - picture).save(tmp_path / "dark.png")
    assert "border is light" in run("predict", folder, tmp_path / "dark.png").stderr
    assert "border" not in run("predict", folder, tmp_path / "x.png").stderr
    (row,) = json.loads(run("predict", folder, tmp_path / "dark.png", "--invert", "--json").stdout)["predictions"]
    assert row["class"] == rows[0]["class"]


def test_predict_refuses_in_one_line(trained, tmp_path):
    folder, _ = trained
    np.save(tmp_path / "shape.npy", np.zeros((3, 5)))
    np.save(tmp_path / "nan.npy", np.full((1, 1, 8, 8), np.nan))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "x.png").write_bytes(b"no picture")
    for name, word in (
        ("shape", "shape"),
        ("nan", "NaN"),
        ("pickle", "readable"),
        ("x.png", "picture"),
        ("none", "missing"),
    ):
        path = tmp_path / (name if "." in name else f"{name}.npy")
        done = run("predict", folder, path)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert word in done.stderr


def test_heal_reports_what_healed_and_what_did_not(trained):
    folder, _ = trained
    done = run("heal", folder, "--damage", "noise:0.4", "--damage", "flip:1", "--trials", 6, "--seed", 5, "--json")
    assert done.returncode == 0, done.stdout
    rows = json.loads(done.stdout)["damages"]
    assert [r["healed"] for r in rows] == [6, 6]
    assert rows[0]["accuracy_damaged"] < rows[0]["accuracy_before"] == rows[0]["accuracy_after"]
    done = run("heal", folder, "--damage", "noise:1", "--trials", 3, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["damages"][0]["healed"] == 0
    done = run("heal", folder, "--damage", "nois:1")
    assert done.returncode == 2
    assert "did you mean 'noise'" in done.stderr


def test_the_help_of_heal_names_every_kind_of_damage():
    from neuralquine.healing.damage import KINDS

    text = " ".join(run("heal", "--help").stdout.split())
    assert len(KINDS) >= 9
    assert all(name in text for name in KINDS)


def test_heal_draws_the_basin(trained, tmp_path, monkeypatch, capsys):
    from neuralquine import cli
    from neuralquine.tasks import limits

    monkeypatch.setattr(limits, "FRACTIONS", limits.FRACTIONS[::5])
    folder = shutil.copytree(trained[0], tmp_path / "q")
    monkeypatch.setattr(sys, "argv", ["neuralquine", "heal", str(folder), "--curve", "zero", "--trials", "4", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    data = json.loads(capsys.readouterr().out)
    points = data["curve"]
    assert len(points) == 3
    assert points[0]["healed"] == 4
    assert points[-1]["healed"] == 0
    assert points[0]["predicted"] > 0.99
    assert points[-1]["predicted"] < 0.01
    assert (folder / "figures" / "basin-zero.png").stat().st_size > 10_000
    assert nq.load(folder)  # the figure is a file of ours


def test_an_interrupted_curve_is_drawn_as_far_as_it_came(trained, tmp_path, monkeypatch, capsys):
    from neuralquine.cli import main
    from neuralquine.healing import heal

    folder, real, asked = shutil.copytree(trained[0], tmp_path / "q"), heal.basin, []

    def basin(quine, kind, fractions, **options):
        asked.append(options["trials"])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(quine, kind, fractions, **options | {"trials": 1})

    monkeypatch.setattr(heal, "basin", basin)
    monkeypatch.setattr("sys.argv", ["neuralquine", "heal", str(folder), "--curve", "zero"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert asked == [20, 20, 20]
    assert "basin-zero.png has 2 points" in " ".join(capsys.readouterr().err.split())
    assert (folder / "figures" / "basin-zero.png").stat().st_size > 10_000


def test_an_interrupted_training_is_kept_and_resumed(tmp_path):
    folder = tmp_path / "q"
    options = ["train", "digits-mlp", "--out", folder, "--json", *SMALL[:-2], "-r", "epochs=400"]
    command = [sys.executable, "-m", "neuralquine", *map(str, options)]
    with forked.Forked(command, capture_output=True, text=True) as process:
        while not (tmp_path / "q.training").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.wait()
    out, error = process.stdout, process.stderr
    assert process.returncode == 130, error
    assert "--resume" in error
    first = json.loads(out)
    assert first["interrupted"]
    assert first["bit_exact"]
    assert (tmp_path / "q.training").exists()
    done = run(*options, "--resume", "-r", "epochs=401")
    assert done.returncode == 2
    assert "another training" in done.stderr


def test_mnist_files_from_a_folder(tmp_path):
    write(tmp_path / "mnist", counts=(240, 60))
    options = ["-r", f"folder={tmp_path / 'mnist'}", "-r", "code_size=2048", "-r", "channels=4", "-r", "epochs=12"]
    done = run("train", "mnist-cnn", "--out", tmp_path / "q", "--json", *options)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["bit_exact"]
    assert data["test_accuracy"] > 0.5
    done = run("train", "mnist-cnn", "--out", tmp_path / "q2", "-r", f"folder={tmp_path}")
    assert done.returncode == 2
    assert "holds no train-images" in done.stderr


@pytest.mark.parametrize("name", [n for n in TASKS if n != "mnist-cnn"])
def test_every_recipe_prints_itself_before_it_has_learned(name):
    quine = nq.tasks.recipe(name, seed=1).quine
    assert not differing(quine.printed(), quine.theta).any()
    assert quine.margin > 16


def test_recipes_and_options_that_do_not_exist():
    with pytest.raises(nq.UnknownName, match="digits-mlp"):
        nq.tasks.recipe("digit-mlp")
    with pytest.raises(nq.UnknownName, match="hidden"):
        nq.tasks.recipe("digits-mlp", hiden=3)


def test_recipes_lists_the_tasks():
    done = run("recipes", "--json")
    assert set(TASKS) <= {r["name"] for r in json.loads(done.stdout)["recipes"]}
    done = run("solve", "digits-mlp")
    assert done.returncode == 2
    assert "train" in done.stderr


# -- the paper's joint loss -------------------------------------------------------------------------------------------


def test_the_joint_loss_pulls_both_ways_and_its_copies_do_not_work():
    from neuralquine.quines.measure import measure
    from neuralquine.tasks import Schedule

    data, short = digits(0), Schedule(epochs=25, lr=1e-3)
    task, joint = (auxiliary(data, weight, hidden=40, width=20, schedule=short) for weight in (0.0, 1.0))
    assert task.accuracy > 0.7
    assert joint.accuracy < task.accuracy - 0.05
    for found in (task, joint):
        assert found.copy_accuracy < 0.3
        assert measure(found.quine).relative_residual > 0.1
        assert found.quine.parameter_count == 40 * 40 + 40 * 40 + 40 + 400
    assert not torch.equal(task.quine.theta, joint.quine.theta)
