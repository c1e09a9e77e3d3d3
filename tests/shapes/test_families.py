"""Primitives and built-in families have exact distances and signs; families give one piece inside the box."""

import igl
import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray
from skimage.measure import label
from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.shapes.families import FAMILIES, draw_shapes, lazy_shapes
from weightgpt.shapes.primitives import Solid, box, cone, cylinder, extrude, revolve, round_cone, sphere, tube, union

Array = NDArray[np.float64]
KITE = [(-0.5, -0.3), (0.4, -0.4), (0.6, 0.1), (-0.1, 0.5)]
ARROW = [(-0.5, -0.5), (0.0, -0.2), (0.5, -0.5), (0.0, 0.6)]
CUP = [(0.0, 0.0), (0.4, 0.0), (0.5, 0.9), (0.38, 0.9), (0.28, 0.12), (0.0, 0.12)]


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def near(solid: Solid, reach: float = 0.1) -> Tensor:
    points = uniform(20000)
    return points[solid(points).abs() < reach]


def hull_distance(corners: Array, points: Tensor) -> Array:
    """Signed distances from the convex hull of `corners`: face planes for the sign, triangles for the distance."""
    hull = trimesh.convex.convex_hull(corners)
    queries = points.double().numpy()
    squares = igl.point_mesh_squared_distance(queries, hull.vertices, hull.faces.astype(np.int64))[0]
    outside = (((queries[:, None] - hull.triangles_center) * hull.face_normals).sum(axis=2) > 0).any(axis=1)
    return np.where(outside, 1.0, -1.0) * np.sqrt(squares)


def balls_distance(start: Array, end: Array, first: float, last: float, points: Tensor) -> Array:
    """Signed distances from many balls between two; exact outside and, for these, inside."""
    t = np.linspace(0.0, 1.0, 4001)[:, None]
    centers, radii = start + t * (end - start), first + t[:, 0] * (last - first)
    queries = points.double().numpy()
    return np.array([(np.linalg.norm(query - centers, axis=1) - radii).min() for query in queries])


@pytest.mark.parametrize(
    ("solid", "corners"),
    [
        (box(1.0, 0.6, 0.3), box(1.0, 0.6, 0.3).hull),
        (box(1.0, 0.6, 0.3).rotate("y", 30).rotate("x", 20).translate(0.1, 0.2, -0.1), None),
        (extrude(KITE, 0.4), None),
        (extrude(KITE[::-1], 0.4).rotate("z", -70), None),
    ],
)
def test_flat_solids_have_the_distance_of_their_hull(solid: Solid, corners: Array | None) -> None:
    points = near(solid, 0.3)
    expected = hull_distance(solid.hull if corners is None else corners, points)
    np.testing.assert_allclose(solid(points), expected, atol=1e-5)


@pytest.mark.parametrize("profile", [[(0.0, -0.3), (0.5, -0.3), (0.3, 0.4), (0.0, 0.6)], CUP])
def test_revolved_has_the_distance_of_its_profile(profile: list[tuple[float, float]]) -> None:
    """In the plane z = 0 the nearest surface point lies in that plane, on a band above the profile."""
    solid = revolve(profile)
    points = near(solid, 0.3) * torch.tensor([1.0, 1.0, 0.0])
    starts = np.array(profile)
    ends = np.roll(starts, -1, axis=0)
    walls = (starts[:, 0] > 0) | (ends[:, 0] > 0)
    quads = np.array(
        [[(*s, -9.0), (*e, -9.0), (*e, 9.0), (*s, 9.0)] for s, e in zip(starts[walls], ends[walls], strict=True)]
    )
    quads = np.concatenate([quads, quads * np.array([-1.0, 1.0, 1.0])])
    faces = (np.arange(len(quads))[:, None, None] * 4 + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    expected = np.sqrt(igl.point_mesh_squared_distance(points.double().numpy(), quads.reshape(-1, 3), faces)[0])
    np.testing.assert_allclose(solid(points).abs(), expected, atol=1e-5)


def test_revolved_is_round_and_signed() -> None:
    solid, points = revolve(CUP), near(revolve(CUP), 0.3)
    torch.testing.assert_close(solid.rotate("y", 77)(points), solid(points), atol=2e-6, rtol=0)
    r, y = points[:, ::2].norm(dim=1).numpy(), points[:, 1].numpy()
    within = (y > 0) & (y < 0.9) & (r < 0.4 + y / 9) & ((y < 0.12) | (r > 0.28 + (y - 0.12) * 0.1 / 0.78))
    sure = solid(points).abs().numpy() > 1e-6
    assert ((solid(points).numpy() < 0) == within)[sure].all()


def test_extruded_has_the_sign_of_its_outline() -> None:
    points = uniform(5000)
    x, y, z = points.T.numpy()
    within = (np.abs(x) * 1.1 / 0.5 < 0.6 - y) & (y > -0.2 - np.abs(x) * 0.6) & (np.abs(z) < 0.2)
    solid = extrude(ARROW, 0.4)
    sure = solid(points).abs().numpy() > 1e-6
    assert ((solid(points).numpy() < 0) == within)[sure].all()


def test_round_solids_have_the_distance_of_their_balls() -> None:
    start, end = (-0.4, 0.1, 0.2), (0.3, 0.4, -0.2)
    for first, last in [(0.3, 0.1), (0.1, 0.25), (0.2, 0.2)]:
        solid = round_cone(start, end, first, last)
        points = near(solid)[:1500]
        expected = balls_distance(np.array(start), np.array(end), first, last, points)
        outside = expected > 0
        np.testing.assert_allclose(solid(points)[outside], expected[outside], atol=1e-5)
        assert ((solid(points).numpy() > 0) == outside).all()
    points = near(tube([start, end], 0.2))
    torch.testing.assert_close(tube([start, end], 0.2)(points), round_cone(start, end, 0.2, 0.2)(points))


def test_sphere_and_cylinder_agree_with_closed_forms() -> None:
    points = uniform(4000)
    torch.testing.assert_close(sphere(0.5)(points), points.norm(dim=1) - 0.5, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        cylinder(0.4, 0.7)(points), cone(0.4, 0.4, 0.7).translate(y=-0.35)(points), atol=1e-6, rtol=0
    )


def test_a_union_has_the_sign_of_the_set_operation() -> None:
    points, a, b = uniform(5000), box(1.0, 0.8, 0.6), sphere(0.5).translate(0.2)
    inside_a, inside_b = a(points) < 0, b(points) < 0
    assert torch.equal(union(a, b)(points) < 0, inside_a | inside_b)


def test_moved_turned_and_mirrored_copies_have_exact_distances() -> None:
    points, part = uniform(5000), box(0.2, 0.3, 0.4).translate(0.5, 0.0, 0.4)
    images = union(
        part,
        part.rotate("y", 180),
        box(0.2, 0.3, 0.4).translate(-0.5, 0, 0.4),
        box(0.2, 0.3, 0.4).translate(0.5, 0, -0.4),
    )
    torch.testing.assert_close(part.mirror("xz")(points), images(points), atol=1e-6, rtol=0)
    torch.testing.assert_close(box(2.0, 1.0, 0.5).translate(5, 6, 7).scale_to(1.0)(points), box(1.0, 0.5, 0.25)(points))


def test_hulls_bound_their_solids() -> None:
    points = uniform(20000)
    for solid in [
        sphere(0.4).translate(0.1),
        cone(0.5, 0.2, 0.7),
        revolve(CUP, 0.05),
        tube([(-0.5, 0, 0), (0.5, 0.5, 0)], 0.1),
    ]:
        for turned in (solid, solid.rotate("x", 35), solid.mirror("x")):
            inside = points[turned(points) < 0].double().numpy()
            assert (inside >= turned.hull.min(axis=0) - 1e-6).all()
            assert (inside <= turned.hull.max(axis=0) + 1e-6).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_are_one_piece_inside_the_box(family: str) -> None:
    axis = (np.arange(64) + 0.5) / 32 - 1
    grid = torch.tensor(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3), dtype=torch.float32)
    for shape in draw_shapes(30, 7, [family]):
        inside = (shape.sdf(grid) < 0).numpy().reshape(64, 64, 64)
        assert label(inside, connectivity=1).max() == 1, shape.name
        extent = np.abs(axis[np.argwhere(inside)])
        assert extent.max() <= 0.9 + 1e-6, shape.name
        spans = np.ptp(axis[np.argwhere(inside)], axis=0)
        assert 1.55 < spans.max() <= 1.8, shape.name


@pytest.mark.parametrize("family", FAMILIES)
def test_families_have_true_signed_distances(family: str) -> None:
    """A value never changes by more than the step in space, and outside the gradient points away from the surface."""
    points = uniform(4000, seed=1)
    steps = 0.05 * (uniform(4000, seed=2))
    for shape in draw_shapes(8, 3, [family]):
        change = (shape.sdf(points + steps) - shape.sdf(points)).abs()
        assert (change <= steps.norm(dim=1) + 1e-5).all(), shape.name
        outside = points[(shape.sdf(points) > 0.003) & (shape.sdf(points) < 0.2)].requires_grad_()
        values = shape.sdf(outside)
        (slopes,) = torch.autograd.grad(values.sum(), outside)
        assert slopes.isfinite().all()
        assert ((slopes.norm(dim=1) - 1).abs() < 1e-3).float().mean() > 0.995, shape.name
        landed = shape.sdf((outside - values[:, None] * slopes).detach()).abs()
        assert (landed < 1e-4).float().mean() > 0.995, shape.name


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_have_no_thin_parts(family: str) -> None:
    """From every point inside, steps inwards reach a depth of about half the least thickness, 0.09."""
    points = uniform(6000)
    for shape in draw_shapes(6, 11, [family]):
        inside = points[shape.sdf(points) < 0]
        deepest = -shape.sdf(inside)
        for _ in range(24):
            inside.requires_grad_()
            (slopes,) = torch.autograd.grad(shape.sdf(inside).sum(), inside)
            inside = (inside - 0.005 * slopes).detach()
            deepest = torch.maximum(deepest, -shape.sdf(inside))
        assert (deepest > 0.04).float().mean() > 0.98, shape.name


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_finite_everywhere(family: str) -> None:
    special = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, -0.9, 0.0], [0.3, 0.0, 0.0]], requires_grad=True)
    for shape in draw_shapes(5, 0, [family]):
        (slopes,) = torch.autograd.grad(shape.sdf(special).sum(), special)
        assert slopes.isfinite().all()
        assert shape.sdf(torch.zeros(0, 3)).shape == (0,)
        assert shape.sdf(uniform(9)).dtype == torch.float32


def test_equal_seeds_give_equal_balanced_shapes_and_a_longer_list_begins_with_the_shorter() -> None:
    points = uniform(500)
    first, second, longer = draw_shapes(12, 5), draw_shapes(12, 5), draw_shapes(30, 5)
    for a, b, c in zip(first, second, longer[:12], strict=True):
        assert a.name == b.name == c.name
        assert torch.equal(a.sdf(points), b.sdf(points))
        assert torch.equal(a.sdf(points), c.sdf(points))
    assert [shape.name for shape in longer[:7]] == [f"{f}-{i:05d}" for i, f in enumerate([*FAMILIES, "chair"])]
    assert {f: sum(shape.label == f for shape in longer) for f in FAMILIES} == dict.fromkeys(FAMILIES, 5)


def test_shapes_differ_from_one_another() -> None:
    points = uniform(500)
    values = torch.stack([shape.sdf(points) for seed in range(3) for shape in draw_shapes(12, seed)])
    gaps = torch.cdist(values, values, p=1) / len(points) + torch.eye(len(values))
    assert gaps.min() > 1e-3


def test_unknown_families_and_negative_counts_are_refused() -> None:
    with pytest.raises(InputError, match="'sofa' is no built-in family; choose among chair, table"):
        draw_shapes(3, 0, ["chair", "sofa"])
    with pytest.raises(InputError, match="the list of families is empty"):
        draw_shapes(3, 0, [])
    with pytest.raises(InputError, match="give 0 or more"):
        draw_shapes(-1, 0)


def test_lazy_shapes_are_the_shapes_of_a_list() -> None:
    lazy, whole = lazy_shapes(5, 4, seed=1), draw_shapes(9, 1)[5:]
    points = torch.rand(64, 3) * 2 - 1
    assert [shape.name for shape in lazy] == [shape.name for shape in whole]
    assert torch.equal(lazy[2].sdf(points), whole[2].sdf(points))
    assert [shape.name for shape in lazy[2:9]] == [shape.name for shape in whole[2:]]
    with pytest.raises(IndexError):
        lazy[4]
