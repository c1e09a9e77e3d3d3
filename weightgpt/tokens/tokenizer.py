"""The weight tokenizer: fields and shapes to token ids, and ids to fields.

It joins a quantizer, of whichever kind, and a vocabulary. In a folder (and on the Hub) the ids are an ordinary
`tokenizers` WordLevel tokenizer that `AutoTokenizer` loads, and the quantizer lies beside it in `codebook/`. Codes
become ids by tensor arithmetic; the WordLevel tokenizer is there for people who read or type sequences.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast

from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.io import read_json, write_json
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.vocabulary import NONE, Vocabulary, class_name


class WeightTokenizer:
    """Tokens of one field architecture, one quantizer and one set of classes."""

    def __init__(self, quantizer: Quantizer, vocabulary: Vocabulary) -> None:
        expected = (quantizer.num_chunks, quantizer.num_quantizers, quantizer.codebook_size)
        if (vocabulary.num_chunks, vocabulary.num_quantizers, vocabulary.codebook_size) != expected:
            raise InputError(
                f"the vocabulary is for {vocabulary.num_chunks} chunks, {vocabulary.num_quantizers} levels and {vocabulary.codebook_size}"
                f" codes, the codebook has {expected}; take both from one bundle."
            )
        self.quantizer, self.vocabulary = quantizer, vocabulary
        self.backend = vocabulary.tokenizer()

    @classmethod
    def create(cls, quantizer: Quantizer, labels: list[str]) -> "WeightTokenizer":
        """A tokenizer of a new quantizer, with a class token for every distinct label."""
        return cls(
            quantizer,
            Vocabulary.create(quantizer.num_chunks, quantizer.num_quantizers, quantizer.codebook_size, labels),
        )

    def encode(
        self, fields: Fields, labels: list[str] | None = None, options: EncodeConfig | None = None
    ) -> BatchEncoding:
        """Token ids of existing fields: `input_ids` and `attention_mask`, both (B, L).

        Raises:
            InputError: the fields are of another architecture, hold NaN, or a label is unknown.
        """
        codes = self.quantizer.encode(fields, options)
        return self.batch(codes, labels or [NONE] * len(fields))

    def encode_shapes(
        self, shapes: list[Shape], options: EncodeConfig | None = None, progress: bool = False
    ) -> BatchEncoding:
        """Token ids of shapes, with their labels as classes (unknown ones become "none")."""
        codes = self.quantizer.encode_shapes(shapes, options, progress=progress)
        known = self.vocabulary.classes
        return self.batch(codes, [shape.label if class_name(shape.label) in known else NONE for shape in shapes])

    def batch(self, codes: Tensor, labels: list[str]) -> BatchEncoding:
        """Sequences of codes (B, C, Q)."""
        ids = self.vocabulary.ids(codes, labels)
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def decode(self, ids: Tensor, num_quantizers: int | None = None) -> Fields:
        """Fields of sequences (B, L); with `num_quantizers`, of their first levels only, a coarser shape.

        Raises:
            InputError: a sequence breaks the grammar; the sentence names the sequence, the position and the id.
        """
        return self.quantizer.decode(self.vocabulary.parse(ids)[0], num_quantizers)

    def labels(self, ids: Tensor) -> list[str]:
        """Class names of sequences (B, L)."""
        return self.vocabulary.parse(ids)[1]

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `codebook/` to `folder`."""
        self.quantizer.save_pretrained(Path(folder) / "codebook")
        self.backend.save_pretrained(folder)
        _name_for_all_versions(Path(folder) / "tokenizer_config.json")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "WeightTokenizer":
        """Read what `save_pretrained` wrote; for a repository on the Hub see `weightgpt.model.load_bundle`.

        Raises:
            InputError: a file is missing, broken, or does not belong with the others.
        """
        folder = Path(folder)
        quantizer = AutoQuantizer.from_pretrained(folder / "codebook")
        try:
            backend = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} has no readable tokenizer.json; give the folder of a whole bundle.") from error
        return cls(quantizer, Vocabulary.of_tokenizer(backend, quantizer.num_chunks, quantizer.num_quantizers))


def _name_for_all_versions(path: Path) -> None:
    """Rewrite the names in `tokenizer_config.json` that transformers 4 does not know; version 5 reads the old ones."""
    config = read_json(path)
    config.pop("backend", None)
    config["additional_special_tokens"] = config.pop("extra_special_tokens", [])
    write_json(path, {**config, "tokenizer_class": "PreTrainedTokenizerFast"})
