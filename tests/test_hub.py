"""Objects are pushed to the Hub and pulled from it by the real client; only their own files travel."""

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from tests.fakehub import FakeHub
from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt import hub
from weightgpt.card import write_card
from weightgpt.errors import InputError
from weightgpt.model import FILES, WeightGPT
from weightgpt.tokens.tokenizer import TOKENIZER_FILES, WeightTokenizer

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model with a card, and with files that must not be uploaded."""
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(tmp_path / "model")
    write_card(tmp_path / "model", {"iou": 0.5})
    (tmp_path / "model" / "training_args.bin").write_bytes(b"a pickle")
    (tmp_path / "model" / ".env").write_text("secret")
    (tmp_path / "model" / "checkpoint-10").mkdir()
    (tmp_path / "model" / "checkpoint-10" / "model.safetensors").write_bytes(b"old weights")
    return tmp_path / "model"


SESSION = """
import json, sys
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel
import weightgpt as wg

model = wg.WeightGPT.from_pretrained(sys.argv[1])
address = model.push_to_hub("tester/shapes")
model.card = None
model.push_to_hub("tester/second", private=True)
model.tokenizer.push_to_hub("tester/tokenizer")
local, pulled = model.generate(6, seed=1), wg.WeightGPT.from_pretrained("tester/shapes").generate(6, seed=1)
gpt, words = GPT2LMHeadModel.from_pretrained("tester/shapes"), AutoTokenizer.from_pretrained("tester/shapes")
torch.manual_seed(0)
ids = gpt.generate(torch.tensor([[1, 5]] * 32))
tokenizer = wg.WeightTokenizer.from_pretrained("tester/tokenizer", revision="main")
refusals = []
for load in (wg.WeightGPT, wg.WeightTokenizer):
    for name, revision in (("tester/absent", None), ("tester/shapes", "absent")):
        try:
            load.from_pretrained(name, revision=revision)
        except wg.InputError as error:
            refusals.append(str(error))
print(json.dumps({
    "address": address,
    "equal": torch.equal(local.ids, pulled.ids) and torch.equal(local.fields.flat, pulled.fields.flat),
    "labels": tokenizer.class_names(ids), "words": words.decode(ids[0]), "refusals": refusals,
}))
"""


def run_session(folder: Path, cache: Path, endpoint: str) -> dict:
    """Push and pull in another process, because the client reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_TOKEN": "hf_fake", "HF_HUB_DISABLE_XET": "1"}
    code, environment = [sys.executable, "-c", SESSION, str(folder)], {**os.environ, **settings}
    process = subprocess.run(code, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_push_and_pull_with_the_real_client(folder: Path, tmp_path: Path):
    """A pushed model is pulled into an empty cache, complete and equal, and plain transformers can use it alone."""
    with FakeHub() as hub:
        result = run_session(folder, tmp_path / "cache", hub.url)
        first, second = hub.files("tester/shapes"), hub.files("tester/second")
        assert set(first) - {".gitattributes"} == set(second) - {".gitattributes"} == {*FILES, "README.md"}
        assert set(hub.files("tester/tokenizer")) - {".gitattributes"} == set(TOKENIZER_FILES)
        for name in FILES:
            assert first[name] == (folder / name).read_bytes()
        card = (folder / "README.md").read_text()
        assert first["README.md"].decode() == card.replace("path/to/this/folder", "tester/shapes")
        assert 'from_pretrained("tester/second")' in second["README.md"].decode()
        assert "iou" not in second["README.md"].decode()
        assert result["address"] == f"{hub.url}/tester/shapes"
    assert result["equal"]
    assert result["labels"] == ["chair"] * 32
    assert result["words"].startswith("<bos> <class:chair> w")
    absent, no_revision = result["refusals"][::2], result["refusals"][1::2]
    assert all("tester/absent is no folder here and no repository" in sentence for sentence in absent)
    assert all("tester/shapes has no revision absent" in sentence for sentence in no_revision)


@pytest.mark.parametrize("kind", [WeightGPT, WeightTokenizer])
def test_without_network_a_folder_loads_and_a_repository_is_refused(
    kind: type, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    unreachable = partial(snapshot_download, endpoint="http://127.0.0.1:9", cache_dir=tmp_path / "cache")
    monkeypatch.setattr("weightgpt.hub.snapshot_download", unreachable)
    with pytest.raises(InputError, match="tester/shapes is no folder here and the Hub does not answer"):
        kind.from_pretrained("tester/shapes")

    def connect(*_: object) -> None:
        raise AssertionError("loading a local folder used the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert kind.from_pretrained(folder)


@pytest.mark.parametrize("name", ["not/a/name", "two words"])
def test_a_name_that_no_repository_can_have_is_refused(name: str):
    with pytest.raises(InputError, match="is neither a folder nor a name on the Hub"):
        WeightGPT.from_pretrained(name)
    tokenizer = tiny_tokenizer()
    with pytest.raises(InputError, match=f"cannot push to {name} "):
        tokenizer.push_to_hub(name, token="hf_fake")


def written_for_hub(model: WeightGPT, folder: Path) -> dict[str, bytes]:
    """The files that a push would upload."""
    folder.mkdir()
    model._write_for_hub(folder, "tester/shapes")
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_case_44_nothing_of_a_working_folder_and_no_path_of_this_machine_is_uploaded(folder: Path, tmp_path: Path):
    write_card(folder, {"iou": 0.5}, str(folder))
    for name in ("id_rsa", "meshes/of-a-client.obj", "wandb/run-1/config.yaml", "X.PT", "codebook/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("private")
    (folder / "link.txt").symlink_to(folder / "id_rsa")
    model = WeightGPT.from_pretrained(folder)
    model.gpt.config._name_or_path = str(folder)
    files = written_for_hub(model, tmp_path / "upload")
    assert set(files) == {*FILES, "README.md"} == set(model.hub_files)
    assert not [name for name, content in files.items() if str(tmp_path).encode() in content or b"private" in content]
    assert b'WeightGPT.from_pretrained("tester/shapes")' in files["README.md"]


def test_fault_71_a_card_that_is_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path):
    (tmp_path / "id_rsa").write_text("private")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "id_rsa")
    with pytest.raises(InputError, match="is a link to a file outside of the folder"):
        WeightGPT.from_pretrained(folder)


def test_fault_71_a_card_that_names_a_folder_of_the_user_is_not_pushed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    model = WeightGPT.from_pretrained(folder)
    model.card = f"{model.card}\nThe meshes lie in {folder}/meshes."
    monkeypatch.setattr(Path, "home", lambda: folder)
    with pytest.raises(InputError, match=r"README\.md names a path of this machine"):
        model.push_to_hub("tester/shapes", token="hf_fake")


@pytest.mark.parametrize("before", ["The meshes lie in ", "`", "(", '"', "path=", "file://"])
def test_fault_71_a_card_that_names_any_path_of_this_machine_is_not_pushed(folder: Path, before: str):
    model = WeightGPT.from_pretrained(folder)
    model.card = f"{model.card}\n{before}{folder.parent}/meshes"
    with pytest.raises(InputError, match=rf"README\.md names a path of this machine, {folder.parent}"):
        model.push_to_hub("tester/shapes", token="hf_fake")


def test_fault_71_a_card_may_have_addresses_and_slashes(folder: Path, tmp_path: Path):
    texts = ["https://example.org/tmp/wt", f"https://example.org{tmp_path}", "MIT/Apache", "and/or", "n/a", "./tmp/a"]
    texts += ["/usr/bin/python", "/no-such-folder/of/a/server", "1/2", "</b>", "a / b", "codebook/config.json", "/tmp"]
    (folder / "README.md").write_text("---\nlicense: mit\n---\n" + "\n".join(texts))
    hub._check_no_paths(folder, WeightGPT.hub_files)


def test_fault_62_a_folder_is_read_and_written_without_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def connect(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", connect)
    model = WeightGPT.from_pretrained(folder)
    model.generate(2)
    model.save_pretrained(tmp_path / "copy")
    assert WeightTokenizer.from_pretrained(tmp_path / "copy")
