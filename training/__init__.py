"""Programs with an optimiser over a corpus.

Threads that wait by spinning, the default of OpenMP, slow small tensors down many times over as soon as another process
wants a core; sleeping ones cost next to nothing. This has to be said before torch is loaded.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
