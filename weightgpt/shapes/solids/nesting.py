"""Which closed parts of a mesh lie inside which parts.

Decisions:

- A part lies inside another if its box does, and if the winding number of the other part is beyond 1/2 at some of its
  vertices. What lies inside a part lies inside all that the part lies in, which saves most of the tests.

Dimensions: n vertices, m faces, k parts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgpt.shapes.solids.connectivity import Faces, Vertices, drop_unused
from weightgpt.shapes.solids.crowding import TooComplexError
from weightgpt.shapes.solids.parts import Parts
from weightgpt.shapes.solids.winding import WindingNumber

MAX_PAIRS = 5_000_000
"""Most pairs of parts, one in the box of the other."""
_SAMPLES = 64  # vertices of a part that must lie inside another part


@dataclass(frozen=True)
class Nesting:
    """Which parts lie inside which."""

    contents: dict[int, NDArray[np.int64]]
    """The parts that lie inside a part, for each part that has some, from the smallest part to the largest."""
    parent: NDArray[np.int64]
    """The smallest part around each part (k,); -1 if there is none."""


def find_nesting(
    vertices: Vertices, faces: Faces, parts: Parts, outer: NDArray[np.bool_], inner: NDArray[np.bool_]
) -> Nesting:
    """Find which parts lie inside which larger parts.

    Args:
        vertices: (n, 3).
        faces: (m, 3).
        parts: the parts of the faces.
        outer: parts that others can lie in (k,).
        inner: parts that can lie in others (k,).

    Raises:
        TooComplexError: there are more than `MAX_PAIRS` pairs.
    """
    members = _in_boxes(vertices, faces, parts, outer, inner)
    by_part = np.argsort(parts.of_face, kind="stable")
    starts = np.searchsorted(parts.of_face[by_part], np.arange(len(outer) + 1))
    samples = _Samples(faces, parts)
    parent = np.full(len(outer), -1)
    contents: dict[int, NDArray[np.int64]] = {}
    for j, around in members.items():
        corners, triples = drop_unused(vertices, faces[by_part[starts[j] : starts[j + 1]]])
        winding = WindingNumber(corners, triples)
        untested, inside = np.isin(np.arange(len(outer)), around), np.zeros(len(outer), bool)
        while untested.any():
            # The largest of those that lie inside each other are tested first.
            tested = np.flatnonzero(untested & ~((parent >= 0) & untested[parent]))
            found = tested[samples.are_inside(winding, vertices, tested)]
            inside[found] = True
            for i in found:
                inside[contents.get(int(i), found[:0])] = True
            untested[tested] = False
            untested &= ~inside
        if inside.any():
            contents[j] = np.flatnonzero(inside)
            parent[inside & (parent < 0)] = j
    return Nesting(contents, parent)


def _in_boxes(
    vertices: Vertices, faces: Faces, parts: Parts, outer: NDArray[np.bool_], inner: NDArray[np.bool_]
) -> dict[int, NDArray[np.int64]]:
    """The smaller inner parts in the box of each outer part, from the smallest outer part to the largest."""
    low, high = np.full((len(outer), 3), np.inf), np.full((len(outer), 3), -np.inf)
    np.minimum.at(low, parts.of_face, vertices[faces].min(1))
    np.maximum.at(high, parts.of_face, vertices[faces].max(1))
    size = np.empty(len(outer), np.int64)
    size[np.argsort(-np.abs(parts.volume))[::-1]] = np.arange(len(outer))  # the place of each part in ascending order
    axis = int((high - low).mean(0).argmin())
    chosen = np.flatnonzero(inner)
    chosen = chosen[np.argsort(low[chosen, axis])]
    first = np.searchsorted(low[chosen, axis], low[:, axis])
    last = np.searchsorted(low[chosen, axis], high[:, axis], side="right")
    members, total = {}, 0
    for j in map(int, np.argsort(size)):
        if not outer[j] or last[j] - first[j] <= int(inner[j]):
            continue
        around = chosen[first[j] : last[j]]
        around = around[(size[around] < size[j]) & (high[around, axis] <= high[j, axis])]
        around = around[((low[around] >= low[j]) & (high[around] <= high[j])).all(1)]
        total += len(around)
        if total > MAX_PAIRS:
            raise TooComplexError(
                f"more than {MAX_PAIRS // 10**6} million pairs of parts of which one is in the box of the other; give a"
                " mesh of fewer parts"
            )
        if len(around):
            members[j] = around
    return members


class _Samples:
    """A few vertices of each part."""

    def __init__(self, faces: Faces, parts: Parts) -> None:
        count = int(faces.max()) + 1
        keys = np.unique(parts.of_face[:, None] * count + faces)
        part, vertex = keys // count, keys % count
        start = np.searchsorted(part, np.arange(len(parts.area) + 1))
        step = -(-np.diff(start) // _SAMPLES)
        taken = (np.arange(len(part)) - start[part]) % step[part] == 0
        self._vertex, self._start = vertex[taken], np.searchsorted(part[taken], np.arange(len(parts.area) + 1))

    def are_inside(self, winding: WindingNumber, vertices: Vertices, tested: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether all samples of parts (t,) are where a winding number is beyond 1/2, (t,)."""
        number = self._start[tested + 1] - self._start[tested]
        of_sample = np.repeat(np.arange(len(tested)), number)
        place = np.arange(len(of_sample)) - np.repeat(np.cumsum(number) - number, number)
        points = vertices[self._vertex[self._start[tested][of_sample] + place]]
        outside = np.abs(winding(points)) <= 0.5
        inside: NDArray[np.bool_] = np.bincount(of_sample, outside, len(tested)) == 0
        return inside
