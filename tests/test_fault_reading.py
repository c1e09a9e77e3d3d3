"""Files that are broken, changed, exchanged or made to do harm: each is refused in one sentence."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2LMHeadModel

from tests.fakes import tiny_codebook, tiny_config, tiny_encoder, tiny_gpt, tiny_graph, tiny_tokenizer, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.io import read_json, read_metadata, read_tensors, write_tensors
from weightgpt.model import FILES, WeightGPT
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.tokens.storage import Tokens, load_tokens, save_tokens

TENSOR_FILES = ("model.safetensors", "codebook/model.safetensors", "codebook/encoder.safetensors")
QUANTIZERS: dict[str, Callable[[], Any]] = {
    "rvq": lambda: tiny_tokenizer().quantizer,
    "graph": lambda: tiny_graph(tiny_codebook()),
    "weight-vq": tiny_weight_vq,
}


def save_model(folder: Path, seed: int = 0) -> Path:
    tokenizer = tiny_tokenizer(seed=seed)
    WeightGPT(tiny_gpt(tokenizer.vocabulary, seed), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model."""
    return save_model(tmp_path / "model")


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x04
    path.write_bytes(content)


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as refusal:
        WeightGPT.from_pretrained(folder)
    return str(refusal.value)


@pytest.mark.parametrize("name", FILES)
def test_fault_13_every_file_of_a_model_that_is_cut_short_is_refused(folder: Path, name: str):
    content = (folder / name).read_bytes()
    for share in (0, 0.3, 0.7, 0.99):
        (folder / name).write_bytes(content[: int(len(content) * share)])
        assert name in refused(folder)


@pytest.mark.parametrize("name", TENSOR_FILES)
def test_fault_14_a_flipped_bit_of_a_weight_is_noticed(folder: Path, name: str):
    size = (folder / name).stat().st_size
    (header,) = struct.unpack("<Q", (folder / name).read_bytes()[:8])
    for at in range(8 + header, size, (size - header) // 20):
        flip(folder / name, at)
        assert "was changed or damaged" in refused(folder) or "NaN" in refused(folder)
        flip(folder / name, at)
    assert WeightGPT.from_pretrained(folder)


def test_fault_14_a_changed_number_of_a_json_file_is_noticed(folder: Path):
    for name, values in (
        ("config.json", {"layer_norm_epsilon": 1e-4}),
        ("generation_config.json", {"temperature": 0.5}),
    ):
        content = (folder / name).read_text()
        change_json(folder / name, **values)
        assert "is not the one that model.safetensors was saved with" in refused(folder)
        (folder / name).write_text(content)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        content = (folder / name).read_text()
        (folder / name).write_text(content.replace("<class:chair>", "<class:cheir>"))
        assert "does not belong to" in refused(folder)
        (folder / name).write_text(content)


def test_fault_14_flipped_bits_of_fields_and_tokens_are_noticed(tmp_path: Path):
    metadata = ShapeMetadata.plain(["a", "b"], ["chair", "none"])
    save_fields(tmp_path / "f.safetensors", Fields(tiny_config(), torch.ones(2, tiny_config().parameters)), metadata)
    flip(tmp_path / "f.safetensors", -600)
    with pytest.raises(InputError, match="was changed or damaged"):
        load_fields(tmp_path / "f.safetensors")
    save_tokens(tmp_path / "t.json", Tokens(torch.arange(100, 110).reshape(2, 5), "0" * 16, metadata))
    (tmp_path / "t.json").write_text((tmp_path / "t.json").read_text().replace("105", "101"))
    with pytest.raises(InputError, match="was changed since it was written"):
        load_tokens(tmp_path / "t.json")


def test_fault_14_a_model_that_transformers_saved_again_is_read(folder: Path):
    """Fine-tuning writes other weights and settings; old checksums do not refuse them."""
    gpt, words = GPT2LMHeadModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        gpt.transformer.wpe.weight.add_(1)
    gpt.generation_config.temperature = 0.5
    gpt.save_pretrained(folder)
    words.save_pretrained(folder)
    assert "sha256" not in read_metadata(folder / "model.safetensors")
    model = WeightGPT.from_pretrained(folder)
    assert torch.equal(model.gpt.transformer.wpe.weight, gpt.transformer.wpe.weight)
    assert model.sampling_defaults["temperature"] == 0.5
    gpt.half().save_pretrained(folder)
    assert WeightGPT.from_pretrained(folder).gpt.dtype == torch.float32


class Bomb:
    """Creates a file when an instance is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", FILES)
def test_fault_18_no_pickle_is_run(folder: Path, tmp_path: Path, name: str):
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    assert name in refused(folder)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("size", [0, 2**40, 2**63])
def test_fault_19_a_header_of_another_size_is_refused(folder: Path, size: int):
    for name in TENSOR_FILES:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(struct.pack("<Q", size) + content[8:])
        assert "is not a whole safetensors file" in refused(folder)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("file", ["model.safetensors", "encoder.safetensors"])
def test_fault_20_tensors_of_other_dtypes_shapes_or_names_are_refused(tmp_path: Path, kind: str, file: str):
    QUANTIZERS[kind]().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / file)
    for name in list(tensors)[:: 1 + len(tensors) // 8]:
        value = tensors[name]
        for other in (value.double(), value.half(), value.int(), value.bool(), value[None], value.reshape(-1)[:0]):
            write_tensors(tmp_path / file, {**tensors, name: other.clone()})
            with pytest.raises(InputError, match="take all files from one folder"):
                AutoQuantizer.from_pretrained(tmp_path)
        write_tensors(tmp_path / file, {key: tensors[key] for key in tensors if key != name})
        with pytest.raises(InputError):
            AutoQuantizer.from_pretrained(tmp_path)
    write_tensors(tmp_path / file, {**tensors, "more": torch.zeros(3)})
    with pytest.raises(InputError, match="has a tensor 'more' that does not belong there"):
        AutoQuantizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("file", ["model.safetensors", "encoder.safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_fault_21_a_tensor_that_is_not_finite_is_refused(tmp_path: Path, kind: str, file: str, value: float):
    QUANTIZERS[kind]().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / file)
    for name, tensor in list(tensors.items())[:: 1 + len(tensors) // 12]:
        changed = tensor.clone()
        changed.view(-1)[-1] = value
        write_tensors(tmp_path / file, {**tensors, name: changed})
        with pytest.raises(InputError, match="holds NaN or infinite values"):
            AutoQuantizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *('{"a": NaN}', '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1e999}', '{"a": 1, "a": 2}', "9" * 5000),
        *("[" * 500 + "]" * 500, '{"a":' * 100 + "1" + "}" * 100, '"\\ud800"', "\ufeff{}", "1 2", "", "{'a': 1}", "+1"),
    ],
)
def test_fault_22_json_that_is_no_strict_json_is_refused(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_fault_22_brackets_in_texts_are_not_nested(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(["[" * 1000, '"[' * 1000, "\\" * 3]))
    assert read_json(tmp_path / "a.json") == ["[" * 1000, '"[' * 1000, "\\" * 3]


def test_fault_22_a_huge_file_is_not_read(tmp_path: Path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="more than the 64 MiB allowed"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [read_json, read_tensors, load_fields, load_tokens])
def test_fault_23_what_is_no_file_is_refused(tmp_path: Path, read: Callable[[Path], Any]):
    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent" / "x", Path("/dev/zero"), tmp_path / ("x" * 300)):
        with pytest.raises(InputError):
            read(path)
    with pytest.raises(InputError):
        read(Path("a\0b"))


def test_fault_24_a_file_of_another_format_is_refused(tmp_path: Path, folder: Path):
    for name in TENSOR_FILES:
        with pytest.raises(InputError, match=r"is of an unknown format, not weightgpt\.fields"):
            load_fields(folder / name)
    for name in ("config.json", "tokenizer.json", "codebook/config.json"):
        with pytest.raises(InputError, match=r"not weightgpt\.tokens"):
            load_tokens(folder / name)
        with pytest.raises(InputError, match="is not a whole safetensors file"):
            load_fields(folder / name)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"}),
        ("tokenizer_config.json", {"bos_token": "<eos>"}),
        ("tokenizer_config.json", {"pad_token": 5}),
        ("tokenizer_config.json", {"model_max_length": 10**30}),
        ("tokenizer.json", {"model": None}),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {}}}),
        ("tokenizer.json", {"model": {"type": "WordLevel", "vocab": {"<pad>": "0"}}}),
        ("config.json", {"n_head": 3}),
        ("config.json", {"n_layer": True}),
        ("config.json", {"n_embd": "16"}),
        ("config.json", {"activation_function": "eval"}),
        ("config.json", {"activation_function": []}),
        ("config.json", {"attn_pdrop": 2}),
        ("config.json", {"layer_norm_epsilon": None}),
        ("config.json", {"add_cross_attention": True}),
        ("config.json", {"codebook_fingerprint": 3}),
        ("config.json", {"bos_token_id": [1]}),
        ("generation_config.json", {"temperature": "1"}),
        ("generation_config.json", {"temperature": 0}),
        ("generation_config.json", {"top_p": 1.5}),
        ("generation_config.json", {"top_p": True}),
    ],
)
def test_fault_28_settings_of_another_type_are_refused(folder: Path, name: str, values: dict):
    change_json(folder / name, **values)
    assert name.split(".")[0] in refused(folder)


def test_fault_28_settings_that_could_load_code_are_ignored(folder: Path):
    """A model that transformers saved, with files that name other classes and other packages."""
    model = GPT2LMHeadModel.from_pretrained(folder)
    model.save_pretrained(folder)
    code = {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.T", None]}}
    change_json(folder / "config.json", **code, quantization_config={"quant_method": "x"}, attn_implementation="a/b")
    change_json(folder / "config.json", _attn_implementation="a/b", architectures=["Evil"], dtype="int8")
    change_json(folder / "tokenizer_config.json", **code)
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/base"}')
    loaded = WeightGPT.from_pretrained(folder)
    assert loaded.gpt.config._attn_implementation == "sdpa"
    assert loaded.gpt.dtype == torch.float32
    assert torch.equal(loaded.generate(2).ids, WeightGPT(model, tiny_tokenizer()).generate(2).ids)


@pytest.mark.parametrize("name", ["generation_config.json"])
def test_fault_28_a_broken_generation_config_is_refused_and_an_absent_one_has_defaults(folder: Path, name: str):
    content = (folder / name).read_bytes()
    for text in (content[:100], b"", b"[]", b"null", b"\x80\x04."):
        (folder / name).write_bytes(text)
        assert name in refused(folder)
    (folder / name).unlink()
    assert WeightGPT.from_pretrained(folder).sampling_defaults == {"temperature": 1.0, "top_p": 1.0}


@pytest.mark.parametrize(
    "name", ["runs/demo/model", "./model", "../a/b", "~/model", "/absent/model", "model", "here/model"]
)
def test_fault_29_a_path_with_a_slip_is_not_looked_up_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr("weightgpt.hub.snapshot_download", lambda *_, **__: pytest.fail("the Hub was asked"))
    for load in (WeightGPT.from_pretrained, AutoQuantizer.from_pretrained):
        for path in (name, Path(name), Path("owner/name")):
            with pytest.raises(InputError, match="is neither a folder nor a name on the Hub"):
                load(path)


@pytest.mark.parametrize("name", TENSOR_FILES)
def test_fault_47_a_file_of_another_model_of_the_same_sizes_is_refused(folder: Path, tmp_path: Path, name: str):
    other = save_model(tmp_path / "other", seed=5)
    (folder / name).write_bytes((other / name).read_bytes())
    assert refused(folder)


def test_fault_47_another_encoder_for_the_same_codebook_is_refused(tmp_path: Path):
    codebook = tiny_codebook()
    for name, seed in (("a", 0), ("b", 1)):
        RVQAutoencoder(codebook, tiny_encoder(codebook, seed)).save_pretrained(tmp_path / name)
    (tmp_path / "a" / "encoder.safetensors").write_bytes((tmp_path / "b" / "encoder.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"is not the encoder that config\.json names"):
        AutoQuantizer.from_pretrained(tmp_path / "a")


@pytest.mark.parametrize("kind", QUANTIZERS)
@pytest.mark.parametrize("dtype", ["I32", "U32"])
def test_fault_47b_the_same_bytes_as_other_numbers_are_refused(tmp_path: Path, kind: str, dtype: str):
    QUANTIZERS[kind]().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    for name in tensors:
        save_file(tensors, path)
        content = path.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        header[name]["dtype"] = dtype
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
        with pytest.raises(InputError, match=f"tensor '{name}' .* is {dtype}"):
            AutoQuantizer.from_pretrained(tmp_path)


def test_fault_48_a_vocabulary_of_another_order_or_size_is_refused(folder: Path):
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    swapped = {**words, "w0": words["w1"], "w1": words["w0"]}
    for vocabulary in (swapped, {**words, "w16": 23}, {key: words[key] for key in list(words)[:-1]}, {**words, "x": 3}):
        content["model"]["vocab"] = vocabulary
        (folder / "tokenizer.json").write_text(json.dumps(content))
        assert refused(folder)
