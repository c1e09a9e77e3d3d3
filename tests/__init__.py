"""The tests, on one thread: tiny tensors gain nothing from more, and lose much when another process wants a core.

While they run, the shapes of tensors that public functions take and return are checked. The hook must be installed
before the library is imported, so this is the place: every test file is a part of this package. The hook slows
down every call. So modules without such shapes are left out, and so are those that are called most often.
"""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before the first import of numpy, which starts threads

from jaxtyping import install_import_hook

from tests import typecheck

_ROOT = Path(__file__).parents[1]
_CALLED_OFTEN = {"weightgpt.fields.functional", "weightgpt.visual.sphere_tracing"}
_SHAPED = {
    ".".join(path.relative_to(_ROOT).with_suffix("").parts)
    for path in (_ROOT / "weightgpt").rglob("*.py")
    if "from jaxtyping import" in path.read_text(encoding="utf-8")
}
install_import_hook(sorted(_SHAPED - _CALLED_OFTEN), f"{typecheck.__name__}.check_shapes")
