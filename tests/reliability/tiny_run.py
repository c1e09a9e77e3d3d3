"""A run of the pipeline of about three seconds, and what is read from the folder of a run."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from safetensors import safe_open

from tests.conftest import TINY
from training import pipeline
from training.presets import PipelineConfig
from training.run import STAGES

CONFIG: PipelineConfig = replace(
    TINY,
    num_shapes=32,
    num_held_out=8,
    num_extra_shapes=16,
    num_samples=2,
    num_eval_points=256,
    resolution=16,
    tokenizer=replace(
        TINY.tokenizer,
        fit=replace(TINY.tokenizer.fit, steps=60, batch_size=8),
        codebook=replace(TINY.tokenizer.codebook, steps=60),
    ),
    gpt=replace(TINY.gpt, epochs=3, num_evaluations=4),
)
"""Two batches of plain fits and four checkpoints, so that there is something to resume within stages."""

ARTIFACTS = {
    "shapes": ["sdf_samples.safetensors"],
    "fits": ["fits/**/*.safetensors"],
    "codebook": ["codebook/*"],
    "corpus": ["corpus/*", "extra_shapes.safetensors"],
    "gpt": ["model/model.safetensors", "model/config.json"],
}
"""The files of each stage that a resumed run must not make again."""
CHECKPOINTS = "gpt/checkpoint-"
"""Checkpoints are no results: the Trainer writes their files one after the other, and removes old ones."""
TIMES = re.compile(r"seconds|peak_memory_mb|.*runtime|.*per_second|created|started|pid|host")
"""Keys of JSON files whose values differ from run to run."""
DRAFT = re.compile(r"\..*\.(tmp|old)|\.tmp.*|.*\.tmp")
"""Names of temporary files."""


def command(output: Path) -> Callable[[], int]:
    """The command of a run, for a forked process.

    Args:
        output: the folder of the run.
    """

    def run() -> int:
        pipeline.read_job = lambda: pipeline.PipelineJob(output=output, config=CONFIG)
        return pipeline.main()

    return run


def stages_begun(text: str) -> list[str]:
    """The stages that a run has announced.

    Args:
        text: what the run has printed.
    """
    return re.findall(rf"^\[\d/{len(STAGES)}\] (\w+)", text, re.MULTILINE)


def files(folder: Path) -> list[Path]:
    """All files of a run, without temporary ones and the checkpoints.

    Args:
        folder: the folder of the run.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder) for path in paths]
    return [
        path
        for path, name in zip(paths, names, strict=True)
        if not str(name).startswith(CHECKPOINTS) and not any(DRAFT.fullmatch(part) for part in name.parts)
    ]


def contents(folder: Path) -> dict[str, str]:
    """A digest of each file of a run by its path; times in JSON files do not count.

    Args:
        folder: the folder of the run.
    """
    return {str(path.relative_to(folder)): _digest(path) for path in files(folder)}


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json" and not _problem(path):
        data = json.dumps(_without_times(json.loads(data)), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if not TIMES.fullmatch(key)}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def drafts(folder: Path) -> list[str]:
    """The temporary files and folders in and beside a run.

    Args:
        folder: the folder of the run.
    """
    return [str(path) for path in sorted(folder.parent.rglob("*")) if DRAFT.fullmatch(path.name)]


def unreadable(folder: Path) -> list[str]:
    """The files of a run that their format does not allow, without temporary ones.

    Args:
        folder: the folder of the run.
    """
    return [f"{path.relative_to(folder)}: {problem}" for path in files(folder) if (problem := _problem(path))]


def _problem(path: Path) -> str:
    """Why a file cannot be read; empty if it can."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            with safe_open(path, "numpy") as tensors:
                tensors.keys()
        elif path.suffix == ".arrow":
            pa.ipc.open_stream(path.read_bytes(), options=pa.ipc.IpcReadOptions(use_threads=False)).read_all()
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                picture.verify()
        elif not path.stat().st_size:
            return "it is empty"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def artifacts(folder: Path, stages: list[str]) -> dict[str, tuple[int, int]]:
    """The inode and the time of each file that some stages have made.

    Args:
        folder: the folder of the run.
        stages: the stages.
    """
    paths = [path for stage in stages for pattern in ARTIFACTS.get(stage, []) for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}
