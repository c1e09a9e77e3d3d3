"""Corpora that are drawn: a whole run over free compositions, and held-out shapes from the same stream."""

from dataclasses import replace

import pytest

from tests.reliability.tiny_run import CONFIG
from training import pipeline
from training.data.sources import STREAMS
from training.presets import STREAM_CORPORA
from training.splits import load_split

COMPOSITIONS = replace(CONFIG, corpus="compositions")


@pytest.mark.slow
def test_a_run_learns_from_compositions_and_ends_with_a_report(tmp_path):
    figures = pipeline.run_pipeline(COMPOSITIONS, tmp_path / "run")
    assert figures["shapes"] == {"train": 32, "validation": 4, "test": 4}
    assert figures["decode_rate"] == 1.0
    assert (tmp_path / "run" / "report.html").is_file()
    assert "license: apache-2.0" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.parametrize("corpus", STREAM_CORPORA)
def test_all_shapes_of_a_run_are_of_one_stream_by_number(corpus):
    split, _ = load_split(replace(CONFIG, corpus=corpus))
    assert (len(split.all), len(split.extra)) == (40, 16)
    names = {shape.name for shape in split.all}
    assert names == {shape.name for shape in STREAMS[corpus](0, 40, CONFIG.seed)}
    assert [shape.name for shape in split.extra] == [shape.name for shape in STREAMS[corpus](40, 16, CONFIG.seed)]


def test_the_only_streams_are_those_that_the_configuration_names():
    assert tuple(STREAMS) == STREAM_CORPORA
