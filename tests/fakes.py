"""Small stand-ins for trained objects: real classes with a hundred parameters, built in well under a second."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from tokenization.corpus import Corpus
from weightgpt import cli
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.quantizers.basis_decoder import BasisDecoder
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.quantizers.codebook import Codebook
from weightgpt.quantizers.graph import GraphQuantizer
from weightgpt.quantizers.graph_encoder import GraphEncoder
from weightgpt.quantizers.latent_decoder import LatentDecoder
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.quantizers.shape_encoder import ShapeEncoder
from weightgpt.quantizers.weight_codebook import WeightCodebook
from weightgpt.quantizers.weight_vq import WeightVQ
from weightgpt.shapes.sampling import sample_sdf, shared_points, uniform_points
from weightgpt.shapes.shape import Shape
from weightgpt.tokens.generation import generation_config
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.tokens.vocabulary import BOS, EOS, PAD, Vocabulary


def command(*arguments: str) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    return end.value.code or 0


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sphere_shape(radius: float = 0.6, dimension: int = 3, label: str = "none") -> Shape:
    """A ball (a disc in 2D) about the origin."""

    def sdf(points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=-1) - radius

    return Shape(name=f"sphere-{radius}", label=label, sdf=sdf, dimension=dimension)


def box_shape(size: tuple[float, ...] = (1.2, 0.8, 1.0), label: str = "none") -> Shape:
    """An axis-aligned box of full side lengths `size` about the origin."""
    half = torch.tensor(size) / 2

    def sdf(points: torch.Tensor) -> torch.Tensor:
        excess = points.abs() - half
        return excess.clamp(min=0).norm(dim=-1) + excess.amax(-1).clamp(max=0)

    return Shape(name="box-" + "-".join(f"{side:g}" for side in size), label=label, sdf=sdf, dimension=len(size))


def tiny_config() -> FieldConfig:
    """109 parameters."""
    return FieldConfig(hidden=(6, 6), num_frequencies=1)


@cache
def fitted_sphere() -> torch.Tensor:
    """(P,) a field of `tiny_config` that is roughly a sphere of radius 0.6."""
    shape = sphere_shape(0.6)
    samples = sample_sdf([shape], shared_points([shape], 2048, 0))
    options = FitConfig(steps=200, points_per_step=512, learning_rate=2e-2, batch_size=1)
    return fit(tiny_config(), samples, options).fields.flat[0]


@cache
def tiny_codebook(seed: int = 0) -> Codebook:
    """3 chunks, latent width 3, 2 levels of 8 codes; most decoded fields are rough spheres."""
    layout = ChunkLayout(tiny_config(), 6)
    directions = torch.randn(3, layout.field_config.parameters, generator=generator(seed))
    basis = F.normalize(layout.split(directions), dim=-1).transpose(0, 1).contiguous()
    level = torch.tensor([0.25, 0.08])[:, None, None]
    code_vectors = torch.randn(2, 8, 3, generator=generator(seed + 1)) * level
    base = layout.split(fitted_sphere()[None])[0]
    return Codebook(BasisDecoder(layout, base, basis, tiny_latent_decoder(3, 3, seed)), code_vectors)


def tiny_latent_decoder(chunks: int, width: int, seed: int = 0) -> LatentDecoder:
    """A perceptron near the identity: coefficients are the latents plus a term that grows with their square."""
    latent_decoder = LatentDecoder(chunks, width, 2 * chunks * width, width).requires_grad_(False)
    latent_decoder.inner.weight.copy_(
        0.3 * torch.randn(latent_decoder.inner.weight.shape, generator=generator(seed + 2))
    )
    latent_decoder.outer.weight.copy_(2 * torch.linalg.pinv(latent_decoder.inner.weight))
    latent_decoder.inner.bias.zero_()
    latent_decoder.outer.bias.zero_()
    return latent_decoder


def tiny_encoder(codebook: Codebook, seed: int = 0) -> ShapeEncoder:
    """Untrained, on 32 probes; its latents are of the size of the codes."""
    probes = uniform_points(32, codebook.field_config.in_features, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ShapeEncoder(probes, 16, codebook.num_chunks, codebook.latent_width)
    return encoder.eval().requires_grad_(False)


def tiny_graph(codebook: Codebook, seed: int = 0) -> GraphQuantizer:
    """Untrained; both the shape encoder and the graph contribute to its latents."""
    config, chunks, width = codebook.field_config, codebook.num_chunks, codebook.latent_width
    shape_encoder = tiny_encoder(codebook, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = GraphEncoder(config, chunks, width, shape_encoder.probes[:8], 8, 2, shape_encoder)
        torch.nn.init.normal_(encoder.head[-1].weight, std=0.03)
    return GraphQuantizer(codebook, encoder)


def tiny_tokenizer(classes: tuple[str, ...] = ("chair", "table"), seed: int = 0) -> WeightTokenizer:
    """The parts above, joined; "none" comes first in its vocabulary as in every one."""
    codebook = tiny_codebook(seed)
    return WeightTokenizer.create(RVQAutoencoder(codebook, tiny_encoder(codebook, seed)), list(classes))


@cache
def tiny_corpus(shapes: int = 24) -> Corpus:
    """Balls and boxes with their plain fits, 109 weights each."""
    sizes = [0.4 + 0.4 * i / shapes for i in range(shapes)]
    shapes_of_corpus = [
        sphere_shape(size) if i % 2 else box_shape((2 * size, 1.0, 0.8)) for i, size in enumerate(sizes)
    ]
    samples, options = (
        sample_sdf(shapes_of_corpus, shared_points(shapes_of_corpus, 1024, 0)),
        FitConfig(steps=60, points_per_step=256),
    )
    fits = fit(tiny_config(), samples, options, shared_init=fitted_sphere()).fields
    return Corpus(samples, fits, fitted_sphere(), options)


@cache
def tiny_weight_vq(groups: int = 2, levels: int = 2, codes: int = 8, width: int = 4, seed: int = 0) -> WeightVQ:
    """Random code vectors about a rough sphere, smaller from level to level."""
    scales = 0.3 ** torch.arange(float(levels))[:, None, None]
    vectors = torch.randn(groups, levels, codes, width, generator=generator(seed)) * scales
    parameters = tiny_config().parameters
    scale = 0.02 + 0.02 * torch.rand(parameters, generator=generator(seed + 1))
    points = uniform_points(256, 3, seed)
    return WeightVQ(
        WeightCodebook(tiny_config(), fitted_sphere(), scale, vectors), fitted_sphere(), points, FitConfig(steps=5)
    )


def tiny_gpt(vocabulary: Vocabulary, seed: int = 0) -> GPT2LMHeadModel:
    """Untrained, 2 layers of width 16, with the grammar in its generation settings."""
    config = GPT2Config(
        vocab_size=vocabulary.vocab_size,
        n_positions=vocabulary.length,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(config).eval()
    model.generation_config = generation_config(vocabulary)
    return model
