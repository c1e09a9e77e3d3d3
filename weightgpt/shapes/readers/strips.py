"""Triangle strips become triangles."""

import numpy as np

from weightgpt.shapes.readers.arrays import Faces, Indices
from weightgpt.shapes.readers.limits import check_faces


def strip_triangles(strip: Indices, sizes: Indices) -> Faces:
    """Triangles of strips, which end where a row ends or an index is negative; every other triangle is turned.

    Args:
        strip: the indices of all rows.
        sizes: number of indices of each row.

    Returns:
        (m, 3) triangles whose corners differ.

    Raises:
        InputError: there are too many triangles.
    """
    row = np.repeat(np.arange(len(sizes)), sizes)
    ends = strip < 0
    begins = np.zeros(len(strip), bool)
    begins[:1] = True
    begins[1:] = ends[:-1] | (row[1:] != row[:-1])
    first = np.maximum.accumulate(np.where(begins, np.arange(len(strip)), 0))
    complete = (first[2:] == first[:-2]) & ~ends[2:] if len(strip) > 2 else np.zeros(0, bool)
    at = np.flatnonzero(complete)
    check_faces(len(at))
    odd = (at - first[at]) % 2
    triangles = np.stack([strip[at], strip[at + 1 + odd], strip[at + 2 - odd]], axis=1)
    distinct = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    return np.asarray(triangles[distinct], np.int64)
