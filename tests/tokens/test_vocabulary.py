"""Codes become ids and ids become codes again, as tensors and as words; other ids are refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.fakes import tiny_gpt
from weightgpt.errors import InputError
from weightgpt.tokens.vocabulary import BOS, EOS, PAD, UNK, Vocabulary, class_name

LABELS = ["chair", "arm chair", "tea<pot>", "<eos>", "w0", "<class:none>", "Tür [1]", "\ttable\n", "none", ""]
VOCABULARY = Vocabulary.create(3, 2, 8, LABELS)


@st.composite
def encoded(draw: st.DrawFn) -> tuple[Vocabulary, torch.Tensor, list[str]]:
    """A vocabulary, codes (B, C, Q) and labels that it can write."""
    num_chunks, num_quantizers, size = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 300))
    labels = draw(st.lists(st.text(max_size=8), max_size=4))
    vocabulary = Vocabulary.create(num_chunks, num_quantizers, size, labels)
    count = draw(st.integers(0, 4))
    classes = draw(st.lists(st.sampled_from(vocabulary.classes), min_size=count, max_size=count))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return vocabulary, torch.randint(size, (count, num_chunks, num_quantizers), generator=generator), classes


@given(encoded())
@settings(deadline=None)
def test_parse_undoes_ids(case):
    vocabulary, codes, labels = case
    ids = vocabulary.ids(codes, labels)
    parsed, names = vocabulary.parse(ids)
    assert torch.equal(parsed, codes)
    assert names == labels
    assert torch.equal(vocabulary.ids(parsed, names), ids)


@given(encoded())
@settings(deadline=None)
def test_every_id_is_legal_at_its_position(case):
    vocabulary, codes, labels = case
    for row in vocabulary.ids(codes, labels).tolist():
        assert len(row) == vocabulary.length == len(vocabulary.legal)
        assert all(token in legal for token, legal in zip(row, vocabulary.legal, strict=True))


@given(encoded())
@settings(deadline=None, max_examples=30)
def test_words_and_ids_describe_the_same_sequence(case):
    """The WordLevel tokenizer reads the words of a sequence, joined by spaces, as its ids."""
    vocabulary, codes, labels = case
    tokenizer = vocabulary.word_tokenizer()
    for ids in vocabulary.ids(codes, labels).tolist():
        words = tokenizer.convert_ids_to_tokens(ids)
        assert tokenizer(" ".join(words[1:]))["input_ids"] == ids
        assert tokenizer(words[1])["input_ids"] == ids[:2]
        assert tokenizer(" ".join(words), add_special_tokens=False)["input_ids"] == ids
        assert tokenizer.decode(ids) == " ".join(words)


def test_the_order_of_a_sequence_is_coarse_levels_first():
    codes = torch.tensor([[[0, 1], [2, 3], [4, 5]]])  # three chunks of two levels
    ids = VOCABULARY.ids(codes, ["none"])[0] - VOCABULARY.first_code
    assert ids[2:-1].tolist() == [0, 2, 4, 8 + 1, 8 + 3, 8 + 5]  # each level has words that no other level has


def test_a_sequence_in_words():
    vocabulary = Vocabulary.create(1, 2, 8, ["arm chair"])
    words = vocabulary.word_tokenizer().convert_ids_to_tokens(
        vocabulary.ids(torch.tensor([[[7, 0]]]), ["arm chair"])[0]
    )
    assert words == ["<bos>", "<class:arm_chair>", "w7", "w8", "<eos>"]


def test_the_tokenizer_has_exactly_the_vocabulary():
    tokenizer = VOCABULARY.word_tokenizer()
    assert len(tokenizer) == VOCABULARY.vocab_size == max(tokenizer.get_vocab().values()) + 1
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<bos>", "<eos>", "<unk>"]) == [PAD, BOS, EOS, UNK]
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id) == (PAD, BOS)
    assert (tokenizer.eos_token_id, tokenizer.unk_token_id) == (EOS, UNK)
    assert tokenizer("w0 nonsense w99999", add_special_tokens=False)["input_ids"] == [VOCABULARY.first_code, UNK, UNK]


def test_the_tokenizer_pads_on_the_left_and_masks():
    batch = VOCABULARY.word_tokenizer()(["w0 w1", "w0"], padding=True)
    assert batch["input_ids"][1][0] == PAD
    assert batch["attention_mask"] == [[1, 1, 1], [0, 1, 1]]


def test_auto_tokenizer_gives_the_same_ids_in_the_folder_of_a_gpt2(tmp_path):
    """Without `tokenizer_class`, transformers would read a folder with a gpt2 `config.json` by its GPT-2 tokenizer."""
    VOCABULARY.word_tokenizer().save_pretrained(tmp_path)
    tiny_gpt(VOCABULARY).save_pretrained(tmp_path)
    assert "tokenizer_class" in (tmp_path / "tokenizer_config.json").read_text()
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == VOCABULARY.word_tokenizer().get_vocab()
    codes = torch.randint(8, (5, 3, 2), generator=torch.Generator().manual_seed(0))
    for ids in VOCABULARY.ids(codes, list(VOCABULARY.classes[:5])).tolist():
        assert loaded(" ".join(loaded.convert_ids_to_tokens(ids)[1:]))["input_ids"] == ids
    assert Vocabulary.from_words(loaded.get_vocab(), 3, 2) == VOCABULARY


@given(encoded())
@settings(deadline=None, max_examples=20)
def test_a_vocabulary_is_read_from_its_word_tokenizer(case):
    vocabulary, _, _ = case
    assert (
        Vocabulary.from_words(
            {word: i for i, word in enumerate(vocabulary.words)}, vocabulary.num_chunks, vocabulary.num_quantizers
        )
        == vocabulary
    )


def test_a_tokenizer_with_words_in_another_order_is_refused():
    vocabulary = Vocabulary(1, 1, 2, ("table", "none"))
    words = vocabulary.word_tokenizer()
    words.add_tokens(["w7"])
    with pytest.raises(InputError, match="in this order"):
        Vocabulary.from_words(words.get_vocab(), 1, 1)


@given(st.text())
def test_a_class_name_is_one_word_and_its_own_class_name(label):
    name = class_name(label)
    assert name.split() == [name]
    assert "<" not in name
    assert ">" not in name
    assert class_name(name) == name


def test_none_is_the_first_class_and_every_class_occurs_once():
    assert VOCABULARY.classes[0] == "none"
    assert sorted(VOCABULARY.classes) == sorted({class_name(label) for label in LABELS})
    assert Vocabulary.create(1, 1, 1, []).classes == ("none",)


def test_a_label_and_its_class_name_have_one_id():
    for label in LABELS:
        assert VOCABULARY.class_id(label) == VOCABULARY.class_id(class_name(label))
        assert VOCABULARY.class_id(label) in VOCABULARY.legal[1]


def test_unknown_labels_are_replaced_by_none():
    assert VOCABULARY.replace_unknown(["sofa", "arm chair", "chair", ""]) == ["none", "arm_chair", "chair", "none"]


def test_an_unknown_class_is_refused():
    with pytest.raises(InputError, match="'sofa' is unknown; choose one of none"):
        VOCABULARY.class_id("sofa")


def test_an_illegal_id_is_named_by_row_position_and_id():
    ids = VOCABULARY.ids(torch.zeros(3, 3, 2, dtype=torch.long), ["none"] * 3)
    codes = range(VOCABULARY.first_code, VOCABULARY.vocab_size)
    for position, legal in enumerate(VOCABULARY.legal):
        readable = codes if legal.start in codes else legal
        for token in (-1, readable.start - 1, readable.stop, VOCABULARY.vocab_size):
            broken = ids.clone()
            broken[2, position] = token
            with pytest.raises(InputError, match=f"sequence 2 has id {token} at position {position};"):
                VOCABULARY.parse(broken)


def test_a_code_of_another_level_is_read_by_its_index_within_that_level():
    codes = torch.arange(6).view(1, 3, 2)
    ids = VOCABULARY.ids(codes, ["none"])
    ids[:, 2:5] += 8  # as codes of the second level
    ids[:, 5:8] -= 8
    assert torch.equal(VOCABULARY.parse(ids)[0], codes)


@pytest.mark.parametrize("shape", [(9,), (1, 8), (1, 10), (1, 0), (1, 1, 9)])
def test_sequences_of_another_length_are_refused(shape):
    with pytest.raises(InputError, match="every sequence has 9 tokens"):
        VOCABULARY.parse(torch.ones(shape, dtype=torch.long))


@pytest.mark.parametrize("code", [-1, 8])
def test_codes_out_of_range_are_refused(code):
    with pytest.raises(InputError, match="0 … 7"):
        VOCABULARY.ids(torch.full((1, 3, 2), code), ["none"])


def test_codes_of_another_shape_or_without_labels_are_refused():
    for shape in [(1, 2, 3), (3, 2)]:
        with pytest.raises(InputError, match=r"this vocabulary takes \(fields, 3, 2\)"):
            VOCABULARY.ids(torch.zeros(shape, dtype=torch.long), ["none"])
    with pytest.raises(InputError, match="there are 1 labels for 2 fields"):
        VOCABULARY.ids(torch.zeros(2, 3, 2, dtype=torch.long), ["none"])
