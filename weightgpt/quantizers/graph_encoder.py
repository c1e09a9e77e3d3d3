"""The graph encoder: any field of the architecture to latents, whatever the order of its hidden neurons.

Neurons are nodes, weights are edges. Independent fits of one shape have weights that look nothing alike, so weights are
only how nodes talk; what a node knows of itself is mostly its *traces*, the values it takes when the field is asked at
fixed points (the probe features of Kofinas et al. 2024, "Graph Neural Networks for Learning Equivariant Representations
of Neural Networks").

Decisions:
- Every field has the same layered graph, so a batch is a few dense matrices and a message is a matrix product. Nodes of
  one layer share all parameters, nodes of different layers none; inputs (the encoding) and outputs have a fixed order
  and keep it. So latents do not depend on the order of hidden neurons.
- In a round, each node hears the neurons that it reads and the neurons that read it, each message times its weight.
- Optionally a shape encoder reads the output at all its probes, as it reads a shape; what the graph has pooled is added
  to its latents, nothing at first.

It expects fields in canonical form (`canonical.py`), where relu neurons have one scale.

Dimensions: B fields, P parameters, w neurons of a layer, t traces of a neuron, D dimension, h node width, C chunks, r
latent width, E width of the encoding, O outputs.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, activate, evaluate_encoded, fourier_features, layer_matrices
from weightgpt.io import read_tensors, write_tensors
from weightgpt.quantizers.shape_encoder import ShapeEncoder


class GraphEncoder(nn.Module):
    """Message passing on the graph of a field: weights (B, P) to latents (B, C, r)."""

    points: Tensor
    """(t, D) where traces are taken; t may be 0, and the graph then knows weights alone."""

    def __init__(
        self,
        config: FieldConfig,
        chunks: int,
        latent_width: int,
        points: Tensor,
        width: int = 64,
        rounds: int = 2,
        shape: ShapeEncoder | None = None,
    ) -> None:
        super().__init__()
        if shape is not None and config.out_features != 1:
            raise InputError(
                f"a shape encoder reads one signed distance, not {config.out_features} outputs; leave it out."
            )
        self.field_config, self.num_chunks, self.latent_width = config, chunks, latent_width
        self.register_buffer("points", points.clone())
        layers = len(config.layers)
        self.inputs = nn.Parameter(torch.randn(config.encoded + 1, width))
        self.biases = nn.Parameter(torch.randn(layers, width))
        self.scale = nn.Linear(1, width)
        self.traces = nn.ModuleList(nn.Linear(len(points), width) for _ in range(layers if len(points) else 0))
        self.rounds = nn.ModuleList(Round(layers, width) for _ in range(rounds))
        self.pools = nn.ModuleList(_perceptron(width, width, width) for _ in range(layers))
        pooled = width * (len(config.hidden) + config.out_features)
        self.head = _perceptron(pooled, 512, chunks * latent_width)
        self.shape = shape
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.3 if shape is None else 0.0)
            last.bias.zero_()

    def forward(self, flat: Tensor, values: Tensor | None = None) -> Tensor:
        """Latents (B, C, r) of canonical weights (B, P).

        Args:
            values: (B, m) what `values` gives, where it has been asked already.

        Raises:
            InputError: the weights are of another architecture.
        """
        nodes, edges = self._start(flat)
        for step in self.rounds:
            nodes = step(nodes, edges)
        *hidden, outputs = [pool(node) for pool, node in zip(self.pools, nodes, strict=True)]
        pooled = torch.cat([*(node.mean(1) for node in hidden), outputs.flatten(1)], 1)
        latents: Tensor = self.head(pooled).unflatten(1, (self.num_chunks, self.latent_width))
        if self.shape is not None:
            latents = latents + self.shape(self.values(flat) if values is None else values)
        return latents

    def values(self, flat: Tensor) -> Tensor:
        """(B, m) the fields (B, P) at the m probes of the shape encoder; m is 0 without one."""
        if self.shape is None:
            return flat[:, :0]
        return evaluate_encoded(
            self.field_config, flat, fourier_features(self.shape.probes, self.field_config.num_frequencies)
        )[..., 0]

    def _start(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Node states (B, w, h) of each layer, and the edges (B, w, w of the layer below) between layers."""
        matrices = layer_matrices(self.field_config, flat)
        size = matrices[-1].abs().amax(2, keepdim=True).clamp(min=1e-6)  # the outputs carry the scale of all layers
        matrices = [*matrices[:-1], matrices[-1] / size]
        nodes = [matrix[..., -1:] * bias for matrix, bias in zip(matrices, self.biases, strict=True)]
        nodes[0] = nodes[0] + matrices[0] @ self.inputs
        nodes[-1] = nodes[-1] + self.scale(size.log())
        if self.traces:
            seen = self._traces(flat)
            nodes = [node + read(trace) for node, read, trace in zip(nodes, self.traces, seen, strict=True)]
        return nodes, [matrix[..., :-1] for matrix in matrices[1:]]

    def _traces(self, flat: Tensor) -> list[Tensor]:
        """What each neuron gives at the points, (B, w, t) for each layer; outputs truncated as distances are."""
        first, *rest = layer_matrices(self.field_config, flat)
        values, seen = first @ fourier_features(self.points, self.field_config.num_frequencies), []
        for matrix in rest:
            seen.append(activate(values, self.field_config.activation))
            values = torch.baddbmm(matrix[:, :, -1:], matrix[:, :, :-1], seen[-1])
        return [*seen, torch.tanh(5.0 * values)]

    def save(self, folder: Path | str) -> None:
        """Write `encoder.safetensors`, beside the codebook's files."""
        truncation = {} if self.shape is None else {"truncation": torch.tensor(self.shape.truncation)}
        write_tensors(Path(folder) / "encoder.safetensors", {**self.state_dict(), **truncation})

    @classmethod
    def load(cls, folder: Path | str, config: FieldConfig, chunks: int, latent_width: int) -> "GraphEncoder":
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, cut short, or belongs to a codebook of another size or architecture.
        """
        path = Path(folder) / "encoder.safetensors"
        tensors, shape = read_tensors(path), None
        try:
            if "truncation" in tensors:
                probes, width = tensors["shape.probes"], len(tensors["shape.layers.0.bias"])
                shape = ShapeEncoder(probes, width, chunks, latent_width, float(tensors.pop("truncation")))
            width = tensors["biases"].shape[1]
            rounds = len({name.split(".")[1] for name in tensors if name.startswith("rounds.")})
            encoder = cls(config, chunks, latent_width, tensors["points"], width, rounds, shape)
            encoder.load_state_dict(tensors)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{path} is not the graph encoder of this codebook; take both from one folder.") from error
        return encoder.eval().requires_grad_(False)


class Round(nn.Module):
    """One exchange of messages between neighboring layers."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.update = nn.ModuleList(_perceptron(3 * width, 2 * width, width) for _ in range(layers))

    def forward(self, nodes: list[Tensor], edges: list[Tensor]) -> list[Tensor]:
        """New states of the nodes (B, w, h) of each layer; edges (B, w, w of the layer below) between layers."""
        silent = torch.zeros_like
        sides = zip(edges, pairwise(nodes), self.up[:-1], self.down[1:], strict=True)
        heard = [(edge @ up(below), edge.mT @ down(above)) for edge, (below, above), up, down in sides]
        ups = [silent(nodes[0]), *(message for message, _ in heard)]
        downs = [*(message for _, message in heard), silent(nodes[-1])]
        known = zip(nodes, ups, downs, self.update, strict=True)
        return [node + update(torch.cat([node, up, down], 2)) for node, up, down, update in known]


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
