"""Features of clouds and their Fréchet distance: closed forms, a matrix root, and the encoder that ships."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from training import point_features
from weightgpt.errors import InputError
from weightgpt.io import write_tensors
from weightgpt.metrics.frechet import WEIGHTS, PointFeatures, extract_features, frechet_distance, load_point_features
from weightgpt.shapes.families import draw_shapes


def diagonal(mean: list[float], deviation: list[float]) -> np.ndarray:
    """Rows (2d, d) of exactly this mean and a diagonal covariance of exactly these deviations."""
    d = len(mean)
    scale = np.sqrt((2 * d - 1) / 2)
    return np.array(mean) + np.concatenate([np.eye(d), -np.eye(d)]) * scale * np.array(deviation)


def rows(seed: int, n: int, d: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def test_diagonal_covariances_have_a_closed_form():
    """Σ (μ - μ')² + (σ - σ')² = (1 + 4) + (4 + 0.25)."""
    a, b = diagonal([0, 0, 0], [1, 2, 3]), diagonal([1, 0, -2], [3, 2, 2.5])
    assert np.cov(a.T) == pytest.approx(np.diag([1.0, 4.0, 9.0]))
    assert frechet_distance(a, b) == pytest.approx(9.25)


def test_the_distance_equals_the_formula_with_a_matrix_square_root():
    a, b = rows(0, 50), rows(1, 80)
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_equal_sets_have_distance_zero_even_with_fewer_rows_than_features():
    for n in (3, 50):
        assert frechet_distance(rows(2, n), rows(2, n)) == pytest.approx(0, abs=1e-9)


def test_the_distance_to_a_shifted_set_is_the_square_of_the_shift():
    a = rows(3, 4)
    assert frechet_distance(a, a + np.array([3.0, 4, 0, 0, 0, 0])) == pytest.approx(25)


@pytest.mark.parametrize("bad", [rows(0, 1), rows(0, 9, d=5), np.full((9, 6), np.nan), np.zeros(6)])
def test_sets_without_a_gaussian_are_refused(bad):
    with pytest.raises(InputError):
        frechet_distance(rows(0, 9), bad)


def test_features_depend_neither_on_the_order_of_points_nor_on_the_batch_size():
    model = load_point_features()
    clouds = torch.rand(5, 100, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    computed = extract_features(model, clouds)
    assert computed.shape == (5, 64)
    assert extract_features(model, clouds.flip(1), batch_size=2) == pytest.approx(computed, abs=1e-5)
    assert np.ptp(computed, axis=0).max() > 0.01


def test_clouds_of_another_shape_are_refused():
    with pytest.raises(InputError, match="N, n, 3"):
        PointFeatures()(torch.zeros(100, 3))


def test_the_shipped_features_separate_the_families_and_their_file_is_small():
    assert WEIGHTS.stat().st_size < 300_000
    clouds, labels = point_features.family_clouds(draw_shapes(48, 1))
    computed = extract_features(load_point_features(), clouds[:, :512])
    chairs, others = computed[labels == 0], computed[labels == 1]
    assert frechet_distance(chairs[::2], chairs[1::2]) < 0.2 * frechet_distance(chairs, others)


def test_a_file_without_point_features_is_refused(tmp_path):
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(3)})
    for name, message in (("other.safetensors", "no point features"), ("none.safetensors", "does not exist")):
        with pytest.raises(InputError, match=message):
            load_point_features(tmp_path / name)


def test_training_separates_small_balls_from_large_ones(tmp_path):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    clouds = torch.nn.functional.normalize(torch.randn(64, 60, 3, generator=generator), dim=-1)
    clouds = clouds * (0.4 + 0.4 * labels)[:, None, None]
    encoder, head = point_features.train_features(clouds[:48], labels[:48], seed=0, epochs=10, batch_size=8)
    assert point_features.accuracy(encoder, head, clouds[48:], labels[48:]) == 1
    write_tensors(tmp_path / "f.safetensors", encoder.state_dict())
    again = load_point_features(tmp_path / "f.safetensors")
    assert (extract_features(again, clouds) == extract_features(encoder, clouds)).all()


@pytest.mark.slow
def test_the_program_writes_a_file_that_loads_and_equal_seeds_give_equal_features(tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        monkeypatch.setattr(
            "sys.argv",
            ["point_features", *f"--output {tmp_path / name}.safetensors --num-shapes 24 --num-held-out 6".split()],
        )
        assert point_features.main() == 0
        assert "on 6 held-out shapes" in capsys.readouterr().out
    one, two = (load_point_features(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    clouds = torch.randn(3, 64, 3, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(extract_features(one, clouds), extract_features(two, clouds))
    assert not np.array_equal(extract_features(one, clouds), extract_features(load_point_features(), clouds))
