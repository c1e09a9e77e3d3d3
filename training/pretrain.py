"""Pre-train a GPT-2 on a corpus of token ids: `python -m training.pretrain --corpus DIR --tokenizer DIR --output DIR`.

Decisions: an ordinary `GPT2LMHeadModel` and an ordinary `Trainer`, so everything a Hugging Face user knows applies,
`torchrun` included. What the defaults get wrong for short sequences of codes is set here and nowhere else: no dropout
unless asked, our token ids, exactly as many positions as a sequence has, the grammar in `generation_config.json`,
embeddings that begin as the codebook's vectors.
"""

import argparse
import dataclasses
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_from_disk
from transformers import (
    EarlyStoppingCallback,
    GPT2Config,
    GPT2LMHeadModel,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from training.data.corpus import part
from training.embeddings import start_from_codes
from weightgpt.errors import InputError
from weightgpt.io import write_json
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


def has_bf16() -> bool:
    """Whether this machine's GPU, or else its processor, has instructions for bfloat16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How a GPT is trained."""

    model_size: str = "small"
    """Size of the model: nano, tiny, small, medium or large (layers, heads, width in `MODEL_SIZES`)."""
    epochs: float = 8
    """Passes over the training sequences at most; early stopping may end sooner."""
    batch_size: int = 32
    """Sequences of a step, on each process."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW, after 3 % warm-up."""
    lr_scheduler_type: str = "cosine"
    """How the rate falls to zero: a `lr_scheduler_type` of the `Trainer`, such as "cosine" or "linear"."""
    weight_decay: float = 0.1
    """Of all matrices."""
    embedding_init_scale: float = 2.0
    """Of the embeddings of codes at the start, over that of other parameters; they begin as the vectors that the codes
    stand for, which must stand out of the positions added to them. 0: at random, as the rest."""
    dropout: float = 0.0
    """Of embeddings, attention and residual branches; helps small corpora, costs speed."""
    early_stopping_patience: int = 5
    """Evaluations without a better validation loss before training stops."""
    num_evaluations: int = 12
    """Evaluations (and checkpoints) spread over the run."""
    bf16: bool = dataclasses.field(default_factory=has_bf16)
    """Mixed precision, by default where the device computes in bfloat16 itself: about 1.5 times faster there."""
    report_to: str = "none"
    """Where the `Trainer` reports to besides the console, such as "tensorboard" (`report_to`)."""
    seed: int = 0
    """Of the initial weights and of the order of the data."""

    def __post_init__(self) -> None:
        if self.model_size not in MODEL_SIZES:
            raise InputError(f"preset is {self.model_size!r}; choose one of {', '.join(MODEL_SIZES)}.")


class Progress(ProgressCallback):
    """The Trainer's progress bar, with the losses beside the bar instead of on lines of their own."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the newest training and validation loss."""
        if state.is_world_process_zero and self.training_bar is not None:
            shown = {name: f"{float(logs[name]):.3f}" for name in ("loss", "eval_loss") if name in (logs or {})}
            self.training_bar.set_postfix({**getattr(self, "shown", {}), **shown})
            self.shown = {**getattr(self, "shown", {}), **shown}


def new_model(tokenizer: WeightTokenizer, config: PretrainConfig) -> GPT2LMHeadModel:
    """An untrained model for the sequences of `tokenizer`, with the grammar in its generation configuration."""
    layers, heads, width = MODEL_SIZES[config.model_size]
    set_seed(config.seed)
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
    start_from_codes(model, tokenizer, config.embedding_init_scale, config.seed)
    model.loss_type = "ForCausalLM"
    model.generation_config = generation_config(tokenizer.vocabulary)
    return model


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Sequences of one length, as `input_ids` and `labels` (B, L); BOS and the class are given, so no loss on them."""
    ids = torch.tensor([row["ids"] for row in rows], dtype=torch.long)
    labels = ids.clone()
    labels[:, :2] = -100
    return {"input_ids": ids, "labels": labels}


def code_loss(model: GPT2LMHeadModel, ids: torch.Tensor, batch: int = 64) -> float:
    """Mean cross-entropy in nats of the T code tokens of sequences (B, L), their class given; EOS is not counted."""
    total, count = 0.0, 0
    with torch.no_grad():
        for part in ids.split(batch):
            logits = model(part.to(model.device)).logits[:, 1:-2].float().cpu()
            targets = part[:, 2:-1]
            total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"))
            count += targets.numel()
    return total / max(count, 1)


def pretrain(
    train: Dataset,
    validation: Dataset,
    tokenizer: WeightTokenizer,
    output: Path,
    config: PretrainConfig,
    callbacks: list[TrainerCallback] | None = None,
) -> GPT2LMHeadModel:
    """Train, or go on from the newest checkpoint in `output`; the best model lands in `output/model`.

    Args:
        train: a corpus with a column `ids` (L,).
        validation: held-out shapes, for early stopping.

    Raises:
        InputError: there are too few sequences to train or to validate on.
    """
    if len(train) < config.batch_size or not len(validation):
        raise InputError(
            f"{len(train)} training and {len(validation)} validation sequences cannot train a GPT; give at least"
            f" {config.batch_size} shapes to learn from and one held out."
        )
    model = new_model(tokenizer, config)
    steps = max(1, math.ceil(len(train) / config.batch_size * config.epochs / config.num_evaluations))
    trainer = Trainer(
        model=model,
        args=_arguments(output, config, steps),
        train_dataset=train.select_columns("ids"),  # reading the weights of every row would cost more than the model
        eval_dataset=validation.select_columns("ids"),
        data_collator=collate,
        callbacks=[EarlyStoppingCallback(config.early_stopping_patience), *(callbacks or [])],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(output)) if output.is_dir() else None)
    if trainer.is_world_process_zero():
        best = trainer.model
        best.save_pretrained(output / "model")
        tokenizer.save_pretrained(output / "model")
        write_json(output / "history.json", {"config": asdict(config), "log": trainer.state.log_history})
    return model


def _arguments(output: Path, config: PretrainConfig, steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=4 * config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=0.03,
        adam_beta2=0.95,
        weight_decay=config.weight_decay,
        max_grad_norm=1.0,
        bf16=config.bf16,
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=max(1, steps // 4),
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        seed=config.seed,
        data_seed=config.seed,
        report_to=config.report_to,
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=False,
    )


def main() -> None:
    """Parse arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="a datasets folder with columns ids and split")
    parser.add_argument("--tokenizer", type=Path, required=True, help="the folder of a WeightTokenizer")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model-size", choices=MODEL_SIZES, default=PretrainConfig.model_size)
    parser.add_argument("--epochs", type=float, default=PretrainConfig.epochs)
    parser.add_argument("--batch-size", type=int, default=PretrainConfig.batch_size)
    parser.add_argument("--learning-rate", type=float, default=PretrainConfig.learning_rate)
    parser.add_argument("--dropout", type=float, default=PretrainConfig.dropout)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=has_bf16())
    parser.add_argument("--seed", type=int, default=PretrainConfig.seed)
    given = vars(parser.parse_args())
    corpus_folder, tokenizer_folder, output = given.pop("corpus"), given.pop("tokenizer"), given.pop("output")
    corpus = load_from_disk(str(corpus_folder))
    pretrain(
        part(corpus, "train"),
        part(corpus, "validation"),
        WeightTokenizer.from_pretrained(tokenizer_folder),
        output,
        PretrainConfig(**given),
    )


if __name__ == "__main__":
    main()
