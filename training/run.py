"""The folder of a run: its configuration, which never changes, and the cost of its stages."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from training.presets import PipelineConfig
from weightgpt import __version__
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

STAGES = ("shapes", "fits", "codebook", "corpus", "gpt", "samples", "figures", "report")
"""The stages of a pipeline, in order."""


class Run:
    """A folder that a pipeline fills, stage by stage.

    Args:
        config: the configuration of the run.
        output: the folder; it is created when something is written.
    """

    def __init__(self, config: PipelineConfig, output: Path) -> None:
        self.config, self.output = config, output
        self.num_threads = torch.get_num_threads()

    def write_config(self) -> None:
        """Write `config.json`, or compare the configuration with the one that the run was started with.

        Raises:
            InputError: the run was started with another configuration or another version.
        """
        path, values = self.output / "config.json", {"version": __version__, **self.config.to_dict()}
        if not path.is_file():
            write_json(path, values)
            return
        new, old = flatten(values), flatten(read_json(path))
        differences = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
        if differences:
            raise InputError(
                f"{self.output} was started with other settings ({', '.join(differences)}); repeat that command to"
                " resume, or choose another --output."
            )

    @contextmanager
    def stage(self, name: str, small: bool = True) -> Iterator[None]:
        """Announce a stage, and write its seconds and the peak memory so far to `seconds.json`.

        Args:
            name: one of `STAGES`.
            small: whether the tensors of the stage are small. The stage then runs on one thread, because small tensors
                are as fast on one thread as on two, one thread does not wait for a core that another process uses, and
                one thread gives the same bits in every run.
        """
        torch.set_num_threads(1 if small else self.num_threads)
        print(f"[{STAGES.index(name) + 1}/{len(STAGES)}] {name}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield
        path = self.output / "seconds.json"
        costs = read_json(path) if path.is_file() else {"seconds": {}, "peak_memory_mb": 0}
        # A resumed run only reads the files of a finished stage, so we store the longest time.
        costs["seconds"][name] = round(max(costs["seconds"].get(name, 0.0), time.perf_counter() - start), 1)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        costs["peak_memory_mb"] = round(max(costs["peak_memory_mb"], peak_mb))
        write_json(path, costs)


def read_config(run: Path) -> PipelineConfig:
    """The configuration of a run.

    Args:
        run: the folder of a run of `training.pipeline`.

    Raises:
        InputError: the folder has no `config.json`, or another version wrote it.
    """
    if not (run / "config.json").is_file():
        raise InputError(f"{run} has no config.json; give the folder of a run of training.pipeline.")
    values = read_json(run / "config.json")
    version = values.pop("version", None) if isinstance(values, dict) else None
    try:
        return PipelineConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{run} is a run of weightgpt {version or 'of unknown version'}: {error}") from error


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """One JSON object instead of nested ones; dots join the keys.

    Args:
        values: the nested objects.
        prefix: the start of all keys.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
