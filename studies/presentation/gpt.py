"""The GPT-2 of the part "tokens", and the sequences that it writes.

Dimensions: N fields, L tokens of a sequence.
"""

import torch
from torch import Tensor
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LogitsProcessorList

from studies.presentation.memorization import MemorizationConfig
from weightgpt.tokens.generation import Grammar
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import BOS, EOS, PAD

START_CODES = 2
"""Codes at the start of a free-running sequence."""
START = 2 + START_CODES
"""Tokens at the start: BOS, the class, and those codes."""


def new_model(tokenizer: WeightTokenizer, config: MemorizationConfig, seed: int) -> GPT2LMHeadModel:
    """An untrained GPT-2 with the blocks of the regression transformer.

    Args:
        tokenizer: the tokenizer whose vocabulary the model gets.
        config: the size of the blocks.
        seed: seed of the weights.
    """
    sizes = {"n_layer": config.num_layers, "n_head": config.num_heads, "n_embd": config.width}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    special = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    vocabulary = {"vocab_size": tokenizer.vocabulary.vocab_size, "n_positions": tokenizer.vocabulary.length}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(GPT2Config(**vocabulary, **sizes, **dropout, **special))
    model.loss_type = "ForCausalLM"
    return model


@torch.no_grad()
def teacher_forced_ids(model: GPT2LMHeadModel, ids: Tensor, tokenizer: WeightTokenizer) -> Tensor:
    """The start, and after it the likeliest code at each position after the true codes before it.

    Args:
        model: the trained model.
        ids: (N, L) true sequences.
        tokenizer: the tokenizer of the sequences.

    Returns:
        (N, L) sequences.
    """
    likeliest = (model(ids).logits[:, START - 1 : -2] + Grammar(tokenizer.vocabulary).mask[START:-1]).argmax(-1)
    return torch.cat([ids[:, :START], likeliest, ids[:, -1:]], 1)


@torch.no_grad()
def free_running_ids(model: GPT2LMHeadModel, ids: Tensor, tokenizer: WeightTokenizer) -> Tensor:
    """The start, and after it the likeliest code at each position after the model's own codes.

    Args:
        model: the trained model.
        ids: (N, L) true sequences.
        tokenizer: the tokenizer of the sequences.

    Returns:
        (N, L) sequences.
    """
    start = ids[:, :START]
    settings = GenerationConfig(
        do_sample=False,
        max_length=tokenizer.vocabulary.length,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    processors = LogitsProcessorList([Grammar(tokenizer.vocabulary)])
    mask = torch.ones_like(start)
    return model.generate(start, attention_mask=mask, generation_config=settings, logits_processor=processors)
