"""The digest is equal for equal geometry, whatever the file, and differs for other shapes."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from tests.shapes.solids.pieces import box, inverted, part, solid
from weightgpt.shapes.meshes import load_shape
from weightgpt.shapes.readers.part import MeshPart


def shuffled(piece: MeshPart, seed: int) -> MeshPart:
    """The same triangles, with vertices and faces in another order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(piece.vertices))
    faces = np.argsort(order)[piece.faces][rng.permutation(len(piece.faces))]
    return MeshPart(piece.vertices[order], np.stack([np.roll(face, rng.integers(3)) for face in faces]))


def knot() -> MeshPart:
    mesh = trimesh.creation.torus(0.6, 0.25, major_sections=24, minor_sections=12)
    mesh.vertices *= [1.0, 0.7, 1.3]
    mesh.vertices[:, 0] += 0.3 * mesh.vertices[:, 1] ** 2
    return part(mesh)


@pytest.mark.parametrize("seed", range(3))
def test_case_40_the_digest_does_not_depend_on_order_position_and_size(seed: int) -> None:
    digest = solid(knot()).digest
    moved = MeshPart(knot().vertices * (3.7 + seed) + [5, -2, 11 + seed], knot().faces)
    assert solid(shuffled(moved, seed)).digest == digest
    assert solid(inverted(moved)).digest == digest


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "glb", "off"])
def test_case_40_the_digest_does_not_depend_on_name_and_format(tmp_path: Path, suffix: str) -> None:
    mesh = trimesh.Trimesh(knot().vertices, knot().faces, process=False)
    mesh.export(tmp_path / f"copy.{suffix}")
    assert load_shape(tmp_path / f"copy.{suffix}").digest == solid(knot()).digest


def test_other_shapes_have_other_digests() -> None:
    rng = np.random.default_rng(0)
    digests = {solid(box((0, 0, 0), tuple(sides))).digest for sides in rng.uniform(0.3, 1, (60, 3))}
    assert len(digests) == 60
    mirrored = MeshPart(knot().vertices * [-1, 1, 1], knot().faces[:, ::-1].copy())
    longer = MeshPart(knot().vertices * [1, 1, 1.01], knot().faces)
    assert len({solid(piece).digest for piece in (knot(), mirrored, longer)}) == 3
