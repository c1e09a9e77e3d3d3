"""Golden bytes of every file format: today's code must write the committed bytes, and must read them back equal.

After an intended change of a format, `GOLDEN=write python -m pytest tests/test_formats.py` writes the golden files.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.basis_decoder import BasisDecoder
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.quantizers.grid_decoder import GridDecoder
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.quantizers.weight_codebook import WeightCodebook
from weightgpt.quantizers.weight_vq import WeightVQ
from weightgpt.tokens.storage import Tokens, load_tokens, save_tokens

GOLDEN = Path(__file__).with_name("golden")
CONFIG = FieldConfig(hidden=(2, 2), num_frequencies=0)


def ramp(*shape: int) -> Tensor:
    """Numbers that single precision holds exactly: -1, -1 + 1/64, … in rows."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) % 128) / 64 - 1).reshape(shape)


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """The module with every weight from `ramp`."""
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(ramp(*value.shape))
    return module


def codebook() -> Codebook:
    layout = ChunkLayout(CONFIG, 2)
    latent_decoder = filled(LatentDecoder(layout.num_chunks, 2, 3, 2))
    chunks, width = layout.num_chunks, layout.width
    decoder = BasisDecoder(layout, ramp(chunks, width), ramp(chunks, 2, width), latent_decoder)
    return Codebook(decoder, ramp(2, 4, 2))


def local_codebook() -> Codebook:
    return Codebook(filled(GridDecoder(replace(CONFIG, grids=(1, 2)), 2, 32, 1)), ramp(2, 4, 2))


def encoder() -> ShapeEncoder:
    layout = ChunkLayout(CONFIG, 2)
    return filled(ShapeEncoder(ramp(4, 3), 4, layout.num_chunks, 2)).eval()


def rvq_autoencoder() -> RVQAutoencoder:
    return RVQAutoencoder(codebook(), encoder())


def graph() -> GraphQuantizer:
    layout = ChunkLayout(CONFIG, 2)
    return GraphQuantizer(codebook(), filled(GraphEncoder(CONFIG, layout.num_chunks, 2, ramp(2, 3), 2, 1, encoder())))


def weight_vq() -> WeightVQ:
    parameters = CONFIG.parameters
    weight_codebook = WeightCodebook(CONFIG, ramp(parameters), ramp(parameters) + 2, ramp(1, 2, 4, 3))
    return WeightVQ(weight_codebook, ramp(parameters), ramp(8, 3), FitConfig(steps=5))


def metadata() -> ShapeMetadata:
    return ShapeMetadata(("a", "b"), ("chair", "none"), ramp(2, 3).double(), torch.tensor([0.5, 2.0]).double())


def write_fields(folder: Path) -> None:
    save_fields(folder / "fields.safetensors", Fields(CONFIG, ramp(2, CONFIG.parameters)), metadata())


def write_tokens(folder: Path) -> None:
    save_tokens(folder / "tokens.json", Tokens(torch.arange(10).reshape(2, 5), "0123456789abcdef", metadata()))


WRITERS: dict[str, Callable[[Path], None]] = {
    "fields": write_fields,
    "tokens": write_tokens,
    "codebook": lambda folder: codebook().save_pretrained(folder),
    "local-codebook": lambda folder: local_codebook().save_pretrained(folder),
    "rvq-ae": lambda folder: rvq_autoencoder().save_pretrained(folder),
    "weight-vq": lambda folder: weight_vq().save_pretrained(folder),
    "graph": lambda folder: graph().save_pretrained(folder),
}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_keeps_its_bytes(name: str, tmp_path: Path):
    golden = GOLDEN / name
    target = golden if os.environ.get("GOLDEN") == "write" else tmp_path
    WRITERS[name](target)
    written = {path.name: path.read_bytes() for path in target.iterdir()}
    assert written == {path.name: path.read_bytes() for path in golden.iterdir()}
    assert written


def test_golden_fields_read_back():
    fields, read = load_fields(GOLDEN / "fields" / "fields.safetensors")
    assert fields.config == CONFIG
    assert torch.equal(fields.flat, ramp(2, CONFIG.parameters))
    assert (read.names, read.labels) == (("a", "b"), ("chair", "none"))
    assert torch.equal(read.center, ramp(2, 3).double())
    assert read.scale.tolist() == [0.5, 2.0]


def test_golden_tokens_read_back():
    tokens = load_tokens(GOLDEN / "tokens" / "tokens.json")
    assert tokens.ids.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert tokens.fingerprint == "0123456789abcdef"


def some_codes(chunks: int, levels: int, codebook_size: int) -> Tensor:
    return torch.arange(chunks * levels).reshape(1, chunks, levels) % codebook_size


@pytest.mark.parametrize(("name", "make"), [("rvq-ae", rvq_autoencoder), ("weight-vq", weight_vq), ("graph", graph)])
def test_golden_quantizers_decode_as_those_that_were_saved(name: str, make: Callable[[], Quantizer]):
    golden, expected = AutoQuantizer.from_pretrained(GOLDEN / name), make()
    assert golden.fingerprint == expected.fingerprint
    codes = some_codes(expected.num_chunks, expected.num_quantizers, expected.codebook_size)
    assert torch.equal(golden.decode(codes).flat, expected.decode(codes).flat)


@pytest.mark.parametrize(("name", "make"), [("codebook", codebook), ("local-codebook", local_codebook)])
def test_golden_codebooks_decode_as_those_that_were_saved(name: str, make: Callable[[], Codebook]):
    golden, expected = Codebook.from_pretrained(GOLDEN / name), make()
    assert golden.fingerprint == expected.fingerprint
    codes = some_codes(expected.num_chunks, expected.num_quantizers, expected.codebook_size)
    assert torch.equal(golden.decode(codes).flat, expected.decode(codes).flat)
