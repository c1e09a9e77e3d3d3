"""The tests, on one thread: tiny tensors gain nothing from more, and lose much when another process wants a core."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
