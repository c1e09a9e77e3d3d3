"""The weight tokenizer: fields and shapes to token ids, and ids to fields.

It joins chunks, codebook, encoder and vocabulary. In a folder (and on the Hub) the ids are an ordinary `tokenizers`
WordLevel tokenizer that `AutoTokenizer` loads, and the rest lies beside it in `codebook/`. Codes become ids by tensor
arithmetic; the WordLevel tokenizer is there for people who read or type sequences.
"""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast

from weightgpt.codebook import Codebook
from weightgpt.encoder import ShapeEncoder
from weightgpt.encoding import EncodeConfig, encode_fields, encode_shapes
from weightgpt.field import Fields
from weightgpt.files import InputError, read_json, write_json
from weightgpt.shapes import Shape
from weightgpt.vocabulary import NONE, Vocabulary, class_name


class WeightTokenizer:
    """Tokens of one field architecture, one codebook and one set of classes."""

    def __init__(self, codebook: Codebook, encoder: ShapeEncoder, vocabulary: Vocabulary) -> None:
        expected = (codebook.layout.chunks, codebook.levels, codebook.size)
        if (vocabulary.chunks, vocabulary.levels, vocabulary.codes) != expected:
            raise InputError(
                f"the vocabulary is for {vocabulary.chunks} chunks, {vocabulary.levels} levels and {vocabulary.codes}"
                f" codes, the codebook has {expected}; take both from one bundle."
            )
        sizes = (encoder.chunks, encoder.latent_width, encoder.probes.shape[-1])
        if sizes != (codebook.layout.chunks, codebook.latent_width, codebook.layout.config.in_features):
            raise InputError(
                f"the encoder is for (chunks, latent width, dimension) {sizes}, the codebook for others; take both from"
                " one bundle."
            )
        self.codebook, self.encoder, self.vocabulary = codebook, encoder, vocabulary
        self.backend = vocabulary.tokenizer()

    def encode(
        self, fields: Fields, labels: list[str] | None = None, options: EncodeConfig | None = None
    ) -> BatchEncoding:
        """Token ids of existing fields: `input_ids` and `attention_mask`, both (B, L).

        Raises:
            InputError: the fields are of another architecture, hold NaN, or a label is unknown.
        """
        codes = encode_fields(self.codebook, self.encoder, fields, options or EncodeConfig())
        return self.batch(codes, labels or [NONE] * len(fields))

    def encode_shapes(
        self, shapes: list[Shape], options: EncodeConfig | None = None, progress: bool = False
    ) -> BatchEncoding:
        """Token ids of shapes, with their labels as classes (unknown ones become "none")."""
        codes = encode_shapes(self.codebook, self.encoder, shapes, options or EncodeConfig(), progress)
        known = self.vocabulary.classes
        return self.batch(codes, [shape.label if class_name(shape.label) in known else NONE for shape in shapes])

    def batch(self, codes: Tensor, labels: list[str]) -> BatchEncoding:
        """Sequences of codes (B, C, Q)."""
        ids = self.vocabulary.ids(codes, labels)
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def decode(self, ids: Tensor, levels: int | None = None) -> Fields:
        """Fields of sequences (B, L); with `levels`, of their first levels only, a coarser shape.

        Raises:
            InputError: a sequence breaks the grammar; the sentence names the sequence, the position and the id.
        """
        return self.codebook.decode(self.vocabulary.parse(ids)[0], levels)

    def labels(self, ids: Tensor) -> list[str]:
        """Class names of sequences (B, L)."""
        return self.vocabulary.parse(ids)[1]

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `codebook/` to `folder`."""
        self.codebook.save_pretrained(Path(folder) / "codebook")
        self.encoder.save(Path(folder) / "codebook")
        self.backend.save_pretrained(folder)
        _name_for_all_versions(Path(folder) / "tokenizer_config.json")

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "WeightTokenizer":
        """Read what `save_pretrained` wrote; for a repository on the Hub see `weightgpt.hub.load_bundle`.

        Raises:
            InputError: a file is missing, broken, or does not belong with the others.
        """
        folder = Path(folder)
        codebook = Codebook.from_pretrained(folder / "codebook")
        encoder = ShapeEncoder.load(folder / "codebook", codebook.layout.chunks, codebook.latent_width)
        try:
            backend = cast(PreTrainedTokenizerFast, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} has no readable tokenizer.json; give the folder of a whole bundle.") from error
        vocabulary = Vocabulary.of_tokenizer(backend, codebook.layout.chunks, codebook.levels)
        return cls(codebook, encoder, vocabulary)


def _name_for_all_versions(path: Path) -> None:
    """Rewrite the names in `tokenizer_config.json` that transformers 4 does not know; version 5 reads the old ones."""
    config = read_json(path)
    config.pop("backend", None)
    config["additional_special_tokens"] = config.pop("extra_special_tokens", [])
    write_json(path, {**config, "tokenizer_class": "PreTrainedTokenizerFast"})
