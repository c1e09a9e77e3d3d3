"""The folder of a run: its settings, which do not change, and what its stages cost."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

STAGES = ("shapes", "fits", "codebook", "corpus", "gpt", "samples", "figures", "report")


class Run:
    """A folder that a pipeline fills, stage by stage."""

    def __init__(self, config: dict[str, Any], output: Path) -> None:
        self.config, self.output = config, output
        self.kept = output / "config.json"
        self.threads = torch.get_num_threads()

    def keep(self) -> None:
        """Write the settings, or compare them with those the run was begun with."""
        now = self.config
        if not self.kept.is_file():
            return write_json(self.kept, now)
        before = read_json(self.kept)
        changed = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
        if changed:
            raise InputError(
                f"{self.output} was begun with other settings ({', '.join(changed)}); repeat that command to go on, or"
                " choose another --output."
            )
        return None

    @contextmanager
    def stage(self, name: str, small: bool = True) -> Iterator[None]:
        """Announce a stage and note its seconds and the memory so far.

        Args:
            small: whether its tensors are small. These are as fast on one thread as on two, no slower when another
                process wants a core, and the same to the last bit in every run.
        """
        torch.set_num_threads(1 if small else self.threads)
        print(f"[{STAGES.index(name) + 1}/{len(STAGES)}] {name}", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        yield
        path = self.output / "seconds.json"
        spent = read_json(path) if path.is_file() else {"seconds": {}, "peak_memory_mb": 0}
        # A finished stage that is only read again keeps the time that making it took.
        spent["seconds"][name] = round(max(spent["seconds"].get(name, 0.0), time.perf_counter() - begun), 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        spent["peak_memory_mb"] = round(max(spent["peak_memory_mb"], peak))
        write_json(path, spent)
