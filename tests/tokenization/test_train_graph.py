"""Learning a graph encoder: the loss falls, the codebook stays as it is, and held-out fields come back."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import sphere_shape, tiny_config
from tests.tokenization.test_train_codebook import SMALL as CODEBOOK
from tokenization.corpus import Corpus
from tokenization.train_codebook import learn_codebook
from tokenization.train_graph import GraphConfig, learn_graph_encoder
from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes.sampling import Samples, sample_sdf, uniform_points

SMALL = GraphConfig(width=16, num_rounds=2, num_traces=32, steps=150, batch_size=8, points_per_step=128)
RANDOM_INIT = FitConfig(steps=200, points_per_step=512, learning_rate=2e-2, seed=1000)


@pytest.fixture(scope="module")
def spheres() -> Samples:
    return sample_sdf([sphere_shape(0.3 + 0.02 * i) for i in range(16)], uniform_points(1024, 3, seed=0))


@pytest.fixture(scope="module")
def fits(spheres) -> Fields:
    """Random-init fits."""
    return fit(tiny_config(), spheres, RANDOM_INIT).fields


@pytest.fixture(scope="module")
def autoencoder(spheres) -> RVQAutoencoder:
    config = FitConfig(steps=60, points_per_step=256)
    shared_init_fits = fit(tiny_config(), spheres, config).fields
    corpus = Corpus(spheres, shared_init_fits, shared_init_fits.flat[0], config)
    return learn_codebook(corpus, replace(CODEBOOK, steps=600)).quantizer


@pytest.mark.parametrize(("use_shape_encoder", "traces", "share"), [(True, 32, 1.0), (False, 32, 0.9), (False, 0, 0.9)])
def test_learning_lowers_the_loss_and_leaves_the_codebook(autoencoder, fits, spheres, use_shape_encoder, traces, share):
    """With the shape encoder there is little left to learn for spheres."""
    codebook, encoder = autoencoder.codebook, autoencoder.encoder
    before = codebook.fingerprint, [value.clone() for value in encoder.parameters()]
    config = replace(SMALL, use_shape_encoder=use_shape_encoder, num_traces=traces)
    result = learn_graph_encoder(codebook, encoder, fits, spheres, config)
    assert result.history[-1][1] < share * result.history[0][1]
    assert result.quantizer.fingerprint == before[0]
    assert all(map(torch.equal, encoder.parameters(), before[1]))


def test_fields_of_other_random_initializations_come_back(autoencoder, fits, spheres):
    graph = learn_graph_encoder(autoencoder.codebook, autoencoder.encoder, fits, spheres, SMALL).quantizer
    other = fit(tiny_config(), spheres, replace(RANDOM_INIT, seed=2000)).fields
    source, decoded = field_iou(other, spheres), field_iou(graph.decode(graph.encode(other)), spheres)
    alive = source > 0.6  # fields of 12 neurons often die at the start
    assert alive.sum() >= 6
    assert decoded[alive].mean() > 0.7 * source[alive].mean()


def test_equal_seeds_learn_equal_encoders_and_other_seeds_others(autoencoder, fits, spheres):
    def weights(seed: int) -> list[torch.Tensor]:
        short = replace(SMALL, steps=10)
        learned = learn_graph_encoder(autoencoder.codebook, autoencoder.encoder, fits, spheres, short, seed=seed)
        return list(learned.quantizer.encoder.state_dict().values())

    first, second, other = weights(0), weights(0), weights(1)
    assert all(map(torch.equal, first, second))
    assert not all(map(torch.equal, first, other))


def test_other_fields_and_shapes_are_refused(autoencoder, fits, spheres):
    def learn(fields: Fields, samples: Samples) -> None:
        learn_graph_encoder(autoencoder.codebook, autoencoder.encoder, fields, samples, SMALL)

    with pytest.raises(InputError, match="one shape for each field"):
        learn(fits, spheres.select(slice(0, 3)))
    other = FieldConfig(hidden=(6,), num_frequencies=1)
    with pytest.raises(InputError, match="learned for this architecture"):
        learn(Fields(other, torch.zeros(16, other.parameters)), spheres)
    sdf = spheres.sdf.clone()
    sdf[3, 5] = float("nan")
    with pytest.raises(InputError, match=r"shapes \[3\] have NaN"):
        learn(fits, Samples(spheres.points, sdf))


@pytest.mark.parametrize("name", ["width", "steps", "batch_size", "points_per_step"])
def test_a_setting_of_zero_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is 0; give 1 or more"):
        GraphConfig(**{name: 0})
