"""The tokenizer joins the parts, survives a folder, and refuses parts that do not belong together."""

import json
from dataclasses import replace

import pytest
import torch

from tests.fakes import box_shape, generator, sphere_shape, tiny_codebook, tiny_encoder, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import Vocabulary

TOKENIZER = tiny_tokenizer(("arm chair", "table"))
QUICK = EncodeConfig(steps=0, num_points=1024)


def random_ids(count: int, seed: int = 0) -> torch.Tensor:
    quantizer, classes = TOKENIZER.quantizer, TOKENIZER.vocabulary.classes
    codes = torch.randint(8, (count, quantizer.num_chunks, quantizer.num_quantizers), generator=generator(seed))
    return TOKENIZER.batch(codes, [classes[i % len(classes)] for i in range(count)])["input_ids"]


def test_ids_decode_to_the_fields_of_the_codebook_and_keep_their_labels():
    ids = random_ids(4)
    codes, labels = TOKENIZER.vocabulary.parse(ids)
    assert torch.equal(TOKENIZER.decode(ids).flat, TOKENIZER.quantizer.decode(codes).flat)
    assert torch.equal(TOKENIZER.decode(ids, num_quantizers=1).flat, TOKENIZER.quantizer.decode(codes, 1).flat)
    assert TOKENIZER.labels(ids) == labels == ["none", "arm_chair", "table", "none"]


def test_fields_become_sequences_with_a_mask_of_ones():
    batch = TOKENIZER.encode(TOKENIZER.decode(random_ids(3)), ["table", "arm chair", "none"], QUICK)
    assert batch["input_ids"].shape == (3, TOKENIZER.vocabulary.length)
    assert torch.equal(batch["attention_mask"], torch.ones_like(batch["input_ids"]))
    assert TOKENIZER.labels(batch["input_ids"]) == ["table", "arm_chair", "none"]


def test_fields_without_labels_are_of_the_class_none():
    ids = TOKENIZER.encode(TOKENIZER.decode(random_ids(2)), options=QUICK)["input_ids"]
    assert TOKENIZER.labels(ids) == ["none", "none"]


def test_shapes_keep_their_known_labels_however_they_are_written():
    labels = ["arm chair", "arm_chair", "table", "sofa", "none"]
    shapes = [sphere_shape(0.4 + 0.1 * i, label=label) for i, label in enumerate(labels)]
    ids = TOKENIZER.encode_shapes(shapes, QUICK)["input_ids"]
    assert TOKENIZER.labels(ids) == ["arm_chair", "arm_chair", "table", "none", "none"]


def test_encoding_twice_gives_the_same_ids():
    shapes = [sphere_shape(0.5), box_shape()]
    options = EncodeConfig(steps=5, num_points=1024)
    first, second = (TOKENIZER.encode_shapes(shapes, options)["input_ids"] for _ in range(2))
    assert torch.equal(first, second)


def test_a_saved_tokenizer_comes_back_the_same(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    again = WeightTokenizer.from_pretrained(tmp_path)
    assert again.vocabulary == TOKENIZER.vocabulary
    assert again.quantizer.fingerprint == TOKENIZER.quantizer.fingerprint
    assert again.backend.get_vocab() == TOKENIZER.backend.get_vocab()
    ids, shapes = random_ids(6), [sphere_shape(0.5), box_shape()]
    assert torch.equal(again.decode(ids).flat, TOKENIZER.decode(ids).flat)
    before, after = (tokenizer.encode_shapes(shapes, QUICK)["input_ids"] for tokenizer in (TOKENIZER, again))
    assert torch.equal(before, after)


def test_saving_again_writes_the_same_files(tmp_path):
    TOKENIZER.save_pretrained(tmp_path / "a")
    WeightTokenizer.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    first, second = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in "ab"
    )
    assert len(first) == 5
    assert first == second


@pytest.mark.parametrize("sizes", [(4, 2, 8), (3, 1, 8), (3, 2, 7)])
def test_a_vocabulary_of_another_codebook_is_refused(sizes):
    with pytest.raises(InputError, match="take both from one bundle"):
        WeightTokenizer(TOKENIZER.quantizer, Vocabulary.create(*sizes, []))


@pytest.mark.parametrize(("dimension", "chunks", "width"), [(2, 3, 3), (3, 4, 3), (3, 3, 4)])
def test_an_encoder_of_another_codebook_is_refused(dimension, chunks, width):
    encoder = ShapeEncoder(torch.zeros(8, dimension), 4, chunks, width)
    with pytest.raises(InputError, match="encoder is for"):
        RVQAutoencoder(TOKENIZER.quantizer.codebook, encoder)


def test_a_folder_with_parts_of_two_tokenizers_is_refused(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    codebook = replace(TOKENIZER.quantizer.codebook, code_vectors=TOKENIZER.quantizer.codebook.code_vectors[:, :7])
    RVQAutoencoder(codebook, TOKENIZER.quantizer.encoder).save_pretrained(tmp_path / "codebook")
    with pytest.raises(InputError, match="take both from one bundle"):
        WeightTokenizer.from_pretrained(tmp_path)


def test_words_in_another_order_are_refused(tmp_path):
    """Swapped words would silently decode to other shapes."""
    TOKENIZER.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    words = json.loads(file.read_text())
    vocabulary = words["model"]["vocab"]
    vocabulary["w0"], vocabulary["w1"] = vocabulary["w1"], vocabulary["w0"]
    file.write_text(json.dumps(words))
    with pytest.raises(InputError, match="in this order"):
        WeightTokenizer.from_pretrained(tmp_path)


def test_a_missing_file_is_told(tmp_path):
    for name in (
        "tokenizer.json",
        "codebook/config.json",
        "codebook/model.safetensors",
        "codebook/encoder.safetensors",
    ):
        TOKENIZER.save_pretrained(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(InputError, match=r"tokenizer\.json|does not exist"):
            WeightTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_cut_tokenizer_is_told(tmp_path, name):
    TOKENIZER.save_pretrained(tmp_path)
    content = (tmp_path / name).read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 3):
        (tmp_path / name).write_bytes(content[:size])
        with pytest.raises(InputError, match="tokenizer"):
            WeightTokenizer.from_pretrained(tmp_path)


def test_ids_that_break_the_grammar_are_refused():
    ids = random_ids(3)
    ids[1, 4] = 0
    for use in (TOKENIZER.decode, TOKENIZER.labels):
        with pytest.raises(InputError, match="sequence 1 has id 0 at position 4"):
            use(ids)


def test_fields_of_another_architecture_are_refused():
    config = replace(TOKENIZER.quantizer.field_config, num_frequencies=0)
    with pytest.raises(InputError, match="learned for this architecture"):
        TOKENIZER.encode(Fields(config, torch.zeros(1, config.parameters)), options=QUICK)


def test_fields_with_nan_never_get_as_far_as_the_tokenizer():
    config = TOKENIZER.quantizer.field_config
    with pytest.raises(InputError, match="NaN or infinite"):
        TOKENIZER.encode(Fields(config, torch.full((1, config.parameters), float("nan"))), options=QUICK)


def test_an_unknown_label_is_refused():
    with pytest.raises(InputError, match="'sofa' is unknown"):
        TOKENIZER.encode(TOKENIZER.decode(random_ids(1)), ["sofa"], QUICK)


def test_the_stand_ins_are_the_same_in_every_run():
    """Other tests compare with them, so that equal seeds must give equal parts."""
    sdf = torch.rand(2, 32, generator=generator(0))
    first, second = tiny_encoder(tiny_codebook(1), 1), tiny_encoder(tiny_codebook(1), 1)
    assert torch.equal(first(sdf), second(sdf))
    assert tiny_codebook(1).fingerprint != tiny_codebook(2).fingerprint
