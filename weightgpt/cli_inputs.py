"""The inputs of the commands of `weightgpt.cli`: models, meshes and files are read, checked and described.

Decisions:

- A file that cannot be read does not stop the others. Each is one line on stderr. If a file is refused that is named
  itself on the command line, the command ends with exit code 2 after it has done the others.
- Of equal names, the later ones get a number, so that no result takes the place of another.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightgpt.cli_io import warn
from weightgpt.errors import InputError
from weightgpt.shapes.names import distinct_name

if TYPE_CHECKING:
    from torch import Tensor

    from weightgpt.fields.field import FieldConfig, Fields
    from weightgpt.fields.storage import ShapeMetadata
    from weightgpt.model import WeightGPT
    from weightgpt.shapes.shape import Shape

NUM_POINTS = 8192
"""Points at which `info` looks at each field of a file."""
REASONS = {"empty": "no inside", "full": "no outside", "nonfinite": "values that are not finite"}


def load_model(name: str, revision: str | None = None) -> "WeightGPT":
    """Load a model without the messages and progress bars of transformers.

    Args:
        name: its folder, or owner/name on the Hub.
        revision: branch, tag or commit on the Hub; the main branch when None.
    """
    from transformers.utils import logging

    from weightgpt.model import WeightGPT

    transformers_logging: Any = logging
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return WeightGPT.from_pretrained(name, revision=revision)


@dataclass(frozen=True)
class MeshInputs:
    """The shapes of the inputs of a command."""

    shapes: "list[Shape]"
    """The shapes, with distinct names."""
    num_refused: int
    """Number of inputs that are named on the command line and cannot be read."""

    @property
    def outcome(self) -> dict[str, Any]:
        """For the JSON object: the number of refused inputs, and what was repaired or dropped by name of the shape."""
        notes = {shape.name: list(shape.notes) for shape in self.shapes if shape.notes}
        return {"refused": self.num_refused, "notes": notes}

    @property
    def exit_code(self) -> int:
        """2 if an input was refused, otherwise 0."""
        return 2 if self.num_refused else 0


def read_shapes(inputs: list[str], thickness: float | None = None) -> MeshInputs:
    """Read the shapes of mesh files and folders; each file that cannot be read and each repair is a line on stderr.

    Args:
        inputs: mesh files, and folders with a sub-folder for each class.
        thickness: thickness of open surfaces, in unit coordinates; they are dropped when None.

    Raises:
        InputError: no input can be read.
    """
    shapes: list[Shape] = []
    refused: list[str] = []
    names: set[str] = set()
    for path in inputs:
        try:
            readable = _read_input(path, thickness)
        except InputError as error:
            refused.append(str(error))
            continue
        shapes += [replace(shape, name=distinct_name((shape.name,), names)) for shape in readable]
    if not shapes and len(refused) == 1:
        raise InputError(refused[0])
    for reason in refused:
        warn(f"refused: {reason}")
    if not shapes:
        raise InputError(f"none of the {len(refused)} inputs can be read; give meshes, or folders of meshes.")
    for shape in shapes:
        for note in shape.notes:
            warn(f"{shape.name}: {note}")
    return MeshInputs(shapes, len(refused))


def _read_input(path: str, thickness: float | None) -> "list[Shape]":
    """The shapes of one mesh file or folder, whose distances are finite."""
    from weightgpt.shapes.meshes import load_shape, load_shapes
    from weightgpt.shapes.sampling import finite_distances, uniform_points

    points = uniform_points(1024, 3, 0)
    try:
        is_folder = Path(path).is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{path[:200]} is no path of this system ({error}); give another.") from error
    if not is_folder:
        shape = load_shape(path, thickness=thickness)
        finite_distances(shape, points)
        return [shape]
    folder = load_shapes(path, thickness=thickness)
    for line in (*(f"left out: {refusal.reason}" for refusal in folder.refused), *folder.notes):
        warn(line)
    return list(folder)


def read_shapes_or_fields(
    inputs: list[str], thickness: float | None = None
) -> "tuple[MeshInputs | None, list[Shape] | Fields, ShapeMetadata]":
    """Read the input of the command `encode`: shapes or fields, and their names, labels, positions and sizes.

    The first result is None for fields.

    Args:
        inputs: one .safetensors file of fields, or what `read_shapes` takes.
        thickness: see `read_shapes`.

    Raises:
        InputError: as `read_shapes`, or the file of fields is broken.
    """
    from weightgpt.fields.storage import ShapeMetadata, load_fields

    if len(inputs) == 1 and inputs[0].endswith(".safetensors"):
        return None, *load_fields(inputs[0])
    meshes = read_shapes(inputs, thickness)
    return meshes, meshes.shapes, ShapeMetadata.of_shapes(meshes.shapes)


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

    if hidden is not None and not re.fullmatch(r"[1-9]\d{0,2}(,[1-9]\d{0,2}){0,15}", hidden):
        raise InputError(
            f"hidden is {hidden!r}; give 1 to 16 widths from 1 to 999 with commas between them, such as 32,32,32."
        )
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


def describe(path: str, revision: str | None = None) -> dict[str, Any]:
    """Describe a model, a file of fields or of tokens, or a mesh.

    Args:
        path: the folder or file, or the name of a model on the Hub.
        revision: branch, tag or commit on the Hub; the main branch when None.

    Raises:
        InputError: the model, file or mesh cannot be read.
    """
    from weightgpt.shapes.readers.limits import FORMATS

    suffix = "" if Path(path).is_dir() else Path(path).suffix.lower()
    if suffix == ".safetensors":
        return _describe_fields(path)
    if suffix == ".json":
        return _describe_tokens(path)
    return _describe_mesh(path) if suffix in FORMATS else _describe_model(path, revision)


def _describe_fields(path: str) -> dict[str, Any]:
    from weightgpt.fields.storage import load_fields

    fields, metadata = load_fields(path)
    counts = {"fields": len(fields), "labels": Counter(metadata.labels)}
    parameters = {"parameters": fields.config.parameters, **fields.config.to_dict()}
    return {"kind": "fields", **counts, **_count_odd_fields(fields, metadata.names), **parameters}


def _count_odd_fields(fields: "Fields", names: Sequence[str]) -> dict[str, int]:
    """How many signed distances have no inside, no outside, or values that are not finite; each is named on stderr."""
    from weightgpt.shapes.sampling import uniform_points

    if fields.config.out_features != 1:
        return {}
    points, counts = uniform_points(NUM_POINTS, fields.config.in_features, 0), Counter(empty=0, full=0, nonfinite=0)
    for first in range(0, len(fields), 64):
        values = fields.select(slice(first, first + 64))(points)[..., 0].detach()
        for row, distances in enumerate(values):
            outcome = "empty" if (distances >= 0).all() else "full" if (distances < 0).all() else ""
            outcome = outcome if distances.isfinite().all() else "nonfinite"
            if outcome:
                counts[outcome] += 1
                warn(f"field {names[first + row]} is {outcome}: {REASONS[outcome]} at {NUM_POINTS:,} points.")
    return dict(counts)


def _describe_tokens(path: str) -> dict[str, Any]:
    from weightgpt.tokens.storage import load_tokens

    tokens = load_tokens(path)
    count, length = tokens.ids.shape
    counts = {"sequences": count, "tokens": length, "labels": Counter(tokens.metadata.labels)}
    return {"kind": "tokens", **counts, "codebook_fingerprint": tokens.fingerprint}


def _describe_mesh(path: str) -> dict[str, Any]:
    from weightgpt.shapes.meshes import SIDE, load_shape

    shape = load_shape(path)
    for note in shape.notes:
        warn(f"{shape.name}: {note}")
    size = {"longest_side": shape.scale * SIDE, "center": shape.center, "volume": shape.volume}
    return {"kind": "mesh", **size, "notes": list(shape.notes)}


def _describe_model(path: str, revision: str | None) -> dict[str, Any]:
    model = load_model(path, revision)
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
