"""A bundle survives a folder and the Hub's own client, and what does not belong together is refused."""

import json
import os
import shutil
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2LMHeadModel

from tests.fakehub import FakeHub
from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.card import write_card
from weightgpt.errors import InputError
from weightgpt.model import FILES, Bundle, check, load_bundle, push_bundle
from weightgpt.tokens.generation import generation_config

ROOT = Path(__file__).parents[1]


def tiny_bundle() -> Bundle:
    tokenizer = tiny_tokenizer()
    return Bundle(tiny_gpt(tokenizer.vocabulary), tokenizer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_bundle().save_pretrained(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_round_trip(folder: Path):
    """A loaded bundle is the saved one: equal samples, fields and labels; and it saves the same files again."""
    before, after = tiny_bundle().sample(5, seed=3), load_bundle(folder).sample(5, seed=3)
    assert torch.equal(before.ids, after.ids)
    assert torch.equal(before.fields.flat, after.fields.flat)
    assert before.labels == after.labels == ["chair", "table", "chair", "table", "chair"]
    load_bundle(folder).save_pretrained(folder.parent / "again")
    for name in FILES:
        assert (folder / name).read_bytes() == (folder.parent / "again" / name).read_bytes(), name


def test_saving_keeps_other_files(folder: Path):
    (folder / "notes.txt").write_text("mine")
    tiny_bundle().save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        {Path(name).parts[0] for name in FILES} | {"notes.txt"}
    )


def test_tokenizer_config_names_classes_that_all_versions_know(folder: Path):
    """Without `tokenizer_class` the words would be read by GPT-2's own tokenizer, silently and wrongly."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "backend" not in config
    assert "extra_special_tokens" not in config
    assert config["additional_special_tokens"] == ["<class:none>", "<class:chair>", "<class:table>"]
    tokenizer, backend = AutoTokenizer.from_pretrained(folder), tiny_tokenizer().backend
    text = "<class:chair> w0 w7 w3 w1 w2 w5"
    assert tokenizer(text)["input_ids"] == backend(text)["input_ids"] == [1, 5, 7, 14, 10, 8, 9, 12, 2]
    assert tokenizer.all_special_tokens == backend.all_special_tokens


def test_another_codebook_is_refused(folder: Path):
    held = tiny_tokenizer().quantizer.fingerprint
    tiny_tokenizer(seed=5).save_pretrained(folder)
    with pytest.raises(InputError, match=f"trained with codebook {held}, the tokenizer holds"):
        load_bundle(folder)


def test_a_model_that_names_no_codebook_is_refused(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "codebook_fingerprint": None}))
    with pytest.raises(InputError, match="names no codebook"):
        load_bundle(folder)


def test_another_vocabulary_is_refused():
    model, tokenizer = tiny_bundle().model, tiny_tokenizer(("chair", "table", "lamp"))
    model.config.codebook_fingerprint = tokenizer.quantizer.fingerprint
    with pytest.raises(InputError, match="the model knows 23 tokens"):
        check(model, tokenizer)


@pytest.mark.parametrize("name", [name for name in FILES if name != "generation_config.json"])
@pytest.mark.parametrize("fault", ["missing", "cut short"])
def test_broken_bundles_are_refused(folder: Path, name: str, fault: str):
    path = folder / name
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"\.$"):
        load_bundle(folder)


@pytest.mark.parametrize("fault", ["absent", "NaN"])
def test_a_model_without_all_its_weights_is_refused(folder: Path, fault: str):
    weights = load_file(folder / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.weight"
    weight = weights.pop(name)
    save_file(weights if fault == "absent" else {**weights, name: weight * torch.nan}, folder / "model.safetensors")
    with pytest.raises(InputError, match="lacks weights or holds NaN"):
        load_bundle(folder)


def test_what_is_not_a_bundle(folder: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for name in (tmp_path / "absent", "not/a/name", tmp_path / "file", tmp_path):
        with pytest.raises(InputError, match=r"\.$"):
            load_bundle(name)
    with pytest.raises(InputError, match="not a folder"):
        push_bundle(tmp_path / "absent", "tester/new")
    with pytest.raises(InputError, match="is a file"):
        tiny_bundle().save_pretrained(tmp_path / "file")


def test_a_bundle_keeps_how_its_model_is_sampled_from(folder: Path):
    bundle = load_bundle(folder)
    assert bundle.drawn == {"temperature": 1.0, "top_p": 1.0}
    bundle.model.generation_config = generation_config(bundle.tokenizer.vocabulary, temperature=0.01, top_p=0.9)
    bundle.save_pretrained(folder)
    kept = load_bundle(folder)
    assert kept.drawn == {"temperature": 0.01, "top_p": 0.9}
    cold = kept.sample(16, seed=0).ids
    assert torch.equal(cold, kept.sample(16, seed=0, temperature=0.01, top_p=0.9).ids)
    assert not torch.equal(cold, kept.sample(16, seed=0, temperature=1.0, top_p=1.0).ids)
    (folder / "generation_config.json").unlink()
    assert load_bundle(folder).drawn == {"temperature": 1.0, "top_p": 1.0}


@pytest.mark.parametrize("wrong", [{"n": 0}, {"top_p": 0.0}, {"top_p": float("nan")}, {"top_k": -1}, {"label": "car"}])
def test_sampling_refuses(wrong: dict):
    with pytest.raises(InputError, match=r"\.$"):
        tiny_bundle().sample(**wrong)


def test_card(folder: Path):
    write_card(folder, {"shapes": 64, "test": {"iou": 0.91234567, "note": "text"}, "works": True}, "tester/shapes")
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: transformers")
    assert 'load_bundle("tester/shapes")' in text
    assert "| test / iou | 0.9123 |" in text
    assert "works" not in text
    assert "none, chair, table" in text


SESSION = """
import json, sys, warnings
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel
from weightgpt.errors import InputError
from weightgpt.model import load_bundle, push_bundle

folder = sys.argv[1]
address = push_bundle(folder, "tester/shapes")
push_bundle(load_bundle(folder), "tester/second", private=True)
pushed, pulled = load_bundle(folder).sample(6, seed=1), load_bundle("tester/shapes").sample(6, seed=1)
model, words = GPT2LMHeadModel.from_pretrained("tester/shapes"), AutoTokenizer.from_pretrained("tester/shapes")
torch.manual_seed(0)
ids = model.generate(torch.tensor([[1, 5]] * 32))
vocabulary = load_bundle("tester/second").tokenizer.vocabulary
refusals = []
for name, revision in (("tester/absent", None), ("tester/shapes", "absent")):
    try:
        load_bundle(name, revision)
    except InputError as error:
        refusals.append(str(error))
print(json.dumps({
    "address": address,
    "equal": torch.equal(pushed.ids, pulled.ids) and torch.equal(pushed.fields.flat, pulled.fields.flat),
    "labels": vocabulary.parse(ids)[1], "words": words.decode(ids[0]), "refusals": refusals,
}))
"""


def run(folder: Path, cache: Path, endpoint: str) -> str:
    """Push and pull in another process: the client reads its settings when it is imported."""
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_TOKEN": "hf_fake", "HF_HUB_DISABLE_XET": "1"}
    code = [sys.executable, "-c", SESSION, str(folder)]
    done = subprocess.run(code, env={**os.environ, **hub}, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_push_and_pull_with_the_real_client(folder: Path, tmp_path: Path):
    """What was pushed is pulled into an empty cache, whole and equal, and plain transformers can use it alone."""
    write_card(folder, {}, "tester/shapes")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    (folder / ".env").write_text("secret")
    (folder / "checkpoint-10").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "checkpoint-10")
    with FakeHub() as hub:
        told = json.loads(run(folder, tmp_path / "cache", hub.url).splitlines()[-1])
        assert set(hub.files("tester/shapes")) - {".gitattributes"} == {*FILES, "README.md"}
        assert set(hub.files("tester/second")) - {".gitattributes"} == {*FILES, "README.md"}
        for name in FILES:
            assert hub.files("tester/shapes")[name] == (folder / name).read_bytes()
        assert told["address"] == f"{hub.url}/tester/shapes"
    assert told["equal"]
    assert told["labels"] == ["chair"] * 32
    assert told["words"].startswith("<bos> <class:chair> w")
    assert ["check its name" in told["refusals"][0], "no revision absent" in told["refusals"][1]] == [True, True]


def test_a_local_folder_needs_no_network_and_the_rest_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    nowhere = partial(snapshot_download, endpoint="http://127.0.0.1:9", cache_dir=tmp_path / "cache")
    monkeypatch.setattr("weightgpt.model.snapshot_download", nowhere)
    with pytest.raises(InputError, match="tester/shapes is no folder here and the Hub does not answer"):
        load_bundle("tester/shapes")

    def connect(*_: object) -> None:
        raise AssertionError("a local folder asked the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert load_bundle(folder).sample(1).labels == ["chair"]


def test_plain_generate_keeps_the_grammar(folder: Path):
    model, vocabulary = GPT2LMHeadModel.from_pretrained(folder), tiny_tokenizer().vocabulary
    assert vocabulary.parse(model.generate(torch.tensor([[1, 4], [1, 6]])))[1] == ["none", "table"]
