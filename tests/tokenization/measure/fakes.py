"""A tiny measurement: its settings, and a benchmark that needs no fitting."""

from functools import cache

from tests.fakes import box_shape, fitted_sphere, sphere_shape, tiny_config, tiny_corpus
from tokenization.measure.benchmark import Benchmark
from tokenization.measure.config import MeasureConfig
from tokenization.presets import TokenizerConfig
from tokenization.train_codebook import CodebookConfig
from tokenization.train_graph import GraphConfig
from weightgpt.fields.config import FieldConfig
from weightgpt.fields.field import Fields
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig
from weightgpt.shapes.sampling import sample_sdf, uniform_points

SMALL = MeasureConfig(
    corpus="chairs",
    num_train=6,
    num_held_out=4,
    max_fit_steps=2,
    num_eval_points=512,
    resolution=24,
    tokenizer=TokenizerConfig(
        num_points=512,
        num_init_fits=4,
        field=FieldConfig(hidden=(8, 8)),
        fit=FitConfig(steps=2),
        codebook=CodebookConfig(
            latent_width=4, coefficients=4, num_quantizers=2, codebook_size=8, steps=4, neurons_per_chunk=8
        ),
        graph=GraphConfig(steps=2, width=8, num_traces=16),
        encode=EncodeConfig(steps=0),
    ),
)


@cache
def tiny_benchmark() -> Benchmark:
    """Four held-out balls and boxes, whose plain fits are all the same rough sphere."""
    shapes = [sphere_shape(0.6, label="ball"), sphere_shape(0.5, label="ball"), box_shape(label="box"), box_shape()]
    corpus, points = tiny_corpus(), uniform_points(512, 3, 5)
    plain_fits = Fields(tiny_config(), (fitted_sphere() + 0.01).expand(4, -1))
    samples, eval_samples = sample_sdf(shapes, corpus.samples.points), sample_sdf(shapes, points)
    return Benchmark(SMALL, [], shapes, corpus, samples, eval_samples, plain_fits, 0.001)
