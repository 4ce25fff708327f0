"""The Hugging Face Hub without a connection: one made of folders stands in for it; bits there and back, errors in one line."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

import neuralquine as nq

FILES = {"README.md", "config.json", "model.safetensors", "solution.json"}


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
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return SimpleNamespace(asked=asked, folder=tmp_path / "hub")


def test_a_quine_goes_to_the_hub_and_comes_back_bit_for_bit(hub, solved):
    address = solved.push_to_hub("someone/quine", private=True, token="t", commit_message="Two")
    assert address == "https://huggingface.co/someone/quine/commit/1: Two"
    assert hub.asked == [("token", "t"), ("create", "someone/quine", True)]
    assert {f.name for f in (hub.folder / "someone" / "quine").iterdir()} == FILES
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
    assert {f.name for f in (hub.folder / "someone" / "quine").iterdir()} == FILES


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
    with pytest.raises(nq.QuineFileError, match="write hf:owner/name") as caught:
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
    assert set(card.data.to_dict()) == {"library_name", "tags"}
    assert text.startswith("---\n")
