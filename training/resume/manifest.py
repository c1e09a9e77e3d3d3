"""What a run was made from, and what it has made: `manifest.json`.

Decisions:
- The manifest has the hash of each source file, and for each stage the hashes of its files and of the files of all
  earlier stages. A stage is used again only if all of these are as recorded, never because a path exists.
- A changed source stops the run, because its stages would belong to other shapes. A broken file of a stage is made
  again, and so are the later stages if it comes out different.
- A stage that was interrupted has a record without files. Its finished parts are used again.

File: {sources: {path: {bytes, sha256}}, stages: {name: {made_from: digest, files: {path: {bytes, sha256}} or null}}}.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from training.resume.digests import FileRecord, are_records, changed_files, differing, records
from weightgpt._programs import settings_digest
from weightgpt.errors import InputError
from weightgpt.io import read_json, read_tensors, write_json
from weightgpt.shapes.readers.limits import FORMATS

MANIFEST = "manifest.json"
"""Name of the file in the folder of a run."""
FILES: dict[str, tuple[str, ...]] = {
    "shapes": ("sdf_samples.safetensors",),
    "fits": ("fits",),
    "codebook": ("codebook",),
    "corpus": ("corpus", "extra_shapes.safetensors"),
    "gpt": ("model", "gpt/model", "gpt/history.json"),
}
"""The files and folders of each stage whose results are used again, in the order of the stages."""
INTERIM = {"gpt": ("gpt",)}
"""Folders of a stage that hold its checkpoints, which have their own records."""
INDEPENDENT = ("fits/train/", "fits/test/")
"""Folders whose files do not depend on each other."""
PIECEWISE = {"fits"}
"""Folders that are not written as a whole, but file by file."""
REWRITTEN = {"model/README.md"}
"""Files of a stage that a later stage writes; they are no input of any stage."""


class Manifest:
    """The manifest of a run.

    Args:
        folder: the folder of the run.

    Raises:
        InputError: the file is broken, or it is missing next to files of stages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / MANIFEST
        self.stages: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, FileRecord] | None = None
        if self.path.is_file():
            values = read_json(self.path)
            if not _is_manifest(values):
                raise InputError(f"{self.path} is not a manifest of a run; choose another --output.")
            self.sources, self.stages = values["sources"], values["stages"]
        elif present := [name for stage in FILES for name in _present(folder, stage)]:
            raise InputError(
                f"{folder} has {present[0]} but no {MANIFEST}, which says what it was made from; choose another"
                " --output, or delete the folder."
            )

    def check_sources(self, sources: dict[str, FileRecord]) -> None:
        """Compare the source files with those that the run was started with.

        Args:
            sources: the records of the files that the shapes are read from.

        Raises:
            InputError: a file is new, missing or has other bytes.
        """
        if self.sources is None:
            return
        changes = [f"{name} is missing" for name in self.sources.keys() - sources.keys()]
        changes += [f"{name} is new" for name in sources.keys() - self.sources.keys()]
        both = self.sources.keys() & sources.keys()
        changes = sorted([*changes, *(f"{name} has changed" for name in both if sources[name] != self.sources[name])])
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise InputError(
                f"the folder of shapes is not the one that {self.folder} was started with: {', '.join(changes[:3])}"
                f"{more}; put the files back to resume, or choose another --output."
            )

    def start(self, sources: dict[str, FileRecord]) -> None:
        """Write the manifest of a run that starts or resumes.

        Args:
            sources: the records of the files that the shapes are read from.
        """
        self.sources = sources
        self._write()

    def begin(self, stage: str) -> None:
        """Look at what an earlier run of a stage left, delete what cannot be used, and record that the stage begins.

        Args:
            stage: name of the stage; a stage without entry in `FILES` has nothing to look at.
        """
        if stage not in FILES:
            return
        made_from, record = self._made_from(stage), self.stages.get(stage)
        if record is None:
            if _present(self.folder, stage, interim=True):
                self._discard(stage, "there is no record of it", interim=True)
        elif record["made_from"] != made_from:
            self._discard(stage, "an earlier stage was made again and is different", interim=True)
        elif record["files"] is None:
            _delete_unreadable(self.folder, stage)
        elif broken := differing(self.folder, record["files"]):
            self._discard_broken(stage, broken)
        if stage not in self.stages:
            self.stages[stage] = {"made_from": made_from, "files": None}
            self._write()

    def reopen(self, stage: str) -> None:
        """Record that files of a finished stage are about to be written again.

        Args:
            stage: name of a stage in `FILES`.
        """
        self.stages[stage] = {**self.stages[stage], "files": None}
        self._write()

    def finish(self, stage: str) -> None:
        """Record the files of a finished stage.

        Args:
            stage: name of the stage; a stage without entry in `FILES` is not recorded.
        """
        if stage in FILES:
            files = records(self.folder, _stage_files(self.folder, stage))
            record = {"made_from": self._made_from(stage), "files": files}
            if record != self.stages.get(stage):
                self.stages[stage] = record
                self._write()

    def _made_from(self, stage: str) -> str:
        """A digest of the files of all earlier stages."""
        names = list(FILES)
        return settings_digest([self.stages.get(name, {}).get("files") for name in names[: names.index(stage)]])

    def _discard_broken(self, stage: str, broken: list[str]) -> None:
        """Delete broken files alone if they do not depend on each other, or else the whole stage."""
        if not all(name.startswith(INDEPENDENT) for name in broken):
            self._discard(stage, f"{broken[0]} is missing or has changed")
            return
        for name in broken:
            print(f"{stage}: {name} is missing or has changed; it is made again.", file=sys.stderr)
            (self.folder / name).unlink(missing_ok=True)
        self.reopen(stage)

    def _discard(self, stage: str, reason: str, interim: bool = False) -> None:
        """Delete the files of a stage, also its checkpoints if `interim`, and then its record."""
        print(f"{stage}: {reason}; this stage is made again.", file=sys.stderr)
        for name in _present(self.folder, stage, interim):
            _delete(self.folder / name)
        if self.stages.pop(stage, None) is not None:
            self._write()

    def _write(self) -> None:
        """Write the file, unless the shapes of the run have not been read yet."""
        if self.sources is not None:
            write_json(self.path, {"sources": self.sources, "stages": self.stages})


def mesh_records(folder: Path) -> dict[str, FileRecord]:
    """The records of all mesh files below a folder, by their paths within it.

    Args:
        folder: the folder of meshes.
    """
    paths: list[Path] = []
    for root, folders, files in os.walk(folder):  # as `load_shapes`, it does not follow links to folders
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(root, name) for name in files if not name.startswith(".")]
    meshes = [path for path in paths if path.suffix.lower() in FORMATS and path.is_file()]
    return {_printable(name): record for name, record in records(folder, meshes).items()}


def remove_temporaries(folder: Path) -> None:
    """Delete the temporary files that a killed process left; nobody else may use the folder.

    Args:
        folder: the folder of a run.
    """
    for pattern in (".*.tmp", ".*.old", ".tmp*"):
        for path in sorted(folder.rglob(pattern)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_manifest(values: Any) -> bool:
    """Whether JSON values have the structure of a manifest."""
    if not isinstance(values, dict) or not all(isinstance(values.get(key), dict) for key in ("sources", "stages")):
        return False
    stages = values["stages"]
    return stages.keys() <= FILES.keys() and all(
        isinstance(record, dict)
        and record.keys() == {"made_from", "files"}
        and isinstance(record["made_from"], str)
        and (record["files"] is None or are_records(record["files"]))
        for record in stages.values()
    )


def _present(folder: Path, stage: str, interim: bool = False) -> list[str]:
    """The files and folders of a stage that exist, with its checkpoints if `interim`."""
    names = (*FILES[stage], *(INTERIM.get(stage, ()) if interim else ()))
    return [name for name in names if os.path.lexists(folder / name)]


def _stage_files(folder: Path, stage: str) -> list[Path]:
    """All files of a stage that other stages read."""
    paths = [folder / name for name in FILES[stage]]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return [file for file in files if file.relative_to(folder).as_posix() not in REWRITTEN]


def _delete_unreadable(folder: Path, stage: str) -> None:
    """Delete what an interrupted stage left and cannot be read; it has no record yet."""
    for name in _present(folder, stage):
        path = folder / name
        parts = [file for file in sorted(path.rglob("*")) if file.is_file()] if name in PIECEWISE else [path]
        for part in parts:
            if reason := _find_fault(part):
                print(f"{stage}: {reason}", file=sys.stderr)
                _delete(part)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _find_fault(path: Path) -> str | None:
    """Why a file or a folder of files cannot be read; None if it can."""
    try:
        for file in [path, *path.rglob("*")]:
            if file.suffix == ".safetensors":
                read_tensors(file, needs_checksum=False)  # transformers has written some of them
            elif file.suffix == ".json":
                read_json(file)
        if changed := changed_files(path):
            return f"{path / changed[0]} is missing or has changed."
    except InputError as error:
        return str(error)
    return None


def _printable(name: str) -> str:
    """A path as text that JSON can hold, also where its bytes are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
