"""The graph encoder: any field of one architecture to latents, whatever the order of its hidden neurons.

Neurons are the nodes of a graph, and weights are features of its edges. Independent fits of one shape have weights that
look nothing alike. So the state of a node comes mostly from its *traces*: the values that the neuron takes when the
field is evaluated at fixed points (the probe features of Kofinas et al. 2024, "Graph Neural Networks for Learning
Equivariant Representations of Neural Networks").

Decisions:

- Every field has the same layered graph, so a batch is a few dense matrices and a message is a matrix product. Nodes of
  one layer share all parameters, nodes of different layers share none. Inputs (the encoded coordinates) and outputs
  have a fixed order. So latents do not depend on the order of hidden neurons.
- In each round, messages flow both ways along the edges. A message is multiplied by the weight of its edge.
- With a shape encoder, the values of the field at the probes are encoded like the distances of a shape. The graph adds
  a correction to these latents. The correction is zero before training.
- Fields must be in canonical form (`canonical.py`), where ReLU neurons have one scale.

File: `encoder.safetensors`, all float32: `trace_points` (t, D), the weights of the graph, and, with a shape encoder,
`shape_encoder.*` and `truncation` (see `shape_encoder.py`).

Dimensions: B fields, P parameters of a field, w neurons of a layer, t traces of a neuron, m probes, D dimension, h node
width, C chunks, r latent width, E width of the encoded coordinates, O outputs.
"""

from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.functional import activate, evaluate_encoded, first_layer_inputs, layer_matrices
from weightgpt.fields.optimization import DEFAULT_TRUNCATION
from weightgpt.io import read_shapes, read_tensors
from weightgpt.quantizers.shape_encoder import ShapeEncoder


class GraphEncoder(nn.Module):
    """Message passing on the graph of a field: weights (B, P) to latents (B, C, r).

    Args:
        field_config: the architecture of the fields.
        num_chunks: C.
        latent_width: r.
        trace_points: (t, D) where traces are evaluated; with t = 0 the graph reads weights alone.
        width: h.
        num_rounds: rounds of messages.
        shape_encoder: encodes the values of the field at its probes; None for a graph alone.

    Raises:
        InputError: there is a shape encoder, but fields have more than one output.
    """

    trace_points: Tensor
    """(t, D) where traces are evaluated."""

    def __init__(
        self,
        field_config: FieldConfig,
        num_chunks: int,
        latent_width: int,
        trace_points: Float[Tensor, "t D"],
        width: int = 64,
        num_rounds: int = 2,
        shape_encoder: ShapeEncoder | None = None,
    ) -> None:
        super().__init__()
        if shape_encoder is not None and field_config.out_features != 1:
            raise InputError(
                f"a shape encoder reads one signed distance, not {field_config.out_features} outputs; leave it out."
            )
        self.field_config, self.num_chunks, self.latent_width = field_config, num_chunks, latent_width
        self.register_buffer("trace_points", trace_points.clone())
        layers = len(field_config.layers)
        self.inputs = nn.Parameter(torch.randn(field_config.encoded + 1, width))
        self.biases = nn.Parameter(torch.randn(layers, width))
        self.scale = nn.Linear(1, width)
        traced = layers if len(trace_points) else 0
        self.traces = nn.ModuleList(nn.Linear(len(trace_points), width) for _ in range(traced))
        self.rounds = nn.ModuleList(MessageRound(layers, width) for _ in range(num_rounds))
        self.pools = nn.ModuleList(_perceptron(width, width, width) for _ in range(layers))
        pooled = width * (len(field_config.hidden) + field_config.out_features)
        self.head = _perceptron(pooled, 512, num_chunks * latent_width)
        self.shape_encoder = shape_encoder
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.3 if shape_encoder is None else 0.0)
            last.bias.zero_()

    def forward(self, flat: Tensor, probed: Float[Tensor, "B m"] | None = None) -> Float[Tensor, "B C r"]:
        """Latents (B, C, r) of fields in canonical form.

        Args:
            flat: (B, P) weights.
            probed: (B, m) what `evaluate_probes` returns for the fields; computed here when None.

        Raises:
            InputError: the weights are of another architecture.
        """
        nodes, edges = self._build_graph(flat)
        for messages in self.rounds:
            nodes = messages(nodes, edges)
        *hidden, outputs = [pool(node) for pool, node in zip(self.pools, nodes, strict=True)]
        pooled = torch.cat([*(node.mean(1) for node in hidden), outputs.flatten(1)], 1)
        latents: Tensor = self.head(pooled).unflatten(1, (self.num_chunks, self.latent_width))
        if self.shape_encoder is not None:
            latents = latents + self.shape_encoder(self.evaluate_probes(flat) if probed is None else probed)
        return latents

    def evaluate_probes(self, flat: Float[Tensor, "B P"]) -> Float[Tensor, "B m"]:
        """Values (B, m) of fields at the probes of the shape encoder; m is 0 without one.

        Args:
            flat: (B, P) weights.
        """
        if self.shape_encoder is None:
            return flat[:, :0]
        encoded = first_layer_inputs(self.shape_encoder.probes, self.field_config)
        return evaluate_encoded(self.field_config, flat, encoded)[..., 0]

    def _build_graph(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Node states (B, w, h) of each layer, and the edges (B, w, w of the layer below) between layers."""
        matrices = layer_matrices(self.field_config, flat)
        size = matrices[-1].abs().amax(2, keepdim=True).clamp(min=1e-6)  # the outputs carry the scale of all layers
        matrices = [*matrices[:-1], matrices[-1] / size]
        nodes = [matrix[..., -1:] * bias for matrix, bias in zip(matrices, self.biases, strict=True)]
        nodes[0] = nodes[0] + matrices[0] @ self.inputs
        nodes[-1] = nodes[-1] + self.scale(size.log())
        if self.traces:
            traces = zip(nodes, self.traces, self._evaluate_traces(flat), strict=True)
            nodes = [node + read(trace) for node, read, trace in traces]
        return nodes, [matrix[..., :-1] for matrix in matrices[1:]]

    def _evaluate_traces(self, flat: Tensor) -> list[Tensor]:
        """Value (B, w, t) of each neuron at the trace points, by layer; outputs are truncated as distances are."""
        first, *rest = layer_matrices(self.field_config, flat)
        values, traces = first @ first_layer_inputs(self.trace_points, self.field_config), []
        for matrix in rest:
            traces.append(activate(values, self.field_config.activation))
            values = torch.baddbmm(matrix[:, :, -1:], matrix[:, :, :-1], traces[-1])
        return [*traces, torch.tanh(DEFAULT_TRUNCATION * values)]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of `encoder.safetensors`."""
        shape_encoder = self.shape_encoder
        truncation = {} if shape_encoder is None else {"truncation": torch.tensor(shape_encoder.truncation)}
        return {**self.state_dict(), **truncation}

    @classmethod
    def load(cls, folder: Path | str, field_config: FieldConfig, num_chunks: int, latent_width: int) -> "GraphEncoder":
        """Read the `encoder.safetensors` of a quantizer.

        Args:
            folder: the folder of the quantizer.
            field_config: the architecture of the fields.
            num_chunks: C of the codebook.
            latent_width: r of the codebook.

        Raises:
            InputError: the file is missing, cut short, or belongs to a codebook of another size or architecture.
        """
        path, sizes = Path(folder) / "encoder.safetensors", (num_chunks, latent_width)
        header = read_shapes(path)
        shapes = {name: shape for name, (_, shape) in header.items()}
        points = {name: torch.empty(shape, device="meta") for name, shape in shapes.items() if len(shape) == 2}
        with torch.device("meta"):  # names and shapes alone, without numbers
            expected = _build(cls, shapes, points, field_config, sizes, path).tensors()
        tensors = read_tensors(path, {name: (torch.float32, tuple(value.shape)) for name, value in expected.items()})
        encoder = _build(cls, shapes, tensors, field_config, sizes, path)
        if encoder.shape_encoder is not None:
            encoder.shape_encoder.truncation = float(tensors.pop("truncation"))
        encoder.load_state_dict(tensors)
        return encoder.eval().requires_grad_(False)


def _build(
    kind: type[GraphEncoder],
    shapes: dict[str, tuple[int, ...]],
    points: dict[str, Tensor],
    field_config: FieldConfig,
    sizes: tuple[int, int],
    path: Path,
) -> GraphEncoder:
    """A graph encoder with the sizes of the tensors of a file, and with the probes and trace points in `points`."""
    shape_encoder = None
    try:
        if "truncation" in shapes:
            (width,) = shapes["shape_encoder.layers.0.bias"]
            shape_encoder = ShapeEncoder(points["shape_encoder.probes"], width, *sizes)
        _, width = shapes["biases"]
        num_rounds = len({name.split(".")[1] for name in shapes if name.startswith("rounds.")})
        trace_points, dimension = points["trace_points"], field_config.in_features
        if trace_points.shape[1] != dimension or (shape_encoder and shape_encoder.probes.shape[1] != dimension):
            raise ValueError("its points are of another dimension")
        return kind(field_config, *sizes, trace_points, width, num_rounds, shape_encoder)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} is not the graph encoder of this codebook ({error}); take all files from one folder."
        ) from error


class MessageRound(nn.Module):
    """One round of messages between neighboring layers.

    Args:
        layers: number of layers of the fields.
        width: h.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.update = nn.ModuleList(_perceptron(3 * width, 2 * width, width) for _ in range(layers))

    def forward(
        self, nodes: list[Float[Tensor, "B _ h"]], edges: list[Float[Tensor, "B _ _"]]
    ) -> list[Float[Tensor, "B _ h"]]:
        """New node states (B, w, h) of each layer.

        Args:
            nodes: node states (B, w, h) of each layer.
            edges: weights (B, w, w of the layer below) between layers.
        """
        sides = zip(edges, pairwise(nodes), self.up[:-1], self.down[1:], strict=True)
        messages = [(edge @ up(below), edge.mT @ down(above)) for edge, (below, above), up, down in sides]
        # The first layer has no layer below, and the last has none above: their messages are zero.
        ups = [torch.zeros_like(nodes[0]), *(message for message, _ in messages)]
        downs = [*(message for _, message in messages), torch.zeros_like(nodes[-1])]
        states = zip(nodes, ups, downs, self.update, strict=True)
        return [node + update(torch.cat([node, up, down], 2)) for node, up, down, update in states]


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))
