"""What several test files share: one finished run of the pipeline, on a very small scale."""

from pathlib import Path

import pytest

from tokenization.presets import TokenizerConfig
from tokenization.train_codebook import CodebookConfig
from training import pipeline
from training.presets import PipelineConfig
from training.pretrain import PretrainConfig
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig

TINY = PipelineConfig(
    num_shapes=48,
    num_held_out=12,
    augmentations=1,
    num_extra_shapes=24,
    num_eval_points=512,
    num_samples=4,
    resolution=24,
    tokenizer=TokenizerConfig(
        num_points=1024,
        num_init_fits=16,
        field=FieldConfig(hidden=(16, 16), num_frequencies=1),
        fit=FitConfig(steps=150, points_per_step=256),
        codebook=CodebookConfig(
            neurons_per_chunk=16,
            latent_width=6,
            coefficients=6,
            latent_decoder_width=32,
            num_quantizers=3,
            codebook_size=8,
            num_probes=256,
            steps=200,
            batch_size=8,
            points_per_step=128,
        ),
        encode=EncodeConfig(steps=4, points_per_step=128),
    ),
    gpt=PretrainConfig(model_size="nano", epochs=1, batch_size=16, num_evaluations=1),
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run; a test that changes it takes a copy."""
    output = tmp_path_factory.mktemp("runs") / "tiny"
    pipeline.run_pipeline(TINY, output)
    return output
