"""A corpus holds shapes, fits and a shared initialization that belong together."""

import pytest

from tests.fakes import tiny_config, tiny_corpus
from tokenization.corpus import Corpus
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.shapes.sampling import Samples

CORPUS = tiny_corpus()


def test_fault_42_a_shape_with_a_nan_distance_is_named():
    sdf = CORPUS.samples.sdf.clone()
    sdf[5, 7] = float("nan")
    with pytest.raises(InputError, match=r"shapes \[5\] have NaN or infinite distances"):
        Corpus(Samples(CORPUS.samples.points, sdf), CORPUS.fits, CORPUS.shared_init, CORPUS.fit)


def test_a_field_with_an_infinite_weight_is_named():
    flat = CORPUS.fits.flat.clone()
    flat[3, 0] = float("inf")
    with pytest.raises(InputError, match=r"fields \[3\] have NaN or infinite weights"):
        Fields(tiny_config(), flat)


def test_more_fits_than_shapes_are_refused():
    with pytest.raises(InputError, match="make no corpus"):
        Corpus(CORPUS.samples.select(slice(0, 2)), CORPUS.fits, CORPUS.shared_init, CORPUS.fit)


def test_a_shared_initialization_of_another_size_is_refused():
    with pytest.raises(InputError, match="make no corpus"):
        Corpus(CORPUS.samples, CORPUS.fits, CORPUS.shared_init[1:], CORPUS.fit)
