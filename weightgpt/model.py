"""A model and its tokenizer as one bundle: in a folder, and on the Hugging Face Hub.

Decisions:
- The root of a bundle is an ordinary GPT-2 repository: `GPT2LMHeadModel.from_pretrained` and
  `AutoTokenizer.from_pretrained` work on it alone, and `generate()` keeps the grammar. The rest lies in `codebook/`.
- Ids mean nothing without the codebook they were written with, so the model's configuration carries its fingerprint,
  and a bundle whose two halves differ is refused.
- Only the files of a bundle are downloaded, and none of them can run code: no pickle is read, made or uploaded.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import SafetensorError
from torch import Tensor
from transformers import GPT2LMHeadModel

from weightgpt.card import write_card
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.io import atomic_write, read_json
from weightgpt.tokens.generation import class_labels, generation_config, sample_ids
from weightgpt.tokens.tokenizer import WeightTokenizer

_MODEL = ("config.json", "generation_config.json", "model.safetensors")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_CODEBOOK = ("codebook/config.json", "codebook/model.safetensors", "codebook/encoder.safetensors")
FILES = (*_MODEL, *_TOKENIZER, *_CODEBOOK)
_PICKLES = ["*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt"]
NOT_UPLOADED = [*_PICKLES, "checkpoint-*", "runs/*", "trainer_state.json", ".*", "*/.*"]


@dataclass(frozen=True)
class GeneratedShapes:
    """N new shapes."""

    ids: Tensor
    """(N, L) sequences."""
    fields: Fields
    """N fields."""
    labels: list[str]
    """Class of each."""


@dataclass(frozen=True)
class Bundle:
    """A GPT-2 and the tokenizer it was trained with."""

    model: GPT2LMHeadModel
    tokenizer: WeightTokenizer

    @property
    def drawn(self) -> dict[str, float]:
        """`temperature` and `top_p` of the model's own generation settings, 1 where it has none."""
        settings = self.model.generation_config
        return {name: 1.0 if (value := getattr(settings, name)) is None else value for name in ("temperature", "top_p")}

    def sample(
        self,
        n: int = 16,
        label: str | Sequence[str] | None = None,
        seed: int = 0,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int = 0,
        quasi_random: bool = True,
        batch: int = 64,
        progress: bool = False,
    ) -> GeneratedShapes:
        """`n` new shapes of class `label`, or of one class each, or of the classes in turn.

        Equal arguments give equal shapes.

        Args:
            temperature: above 0; small values keep to the most likely codes. The model's own when None, as
                `generation_config.json` has it.
            top_p: in (0, 1], the share of probability drawn from; the model's own when None.
            top_k: the number of most likely codes drawn from; 0 for all.
            even: draw the shapes to differ from each other as far as the model lets them (see `weightgpt.tokens.quasirandom`), not
                each for itself, as `model.generate()` alone does.
            batch: sequences generated at once.

        Raises:
            InputError: a class is unknown, classes are not as many as shapes, or a number is out of range.
        """
        own = self.drawn
        temperature = own["temperature"] if temperature is None else temperature
        top_p = own["top_p"] if top_p is None else top_p
        if n < 1 or batch < 1 or top_k < 0 or not 0 < top_p <= 1:
            raise InputError(
                f"n={n}, batch={batch}, top_p={top_p}, top_k={top_k} cannot be sampled with; n and batch are 1 or more,"
                " top_p lies in (0, 1], top_k is 0 or more."
            )
        vocabulary = self.tokenizer.vocabulary
        ids = sample_ids(
            self.model,
            vocabulary,
            class_labels(vocabulary, n, label),
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            quasi_random=quasi_random,
            batch=batch,
            progress=progress,
        )
        return GeneratedShapes(ids, self.tokenizer.decode(ids), self.tokenizer.labels(ids))

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the files of the bundle to `folder`; other files in it stay.

        Raises:
            InputError: model and tokenizer do not belong together, or the folder cannot be written to.
        """
        if getattr(self.model.config, "codebook_fingerprint", None) is None:
            self.model.config.codebook_fingerprint = self.tokenizer.quantizer.fingerprint
        check(self.model, self.tokenizer)
        with _filled(Path(folder)) as draft:
            self.model.save_pretrained(draft)
            generation_config(self.tokenizer.vocabulary, **self.drawn).save_pretrained(draft)
            self.tokenizer.save_pretrained(draft)


def check(model: GPT2LMHeadModel, tokenizer: WeightTokenizer) -> None:
    """Refuse a model and a tokenizer that do not belong together.

    Raises:
        InputError: the model names another codebook or none, or has another vocabulary.
    """
    trained, held = getattr(model.config, "codebook_fingerprint", None), tokenizer.quantizer.fingerprint
    if trained is None:
        raise InputError(
            "the model's config names no codebook; if it was trained with this tokenizer, set"
            f" config.codebook_fingerprint to {held!r} and save it again."
        )
    if trained != held:
        raise InputError(
            f"the model was trained with codebook {trained}, the tokenizer holds {held}; use the tokenizer that the"
            " model was trained with."
        )
    vocabulary = tokenizer.vocabulary
    if model.config.vocab_size != vocabulary.vocab_size or model.config.n_positions < vocabulary.length:
        raise InputError(
            f"the model knows {model.config.vocab_size} tokens at {model.config.n_positions} positions, the tokenizer"
            f" needs {vocabulary.vocab_size} at {vocabulary.length}; use the tokenizer that the model was trained with."
        )


def load_bundle(folder_or_repo_id: Path | str, revision: str | None = None) -> Bundle:
    """A bundle from a local folder, without any network, or else from the Hub.

    Args:
        folder_or_repo_id: a folder if there is one of that name, otherwise "owner/name" on the Hub.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: there is no such folder or repository, a file is missing or broken, or its parts do not belong
            together.
    """
    local = Path(folder_or_repo_id)
    folder = local if local.is_dir() else _downloaded(str(folder_or_repo_id), revision)
    missing = [name for name in FILES if name != "generation_config.json" and not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder_or_repo_id} is not a bundle, it has no {missing[0]}; give a whole one.")
    bundle = Bundle(_load_model(folder), WeightTokenizer.from_pretrained(folder))
    check(bundle.model, bundle.tokenizer)
    return bundle


def push_bundle(
    folder_or_bundle: Bundle | Path | str,
    repo_id: str,
    private: bool = False,
    token: str | None = None,
    commit_message: str = "Upload weightgpt bundle",
) -> str:
    """Upload a bundle to the Hub, creating the repository if need be; its address.

    A folder is checked by loading it, and goes up with its README and figures but without pickles, checkpoints and
    hidden files. A bundle gets a model card.

    Raises:
        InputError: it is not a whole bundle, the repository's name is not allowed, or the Hub refuses.
    """
    if isinstance(folder_or_bundle, Bundle):
        with TemporaryDirectory() as folder:
            folder_or_bundle.save_pretrained(folder)
            write_card(folder, {}, repo_id)
            return push_bundle(folder, repo_id, private, token, commit_message)
    if not Path(folder_or_bundle).is_dir():
        raise InputError(f"{folder_or_bundle} is not a folder; give the folder of a bundle.")
    load_bundle(folder_or_bundle)
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder_or_bundle,
            commit_message=commit_message,
            ignore_patterns=NOT_UPLOADED,
        )
    except (OSError, HFValidationError) as error:  # every failure of the Hub, and of the way to it, is an OSError
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cannot push to {repo_id} ({reason}); check its name, your token and the network.") from error
    return str(address)


def _downloaded(repo_id: str, revision: str | None) -> Path:
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES)))
    except HFValidationError as error:
        raise InputError(f"{repo_id} is neither a folder nor the name of a repository; give one.") from error
    except RevisionNotFoundError as error:
        raise InputError(f"{repo_id} has no revision {revision}; give one of its branches, tags or commits.") from error
    except (EntryNotFoundError, OSError) as error:  # every failure of the Hub, and of the way to it
        unknown = isinstance(error, RepositoryNotFoundError)
        reason = (
            "no repository that you may read; check its name" if unknown else "the Hub does not answer; try again later"
        )
        raise InputError(f"{repo_id} is no folder here and {reason}.") from error


def _load_model(folder: Path) -> GPT2LMHeadModel:
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("model_type") != "gpt2":
        raise InputError(f"{folder / 'config.json'} is not of a GPT-2; give the folder of a bundle.")
    try:
        loaded: Any = GPT2LMHeadModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder} holds no whole GPT-2 ({reason}); make or download it again.") from error
    model: GPT2LMHeadModel = loaded[0]  # in evaluation mode
    if loaded[1]["missing_keys"] or not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise InputError(f"{folder / 'model.safetensors'} lacks weights or holds NaN; make or download it again.")
    return model


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into `folder`, each at once, when the block ends well."""
    if folder.is_file():
        raise InputError(f"cannot write a bundle to {folder}, which is a file; give the name of a folder.")
    with atomic_write(folder / ".bundle") as draft:  # refuses a folder that cannot be written to
        draft.mkdir()
        yield draft
        for source in sorted(draft.rglob("*")):
            target = folder / source.relative_to(draft)
            if source.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(source, target)
    shutil.rmtree(folder / ".bundle")
