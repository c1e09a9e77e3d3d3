"""Distances of the parts of compositions: exact values, exact signs, lower bounds, boxes of parts."""

import numpy as np
import pytest
import torch

from weightgpt.shapes import primitives
from weightgpt.shapes.compositions.assembly import turn_about
from weightgpt.shapes.compositions.distances import Composition
from weightgpt.shapes.compositions.parts import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    EXTRUDED,
    REVOLVED,
    TORUS,
    bounding_box,
    join_parts,
    make_part,
    place_parts,
    scale_parts,
)
from weightgpt.shapes.compositions.stream import lazy_compositions
from weightgpt.shapes.sampling import uniform_points

LETTER = [(-0.5, -0.6), (0.5, -0.6), (0.5, -0.2), (-0.1, -0.2), (-0.1, 0.6), (-0.5, 0.6)]
CUP = [(0.0, -0.6), (0.4, -0.6), (0.6, 0.5), (0.5, 0.5), (0.3, -0.4), (0.0, -0.4)]
EXACT = [
    (make_part(BOX, (0.5, 0.3, 0.2, 0.1)), primitives.box(1.0, 0.6, 0.4, 0.1)),
    (make_part(CYLINDER, (0.4, 0.5)), primitives.cylinder(0.4, 1.0)),
    (make_part(CYLINDER, (0.2, 0.7, 0.2)), primitives.tube([(0, -0.5, 0), (0, 0.5, 0)], 0.2)),
    (make_part(EXTRUDED, (0.2,), np.array(LETTER)), primitives.extrude(LETTER, 0.4)),
    (make_part(REVOLVED, (), np.array(CUP)), primitives.revolve(CUP)),
    (make_part(TORUS, (0.6, 0.1, np.pi)), lambda p: _ring(p, 0.6) - 0.1),
    (make_part(ELLIPSOID, (0.5, 0.5, 0.5)), primitives.sphere(0.5)),
]
POINTS = uniform_points(4000, 3, 0)


def _ring(points: torch.Tensor, radius: float) -> torch.Tensor:
    return torch.hypot(torch.hypot(points[:, 0], points[:, 2]) - radius, points[:, 1])


@pytest.mark.parametrize(("part", "exact"), EXACT)
def test_the_distance_of_a_part_is_exact(part, exact):
    assert (Composition(part)(POINTS) - exact(POINTS)).abs().max() < 2e-6


@pytest.mark.parametrize("degrees", [30, 90, 150])
def test_an_arc_is_a_bent_tube_with_round_ends(degrees):
    angle = np.radians(degrees)
    path = [(0.6 * np.cos(t), 0.0, 0.6 * np.sin(t)) for t in np.linspace(-angle, angle, 400)]
    part = make_part(TORUS, (0.6, 0.1, angle))
    assert (Composition(part)(POINTS) - primitives.tube(path, 0.1)(POINTS)).abs().max() < 1e-4


def test_the_sign_of_an_ellipsoid_is_exact_and_its_value_a_lower_bound():
    half = torch.tensor([0.7, 0.4, 0.2])
    values = Composition(make_part(ELLIPSOID, half.tolist()))(POINTS)
    assert torch.equal(values > 0, (POINTS / half).norm(dim=1) > 1)
    surface = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))) * half
    assert (values.abs() <= torch.cdist(POINTS, surface).amin(1) + 1e-6).all()


@pytest.mark.parametrize("number", range(12))
def test_the_value_of_a_composition_is_a_lower_bound_of_its_distance(number):
    """No point of the other sign is nearer than the value says."""
    shape = lazy_compositions(0, 12, seed=1)[number]
    values, rng = shape.sdf(POINTS), torch.Generator().manual_seed(number)
    for scale in (0.02, 0.1, 0.4):
        others = POINTS + scale * torch.randn(POINTS.shape, generator=rng)
        crosses = (shape.sdf(others) > 0) != (values > 0)
        assert (values.abs() <= (others - POINTS).norm(dim=1) + 1e-5)[crosses].all()


def test_a_cut_is_taken_from_its_host_alone():
    blocks = [
        make_part(REVOLVED, (), np.array(CUP)),
        np.concatenate([make_part(BOX, (0.5, 0.5, 0.5)), make_part(CYLINDER, (0.3, 0.6), host=0)]),
        make_part(BOX, (0.1, 0.1, 0.9)),
    ]
    value = Composition(join_parts(blocks))(torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.0, 0.0], [0.45, 0.0, 0.45]]))
    assert torch.equal(value > 0, torch.tensor([True, False, False]))
    assert value[2] == pytest.approx(-0.05)


def test_copies_are_moved_with_their_cuts():
    block = np.concatenate([make_part(BOX, (0.2, 0.2, 0.2)), make_part(CYLINDER, (0.1, 0.3), host=0)])
    mirror = np.diag([-1.0, 1.0, 1.0])
    parts = place_parts(block, np.stack([np.eye(3), mirror]), np.array([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]))
    assert parts["host"].tolist() == [-1, 0, -1, 2]
    centers = torch.tensor([[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0], [0.65, 0.0, 0.0], [-0.65, 0.0, 0.0]])
    assert Composition(parts)(centers).tolist() == pytest.approx([0.1, 0.1, -0.05, -0.05], abs=1e-6)


@pytest.mark.parametrize("part", [part for part, _ in EXACT] + [make_part(ELLIPSOID, (0.6, 0.3, 0.2))])
def test_the_box_of_a_turned_part_is_exact(part):
    turn = turn_about(np.array([0.6, 0.0, 0.8]), 1.1)
    low, high = bounding_box(place_parts(part, turn[None], np.array([[0.1, 0.0, -0.1]])))
    moved = Composition(place_parts(part, turn[None], np.array([[0.1, 0.0, -0.1]])))
    inside = uniform_points(400_000, 3, 1) * 1.2
    inside = inside[moved(inside) < 0].numpy()
    assert (inside >= low).all()
    assert (inside <= high).all()
    assert np.abs(np.stack([inside.min(0) - low, inside.max(0) - high])).max() < 0.06


def test_angles_are_not_scaled():
    part = scale_parts(make_part(TORUS, (0.6, 0.1, 1.5)), 0.5)
    assert part["size"][0].tolist() == [0.3, 0.05, 1.5, 0.0]


def test_a_gradient_exists_everywhere():
    shapes = lazy_compositions(0, 8, seed=0)
    for shape in shapes:
        points = torch.cat([POINTS[:200], torch.zeros(1, 3)]).requires_grad_()
        shape.sdf(points).sum().backward()
        assert torch.isfinite(points.grad).all()
