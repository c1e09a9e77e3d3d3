"""The autoencoder of local chunks: what it learns, reads and writes."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import box_shape, sphere_shape
from tokenization.corpus import Corpus
from tokenization.train_local import LocalConfig, learn_local
from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.field import Field, Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.quantizers.grid_encoder import grid_probes
from weightgpt.quantizers.local_autoencoder import LocalAutoencoder
from weightgpt.shapes.sampling import Samples, sample_sdf, uniform_points

FIELD = FieldConfig(hidden=(16, 16), num_frequencies=1, grids=(1, 2))
SMALL = LocalConfig(
    latent_width=8, num_quantizers=2, codebook_size=16, width=32, layers=1, steps=200, batch_size=8, points_per_step=128
)
NO_STEPS = EncodeConfig(steps=0)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """24 balls and boxes, sampled at the probes and at further points."""
    shapes = [sphere_shape(0.3 + 0.02 * i) if i % 2 else box_shape((0.5 + 0.04 * i, 1.0, 0.8)) for i in range(24)]
    samples = sample_sdf(shapes, torch.cat([grid_probes(FIELD), uniform_points(512, 3, 0)]))
    torch.manual_seed(0)
    init = Field(FIELD).flat().detach()
    return Corpus(samples, Fields(FIELD, init[None]), init, FitConfig())


@pytest.fixture(scope="module")
def quantizer(corpus: Corpus) -> LocalAutoencoder:
    """Learned in a few seconds."""
    return learn_local(corpus, SMALL).quantizer


def test_it_reads_the_shapes_that_it_learned(corpus, quantizer):
    codes = quantizer.encode_samples(corpus.samples, NO_STEPS)
    assert codes.shape == (24, 9, 2)
    assert field_iou(quantizer.decode(codes), Samples(corpus.samples.points, corpus.samples.sdf)).mean() > 0.7


def test_a_chunk_acts_near_its_node_alone(quantizer):
    """The first code of the node at (-0.5, -0.5, -0.5) does not change the field beyond the next node."""
    codes = torch.zeros(1, 9, 2, dtype=torch.long)
    latents = quantizer.latents(codes)
    chunks = quantizer.codebook.decoder.chunks(latents)
    changed = quantizer.decode_latents(latents).flat.clone()
    first = changed[:, : 16 * (FIELD.encoded + 1)].view(1, 16, -1)
    node = FIELD.encoded - FIELD.num_nodes + 1
    torch.testing.assert_close(first[..., node], chunks[:, 1])
    first[..., node] += 1.0
    points = uniform_points(2000, 3, 1)
    moved = Fields(FIELD, changed)(points)[0, :, 0] != quantizer.decode(codes)(points)[0, :, 0]
    assert moved.any()
    assert not moved[(points > 0.5).any(1)].any()


def test_it_returns_from_its_files_bit_for_bit(corpus, quantizer, tmp_path):
    quantizer.save_pretrained(tmp_path)
    again = AutoQuantizer.from_pretrained(tmp_path)
    assert isinstance(again, LocalAutoencoder)
    assert again.fingerprint == quantizer.fingerprint
    codes = quantizer.encode_samples(corpus.samples, NO_STEPS)
    assert torch.equal(again.encode_samples(corpus.samples, NO_STEPS), codes)
    assert torch.equal(again.decode(codes).flat, quantizer.decode(codes).flat)


def test_shapes_and_fields_are_encoded_alone_as_in_a_batch(quantizer):
    shapes = [sphere_shape(0.5), box_shape((1.0, 0.7, 0.9)), sphere_shape(0.7)]
    config = EncodeConfig(steps=3, points_per_step=64, num_points=256)
    together = quantizer.encode_shapes(shapes, config)
    assert torch.equal(torch.cat([quantizer.encode_shapes([shape], config) for shape in shapes]), together)
    fields = quantizer.decode(together)
    codes = quantizer.encode(fields, config)
    assert torch.equal(quantizer.encode(fields.select(slice(1, 2)), config), codes[1:2])


def test_a_corpus_without_the_probes_or_with_few_shapes_is_refused(corpus):
    samples = Samples(corpus.samples.points.flip(0), corpus.samples.sdf)
    with pytest.raises(InputError, match="are not the probes"):
        learn_local(replace(corpus, samples=samples), SMALL)
    with pytest.raises(InputError, match="latents for 4096 codes"):
        learn_local(corpus, replace(SMALL, codebook_size=4096))


def test_fields_without_grids_and_odd_widths_are_refused(corpus):
    with pytest.raises(InputError, match="multiple of 32"):
        replace(SMALL, width=40)
    plain = FieldConfig(hidden=(16, 16), num_frequencies=1)
    init = Field(plain).flat().detach()
    with pytest.raises(InputError, match="has no grids"):
        learn_local(Corpus(corpus.samples, Fields(plain, init[None]), init, FitConfig()), SMALL)
