"""Learning a graph encoder: the loss falls, the codebook stays as it is, and held-out fields come back."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import sphere_shape, tiny_config
from tests.tokenization.test_train_codebook import SMALL as CODEBOOK
from tokenization import train_codebook as learn_codebook
from tokenization.train_graph import GraphConfig, learn
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields
from weightgpt.fields.fitting import FitConfig, fit
from weightgpt.metrics.pairwise import field_iou
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.shapes.sampling import Samples, sample_sdf, uniform_points

SMALL = GraphConfig(width=16, num_rounds=2, num_traces=32, steps=150, batch_size=8, points_per_step=128)


@pytest.fixture(scope="module")
def spheres() -> Samples:
    return sample_sdf([sphere_shape(0.3 + 0.02 * i) for i in range(16)], uniform_points(1024, 3, seed=0))


@pytest.fixture(scope="module")
def fits(spheres) -> Fields:
    """Each from its own random start."""
    return fit(tiny_config(), spheres, FitConfig(steps=200, points_per_step=512, learning_rate=2e-2, seed=1000)).fields


@pytest.fixture(scope="module")
def learned(spheres):
    conditioned = fit(tiny_config(), spheres, FitConfig(steps=60, points_per_step=256)).fields
    return learn_codebook.learn(ChunkLayout(tiny_config(), 6), conditioned, spheres, CODEBOOK)


@pytest.mark.parametrize(("shape", "traces", "share"), [(True, 32, 1.0), (False, 32, 0.9), (False, 0, 0.9)])
def test_learning_lowers_the_loss_and_leaves_the_codebook(learned, fits, spheres, shape, traces, share):
    """With the shape encoder there is little left to learn for spheres."""
    before = learned.quantizer.codebook.fingerprint, [value.clone() for value in learned.quantizer.encoder.parameters()]
    result = learn(
        learned.quantizer.codebook,
        learned.quantizer.encoder,
        fits,
        spheres,
        replace(SMALL, use_shape_encoder=shape, num_traces=traces),
    )
    assert result.history[-1][1] < share * result.history[0][1]
    assert result.quantizer.fingerprint == before[0]
    assert all(map(torch.equal, learned.quantizer.encoder.parameters(), before[1]))


def test_fields_of_other_starts_come_back(learned, fits, spheres):
    graph = learn(learned.quantizer.codebook, learned.quantizer.encoder, fits, spheres, SMALL).quantizer
    other = fit(tiny_config(), spheres, FitConfig(steps=200, points_per_step=512, learning_rate=2e-2, seed=2000)).fields
    source, back = field_iou(other, spheres), field_iou(graph.decode(graph.encode(other)), spheres)
    alive = source > 0.6  # fields of 12 neurons often die at the start
    assert alive.sum() >= 6
    assert back[alive].mean() > 0.7 * source[alive].mean()


def test_equal_seeds_learn_equal_encoders(learned, fits, spheres):
    short = replace(SMALL, steps=10)
    first, second = (
        learn(learned.quantizer.codebook, learned.quantizer.encoder, fits, spheres, short).quantizer for _ in range(2)
    )
    assert all(map(torch.equal, first.encoder.state_dict().values(), second.encoder.state_dict().values()))


def test_a_shape_encoder_kept_is_kept(learned, fits, spheres):
    encoder = learn(
        learned.quantizer.codebook,
        learned.quantizer.encoder,
        fits,
        spheres,
        replace(SMALL, steps=10, use_shape_encoder=True, shape_encoder_rate=0.0),
    ).quantizer
    assert all(map(torch.equal, encoder.encoder.shape_encoder.parameters(), learned.quantizer.encoder.parameters()))


def test_other_fields_and_shapes_are_refused(learned, fits, spheres):
    with pytest.raises(InputError, match="one shape for each field"):
        learn(learned.quantizer.codebook, learned.quantizer.encoder, fits, spheres.select(slice(0, 3)), SMALL)
    other = FieldConfig(hidden=(6,), num_frequencies=1)
    with pytest.raises(InputError, match="learned for this architecture"):
        learn(
            learned.quantizer.codebook,
            learned.quantizer.encoder,
            Fields(other, torch.zeros(16, other.parameters)),
            spheres,
            SMALL,
        )
    sdf = spheres.sdf.clone()
    sdf[3, 5] = float("nan")
    with pytest.raises(InputError, match=r"shapes \[3\] have NaN"):
        learn(learned.quantizer.codebook, learned.quantizer.encoder, fits, Samples(spheres.points, sdf), SMALL)


@pytest.mark.parametrize("name", ["width", "steps", "batch_size", "points_per_step"])
def test_nothing_cannot_be_learnt(name):
    with pytest.raises(InputError, match="must be positive"):
        GraphConfig(**{name: 0})
