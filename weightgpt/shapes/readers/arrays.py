"""Types of the arrays of a mesh."""

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
Indices = NDArray[np.int64]
