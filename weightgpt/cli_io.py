"""What the commands of `weightgpt.cli` share: checks before the work, inputs, and results told in one way."""

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from weightgpt.fields.field import FieldConfig, Fields
    from weightgpt.fields.storage import ShapeMetadata
    from weightgpt.metrics.evaluation import EvaluationReport
    from weightgpt.model import Bundle
    from weightgpt.shapes.shape import Shape


def report(values: dict[str, Any], as_json: bool) -> None:
    """Print results on stdout: as one JSON object, or as lines."""
    if as_json:
        print(json.dumps(values, allow_nan=False))
        return
    for key, value in values.items():
        print(f"{key.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value)}")


def warn(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr)


def show_progress() -> bool:
    """Whether progress bars have someone to look at them; they go to stderr."""
    return sys.stderr.isatty()


def check_target(path: Path, suffix: str) -> None:
    """Refuse an output before the work is done for it.

    Raises:
        InputError: `path` has another extension, is a folder, or lies where nothing can be written.
    """
    from weightgpt.errors import InputError

    if path.suffix.lower() != suffix:
        raise InputError(f"output {path} is not a {suffix} file; give a name that ends in {suffix}.")
    if path.is_dir():
        raise InputError(f"output {path} is a folder; give the name of a file.")
    _check_writable(path)


def check_folder(path: Path) -> None:
    """Refuse an output folder before the work is done for it.

    Raises:
        InputError: `path` is a file or a folder with content, or lies where nothing can be written.
    """
    from weightgpt.errors import InputError

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        kind = "a folder with content" if path.is_dir() else "a file"
        raise InputError(f"output {path} is {kind}; give the name of a new or an empty folder.")
    _check_writable(path)


def _check_writable(path: Path) -> None:
    from weightgpt.errors import InputError

    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"cannot write {path}: {above} is not a folder you may write to; choose another output.")


def bundle(name: str) -> "Bundle":
    """A bundle from a folder or from the Hub, without the chatter of the libraries below."""
    from transformers.utils import logging

    from weightgpt.model import load_bundle

    chatter: Any = logging
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    return load_bundle(name)


def shapes(inputs: list[str]) -> "list[Shape]":
    """Shapes of mesh files and folders; in a folder, meshes that cannot be read are told and left out.

    Raises:
        InputError: a file cannot be read, or a folder holds no mesh that can.
    """
    from weightgpt.shapes.meshes import load_shape, load_shapes

    found = []
    for path in inputs:
        if not Path(path).is_dir():
            found.append(load_shape(path))
            continue
        read = load_shapes(path)
        found += read
        for refusal in read.refused:
            warn(f"left out: {refusal.reason}")
    return found


def initial_field(hidden: str | None, shared_init: str | None) -> "tuple[FieldConfig, Tensor | None]":
    """The architecture to fit, and the weights (P,) to start from, None for random ones.

    Raises:
        InputError: `hidden` is no list of widths, or `initial` is not of solids or has other widths.
    """
    from weightgpt.errors import InputError
    from weightgpt.fields.field import FieldConfig
    from weightgpt.fields.storage import load_fields

    if hidden is not None and not re.fullmatch(r"[1-9]\d{0,2}(,[1-9]\d{0,2})*", hidden):
        raise InputError(f"hidden is {hidden!r}; give widths from 1 to 999 with commas between them, such as 32,32,32.")
    widths = tuple(int(width) for width in (hidden or "32,32,32").split(","))
    if shared_init is None:
        return FieldConfig(hidden=widths), None
    if shared_init.endswith(".safetensors"):
        fields, _ = load_fields(shared_init)
        config, start = fields.config, fields.flat[0]
    else:
        quantizer = bundle(shared_init).tokenizer.quantizer
        config, start = quantizer.field_config, quantizer.shared_init
    if (config.in_features, config.out_features) != (3, 1) or (hidden is not None and widths != config.hidden):
        raise InputError(
            f"{shared_init} is of {config}; to fit meshes, start from fields of solids and leave out --hidden."
        )
    return config, start


def write_meshes(
    folder: Path, fields: "Fields", metadata: "ShapeMetadata", resolution: int, suffix: str
) -> dict[str, int]:
    """Mesh solids into `folder`, back in file units; the number of each outcome (see `weightgpt.visual.meshing.Meshed`)."""
    from tqdm import tqdm

    from weightgpt.visual.meshing import mesh_sdf, save_mesh

    counts: Counter[str] = Counter(meshes=0, watertight=0, leaves_box=0, empty=0, full=0, nonfinite=0)
    files = _file_names(metadata.names)
    for index in tqdm(range(len(fields)), "meshing", unit="shape", disable=not show_progress()):
        made = mesh_sdf(fields.sdf(index), resolution)
        if made.mesh is None:
            counts[made.outcome] += 1
            warn(f"no mesh of {metadata.names[index]}: the field is {made.outcome}")
            continue
        made.mesh.vertices = made.mesh.vertices * float(metadata.scale[index]) + metadata.center[index].numpy()
        save_mesh(made.mesh, folder / (files[index] + suffix))
        counts.update(meshes=1, watertight=int(made.watertight), leaves_box=int(made.leaves_box))
    return dict(counts)


def _file_names(names: tuple[str, ...]) -> list[str]:
    """Names that are safe as those of files, all different; a file of fields may come from anywhere."""
    safe = [re.sub(r"[^\w.-]+", "_", name).strip("._")[:100] or "shape" for name in names]
    if len({name.lower() for name in safe}) == len(safe):
        return safe
    return [f"{index:04d}-{name}" for index, name in enumerate(safe)]


def draw(path: Path, fields: "Fields", names: list[str], size: int) -> None:
    """Write a contact sheet of fields as PNG.

    Raises:
        InputError: the fields are neither solids, planar shapes nor images.
    """
    from weightgpt.visual.rendering import save_png

    save_png(fields.render(size, names), path)


def evaluate(
    paths: tuple[str, str, str], options: dict[str, Any], output: Path | None, picture: Path | None, as_json: bool
) -> "EvaluationReport":
    """Evaluate samples against training and held-out shapes (`paths`); print the rows, and write and draw them.

    Raises:
        InputError: as `weightgpt.metrics.evaluation.evaluate`.
    """
    from weightgpt.io import write_json
    from weightgpt.metrics.evaluation import evaluate as evaluate_samples
    from weightgpt.visual.rendering import save_png

    samples, train, held_out = paths
    report = evaluate_samples(samples, train=train, held_out=held_out, **options, progress=show_progress())
    for name, fate in (("samples", "broken"), ("training", "left out"), ("held-out", "left out")):
        for reason in report.refused[name]:
            warn(f"{fate}: {reason}")
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


def description(path: str) -> dict[str, Any]:
    """What the bundle, the file of fields or of tokens, or the mesh at `path` is."""
    from weightgpt.shapes.meshes import FORMATS

    suffix = "" if Path(path).is_dir() else Path(path).suffix.lower()
    if suffix == ".safetensors":
        return _of_fields(path)
    if suffix == ".json":
        return _of_tokens(path)
    return _of_mesh(path) if suffix in FORMATS else _of_bundle(path)


def _of_fields(path: str) -> dict[str, Any]:
    from weightgpt.fields.storage import load_fields

    fields, metadata = load_fields(path)
    counts = {"fields": len(fields), "labels": Counter(metadata.labels)}
    return {"kind": "fields", **counts, "parameters": fields.config.parameters, **fields.config.to_dict()}


def _of_tokens(path: str) -> dict[str, Any]:
    from weightgpt.tokens.storage import load_tokens

    tokens = load_tokens(path)
    count, length = tokens.ids.shape
    labels = Counter(tokens.metadata.labels)
    return {"kind": "tokens", "sequences": count, "tokens": length, "codebook": tokens.fingerprint, "labels": labels}


def _of_mesh(path: str) -> dict[str, Any]:
    from weightgpt.shapes.meshes import SIDE, load_shape
    from weightgpt.shapes.sampling import uniform_points

    shape = load_shape(path)
    inside = float((shape.sdf(uniform_points(16384, 3, 0)) < 0).float().mean())
    volume = inside * (2 * shape.scale) ** 3
    return {"kind": "mesh", "longest_side": shape.scale * SIDE, "center": shape.center, "volume": volume}


def _of_bundle(path: str) -> dict[str, Any]:
    found = bundle(path)
    config, quantizer, vocabulary = found.model.config, found.tokenizer.quantizer, found.tokenizer.vocabulary
    return {
        "kind": "bundle",
        "classes": vocabulary.classes,
        "codebook": quantizer.fingerprint,
        "model": {"parameters": found.model.num_parameters(), "layers": config.n_layer, "width": config.n_embd},
        "vocabulary": vocabulary.vocab_size,
        "tokens": vocabulary.length,
        "codes": {
            "num_chunks": quantizer.num_chunks,
            "num_quantizers": quantizer.num_quantizers,
            "codes": quantizer.codebook_size,
        },
        "field": {"parameters": quantizer.field_config.parameters, **quantizer.field_config.to_dict()},
    }
