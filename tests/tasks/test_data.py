"""Splits that do not overlap, and a reader of IDX files that refuses what is none."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

import neuralquine as nq
from neuralquine.tasks import digits, mnist, recipes
from neuralquine.tasks.bundled import handwritten, stratified
from neuralquine.tasks.data import read_idx

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array, kind=0x08):
    return struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def write(folder, counts=(120, 30), packed=False, size=28):
    """Small files in MNIST's format: the label is written into the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "t10k"), counts, strict=True):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 40, (count, size, size)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4, 4:24] = 250
        for name, data in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(data)))
            else:
                (folder / name).write_bytes(idx(data))


def parts(labels, seed):
    rest, test = stratified(labels, 0.2, seed)
    return *(rest[part] for part in stratified(labels[rest], 0.25, 1000 + seed)), test


@pytest.mark.parametrize(("seed", "kept"), [(0, "43584bea154d0f6b"), (3, "a709be2687544851")])
def test_the_split_of_a_seed_is_what_it_always_was(seed, kept):
    found = np.concatenate(parts(handwritten()[1], seed)).astype("<i8")
    assert sorted(found) == list(range(1797))
    assert hashlib.sha256(found.tobytes()).hexdigest().startswith(kept)


@pytest.mark.slow
def test_digits_and_splits_are_those_of_scikit_learn():
    datasets, selection = (pytest.importorskip(f"sklearn.{part}") for part in ("datasets", "model_selection"))
    bunch, (images, labels) = datasets.load_digits(), handwritten()
    assert np.array_equal(images, bunch.images)
    assert np.array_equal(labels, bunch.target)
    for seed in range(50):
        whole = selection.train_test_split(np.arange(1797), test_size=0.2, random_state=seed, stratify=labels)
        for ours, theirs in zip(stratified(labels, 0.2, seed), whole, strict=True):
            assert np.array_equal(ours, theirs)
        part = labels[whole[0]]
        again = selection.train_test_split(np.arange(len(part)), test_size=0.25, random_state=seed, stratify=part)
        for ours, theirs in zip(stratified(part, 0.25, seed), again, strict=True):
            assert np.array_equal(ours, theirs)


def rows(loader):
    return {tuple(x.flatten().tolist()) for images, _ in loader for x in images}


def test_digits_are_split_in_three_without_overlap():
    data = digits(4)
    train, validation, test = (rows(part) for part in (data.train, data.validation, data.test))
    assert [len(part.dataset) for part in (data.train, data.validation, data.test)] == [1077, 360, 360]
    assert not train & test
    assert not train & validation
    assert rows(digits(5).test) != test == rows(digits(4).test)
    images, labels = next(iter(data.test))
    assert images.shape[1:] == (1, 8, 8)
    assert images.dtype == torch.float32
    assert (float(images.min()), float(images.max())) == pytest.approx((-5 / 6, 11 / 6))
    assert torch.bincount(labels).min() > 30  # stratified


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
def test_mnist_is_read_as_it_usually_lies(tmp_path, packed, place):
    write(tmp_path / place, packed=packed)
    data = mnist(tmp_path)
    assert [len(part.dataset) for part in (data.train, data.validation, data.test)] == [100, 20, 30]
    images, labels = next(iter(data.test))
    assert images.shape == (30, 1, 28, 28)
    assert float(images.max()) == 250 / 128 - 1
    bright = (images[0, 0] > 0.9).any(1).nonzero()[0, 0] // 2
    assert int(bright) == int(labels[0])


def test_the_folder_may_be_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("NQ_MNIST_DIR", raising=False)
    with pytest.raises(nq.QuineFileError, match="NQ_MNIST_DIR"):
        mnist()
    write(tmp_path)
    monkeypatch.setenv("NQ_MNIST_DIR", str(tmp_path))
    assert len(mnist().test.dataset) == 30


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
BAD = {
    "empty": b"",
    "another format": b"PK\3\4" + GOOD,
    "no dimensions": b"\0\0\x08\0",
    "header cut": GOOD[:10],
    "data cut": GOOD[:-1],
    "more data": GOOD + b"\0",
    "a lying size": struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 2**31) + b"\0" * 8,
    "a terabyte of zeros": struct.pack(">4B2I", 0, 0, 8, 2, 2**20, 2**20),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_idx_file_is_refused_in_one_line(tmp_path, what, packed):
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(BAD[what]) if packed else BAD[what])
    with pytest.raises(nq.QuineFileError) as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_broken_archive_is_refused(tmp_path):
    whole = gzip.compress(GOOD)
    for name, data in (("cut.gz", whole[:-6]), ("noise.gz", whole[:12] + b"\xff" * 8 + whole[20:])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(nq.QuineFileError, match="not readable"):
            read_idx(tmp_path / name)


@pytest.mark.parametrize("kind", [(0x08, "u1"), (0x0C, ">i4"), (0x0E, ">f8")])
def test_other_types_of_numbers(tmp_path, kind):
    code, name = kind
    array = np.arange(6).reshape(2, 3).astype(name)
    (tmp_path / "x").write_bytes(idx(array, code))
    assert np.array_equal(read_idx(tmp_path / "x"), array)


def test_files_that_do_not_fit_together(tmp_path):
    write(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(idx(np.zeros(7, np.uint8)))
    with pytest.raises(nq.QuineFileError, match="labels"):
        mnist(tmp_path)
    write(tmp_path)
    (tmp_path / NAMES[3]).write_bytes(idx(np.full(30, 77, np.uint8)))
    with pytest.raises(nq.QuineFileError, match="77"):
        mnist(tmp_path)
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(nq.QuineFileError, match=NAMES[3]):
        mnist(tmp_path)


def test_a_folder_that_a_recipe_names_is_not_opened(tmp_path, monkeypatch):
    """What a file says of itself may be forged; the user's word and the usual place are followed."""
    monkeypatch.delenv("NQ_MNIST_DIR", raising=False)
    write(tmp_path / "elsewhere")
    made = {"name": "mnist-cnn", "seed": 0, "folder": str(tmp_path / "elsewhere")}
    with pytest.raises(nq.QuineFileError, match="MNIST is not downloaded"):
        recipes.test_data(made)
    assert len(recipes.test_data(made, str(tmp_path / "elsewhere")).dataset) == 30
