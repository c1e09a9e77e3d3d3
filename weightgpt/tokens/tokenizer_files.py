"""The vocabulary as `tokenizer.json` and `tokenizer_config.json`, which plain transformers loads.

Decisions:

- We read the two files as JSON and take nothing but the vocabulary from them. So no setting in them can load another
  class or run code. transformers may write them again, with other keys in another order.
- `weightgpt_sha256` in `tokenizer_config.json` is the checksum of the words in their order. It stays when transformers
  writes the files again, and it is right as long as the words are the same. So a file without it is refused.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json, writing
from weightgpt.tokens.vocabulary import SPECIALS, Vocabulary

FILES = ("tokenizer.json", "tokenizer_config.json")
"""The files of a vocabulary."""
CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""The classes of transformers 4 and 5 that the files may name."""
_CHECKSUM = "weightgpt_sha256"


def write_vocabulary(folder: Path | str, vocabulary: Vocabulary) -> None:
    """Write a vocabulary so that `AutoTokenizer` of all versions of transformers loads it.

    Args:
        folder: where to write; it is created if it does not exist.
        vocabulary: the vocabulary.

    Raises:
        InputError: the folder cannot be written to.
    """
    with writing(folder):
        vocabulary.word_tokenizer().save_pretrained(folder)
    path = Path(folder) / "tokenizer_config.json"
    config = read_json(path)
    # Names that transformers 4 does not read; version 5 reads both.
    config.pop("backend", None)
    names = config.pop("extra_special_tokens", None) or config.get("additional_special_tokens", [])
    config |= {"additional_special_tokens": names, "tokenizer_class": CLASSES[0], _CHECKSUM: _checksum(vocabulary)}
    write_json(path, config)


def read_vocabulary(folder: Path, num_chunks: int, num_quantizers: int) -> Vocabulary:
    """Read the vocabulary of a tokenizer.

    Args:
        folder: the folder of the tokenizer.
        num_chunks: C, chunks of a field.
        num_quantizers: Q, quantizer levels of a chunk.

    Raises:
        InputError: a file is missing, broken, of another kind of tokenizer, or was changed.
    """
    path, config_path = (folder / name for name in FILES)
    vocabulary = Vocabulary.from_words(_words(path), num_chunks, num_quantizers)
    config = read_json(config_path)
    if not isinstance(config, dict) or config.get("tokenizer_class") not in CLASSES:
        raise InputError(f"{config_path} is not of a tokenizer of words; give the folder of a whole model.")
    expected = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIALS, strict=True))
    wrong = [name for name, token in expected.items() if _text(config.get(name)) != token]
    names = config.get("additional_special_tokens") or config.get("extra_special_tokens") or []
    if isinstance(names, list) and names and set(vocabulary.class_words) - {str(_text(name)) for name in names}:
        wrong.append("additional_special_tokens")
    if config.get("model_max_length", vocabulary.length) != vocabulary.length:
        wrong.append("model_max_length")
    if config.get(_CHECKSUM) != _checksum(vocabulary):
        wrong.append(_CHECKSUM)
    if wrong:
        raise InputError(f"{wrong[0]} of {config_path} does not belong to {path}; take both files from one folder.")
    return vocabulary


def _words(path: Path) -> dict[str, int]:
    """The words of a WordLevel tokenizer with their ids."""
    content = read_json(path)
    model = content.get("model") if isinstance(content, dict) else None
    words = model.get("vocab") if isinstance(model, dict) and model.get("type", "WordLevel") == "WordLevel" else None
    if not isinstance(words, dict) or not all(type(i) is int for i in words.values()):
        raise InputError(f"{path} has no vocabulary of words; give the folder of a whole model.")
    return words


def _text(token: Any) -> Any:
    """The text of a token, which transformers may write as an object."""
    return token.get("content") if isinstance(token, dict) else token


def _checksum(vocabulary: Vocabulary) -> str:
    return hashlib.sha256(json.dumps(vocabulary.words).encode()).hexdigest()
