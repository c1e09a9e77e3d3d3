"""`AutoQuantizer` reads a quantizer of any class from a folder, a subfolder or the Hub, and refuses other files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fakehub import FakeHub
from tests.fakes import generator, sphere_shape, tiny_codebook, tiny_encoder, tiny_graph, tiny_weight_vq
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.quantizers.auto import QUANTIZERS, AutoQuantizer
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.basis_decoder import BasisDecoder
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.sampling import sample_sdf

ROOT = Path(__file__).parents[2]
ALL = {
    "rvq-ae": lambda: RVQAutoencoder(tiny_codebook(), tiny_encoder(tiny_codebook())),
    "graph": lambda: tiny_graph(tiny_codebook()),
    "weight-vq": tiny_weight_vq,
}


def some_codes(quantizer: Quantizer) -> torch.Tensor:
    count = 2 * quantizer.tokens_per_field
    codes = torch.arange(count) % quantizer.codebook_size
    return codes.reshape(2, quantizer.num_chunks, quantizer.num_quantizers)


@pytest.mark.parametrize("name", ALL)
def test_a_saved_quantizer_is_read_as_its_own_class(tmp_path, name):
    quantizer = ALL[name]()
    quantizer.save_pretrained(tmp_path / "model" / "codebook")
    for again in (
        AutoQuantizer.from_pretrained(tmp_path / "model" / "codebook"),
        AutoQuantizer.from_pretrained(tmp_path / "model", subfolder="codebook"),
        type(quantizer).from_pretrained(tmp_path / "model", subfolder="codebook"),
    ):
        assert type(again) is type(quantizer)
        assert again.fingerprint == quantizer.fingerprint
        assert torch.equal(again.decode(some_codes(quantizer)).flat, quantizer.decode(some_codes(quantizer)).flat)


@pytest.mark.parametrize("name", ALL)
def test_a_class_refuses_the_files_of_another_class(tmp_path, name):
    ALL[name]().save_pretrained(tmp_path)
    for kind in QUANTIZERS.values():
        if kind is not type(ALL[name]()):
            with pytest.raises(InputError, match=f"is not of format {kind.FORMAT}, version 1"):
                kind.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"format": ["weightgpt.graph"]}', '{"format": "other"}'])
def test_a_configuration_of_no_known_format_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    formats = re.escape("weightgpt.rvq-ae, weightgpt.local, weightgpt.graph, weightgpt.weight-vq")
    with pytest.raises(InputError, match=f"must be one of {formats}"):
        AutoQuantizer.from_pretrained(tmp_path)


def test_a_codebook_without_an_encoder_is_not_a_quantizer(tmp_path):
    tiny_codebook().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is not of a quantizer"):
        AutoQuantizer.from_pretrained(tmp_path)


def test_a_missing_subfolder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"codebook/config\.json does not exist"):
        AutoQuantizer.from_pretrained(tmp_path, subfolder="codebook")


def wide_autoencoder() -> RVQAutoencoder:
    """A random quantizer of 13 chunks whose products are so large that torch splits them among threads."""
    layout = ChunkLayout(FieldConfig(hidden=(64, 64, 64)), 16)
    chunks, width = layout.num_chunks, layout.width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = LatentDecoder(chunks, 24, 1024, 32)
        tensors = [torch.randn(shape) for shape in ((chunks, width), (chunks, 32, width), (2, 8, 24))]
    codebook = Codebook(BasisDecoder(layout, tensors[0], tensors[1], decoder), tensors[2])
    return RVQAutoencoder(codebook, tiny_encoder(codebook))


@pytest.mark.parametrize("name", [*ALL, "wide rvq-ae"])
def test_fault_54_a_decoded_field_has_equal_bits_alone_in_any_batch_and_order_and_with_any_number_of_threads(name):
    quantizer = wide_autoencoder() if name == "wide rvq-ae" else ALL[name]()
    sizes = (70, quantizer.num_chunks, quantizer.num_quantizers)
    codes = torch.randint(quantizer.codebook_size, sizes, generator=generator(0))
    expected, threads = quantizer.decode(codes).flat, torch.get_num_threads()
    assert len(expected.unique(dim=0)) == 70
    for size in (1, 4, 33):
        assert torch.equal(torch.cat([quantizer.decode(part).flat for part in codes.split(size)]), expected)
    assert torch.equal(quantizer.decode(codes.flip(0)).flat.flip(0), expected)
    assert quantizer.decode(codes[:0]).flat.shape == expected[:0].shape
    torch.set_num_threads(2)
    try:
        assert torch.equal(quantizer.decode(codes).flat, expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ALL)
def test_capabilities_that_are_not_announced_are_refused(name):
    """`has_latents` says whether latents work, and `probes` whether one pass reads shapes."""
    quantizer = ALL[name]()
    codes = some_codes(quantizer)
    if quantizer.has_latents:
        latents = quantizer.latents(codes)
        assert quantizer.quantize(latents).shape == codes.shape
        assert torch.equal(quantizer.decode_latents(latents).flat, quantizer.decode(codes).flat)
    else:
        for call in (quantizer.latents, quantizer.quantize, quantizer.decode_latents):
            with pytest.raises(InputError, match="WeightVQ has no latents"):
                call(codes)
    assert (quantizer.probes is not None) == (name == "rvq-ae")
    if quantizer.probes is not None:
        assert quantizer.encode_samples(sample_sdf([sphere_shape(0.5)], quantizer.probes)).shape == codes[:1].shape


SESSION = """
import json, sys
from weightgpt.errors import InputError
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.codebook import Codebook

quantizer = AutoQuantizer.from_pretrained(sys.argv[1])
address = quantizer.push_to_hub("tester/quantizer")
pulled = AutoQuantizer.from_pretrained("tester/quantizer")
inside = AutoQuantizer.from_pretrained("tester/model", subfolder="codebook")
codebook = Codebook.from_pretrained("tester/model", subfolder="codebook")
codebook.push_to_hub("tester/codebook", private=True)
try:
    AutoQuantizer.from_pretrained("tester/quantizer", revision="absent")
except InputError as error:
    refusal = str(error)
print(json.dumps({
    "address": address, "refusal": refusal, "class": type(pulled).__name__,
    "fingerprints": [one.fingerprint for one in (quantizer, pulled, inside, codebook)],
}))
"""


def test_a_quantizer_travels_over_the_hub_with_the_real_client(tmp_path):
    """In another process, because the client reads its settings when it is imported."""
    folder = tmp_path / "quantizer"
    ALL["rvq-ae"]().save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with FakeHub() as hub:
        hub.commit("tester/model", {f"codebook/{name}": data for name, data in files.items()} | {"other.bin": b"x"})
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_fake"}
        environment = {**os.environ, **settings, "HF_HUB_DISABLE_XET": "1"}
        code = [sys.executable, "-c", SESSION, str(folder)]
        done = subprocess.run(code, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        pushed = {name: data for name, data in hub.files("tester/quantizer").items() if name != ".gitattributes"}
        assert pushed == files
        assert set(hub.files("tester/codebook")) - {".gitattributes"} == {"config.json", "model.safetensors"}
        assert answer["address"] == f"{hub.url}/tester/quantizer"
    assert not list((tmp_path / "cache").rglob("other.bin"))
    assert answer["class"] == "RVQAutoencoder"
    assert len(set(answer["fingerprints"])) == 1
    assert "has no revision absent" in answer["refusal"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("file", ["model.safetensors", "encoder.safetensors"])
def test_fault_14_files_of_a_quantizer_need_their_checksums(tmp_path, name, file):
    ALL[name]().save_pretrained(tmp_path)
    save_file(load_file(tmp_path / file), tmp_path / file)
    with pytest.raises(InputError, match="has no checksum"):
        AutoQuantizer.from_pretrained(tmp_path)
