"""Types of the arrays of a mesh, and arrays whose length is not known before they are read."""

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
Indices = NDArray[np.int64]

Number = TypeVar("Number", np.float64, np.int64)


class Growing(Generic[Number]):
    """An array that is filled part by part: it is never in memory twice, as the parts of `np.concatenate` are."""

    def __init__(self, kind: type[Number], expected: int = 0) -> None:
        """Args:
        kind: type of the numbers.
        expected: how many numbers there may be; the memory of those that do not come is never touched.
        """
        self._values: NDArray[Any] = np.empty(expected, kind)
        self._count = 0

    def add(self, values: NDArray[Number]) -> None:
        """Append numbers.

        Args:
            values: the numbers, of any shape.
        """
        end = self._count + values.size
        if end > len(self._values):
            self._values.resize(max(end, len(self._values) * 9 // 8), refcheck=False)
        self._values[self._count : end] = values.reshape(-1)
        self._count = end

    def array(self, *shape: int) -> NDArray[Any]:
        """All numbers.

        Args:
            *shape: shape of the array, one axis by default.
        """
        values: NDArray[Any] = self._values[: self._count].reshape(shape or -1)
        return values
