"""Programs that train models, compare them and report on them. The wheel does not contain them."""

import os

# OpenMP threads that spin while they wait slow each other down many times over when another process needs a core.
# OpenMP reads this variable when torch is loaded, so we set it here, before any program imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
