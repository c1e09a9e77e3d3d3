"""Fitting fields to shapes, many at once.

Decisions:

- The loss compares truncated distances, |tanh(t·f) - tanh(t·sdf)|. Near the surface it is a distance error, and far
  away it depends on the sign only (after the clamped L1 of DeepSDF, Park et al. 2019, eq. 9, made smooth).
- `fit` fits a corpus: every field to the same points in the same order. *Shared-init* fits start from one shared field,
  *random-init* fits from independent random weights.
- `fit_fields` fits shapes that need not be a corpus: each has points of its own, half of them near its surface, and
  random weights of its own, whose seed is a hash of its distances.
- A field has equal bits alone, in any batch, in any order and with any number of threads (see `reproducible`).
- Fields are fitted in small batches, because their activations then stay in the cache. Each finished batch is written
  to a file, so that an interrupted fit continues where it stopped.

Dimensions: N shapes, B fields of a batch, P parameters, n points of a step, M shared points.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from weightgpt.errors import InputError, check_positive, check_types, check_whole
from weightgpt.fields.field import Field, FieldConfig, Fields
from weightgpt.fields.functional import evaluate_encoded
from weightgpt.fields.optimization import DEFAULT_TRUNCATION, cosine_rate, minimize, point_slices, truncated_loss
from weightgpt.fields.reproducible import add_spare_rows, encode_points, one_thread
from weightgpt.io import read_metadata, read_tensors, tensor_bytes, tensor_header, write_tensors
from weightgpt.shapes.sampling import Samples, check_shapes, own_samples
from weightgpt.shapes.shape import Shape

NUM_POINTS = 32768
"""Points at which shapes are sampled for a fit."""
RATE_SHARE = 0.1
"""Learning rate of fits whose loss broke, as a share of the rate before."""
MAX_RETRIES = 2
"""Fits with lower rates before we give up."""
MAX_RISE = 0.1
"""Loss above that of the first steps at which a fit counts as broken."""
_MADE_OF = "made_of"  # entry of the metadata of a finished batch


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How fields are fitted."""

    steps: int = 600
    """Adam steps for each field."""
    points_per_step: int = 1024
    """Points of a step, a contiguous slice of the shared points."""
    learning_rate: float = 5e-3
    """Peak learning rate; it warms up and then falls to zero on a cosine."""
    truncation: float = DEFAULT_TRUNCATION
    """t of the loss, in 1/units: distances beyond about 2/t count as equally far."""
    batch_size: int = 16
    """Fields fitted at once."""
    seed: int = 0
    """Seed of the order of the points and of random initial weights."""

    def __post_init__(self) -> None:
        check_types(self)
        numbers = (self.steps, self.points_per_step, self.batch_size, self.learning_rate, self.truncation)
        if min(numbers) <= 0:
            raise InputError(
                f"{self} cannot fit anything; steps, points_per_step, batch_size, learning_rate and truncation must be"
                " positive."
            )
        check_positive(self, "learning_rate", "truncation")


@dataclass(frozen=True)
class Fits:
    """The result of a fit."""

    fields: Fields
    """The N fitted fields."""
    loss: Float[Tensor, " N"]
    """(N,) mean truncated loss over the last tenth of the steps."""
    at_three_quarters: Fields
    """The fields after three quarters of the steps: their difference shows whether the fit was long enough."""
    history: Tensor
    """(N, 20) mean loss in each twentieth of the steps."""


def fit_fields(
    shapes: Sequence[Shape],
    config: FieldConfig | None = None,
    options: FitConfig | None = None,
    *,
    shared_init: Float[Tensor, " P"] | None = None,
    num_points: int = NUM_POINTS,
    progress: bool = False,
) -> Fields:
    """Fit one field to each shape.

    Args:
        shapes: N shapes of one dimension.
        config: architecture of the fields; `FieldConfig()` by default.
        options: how to fit, `FitConfig()` by default. Its seed is the seed of the shared points as well.
        shared_init: (P,) weights that all fields start from; random weights by default, other ones for other shapes.
        num_points: M, the number of points at which each shape is sampled.
        progress: show a progress bar on stderr.

    Returns:
        The N fields, in the order of the shapes. A field does not depend on the other shapes.

    Raises:
        InputError: there are no shapes, their dimension is not that of the fields, or a distance is not finite.

    Examples:
        >>> from weightgpt import draw_shapes
        >>> options = FitConfig(steps=5)
        >>> fields = fit_fields(draw_shapes(2, seed=0), options=options, num_points=1024)
        >>> len(fields)
        2
    """
    config, options = config or FieldConfig(), options or FitConfig()
    check_shapes(shapes, config.in_features)
    num_points = check_whole("num_points", num_points, 1)
    fitted = []
    with one_thread(), tqdm(total=len(shapes), desc="fitting", unit="field", disable=not progress) as bar:
        for first in range(0, len(shapes), options.batch_size):
            batch = shapes[first : first + options.batch_size]
            samples = [own_samples(shape, num_points, options.seed) for shape in batch]
            points, sdf = (torch.stack(parts) for parts in zip(*samples, strict=True))
            start = own_initializations(config, sdf, options.seed) if shared_init is None else shared_init
            _check_weights(config, start)
            encoded = encode_points(config, points)
            fitted.append(_fit_padded(config, sdf, encoded, start.expand(len(sdf), -1), options)["flat"])
            bar.update(len(sdf))
    return Fields(config, torch.cat(fitted))


def own_initializations(config: FieldConfig, sdf: Float[Tensor, "B M"], seed: int) -> Float[Tensor, "B P"]:
    """Draw random initial weights that do not depend on the other shapes.

    Args:
        config: architecture of the fields.
        sdf: (B, M) signed distances of the shapes; row i depends on row i of them and on the seed only.
        seed: of the random numbers.

    Returns:
        (B, P).
    """
    digests = [hashlib.sha256(str(seed).encode() + row.numpy().tobytes()).digest()[:4] for row in sdf]
    return torch.cat([random_initializations(config, 1, int.from_bytes(digest)) for digest in digests])


def random_initializations(config: FieldConfig, count: int, seed: int) -> Float[Tensor, "N P"]:
    """Draw independent random initial weights, PyTorch's default for linear layers.

    Args:
        config: architecture of the fields.
        count: number of fields.
        seed: row i depends on seed + i only.

    Returns:
        (count, P).
    """
    rows = []
    with torch.random.fork_rng(devices=[]):
        for i in range(count):
            torch.manual_seed(seed + i)
            rows.append(Field(config).flat().detach())
    return torch.stack(rows)


def fit_mean_initialization(config: FieldConfig, samples: Samples, options: FitConfig) -> Float[Tensor, " P"]:
    """Fit one field to the mean truncated distance of all shapes, to start shared-init fits from.

    Args:
        config: architecture of the field.
        samples: N shapes at shared points.
        options: how to fit.

    Returns:
        (P,) weights.

    Raises:
        InputError: as in `fit`.
    """
    _check_inputs(config, samples, None)
    mean = torch.tanh(options.truncation * samples.sdf.float()).mean(0, keepdim=True)
    target = torch.atanh(mean.clamp(-0.999, 0.999)) / options.truncation
    start, encoded = random_initializations(config, 1, options.seed), encode_points(config, samples.points)
    with one_thread():
        return _fit_batch(config, target, encoded, start, options)["flat"][0]


def fit(
    config: FieldConfig,
    samples: Samples,
    options: FitConfig,
    *,
    shared_init: Float[Tensor, " P"] | Float[Tensor, "N P"] | None = None,
    folder: Path | None = None,
    progress: str | None = None,
) -> Fits:
    """Fit one field to each sampled shape of a corpus.

    Args:
        config: architecture of the fields.
        samples: N shapes at shared points.
        options: how to fit.
        shared_init: (P,) weights that all fields start from, or (N, P), those of each field. By default field i starts
            from the random weights of seed `options.seed` + i.
        folder: folder for finished batches. An interrupted fit with the same arguments continues from them.
        progress: title of a progress bar on stderr; no bar by default.

    Raises:
        InputError: a distance or a weight of `shared_init` is not finite, `shared_init` is of another architecture, the
            shapes are of another dimension than the fields, or `folder` has batches of other arguments.
    """
    _check_inputs(config, samples, shared_init)
    encoded, total = encode_points(config, samples.points), len(samples.sdf)
    batches: list[dict[str, Tensor]] = []
    with one_thread(), tqdm(total=total, desc=progress, unit="field", disable=progress is None) as bar:
        for first in range(0, total, options.batch_size):
            sdf = samples.select(slice(first, first + options.batch_size)).sdf
            start = shared_init
            if start is None:
                start = random_initializations(config, len(sdf), options.seed + first)
            elif start.ndim == 2:
                start = start[first : first + options.batch_size]
            path = folder / f"{first:06d}.safetensors" if folder else None
            if path is None:
                batches.append(_fit_padded(config, sdf, encoded, start.expand(len(sdf), -1), options))
            else:
                made_of = _digest(config, options, samples.points, sdf, start)
                if not path.is_file():
                    fitted = _fit_padded(config, sdf, encoded, start.expand(len(sdf), -1), options)
                    write_tensors(path, fitted, {_MADE_OF: made_of})
                batches.append(_read_batch(path, made_of))
            bar.update(len(sdf))
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    at_three_quarters = Fields(config, joined["at_three_quarters"])
    return Fits(Fields(config, joined["flat"]), joined["loss"], at_three_quarters, joined["history"])


def _digest(config: FieldConfig, options: FitConfig, *tensors: Tensor) -> str:
    """The sha256 of all that the fields of a batch are made of."""
    digest = hashlib.sha256(repr((config.to_dict(), options)).encode())
    for tensor in tensors:
        digest.update(tensor_header("", tensor))
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def _read_batch(path: Path, made_of: str) -> dict[str, Tensor]:
    """A finished batch, if it was made of the same."""
    if read_metadata(path).get(_MADE_OF) != made_of:
        raise InputError(
            f"{path} holds fits of other shapes or settings; fit with those again, or give another folder."
        )
    return read_tensors(path)


def _check_inputs(config: FieldConfig, samples: Samples, shared_init: Tensor | None) -> None:
    broken = (~torch.isfinite(samples.sdf).all(1)).nonzero().flatten().tolist()
    if broken:
        rows = ", ".join(map(str, broken[:10])) + (" and others" if len(broken) > 10 else "")
        raise InputError(f"the distances of shape {rows} (counted from 0) hold NaN or infinite values; leave them out.")
    if shared_init is not None:
        _check_weights(config, shared_init)
    if samples.points.shape[1] != config.in_features:
        raise InputError(
            f"the shapes are {samples.points.shape[1]}D, the fields take {config.in_features} coordinates; give a"
            " FieldConfig whose in_features is the dimension of the shapes."
        )


def _check_weights(config: FieldConfig, weights: Tensor) -> None:
    if weights.shape[-1] != config.parameters:
        raise InputError(
            f"initial weights have shape {tuple(weights.shape)}, the fields have {config.parameters} parameters; give"
            " weights of the same architecture."
        )
    if not torch.isfinite(weights).all():
        raise InputError("initial weights hold NaN or infinite values; give others.")


def _fit_padded(
    config: FieldConfig, sdf: Tensor, encoded: Tensor, start: Tensor, options: FitConfig
) -> dict[str, Tensor]:
    """What `_fit_batch` returns, with bits that do not depend on the other fields."""
    widths = (config.parameters, min(options.points_per_step, sdf.shape[1]))
    rows = [add_spare_rows(part, *widths) for part in (sdf, start)]
    if encoded.ndim == 3 and len(encoded) == len(sdf):
        encoded = add_spare_rows(encoded, *widths)
    results = _fit_batch(config, rows[0], encoded, rows[1], options)
    return {name: values[: len(sdf)].clone() for name, values in results.items()}


def _fit_batch(
    config: FieldConfig, sdf: Tensor, encoded: Tensor, start: Tensor, options: FitConfig
) -> dict[str, Tensor]:
    """What `_optimize_batch` returns; fields whose loss breaks are fitted again with lower rates.

    All fields are fitted again and the others are dropped, so that a field does not depend on its neighbors.
    """
    results, rates = _optimize_batch(config, sdf, encoded, start, options), [options.learning_rate]
    while (broken := _broken_rows(results)).any():
        if len(rates) > MAX_RETRIES:
            raise InputError(
                f"the loss of {int(broken.sum())} fits breaks with learning rates of {', '.join(map(str, rates))}; give"
                " a lower learning_rate."
            )
        rates.append(RATE_SHARE * rates[-1])
        again = _optimize_batch(config, sdf, encoded, start, replace(options, learning_rate=rates[-1]))
        results = {
            name: torch.where(broken[(..., *[None] * (values.ndim - 1))], again[name], values)
            for name, values in results.items()
        }
    return results


def _broken_rows(results: dict[str, Tensor]) -> Tensor:
    """(B,) whether the weights of a fit are not finite, or its loss is far above the loss of its first steps."""
    finite = torch.isfinite(results["flat"]).all(1) & torch.isfinite(results["loss"])
    return ~finite | (results["loss"] > results["history"][:, 0] + MAX_RISE)


def _optimize_batch(
    config: FieldConfig, sdf: Tensor, encoded: Tensor, start: Tensor, options: FitConfig
) -> dict[str, Tensor]:
    """Fit B fields, from the weights `start` (B, P), to the distances `sdf` (B, M) at the encoded points."""
    flat = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([flat], lr=options.learning_rate, betas=(0.9, 0.95), fused=True)
    losses = torch.zeros(options.steps, len(flat))
    for step, part in enumerate(point_slices(sdf.shape[1], options.points_per_step, options.steps, options.seed)):
        values = evaluate_encoded(config, flat, encoded[..., part])[..., 0]
        loss = truncated_loss(values, sdf[:, part], options.truncation)
        minimize(loss.sum(), [optimizer], cosine_rate(step, options.steps))
        losses[step] = loss.detach()
        if step < 0.75 * options.steps:
            at_three_quarters = flat.detach().clone()
    history = F.adaptive_avg_pool1d(losses.T, 20)
    loss = losses[-max(1, options.steps // 10) :].mean(0)
    return {"flat": flat.detach(), "at_three_quarters": at_three_quarters, "loss": loss, "history": history}
