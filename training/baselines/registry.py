"""The baselines that learn fields, by name."""

from collections.abc import Callable

from training.baselines import denoiser, nef_gpt, regression
from training.baselines.field_sets import FieldSets
from training.baselines.trained_baseline import TrainedBaseline
from weightgpt.errors import InputError

Baseline = Callable[[FieldSets, float, int, bool], TrainedBaseline]
"""(fields, budget in floating-point operations, seed, whether to show progress) -> the trained baseline."""

BASELINES: dict[str, Baseline] = {
    "regression-transformer": regression.train_regression,
    "weight-diffusion": denoiser.train_diffusion,
    "flow-matching": denoiser.train_flow,
    "nef-gpt": nef_gpt.train_nef_gpt,
}
"""The baselines by name. MeshGPT is not among them, because it learns meshes: see `training.baselines.meshgpt`."""


def find_baseline(name: str) -> Baseline:
    """The baseline of a name.

    Args:
        name: a key of `BASELINES`.

    Raises:
        InputError: there is no such baseline, or it does not learn fields.
    """
    if name == "meshgpt":
        raise InputError(
            "meshgpt learns meshes, not fields; run python -m training.baselines.meshgpt on a folder of them."
        )
    if name not in BASELINES:
        raise InputError(f"there is no baseline {name!r}; choose one of {', '.join(BASELINES)}.")
    return BASELINES[name]
