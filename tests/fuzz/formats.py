"""The formats that are read: a small valid example of each, and the function that reads it."""

import json
import shutil
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import trimesh

from tests.fakes import tiny_codebook, tiny_config, tiny_gpt, tiny_graph, tiny_tokenizer, tiny_weight_vq
from training.presets import PipelineConfig
from training.resume.digests import differing
from training.resume.manifest import MANIFEST, Manifest
from training.run import read_config, read_costs
from weightgpt.card import write_card
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.io import write_json, write_tensors
from weightgpt.model import FILES, WeightGPT
from weightgpt.quantizers.auto import AutoQuantizer
from weightgpt.quantizers.base import Quantizer
from weightgpt.quantizers.codes import fingerprint
from weightgpt.quantizers.files import FILES as QUANTIZER_FILES
from weightgpt.shapes.meshes import load_shape
from weightgpt.tokens.storage import Tokens, load_tokens, save_tokens

MESHES = ("obj", "ply", "stl", "off", "glb", "gltf", "text.stl", "text.ply")
"""The mesh formats, binary and as text."""

SOURCES = {"chair/a.obj": {"bytes": 812, "sha256": "0" * 64}}
"""The files that a run was made from."""


@dataclass(frozen=True)
class Format:
    """One file that is read, alone or within a folder of others."""

    name: str
    """What the table calls it."""
    folder: Path
    """A folder of valid files."""
    file: str
    """The file in the folder that is mutated."""
    read: Callable[[Path], Any]
    """Reads such a folder, and returns the values that count."""
    value: Any = None
    """What it returns for the valid files, if a checksum must notice every other value."""
    new_checksums: bool = False
    """Whether the changed file gets a right checksum, so that the checks behind it are tried."""


def write_examples(folder: Path, meshes: bool = True) -> list[Format]:
    """Write the examples of all formats; those with checksums are there again, to get new ones after a change.

    Args:
        folder: where to write.
        meshes: whether to include the mesh formats.
    """
    examples = [*_single_files(folder), *_model_files(folder)]
    plain = [example for example in examples if example.file == "README.md" or example.name.startswith("run")]
    checked = [example for example in examples if example not in plain]
    formats = [*plain, *(replace(example, value=example.read(example.folder)) for example in checked)]
    formats += [replace(example, name=f"{example.name}, new checksum", new_checksums=True) for example in checked]
    return [*formats, *_mesh_files(folder)] if meshes else formats


def _single_files(folder: Path) -> list[Format]:
    flat = torch.linspace(-1, 1, 2 * tiny_config().parameters).reshape(2, -1)
    metadata = ShapeMetadata.plain(["a", "b"], ["chair", "none"])
    save_fields(folder / "fields" / "fields.safetensors", Fields(tiny_config(), flat), metadata)
    save_tokens(folder / "tokens" / "tokens.json", Tokens(torch.arange(20).reshape(2, 10), "0" * 16, metadata))
    write_json(folder / "run" / "config.json", {"version": "0.2.0", **PipelineConfig().to_dict()})
    write_json(folder / "run" / "seconds.json", {"seconds": {"shapes": 1.5, "fits": 20.0}, "peak_memory_mb": 812})
    manifest = Manifest(folder / "run")
    manifest.start(SOURCES)
    manifest.begin("shapes")
    write_tensors(folder / "run" / "sdf_samples.safetensors", {"points": torch.zeros(2, 3)})
    manifest.finish("shapes")
    return [
        Format("fields", folder / "fields", "fields.safetensors", _read_fields),
        Format("tokens", folder / "tokens", "tokens.json", _read_tokens),
        Format("run config.json", folder / "run", "config.json", read_config),
        Format("run seconds.json", folder / "run", "seconds.json", read_costs),
        Format(f"run {MANIFEST}", folder / "run", MANIFEST, _read_manifest),
    ]


def _model_files(folder: Path) -> list[Format]:
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(folder / "model")
    write_card(folder / "model", {"iou": 0.5})
    names = [*FILES, "README.md"]
    formats = [Format(f"model {name}", folder / "model", name, _read_model) for name in names]
    for kind, quantizer in (("graph", tiny_graph(tiny_codebook())), ("weight-vq", tiny_weight_vq())):
        quantizer.save_pretrained(folder / kind)
        formats += [Format(f"{kind} {name}", folder / kind, name, _read_quantizer) for name in QUANTIZER_FILES]
    return formats


def _read_fields(folder: Path) -> Any:
    fields, metadata = load_fields(folder / "fields.safetensors")
    return fields.config, fields.flat.tolist(), _metadata_values(metadata)


def _read_tokens(folder: Path) -> Any:
    """All but the fingerprint: no model decodes tokens with another one than its own."""
    tokens = load_tokens(folder / "tokens.json")
    return tokens.ids.tolist(), _metadata_values(tokens.metadata)


def _read_manifest(folder: Path) -> Any:
    """A manifest, and whether the files are those that it records."""
    manifest = Manifest(folder)
    manifest.check_sources(SOURCES)
    return [differing(folder, record["files"]) for record in manifest.stages.values() if record["files"]]


def _metadata_values(metadata: ShapeMetadata) -> Any:
    return metadata.names, metadata.labels, metadata.center.tolist(), metadata.scale.tolist()


def _read_model(folder: Path) -> Any:
    """Everything that decides what a model generates and encodes."""
    model = WeightGPT.from_pretrained(folder)
    weights = fingerprint({}, model.gpt.state_dict())
    settings = [getattr(model.gpt.config, name) for name in ("layer_norm_epsilon", "activation_function", "n_head")]
    return (
        weights,
        settings,
        model.sampling_defaults,
        model.tokenizer.vocabulary,
        _quantizer_values(model.tokenizer.quantizer),
    )


def _read_quantizer(folder: Path) -> Any:
    return _quantizer_values(AutoQuantizer.from_pretrained(folder))


def _quantizer_values(quantizer: Quantizer) -> Any:
    encoder = getattr(quantizer, "encoder", None)
    points = quantizer.points if encoder is None else encoder.tensors()
    extra = (quantizer.shared_init.tolist(), getattr(quantizer, "fit_config", None))
    return quantizer.fingerprint, fingerprint({}, points if isinstance(points, dict) else {"points": points}), extra


def _mesh_files(folder: Path) -> list[Format]:
    mesh = trimesh.creation.icosphere(subdivisions=1)
    formats = []
    for name in MESHES:
        place, file = folder / f"mesh-{name}", f"mesh.{name.rsplit('.', 1)[-1]}"
        place.mkdir()
        (place / file).write_bytes(_mesh_bytes(mesh, name))
        formats.append(Format(f"mesh {name}", place, file, lambda path, file=file: _distances(path / file)))
    return formats


def _mesh_bytes(mesh: trimesh.Trimesh, name: str) -> bytes:
    """A mesh as a file of some format."""
    if name == "text.ply":
        content = mesh.export(file_type="ply", encoding="ascii")
    elif name == "gltf":
        content = _single_gltf(mesh.export(file_type="gltf"))
    else:
        content = mesh.export(file_type="stl_ascii" if name == "text.stl" else name)
    return content.encode() if isinstance(content, str) else content


def _single_gltf(parts: dict[str, bytes]) -> bytes:
    """A glTF with its buffers inside."""
    tree = json.loads(parts["model.gltf"])
    for buffer in tree["buffers"]:
        buffer["uri"] = "data:application/octet-stream;base64," + b64encode(parts[buffer["uri"]]).decode()
    return json.dumps(tree).encode()


def _distances(path: Path) -> Any:
    """A shape and some of its distances, which must be numbers."""
    shape = load_shape(path)
    distances = shape.sdf(torch.zeros(2, 3))
    assert torch.isfinite(distances).all()
    return shape


def copy_example(example: Format, target: Path) -> Path:
    """A fresh copy of the folder of an example; returns the file to mutate."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(example.folder, target)
    return target / example.file
