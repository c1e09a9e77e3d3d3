"""The architecture of a field.

Dimensions: D input dimension, O output dimension, E width of the encoding, N grid nodes, P parameters.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from weightgpt.errors import InputError, check_types, check_whole

ACTIVATIONS = ("relu", "gelu", "sine")
"""Activations of the hidden layers."""
OUTPUTS = ("none", "tanh", "sigmoid")
"""Functions of the output."""
MAX_LAYERS, MAX_WIDTH, MAX_FREQUENCIES, MAX_NODES = 64, 65536, 64, 4096
"""The largest sizes, so that a small file cannot ask for more memory than there is."""


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """The architecture of a field. Fields can share a tokenizer only if their architectures are equal.

    Examples:
        >>> FieldConfig(hidden=(32, 32)).parameters
        1985
    """

    in_features: int = 3
    """D: 2 for images and planar shapes, 3 for solids. Coordinates lie in [-1, 1]^D."""
    out_features: int = 1
    """O: 1 for a signed distance."""
    hidden: tuple[int, ...] = (32, 32, 32)
    """Width of each hidden layer."""
    num_frequencies: int = 4
    """Number of Fourier frequencies 2^k π in addition to the coordinates (NeRF, Mildenhall et al. 2020, eq. 4)."""
    grids: tuple[int, ...] = ()
    """Nodes along each axis of every grid, coarse grid first. Each node adds one input: the weight that linear
    interpolation in its grid gives to the node (see `weightgpt.fields.hats`). The weights that leave this input act
    near the node alone. (4,) has 64 nodes in a solid; () has none."""
    activation: str = "relu"
    """relu, gelu, or sine (SIREN, Sitzmann et al. 2020, without its first-layer frequency)."""
    output: str = "none"
    """Function of the output: none, tanh, or sigmoid."""

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, list | tuple):
            raise InputError(f"hidden is {self.hidden!r:.100}; give a tuple of widths, such as (32, 32, 32).")
        check_types(self)
        object.__setattr__(self, "hidden", tuple(check_whole("a width of hidden", width) for width in self.hidden))
        if not isinstance(self.grids, list | tuple):
            raise InputError(f"grids is {self.grids!r:.100}; give a tuple of node counts, such as (4,), or ().")
        object.__setattr__(self, "grids", tuple(check_whole("a grid", nodes) for nodes in self.grids))
        if self.in_features not in (2, 3):
            raise InputError(f"in_features is {self.in_features}; a field takes 2 or 3 coordinates.")
        if self.out_features < 1 or not self.hidden or min(self.hidden) < 1 or self.num_frequencies < 0:
            raise InputError(
                f"{self!s:.200} has an empty layer; give positive widths, and num_frequencies of 0 or more."
            )
        if any(nodes < 1 for nodes in self.grids) or self.num_nodes > MAX_NODES:
            raise InputError(
                f"grids is {self.grids!s:.100}; give 1 node or more along each axis, and {MAX_NODES} nodes in all at"
                " most."
            )
        widths = (self.out_features, *self.hidden)
        if len(self.hidden) > MAX_LAYERS or max(widths) > MAX_WIDTH or self.num_frequencies > MAX_FREQUENCIES:
            raise InputError(
                f"a field has {len(self.hidden)} layers, widths up to {max(widths)} and {self.num_frequencies}"
                f" frequencies; give {MAX_LAYERS}, {MAX_WIDTH} and {MAX_FREQUENCIES} at most."
            )
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation is {self.activation!r:.100}; choose one of {', '.join(ACTIVATIONS)}.")
        if self.output not in OUTPUTS:
            raise InputError(f"output is {self.output!r:.100}; choose one of {', '.join(OUTPUTS)}.")

    @property
    def num_nodes(self) -> int:
        """N, the nodes of all grids."""
        return sum(nodes**self.in_features for nodes in self.grids)

    @property
    def encoded(self) -> int:
        """E, the width of the encoding: the Fourier features, and then one input for each grid node."""
        return self.in_features * (1 + 2 * self.num_frequencies) + self.num_nodes

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each linear layer."""
        widths = (self.encoded, *self.hidden, self.out_features)
        return tuple(pairwise(widths))

    @property
    def parameters(self) -> int:
        """P, the number of weights and biases."""
        return sum(outputs * (inputs + 1) for inputs, outputs in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Convert the architecture to JSON values; `grids` is left out where there are none, as in older files."""
        values = {**asdict(self), "hidden": list(self.hidden), "grids": list(self.grids)}
        return values if self.grids else {name: value for name, value in values.items() if name != "grids"}

    @classmethod
    def from_dict(cls, values: Any) -> "FieldConfig":
        """Create the architecture from JSON values; the inverse of `to_dict`.

        Args:
            values: fields of the class by name; the others have their defaults.

        Raises:
            InputError: `values` is no dictionary, a key is unknown, or a value is not allowed.
        """
        if not isinstance(values, dict):
            raise InputError(f"a field configuration is a {type(values).__name__}, not an object; make the file again.")
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise InputError(
                f"field configuration has unknown keys {sorted(unknown)[:5]}; the file may be of a newer version:"
                " update the library."
            )
        return cls(**values)
