"""What a run cost and what its samples cost, in floating-point operations.

Decisions: the GPT is counted as the rivals are, by torch's counter, one training step times the steps that were done.
The codebook's learning, the encoding of all shapes and decoding are matrix products of known sizes, counted from the
settings: twice the multiplications, three times the forward pass for a step of learning or refining. Elementwise work
is not counted for any.
"""

from pathlib import Path
from typing import Any

import torch
from datasets import load_from_disk
from transformers import GPT2LMHeadModel

from training.baselines.common import count_flops, size_of
from training.presets import PipelineConfig
from training.run import read_config
from weightgpt.io import read_json
from weightgpt.model import WeightGPT
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder


def of_run(run: Path, bundle: WeightGPT) -> dict[str, Any]:
    """`parameters`, `train_flops`, `sample_flops`, `bytes`, `seconds` of a run with the default tokenizer.

    The encoder counts in training only; sampling needs the GPT, the codebook's tables, its mixer and its bases.

    Raises:
        InputError: the run's tokenizer is another one.
    """
    config, (book, _) = read_config(run), parts(bundle)
    gpt, length = bundle.gpt, bundle.tokenizer.vocabulary.length
    steps = max(entry["step"] for entry in read_json(run / "gpt" / "history.json")["log"])
    own = [book.base, book.basis, book.code_vectors, *book.latent_decoder.parameters()]
    parameters, size = size_of(gpt)
    seconds = read_json(run / "seconds.json")["seconds"]
    return {
        "parameters": parameters + sum(part.numel() for part in own),
        "bytes": size + sum(part.numel() * part.element_size() for part in own),
        "steps": steps,
        "train_flops": fields_flops(run, bundle) + steps * step_flops(gpt, config.gpt.batch_size, length),
        "sample_flops": count_flops(lambda: bundle.generate(1)) + decode_flops(book),
        "seconds": sum(seconds[name] for name in ("fits", "codebook", "corpus", "gpt")),
    }


def fields_flops(run: Path, bundle: WeightGPT) -> float:
    """Learning the quantizer of a run and writing the codes that its fields decode from, those of further shapes too.

    Raises:
        InputError: the run's tokenizer is not the default one.
    """
    config, (book, encoder) = read_config(run), parts(bundle)
    codes, fits, quantizer = config.tokenizer.codebook, config.tokenizer.fit, bundle.tokenizer.quantizer
    started = (
        6.0 * quantizer.field_config.parameters * fits.points_per_step * fits.steps * config.tokenizer.num_init_fits
    )
    one = (
        3 * (encoder_flops(encoder) + decode_flops(book))
        + 6.0 * quantizer.field_config.parameters * codes.points_per_step
    )
    one += 2.0 * quantizer.tokens_per_field * quantizer.codebook_size * book.latent_width
    written = len(load_from_disk(str(run / "corpus"))) + config.num_extra_shapes
    return started + codes.steps * codes.batch_size * one + written * writing_flops(config, bundle)


def writing_flops(config: PipelineConfig, bundle: WeightGPT) -> float:
    """The codes of one sampled shape, under the settings of a run: through the encoder, and refined if they ask so."""
    book, encoder = parts(bundle)
    step = 3 * decode_flops(book) + 6.0 * book.layout.field_config.parameters * config.tokenizer.encode.points_per_step
    return encoder_flops(encoder) + config.tokenizer.encode.steps * step


def parts(bundle: WeightGPT) -> tuple[Codebook, ShapeEncoder]:
    """Codebook and encoder of the default tokenizer.

    Raises:
        InputError: it is another one.
    """
    quantizer = RVQAutoencoder.cast(bundle.tokenizer.quantizer)
    return quantizer.codebook, quantizer.encoder


def step_flops(model: GPT2LMHeadModel, batch: int, length: int) -> float:
    """One step of training, forward and backward, on `batch` sequences."""
    ids = torch.zeros(batch, length, dtype=torch.long)
    found = count_flops(lambda: model(input_ids=ids, labels=ids).loss.backward())
    model.zero_grad()
    return found


def encoder_flops(encoder: ShapeEncoder) -> float:
    """One shape through the encoder."""
    return 2.0 * sum(part.numel() for part in encoder.parameters() if part.ndim == 2)


def decode_flops(book: Codebook) -> float:
    """One field from its latents: mixer and bases."""
    latent_decoder = sum(part.numel() for part in book.latent_decoder.parameters() if part.ndim == 2)
    return 2.0 * (latent_decoder + book.basis.numel())
