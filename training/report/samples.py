"""The samples of a run: generated, meshed, rendered, and written to `samples/` and `samples.png`."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.io import atomic_write, write_json
from weightgpt.metrics.shape_set import ShapeSet, mesh_shapes
from weightgpt.model import WeightGPT
from weightgpt.tokens.generated import GeneratedShapes
from weightgpt.tokens.tokenizer import WeightTokenizer
from weightgpt.visual.meshing import mesh_sdf, save_mesh
from weightgpt.visual.rendering import Color, Picture, contact_sheet, render, save_png

PALETTE: tuple[Color, ...] = (
    (0.36, 0.55, 0.83),
    (0.93, 0.58, 0.30),
    (0.40, 0.68, 0.45),
    (0.80, 0.42, 0.47),
    (0.58, 0.48, 0.76),
    (0.30, 0.68, 0.70),
    (0.85, 0.70, 0.32),
    (0.62, 0.56, 0.50),
)
"""Colors of the classes, in turn."""
NUM_ON_SHEET = 48
"""Samples on the contact sheet."""
PICTURE_SIZE = 112
"""Pixels along each side of a picture."""
SAMPLE_SEED = 0
"""Seed of the surface points of samples."""


@dataclass(frozen=True, kw_only=True)
class RunSamples:
    """N generated shapes."""

    generated: GeneratedShapes
    """Fields, sequences and classes."""
    shapes: ShapeSet
    """The same shapes, meshed."""
    names: list[str]
    """A name for each, such as "chair-001"."""
    colors: list[Color]
    """A color for each, by class."""
    pictures: Picture
    """(N, size, size, 3)."""

    def __len__(self) -> int:
        return len(self.names)


def generate_samples(model: WeightGPT, count: int, seed: int, resolution: int) -> RunSamples:
    """Generate shapes of all classes, mesh and render them.

    Args:
        model: GPT and tokenizer.
        count: number of shapes.
        seed: seed of the generation.
        resolution: grid points along each axis when shapes are meshed.
    """
    generated = model.generate(count, seed=seed, progress=True)
    sdfs, classes = generated.fields.sdfs(), model.tokenizer.vocabulary.classes
    colors = [PALETTE[classes.index(label) % len(PALETTE)] for label in generated.labels]
    return RunSamples(
        generated=generated,
        shapes=mesh_shapes(sdfs, seed=SAMPLE_SEED, resolution=resolution, title="meshing samples"),
        names=numbered_names(generated.labels),
        colors=colors,
        pictures=render(sdfs, PICTURE_SIZE, colors=colors),
    )


def numbered_names(labels: list[str]) -> list[str]:
    """Return a name for each sample: its class, and its number within the class.

    Args:
        labels: the class of each sample.

    Example:
        >>> numbered_names(["chair", "mug", "chair"])
        ['chair-001', 'mug-001', 'chair-002']
    """
    counts: Counter[str] = Counter()
    names = []
    for label in labels:
        counts[label] += 1
        names.append(f"{label}-{counts[label]:03d}")
    return names


def write_samples(output: Path, samples: RunSamples, resolution: int) -> None:
    """Write the folder `samples/` (meshes, fields, sequences) and the contact sheet `samples.png`.

    Args:
        output: folder of the run.
        samples: the samples.
        resolution: grid points along each axis of the meshes.
    """
    labels, fields = samples.generated.labels, samples.generated.fields
    with atomic_write(output / "samples") as draft:
        draft.mkdir()
        for index in samples.shapes.with_surface:
            meshed = mesh_sdf(fields.sdf(index), resolution)
            if meshed.mesh is not None:
                save_mesh(meshed.mesh, draft / f"{samples.names[index]}.glb")
        save_fields(draft / "fields.safetensors", fields, ShapeMetadata.plain(samples.names, labels))
        write_json(draft / "ids.json", samples.generated.ids.tolist())
    order = sorted(range(min(NUM_ON_SHEET, len(samples))), key=lambda index: labels[index])
    sheet = contact_sheet([samples.pictures[i] for i in order], [samples.names[i] for i in order])
    save_png(sheet, output / "samples.png")


def decode_rate(tokenizer: WeightTokenizer, ids: Tensor) -> float:
    """Measure the share of sequences that decode to a field with finite weights, each decoded alone.

    Args:
        tokenizer: the tokenizer of the sequences.
        ids: (N, L) sequences.
    """
    decoded = 0
    for row in ids:
        try:
            tokenizer.decode(row[None])
            decoded += 1
        except InputError as error:
            print(f"does not decode: {error}", file=sys.stderr)
    return decoded / len(ids)
