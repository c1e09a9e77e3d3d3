"""The model: a GPT-2 and the tokenizer it was trained with, in a folder or on the Hugging Face Hub.

Decisions:

- The root of a model's folder is an ordinary GPT-2 repository: `GPT2LMHeadModel.from_pretrained` and
  `AutoTokenizer.from_pretrained` need no code of this package, and `generate()` follows the grammar. The quantizer lies
  in `codebook/`.
- Ids mean nothing without the codebook they were written with. So the configuration of the GPT-2 holds the fingerprint
  of its codebook, and a model with another codebook is refused.
- Only the files of a model are downloaded, and none of them can run code: no pickle is read, written or uploaded.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transformers import GPT2LMHeadModel

from weightgpt.card import CARD_FILE, rename_model, write_card
from weightgpt.errors import InputError
from weightgpt.hub import HubObject, local_folder
from weightgpt.io import atomic_write, read_text, write_text, writing
from weightgpt.tokens.generated import GeneratedShapes
from weightgpt.tokens.generation import (
    SamplingConfig,
    check_compatible,
    prompt_labels,
    sample_batches,
)
from weightgpt.tokens.gpt_files import CONFIG, GENERATION, WEIGHTS, check_gpt_files, load_gpt, save_gpt
from weightgpt.tokens.tokenizer import TOKENIZER_FILES, WeightTokenizer

FILES = (CONFIG, GENERATION, WEIGHTS, *TOKENIZER_FILES)
"""The files of a model."""


class WeightGPT(HubObject):
    """A GPT-2 and the tokenizer it was trained with.

    Args:
        gpt: the GPT-2.
        tokenizer: its tokenizer.
        card: text of the model card that `push_to_hub` uploads; a new card is written when None. `from_pretrained`
            reads the card of the folder; set `card` to None after further training, because the metrics on an old card
            then no longer hold.

    Raises:
        InputError: the GPT-2 has another vocabulary than the tokenizer.

    Examples:
        >>> model = WeightGPT.from_pretrained("runs/demo/model")  # doctest: +SKIP
        >>> shapes = model.generate(n=8, label="chair", seed=0)  # doctest: +SKIP
        >>> model.push_to_hub("me/chairs")  # doctest: +SKIP
    """

    hub_files = (*FILES, CARD_FILE)

    def __init__(self, gpt: GPT2LMHeadModel, tokenizer: WeightTokenizer, card: str | None = None) -> None:
        check_compatible(gpt, tokenizer.vocabulary)
        self.gpt, self.tokenizer, self.card = gpt, tokenizer, card

    def __repr__(self) -> str:
        return f"WeightGPT({self.gpt.num_parameters():,} parameters, {self.tokenizer})"

    @property
    def sampling_defaults(self) -> dict[str, float]:
        """`temperature` and `top_p` in the generation configuration of the GPT-2; 1 where it has none."""
        settings = self.gpt.generation_config
        return {name: 1.0 if (value := getattr(settings, name)) is None else value for name in ("temperature", "top_p")}

    def generate(
        self,
        n: int = 16,
        label: str | Sequence[str] | None = None,
        *,
        seed: int = 0,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int = 0,
        quasi_random: bool = True,
        batch_size: int = 64,
        progress: bool = False,
    ) -> GeneratedShapes:
        """Generate new shapes; equal arguments give equal shapes.

        Args:
            n: number of shapes.
            label: one class for all shapes, or one for each. When None, all classes take turns.
            seed: seed of the random numbers.
            temperature: logits are divided by it, lower values prefer likelier codes; the default of the model when
                None, as `generation_config.json` has it.
            top_p: share of the probability mass that is sampled from, in (0, 1]; the default of the model when None.
            top_k: number of likeliest codes that are sampled from; 0 for all.
            quasi_random: whether the shapes of a class are sampled together, so that they differ more from each other
                (see `weightgpt.tokens.quasirandom`), or independently.
            batch_size: sequences generated at once.
            progress: whether to show a progress bar.

        Raises:
            InputError: a class is unknown, the number of classes is not `n`, or a number is out of range.
        """
        batches = self.generate_batches(
            n,
            label,
            seed=seed,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            quasi_random=quasi_random,
            batch_size=batch_size,
            progress=progress,
        )
        return GeneratedShapes.join(list(batches))

    def generate_batches(
        self,
        n: int,
        label: str | Sequence[str] | None = None,
        *,
        seed: int = 0,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int = 0,
        quasi_random: bool = True,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Iterator[GeneratedShapes]:
        """Generate the shapes of `generate` batch by batch, in memory that does not grow with their number.

        Args:
            n: number of shapes; the first shapes of a larger number are the same.
            label: as of `generate`.
            seed: as of `generate`.
            temperature: as of `generate`.
            top_p: as of `generate`.
            top_k: as of `generate`.
            quasi_random: as of `generate`.
            batch_size: shapes of a batch; the last one may have fewer.
            progress: whether to show a progress bar.

        Raises:
            InputError: as `generate`.

        Examples:
            >>> for i, shapes in enumerate(model.generate_batches(100_000)):  # doctest: +SKIP
            ...     save_fields(f"shapes-{i}.safetensors", shapes.fields)
        """
        defaults, vocabulary = self.sampling_defaults, self.tokenizer.vocabulary
        sampling = SamplingConfig(
            seed=seed,
            temperature=defaults["temperature"] if temperature is None else temperature,
            top_p=defaults["top_p"] if top_p is None else top_p,
            top_k=top_k,
            quasi_random=quasi_random,
            batch_size=batch_size,
        )
        labels = prompt_labels(vocabulary, n, label)
        self.gpt.eval()  # a Trainer leaves it in training mode, where dropout would disturb the samples
        batches = sample_batches(self.gpt, vocabulary, labels, sampling, progress=progress)
        return (
            GeneratedShapes(self.tokenizer.batch_decode(ids), ids, self.tokenizer.class_names(ids)) for ids in batches
        )

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the files of the model; other files in the folder stay.

        A GPT-2 whose configuration names no codebook gets the fingerprint of the tokenizer's codebook.

        Args:
            folder: where to write; it is created if it does not exist.

        Raises:
            InputError: GPT-2 and tokenizer do not belong together, or the folder cannot be written to.
        """
        if getattr(self.gpt.config, "codebook_fingerprint", None) is None:
            self.gpt.config.codebook_fingerprint = self.tokenizer.quantizer.fingerprint
        _check_codebook(self.gpt, self.tokenizer)
        with _fill_folder(Path(folder)) as draft:
            save_gpt(draft, self.gpt, self.tokenizer.vocabulary, self.sampling_defaults)
            self.tokenizer.save_pretrained(draft)

    @classmethod
    def from_pretrained(
        cls, path_or_repo: Path | str, *, revision: str | None = None, token: str | None = None
    ) -> "WeightGPT":
        """Load a model from a folder, without any network, or from the Hub.

        Args:
            path_or_repo: a folder if there is one of that name, otherwise "owner/name" on the Hub.
            revision: branch, tag or commit on the Hub.
            token: access token of the Hub; the stored one when None.

        Raises:
            InputError: there is no such folder or repository, a file is missing or broken, or the parts do not belong
                together.
        """
        folder = local_folder(path_or_repo, (*FILES, CARD_FILE), revision, token)
        missing = [name for name in FILES if name != GENERATION and not (folder / name).is_file()]
        if missing:
            raise InputError(f"{path_or_repo} is not a whole model, it has no {missing[0]}; give the folder of one.")
        tokenizer = WeightTokenizer.from_pretrained(folder)
        gpt = load_gpt(folder, tokenizer.vocabulary)
        _check_codebook(gpt, tokenizer)
        check_gpt_files(folder)
        return cls(gpt, tokenizer, _read_card(folder / CARD_FILE))

    def _write_for_hub(self, folder: Path, repo_id: str) -> None:
        self.save_pretrained(folder)
        if self.card is None:
            write_card(folder, {}, repo_id)
        else:
            write_text(folder / CARD_FILE, rename_model(self.card, repo_id))


def _check_codebook(gpt: GPT2LMHeadModel, tokenizer: WeightTokenizer) -> None:
    """Refuse a GPT-2 that was trained with another codebook, or whose configuration names none."""
    trained_with, present = getattr(gpt.config, "codebook_fingerprint", None), tokenizer.quantizer.fingerprint
    if trained_with is None:
        raise InputError(
            "the GPT-2's config names no codebook; if it was trained with this tokenizer, set"
            f" config.codebook_fingerprint to {present!r} and save it again."
        )
    if trained_with != present:
        raise InputError(
            f"the GPT-2 was trained with codebook {trained_with}, the tokenizer has {present}; use the tokenizer that"
            " the GPT-2 was trained with."
        )


def _read_card(path: Path) -> str | None:
    """The text of a model card; None if there is none, also if README.md has no metadata of the Hub."""
    if not path.is_file():
        return None
    root, target = path.parent.resolve(), path.resolve()
    cache = root.parent.parent if root.parent.name == "snapshots" else root  # links within the cache of the Hub
    if not target.is_relative_to(cache):
        raise InputError(f"{path} is a link to a file outside of the folder, which a push would publish; give a copy.")
    text = read_text(path)
    return text if text.startswith("---") else None  # the README of a folder of work is not published


@contextmanager
def _fill_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder; when the block ends well, each of its files is moved into `folder`."""
    with writing(folder):
        if folder.is_file():
            raise InputError(f"cannot write a model to {folder}, which is a file; give the name of a folder.")
    with atomic_write(folder / ".model") as draft:  # refuses a folder that cannot be written to
        draft.mkdir()
        yield draft
        for source in sorted(draft.rglob("*")):
            target = folder / source.relative_to(draft)
            if source.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(source, target)
    shutil.rmtree(folder / ".model")
