"""New sequences from a plain `GPT2LMHeadModel`, each one guaranteed to decode.

Decisions:
- `generation_config(vocabulary)` writes the whole grammar into `generation_config.json`, so that `model.generate()`
  alone, without a line of ours, writes BOS · class · T codes · EOS when it is given BOS and a class.
- `Grammar` is the same law as a `LogitsProcessor`, position by position, for every prompt and every setting.
- `sample_ids` draws codes by numbers that are spread evenly (see `drawing`), where `generate()` alone draws each sample
  for itself.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    GenerationConfig,
    GPT2LMHeadModel,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from weightgpt.errors import InputError
from weightgpt.tokens.quasirandom import InverseCDFSampler, random_uniforms, sobol_uniforms
from weightgpt.tokens.vocabulary import BOS, EOS, NONE, PAD, UNK, Vocabulary


class Grammar(LogitsProcessor):
    """Allows at each position only what `Vocabulary.legal` allows there."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        mask = torch.full((vocabulary.length, vocabulary.vocab_size), float("-inf"))
        for position, legal in enumerate(vocabulary.legal):
            mask[position, legal.start : legal.stop] = 0
        self.mask = mask

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) for the token after `input_ids` (B, n), the illegal ones at minus infinity."""
        row = self.mask[min(input_ids.shape[1], len(self.mask) - 1)].to(scores.device)
        # A model may give NaN or infinite scores; they must not reach the softmax. With the best score at 0, a small
        # temperature cannot make the others overflow either.
        legal = torch.where(row == 0, torch.nan_to_num(scores), row)
        return legal - legal.amax(-1, keepdim=True)


def generation_config(vocabulary: Vocabulary, temperature: float = 1.0, top_p: float = 1.0) -> GenerationConfig:
    """Settings under which plain `generate()` keeps the grammar; `top_k` is 0, its default of 50 cuts codes off.

    Args:
        temperature: above 0, that of the model's samples where none is asked for.
        top_p: in (0, 1], the share of probability that they are drawn from.
    """
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=top_p,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        max_length=vocabulary.length,
        min_length=vocabulary.length,
        forced_eos_token_id=EOS,
        suppress_tokens=[PAD, BOS, UNK, *range(vocabulary.first_class, vocabulary.first_code)],
    )


def sample_ids(
    model: GPT2LMHeadModel,
    vocabulary: Vocabulary,
    labels: list[str],
    *,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    quasi_random: bool = True,
    batch: int = 64,
    progress: bool = False,
) -> Tensor:
    """One sequence (L tokens) for each class label: (B, L) ids that always parse.

    With `even` those of a class are drawn to differ (see `drawing`); else each is drawn for itself.

    Raises:
        InputError: a class is unknown, the temperature is not positive, or the model has another vocabulary.
    """
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature is {temperature}; give a number above 0 (small for the most likely sequence).")
    if model.config.vocab_size != vocabulary.vocab_size or model.config.n_positions < vocabulary.length:
        raise InputError(
            f"the model knows {model.config.vocab_size} tokens at {model.config.n_positions} positions, the tokenizer"
            f" needs {vocabulary.vocab_size} at {vocabulary.length}; use the tokenizer that the model was trained with."
        )
    prompts = torch.tensor([[BOS, vocabulary.class_id(label)] for label in labels], dtype=torch.long).reshape(-1, 2)
    warpers = [Grammar(vocabulary), TemperatureLogitsWarper(float(temperature))]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    settings = generation_config(vocabulary)
    settings.update(do_sample=False, temperature=None, top_p=None, top_k=None)
    # The stubs of `generate` know neither this class of model nor that it returns ids here.
    generate = cast(Callable[..., Tensor], cast(Any, model).generate)
    numbers = (sobol_uniforms if quasi_random else random_uniforms)(labels, vocabulary.codes_per_field, seed).split(
        batch
    )
    parts = [
        generate(
            part.to(model.device),
            attention_mask=torch.ones_like(part).to(model.device),
            generation_config=settings,
            logits_processor=LogitsProcessorList([*warpers, InverseCDFSampler(own, part.shape[1])]),
        ).cpu()
        for part, own in zip(_batches(prompts, batch, progress), numbers, strict=False)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, vocabulary.length, dtype=torch.long)


def _batches(prompts: Tensor, size: int, progress: bool) -> Iterator[Tensor]:
    with tqdm(total=len(prompts), desc="sampling", unit="shape", disable=not progress) as bar:
        for part in prompts.split(size) if len(prompts) else ():
            yield part
            bar.update(len(part))


def class_labels(vocabulary: Vocabulary, n: int, label: str | Sequence[str] | None = None) -> list[str]:
    """`n` labels to prompt with: all `label`, or those given, or the classes in turn ("none" if there is no other).

    Raises:
        InputError: labels were given, but not `n`.
    """
    if isinstance(label, str):
        return [label] * n
    if label is not None:
        if len(label) != n:
            raise InputError(f"{len(label)} classes were given for {n} samples; give one for each, or one for all.")
        return list(label)
    named = [name for name in vocabulary.classes if name != NONE] or [NONE]
    return [named[i % len(named)] for i in range(n)]
