"""Reconstruction metrics of cases with exact values."""

import pytest
import torch

from tests.fakes import tiny_config, tiny_weight_vq
from tests.tokenization.measure.fakes import tiny_benchmark
from tokenization.measure.metrics import (
    ReconstructionMetrics,
    iou_by_num_quantizers,
    reconstruction_metrics,
    summarize,
    summarize_by_class,
    true_surfaces,
    weight_errors,
)
from weightgpt.fields.field import Fields

BENCHMARK = tiny_benchmark()


def metrics_of(fields: Fields) -> ReconstructionMetrics:
    return reconstruction_metrics(BENCHMARK, true_surfaces(BENCHMARK), fields, "fields")


@pytest.fixture(scope="module")
def plain() -> ReconstructionMetrics:
    return metrics_of(BENCHMARK.plain_fits)


def test_the_ratios_of_the_plain_fits_to_themselves_are_one(plain):
    summary = summarize(plain, plain)
    assert summary["iou_ratio"] == summary["chamfer_ratio"] == 1
    assert summary["without_surface"] == 0
    assert summary["iou"] == summary["iou_plain_fit"] == pytest.approx(float(plain.iou.mean()))
    assert 0.5 < summary["normal_consistency"] <= 1
    assert set(summarize_by_class(BENCHMARK, plain, plain)) == {"ball", "box", "none"}


def test_a_rough_sphere_is_closest_to_the_ball_of_its_radius(plain):
    assert plain.iou.argmax() == plain.chamfer.argmin() == plain.sdf_error.argmin() == 0


def test_a_field_without_surface_is_counted_and_left_out_of_surface_means(plain):
    flat = BENCHMARK.plain_fits.flat.clone()
    flat[1] = 0
    flat[1, -1] = 1  # the bias of the output: the field is outside everywhere
    empty = metrics_of(Fields(tiny_config(), flat))
    summary = summarize(empty, plain)
    assert summary["without_surface"] == 1
    assert summary["chamfer_ratio"] == 1
    assert summary["iou_ratio"] < 1
    assert summarize_by_class(BENCHMARK, empty, plain)["ball"]["iou"] == pytest.approx(plain.iou[0] / 2)


def test_half_of_the_change_is_a_weight_error_of_a_half_in_every_layer():
    """The plain fits differ from the shared initialization by 0.01 in every weight."""
    halfway = Fields(tiny_config(), BENCHMARK.plain_fits.flat - 0.005)
    errors = weight_errors(BENCHMARK, halfway)
    assert errors["weight_error"] == pytest.approx(0.5, rel=1e-3)
    assert errors["weight_error_by_layer"] == pytest.approx([0.5] * 3, rel=1e-3)
    assert weight_errors(BENCHMARK, BENCHMARK.plain_fits)["weight_error"] == 0


def test_iou_is_measured_for_every_number_of_quantizer_levels():
    quantizer = tiny_weight_vq()
    codes = torch.zeros(4, quantizer.num_chunks, quantizer.num_quantizers, dtype=torch.long)
    rows = iou_by_num_quantizers(BENCHMARK, quantizer, codes)
    assert [(row["num_quantizers"], row["tokens_per_field"], row["bits_per_field"]) for row in rows] == [
        (1, 28, 84),
        (2, 56, 168),
    ]
    whole = reconstruction_metrics(BENCHMARK, [None] * 4, quantizer.decode(codes), "fields")
    assert rows[1]["iou"] == pytest.approx(float(whole.iou.mean()), abs=1e-6)
