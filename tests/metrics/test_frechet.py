"""Features of clouds and their Fréchet distance: closed forms, a matrix root, and the encoder that ships."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from training import point_features as learning
from weightgpt.errors import InputError
from weightgpt.io import write_tensors
from weightgpt.metrics.frechet import WEIGHTS, PointFeatures, features, frechet_distance, load_features
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


def test_it_equals_the_formula_with_the_root_of_a_matrix():
    a, b = rows(0, 50), rows(1, 80)
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted)
    assert frechet_distance(b, a) == pytest.approx(wanted)


def test_equal_sets_have_none_even_with_fewer_rows_than_features():
    for n in (3, 50):
        assert frechet_distance(rows(2, n), rows(2, n)) == pytest.approx(0, abs=1e-9)


def test_a_set_moved_is_as_far_as_the_square_of_the_move():
    a = rows(3, 4)
    assert frechet_distance(a, a + np.array([3.0, 4, 0, 0, 0, 0])) == pytest.approx(25)


@pytest.mark.parametrize("bad", [rows(0, 1), rows(0, 9, d=5), np.full((9, 6), np.nan), np.zeros(6)])
def test_sets_without_a_gaussian_are_refused(bad):
    with pytest.raises(InputError):
        frechet_distance(rows(0, 9), bad)


def test_features_do_not_hang_on_the_order_of_points_nor_on_the_batch():
    model = load_features()
    clouds = torch.rand(5, 100, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = features(model, clouds)
    assert found.shape == (5, 64)
    assert features(model, clouds.flip(1), batch=2) == pytest.approx(found, abs=1e-5)
    assert np.ptp(found, axis=0).max() > 0.01


def test_clouds_of_another_shape_are_refused():
    with pytest.raises(InputError, match="N, n, 3"):
        PointFeatures()(torch.zeros(100, 3))


def test_the_shipped_features_are_small_and_tell_families_apart():
    assert WEIGHTS.stat().st_size < 300_000
    clouds, labels = learning.family_clouds(draw_shapes(48, 1))
    found = features(load_features(), clouds[:, :512])
    chairs, others = found[labels == 0], found[labels == 1]
    assert frechet_distance(chairs[::2], chairs[1::2]) < 0.2 * frechet_distance(chairs, others)


def test_another_file_is_refused(tmp_path):
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(3)})
    for name, said in (("other.safetensors", "no point features"), ("none.safetensors", "does not exist")):
        with pytest.raises(InputError, match=said):
            load_features(tmp_path / name)


def test_learning_tells_small_balls_from_large(tmp_path):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    clouds = torch.nn.functional.normalize(torch.randn(64, 60, 3, generator=generator), dim=-1)
    clouds = clouds * (0.4 + 0.4 * labels)[:, None, None]
    encoder, head = learning.train_features(clouds[:48], labels[:48], seed=0, epochs=10, batch=8)
    assert learning.accuracy(encoder, head, clouds[48:], labels[48:]) == 1
    write_tensors(tmp_path / "f.safetensors", encoder.state_dict())
    again = load_features(tmp_path / "f.safetensors")
    assert (features(again, clouds) == features(encoder, clouds)).all()


@pytest.mark.slow
def test_the_program_writes_what_the_library_loads_and_equal_seeds_learn_equal_features(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(learning, "SHAPES", 24)
    monkeypatch.setattr(learning, "HELD_OUT", 6)
    for name in ("one", "two"):
        monkeypatch.setattr("sys.argv", ["features", "--output", str(tmp_path / f"{name}.safetensors")])
        assert learning.main() == 0
        assert "on 6 held-out shapes" in capsys.readouterr().out
    one, two = (load_features(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    clouds = torch.randn(3, 64, 3, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(features(one, clouds), features(two, clouds))
    assert not np.array_equal(features(one, clouds), features(load_features(), clouds))
