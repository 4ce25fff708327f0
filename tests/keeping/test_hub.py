"""The Hugging Face Hub without a connection: one made of folders stands in for it; bits there and back, errors in one line."""

import json
import shutil
import socket
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

import neuralquine as nq
from neuralquine.keeping.hub import fetch, upload

FILES = {"README.md", "config.json", "model.safetensors", "solution.json"}
PUSHED = FILES | {"figures"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that keeps its repositories under a folder, and what it was asked."""
    asked = []

    class Api:
        def __init__(self, token=None):
            asked.append(("token", token))

        def create_repo(self, repo_id, *, private=None, exist_ok=False):
            asked.append(("create", repo_id, private))
            (tmp_path / "hub" / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def model_info(self, repo_id, *, revision=None, files_metadata=False):
            asked.append(("info", repo_id, revision))
            folder = tmp_path / "hub" / repo_id
            if not folder.is_dir():
                raise huggingface_hub.errors.LocalEntryNotFoundError("Nothing of that name.")
            files = [SimpleNamespace(rfilename=f.name, size=f.stat().st_size) for f in folder.iterdir()]
            return SimpleNamespace(sha="c0ffee", siblings=files)

        def upload_folder(self, *, repo_id, folder_path, commit_message, delete_patterns):
            target = tmp_path / "hub" / repo_id
            for pattern in delete_patterns:
                for old in target.glob(pattern):
                    old.unlink()
            shutil.copytree(folder_path, target, dirs_exist_ok=True)
            return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1: {commit_message}")

    def snapshot_download(repo_id, *, revision=None, token=None, allow_patterns=None):
        asked.append(("fetch", repo_id, revision))
        source, cached = tmp_path / "hub" / repo_id, tmp_path / "cache" / repo_id
        if not source.is_dir():
            raise huggingface_hub.errors.LocalEntryNotFoundError("Nothing of that name.\n\nCheck your connection.")
        shutil.rmtree(cached, ignore_errors=True)
        cached.mkdir(parents=True)
        for file in source.iterdir():
            if any(file.match(pattern) for pattern in allow_patterns):
                (tmp_path / "blobs").mkdir(exist_ok=True)
                blob = shutil.copy(file, tmp_path / "blobs")
                (cached / file.name).symlink_to(blob)  # as the real cache does
        return str(cached)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "mine")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return SimpleNamespace(asked=asked, folder=tmp_path / "hub")


def test_a_quine_goes_to_the_hub_and_comes_back_bit_for_bit(hub, solved):
    address = solved.push_to_hub("someone/quine", private=True, token="t", commit_message="Two")
    assert address == "https://huggingface.co/someone/quine/commit/1: Two"
    assert hub.asked == [("token", "t"), ("create", "someone/quine", True)]
    assert {f.name for f in (hub.folder / "someone" / "quine").iterdir()} == PUSHED
    for back in (
        nq.load("hf:someone/quine@v1"),
        nq.Quine.from_pretrained("someone/quine", revision="v1"),
        nq.Quine.from_pretrained("hf:someone/quine@v1"),
    ):
        assert back.theta.numpy().tobytes() == solved.theta.numpy().tobytes()
        assert back.printed().numpy().tobytes() == solved.printed().numpy().tobytes()
        assert hub.asked[-1] == ("fetch", "someone/quine", "v1")


def test_a_certificate_of_an_older_quine_does_not_stay(hub, solved):
    solved.push_to_hub("someone/quine")
    (hub.folder / "someone" / "quine" / "certificate.json").write_text("{}")
    solved.push_to_hub("someone/quine")
    assert {f.name for f in (hub.folder / "someone" / "quine").iterdir()} == PUSHED


def test_nothing_but_a_quines_files_is_fetched(hub, solved, tmp_path):
    solved.push_to_hub("someone/quine")
    for name in ("pytorch_model.bin", "evil.py", "other.safetensors", "weights.pkl"):
        (hub.folder / "someone" / "quine" / name).write_text("")
    nq.load("hf:someone/quine")
    assert {f.name for f in (tmp_path / "cache" / "someone" / "quine").iterdir()} == FILES


def test_a_folder_is_read_where_it_lies(hub, solved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solved.save_pretrained(tmp_path / "someone" / "quine")
    back = nq.Quine.from_pretrained("someone/quine")
    assert torch.equal(back.theta, solved.theta)
    assert hub.asked == []


@pytest.mark.parametrize("address", ["hf:", "hf:quine", "hf:a/b/c", "hf:../x/y", "hf:a b/c", "hf:a/b?x"])
def test_a_malformed_address_is_refused_before_anything_is_asked(hub, address):
    with pytest.raises(nq.QuineFileError, match="is not an address on the Hub, owner/name") as caught:
        nq.load(address)
    assert "\n" not in str(caught.value)
    assert hub.asked == []


def test_so_is_a_malformed_name(hub, small):
    with pytest.raises(nq.NeuralQuineError, match="write owner/name"):
        small.push_to_hub("quine")
    assert hub.asked == []


def test_what_the_hub_says_is_told_in_one_line(hub, small, monkeypatch):
    with pytest.raises(nq.QuineFileError, match=r"cannot be fetched from the Hub: Nothing of that name\.$"):
        nq.load("hf:someone/else")

    def refuse(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", refuse)
    with pytest.raises(nq.NeuralQuineError, match=r"^someone/quine cannot be written on the Hub: no room$"):
        small.push_to_hub("someone/quine")


def test_an_altered_file_on_the_hub_is_refused(hub, small):
    small.push_to_hub("someone/quine")
    weights = hub.folder / "someone" / "quine" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(nq.QuineFileError, match="was altered or cut short"):
        nq.load("hf:someone/quine")


def test_where_nobody_answers_the_real_library_is_refused_in_one_line(monkeypatch, tmp_path):
    with socket.socket() as bound:  # a port at which nobody listens
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{bound.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        for ask in (
            lambda: upload(tmp_path, "owner/name", private=None, token="none", message=""),
            lambda: nq.load("hf:owner/name"),
            lambda: fetch("owner/name", most=1),
        ):
            with pytest.raises(nq.NeuralQuineError, match=r"owner/name cannot be (written|fetched)") as refused:
                ask()
            assert str(refused.value).isprintable()


def test_the_real_library_says_that_it_is_off_line(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(nq.QuineFileError, match=r"^hf:someone/quine cannot be fetched from the Hub: .+") as caught:
        nq.load("hf:someone/quine")
    assert "\n" not in str(caught.value)


def test_the_front_matter_of_the_model_card_is_what_the_hub_reads(tmp_path, solved):
    nq.save(solved, tmp_path / "q")
    text = (tmp_path / "q" / "README.md").read_text()
    card = huggingface_hub.ModelCard.load(tmp_path / "q" / "README.md")
    assert card.data.library_name == "neuralquine"
    assert card.data.tags == ["neuralquine", "neural-quine", "self-replication"]
    assert card.text.strip().startswith("# A neural quine: blog")
    assert card.data.license == "apache-2.0"  # the network is one of this package's recipes
    assert set(card.data.to_dict()) == {"library_name", "license", "tags"}
    assert text.startswith("---\n")


# -- push and pull ----------------------------------------------------------------------------------------------------


def test_a_folder_is_pushed_and_pulled_by_two_commands(hub, run, solved, tmp_path):
    nq.save(solved, tmp_path / "q")
    (tmp_path / "q" / "metrics.jsonl").write_text("{}")
    status, out, _ = run("push", tmp_path / "q", "someone/quine", "--private", "--license", "cc0-1.0")
    assert status == 0
    assert "https://huggingface.co/someone/quine/commit/1" in out
    there = hub.folder / "someone" / "quine"
    assert {f.name for f in there.iterdir()} == PUSHED
    card = huggingface_hub.ModelCard.load(there / "README.md")
    assert card.data.license == "cc0-1.0"
    assert "Found by broyden (seed" in card.text
    assert 'nq.load("hf:someone/quine")' in card.text
    (picture,) = [p for p in there.rglob("*.png") if str(p.relative_to(there)) in card.text]
    assert picture.read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("pull", "someone/quine", tmp_path / "mine")
    assert (status, hub.asked[-1]) == (0, ("fetch", "someone/quine", "c0ffee"))  # the commit whose sizes were asked for
    assert f"neuralquine verify {tmp_path / 'mine'}" in out
    assert {f.name for f in (tmp_path / "mine").iterdir()} == FILES
    assert nq.load(tmp_path / "mine").theta.numpy().tobytes() == solved.theta.numpy().tobytes()
    status, out, _ = run("pull", "hf:someone/quine@v1", tmp_path / "mine", "--json")  # an older quine is replaced
    assert json.loads(out) == {"address": "hf:someone/quine@v1", "out": str(tmp_path / "mine")}
    assert ("info", "someone/quine", "v1") in hub.asked


def test_pushing_is_refused_in_one_line_before_anything_is_sent(hub, run, small, tmp_path, monkeypatch):
    nq.save(small, tmp_path / "q")
    report = json.loads((tmp_path / "q" / "solution.json").read_text())
    assert not report["verification"]["bit_exact"]

    def refused(*words):
        status, out, err = run("push", *words)
        assert (status, out, err.count("\n"), hub.asked) == (2, "", 1, [])
        return err

    assert "write owner/name" in refused(tmp_path / "q", "quine")
    assert "not a folder with a quine in it" in refused(tmp_path / "other", "a/b")
    assert "not the identifier of a licence" in refused(tmp_path / "q", "a/b", "--license", "x\ny: 1")
    report["verification"]["bit_exact"] = True
    (tmp_path / "q" / "solution.json").write_text(json.dumps(report))
    assert "is not pushed: bit_exact is claimed, and is not so" in refused(tmp_path / "q", "a/b")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert "no token for the Hub: log in with `hf auth login`, or set HF_TOKEN" in refused(tmp_path / "q", "a/b")
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    assert "pip install " in refused(tmp_path / "q", "a/b")


def test_pulling_is_refused_in_one_line_and_leaves_nothing(hub, run, small, tmp_path):
    small.push_to_hub("someone/quine")
    there, target = hub.folder / "someone" / "quine", tmp_path / "mine"

    def refused(*words):
        status, out, err = run("pull", *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert not target.exists()
        assert not list(tmp_path.glob(".mine*"))
        return err

    assert "is not an address on the Hub, owner/name" in refused("quine", target)
    assert "Nothing of that name" in refused("someone/else", target)
    with (there / "model.safetensors").open("r+b") as file:
        file.truncate(2_000_000)  # nothing of that size is fetched if less is allowed
    assert "more than" in refused("someone/quine", target, "--max-size", "0.001")
    assert "fetch" not in {entry[0] for entry in hub.asked}
    assert "someone/quine/model.safetensors is not the file that config.json was written with" in refused(
        "someone/quine", target
    )
    (there / "model.safetensors").unlink()
    assert "someone/quine holds no quine: it has no model.safetensors" in refused("someone/quine", target)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert "thesis.tex" in refused("someone/quine", tmp_path / "full")


def test_an_installed_quine_is_asked_and_copied_by_its_name(run, tmp_path):
    status, out, _ = run("verify", "example:blog-exact")
    assert status == 0
    assert out.startswith("example:blog-exact: a quine\n")
    status, out, _ = run("pull", "example:blog-exact", tmp_path / "mine")
    assert status == 0
    assert nq.verify(nq.load(tmp_path / "mine")).bit_exact
    for command in ("verify", "spectrum", "certify", "plot"):
        status, _, err = run(command, "example:blgo")
        assert (status, err.count("\n")) == (2, 1)
        assert "there are example:blog, example:blog-exact" in err
    status, _, err = run("plot", "example:blog")
    assert (status, err.count("\n")) == (2, 1)
    assert "copy it with `neuralquine pull example:blog DIR`" in err
