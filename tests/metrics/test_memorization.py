"""The memorization check: balls whose nearest training ball is known."""

import manifold3d
import numpy as np
import pytest
import torch

from tests.fakes import sphere_shape
from tests.metrics.spheres import TRAINING_RADII, balls, training_balls
from tests.shapes.solids.pieces import box, solid
from weightgpt.errors import InputError
from weightgpt.metrics.memorization import (
    TrainingShapes,
    memorization_stats,
    nearest_weights,
    surface_cloud,
    surface_distance,
)
from weightgpt.shapes.readers.part import MeshPart
from weightgpt.shapes.sampling import uniform_points


def test_the_nearest_training_shape_of_a_ball_is_the_ball_of_the_nearest_radius():
    nearest = training_balls(TRAINING_RADII).nearest(balls([0.41, 0.58]))
    assert nearest.index == [1, 3]
    assert nearest.distance == pytest.approx([0.01, 0.02], abs=1e-4)


def test_copies_are_recognized_among_many_similar_training_shapes():
    """New balls are 0.005 from their nearest ball, much less than the distance between points of one surface."""
    radii = [0.3 + 0.01 * i for i in range(30)]
    training, new = training_balls(radii), balls([radius + 0.005 for radius in radii])
    assert training.nearest(new).distance == pytest.approx([0.005] * 30, abs=1e-4)
    stats = memorization_stats(training.nearest(balls(radii)).distance, training.nearest(new).distance)
    assert stats.memorized_share == 1
    assert stats.nearest_train_ratio < 0.05


def test_half_precision_rows_find_the_same_shapes():
    probes = uniform_points(256, 3, 0)
    rows = torch.stack([sdf(probes) for sdf in balls(TRAINING_RADII)])
    plain, half = (TrainingShapes(balls(TRAINING_RADII), probes, part) for part in (rows, rows.half()))
    assert half.nearest(balls([0.33, 0.52])) == plain.nearest(balls([0.33, 0.52]))


def test_the_distance_of_two_surfaces_by_hand():
    """For a shifted ball, |cos| of the angle to the shift has mean 1/2. A steeper field is the same surface."""
    ball = sphere_shape(0.5).sdf

    def shifted_and_steep(points: torch.Tensor) -> torch.Tensor:
        return 3 * ball(points - torch.tensor([0.02, 0, 0]))

    distance = surface_distance(ball, surface_cloud(ball, 3), shifted_and_steep, surface_cloud(shifted_and_steep, 3))
    assert distance == pytest.approx(0.01, rel=0.05)


def test_the_stats_by_hand():
    held_out = [float(value) for value in range(1, 101)]  # its 5 % quantile is 5.95
    stats = memorization_stats([1.0, 5.0, 60.0, 101.0], held_out)
    assert stats.memorized_share == 0.5
    assert stats.nearest_train_ratio == pytest.approx(32.5 / 50.5)
    assert stats.nearest_train_quantiles["held_out"] == pytest.approx((5.95, 25.75, 50.5, 75.25, 95.05))
    assert memorization_stats(held_out, held_out).memorized_share == 0.05
    with pytest.raises(InputError, match="give one of each"):
        memorization_stats([], held_out)


def test_nearest_weights_by_hand():
    train = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert nearest_weights(torch.tensor([[3.0, 4.5], [0.0, 1.0]]), train).tolist() == pytest.approx([0.1, 0.0])
    with pytest.raises(InputError, match="one architecture"):
        nearest_weights(torch.zeros(1, 3), train)


def test_training_shapes_need_a_row_of_distances_each():
    with pytest.raises(InputError, match="a row for each"):
        TrainingShapes(balls([0.5]), uniform_points(8, 3, 0), torch.zeros(2, 8))


def parts_of_a_post(height: float, width: float) -> list[MeshPart]:
    """A post that stands deep in a cube: most of its faces, and a part of the cube's, lie inside the solid."""
    return [box(), box((-width, -0.6, -0.7), (width, 0.6, height))]


def united(pieces: list[MeshPart]) -> MeshPart:
    """The surface of the union as one mesh, which has no faces inside."""
    meshes = [manifold3d.Mesh64(piece.vertices, piece.faces.astype(np.uint64)) for piece in pieces]
    union = manifold3d.Manifold.batch_boolean([manifold3d.Manifold(mesh) for mesh in meshes], manifold3d.OpType.Add)
    mesh = union.to_mesh64()
    return MeshPart(np.array(mesh.vert_properties), np.array(mesh.tri_verts, np.int64))


def test_copies_of_solids_of_overlapping_parts_are_recognized():
    heights = [1.4, 1.8, 2.2]
    shapes = [solid(*parts_of_a_post(height, 0.6)).sdf for height in heights]
    probes = uniform_points(128, 3, 0)
    training = TrainingShapes(shapes, probes, torch.stack([sdf(probes) for sdf in shapes]))
    nearest = training.nearest([solid(united(parts_of_a_post(height, 0.6))).sdf for height in heights])
    new = training.nearest([solid(*parts_of_a_post(height, 0.8)).sdf for height in heights])
    assert nearest.index == [0, 1, 2]
    assert nearest.distance == pytest.approx([0, 0, 0], abs=1e-4)
    assert min(new.distance) > 3e-3
