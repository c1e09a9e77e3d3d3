"""The cost of a run and of its samples, in floating-point operations.

Decisions:
- The GPT is counted like the baselines, by torch's counter: one training step times the number of steps.
- Learning the codebook, encoding all shapes and decoding are matrix products of known sizes. We count them from the
  configuration: twice the multiplications, and three times the forward pass for a step of training or refinement.
- Elementwise work is not counted for any model.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel

from training.baselines.budget import count_flops
from training.baselines.trained_baseline import model_size
from training.data.corpus import load_corpus
from training.presets import PipelineConfig
from training.run import read_config
from weightgpt.io import read_json
from weightgpt.model import WeightGPT
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.grid_encoder import GridEncoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder


def run_cost(run: Path, model: WeightGPT) -> dict[str, Any]:
    """The cost of a run whose tokenizer is an RVQ autoencoder.

    Sampling needs the GPT and the codebook; the shape encoder counts in training only.

    Args:
        run: folder of a finished run of training.pipeline.
        model: the model of the run.

    Returns:
        `parameters`, `bytes`, `steps` of the GPT, `train_flops`, `sample_flops` of one shape, `seconds` of training.

    Raises:
        InputError: the run has another tokenizer.
    """
    config, (codebook, _) = read_config(run), autoencoder_parts(model)
    steps = max(entry["step"] for entry in read_json(run / "gpt" / "history.json")["log"])
    gpt_flops = steps * step_flops(model.gpt, config.gpt.batch_size, model.tokenizer.vocabulary.length)
    size = model_size(model.gpt, parameters=[codebook.code_vectors, *codebook.decoder.tensors().values()])
    seconds = read_json(run / "seconds.json")["seconds"]
    return {
        "parameters": size.parameters,
        "bytes": size.bytes,
        "steps": steps,
        "train_flops": tokenizer_flops(run, model) + gpt_flops,
        "sample_flops": count_flops(lambda: model.generate(1)) + decode_flops(codebook),
        "seconds": sum(seconds[stage] for stage in ("fits", "codebook", "corpus", "gpt")),
    }


def tokenizer_flops(run: Path, model: WeightGPT) -> float:
    """Operations to learn the tokenizer of a run and to encode its corpus and its extra shapes.

    Args:
        run: folder of a finished run of training.pipeline.
        model: the model of the run.

    Raises:
        InputError: the tokenizer is not an RVQ autoencoder.
    """
    config, (codebook, encoder), quantizer = read_config(run), autoencoder_parts(model), model.tokenizer.quantizer
    fits, learning = config.tokenizer.fit, getattr(config.tokenizer, config.codebook_settings)
    point_flops = 6.0 * quantizer.field_config.parameters
    fit_flops = point_flops * fits.points_per_step * fits.steps * config.tokenizer.num_init_fits
    shape_flops = 3 * (encoder_flops(encoder) + decode_flops(codebook)) + point_flops * learning.points_per_step
    shape_flops += 2.0 * quantizer.tokens_per_field * quantizer.codebook_size * codebook.latent_width
    num_encoded = len(load_corpus(run / "corpus")) + config.num_extra_shapes
    learning_flops = learning.steps * learning.batch_size * shape_flops
    return fit_flops + learning_flops + num_encoded * encode_flops(config, model)


def encode_flops(config: PipelineConfig, model: WeightGPT) -> float:
    """Operations to encode one sampled shape: one pass of the encoder, and the refinement of its latents.

    Args:
        config: configuration of the run.
        model: the model of the run.

    Raises:
        InputError: the tokenizer is not an RVQ autoencoder.
    """
    (codebook, encoder), encode = autoencoder_parts(model), config.tokenizer.encode
    refinement_flops = 3 * decode_flops(codebook) + 6.0 * codebook.field_config.parameters * encode.points_per_step
    return encoder_flops(encoder) + encode.steps * refinement_flops


def autoencoder_parts(model: WeightGPT) -> tuple[Codebook, ShapeEncoder | GridEncoder]:
    """The codebook and the shape encoder of an RVQ autoencoder.

    Args:
        model: the model of a run.

    Raises:
        InputError: the tokenizer of the model is not an RVQ autoencoder.
    """
    quantizer = RVQAutoencoder.cast(model.tokenizer.quantizer)
    return quantizer.codebook, quantizer.encoder


def step_flops(model: GPT2LMHeadModel, batch_size: int, length: int) -> float:
    """Operations of one training step of a GPT, forward and backward.

    Every result that reports `train_flops` of a GPT multiplies this number by the number of steps.

    Args:
        model: the GPT.
        batch_size: sequences of a step.
        length: tokens of a sequence.
    """
    ids = torch.zeros(batch_size, length, dtype=torch.long)
    flops = count_flops(lambda: model(input_ids=ids, labels=ids).loss.backward())
    model.zero_grad()
    return flops


def encoder_flops(encoder: ShapeEncoder | GridEncoder) -> float:
    """Operations of one shape through the shape encoder.

    Args:
        encoder: the shape encoder.
    """
    return count_flops(lambda: encoder(torch.zeros(1, len(encoder.probes))))


def decode_flops(codebook: Codebook) -> float:
    """Operations to decode one field from its latents.

    Args:
        codebook: the codebook of the field.
    """
    latents = torch.zeros(1, codebook.num_chunks, codebook.latent_width)
    return count_flops(lambda: codebook.weights(latents))
