"""A model generates, survives a folder, keeps its card, and refuses parts that do not belong together."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2LMHeadModel

import weightgpt
from tests.fakes import tiny_gpt, tiny_tokenizer
from tests.pictures import picture_size
from weightgpt.card import write_card
from weightgpt.errors import InputError
from weightgpt.io import read_metadata
from weightgpt.model import FILES, WeightGPT
from weightgpt.tokens.generated import GeneratedShapes
from weightgpt.tokens.generation import SamplingConfig, generation_config, sample_ids


def tiny_model(seed: int = 0) -> WeightGPT:
    """An untrained model; with seed 1 the first samples of generate(seed=0) have a surface."""
    tokenizer = tiny_tokenizer()
    return WeightGPT(tiny_gpt(tokenizer.vocabulary, seed), tokenizer)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a saved model."""
    tiny_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_loads_as_the_same_and_saves_the_same_files(folder: Path):
    before, after = tiny_model().generate(5, seed=3), WeightGPT.from_pretrained(folder).generate(5, seed=3)
    assert torch.equal(before.ids, after.ids)
    assert torch.equal(before.fields.flat, after.fields.flat)
    assert before.labels == after.labels == ["chair", "table", "chair", "table", "chair"]
    WeightGPT.from_pretrained(folder).save_pretrained(folder.parent / "copy")
    for name in FILES:
        assert (folder / name).read_bytes() == (folder.parent / "copy" / name).read_bytes(), name


def test_saving_keeps_other_files_of_the_folder(folder: Path):
    (folder / "notes.txt").write_text("mine")
    tiny_model().save_pretrained(folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {Path(name).parts[0] for name in FILES} | {"notes.txt"}
    assert (folder / "notes.txt").read_text() == "mine"


def test_generated_shapes_are_a_sequence():
    shapes = tiny_model().generate(5, seed=1)
    assert len(shapes) == len(list(shapes)) == 5
    assert [shape.label for shape in shapes] == shapes.labels
    points = torch.rand(20, 3)
    for index in (1, -1):
        assert torch.equal(shapes[index].ids, shapes.ids[index])
        torch.testing.assert_close(shapes[index].field(points), shapes.fields(points)[index])
    part = shapes[3:0:-1]
    assert isinstance(part, GeneratedShapes)
    assert torch.equal(part.ids, shapes.ids[[3, 2, 1]])
    assert torch.equal(part.fields.flat, shapes.fields.flat[[3, 2, 1]])
    assert part.labels == [shapes.labels[i] for i in (3, 2, 1)]
    with pytest.raises(IndexError):
        shapes[5]


def test_a_generated_shape_is_meshed_and_rendered():
    shapes = tiny_model(seed=1).generate(2, seed=0)
    mesh = shapes[0].to_mesh(resolution=24)
    assert len(mesh.faces) > 10
    distances = shapes[0].field(torch.tensor(mesh.vertices, dtype=torch.float32))
    assert distances.abs().max() < 0.05
    assert shapes[0].render(size=32).size == (32, 32)
    sheet = shapes.render(size=48)
    assert isinstance(sheet, Image.Image)
    assert sheet.size[0] == 2 * 48


def test_generated_shapes_are_evaluated_as_they_are():
    """Samples that are the training shapes themselves are all memorized."""
    sets = [tiny_model(seed=1).generate(4, seed=seed) for seed in (0, 1)]
    report = weightgpt.evaluate(sets[0], train=sets[0], held_out=sets[1], points=64, resolution=24)
    assert report.rows["samples"]["count"] == 4
    assert report.rows["samples"]["memorized_share"] == 1


@pytest.mark.parametrize("label", [None, "table"])
@pytest.mark.parametrize("quasi_random", [True, False])
def test_fault_82_batches_are_the_first_shapes_of_any_larger_number(label: str | None, quasi_random: bool):
    model = tiny_model()
    expected = model.generate(70, label, seed=4, quasi_random=quasi_random)
    for n, batch_size in ((1, 1), (7, 3), (70, 32), (69, 64)):
        batches = list(model.generate_batches(n, label, seed=4, quasi_random=quasi_random, batch_size=batch_size))
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
        shapes = GeneratedShapes.join(batches)
        assert shapes.labels == expected.labels[:n]
        assert torch.equal(shapes.ids, expected.ids[:n])
        assert torch.equal(shapes.fields.flat, expected.fields.flat[:n])


def test_generate_passes_every_setting_to_the_sampler():
    model = tiny_model()
    settings = {"seed": 4, "temperature": 0.7, "top_p": 0.6, "top_k": 3, "quasi_random": False, "batch_size": 2}
    expected = sample_ids(model.gpt, model.tokenizer.vocabulary, ["table"] * 5, SamplingConfig(**settings))
    assert torch.equal(model.generate(5, "table", **settings).ids, expected)


def test_a_model_keeps_its_sampling_defaults(folder: Path):
    model = WeightGPT.from_pretrained(folder)
    assert model.sampling_defaults == {"temperature": 1.0, "top_p": 1.0}
    model.gpt.generation_config = generation_config(model.tokenizer.vocabulary, temperature=0.01, top_p=0.9)
    model.save_pretrained(folder)
    loaded = WeightGPT.from_pretrained(folder)
    assert loaded.sampling_defaults == {"temperature": 0.01, "top_p": 0.9}
    cold = loaded.generate(16, seed=0).ids
    assert torch.equal(cold, loaded.generate(16, seed=0, temperature=0.01, top_p=0.9).ids)
    assert not torch.equal(cold, loaded.generate(16, seed=0, temperature=1.0, top_p=1.0).ids)
    (folder / "generation_config.json").unlink()
    assert WeightGPT.from_pretrained(folder).sampling_defaults == {"temperature": 1.0, "top_p": 1.0}


def test_dropout_does_not_disturb_samples_after_training():
    model = tiny_model()
    expected = model.generate(4, seed=0).ids
    for module in model.gpt.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    model.gpt.train()
    assert torch.equal(model.generate(4, seed=0).ids, expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"top_p": 0.0}, r"top_p is 0\.0"),
        ({"top_p": float("nan")}, "top_p is nan"),
        ({"top_k": -1}, "top_k is -1"),
        ({"temperature": 0.0}, r"temperature is 0\.0"),
        ({"label": "car"}, "class 'car' is unknown"),
        ({"n": 2, "label": ["chair"]}, "1 classes were given for 2 samples"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting: dict, message: str):
    with pytest.raises(InputError, match=message):
        tiny_model().generate(**setting)


def test_tokenizer_config_names_classes_that_all_versions_of_transformers_know(folder: Path):
    """Without `tokenizer_class` the tokenizer of GPT-2 would read the words, wrongly and without an error."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "backend" not in config
    assert "extra_special_tokens" not in config
    assert config["additional_special_tokens"] == ["<class:none>", "<class:chair>", "<class:table>"]
    words, backend = AutoTokenizer.from_pretrained(folder), tiny_tokenizer().backend
    text = "<class:chair> w0 w7 w3 w1 w2 w5"
    assert words(text)["input_ids"] == backend(text)["input_ids"] == [1, 5, 7, 14, 10, 8, 9, 12]
    assert words.all_special_tokens == backend.all_special_tokens


def test_plain_gpt2_follows_the_grammar(folder: Path):
    gpt, vocabulary = GPT2LMHeadModel.from_pretrained(folder), tiny_tokenizer().vocabulary
    assert vocabulary.parse(gpt.generate(torch.tensor([[1, 4], [1, 6]])))[1] == ["none", "table"]


def test_another_codebook_is_refused(folder: Path):
    fingerprint = tiny_tokenizer().quantizer.fingerprint
    tiny_tokenizer(seed=5).save_pretrained(folder)
    with pytest.raises(InputError, match=f"trained with codebook {fingerprint}, the tokenizer has"):
        WeightGPT.from_pretrained(folder)


def test_a_gpt2_that_names_no_codebook_is_refused(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "codebook_fingerprint": None}))
    with pytest.raises(InputError, match="names no codebook"):
        WeightGPT.from_pretrained(folder)


def test_another_vocabulary_is_refused():
    with pytest.raises(InputError, match="the GPT-2 has 23 tokens"):
        WeightGPT(tiny_model().gpt, tiny_tokenizer(("chair", "table", "lamp")))


@pytest.mark.parametrize("name", [name for name in FILES if name != "generation_config.json"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"is not a whole model, it has no {re.escape(name)}"):
        WeightGPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"config\.json is not valid JSON"),
        ("model.safetensors", "is not a whole safetensors file"),
        ("tokenizer.json", r"tokenizer\.json is not valid JSON"),
        ("tokenizer_config.json", r"tokenizer_config\.json is not valid JSON"),
        ("codebook/config.json", r"config\.json is not valid JSON"),
        ("codebook/model.safetensors", "is not a whole safetensors file"),
        ("codebook/encoder.safetensors", "is not a whole safetensors file"),
    ],
)
def test_a_file_that_is_cut_short_is_reported(folder: Path, name: str, message: str):
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=message):
        WeightGPT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("absent", "lacks tensor 'transformer.h.0"),
        ("NaN", "tensor 'transformer.h.0.* holds NaN"),
        ("more", "has a tensor"),
    ],
)
def test_a_gpt2_without_all_its_weights_is_refused(folder: Path, fault: str, message: str):
    weights = load_file(folder / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.weight"
    weight = weights.pop(name)
    if fault != "absent":
        weights |= {name: weight * torch.nan} if fault == "NaN" else {name: weight, "more": weight.clone()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=message):
        WeightGPT.from_pretrained(folder)


def test_fault_14_files_of_a_model_need_their_checksums(folder: Path):
    """The weights may be those of transformers, so they may have no checksum at all, but not only some of them."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    without = {name: value for name, value in config.items() if "sha256" not in name}
    (folder / "tokenizer_config.json").write_text(json.dumps(without))
    with pytest.raises(InputError, match=r"weightgpt_sha256 of .* does not belong to"):
        WeightGPT.from_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    metadata = read_metadata(folder / "model.safetensors")
    del metadata["sha256"]
    for entries in (metadata, None):
        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors", entries)
        with pytest.raises(InputError, match="has no checksum"):
            WeightGPT.from_pretrained(folder)


def test_another_kind_of_model_or_folder_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"is not a whole model, it has no config\.json"):
        WeightGPT.from_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(InputError, match="is not of a GPT-2"):
        WeightGPT.from_pretrained(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="which is a file"):
        tiny_model().save_pretrained(tmp_path / "file")


def test_the_card_shows_the_model_and_its_metrics(folder: Path):
    write_card(folder, {"shapes": 6400, "test": {"iou": 0.91234567, "note": "text"}, "works": True}, "tester/shapes")
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: transformers")
    assert 'from_pretrained("tester/shapes")' in text
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert ["test / iou", "0.9123"] in cells
    assert ["shapes", "6,400"] in cells
    assert "works" not in text
    assert "none, chair, table" in text


def test_the_card_of_a_model_with_a_credit_has_another_license(folder: Path):
    write_card(folder, {})
    assert "license: apache-2.0" in (folder / "README.md").read_text()
    write_card(folder, {}, credit="Learned from shapes whose terms allow research alone.")
    text = (folder / "README.md").read_text()
    assert "license: other" in text
    assert "- Learned from shapes whose terms allow research alone.\n" in text


def test_fault_71_a_readme_that_is_no_model_card_is_not_read(folder: Path):
    (folder / "README.md").write_text("# notes of a client\n")
    assert WeightGPT.from_pretrained(folder).card is None


def test_fault_27_names_of_classes_stay_text_in_a_card(tmp_path: Path):
    tokenizer = tiny_tokenizer(("![x](http://e)", "a|b"))
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(tmp_path)
    write_card(tmp_path, {"iou": {"![x](http://e)": 0.5, "a|b": 0.25}})
    text = (tmp_path / "README.md").read_text().split("```")
    assert not re.search(r"(?<!\\)[!|]\[|a\|b", text[0] + text[-1])


def test_the_code_on_the_card_runs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    tiny_model(seed=1).save_pretrained(folder)
    write_card(folder, {}, str(folder))
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert "<class:table>" in blocks[1]
    monkeypatch.chdir(folder.parent)
    Path("card.py").write_text("".join(blocks))
    runpy.run_path("card.py")
    assert picture_size("shapes.png")[0] == 4 * 160
    assert Path("shape.glb").stat().st_size > 1000


def test_a_loaded_model_remembers_its_card(folder: Path):
    assert WeightGPT.from_pretrained(folder).card is None
    write_card(folder, {"iou": 0.5})
    assert WeightGPT.from_pretrained(folder).card == (folder / "README.md").read_text()
