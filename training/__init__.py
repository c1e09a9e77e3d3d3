"""Programs with an optimizer over a corpus."""

import os

# Threads that spin while they wait slow each other down many times over as soon as another process wants a core. The
# OpenMP library reads this when torch is loaded, so it stands here, before any program imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
