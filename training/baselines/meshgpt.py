"""MeshGPT on low-polygon meshes of the same shapes: `python -m training.baselines.meshgpt --meshes DIR --output DIR`.

MeshGPT (Siddiqui et al., CVPR 2024) learns a vocabulary of triangles with a graph autoencoder and writes meshes,
triangle by triangle, with a transformer. Both are those of the package `meshgpt-pytorch`, made small. It learns
triangles and not fields, so it is a program of its own, and needs an environment of its own:

    python -m venv venv && venv/bin/pip install meshgpt-pytorch trimesh scipy scikit-image libigl fast-simplification

Decisions:
- The meshes are drawn once to `--meshes`, from the training shapes of a run over the built-in families: marching cubes
  of the true distance, quadric decimation to `FACES` triangles, vertices on a lattice of `LATTICE` places an axis,
  faces in MeshGPT's order (by their lowest vertex, z first).
- Half of the budget goes to the autoencoder and half to the transformer. Operations are counted as for the other
  rivals, on one step of each. Only the transformer is stable in bfloat16.
- If a loss is not finite, training stops there and the curve shows it.

Leaves `samples/*.ply` and `cost.json`, with how many samples have a closed surface and the curve of the loss of both
stages; a finished folder is left as it is.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fast_simplification
import numpy as np
import torch
import trimesh
from meshgpt_pytorch import MeshAutoencoder, MeshTransformer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from training.run import read_config
from training.splits import load_split
from weightgpt._programs import cli_main
from weightgpt.errors import InputError
from weightgpt.io import atomic_write, write_json
from weightgpt.visual.meshing import mesh_sdf

FACES, LATTICE, GRID = 200, 64, 48
SHARE, POINTS, SIDE = 0.5, 100, 16

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices (n, 3) in [-1, 1] and faces (m, 3)."""


def on_lattice(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """The mesh with its vertices in the middles of LATTICE³ cells: equal ones joined, lost faces left out, in order."""
    places = np.clip(np.floor((vertices + 1) / 2 * LATTICE), 0, LATTICE - 1).astype(np.int64)
    kept, index = np.unique(places[:, ::-1], axis=0, return_inverse=True)  # sorted by z, y, x
    faces = index.reshape(-1)[faces]
    faces = faces[(faces != np.roll(faces, 1, 1)).all(1)]
    first = faces.argmin(1)[:, None]
    faces = np.take_along_axis(faces, (first + np.arange(3)) % 3, 1)  # the orientation is kept
    faces = np.unique(faces, axis=0)
    return (kept[:, ::-1] + 0.5) / LATTICE * 2 - 1, faces


def draw_meshes(run: Path, count: int, folder: Path) -> None:
    """Write the first `count` training shapes of a run as low-polygon meshes.

    Raises:
        InputError: the run learned from files, not from the built-in families.
    """
    config = read_config(run)
    if not config.is_built_in:
        raise InputError(f"{run} learned from {config.corpus}; give a run over the built-in families.")
    shapes = load_split(config)[0].train[:count]
    with atomic_write(folder) as draft:
        draft.mkdir()
        for i, shape in enumerate(tqdm(shapes, "meshes", unit="shape", mininterval=5)):
            fine = mesh_sdf(shape.sdf, GRID).mesh
            if fine is None:
                continue
            vertices, faces = fine.vertices.astype(np.float32), fine.faces
            if len(faces) > FACES:
                vertices, faces = fast_simplification.simplify(vertices, faces, target_count=FACES)
            vertices, faces = on_lattice(vertices, faces)
            if len(faces):
                trimesh.Trimesh(vertices, faces, process=False).export(draft / f"{i:05d}-{shape.label}.ply")


def read_meshes(folder: Path) -> list[Mesh]:
    """The meshes of a folder that have `FACES` triangles at most.

    Raises:
        InputError: there are none.
    """
    found = []
    for path in sorted(folder.glob("*.ply")):
        mesh = trimesh.load(path, process=False)
        vertices, faces = on_lattice(np.asarray(mesh.vertices), np.asarray(mesh.faces))
        if 0 < len(faces) <= FACES:
            found.append((vertices, faces))
    if not found:
        raise InputError(f"{folder} has no .ply meshes of {FACES} triangles or fewer; draw them with --run RUN.")
    return found


def batches(meshes: list[Mesh], size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Vertices (B, n, 3) and faces (B, m, 3), padded with -1, in shuffled passes without end."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(meshes))
        for start in range(0, max(1, len(order) - size + 1), size):
            chosen = [meshes[i] for i in order[start : start + size]]
            parts = [nn.utils.rnn.pad_sequence([torch.as_tensor(mesh[k]) for mesh in chosen], True, -1) for k in (0, 1)]
            yield parts[0].float(), parts[1].long()


def train_to_budget(model: nn.Module, loss: Callable[[], Tensor], budget: float, title: str) -> dict[str, Any]:
    """Train for as many steps as the budget pays; returns what that cost, and the curve.

    Raises:
        InputError: the budget does not pay for one step.
    """
    with FlopCounterMode(display=False) as counter:
        loss().backward()
    spent = float(counter.get_total_flops())
    steps = int(budget // spent)
    if steps < 1:
        raise InputError(f"one step of the {title} costs {spent:.3g} operations of {budget:.3g}; give more.")
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, 1e-3, (0.9, 0.95), weight_decay=0.01)
    warm = max(1, round(0.03 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: (s + 1) / warm if s < warm else 0.5 * (1 + math.cos(math.pi * (s - warm) / (steps - warm)))
    )
    begun, history, values = time.perf_counter(), [], []
    for step in tqdm(range(1, steps + 1), title, unit="step", mininterval=5):
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        if not value.isfinite():
            break
        value.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        values.append(float(value.detach()))
        if step * POINTS // steps > (step - 1) * POINTS // steps:
            history.append((step, sum(values) / len(values)))
            values = []
    done = step if value.isfinite() else step - 1
    cost = {"steps": done, "planned": steps, "train_flops": done * spent, "seconds": time.perf_counter() - begun}
    return cost | {"parameters": sum(p.numel() for p in learned), "history": history}


def new_autoencoder() -> MeshAutoencoder:
    """MeshGPT's autoencoder at a fraction of its size, with a residual VQ of 2 levels of 1,024 codes."""
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
        rvq_stochastic_sample_codes=False,  # its noise keeps a short training from learning
        flash_attn=False,
    )


def new_transformer(autoencoder: MeshAutoencoder) -> MeshTransformer:
    """MeshGPT's transformer: blocks of the size of our GPT's over faces, a smaller one within each face."""
    return MeshTransformer(
        autoencoder,
        dim=192,
        max_seq_len=FACES * 6,
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


def triangles_right(autoencoder: MeshAutoencoder, batch: tuple[Tensor, Tensor]) -> float:
    """Share of the coordinates that the autoencoder gives back in their cell."""
    vertices, faces = batch
    with torch.no_grad():
        again = autoencoder(vertices=vertices, faces=faces, only_return_recon_faces=True)
    true = torch.stack([v[f.clamp(min=0)] for v, f in zip(vertices, faces, strict=True)])
    known = (faces >= 0).all(-1)
    return float(((again - true).abs() < 1 / LATTICE)[known].float().mean())


def write_samples(transformer: MeshTransformer, count: int, folder: Path) -> dict[str, Any]:
    """Draw meshes and write them; returns how many have a triangle, how many are closed, and the seconds."""
    begun, meshes = time.perf_counter(), []
    for start in range(0, count, SIDE):
        triangles, mask = transformer.generate(batch_size=min(SIDE, count - start), temperature=1.0)
        meshes += [part[kept].numpy() for part, kept in zip(triangles, mask, strict=True)]
    closed = 0
    with atomic_write(folder) as draft:
        draft.mkdir()
        for i, part in enumerate(meshes):
            vertices, faces = on_lattice(part.reshape(-1, 3), np.arange(3 * len(part)).reshape(-1, 3))
            if len(faces):
                mesh = trimesh.Trimesh(vertices, faces, process=False)
                closed += bool(mesh.is_watertight)
                mesh.export(draft / f"meshgpt-{i + 1:03d}.ply")
    some = sum(bool(len(part)) for part in meshes)
    return {"samples": count, "with_triangles": some, "closed": closed, "sample_seconds": time.perf_counter() - begun}


def compare(folder: Path, budget: float, samples: int, seed: int, output: Path) -> None:
    """Train on the meshes of a folder and write samples and costs.

    Raises:
        InputError: there are no meshes, or the budget is too small.
    """
    meshes = read_meshes(folder)
    torch.manual_seed(seed)
    autoencoder = new_autoencoder()
    stream = batches(meshes, 4, seed)

    def reconstruct() -> Tensor:
        vertices, faces = next(stream)
        return autoencoder(vertices=vertices, faces=faces)

    first = train_to_budget(autoencoder, reconstruct, SHARE * budget, "autoencoder")
    autoencoder.eval()
    right = triangles_right(autoencoder, next(stream))
    transformer, fewer = new_transformer(autoencoder), batches(meshes, 2, seed)
    half = torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu.get_capabilities().get("avx512_bf16", False))

    def predict() -> Tensor:
        vertices, faces = next(fewer)
        codes = autoencoder.tokenize(vertices, faces)
        with half:
            return transformer.forward_on_codes(codes)

    second = train_to_budget(transformer, predict, budget - first["train_flops"], "transformer")
    transformer.eval()
    codes = torch.randint(autoencoder.codebook_size, (1, FACES * 3, 2))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        transformer.forward_on_codes(codes)
    cost = {"rival": "meshgpt", "meshes": len(meshes), "budget": budget, "seed": seed, "coordinates_right": right}
    cost |= {name: first[name] + second[name] for name in ("parameters", "train_flops", "seconds", "steps")}
    cost |= {"sample_flops": float(counter.get_total_flops()), "bytes": 4 * cost["parameters"]}
    cost |= write_samples(transformer, samples, output / "samples")
    write_json(output / "cost.json", cost | {"stages": {"autoencoder": first, "transformer": second}})


@cli_main
def main() -> None:
    """Parse arguments; draw the meshes where there are none, then train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--meshes", type=Path, required=True, help="folder of .ply meshes")
    parser.add_argument("--run", type=Path, help="draw the meshes from the training shapes of this run first")
    parser.add_argument("--count", type=int, default=4096, help="meshes to draw")
    parser.add_argument("--budget", type=float, default=5e13, help="floating-point operations of training")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    if given.run is not None and not given.meshes.is_dir():
        draw_meshes(given.run, given.count, given.meshes)
    if (given.output / "cost.json").is_file():
        print(f"meshgpt is already trained: {given.output}", file=sys.stderr)
    else:
        compare(given.meshes, given.budget, given.samples, given.seed, given.output)


if __name__ == "__main__":
    sys.exit(main())
