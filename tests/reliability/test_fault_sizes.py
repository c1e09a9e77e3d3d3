"""Fault 79: the configuration of a small model declares sizes far beyond what its files hold."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fakes import tiny_codebook, tiny_gpt, tiny_graph, tiny_tokenizer, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.model import WeightGPT
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import Quantizer

QUANTIZERS: dict[str, Callable[[], Quantizer]] = {
    "rvq": lambda: tiny_tokenizer().quantizer,
    "graph": lambda: tiny_graph(tiny_codebook()),
    "weight-vq": tiny_weight_vq,
}
FIELD = [
    {"hidden": [10**9]},
    {"hidden": [10**8, 10**8]},
    {"hidden": [60_000] * 60},
    {"hidden": [8] * 10**5},
    {"num_frequencies": 10**9},
    {"out_features": 10**9},
    {"in_features": 10**12},
]
"""Changes of the architecture of the fields."""
SIZES = {
    "codebook": ("latent_decoder_width", "num_coefficients", "latent_width", "neurons_per_chunk"),
    "weight-vq": ("num_groups", "vector_width"),
}
BOTH = ("num_quantizers", "codebook_size")
FIT = [{"steps": 0}, {"steps": "9"}, {"learning_rate": "x"}, {"batch_size": -1}, {"points_per_step": 10**30}]
"""Changes of how weight VQ fits fields."""
GPT = ("n_layer", "n_embd", "n_positions", "vocab_size", "n_head", "n_inner")
MEGABYTES = 300


def codebook_changes(name: str) -> list[dict[str, Any]]:
    """Changes of the configuration of a quantizer, as nested dictionaries."""
    numbers = (*SIZES["weight-vq" if name == "weight-vq" else "codebook"], *BOTH)
    values = (10**6, 10**9, 10**12, 0, -1, True, 1.0)
    changes = [{number: value} for number in numbers for value in values]
    changes += [{"field_config": values} for values in FIELD]
    return changes + ([{"fit_config": values} for values in FIT] if name == "weight-vq" else [])


def refused(path: Path, change: dict[str, Any], read: Callable[[], object]) -> None:
    """A changed configuration is refused in a sentence, at once, and without much memory."""
    text = path.read_text()
    content = json.loads(text)
    for name, value in change.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(content))
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as refusal:
        read()
    path.write_text(text)
    assert time.process_time() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEGABYTES * 1024
    assert len(str(refusal.value)) < 1000
    assert "allocate" not in str(refusal.value)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_fault_79_sizes_of_a_quantizer_beyond_its_files_are_refused_at_once(tmp_path: Path, name: str):
    QUANTIZERS[name]().save_pretrained(tmp_path)
    for change in codebook_changes(name):
        refused(tmp_path / "config.json", change, lambda: AutoQuantizer.from_pretrained(tmp_path))
    assert torch.isfinite(AutoQuantizer.from_pretrained(tmp_path).shared_init).all()


def test_fault_79_sizes_of_a_gpt_beyond_its_files_are_refused_at_once(tmp_path: Path):
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(tmp_path)
    for name in GPT:
        for value in (10**5, 10**7, 10**9, 2**20, 0, -1, 1.5):
            refused(tmp_path / "config.json", {name: value}, lambda: WeightGPT.from_pretrained(tmp_path))
    assert len(WeightGPT.from_pretrained(tmp_path).generate(1)) == 1
