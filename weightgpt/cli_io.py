"""The shared parts of the commands of `weightgpt.cli`: they check outputs, write results and print.

Decisions:

- Outputs are checked before the work starts, so that a wrong name does not cost minutes.
- Samples are written part by part, so that their number is limited by the disk alone. Each file of a part is whole, and
  every other command reads it. Meshes are far larger than fields, so only those of the first samples are written.
- Names come from files and may hold anything, so control characters are escaped before a text is printed.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightgpt.errors import InputError
from weightgpt.formatting import escape_controls

if TYPE_CHECKING:
    from weightgpt.fields.field import Fields
    from weightgpt.fields.storage import ShapeMetadata
    from weightgpt.metrics.evaluation import EvaluationReport
    from weightgpt.tokens.generated import GeneratedShapes


BATCH = 64
"""Shapes that are generated at once."""
BATCHES_OF_PART = 160
"""Batches that go to one file."""


def print_results(values: dict[str, Any], as_json: bool, only_json: dict[str, Any] | None = None) -> None:
    """Print results on stdout.

    Args:
        values: results by name.
        as_json: whether to print one JSON object instead of lines.
        only_json: further results for the JSON object, such as those that are lines on stderr otherwise.
    """
    if as_json:
        print(json.dumps(values | (only_json or {}), allow_nan=False))
        return
    for key, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        print(f"{key.replace('_', ' ')}: {escape_controls(text)}")


def warn(text: str) -> None:
    """Print one line on stderr.

    Args:
        text: the line.
    """
    print(escape_controls(text), file=sys.stderr)


def tolerate_any_terminal() -> None:
    """Make stdout and stderr escape the characters that their encoding does not have, such as "–" in Latin-1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_progress() -> bool:
    """Whether to show progress bars: only if stderr is a terminal."""
    return sys.stderr.isatty()


def check_file(path: Path, suffix: str) -> None:
    """Refuse a path that the output file cannot be written to.

    Args:
        path: the output file.
        suffix: the extension that it must have.

    Raises:
        InputError: `path` has another extension, is a folder, or lies where nothing can be written.
    """
    if path.suffix.lower() != suffix:
        raise InputError(f"output {path} is not a {suffix} file; give a name that ends in {suffix}.")
    if path.is_dir():
        raise InputError(f"output {path} is a folder; give the name of a file.")
    _check_writable(path)


def check_new_folder(path: Path) -> None:
    """Refuse a path that the output folder cannot be written to.

    Args:
        path: the output folder.

    Raises:
        InputError: `path` is a file or a folder with content, or lies where nothing can be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        kind = "a folder with content" if path.is_dir() else "a file"
        raise InputError(f"output {path} is {kind}; give the name of a new or an empty folder.")
    _check_writable(path)


def _check_writable(path: Path) -> None:
    """Refuse a path below a folder that cannot be written to."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}: {folder} is not a folder you may write to; choose another output.")


def write_meshes(
    folder: Path, fields: "Fields", metadata: "ShapeMetadata", resolution: int, suffix: str
) -> dict[str, int]:
    """Mesh solids into a folder, with the position and size of the original meshes.

    Args:
        folder: where to write.
        fields: B solids.
        metadata: their names, positions and sizes.
        resolution: grid points along each axis.
        suffix: extension of the mesh files.

    Returns:
        How often each outcome occurred (see `weightgpt.visual.meshing.Meshed`).
    """
    from tqdm import tqdm

    from weightgpt.visual.meshing import mesh_sdf, save_mesh

    counts: Counter[str] = Counter(meshes=0, watertight=0, leaves_box=0, empty=0, full=0, nonfinite=0)
    stems = _file_stems(metadata.names)
    for index in tqdm(range(len(fields)), "meshing", unit="shape", disable=not show_progress()):
        meshed = mesh_sdf(fields.sdf(index), resolution)
        if meshed.mesh is None:
            counts[meshed.outcome] += 1
            warn(f"no mesh of {metadata.names[index]}: the field is {meshed.outcome}")
            continue
        meshed.mesh.vertices = meshed.mesh.vertices * float(metadata.scale[index]) + metadata.center[index].numpy()
        note = save_mesh(meshed.mesh, folder / (stems[index] + suffix))
        if note is not None:
            warn(note)
        counts.update(meshes=1, watertight=int(meshed.watertight), leaves_box=int(meshed.leaves_box))
    return dict(counts)


def _file_stems(names: tuple[str, ...]) -> list[str]:
    """Distinct names that are safe as file names; the names in a file of fields may be any text."""
    safe = [re.sub(r"[^\w.-]+", "_", name).strip("._")[:100] or "shape" for name in names]
    if len({name.lower() for name in safe}) == len(safe):
        return safe
    return [f"{index:04d}-{name}" for index, name in enumerate(safe)]


def write_picture(path: Path, fields: "Fields", captions: list[str], size: int) -> None:
    """Write a contact sheet of the first `MAX_PICTURES` fields as PNG.

    Args:
        path: the file.
        fields: solids, planar shapes or images.
        captions: the line below each field.
        size: pixels along each side of one picture.

    Raises:
        InputError: the fields are neither solids, planar shapes nor images.
    """
    from weightgpt.visual.rendering import MAX_PICTURES, save_png

    if len(fields) > MAX_PICTURES:
        warn(f"{path.name} shows the first {MAX_PICTURES} of {len(fields):,} fields.")
        fields = fields.select(slice(0, MAX_PICTURES))
    texts = [escape_controls(caption[:200]) for caption in captions[:MAX_PICTURES]]
    save_png(fields.render(size, texts), path)


def write_samples(
    folder: Path,
    batches: "Iterator[GeneratedShapes]",
    n: int,
    fingerprint: str,
    *,
    num_meshes: int = 0,
    resolution: int = 96,
) -> dict[str, int]:
    """Write generated shapes as they come: files of fields and tokens, a picture of the first ones, and meshes.

    Args:
        folder: a new folder.
        batches: batches of `BATCH` shapes; the last one may have fewer.
        n: number of all shapes.
        fingerprint: of the codebook.
        num_meshes: number of shapes to mesh, the first ones; solids alone are meshed.
        resolution: grid points along each axis.

    Returns:
        The number of shapes, and how often each outcome of meshing occurred.
    """
    from weightgpt.fields.storage import ShapeMetadata, save_fields
    from weightgpt.tokens.generated import GeneratedShapes
    from weightgpt.tokens.storage import Tokens, save_tokens

    counts: Counter[str] = Counter()
    several = n > BATCH * BATCHES_OF_PART
    for number, part in enumerate(iter(lambda: list(islice(batches, BATCHES_OF_PART)), [])):
        shapes, first = GeneratedShapes.join(part), counts["samples"]
        dimension, ending = shapes.fields.config.in_features, f"-{number:04d}" if several else ""
        names = [f"{i:04d}-{label}" for i, label in enumerate(shapes.labels, first)]
        metadata = ShapeMetadata.plain(names, shapes.labels, dimension)
        save_fields(folder / f"fields{ending}.safetensors", shapes.fields, metadata)
        save_tokens(folder / f"tokens{ending}.json", Tokens(shapes.ids, fingerprint, metadata))
        if not first:
            _write_picture(folder / "samples.png", shapes, names, n)
        meshed = min(num_meshes - first, len(shapes)) if dimension == 3 else 0
        if meshed > 0:
            some = ShapeMetadata.plain(names[:meshed], shapes.labels[:meshed], dimension)
            counts.update(write_meshes(folder, shapes[:meshed].fields, some, resolution, ".glb"))
        counts["samples"] += len(shapes)
    if dimension == 3 and 0 < num_meshes < n:
        warn(f"the first {num_meshes:,} of {n:,} shapes were meshed; --meshes {n} meshes all.")
    return dict(counts)


def _write_picture(path: Path, shapes: "GeneratedShapes", names: list[str], n: int) -> None:
    """Write a contact sheet of the first shapes."""
    from weightgpt.visual.rendering import MAX_PICTURES

    if n > MAX_PICTURES:
        warn(f"{path.name} shows the first {MAX_PICTURES} of {n:,} shapes.")
    write_picture(path, shapes[:MAX_PICTURES].fields, names[:MAX_PICTURES], 160)


def evaluate_files(
    paths: tuple[str, str, str], options: dict[str, Any], output: Path | None, picture: Path | None, as_json: bool
) -> "EvaluationReport":
    """Evaluate samples, print the metrics, and write them.

    Args:
        paths: the samples, the training shapes and the held-out shapes.
        options: further arguments of `weightgpt.metrics.evaluation.evaluate`.
        output: the .json file of the metrics, if any.
        picture: the .png file of samples next to their nearest training shapes, if any.
        as_json: whether to print one JSON object instead of a table.

    Raises:
        InputError: as `weightgpt.metrics.evaluation.evaluate`.
    """
    from weightgpt.io import write_json
    from weightgpt.metrics.evaluation import evaluate
    from weightgpt.visual.rendering import save_png

    samples, train, held_out = paths
    report = evaluate(samples, train=train, held_out=held_out, **options, progress=show_progress())
    for name, outcome in (("samples", "broken"), ("training", "left out"), ("held-out", "left out")):
        for reason in report.refused[name]:
            warn(f"{outcome}: {reason}")
    counts = ", ".join(f"{count} {name}" for name, count in report.available.items())
    warn(f"compared {len(report.names)} shapes of each set; the sets hold {counts} shapes.")
    if output is not None:
        write_json(output, report.to_dict())
    if picture is not None and report.nearest is not None:
        save_png(report.picture(), picture)
    elif picture is not None:
        warn(f"{picture} was not drawn: no sample has a surface.")
    print(json.dumps(report.to_dict(), allow_nan=False) if as_json else report.table())
    return report
