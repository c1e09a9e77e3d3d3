"""Tests that hold only when every fault of the list is mended; `PENDING = False` switches them on."""

import pytest

PENDING = True
"""Whether some faults are not mended yet."""

pending = pytest.mark.skipif(PENDING, reason="some faults of the list are not mended yet")
