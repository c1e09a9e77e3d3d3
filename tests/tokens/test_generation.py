"""Every sequence that a model writes decodes, whatever its weights are."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, pipeline

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.errors import InputError
from weightgpt.model import WeightGPT
from weightgpt.tokens.generation import Grammar, SamplingConfig, generation_config, prompt_labels, sample_ids
from weightgpt.tokens.vocabulary import BOS, Vocabulary

TOKENIZER = tiny_tokenizer()
VOCABULARY = TOKENIZER.vocabulary
CLASSES = list(VOCABULARY.classes)


def biased_gpt(bias: torch.Tensor) -> torch.nn.Module:
    """A model that adds `bias` (V,) to its scores at every position."""
    gpt = tiny_gpt(VOCABULARY)
    gpt.lm_head = torch.nn.Linear(16, VOCABULARY.vocab_size)
    gpt.lm_head.bias.data.copy_(bias)
    return gpt


@given(
    seed=st.integers(0, 99),
    temperature=st.floats(1e-3, 50) | st.just(1),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 20),
    batch_size=st.integers(1, 7),
    labels=st.lists(st.sampled_from(CLASSES), max_size=6),
)
@settings(deadline=None, max_examples=40)
def test_fault_51_every_sequence_parses_and_decodes(seed, temperature, top_p, top_k, batch_size, labels):
    gpt = tiny_gpt(VOCABULARY, seed % 5)
    with torch.no_grad():
        gpt.transformer.wte.weight.mul_(10 ** (seed % 4))  # from nearly flat to very sharp
    sampling = SamplingConfig(seed=seed, temperature=temperature, top_p=top_p, top_k=top_k, batch_size=batch_size)
    ids = sample_ids(gpt, VOCABULARY, labels, sampling)
    assert ids.shape == (len(labels), VOCABULARY.length)
    assert TOKENIZER.class_names(ids) == labels
    assert torch.isfinite(TOKENIZER.batch_decode(ids).flat).all()


@pytest.mark.parametrize("label", CLASSES)
def test_fault_51_plain_generate_writes_only_sequences_that_parse(label):
    """No code of this package runs: the generation configuration of the model is enough."""
    gpt, prompt = tiny_gpt(VOCABULARY), torch.tensor([[BOS, VOCABULARY.class_id(label)]])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ids = gpt.generate(prompt.expand(64, -1), attention_mask=torch.ones(64, 2, dtype=torch.long))
    assert TOKENIZER.class_names(ids) == [label] * 64
    assert len(ids.unique(dim=0)) > 60


def test_plain_generate_keeps_the_grammar_of_a_model_loaded_from_a_folder(tmp_path):
    gpt = biased_gpt(torch.where(torch.arange(VOCABULARY.vocab_size) < VOCABULARY.first_code, 50.0, 0.0))
    gpt.save_pretrained(tmp_path)
    gpt.generation_config = GenerationConfig.from_pretrained(tmp_path)
    prompt = torch.tensor([[BOS, VOCABULARY.first_class]] * 16)
    ids = gpt.generate(prompt, attention_mask=torch.ones_like(prompt))
    assert TOKENIZER.class_names(ids) == ["none"] * 16


def test_case_42_the_prompt_of_the_plain_tokenizer_becomes_a_sequence_that_decodes(tmp_path):
    WeightGPT(tiny_gpt(VOCABULARY), TOKENIZER).save_pretrained(tmp_path)
    gpt, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    prompt = words("<class:chair>", return_tensors="pt")
    assert prompt["input_ids"].tolist() == TOKENIZER.prompt("chair")["input_ids"].tolist() == [[BOS, 5]]
    assert TOKENIZER.class_names(gpt.generate(**prompt)) == ["chair"]
    several = words(["<class:chair>", "<class:table>"], return_tensors="pt")
    assert TOKENIZER.class_names(gpt.generate(**several)) == ["chair", "table"]
    assert TOKENIZER.class_names(gpt.generate(**TOKENIZER.prompt(["table", "none"]))) == ["table", "none"]
    writer = pipeline("text-generation", model=gpt, tokenizer=words)
    (written,) = writer("<class:table>", return_tensors=True)
    assert TOKENIZER.class_names([written["generated_token_ids"]]) == ["table"]
    assert TOKENIZER.class_names(gpt.generate()) == ["chair"]


def test_case_42_a_prompt_that_is_padded_to_the_length_of_a_sequence_is_continued_to_one():
    gpt, words, classes = tiny_gpt(VOCABULARY), VOCABULARY.word_tokenizer(), ["table", "none"] * 8
    gpt.generation_config = generation_config(VOCABULARY)
    prompts = words([f"<class:{name}>" for name in classes], padding="max_length", return_tensors="pt")
    assert prompts["input_ids"].shape == (16, VOCABULARY.length)
    ids = gpt.generate(**prompts, max_new_tokens=VOCABULARY.length - 2)
    assert TOKENIZER.class_names(ids) == classes
    assert torch.equal(TOKENIZER.decode(ids).flat, TOKENIZER.decode(ids[:, -VOCABULARY.length :]).flat)
    assert torch.equal(TOKENIZER.decode(ids[0]).flat(), TOKENIZER.decode(ids).flat[0])
    with pytest.raises(InputError, match="every sequence has"):
        TOKENIZER.decode(torch.nn.functional.pad(ids, (0, 1)))


def test_case_42_the_class_that_is_written_without_a_prompt_is_no_code():
    gpt = biased_gpt(torch.where(torch.arange(VOCABULARY.vocab_size) == VOCABULARY.first_class + 1, 50.0, 0.0))
    gpt.generation_config = generation_config(VOCABULARY)
    assert TOKENIZER.class_names(gpt.generate(**TOKENIZER.prompt(["table"] * 8))) == ["table"] * 8
    assert Vocabulary.create(1, 1, 2, []).classes == ("none",)
    assert generation_config(Vocabulary.create(1, 1, 2, [])).forced_bos_token_id == 4


@pytest.mark.parametrize("wrong", [{"seed": 2**64}, {"seed": -1}, {"seed": 0.5}, {"temperature": "a"}, {"top_p": None}])
def test_fault_76_settings_of_another_type_or_range_are_refused(wrong):
    with pytest.raises(InputError, match=r"give a (whole )?number"):
        SamplingConfig(**wrong)


def test_fault_76_a_seed_of_numpy_is_a_seed_and_half_a_sample_is_refused():
    gpt, labels = tiny_gpt(VOCABULARY), ["chair", "chair"]
    first, second = (sample_ids(gpt, VOCABULARY, labels, SamplingConfig(seed=s)) for s in (3, np.int64(3)))
    assert torch.equal(first, second)
    with pytest.raises(InputError, match=r"n is 1\.5"):
        prompt_labels(VOCABULARY, 1.5)


def test_the_settings_leave_every_code_reachable():
    settings = generation_config(VOCABULARY)
    codes = {code for legal in VOCABULARY.legal[2:-1] for code in legal}
    assert len(codes) == VOCABULARY.num_quantizers * VOCABULARY.codebook_size
    assert not codes & set(settings.suppress_tokens)
    assert (settings.top_k, settings.top_p, settings.max_length) == (0, 1.0, VOCABULARY.length)


def test_many_samples_of_a_flat_model_use_every_code():
    """All codes are equally likely; each of the 8 occurs at each position of 400 sequences."""
    gpt = tiny_gpt(VOCABULARY)
    with torch.no_grad():
        gpt.transformer.wte.weight.zero_()
    codes = VOCABULARY.parse(sample_ids(gpt, VOCABULARY, ["none"] * 400))[0]
    assert all(len(codes[:, chunk, level].unique()) == 8 for chunk in range(3) for level in range(2))


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("value", [1e4, 1e38, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("where", ["illegal", "one code", "all codes", "everything"])
def test_fault_51_extreme_scores_cannot_break_the_grammar(where, value, temperature):
    token = torch.arange(VOCABULARY.vocab_size)
    first = VOCABULARY.first_code
    masks = {
        "illegal": token < first,
        "one code": token == first,
        "all codes": token >= first,
        "everything": token >= 0,
    }
    gpt = biased_gpt(torch.where(masks[where], value, 0.0))
    ids = sample_ids(gpt, VOCABULARY, ["chair"] * 4, SamplingConfig(temperature=temperature))
    assert TOKENIZER.class_names(ids) == ["chair"] * 4


def test_fault_53_a_small_temperature_takes_the_best_legal_code():
    best = VOCABULARY.first_code + torch.tensor([5, VOCABULARY.codebook_size + 2])  # one of each level
    bias = torch.zeros(VOCABULARY.vocab_size)
    bias[best], bias[: VOCABULARY.first_code] = 1e3, 1e6
    ids = sample_ids(biased_gpt(bias), VOCABULARY, ["table"], SamplingConfig(temperature=1e-3))
    assert torch.equal(ids[0, 2:-1], best.repeat_interleave(VOCABULARY.num_chunks))


def test_fault_51_the_grammar_allows_exactly_what_is_legal_at_each_position():
    grammar = Grammar(VOCABULARY)
    for position, legal in enumerate(VOCABULARY.legal):
        scores = grammar(torch.zeros(2, position, dtype=torch.long), torch.randn(2, VOCABULARY.vocab_size))
        for row in scores:
            assert torch.isfinite(row).nonzero().flatten().tolist() == list(legal)


def test_the_grammar_keeps_the_odds_of_legal_tokens():
    scores, legal = torch.randn(3, VOCABULARY.vocab_size), VOCABULARY.legal[4]
    codes = slice(legal.start, legal.stop)
    after = Grammar(VOCABULARY)(torch.zeros(3, 4, dtype=torch.long), scores)
    torch.testing.assert_close(after.softmax(-1)[:, codes], scores[:, codes].softmax(-1))


def test_fault_54_equal_seeds_give_equal_sequences_and_others_give_others():
    gpt, labels = tiny_gpt(VOCABULARY), prompt_labels(VOCABULARY, 8)
    first = sample_ids(gpt, VOCABULARY, labels, SamplingConfig(seed=3))
    assert torch.equal(sample_ids(gpt, VOCABULARY, labels, SamplingConfig(seed=3)), first)
    assert not torch.equal(sample_ids(gpt, VOCABULARY, labels, SamplingConfig(seed=4)), first)


def test_sampling_keeps_the_random_state_of_the_caller():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    sample_ids(tiny_gpt(VOCABULARY), VOCABULARY, ["none"], SamplingConfig(seed=1))
    assert torch.equal(torch.rand(3), expected)


def test_sampling_keeps_the_generation_configuration_of_the_model():
    gpt = tiny_gpt(VOCABULARY)
    before = gpt.generation_config.to_dict()
    sample_ids(gpt, VOCABULARY, ["none"], SamplingConfig(temperature=0.3, top_k=2, top_p=0.5))
    assert gpt.generation_config.to_dict() == before


def test_fault_48_and_52_a_model_of_another_size_is_refused():
    bigger = Vocabulary.create(3, 2, 9, ["chair", "table"])
    longer = Vocabulary.create(3, 3, 8, ["chair", "table"])
    for vocabulary in (bigger, longer):
        with pytest.raises(InputError, match="the tokenizer needs"):
            sample_ids(tiny_gpt(VOCABULARY), vocabulary, ["chair"])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", (0, -1.0, math.nan, math.inf)),
        ("top_p", (0.0, 1.1, math.nan)),
        ("top_k", (-1,)),
        ("batch_size", (0,)),
    ],
)
def test_fault_53_a_setting_out_of_range_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(InputError, match=f"^{name} is {value}; give"):
            SamplingConfig(**{name: value})


def test_an_unknown_class_is_refused():
    with pytest.raises(InputError, match="'sofa' is unknown"):
        sample_ids(tiny_gpt(VOCABULARY), VOCABULARY, ["chair", "sofa"])


def test_all_classes_but_none_take_turns_unless_labels_are_given():
    assert prompt_labels(VOCABULARY, 3) == ["chair", "table", "chair"]
    assert prompt_labels(VOCABULARY, 2, "table") == ["table", "table"]
    assert prompt_labels(VOCABULARY, 2, ["table", "chair"]) == ["table", "chair"]
    with pytest.raises(InputError, match="1 classes were given for 2 samples"):
        prompt_labels(VOCABULARY, 2, ["table"])
    with pytest.raises(InputError, match="n is 0"):
        prompt_labels(VOCABULARY, 0)
    with pytest.raises(InputError, match="make more with several seeds"):
        prompt_labels(VOCABULARY, 10**12)
    for label in (3, b"ch", ("chair", None)):
        with pytest.raises(InputError, match="give the name of a class"):
            prompt_labels(VOCABULARY, 2, label)
    assert prompt_labels(Vocabulary.create(1, 1, 1, []), 2) == ["none", "none"]
