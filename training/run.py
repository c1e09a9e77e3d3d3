"""The folder of a run: one process at a time, its configuration, what it was made from, and the cost of its stages."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from training.data.sources import source_records
from training.presets import PipelineConfig
from training.resume.digests import FileRecord
from training.resume.lock import output_folder
from training.resume.manifest import Manifest, remove_temporaries
from weightgpt import __version__
from weightgpt.errors import InputError
from weightgpt.io import read_json, write_json

STAGES = ("shapes", "fits", "codebook", "corpus", "gpt", "samples", "figures", "report")
"""The stages of a pipeline, in order."""
LATE_SETTINGS = {"num_samples", "temperature", "top_p", "resolution", "gpt.report_to"}
"""Settings of the last three stages alone. They may change when a run resumes: these stages always run anew."""

MAX_COST = 1e12
"""Largest number of seconds or of MB that `seconds.json` may hold."""


class Run:
    """A folder that a pipeline fills, stage by stage.

    Args:
        config: the configuration of the run.
        output: the folder; `session` creates it.
    """

    def __init__(self, config: PipelineConfig, output: Path) -> None:
        self.config, self.output = config, output
        self.num_threads = torch.get_num_threads()
        self.manifest: Manifest | None = None
        self.sources: dict[str, FileRecord] = {}

    @contextmanager
    def session(self) -> Iterator[None]:
        """Use the folder alone, and check it before any shape is read.

        Raises:
            InputError: the folder cannot be written to, another process uses it, or the run was started with other
                settings or other files.
        """
        with output_folder(self.output):
            remove_temporaries(self.output)
            if changed := self.check_config():
                print(f"resuming with other settings ({', '.join(changed)}).", file=sys.stderr)
            self.manifest = Manifest(self.output)
            # A mesh that changes while it is read then differs from its record when the run resumes.
            self.sources = source_records(self.config)
            self.manifest.check_sources(self.sources)
            yield

    def check_config(self) -> list[str]:
        """Compare the configuration with the one that the run was started with.

        Returns:
            The names of settings that differ and may differ.

        Raises:
            InputError: the run was started with another configuration or another version.
        """
        path = self.output / "config.json"
        if not path.is_file():
            return []
        values = read_json(path)
        if not isinstance(values, dict):
            raise InputError(f"{path} is not the configuration of a run; choose another --output.")
        new, old = flatten({"version": __version__, **self.config.to_dict()}), flatten(values)
        differences = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
        # Files are compared by their content, so the folder may have another name.
        folder = "corpus_folder" if self.config.partnet_classes else "corpus"
        same = LATE_SETTINGS if self.config.is_stream else {*LATE_SETTINGS, folder}
        if early := [name for name in differences if name not in same]:
            raise InputError(
                f"{self.output} was started with other settings ({', '.join(early)}); repeat that command to"
                " resume, or choose another --output."
            )
        return differences

    def write_config(self) -> None:
        """Write `config.json`, or compare the configuration with the one that the run was started with.

        Raises:
            InputError: the run was started with another configuration or another version.
        """
        self.check_config()
        write_json(self.output / "config.json", {"version": __version__, **self.config.to_dict()})

    def start(self) -> None:
        """Write `config.json` and `manifest.json`, after the shapes could be read."""
        self.write_config()
        if self.manifest is not None:
            self.manifest.start(self.sources)

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
        if self.manifest is not None:
            self.manifest.begin(name)
        yield
        if self.manifest is not None:
            self.manifest.finish(name)
        self._write_costs(name, time.perf_counter() - start)

    def _write_costs(self, name: str, seconds: float) -> None:
        """Add the seconds of a stage and the peak memory to `seconds.json`."""
        costs = read_costs(self.output)
        # A resumed run only reads the files of a finished stage, so we store the longest time.
        longest = {**costs["seconds"], name: round(max(costs["seconds"].get(name, 0.0), seconds), 1)}
        peak_mb = max(costs["peak_memory_mb"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        write_json(self.output / "seconds.json", {"seconds": longest, "peak_memory_mb": round(peak_mb)})


def read_costs(run: Path) -> dict[str, Any]:
    """The seconds of each stage and the peak memory in MB of a run; a broken file is ignored with a word.

    Args:
        run: the folder of a run.
    """
    path = run / "seconds.json"
    if path.is_file():
        reason = "it does not have the seconds of stages"
        try:
            costs = read_json(path)
            if _are_costs(costs):
                return costs
        except InputError as error:
            reason = str(error)
        print(f"{path} is ignored: {reason.removesuffix('.')}.", file=sys.stderr)
    return {"seconds": {}, "peak_memory_mb": 0}


def _are_costs(values: Any) -> bool:
    """Whether JSON values are the content of `seconds.json`."""
    if not isinstance(values, dict) or values.keys() != {"seconds", "peak_memory_mb"}:
        return False
    seconds = values["seconds"]
    if not isinstance(seconds, dict) or not seconds.keys() <= set(STAGES):
        return False
    numbers = [*seconds.values(), values["peak_memory_mb"]]
    return all(type(number) in (int, float) and 0 <= number <= MAX_COST for number in numbers)


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
