"""The weight tokenizer: shapes and fields to token ids, and ids to fields.

Decisions:

- A tokenizer joins a quantizer of any kind and a vocabulary.
- In a folder, and on the Hub, the vocabulary is an ordinary WordLevel tokenizer that `AutoTokenizer` loads. The
  quantizer lies next to it in `codebook/`.
- A prompt is BOS and a class: `tokenizer.prompt("chair")` here, `tokenizer("<class:chair>")` with `AutoTokenizer`. A
  GPT-2 continues either of them with `generate()`.
- Codes become ids by tensor arithmetic. The WordLevel tokenizer is for people who read or write sequences as text.

Dimensions: B fields, L tokens of a sequence, C chunks, Q quantizer levels.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from transformers import BatchEncoding

from weightgpt.errors import InputError
from weightgpt.fields.field import Field, Fields
from weightgpt.hub import HubObject, local_folder
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import EncodeConfig, Quantizer
from weightgpt.quantizers.files import FILES as QUANTIZER_FILES
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.collator import loss_labels
from weightgpt.tokens.tokenizer_files import FILES, read_vocabulary, write_vocabulary
from weightgpt.tokens.vocabulary import BOS, EOS, NONE, PAD, SPECIALS, UNK, Vocabulary

if TYPE_CHECKING:
    from datasets import Dataset

Encodable = Shape | Sequence[Shape] | Field | Fields
TensorKind = Literal["pt", "np"]

CODEBOOK = "codebook"
"""Sub-folder of the quantizer."""
TOKENIZER_FILES = (
    *FILES,
    *(f"{CODEBOOK}/{name}" for name in QUANTIZER_FILES),
)
"""The files of a tokenizer."""


class WeightTokenizer(HubObject):
    """Tokens of one field architecture, one quantizer and one set of classes.

    Args:
        quantizer: turns fields into codes and back.
        vocabulary: turns codes into ids and back.

    Raises:
        InputError: the vocabulary is for another number of chunks, quantizer levels or codes.

    Examples:
        >>> tokenizer = WeightTokenizer.create(AutoQuantizer.from_pretrained("tests/golden/rvq-ae"), ["chair"])
        >>> batch = tokenizer(Field(tokenizer.quantizer.field_config), "chair")  # shapes work as well
        >>> tokenizer.class_names(batch["input_ids"])
        ['chair']
        >>> field = tokenizer.decode(batch["input_ids"][0])
    """

    hub_files = TOKENIZER_FILES
    pad_token, bos_token, eos_token, unk_token = SPECIALS
    """The special tokens as words, equal for all tokenizers."""
    pad_token_id, bos_token_id, eos_token_id, unk_token_id = PAD, BOS, EOS, UNK
    """Their ids."""

    def __init__(self, quantizer: Quantizer, vocabulary: Vocabulary) -> None:
        sizes = (vocabulary.num_chunks, vocabulary.num_quantizers, vocabulary.codebook_size)
        expected = (quantizer.num_chunks, quantizer.num_quantizers, quantizer.codebook_size)
        if sizes != expected:
            raise InputError(
                f"the vocabulary is for (chunks, quantizer levels, codes) = {sizes}, the codebook has {expected}; take"
                " both from one model."
            )
        self.quantizer, self.vocabulary = quantizer, vocabulary
        self.backend = vocabulary.word_tokenizer()

    @classmethod
    def create(cls, quantizer: Quantizer, labels: Sequence[str]) -> "WeightTokenizer":
        """Create a tokenizer for a new quantizer, with one class token for every distinct label.

        Args:
            quantizer: turns fields into codes and back.
            labels: labels of the corpus, repeated or not.
        """
        sizes = (quantizer.num_chunks, quantizer.num_quantizers, quantizer.codebook_size)
        return cls(quantizer, Vocabulary.create(*sizes, labels))

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.vocabulary.vocab_size

    @property
    def model_max_length(self) -> int:
        """L, the length of every sequence."""
        return self.vocabulary.length

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        classes, kind = ", ".join(self.vocabulary.classes), type(self.quantizer).__name__
        sizes = f"vocab_size={self.vocab_size}, model_max_length={self.model_max_length}"
        return f"WeightTokenizer({sizes}, quantizer={kind}, classes: {classes})"

    def __call__(
        self,
        shapes_or_fields: Encodable,
        labels: str | Sequence[str] | None = None,
        *,
        encode: EncodeConfig | None = None,
        return_tensors: TensorKind | None = "pt",
        progress: bool = False,
    ) -> BatchEncoding:
        """Encode B shapes or fields as token ids.

        Args:
            shapes_or_fields: a shape, several shapes, a field, or a batch of fields.
            labels: the class of each, or one class for all. When None, shapes have their own labels and fields have the
                class "none"; a label of a shape that the vocabulary does not have becomes "none".
            encode: how latents are refined; the defaults of `EncodeConfig` when None.
            return_tensors: "pt" for tensors, "np" for arrays, None for lists.
            progress: whether to show a progress bar.

        Returns:
            `input_ids`, `attention_mask` and `labels`, each (B, L). `labels` are for the loss of a GPT-2: -100 at BOS
            and at the class.

        Raises:
            InputError: the input is of another type, dimension or architecture, holds NaN, or has an unknown class.
        """
        if return_tensors not in ("pt", "np", None):
            raise InputError(f"return_tensors is {return_tensors!r}; give 'pt', 'np' or None.")
        codes, default_labels = self._encode(shapes_or_fields, encode, progress)
        if isinstance(labels, str):
            labels = [labels] * len(codes)
        ids = self.vocabulary.ids(codes, default_labels if labels is None else labels)
        columns = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": loss_labels(ids)}
        if return_tensors is None:
            return BatchEncoding({name: column.tolist() for name, column in columns.items()})
        return BatchEncoding(
            {name: column.numpy() if return_tensors == "np" else column for name, column in columns.items()}
        )

    def _encode(
        self, shapes_or_fields: Encodable, config: EncodeConfig | None, progress: bool
    ) -> tuple[Tensor, list[str]]:
        """Codes (B, C, Q), and the class of each shape or field; "none" where there is none."""
        if isinstance(shapes_or_fields, Field):
            shapes_or_fields = Fields(shapes_or_fields.config, shapes_or_fields.flat().detach()[None])
        if isinstance(shapes_or_fields, Fields):
            return self.quantizer.encode(shapes_or_fields, config), [NONE] * len(shapes_or_fields)
        shapes = list(shapes_or_fields) if isinstance(shapes_or_fields, Iterable) else [shapes_or_fields]
        wrong_types = [type(shape).__name__ for shape in shapes if not isinstance(shape, Shape)]
        if wrong_types:
            raise InputError(
                f"a tokenizer encodes shapes or fields, not {wrong_types[0]}; read files with `load_shape` or"
                " `load_fields`, and give the `fields` of generated shapes."
            )
        labels = self.vocabulary.replace_unknown([shape.label for shape in shapes])
        return self.quantizer.encode_shapes(shapes, config, progress=progress), labels

    def prompt(self, labels: str | Sequence[str]) -> BatchEncoding:
        """Return the prompt of one or more classes for `generate()` of a GPT-2.

        Args:
            labels: one class, or B classes.

        Returns:
            `input_ids` and `attention_mask`, each (B, 2): BOS and the class.

        Raises:
            InputError: a class is unknown.

        Examples:
            >>> tokenizer = WeightTokenizer.create(AutoQuantizer.from_pretrained("tests/golden/rvq-ae"), ["chair"])
            >>> tokenizer.prompt("chair")["input_ids"].tolist()
            [[1, 5]]
        """
        classes = [labels] if isinstance(labels, str) else labels
        ids = torch.tensor([[BOS, self.vocabulary.class_id(label)] for label in classes]).reshape(-1, 2)
        return BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def decode(self, ids: Tensor | Sequence[Any], num_quantizers: int | None = None) -> Field | Fields:
        """Decode one sequence to a field, or several sequences to a batch of fields.

        Args:
            ids: (L,) ids of one sequence, or (B, L) ids of several; a tensor, an array, or a list.
            num_quantizers: number of quantizer levels to decode, for a coarser shape; all levels when None.

        Returns:
            A `Field` for (L,), `Fields` for (B, L).

        Raises:
            InputError: the ids are not whole numbers, or a sequence breaks the grammar; the error then names the
                sequence, the position and the id.
        """
        ids = _id_tensor(ids)
        if ids.ndim == 1:
            return self.batch_decode(ids[None], num_quantizers)[0]
        return self.batch_decode(ids, num_quantizers)

    def batch_decode(self, ids: Tensor | Sequence[Any], num_quantizers: int | None = None) -> Fields:
        """Decode several sequences to a batch of fields.

        Args:
            ids: (B, L) ids.
            num_quantizers: number of quantizer levels to decode, for coarser shapes; all levels when None.

        Raises:
            InputError: as `decode`.
        """
        return self.quantizer.decode(self.vocabulary.parse(_id_tensor(ids))[0], num_quantizers)

    def class_names(self, ids: Tensor | Sequence[Any]) -> list[str]:
        """Return the class of each sequence.

        Args:
            ids: (B, L) ids.

        Raises:
            InputError: as `decode`.
        """
        return self.vocabulary.parse(_id_tensor(ids))[1]

    def to_dataset(self, batch: Mapping[str, Any] | Encodable) -> "Dataset":
        """Return a dataset with a row for each sequence, for the `Trainer`.

        Args:
            batch: what the tokenizer returned; or shapes or fields, which are encoded first.

        Raises:
            InputError: as `__call__`.
        """
        from datasets import Dataset

        columns = batch if isinstance(batch, Mapping) else self(batch)
        return Dataset.from_dict({name: torch.as_tensor(column).tolist() for name, column in columns.items()})

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `codebook/`.

        Args:
            folder: where to write; it is created if it does not exist.

        Raises:
            InputError: the folder cannot be written to.
        """
        self.quantizer.save_pretrained(Path(folder) / CODEBOOK)
        write_vocabulary(folder, self.vocabulary)

    @classmethod
    def from_pretrained(
        cls, path_or_repo: Path | str, *, revision: str | None = None, token: str | None = None
    ) -> "WeightTokenizer":
        """Load a tokenizer from a folder or from the Hub.

        Args:
            path_or_repo: a folder that `save_pretrained` wrote, of a model or of a tokenizer alone; or "owner/name" on
                the Hub.
            revision: branch, tag or commit on the Hub.
            token: access token of the Hub; the stored one when None.

        Raises:
            InputError: there is no such folder or repository, or a file is missing, broken, or does not belong to the
                others.
        """
        folder = local_folder(path_or_repo, TOKENIZER_FILES, revision, token)
        quantizer = AutoQuantizer.from_pretrained(folder, subfolder=CODEBOOK)
        return cls(quantizer, read_vocabulary(folder, quantizer.num_chunks, quantizer.num_quantizers))


def _id_tensor(ids: Tensor | Sequence[Any]) -> Tensor:
    """Ids as a tensor on the CPU; lists may hold numbers, lists, arrays or tensors."""
    try:
        tensor = ids if isinstance(ids, Tensor) else torch.stack([torch.as_tensor(part) for part in ids])
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"ids cannot be one tensor ({error}); give sequences of whole numbers, all of one length."
        ) from error
    if tensor.is_floating_point():
        raise InputError(f"ids are {tensor.dtype}; give whole numbers.")
    return tensor.cpu()
