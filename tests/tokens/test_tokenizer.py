"""The tokenizer encodes shapes and fields, decodes ids, survives a folder, and refuses parts of two models."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes import box_shape, generator, sphere_shape, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.fields.field import Field, Fields
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.tokens.tokenizer import TOKENIZER_FILES, WeightTokenizer
from weightgpt.tokens.vocabulary import Vocabulary

TOKENIZER = tiny_tokenizer(("arm chair", "table"))
QUICK = EncodeConfig(steps=0, num_points=1024)


def random_ids(count: int, seed: int = 0) -> torch.Tensor:
    """Sequences (count, L) with random codes; the classes take turns."""
    quantizer, classes = TOKENIZER.quantizer, TOKENIZER.vocabulary.classes
    codes = torch.randint(8, (count, quantizer.num_chunks, quantizer.num_quantizers), generator=generator(seed))
    return TOKENIZER.vocabulary.ids(codes, [classes[i % len(classes)] for i in range(count)])


def test_a_tokenizer_has_the_attributes_of_a_hugging_face_tokenizer():
    """They are those of the WordLevel tokenizer that transformers loads from the same folder."""
    names = ("pad_token", "bos_token", "eos_token", "unk_token", "vocab_size", "model_max_length")
    for name in (*names, *(f"{token}_id" for token in names[:4])):
        assert getattr(TOKENIZER, name) == getattr(TOKENIZER.backend, name), name
    assert len(TOKENIZER) == len(TOKENIZER.backend)


def test_batch_decode_gives_the_fields_of_the_codes():
    ids = random_ids(4)
    codes, labels = TOKENIZER.vocabulary.parse(ids)
    assert torch.equal(TOKENIZER.batch_decode(ids).flat, TOKENIZER.quantizer.decode(codes).flat)
    assert torch.equal(TOKENIZER.batch_decode(ids, num_quantizers=1).flat, TOKENIZER.quantizer.decode(codes, 1).flat)
    assert torch.equal(TOKENIZER.batch_decode(ids.tolist()).flat, TOKENIZER.batch_decode(ids).flat)
    assert TOKENIZER.class_names(ids) == labels == ["none", "arm_chair", "table", "none"]


def test_lists_of_tensors_decode_like_one_tensor():
    ids = random_ids(3)
    assert torch.equal(TOKENIZER.batch_decode(list(ids)).flat, TOKENIZER.batch_decode(ids).flat)


def test_decode_gives_a_field_for_one_sequence_and_fields_for_several():
    ids = random_ids(3)
    several, one = TOKENIZER.decode(ids), TOKENIZER.decode(ids[1], num_quantizers=1)
    assert isinstance(several, Fields)
    assert torch.equal(several.flat, TOKENIZER.batch_decode(ids).flat)
    assert isinstance(one, Field)
    torch.testing.assert_close(one.flat(), TOKENIZER.batch_decode(ids, num_quantizers=1).flat[1])


def test_fields_become_ids_with_a_mask_of_ones_and_labels_for_the_loss():
    batch = TOKENIZER(TOKENIZER.batch_decode(random_ids(3)), ["table", "arm chair", "none"], encode=QUICK)
    ids, labels = batch["input_ids"], batch["labels"]
    assert ids.shape == (3, TOKENIZER.model_max_length)
    assert torch.equal(batch["attention_mask"], torch.ones_like(ids))
    assert (labels[:, :2] == -100).all()
    assert torch.equal(labels[:, 2:], ids[:, 2:])
    assert TOKENIZER.class_names(ids) == ["table", "arm_chair", "none"]


def test_a_single_field_or_shape_becomes_a_batch_of_one():
    fields = TOKENIZER.batch_decode(random_ids(2))
    together = TOKENIZER(fields, encode=QUICK)["input_ids"]
    assert torch.equal(TOKENIZER(fields[1], encode=QUICK)["input_ids"], together[1:])
    shape = sphere_shape(0.5, label="table")
    assert torch.equal(TOKENIZER(shape, encode=QUICK)["input_ids"], TOKENIZER([shape], encode=QUICK)["input_ids"])


def test_ids_come_as_tensors_arrays_or_lists():
    fields = TOKENIZER.batch_decode(random_ids(2))
    tensors = TOKENIZER(fields, encode=QUICK)
    arrays = TOKENIZER(fields, encode=QUICK, return_tensors="np")
    lists = TOKENIZER(fields, encode=QUICK, return_tensors=None)
    for name, tensor in tensors.items():
        assert isinstance(arrays[name], np.ndarray)
        assert arrays[name].tolist() == lists[name] == tensor.tolist()
    with pytest.raises(InputError, match="return_tensors is 'tf'"):
        TOKENIZER(fields, encode=QUICK, return_tensors="tf")


def test_fields_without_labels_are_of_the_class_none_and_one_label_serves_for_all():
    fields = TOKENIZER.batch_decode(random_ids(2))
    assert TOKENIZER.class_names(TOKENIZER(fields, encode=QUICK)["input_ids"]) == ["none", "none"]
    assert TOKENIZER.class_names(TOKENIZER(fields, "table", encode=QUICK)["input_ids"]) == ["table", "table"]


def test_shapes_have_their_own_labels_in_any_spelling_and_unknown_ones_become_none():
    labels = ["arm chair", "arm_chair", "table", "sofa", "none"]
    shapes = [sphere_shape(0.4 + 0.1 * i, label=label) for i, label in enumerate(labels)]
    ids = TOKENIZER(shapes, encode=QUICK)["input_ids"]
    assert TOKENIZER.class_names(ids) == ["arm_chair", "arm_chair", "table", "none", "none"]


def test_encoding_twice_gives_the_same_ids():
    shapes, config = [sphere_shape(0.5), box_shape()], EncodeConfig(steps=5, num_points=1024)
    first, second = (TOKENIZER(shapes, encode=config)["input_ids"] for _ in range(2))
    assert torch.equal(first, second)


def test_a_dataset_has_a_row_for_each_sequence():
    shapes = [sphere_shape(0.5, label="table"), box_shape()]
    batch = TOKENIZER(shapes)
    for source in (batch, dict(batch), shapes):
        dataset = TOKENIZER.to_dataset(source)
        assert dataset.column_names == ["input_ids", "attention_mask", "labels"]
        for name in dataset.column_names:
            assert dataset[:][name] == batch[name].tolist()


def test_a_saved_tokenizer_loads_as_the_same(tmp_path: Path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = WeightTokenizer.from_pretrained(tmp_path)
    assert loaded.vocabulary == TOKENIZER.vocabulary
    assert loaded.quantizer.fingerprint == TOKENIZER.quantizer.fingerprint
    assert loaded.backend.get_vocab() == TOKENIZER.backend.get_vocab()
    ids, shapes = random_ids(6), [sphere_shape(0.5), box_shape()]
    assert torch.equal(loaded.batch_decode(ids).flat, TOKENIZER.batch_decode(ids).flat)
    before, after = (tokenizer(shapes, encode=QUICK)["input_ids"] for tokenizer in (TOKENIZER, loaded))
    assert torch.equal(before, after)


def test_saving_a_loaded_tokenizer_writes_the_same_files(tmp_path: Path):
    TOKENIZER.save_pretrained(tmp_path / "a")
    WeightTokenizer.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    first, second = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "ab"
    )
    assert sorted(first) == sorted(TOKENIZER_FILES)
    assert first == second


@pytest.mark.parametrize("sizes", [(4, 2, 8), (3, 1, 8), (3, 2, 7)])
def test_a_vocabulary_of_another_codebook_is_refused(sizes: tuple[int, int, int]):
    with pytest.raises(InputError, match="take both from one model"):
        WeightTokenizer(TOKENIZER.quantizer, Vocabulary.create(*sizes, []))


def test_a_folder_with_parts_of_two_tokenizers_is_refused(tmp_path: Path):
    TOKENIZER.save_pretrained(tmp_path)
    codebook = TOKENIZER.quantizer.codebook
    smaller = replace(codebook, code_vectors=codebook.code_vectors[:, :7])
    RVQAutoencoder(smaller, TOKENIZER.quantizer.encoder).save_pretrained(tmp_path / "codebook")
    with pytest.raises(InputError, match="take both from one model"):
        WeightTokenizer.from_pretrained(tmp_path)


def test_words_in_another_order_are_refused(tmp_path: Path):
    """Swapped words would decode to other shapes without an error."""
    TOKENIZER.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    words = json.loads(file.read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["w0"], vocabulary["w1"] = vocabulary["w1"], vocabulary["w0"]
    file.write_text(json.dumps(words))
    with pytest.raises(InputError, match="in this order"):
        WeightTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", [name for name in TOKENIZER_FILES if name != "tokenizer_config.json"])
def test_a_missing_file_is_reported(tmp_path: Path, name: str):
    TOKENIZER.save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} does not exist"):
        WeightTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_cut_short_is_reported(tmp_path: Path, name: str):
    TOKENIZER.save_pretrained(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 3):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(InputError, match=f"{name} is not valid JSON"):
            WeightTokenizer.from_pretrained(tmp_path)


def test_ids_that_break_the_grammar_are_refused():
    ids = random_ids(3)
    ids[1, 4] = 0
    for use in (TOKENIZER.decode, TOKENIZER.batch_decode, TOKENIZER.class_names):
        with pytest.raises(InputError, match="sequence 1 has id 0 at position 4"):
            use(ids)


def test_fields_of_another_architecture_are_refused():
    config = replace(TOKENIZER.quantizer.field_config, num_frequencies=0)
    with pytest.raises(InputError, match="learned for this architecture"):
        TOKENIZER(Field(config), encode=QUICK)


def test_a_field_with_nan_is_refused():
    config = TOKENIZER.quantizer.field_config
    field = Field(config).load_flat(torch.full((config.parameters,), float("nan")))
    with pytest.raises(InputError, match="NaN or infinite"):
        TOKENIZER(field, encode=QUICK)


def test_an_unknown_label_or_another_number_of_labels_is_refused():
    fields = TOKENIZER.batch_decode(random_ids(2))
    with pytest.raises(InputError, match="'sofa' is unknown"):
        TOKENIZER(fields, ["table", "sofa"], encode=QUICK)
    with pytest.raises(InputError, match="there are 1 labels for"):
        TOKENIZER(fields, ["table"], encode=QUICK)


@pytest.mark.parametrize("values", [["chair.obj"], "chair.obj", None, torch.zeros(2, 3)])
def test_objects_that_are_no_shapes_are_refused(values):
    with pytest.raises(InputError, match="encodes shapes or fields, not "):
        TOKENIZER(values)


@pytest.mark.parametrize("values", [[[1, 2], [1]], "w1 w2", [], [0.5, 1.0]])
def test_ids_that_are_no_whole_numbers_of_one_length_are_refused(values):
    with pytest.raises(InputError, match="whole numbers"):
        TOKENIZER.decode(values)
