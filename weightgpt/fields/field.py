"""The neural field: a small MLP from coordinates to a signal, as one module or as a batch.

Decisions:

- A `Field` is an ordinary `nn.Module` of `nn.Linear` layers after an encoding of the coordinates. Users can load,
  differentiate and export it as any other module.
- `Fields` is a batch with stacked flat weights, see `functional.py` for their order.
- A pickled `Field` names only the public class `weightgpt.Field`, so that it can be unpickled after modules have moved.
- Meshing and rendering are imported when they are used, because they load slow libraries.

Dimensions: n points, D input dimension, O output dimension, P parameters, B fields.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn

from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig as FieldConfig
from weightgpt.fields.functional import activate, apply_output, encode, evaluate, layer_matrices

if TYPE_CHECKING:
    import numpy as np
    import trimesh
    from numpy.typing import NDArray
    from PIL import Image

_GROUP = 16  # fields rendered together, which bounds the memory


class Field(nn.Module):
    """One field: coordinates (…, D) to values (…, O).

    Args:
        config: the architecture.

    Examples:
        >>> import torch
        >>> from weightgpt import Field, FieldConfig
        >>> field = Field(FieldConfig(hidden=(8, 8)))
        >>> field(torch.zeros(5, 3)).shape, field.sdf(torch.zeros(5, 3)).shape
        (torch.Size([5, 1]), torch.Size([5]))
    """

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in config.layers)

    def forward(self, points: Float[Tensor, "... D"]) -> Float[Tensor, "... O"]:
        """Evaluate the field.

        Args:
            points: (…, D) in [-1, 1].

        Returns:
            (…, O).
        """
        values = encode(points, self.config)
        for layer in self.layers[:-1]:
            values = activate(layer(values), self.config.activation)
        return apply_output(self.layers[-1](values), self.config.output)

    def sdf(self, points: Float[Tensor, "n D"]) -> Float[Tensor, " n"]:
        """Evaluate the signed distance; the points may be on another device than the field.

        Args:
            points: (n, D) in [-1, 1].

        Returns:
            (n,) distances, positive outside, on the device of the points.

        Raises:
            InputError: the field has several outputs.
        """
        _check_sdf(self.config)
        return self._evaluate(points)[..., 0]

    def to_mesh(self, resolution: int = 96) -> "trimesh.Trimesh":
        """Mesh the surface of a solid by marching cubes.

        Args:
            resolution: grid points along each axis, 8 or more.

        Returns:
            The mesh in unit coordinates, faces outward.

        Raises:
            InputError: the field is no solid, has no surface, or has values that are NaN or infinite.

        Examples:
            >>> from weightgpt import Field, FieldConfig
            >>> field = Field(FieldConfig())
            >>> field.to_mesh(resolution=128).export("chair.glb")  # doctest: +SKIP
        """
        from weightgpt.visual.meshing import mesh_sdf

        if (self.config.in_features, self.config.out_features) != (3, 1):
            raise InputError(f"a field of {self.config} is no solid and has no mesh; draw the field with `render`.")
        meshed = mesh_sdf(self.sdf, resolution)
        if meshed.mesh is None:
            raise InputError(
                f"the field has no surface in [-1, 1]^3, its outcome is {meshed.outcome!r}; skip the field, or use"
                " `weightgpt.visual.meshing.mesh_sdf`, which returns the outcome instead of an error."
            )
        return meshed.mesh

    def render(self, size: int = 256) -> "Image.Image":
        """Render a picture: a shaded solid, a filled planar shape, or an image.

        Args:
            size: pixels along each side.

        Raises:
            InputError: the field is neither a solid, a planar shape nor an RGB image.
        """
        from PIL import Image

        return Image.fromarray(Fields(self.config, self.flat().detach()[None])._render_pictures(size)[0])

    def _evaluate(self, points: Tensor) -> Tensor:
        """Values (…, O) on the device of the points, which may be another one."""
        values: Tensor = self(points.to(next(self.parameters()).device))
        return values.to(points.device)

    def flat(self) -> Float[Tensor, " P"]:
        """Concatenate all parameters as (P,), neuron by neuron. Inverse of `load_flat`."""
        rows = [torch.cat([layer.weight, layer.bias[:, None]], 1).flatten() for layer in self._linear_layers()]
        return torch.cat(rows)

    def load_flat(self, flat: Tensor) -> "Field":
        """Set all parameters. Inverse of `flat`.

        Args:
            flat: (P,) parameters.

        Returns:
            The field itself.

        Raises:
            InputError: `flat` has another length.
        """
        matrices = layer_matrices(self.config, flat[None])
        with torch.no_grad():
            for layer, matrix in zip(self._linear_layers(), matrices, strict=True):
                layer.weight.copy_(matrix[0, :, :-1])
                layer.bias.copy_(matrix[0, :, -1])
        return self

    def _linear_layers(self) -> Iterator[nn.Linear]:
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            yield layer

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "config": self.config.to_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore: Callable[[dict[str, Any]], None] = super().__setstate__  # nn.Module leaves it without annotations
        restore({**state, "config": FieldConfig.from_dict(state["config"])})


Field.__module__ = "weightgpt"


def _check_sdf(config: FieldConfig) -> None:
    if config.out_features != 1:
        raise InputError(
            f"fields of {config} have {config.out_features} outputs and are no signed distances; call them."
        )


@dataclass(frozen=True)
class Fields:
    """A batch of fields of one architecture.

    Examples:
        >>> config = FieldConfig(hidden=(8, 8))
        >>> fields = Fields(config, torch.randn(4, config.parameters))
        >>> len(fields), fields(torch.zeros(5, 3)).shape, fields[0].sdf(torch.zeros(5, 3)).shape
        (4, torch.Size([4, 5, 1]), torch.Size([5]))
    """

    config: FieldConfig
    """Their architecture."""
    flat: Tensor
    """(B, P) weights."""

    def __post_init__(self) -> None:
        layer_matrices(self.config, self.flat)
        if not torch.isfinite(self.flat).all():
            rows = (~torch.isfinite(self.flat)).any(1).nonzero().flatten().tolist()
            raise InputError(f"fields {rows[:5]} have NaN or infinite weights; fit them again or leave them out.")

    def __len__(self) -> int:
        return len(self.flat)

    def __repr__(self) -> str:
        return f"Fields({len(self)} of {self.config})"

    @overload
    def __getitem__(self, index: int) -> Field: ...

    @overload
    def __getitem__(self, index: slice) -> "Fields": ...

    def __getitem__(self, index: int | slice) -> "Field | Fields":
        if isinstance(index, slice):
            return self.select(index)
        return Field(self.config).to(self.flat.device).load_flat(self.flat[index])

    def __call__(self, points: Float[Tensor, "n D"] | Float[Tensor, "B n D"]) -> Float[Tensor, "B n O"]:
        """Evaluate the fields.

        Args:
            points: (n, D) shared by all fields, or (B, n, D).

        Returns:
            (B, n, O).
        """
        return evaluate(self.config, self.flat, points)

    def select(self, index: Tensor | slice) -> "Fields":
        """Select fields, as a batch.

        Args:
            index: an index into the first axis of `flat`.
        """
        return Fields(self.config, self.flat[index])

    def to(self, device: torch.device | str) -> "Fields":
        """Move the fields to a device.

        Args:
            device: such as "cuda".
        """
        return Fields(self.config, self.flat.to(device))

    def sdf(self, index: int) -> Callable[[Tensor], Tensor]:
        """Return one field as a signed distance function; its points may be on another device than the fields.

        Args:
            index: number of the field.

        Returns:
            A function of points (n, D) that returns distances (n,), positive outside.

        Raises:
            InputError: the fields have several outputs.
        """
        _check_sdf(self.config)
        single = Fields(self.config, self.flat[index][None])
        return lambda points: single._evaluate(points)[0, :, 0]

    def sdfs(self) -> list[Callable[[Tensor], Tensor]]:
        """Return all fields as signed distance functions, see `sdf`."""
        return [self.sdf(i) for i in range(len(self))]

    def render(self, size: int = 128, captions: Sequence[str] | None = None, columns: int = 8) -> "Image.Image":
        """Render all fields on one contact sheet.

        Args:
            size: pixels along each side of a picture.
            captions: one line of text for each field.
            columns: pictures in a row.

        Raises:
            InputError: there are no fields, more than 256, not one caption for each, or they are neither solids, planar
                shapes nor RGB images.

        Examples:
            >>> fields = Fields(FieldConfig(), torch.zeros(2, FieldConfig().parameters))
            >>> fields.render(size=32).size
            (64, 32)
        """
        from weightgpt.visual.rendering import check_picture_count, contact_sheet

        check_picture_count(len(self))
        groups = [self.select(slice(i, i + _GROUP)) for i in range(0, len(self), _GROUP)]
        return contact_sheet(
            [picture for group in groups for picture in group._render_pictures(size)], captions, columns
        )

    def _render_pictures(self, size: int) -> "list[NDArray[np.uint8]]":
        """A picture (size, size, 3) of each field."""
        from weightgpt.visual.rendering import render, render_2d

        kind = (self.config.in_features, self.config.out_features)
        if kind not in ((3, 1), (2, 1), (2, 3)):
            raise InputError(f"fields of {self.config} cannot be drawn; give solids, planar shapes or images.")
        if kind == (3, 1):
            return list(render(lambda points: self._evaluate(points)[..., 0], size))
        if kind == (2, 1):
            return [render_2d(sdf, size) for sdf in self.sdfs()]
        return [render_2d(self[i]._evaluate, size) for i in range(len(self))]

    def _evaluate(self, points: Tensor) -> Tensor:
        """Values (B, n, O) on the device of the points, which may be another one."""
        return self(points.to(self.flat.device)).to(points.device)
