"""New sequences from a plain `GPT2LMHeadModel`; every sequence decodes.

Decisions:

- `generation_config(vocabulary)` puts the grammar into `generation_config.json`. So `generate()` of a plain GPT-2, with
  no code of this package, continues BOS and a class with T codes and EOS.
- `Grammar` is the same rule as a `LogitsProcessor` for every position, every prompt and every setting.
- `sample_ids` samples codes by quasi-random numbers (see `weightgpt.tokens.quasirandom`), because samples then differ
  more. `generate()` alone draws every code independently.

Dimensions: B sequences, L tokens of a sequence, T codes of a field, V tokens of the vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
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

from weightgpt.errors import InputError, check_types, check_whole
from weightgpt.tokens.quasirandom import InverseCDFSampler, UniformStream
from weightgpt.tokens.vocabulary import BOS, EOS, NONE, PAD, UNK, Vocabulary

MAX_SAMPLES = 1_000_000
"""Most samples of one call, whose fields are in memory together."""
_NEVER = -1e9  # added to a logit; JSON has no infinity


class Grammar(LogitsProcessor):
    """Masks the tokens that are illegal at the next position (see `Vocabulary.legal`).

    Args:
        vocabulary: the vocabulary of the model.

    Examples:
        >>> grammar = Grammar(Vocabulary.create(2, 1, 8, ["chair"]))
        >>> scores = grammar(torch.tensor([[1, 5]]), torch.zeros(1, 14))
        >>> torch.isfinite(scores[0]).nonzero().flatten().tolist()  # the codes
        [6, 7, 8, 9, 10, 11, 12, 13]
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        mask = torch.full((vocabulary.length, vocabulary.vocab_size), float("-inf"))
        for position, legal in enumerate(vocabulary.legal):
            mask[position, legal.start : legal.stop] = 0
        self.mask = mask

    def __call__(self, input_ids: Int[Tensor, "B n"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """Return scores (B, V) with minus infinity for illegal tokens.

        Args:
            input_ids: (B, n) tokens so far.
            scores: (B, V) logits of the next token.
        """
        row = self.mask[min(input_ids.shape[1], len(self.mask) - 1)].to(scores.device)
        # A model may return NaN or infinite scores. They must not reach the softmax. The best score becomes 0, so that
        # a small temperature cannot make the others overflow.
        legal = torch.where(row == 0, torch.nan_to_num(scores), row)
        return legal - legal.amax(-1, keepdim=True)


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How codes are sampled from the distribution of a model."""

    seed: int = 0
    """Seed of the random numbers; equal settings give equal sequences."""
    temperature: float = 1.0
    """Logits are divided by it; 1 is the distribution of the model, lower values prefer likelier codes."""
    top_p: float = 1.0
    """Share of the probability mass that is sampled from, the likeliest codes first."""
    top_k: int = 0
    """Number of likeliest codes that are sampled from; 0 for all."""
    quasi_random: bool = True
    """Whether Sobol points replace independent random numbers, so that samples of a class differ more."""
    batch_size: int = 64
    """Sequences generated at once; it does not change them."""

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give a whole number from 0 to 2^63 - 1.")
        if not 0 < self.temperature < math.inf:
            raise InputError(
                f"temperature is {self.temperature}; give a number above 0 (small for the most likely sequence)."
            )
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; give a share above 0, and 1 at most.")
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}; give a number of codes, or 0 for all.")
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; give 1 or more.")


def generation_config(vocabulary: Vocabulary, temperature: float = 1.0, top_p: float = 1.0) -> GenerationConfig:
    """Return settings that make plain `generate()` follow the grammar.

    `top_k` is 0, because the default of transformers, 50, cuts codes off. Without a prompt, `generate()` writes a shape
    of the first class.

    Args:
        vocabulary: the vocabulary of the model.
        temperature: default temperature of the model, above 0.
        top_p: default share of the probability mass that is sampled from, in (0, 1].
    """
    classes = range(vocabulary.first_class, vocabulary.first_code)
    first = classes[min(1, len(classes) - 1)]
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=top_p,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        max_length=vocabulary.length,
        forced_eos_token_id=EOS,
        forced_bos_token_id=first,
        suppress_tokens=[token for token in (PAD, BOS, UNK, *classes) if token != first],
        # `suppress_tokens` acts after `forced_bos_token_id` and would forbid it, `bad_words_ids` acts before.
        bad_words_ids=[[first]],
        # No sequence ends early. `min_length` would count the padding of a prompt, and `bad_words_ids` ignores EOS.
        sequence_bias=[[[EOS], _NEVER]],
    )


def check_compatible(gpt: GPT2LMHeadModel, vocabulary: Vocabulary) -> None:
    """Refuse a GPT-2 that cannot write the sequences of a vocabulary.

    Args:
        gpt: the GPT-2.
        vocabulary: the vocabulary of its tokenizer.

    Raises:
        InputError: the GPT-2 has another number of tokens, or fewer positions than a sequence.
    """
    config = gpt.config
    if config.vocab_size != vocabulary.vocab_size or config.n_positions < vocabulary.length:
        raise InputError(
            f"the GPT-2 has {config.vocab_size} tokens and {config.n_positions} positions, the tokenizer needs"
            f" {vocabulary.vocab_size} and {vocabulary.length}; use the tokenizer that the GPT-2 was trained with."
        )


def sample_ids(
    gpt: GPT2LMHeadModel,
    vocabulary: Vocabulary,
    labels: Sequence[str],
    sampling: SamplingConfig | None = None,
    *,
    progress: bool = False,
) -> Int[Tensor, "B L"]:
    """Sample one sequence for each class label.

    Args:
        gpt: the model.
        vocabulary: its vocabulary.
        labels: B classes.
        sampling: how codes are sampled; the defaults of `SamplingConfig` when None.
        progress: whether to show a progress bar.

    Returns:
        (B, L) ids, which `Vocabulary.parse` accepts.

    Raises:
        InputError: a class is unknown, or the model has another vocabulary.
    """
    batches = list(sample_batches(gpt, vocabulary, labels, sampling or SamplingConfig(), progress=progress))
    return torch.cat(batches) if batches else torch.zeros(0, vocabulary.length, dtype=torch.long)


def sample_batches(
    gpt: GPT2LMHeadModel,
    vocabulary: Vocabulary,
    labels: Sequence[str],
    sampling: SamplingConfig,
    *,
    progress: bool = False,
) -> Iterator[Int[Tensor, "B L"]]:
    """Sample the sequences of `sample_ids` batch by batch, in memory that does not grow with their number.

    Args:
        gpt: the model.
        vocabulary: its vocabulary.
        labels: the class of each sequence.
        sampling: how codes are sampled; `batch_size` is the number B of sequences of a batch.
        progress: whether to show a progress bar.

    Raises:
        InputError: a class is unknown, or the model has another vocabulary.
    """
    check_compatible(gpt, vocabulary)
    ids = {label: vocabulary.class_id(label) for label in set(labels)}
    uniforms = UniformStream(ids, vocabulary.codes_per_field, int(sampling.seed), sampling.quasi_random)
    warpers = _logits_warpers(vocabulary, sampling)
    settings = generation_config(vocabulary)
    # Greedy decoding takes the token that the last processor samples. These values are the defaults of transformers,
    # which warns about others without `do_sample`.
    settings.update(do_sample=False, temperature=1.0, top_p=1.0, top_k=50)
    # The type stubs of `generate` fit neither this class of model nor the tensor that is returned here.
    generate = cast(Callable[..., Tensor], cast(Any, gpt).generate)
    with tqdm(total=len(labels), desc="sampling", unit="shape", disable=not progress) as bar:
        for first in range(0, len(labels), int(sampling.batch_size)):
            part = labels[first : first + sampling.batch_size]
            prompts = torch.tensor([[BOS, ids[label]] for label in part])
            sampler = InverseCDFSampler(uniforms.draw(part), prompts.shape[1])
            yield generate(
                prompts.to(gpt.device),
                attention_mask=torch.ones_like(prompts).to(gpt.device),
                generation_config=settings,
                logits_processor=LogitsProcessorList([*warpers, sampler]),
            ).cpu()
            bar.update(len(part))


def _logits_warpers(vocabulary: Vocabulary, sampling: SamplingConfig) -> list[LogitsProcessor]:
    """The processors that turn logits into the distribution to sample from."""
    warpers: list[LogitsProcessor] = [Grammar(vocabulary), TemperatureLogitsWarper(float(sampling.temperature))]
    warpers += [TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
    warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    return warpers


def prompt_labels(vocabulary: Vocabulary, n: int, label: str | Sequence[str] | None = None) -> list[str]:
    """Return the class of each of `n` samples.

    Args:
        vocabulary: the classes to choose from.
        n: number of samples.
        label: one class for all samples, or one for each. When None, all classes but "none" take turns.

    Raises:
        InputError: `n` is no whole number, below 1 or above `MAX_SAMPLES`, or `label` is empty, no text, or a list of
            another length.
    """
    n = check_whole("n", n, 1)
    if n > MAX_SAMPLES:
        raise InputError(f"n is {n:,}; give {MAX_SAMPLES:,} or less, and make more with several seeds.")
    if isinstance(label, str):
        if not label.strip():
            raise InputError(f"the class is empty; choose one of {', '.join(vocabulary.classes)}.")
        return [label] * n
    if label is not None:
        if not isinstance(label, Sequence) or not all(isinstance(name, str) for name in label):
            raise InputError(f"label is {label!r:.50}; give the name of a class, or a list of names.")
        if len(label) != n:
            raise InputError(f"{len(label)} classes were given for {n} samples; give one for each, or one for all.")
        return list(label)
    classes = [name for name in vocabulary.classes if name != NONE] or [NONE]
    return [classes[i % len(classes)] for i in range(n)]
