"""Codes to token ids and back, and which ids are legal at each position.

Decisions:

- Every quantizer level has K code tokens, shared by all chunks because the code vectors are shared. So one token means
  one code vector. If all levels had the same tokens, a token would mean Q vectors, and a GPT would first have to
  learn which one.
- `parse` accepts a code token of the wrong level and uses its index within that level, because
  `generation_config.json` cannot express constraints for single positions.
- Coarse levels come first: level 1 of all chunks, then level 2, … So a prefix of a sequence is already a rough shape.
- Every sequence is BOS · class · T codes · EOS, also for the class "none". So all sequences have one length.
- Special tokens come first, so their ids never change: <pad> 0, <bos> 1, <eos> 2, <unk> 3, then the classes, then the
  codes level by level.

Dimensions: B fields, C chunks, Q quantizer levels, K codes of a level, T = C·Q codes of a field, L = T + 3 tokens of a
sequence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from weightgpt.errors import InputError

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)
NONE = "none"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one codebook and one set of classes.

    Examples:
        >>> vocabulary = Vocabulary.create(2, 1, 8, ["chair"])
        >>> vocabulary.ids(torch.tensor([[[0], [7]]]), ["chair"]).tolist()
        [[1, 5, 6, 13, 2]]
    """

    num_chunks: int
    """C."""
    num_quantizers: int
    """Q."""
    codebook_size: int
    """K."""
    classes: tuple[str, ...]
    """Class names; "none" is always the first."""

    @classmethod
    def create(cls, num_chunks: int, num_quantizers: int, codebook_size: int, labels: Sequence[str]) -> "Vocabulary":
        """Create a vocabulary with one class token for every distinct label, sorted, after "none".

        Args:
            num_chunks: C, chunks of a field.
            num_quantizers: Q, quantizer levels of a chunk.
            codebook_size: K, codes of a level.
            labels: labels of the corpus, repeated or not.
        """
        names = {class_name(label) for label in labels} - {NONE}
        return cls(num_chunks, num_quantizers, codebook_size, (NONE, *sorted(names)))

    @property
    def codes_per_field(self) -> int:
        """T, the number of codes of a field."""
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
        """The grammar: the legal ids at each of the L positions."""
        firsts = range(self.first_code, self.vocab_size, self.codebook_size)
        codes = [range(first, first + self.codebook_size) for first in firsts for _ in range(self.num_chunks)]
        return self._enclose(codes)

    def _enclose(self, codes: list[range]) -> tuple[range, ...]:
        """The ranges of the code positions, between those of BOS, class and EOS."""
        classes = range(self.first_class, self.first_code)
        return (range(BOS, BOS + 1), classes, *codes, range(EOS, EOS + 1))

    def class_id(self, label: str) -> int:
        """Return the token id of a class.

        Args:
            label: a label in any spelling that `class_name` maps to the class.

        Raises:
            InputError: the vocabulary has no such class.
        """
        name = class_name(label)
        if name not in self.classes:
            raise InputError(f"class {label!r} is unknown; choose one of {', '.join(self.classes)}.")
        return self.first_class + self.classes.index(name)

    def replace_unknown(self, labels: Sequence[str]) -> list[str]:
        """Return labels as class names; "none" takes the place of those that the vocabulary does not have.

        Args:
            labels: labels in any spelling.
        """
        names = [class_name(label) for label in labels]
        return [name if name in self.classes else NONE for name in names]

    def ids(self, codes: Tensor, labels: Sequence[str]) -> Int[Tensor, "B L"]:
        """Return the sequences (B, L) int64 of codes; the inverse of `parse`.

        Args:
            codes: (B, C, Q) whole numbers in 0 … K-1.
            labels: the class of each of the B fields.

        Raises:
            InputError: the codes have another shape or range, or a class is unknown.
        """
        if codes.shape[1:] != (self.num_chunks, self.num_quantizers):
            raise InputError(
                f"codes have shape {tuple(codes.shape)}; this vocabulary takes (fields, {self.num_chunks},"
                f" {self.num_quantizers}): use codes of its codebook."
            )
        if len(labels) != len(codes):
            raise InputError(f"there are {len(labels)} labels for {len(codes)} fields; give one label for each field.")
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.codebook_size):
            raise InputError(f"codes must lie in 0 … {self.codebook_size - 1}; use the codebook of this vocabulary.")
        ids = torch.full((len(codes), self.length), BOS)
        ids[:, 1] = torch.tensor([self.class_id(label) for label in labels], dtype=torch.long)
        offsets = torch.arange(self.num_quantizers)[:, None] * self.codebook_size
        ids[:, 2:-1] = (codes.mT + offsets).flatten(1) + self.first_code
        ids[:, -1] = EOS
        return ids

    def parse(self, ids: Tensor) -> tuple[Int[Tensor, "B C Q"], list[str]]:
        """Return the codes (B, C, Q) and the classes of sequences; the inverse of `ids`.

        Args:
            ids: (B, L) token ids, or more with padding in front.

        Raises:
            InputError: a sequence has another length, or lacks <bos>, a class, a code or <eos> at its position.
        """
        if ids.ndim == 2 and ids.shape[1] > self.length and (ids[:, : -self.length] == PAD).all():
            ids = ids[:, -self.length :]
        if ids.ndim != 2 or ids.shape[1] != self.length:
            raise InputError(
                f"sequences have shape {tuple(ids.shape)}; every sequence has {self.length} tokens: <bos>, a class,"
                f" {self.codes_per_field} codes, <eos>."
            )
        low, high = self._bounds
        illegal = ((ids < low) | (ids > high)).nonzero()
        if len(illegal):
            row, position = illegal[0].tolist()
            raise InputError(
                f"sequence {row} has id {int(ids[row, position])} at position {position}; the legal ids there are"
                f" {int(low[position])} to {int(high[position])}: use ids that a model of this vocabulary generated."
            )
        codes = (ids[:, 2:-1] - self.first_code) % self.codebook_size
        classes = [self.classes[index] for index in (ids[:, 1] - self.first_class).tolist()]
        return codes.unflatten(1, (self.num_quantizers, self.num_chunks)).mT, classes

    @cached_property
    def _bounds(self) -> tuple[Tensor, Tensor]:
        """(L,) lowest and (L,) highest id that `parse` accepts at each position."""
        ranges = self._enclose([range(self.first_code, self.vocab_size)] * self.codes_per_field)
        return torch.tensor([ids.start for ids in ranges]), torch.tensor([ids.stop - 1 for ids in ranges])

    @property
    def class_words(self) -> list[str]:
        """The class tokens as words."""
        return [f"<class:{name}>" for name in self.classes]

    @property
    def words(self) -> list[str]:
        """All tokens as words, in the order of their ids."""
        codes = [f"w{code}" for code in range(self.num_quantizers * self.codebook_size)]
        return [*SPECIALS, *self.class_words, *codes]

    def word_tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the vocabulary as a `tokenizers` WordLevel tokenizer; the codes are the words `w0` … `w{Q·K-1}`.

        It puts BOS before a text and nothing after it. So `tokenizer("<class:chair>")` is a prompt that `generate()` of
        a GPT-2 continues to a whole sequence.
        """
        backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(self.words)}, unk_token=SPECIALS[UNK]))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        backend.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token=SPECIALS[BOS],
            eos_token=SPECIALS[EOS],
            pad_token=SPECIALS[PAD],
            unk_token=SPECIALS[UNK],
            additional_special_tokens=self.class_words,  # Transformers 4.57 takes the list under this name alone
            model_max_length=self.length,
            padding_side="left",
            model_input_names=["input_ids", "attention_mask"],
            clean_up_tokenization_spaces=False,
        )

    @classmethod
    def from_words(cls, words: Mapping[str, int], num_chunks: int, num_quantizers: int) -> "Vocabulary":
        """Read the vocabulary from the words of its WordLevel tokenizer; the inverse of `words`.

        Args:
            words: the id of each word.
            num_chunks: C, chunks of a field.
            num_quantizers: Q, quantizer levels of a chunk.

        Raises:
            InputError: the words are others, or in another order.
        """
        classes = sorted((i, word) for word, i in words.items() if word.startswith("<class:"))
        names = tuple(word[len("<class:") : -1] for _, word in classes)
        num_codes = sum(re.fullmatch(r"w\d+", word) is not None for word in words)
        vocabulary = cls(num_chunks, num_quantizers, num_codes // max(num_quantizers, 1), names)
        if {word: i for i, word in enumerate(vocabulary.words)} != words or len(set(names)) != len(names):
            raise InputError("the tokenizer's words are not <pad>, <bos>, <eos>, <unk>, classes, codes in this order.")
        if names[:1] != (NONE,) or any(class_name(name) != name for name in names):
            raise InputError("the classes of the tokenizer are no names, or 'none' is not the first; make it again.")
        return vocabulary


def class_name(label: str) -> str:
    """Return a label as its token spells it: white space and angle brackets become underscores.

    Args:
        label: any text; an empty one becomes "none".
    """
    return re.sub(r"[\s<>]+", "_", label).strip("_") or NONE
