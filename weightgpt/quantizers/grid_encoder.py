"""The encoder of local chunks: signed distances on a regular grid to one latent for each grid node of the field.

Decisions:

- Two convolutions read the grid of distances down to one vector for each node of the finest grid. A vector sees a cell
  of the field on each side of its node and thus describes the surface there. Two truncations of the distance show the
  solid as a whole and its thin walls.
- The probes are stored in a fixed random order, because other code takes the first points of a corpus as a random
  sample. The encoder puts them in order again.
- A transformer then lets the nodes see each other. Nodes of coarser grids have vectors of their own, which begin equal
  for all shapes and read the others by attention.

File: `encoder.safetensors`, all float32: `convolutions.*`, `norm.*`, `places` (C, d), `blocks.*` and `outputs.*`.

Dimensions: B shapes, m probes, D dimension, C nodes, N nodes of the finest grid, r latent width, d width.
"""

from pathlib import Path
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from weightgpt.fields.config import FieldConfig
from weightgpt.io import read_tensors
from weightgpt.quantizers.grid_decoder import GridDecoder, check_grids, transformer

PATCH = 4
"""Cells along each axis of the patches that the first convolution reads, without overlap."""
CELLS_PER_NODE = 2 * PATCH
"""Cells of the grid of distances along each axis for each node of the finest grid."""
TRUNCATIONS = (4.0, 16.0)
"""Factors t: the encoder reads tanh(t · sdf)."""
CHANNELS = 64
"""Numbers that a patch becomes."""


class GridEncoder(nn.Module):
    """Distances (B, m) at the cell centers of a regular grid to latents (B, C, r).

    Args:
        field_config: the architecture of the fields; it has grids.
        latent_width: r.
        width: d of the transformer.
        layers: layers of the transformer.
    """

    probes: Tensor
    """(m, D) shuffled cell centers of a grid with 8 cells along each axis for each node of the finest grid."""
    order: Tensor
    """(m,) the place of each cell among the probes."""

    def __init__(self, field_config: FieldConfig, latent_width: int, width: int, layers: int) -> None:
        super().__init__()
        dimension, finest = field_config.in_features, max(field_config.grids)
        self.num_chunks, self.latent_width = field_config.num_nodes, latent_width
        self.cells = (finest * CELLS_PER_NODE,) * dimension
        self.register_buffer("probes", grid_probes(field_config), persistent=False)
        self.register_buffer("order", shuffled_cells(self.cells[0], dimension).argsort(), persistent=False)
        convolution = nn.Conv2d if dimension == 2 else nn.Conv3d
        patches, nodes = convolution(len(TRUNCATIONS), CHANNELS, PATCH, PATCH), convolution(CHANNELS, width, 4, 2, 1)
        self.convolutions, self.norm = nn.Sequential(patches, nn.GELU(), nodes), nn.LayerNorm(width)
        # The nodes of the finest grid come from the convolutions, wherever that grid stands among the others.
        counts = [nodes**dimension for nodes in field_config.grids]
        first = sum(counts[: field_config.grids.index(finest)])
        self.finest = slice(first, first + finest**dimension)
        self.places = nn.Parameter(0.02 * torch.randn(self.num_chunks, width))
        self.blocks, self.outputs = transformer(width, layers), nn.Linear(width, latent_width)

    def forward(self, sdf: Float[Tensor, "B m"]) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) of shapes.

        Args:
            sdf: (B, m) signed distances at the probes.
        """
        ordered = sdf[:, self.order]
        grid = torch.stack([torch.tanh(factor * ordered) for factor in TRUNCATIONS], 1).unflatten(2, self.cells)
        read = self.norm(self.convolutions(grid).flatten(2).mT)
        before, after = self.places[: self.finest.start], self.places[self.finest.stop :]
        rows = [before.expand(len(sdf), -1, -1), read + self.places[self.finest], after.expand(len(sdf), -1, -1)]
        latents: Tensor = self.outputs(self.blocks(torch.cat(rows, 1)))
        return latents

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of `encoder.safetensors`."""
        return dict(self.state_dict())

    @classmethod
    def load(cls, folder: Path | str, decoder: GridDecoder) -> Self:
        """Read the `encoder.safetensors` of a quantizer; the encoder has the sizes of the weight decoder.

        Args:
            folder: the folder of the quantizer.
            decoder: the weight decoder of its codebook.

        Raises:
            InputError: the file is missing, cut short, or belongs to a codebook of another size.
        """
        settings = decoder.settings({})
        sizes = (decoder.field_config, decoder.latent_width, settings["decoder_width"], settings["decoder_layers"])
        with torch.device("meta"):
            expected = {name: (torch.float32, tuple(value.shape)) for name, value in cls(*sizes).tensors().items()}
        encoder = cls(*sizes)
        encoder.load_state_dict(read_tensors(Path(folder) / "encoder.safetensors", expected))
        return encoder.eval()


def cell_centers(cells: int, dimension: int) -> Float[Tensor, "m D"]:
    """The centers of the cells of a regular grid over [-1, 1]^D, the last coordinate fastest.

    Args:
        cells: cells along each axis.
        dimension: D.

    Returns:
        (cells^D, D).
    """
    axis = (torch.arange(cells) + 0.5) * (2 / cells) - 1
    return torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), -1).reshape(-1, dimension)


def shuffled_cells(cells: int, dimension: int) -> Int[Tensor, " m"]:
    """The cell of each probe: all cells of a regular grid in a fixed random order.

    Args:
        cells: cells along each axis.
        dimension: D.

    Returns:
        (cells^D,) int64.
    """
    with torch.device("cpu"):
        return torch.randperm(cells**dimension, generator=torch.Generator().manual_seed(0))


def grid_probes(field_config: FieldConfig) -> Float[Tensor, "m D"]:
    """The points at which an encoder of this architecture reads a shape.

    Args:
        field_config: the architecture of the fields; it has grids.

    Returns:
        (m, D) in [-1, 1]^D.

    Raises:
        InputError: the architecture has no grids.
    """
    check_grids(field_config)
    cells, dimension = max(field_config.grids) * CELLS_PER_NODE, field_config.in_features
    with torch.device("cpu"):
        return cell_centers(cells, dimension)[shuffled_cells(cells, dimension)]
