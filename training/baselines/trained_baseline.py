"""What the training of a baseline returns: a generator of fields and its cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from training.baselines.budget import BudgetedRun
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig, Fields


@dataclass(frozen=True)
class ModelSize:
    """What is needed to sample from a model."""

    parameters: int
    """Numbers that were learned."""
    bytes: int
    """Size of all parameters and buffers as they are stored."""


def model_size(model: nn.Module, parameters: Sequence[Tensor] = (), data: Sequence[Tensor] = ()) -> ModelSize:
    """Measure what is needed to sample from a model.

    Args:
        model: its parameters and buffers count.
        parameters: further tensors that were learned.
        data: tensors that sampling needs and that were not learned; they count in bytes only.
    """
    stored = [*model.state_dict().values(), *parameters, *data]
    learned = [*model.parameters(), *parameters]
    return ModelSize(
        parameters=sum(tensor.numel() for tensor in learned),
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in stored),
    )


def no_labels(n: int, seed: int) -> list[str]:
    """The labels of samples of a baseline without classes: n times "none".

    Args:
        n: number of samples.
        seed: has no effect.
    """
    return ["none"] * n


@dataclass(frozen=True, kw_only=True)
class TrainedBaseline:
    """A trained baseline and its cost."""

    field_config: FieldConfig
    """The architecture of the fields that the baseline generates."""
    draw_weights: Callable[[int, int], Tensor]
    """(n, seed) -> weights (n, P)."""
    draw_labels: Callable[[int, int], list[str]] = no_labels
    """(n, seed) -> the classes of the weights that `draw_weights` draws."""
    settings: dict[str, Any]
    """The configuration of the baseline as JSON values."""
    size: ModelSize
    """Size of all that is needed to sample."""
    training: BudgetedRun
    """The training and its cost."""
    sample_flops: float
    """Floating-point operations of one sample."""
    held_out_loss: float | None = None
    """The training loss of the final weights on held-out fields; None for baselines whose loss needs classes."""

    def sample(self, n: int, seed: int) -> Fields:
        """Draw n new fields.

        Args:
            n: number of fields.
            seed: equal seeds give equal fields.

        Raises:
            InputError: n is below 1.
        """
        if n < 1:
            raise InputError(f"{n} samples cannot be drawn; give 1 or more.")
        return Fields(self.field_config, self.draw_weights(n, seed))

    def cost(self) -> dict[str, Any]:
        """The cost, the settings and the loss curve as JSON values."""
        return {
            "parameters": self.size.parameters,
            "bytes": self.size.bytes,
            "steps": self.training.steps,
            "train_flops": self.training.flops,
            "sample_flops": self.sample_flops,
            "seconds": self.training.seconds,
            "held_out_loss": self.held_out_loss,
            "settings": self.settings,
            "history": self.training.history,
        }


def use_eager_attention(model: PreTrainedModel) -> None:
    """Switch off fused attention, which is slower when one new token attends to a long cache.

    Args:
        model: a transformer that is about to be sampled.
    """
    model.set_attn_implementation("eager")
