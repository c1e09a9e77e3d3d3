"""Codes to ids and back, and what is legal where.

Decisions:
- Every level has K code tokens of its own, shared by all chunks as its code vectors are, so a token means one vector.
  In one alphabet for all levels it would mean Q of them, and a GPT would first have to learn which.
- Where plain `generate()` writes a code of another level, its number counts. So the law that
  `generation_config.json` can hold, codes wherever codes stand, is enough for a sequence to parse.
- Coarse levels first: the first level of all chunks, then the second, … A prefix is therefore already a rough shape.
- Every sequence is BOS · class · T codes · EOS, the class "none" included, so all have one length.
- Specials come first, so their ids never move: <pad> 0, <bos> 1, <eos> 2, <unk> 3, then the classes, then the codes,
  level by level.

Dimensions: B fields, C chunks, Q num_quantizers, T = C·Q codes of a field, L = T + 3 tokens of a sequence, K codes of a level.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from weightgpt.errors import InputError

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)
NONE = "none"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one codebook and one set of classes."""

    num_chunks: int
    """C."""
    num_quantizers: int
    """Q."""
    codebook_size: int
    """K."""
    classes: tuple[str, ...]
    """Class names; "none" is always the first."""

    @classmethod
    def create(cls, chunks: int, num_quantizers: int, codebook_size: int, labels: list[str]) -> "Vocabulary":
        """A vocabulary with a class token for every distinct label, sorted, after "none"."""
        return cls(
            chunks, num_quantizers, codebook_size, (NONE, *sorted({class_name(label) for label in labels} - {NONE}))
        )

    @property
    def codes_per_field(self) -> int:
        """T."""
        return self.num_chunks * self.num_quantizers

    @property
    def length(self) -> int:
        """L, the length of every sequence."""
        return self.codes_per_field + 3

    @property
    def first_class(self) -> int:
        """Id of the first class token."""
        return len(SPECIALS)

    @property
    def first_code(self) -> int:
        """Id of code 0 of the first level."""
        return self.first_class + len(self.classes)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.first_code + self.num_quantizers * self.codebook_size

    @cached_property
    def legal(self) -> tuple[range, ...]:
        """The grammar: ids that belong at each of the L positions."""
        firsts = range(self.first_code, self.vocab_size, self.codebook_size)
        codes = [range(first, first + self.codebook_size) for first in firsts for _ in range(self.num_chunks)]
        return self._around(codes)

    def _around(self, codes: list[range]) -> tuple[range, ...]:
        classes = range(self.first_class, self.first_code)
        return (range(BOS, BOS + 1), classes, *codes, range(EOS, EOS + 1))

    def class_id(self, label: str) -> int:
        """Token id of a class.

        Raises:
            InputError: the class is unknown.
        """
        name = class_name(label)
        if name not in self.classes:
            raise InputError(f"class {label!r} is unknown; choose one of {', '.join(self.classes)}.")
        return self.first_class + self.classes.index(name)

    def ids(self, codes: Tensor, labels: list[str]) -> Tensor:
        """Sequences (B, L) int64 of codes (B, C, Q). Inverse of `parse`.

        Raises:
            InputError: the codes have another shape or range, or a class is unknown.
        """
        if codes.shape[1:] != (self.num_chunks, self.num_quantizers) or len(labels) != len(codes):
            raise InputError(
                f"codes of shape {tuple(codes.shape)} with {len(labels)} labels were given; this vocabulary takes"
                f" (fields, {self.num_chunks}, {self.num_quantizers}) and one label for each field."
            )
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.codebook_size):
            raise InputError(f"codes must lie in 0 … {self.codebook_size - 1}; use the codebook of this vocabulary.")
        ids = torch.full((len(codes), self.length), BOS)
        ids[:, 1] = torch.tensor([self.class_id(label) for label in labels], dtype=torch.long)
        offsets = torch.arange(self.num_quantizers)[:, None] * self.codebook_size
        ids[:, 2:-1] = (codes.mT + offsets).flatten(1) + self.first_code
        ids[:, -1] = EOS
        return ids

    def parse(self, ids: Tensor) -> tuple[Tensor, list[str]]:
        """Codes (B, C, Q) and labels of sequences (B, L). Inverse of `ids`.

        Raises:
            InputError: a sequence has another length, or no <bos>, class, code or <eos> where one belongs.
        """
        if ids.ndim != 2 or ids.shape[1] != self.length:
            raise InputError(
                f"sequences have shape {tuple(ids.shape)}; every sequence has {self.length} tokens: <bos>, a class,"
                f" {self.codes_per_field} codes, <eos>."
            )
        low, high = self._bounds
        wrong = ((ids < low) | (ids > high)).nonzero()
        if len(wrong):
            row, position = wrong[0].tolist()
            raise InputError(
                f"sequence {row} has id {int(ids[row, position])} at position {position}, where only ids"
                f" {int(low[position])} to {int(high[position])} are legal; generate with this vocabulary's grammar."
            )
        codes = (
            ((ids[:, 2:-1] - self.first_code) % self.codebook_size)
            .unflatten(1, (self.num_quantizers, self.num_chunks))
            .mT
        )
        return codes, [self.classes[index] for index in (ids[:, 1] - self.first_class).tolist()]

    @cached_property
    def _bounds(self) -> tuple[Tensor, Tensor]:
        read = self._around([range(self.first_code, self.vocab_size)] * self.codes_per_field)
        return torch.tensor([r.start for r in read]), torch.tensor([r.stop - 1 for r in read])

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The same vocabulary as a `tokenizers` WordLevel tokenizer over words `w0` … `w{Q·K-1}`, for Hub users."""
        classes = [f"<class:{name}>" for name in self.classes]
        words = [*SPECIALS, *classes, *(f"w{code}" for code in range(self.num_quantizers * self.codebook_size))]
        backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=SPECIALS[UNK]))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A <eos>", pair="<bos> $A $B <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token=SPECIALS[BOS],
            eos_token=SPECIALS[EOS],
            pad_token=SPECIALS[PAD],
            unk_token=SPECIALS[UNK],
            extra_special_tokens=classes,
            model_max_length=self.length,
            padding_side="left",
            model_input_names=["input_ids", "attention_mask"],
            clean_up_tokenization_spaces=False,
        )

    @classmethod
    def of_tokenizer(cls, tokenizer: PreTrainedTokenizerFast, chunks: int, num_quantizers: int) -> "Vocabulary":
        """Read the vocabulary back from its WordLevel tokenizer.

        Raises:
            InputError: the tokenizer has other words, or the same in another order.
        """
        words = tokenizer.get_vocab()
        classes = sorted((i, word) for word, i in words.items() if word.startswith("<class:"))
        codebook_size = sum(re.fullmatch(r"w\d+", word) is not None for word in words) // max(num_quantizers, 1)
        vocabulary = cls(chunks, num_quantizers, codebook_size, tuple(word[len("<class:") : -1] for _, word in classes))
        if vocabulary.tokenizer().get_vocab() != words:
            raise InputError("the tokenizer's words are not <pad>, <bos>, <eos>, <unk>, classes, codes in this order.")
        return vocabulary


def class_name(label: str) -> str:
    """A label as it stands in its token: white space and angle brackets become underscores."""
    return re.sub(r"[\s<>]+", "_", label).strip("_") or NONE
