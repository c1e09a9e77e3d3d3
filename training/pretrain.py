"""Pre-train a GPT-2 on a corpus of tokens: `python -m training.pretrain --dataset DIR --tokenizer DIR --output DIR`.

Decisions:
- The model is a `GPT2LMHeadModel` and the `Trainer` of transformers trains it, because Hugging Face users know both.
  `torchrun -m training.pretrain …` trains on several devices.
- The defaults of GPT-2 do not suit short sequences of codes. We change them here and nowhere else: there is no dropout,
  the special tokens have the ids of our vocabulary, a model has as many positions as a sequence has tokens, the grammar
  is in `generation_config.json`, and the embeddings of codes begin as the code vectors of the quantizer.

Dimensions: B sequences, L tokens of a sequence.
"""

import dataclasses
import math
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, ProgressCallback, Trainer, TrainingArguments, set_seed

from training.data.corpus import check_sequences, column_tensor, load_corpus, split_rows
from training.embeddings import initialize_code_embeddings
from training.resume.checkpoints import CheckpointRecorder
from training.resume.divergence import DivergenceWatch, PatientStop, train_with_retries
from training.resume.lock import output_folder
from weightgpt._programs import cli_main, parse
from weightgpt.errors import (
    InputError,
    check_at_least,
    check_at_most,
    check_positive,
    check_seed,
    check_share,
    check_types,
)
from weightgpt.io import atomic_write, write_json
from weightgpt.tokens.collator import WeightDataCollator
from weightgpt.tokens.generation import generation_config
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import BOS, EOS, PAD

MODEL_SIZES = {
    "nano": (2, 2, 64),
    "tiny": (4, 4, 128),
    "small": (4, 6, 192),
    "medium": (6, 8, 256),
    "large": (8, 12, 384),
}
"""Layers, attention heads and width of each model size."""
LR_SCHEDULER_TYPES = ("linear", "cosine", "constant_with_warmup")
"""Schedules of the learning rate that need no further options."""
WEIGHT_DECAY = 0.1
"""Weight decay of all matrices."""
WARMUP_FRACTION = 0.03
"""Share of the steps in which the learning rate rises to its peak."""
PATIENCE = 5
"""Evaluations without a better validation loss before training stops."""


def has_bf16() -> bool:
    """Whether this machine's GPU, or else its processor, has instructions for bfloat16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How a GPT is trained."""

    model_size: str = "small"
    """Size of the model: nano, tiny, small, medium or large."""
    epochs: float = 8
    """Largest number of passes over the training sequences; early stopping may end sooner."""
    batch_size: int = 32
    """Sequences in each step, on each process."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW, after 3 % warm-up."""
    lr_scheduler_type: str = "cosine"
    """Schedule of the learning rate after the warm-up: linear, cosine or constant_with_warmup."""
    embedding_init_scale: float = 2.0
    """Standard deviation of the initial embeddings of codes, divided by that of other parameters. These embeddings
    begin as the code vectors, and must be larger than the position embeddings that are added to them. With 0 they begin
    at random."""
    dropout: float = 0.0
    """Dropout of embeddings, attention and residual branches. Dropout helps small corpora and makes training slower."""
    num_evaluations: int = 12
    """Evaluations on the validation sequences, and checkpoints, spread over the training."""
    bf16: bool | None = None
    """Whether to train in bfloat16 mixed precision. None means yes if the device has instructions for bfloat16, because
    training is about 1.5 times faster then."""
    report_to: str = "none"
    """Where the `Trainer` reports to in addition to the console, such as "tensorboard"."""

    def __post_init__(self) -> None:
        if self.model_size not in MODEL_SIZES:
            raise InputError(f"model_size is {self.model_size!r}; choose one of {', '.join(MODEL_SIZES)}.")
        if self.lr_scheduler_type not in LR_SCHEDULER_TYPES:
            raise InputError(
                f"lr_scheduler_type is {self.lr_scheduler_type!r}; choose one of {', '.join(LR_SCHEDULER_TYPES)}."
            )
        check_types(self)
        check_at_least(self, 1, "batch_size", "num_evaluations")
        check_positive(self, "epochs", "learning_rate")
        check_at_most(self, 1_000_000, "batch_size", "num_evaluations", "epochs", "embedding_init_scale")
        check_at_least(self, 0, "embedding_init_scale")
        check_share(self, "dropout")

    @property
    def mixed_precision(self) -> bool:
        """Whether training uses bfloat16 on this machine."""
        return has_bf16() if self.bf16 is None else self.bf16


class Progress(ProgressCallback):
    """The progress bar of the Trainer, with the losses next to the bar instead of on separate lines."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: dict[str, str] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the newest training and validation loss.

        Args:
            args: unused.
            state: the state of the Trainer.
            control: unused.
            logs: the logged values by name.
            **kwargs: unused.
        """
        if state.is_world_process_zero and self.training_bar is not None:
            self.losses |= {name: f"{float(logs[name]):.3f}" for name in ("loss", "eval_loss") if name in (logs or {})}
            self.training_bar.set_postfix(self.losses)


def new_model(tokenizer: WeightTokenizer, config: PretrainConfig, seed: int = 0) -> GPT2LMHeadModel:
    """An untrained model for the sequences of a tokenizer, with the grammar in its generation configuration.

    Args:
        tokenizer: the tokenizer.
        config: the size of the model, its dropout and how its embeddings are initialized.
        seed: seed of the initial weights.
    """
    layers, heads, width = MODEL_SIZES[config.model_size]
    set_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=tokenizer.vocabulary.vocab_size,
            n_positions=tokenizer.vocabulary.length,
            n_layer=layers,
            n_head=heads,
            n_embd=width,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            codebook_fingerprint=tokenizer.quantizer.fingerprint,
        )
    )
    initialize_code_embeddings(model, tokenizer, config.embedding_init_scale, seed)
    model.loss_type = "ForCausalLM"
    model.generation_config = generation_config(tokenizer.vocabulary)
    return model


def code_loss(model: GPT2LMHeadModel, input_ids: torch.Tensor, batch_size: int = 64) -> float:
    """Mean cross-entropy of the code tokens of sequences, in nats; the class comes before them, and EOS does not count.

    Args:
        model: the model.
        input_ids: (B, L) sequences.
        batch_size: sequences that the model reads at once.
    """
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in input_ids.split(batch_size):
            logits = model(batch.to(model.device)).logits[:, 1:-2].float().cpu()
            targets = batch[:, 2:-1]
            total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))
            count += targets.numel()
    return total / max(count, 1)


def pretrain(
    train: Dataset,
    validation: Dataset,
    tokenizer: WeightTokenizer,
    output: Path,
    config: PretrainConfig,
    *,
    seed: int = 0,
) -> GPT2LMHeadModel:
    """Train a GPT, or resume from the newest checkpoint in `output`; the best model is written to `output/model`.

    Args:
        train: the training sequences, in a column `input_ids` (L,).
        validation: held-out sequences, for early stopping.
        tokenizer: the tokenizer of the sequences.
        output: folder of the checkpoints, the history and the model.
        config: how the GPT is trained.
        seed: seed of the initial weights and of the order of the data.

    Raises:
        InputError: there are too few sequences to train or to validate on.
    """
    check_counts(config, len(train), len(validation))

    def new_trainer(watch: DivergenceWatch) -> Trainer:
        return _new_trainer(new_model(tokenizer, config, seed), train, validation, output, config, seed, watch)

    first = column_tensor(train.select(range(config.batch_size)), "input_ids").long()
    untrained_loss = code_loss(new_model(tokenizer, config, seed).eval(), first)
    trainer = train_with_retries(new_trainer, output, math.log(tokenizer.vocabulary.vocab_size), untrained_loss)
    model: Any = trainer.model
    if trainer.is_world_process_zero():
        with atomic_write(output / "model") as draft:
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
        history = {"config": asdict(config), "seed": seed, "log": trainer.state.log_history}
        write_json(output / "history.json", history)
    return model


def check_counts(config: PretrainConfig, num_train: int, num_validation: int) -> None:
    """Refuse a training with too few sequences.

    Args:
        config: how the GPT is trained.
        num_train: training sequences.
        num_validation: held-out sequences.

    Raises:
        InputError: there is not one batch to train on, or nothing to validate on.
    """
    if num_train < config.batch_size or not num_validation:
        raise InputError(
            f"{num_train} training and {num_validation} validation sequences cannot train a GPT; give at least"
            f" {config.batch_size} (batch_size) to learn from and one held out."
        )


def _new_trainer(
    model: GPT2LMHeadModel,
    train: Dataset,
    validation: Dataset,
    output: Path,
    config: PretrainConfig,
    seed: int,
    watch: DivergenceWatch,
) -> Trainer:
    """A `Trainer` with early stopping, recorded checkpoints, our progress bar, and evaluations at equal intervals."""
    steps = max(1, math.ceil(len(train) / config.batch_size * config.epochs / config.num_evaluations))
    trainer = Trainer(
        model=model,
        args=_training_arguments(output, config, steps, seed),
        # We read the ids only, because reading the weights of every row takes longer than a step of the GPT.
        train_dataset=train.select_columns("input_ids"),
        eval_dataset=validation.select_columns("input_ids"),
        data_collator=WeightDataCollator(),
        callbacks=[PatientStop(PATIENCE), CheckpointRecorder(), watch],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress)
    return trainer


def _training_arguments(output: Path, config: PretrainConfig, steps: int, seed: int) -> TrainingArguments:
    """The arguments of the `Trainer`, with an evaluation and a checkpoint every `steps` steps."""
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=4 * config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=WARMUP_FRACTION,
        adam_beta2=0.95,
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=1.0,
        bf16=config.mixed_precision,
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,
        logging_nan_inf_filter=False,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=max(1, steps // 4),
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        seed=seed,
        data_seed=seed,
        report_to=config.report_to,
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=False,
    )


@dataclass(frozen=True, kw_only=True)
class PretrainJob:
    """Pre-train a GPT-2 on a corpus of tokens; run the same command again to resume."""

    dataset: Path
    """Folder of a `datasets.Dataset` with the columns `input_ids` and `split`."""
    tokenizer: Path
    """Folder of a model or a tokenizer."""
    output: Path
    """Folder of the checkpoints and the model."""
    seed: int = 0
    """Seed of the initial weights and of the order of the data."""
    config: Annotated[PretrainConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=PretrainConfig)
    """How the GPT is trained."""

    def __post_init__(self) -> None:
        check_seed(self)


@cli_main
def main() -> None:
    """Read the command line and train."""
    job = parse(PretrainJob, "training.pretrain")
    corpus, tokenizer = load_corpus(job.dataset), WeightTokenizer.from_pretrained(job.tokenizer)
    check_sequences(corpus, tokenizer.vocabulary, job.dataset)
    train, validation = (split_rows(corpus, split) for split in ("train", "validation"))
    # Under torchrun the first process holds the lock for all.
    with output_folder(job.output) if os.environ.get("RANK", "0") == "0" else nullcontext():
        pretrain(train, validation, tokenizer, job.output, job.config, seed=job.seed)


if __name__ == "__main__":
    sys.exit(main())
