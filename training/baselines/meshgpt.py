"""MeshGPT on low-polygon meshes of the same shapes: `python -m training.baselines.meshgpt --meshes DIR --output DIR`.

MeshGPT (Siddiqui et al., CVPR 2024) learns a vocabulary of triangles with a graph autoencoder, and generates meshes
triangle by triangle with a transformer. We use both from the package `meshgpt-pytorch`, at a small size. This baseline
is a separate program because MeshGPT learns triangles instead of fields, and it needs a separate environment:

    python -m venv venv && venv/bin/pip install meshgpt-pytorch fast-simplification ".[train]"

Decisions:
- `--run` writes the meshes to `--meshes` once, from the training shapes of a run over the built-in families: marching
  cubes of the true distance, quadric decimation to `MAX_FACES` triangles, vertices on a lattice of `LATTICE` cells per
  axis, faces in MeshGPT's order (by their lowest vertex, z first).
- One half of the budget trains the autoencoder, the other half the transformer. Operations are counted on one step of
  each, as for the other baselines. We use bfloat16 for the transformer only, because the autoencoder does not train
  stably with bfloat16.
- Training stops at a loss that is not finite, and the loss curve shows where.

The program writes `samples/*.ply` and `cost.json`: the costs, the number of samples with a closed surface, and the loss
curves of both stages. If the folder has `cost.json`, the program does not train again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import trimesh
from torch import Tensor, nn

from training.baselines.budget import (
    BudgetedRun,
    OptimizerConfig,
    affordable_steps,
    bf16_autocast,
    count_flops,
    train_steps,
)
from training.baselines.low_poly import (
    LATTICE,
    MAX_FACES,
    mesh_batches,
    read_meshes,
    snap_to_lattice,
    write_meshes,
)
from weightgpt._programs import cli_main, parse
from weightgpt.errors import check_at_least, check_positive, check_seed
from weightgpt.io import atomic_write, write_json

if TYPE_CHECKING:
    from meshgpt_pytorch import MeshAutoencoder, MeshTransformer

AUTOENCODER_SHARE = 0.5
"""Share of the budget that trains the autoencoder."""
AUTOENCODER_BATCH, TRANSFORMER_BATCH = 4, 2
"""Meshes of a training step."""
SAMPLE_BATCH = 16
"""Meshes that are sampled together."""


@dataclass(frozen=True, kw_only=True)
class MeshGptConfig:
    """Train MeshGPT on a folder of meshes."""

    meshes: Path
    """Folder of .ply meshes."""
    output: Path
    """Folder to write the samples and their cost to."""
    run: Path | None = None
    """A run over the built-in families. Its training shapes become the meshes if there is no folder of meshes yet."""
    num_meshes: int = 4096
    """Training shapes of the run to mesh."""
    budget_flops: float = 5e13
    """Floating-point operations of training."""
    num_samples: int = 64
    """Meshes to generate."""
    seed: int = 0
    """Seed of the training and of the samples."""

    def __post_init__(self) -> None:
        check_seed(self)
        check_at_least(self, 1, "num_meshes", "num_samples")
        check_positive(self, "budget_flops")


@dataclass(frozen=True)
class Stage:
    """One of the two trainings."""

    parameters: int
    """Parameters that were trained."""
    run: BudgetedRun
    """The training and its cost."""


def train_stage(model: nn.Module, loss: Callable[[], Tensor], budget_flops: float, title: str) -> Stage:
    """Train one of the two models until its part of the budget is spent.

    Args:
        model: the autoencoder or the transformer.
        loss: draws a batch and returns its mean loss.
        budget_flops: floating-point operations of this stage.
        title: title of the progress bar.

    Raises:
        InputError: the budget does not pay for one step.
    """
    step_flops = count_flops(lambda: loss().backward())
    steps = affordable_steps(step_flops, budget_flops)
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Stage(parameters, train_steps(model, loss, steps, step_flops, OptimizerConfig(), title=title))


def new_autoencoder() -> MeshAutoencoder:
    """MeshGPT's autoencoder at a fraction of its size, with a residual VQ of two levels of 1,024 codes."""
    from meshgpt_pytorch import MeshAutoencoder

    return MeshAutoencoder(
        num_discrete_coors=LATTICE,
        dim_coor_embed=32,
        dim_normal_embed=16,
        dim_area_embed=8,
        dim_angle_embed=8,
        encoder_dims_through_depth=(64, 128, 128, 192),
        decoder_dims_through_depth=(192, 192, 192, 192, 192, 192),
        dim_codebook=96,
        codebook_size=1024,
        use_residual_lfq=False,
        rvq_stochastic_sample_codes=False,  # with random codes a short training does not learn
        flash_attn=False,
    )


def new_transformer(autoencoder: MeshAutoencoder) -> MeshTransformer:
    """MeshGPT's transformer: blocks of the size of the "small" GPT over faces, and a smaller block within each face.

    Args:
        autoencoder: the trained autoencoder.
    """
    from meshgpt_pytorch import MeshTransformer

    return MeshTransformer(
        autoencoder,
        dim=192,
        max_seq_len=MAX_FACES * 6,
        attn_depth=4,
        attn_heads=6,
        attn_dim_head=32,
        attn_kwargs={"ff_glu": True, "attn_num_mem_kv": 4},
        fine_attn_depth=1,
        fine_attn_heads=6,
        coarse_pre_gateloop_depth=0,
        fine_pre_gateloop_depth=0,
        flash_attn=False,
    )


def coordinate_accuracy(autoencoder: MeshAutoencoder, batch: tuple[Tensor, Tensor]) -> float:
    """Share of the vertex coordinates that the autoencoder reconstructs in their cell.

    Args:
        autoencoder: the trained autoencoder.
        batch: vertices (B, n, 3) and faces (B, m, 3), padded with -1.
    """
    vertices, faces = batch
    with torch.no_grad():
        reconstruction = autoencoder(vertices=vertices, faces=faces, only_return_recon_faces=True)
    true = torch.stack([v[f.clamp(min=0)] for v, f in zip(vertices, faces, strict=True)])
    real = (faces >= 0).all(-1)
    return float(((reconstruction - true).abs() < 1 / LATTICE)[real].float().mean())


def write_samples(transformer: MeshTransformer, count: int, folder: Path) -> dict[str, Any]:
    """Generate meshes and write them; returns how many have triangles, how many are watertight, and the seconds.

    Args:
        transformer: the trained transformer.
        count: meshes to generate.
        folder: folder of the .ply files.
    """
    start, meshes, watertight = time.perf_counter(), [], 0
    for first in range(0, count, SAMPLE_BATCH):
        triangles, masks = transformer.generate(batch_size=min(SAMPLE_BATCH, count - first), temperature=1.0)
        meshes += [part[mask].numpy() for part, mask in zip(triangles, masks, strict=True)]
    with atomic_write(folder) as draft:
        draft.mkdir()
        for i, part in enumerate(meshes):
            vertices, faces = snap_to_lattice(part.reshape(-1, 3), np.arange(3 * len(part)).reshape(-1, 3))
            if len(faces):
                mesh = trimesh.Trimesh(vertices, faces, process=False)
                watertight += bool(mesh.is_watertight)
                mesh.export(draft / f"meshgpt-{i + 1:03d}.ply")
    with_triangles = sum(bool(len(part)) for part in meshes)
    seconds = time.perf_counter() - start
    return {"with_triangles": with_triangles, "watertight": watertight, "sample_seconds": seconds}


def train_meshgpt(config: MeshGptConfig) -> None:
    """Train on the meshes of a folder, and write samples and costs.

    Args:
        config: what to train, and where to write.

    Raises:
        InputError: there are no meshes, or the budget is too small.
    """
    meshes = read_meshes(config.meshes)
    torch.manual_seed(config.seed)
    autoencoder, stream = new_autoencoder(), mesh_batches(meshes, AUTOENCODER_BATCH, config.seed)

    def reconstruction_loss() -> Tensor:
        vertices, faces = next(stream)
        return autoencoder(vertices=vertices, faces=faces)

    budget = AUTOENCODER_SHARE * config.budget_flops
    first = train_stage(autoencoder, reconstruction_loss, budget, "autoencoder")
    autoencoder.eval()
    accuracy = coordinate_accuracy(autoencoder, next(stream))
    transformer, small_stream = new_transformer(autoencoder), mesh_batches(meshes, TRANSFORMER_BATCH, config.seed)

    def code_loss() -> Tensor:
        codes = autoencoder.tokenize(*next(small_stream))
        with bf16_autocast():
            return transformer.forward_on_codes(codes)

    second = train_stage(transformer, code_loss, config.budget_flops - first.run.flops, "transformer")
    transformer.eval()
    codes = torch.randint(autoencoder.codebook_size, (1, MAX_FACES * 3, 2))
    with torch.no_grad():
        sample_flops = count_flops(lambda: transformer.forward_on_codes(codes))
    settings = {"baseline": "meshgpt", "num_meshes": len(meshes), "num_samples": config.num_samples}
    settings |= {"budget_flops": config.budget_flops, "seed": config.seed, "coordinate_accuracy": accuracy}
    cost = stage_costs({"autoencoder": first, "transformer": second})
    samples = write_samples(transformer, config.num_samples, config.output / "samples")
    write_json(config.output / "cost.json", settings | cost | {"sample_flops": sample_flops} | samples)


def stage_costs(stages: dict[str, Stage]) -> dict[str, Any]:
    """The cost of both trainings as JSON values.

    Args:
        stages: the trainings by name.
    """
    parameters = sum(stage.parameters for stage in stages.values())
    runs = [stage.run for stage in stages.values()]
    return {
        "parameters": parameters,
        "bytes": 4 * parameters,
        "steps": sum(run.steps for run in runs),
        "train_flops": sum(run.flops for run in runs),
        "seconds": sum(run.seconds for run in runs),
        "histories": {name: stage.run.history for name, stage in stages.items()},
    }


@cli_main
def main() -> None:
    """Read the options, write the meshes where there are none, and train."""
    config = parse(MeshGptConfig, "training.baselines.meshgpt")
    if config.run is not None and not config.meshes.is_dir():
        write_meshes(config.run, config.num_meshes, config.meshes)
    if (config.output / "cost.json").is_file():
        print(f"meshgpt is already trained: {config.output}", file=sys.stderr)
    else:
        train_meshgpt(config)


if __name__ == "__main__":
    sys.exit(main())
