"""What several files of tests look at: one finished run of the whole road, on a very small scale."""

from pathlib import Path

import pytest

from tokenization.train_codebook import CodebookConfig
from training import pipeline
from training.presets import PipelineConfig
from training.pretrain import PretrainConfig
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.quantizers.base import EncodeConfig

TINY = PipelineConfig(
    count=48,
    held=12,
    copies=1,
    more=24,
    schedule=1024,
    judged=512,
    started=16,
    samples=4,
    resolution=24,
    field=FieldConfig(hidden=(16, 16), octaves=1),
    fit=FitConfig(steps=150, points=256),
    codebook=CodebookConfig(
        neurons=16,
        latent_width=6,
        coefficients=6,
        mixer_width=32,
        levels=3,
        codes=8,
        probes=256,
        encoder_width=32,
        steps=200,
        shapes=8,
        points=128,
    ),
    encode=EncodeConfig(steps=4, points=128),
    gpt=PretrainConfig(preset="nano", epochs=1, batch=16, evaluations=1),
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run; who changes it takes a copy."""
    output = tmp_path_factory.mktemp("runs") / "tiny"
    pipeline.run(TINY, output)
    return output
