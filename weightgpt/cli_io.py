"""The shared parts of the commands of `weightgpt.cli`: they check outputs, read inputs and write results.

Decisions:

- Outputs are checked before the work starts, so that a wrong name does not cost minutes.
- An unreadable mesh in a folder is reported and skipped. An unreadable mesh that is named itself is an error.
"""

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightgpt.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from weightgpt.fields.field import FieldConfig, Fields
    from weightgpt.fields.storage import ShapeMetadata
    from weightgpt.metrics.evaluation import EvaluationReport
    from weightgpt.model import WeightGPT
    from weightgpt.shapes.shape import Shape


def print_results(values: dict[str, Any], as_json: bool) -> None:
    """Print results on stdout.

    Args:
        values: results by name.
        as_json: whether to print one JSON object instead of lines.
    """
    if as_json:
        print(json.dumps(values, allow_nan=False))
        return
    for key, value in values.items():
        print(f"{key.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value)}")


def warn(text: str) -> None:
    """Print one line on stderr.

    Args:
        text: the line.
    """
    print(text, file=sys.stderr)


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


def load_model(name: str) -> "WeightGPT":
    """Load a model without the messages and progress bars of transformers.

    Args:
        name: its folder, or owner/name on the Hub.
    """
    from transformers.utils import logging

    from weightgpt.model import WeightGPT

    transformers_logging: Any = logging
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return WeightGPT.from_pretrained(name)


def read_shapes(inputs: list[str]) -> "list[Shape]":
    """Read the shapes of mesh files and folders.

    Args:
        inputs: mesh files, and folders with a sub-folder for each class.

    Raises:
        InputError: a file cannot be read, or a folder holds no mesh that can be read.
    """
    from weightgpt.shapes.meshes import load_shape, load_shapes

    shapes = []
    for path in inputs:
        if not Path(path).is_dir():
            shapes.append(load_shape(path))
            continue
        readable = load_shapes(path)
        shapes += readable
        for refusal in readable.refused:
            warn(f"left out: {refusal.reason}")
    return shapes


def read_shapes_or_fields(inputs: list[str]) -> "tuple[list[Shape] | Fields, ShapeMetadata]":
    """Read the input of the command `encode`: shapes or fields, and their names, labels, positions and sizes.

    Args:
        inputs: one .safetensors file of fields, or what `read_shapes` takes.

    Raises:
        InputError: as `read_shapes`, or the file of fields is broken.
    """
    from weightgpt.fields.storage import ShapeMetadata, load_fields

    if len(inputs) == 1 and inputs[0].endswith(".safetensors"):
        return load_fields(inputs[0])
    shapes = read_shapes(inputs)
    return shapes, ShapeMetadata.of_shapes(shapes)


def sdf_values(source: "list[Shape] | Fields", points: "Tensor") -> "Tensor":
    """Return the signed distances (B, n) of B shapes or fields.

    Args:
        source: the shapes or fields.
        points: (n, D) in [-1, 1]^D.
    """
    import torch

    if isinstance(source, list):
        return torch.stack([shape.sdf(points) for shape in source])
    return source(points)[..., 0]


def field_to_fit(hidden: str | None, shared_init: str | None) -> "tuple[FieldConfig, Tensor | None]":
    """Return the architecture of fields to fit, and their initial weights (P,), None for random ones.

    Args:
        hidden: widths of the hidden layers with commas between them; 32,32,32 when None.
        shared_init: a model, whose shared initialization is taken, or a .safetensors file, whose first field is taken.

    Raises:
        InputError: `hidden` is no list of widths, or `shared_init` is not of solids or has other widths.
    """
    from weightgpt.fields.field import FieldConfig
    from weightgpt.fields.storage import load_fields

    if hidden is not None and not re.fullmatch(r"[1-9]\d{0,2}(,[1-9]\d{0,2})*", hidden):
        raise InputError(f"hidden is {hidden!r}; give widths from 1 to 999 with commas between them, such as 32,32,32.")
    widths = tuple(int(width) for width in (hidden or "32,32,32").split(","))
    if shared_init is None:
        return FieldConfig(hidden=widths), None
    if shared_init.endswith(".safetensors"):
        fields, _ = load_fields(shared_init)
        config, weights = fields.config, fields.flat[0]
    else:
        quantizer = load_model(shared_init).tokenizer.quantizer
        config, weights = quantizer.field_config, quantizer.shared_init
    if (config.in_features, config.out_features) != (3, 1) or (hidden is not None and widths != config.hidden):
        raise InputError(f"{shared_init} is of {config}; to fit meshes, give fields of solids and leave out --hidden.")
    return config, weights


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
        save_mesh(meshed.mesh, folder / (stems[index] + suffix))
        counts.update(meshes=1, watertight=int(meshed.watertight), leaves_box=int(meshed.leaves_box))
    return dict(counts)


def _file_stems(names: tuple[str, ...]) -> list[str]:
    """Distinct names that are safe as file names; the names in a file of fields may be any text."""
    safe = [re.sub(r"[^\w.-]+", "_", name).strip("._")[:100] or "shape" for name in names]
    if len({name.lower() for name in safe}) == len(safe):
        return safe
    return [f"{index:04d}-{name}" for index, name in enumerate(safe)]


def write_picture(path: Path, fields: "Fields", captions: list[str], size: int) -> None:
    """Write a contact sheet of fields as PNG.

    Args:
        path: the file.
        fields: solids, planar shapes or images.
        captions: the line below each field.
        size: pixels along each side of one picture.

    Raises:
        InputError: the fields are neither solids, planar shapes nor images.
    """
    from weightgpt.visual.rendering import save_png

    save_png(fields.render(size, captions), path)


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


def describe(path: str) -> dict[str, Any]:
    """Describe a model, a file of fields or of tokens, or a mesh.

    Args:
        path: the folder or file, or the name of a model on the Hub.
    """
    from weightgpt.shapes.readers.limits import FORMATS

    suffix = "" if Path(path).is_dir() else Path(path).suffix.lower()
    if suffix == ".safetensors":
        return _describe_fields(path)
    if suffix == ".json":
        return _describe_tokens(path)
    return _describe_mesh(path) if suffix in FORMATS else _describe_model(path)


def _describe_fields(path: str) -> dict[str, Any]:
    from weightgpt.fields.storage import load_fields

    fields, metadata = load_fields(path)
    counts = {"fields": len(fields), "labels": Counter(metadata.labels)}
    return {"kind": "fields", **counts, "parameters": fields.config.parameters, **fields.config.to_dict()}


def _describe_tokens(path: str) -> dict[str, Any]:
    from weightgpt.tokens.storage import load_tokens

    tokens = load_tokens(path)
    count, length = tokens.ids.shape
    counts = {"sequences": count, "tokens": length, "labels": Counter(tokens.metadata.labels)}
    return {"kind": "tokens", **counts, "codebook_fingerprint": tokens.fingerprint}


def _describe_mesh(path: str) -> dict[str, Any]:
    from weightgpt.shapes.meshes import SIDE, load_shape
    from weightgpt.shapes.sampling import uniform_points

    shape = load_shape(path)
    inside_share = float((shape.sdf(uniform_points(16384, 3, 0)) < 0).float().mean())
    volume = inside_share * (2 * shape.scale) ** 3
    return {"kind": "mesh", "longest_side": shape.scale * SIDE, "center": shape.center, "volume": volume}


def _describe_model(path: str) -> dict[str, Any]:
    model = load_model(path)
    config, quantizer, vocabulary = model.gpt.config, model.tokenizer.quantizer, model.tokenizer.vocabulary
    return {
        "kind": "model",
        "classes": vocabulary.classes,
        "codebook_fingerprint": quantizer.fingerprint,
        "gpt": {"parameters": model.gpt.num_parameters(), "layers": config.n_layer, "width": config.n_embd},
        "vocab_size": vocabulary.vocab_size,
        "tokens": vocabulary.length,
        "num_chunks": quantizer.num_chunks,
        "num_quantizers": quantizer.num_quantizers,
        "codebook_size": quantizer.codebook_size,
        "field": {"parameters": quantizer.field_config.parameters, **quantizer.field_config.to_dict()},
    }
