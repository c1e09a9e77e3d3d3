"""A GPT-2 as `config.json`, `model.safetensors` and `generation_config.json`, which plain transformers loads.

Decisions:

- We read the files ourselves. `config.json` gives known keys alone, so nothing in it can choose another class, another
  attention or a quantization, or run code. Plain transformers still loads the folder.
- The shapes in the header of `model.safetensors` are compared with `config.json` before the network is built.
- `model.safetensors` has checksums of itself and of the two other files. When transformers saves a model that was
  trained further, it writes all three without them. So weights without any checksum are read, as those of transformers.

Dimensions: V tokens of the vocabulary, E width of the GPT-2, n positions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.activations import ACT2FN

from weightgpt.errors import InputError
from weightgpt.io import (
    Dtypes,
    check_neighbors,
    neighbor_digests,
    read_json,
    read_shapes,
    read_tensors,
    reading,
    write_tensors,
    writing,
)
from weightgpt.tokens.generation import SamplingConfig, generation_config
from weightgpt.tokens.vocabulary import Vocabulary

CONFIG, WEIGHTS, GENERATION = "config.json", "model.safetensors", "generation_config.json"
MAX_SIZE = 2**20
"""The largest width or count in a configuration."""
MAX_LAYERS = 1024
MAX_MASK = 2**27
"""The most entries in the attention masks of all layers, which a GPT-2 allocates: layers · positions²."""
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
SHARES = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
SWITCHES = ("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "tie_word_embeddings")
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
FLOATS: Dtypes = (torch.float32, torch.float16, torch.bfloat16)
"""Weights may be in half precision on disk; they are single precision once they are loaded."""


def save_gpt(
    folder: Path, gpt: GPT2LMHeadModel, vocabulary: Vocabulary, sampling_defaults: Mapping[str, float]
) -> None:
    """Write the three files of a GPT-2.

    Args:
        folder: where to write; it exists.
        gpt: the GPT-2.
        vocabulary: its vocabulary.
        sampling_defaults: `temperature` and `top_p`.

    Raises:
        InputError: the folder cannot be written to.
    """
    with writing(folder):
        gpt.save_pretrained(folder)
        generation_config(vocabulary, **sampling_defaults).save_pretrained(folder)
    with reading(folder / WEIGHTS):
        tensors = load_file(folder / WEIGHTS)
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt", **neighbor_digests(folder, (CONFIG, GENERATION))})


def load_gpt(folder: Path, vocabulary: Vocabulary) -> GPT2LMHeadModel:
    """Read a GPT-2, in evaluation mode and in single precision.

    Args:
        folder: a folder that `save_gpt` or transformers wrote.
        vocabulary: the vocabulary of the tokenizer in the folder.

    Raises:
        InputError: a file is missing or broken, of another kind of model, or does not belong to the others.
    """
    config, path = _read_config(folder / CONFIG), folder / WEIGHTS
    expected = _expected_tensors(config)
    if "lm_head.weight" not in read_shapes(path):  # transformers leaves it out where it is the embedding
        del expected["lm_head.weight"]
    tensors = {name: value.float() for name, value in read_tensors(path, expected, needs_checksum=False).items()}
    with torch.random.fork_rng(devices=[]):  # the random weights of a new network are replaced at once
        gpt = GPT2LMHeadModel(config)
    missing = set(gpt.state_dict()) - set(tensors)
    gpt.load_state_dict(tensors, strict=False)
    if missing - {"lm_head.weight"} or (missing and not config.tie_word_embeddings):
        raise InputError(f"{path} lacks weights; write or download it again.")
    cast(Any, gpt).tie_weights()
    gpt.generation_config = generation_config(vocabulary, **_read_sampling_defaults(folder / GENERATION))
    gpt.eval()
    return gpt


def check_gpt_files(folder: Path) -> None:
    """Refuse a `config.json` or `generation_config.json` that was changed after the weights beside it were written.

    Args:
        folder: the folder of the GPT-2.

    Raises:
        InputError: the files do not belong together.
    """
    check_neighbors(folder / WEIGHTS, (CONFIG, GENERATION))


def _read_config(path: Path) -> GPT2Config:
    """The configuration in a file, from the keys that decide what a GPT-2 computes."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("model_type") != "gpt2":
        raise InputError(f"{path} is not of a GPT-2; give the folder of a model.")
    known = {name: values[name] for name in (*SIZES, *SHARES, *SWITCHES, *TOKENS) if name in values}
    for name in ("n_inner", "activation_function", "layer_norm_epsilon", "initializer_range", "codebook_fingerprint"):
        if name in values:
            known[name] = values[name]
    fault = _fault(known)
    if fault is None and values.get("add_cross_attention", False) is not False:
        fault = "add_cross_attention"
    if fault is not None:
        raise InputError(
            f"{fault} of {path} is {values.get(fault)!r:.50}, which no GPT-2 of this library has; write or download it"
            " again."
        )
    with reading(path):
        config: GPT2Config = cast(Any, GPT2Config)(**known, attn_implementation="sdpa")
        return config


def _fault(values: dict[str, Any]) -> str | None:
    """The first key whose value a GPT-2 cannot have."""
    inner, fingerprint = values.get("n_inner"), values.get("codebook_fingerprint")
    checks = {name: _is_size(values.get(name)) for name in SIZES}
    checks |= {name: type(values[name]) is bool for name in SWITCHES if name in values}
    checks |= {name: _is_number(values[name], 0, 1) for name in SHARES if name in values}
    checks |= {name: values[name] is None or type(values[name]) is int for name in TOKENS if name in values}
    checks["n_inner"] = inner is None or _is_size(inner)
    checks["activation_function"] = values.get("activation_function", "gelu_new") in list(ACT2FN)
    checks["layer_norm_epsilon"] = _is_number(values.get("layer_norm_epsilon", 1e-5), 0, 1)
    checks["initializer_range"] = _is_number(values.get("initializer_range", 0.02), 0, 100)
    checks["codebook_fingerprint"] = fingerprint is None or isinstance(fingerprint, str)
    if all(checks.values()):
        checks["n_layer"] = values["n_layer"] <= MAX_LAYERS
        checks["n_head"] = values["n_embd"] % values["n_head"] == 0
        checks["n_positions"] = values["n_layer"] * values["n_positions"] ** 2 <= MAX_MASK
    return next((name for name, good in checks.items() if not good), None)


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_SIZE


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _expected_tensors(config: GPT2Config) -> dict[str, tuple[Dtypes, tuple[int | str, ...]]]:
    """Names and shapes of the weights."""
    width = config.n_embd
    inner = config.n_inner or 4 * width
    shapes: dict[str, tuple[int | str, ...]] = {
        "lm_head.weight": (config.vocab_size, width),
        "transformer.wte.weight": (config.vocab_size, width),
        "transformer.wpe.weight": (config.n_positions, width),
        "transformer.ln_f.weight": (width,),
        "transformer.ln_f.bias": (width,),
    }
    layers = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
    layers |= {"mlp.c_fc": (width, inner), "mlp.c_proj": (inner, width)}
    for layer in range(config.n_layer):
        start = f"transformer.h.{layer}"
        for name, (inputs, outputs) in layers.items():
            shapes |= {f"{start}.{name}.weight": (inputs, outputs), f"{start}.{name}.bias": (outputs,)}
        shapes |= {f"{start}.{name}.{part}": (width,) for name in ("ln_1", "ln_2") for part in ("weight", "bias")}
    return {name: (FLOATS, shape) for name, shape in shapes.items()}


def _read_sampling_defaults(path: Path) -> dict[str, float]:
    """`temperature` and `top_p` of a file; 1 where there is none, or no file."""
    if not path.exists():
        return {}
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object; write or download it again.")
    found = {name: values[name] for name in ("temperature", "top_p") if values.get(name) is not None}
    for name, value in found.items():
        if type(value) not in (int, float):
            raise InputError(f"{name} of {path} is {value!r:.50}, not a number; write or download it again.")
    try:
        SamplingConfig(**found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return {name: float(value) for name, value in found.items()}
