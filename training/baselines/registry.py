"""The rivals that learn fields, by name."""

from collections.abc import Callable

from training.baselines import denoiser, nef_gpt, regression
from training.baselines.common import FieldSets, Trained
from weightgpt.errors import InputError

Rival = Callable[[FieldSets, float, int, bool], Trained]
"""(fields, budget in floating-point operations, seed, whether to show progress) -> the trained rival."""

RIVALS: dict[str, Rival] = {
    "regression-transformer": regression.train,
    "weight-diffusion": denoiser.train_diffusion,
    "flow-matching": denoiser.train_flow,
    "nef-gpt": nef_gpt.train,
}
"""MeshGPT learns meshes, in an environment of its own: `python -m training.baselines.meshgpt`."""


def rival(name: str) -> Rival:
    """The rival of that name.

    Raises:
        InputError: there is none, or it does not learn fields.
    """
    if name == "meshgpt":
        raise InputError(
            "meshgpt learns meshes, not fields; run python -m training.baselines.meshgpt on a folder of them."
        )
    if name not in RIVALS:
        raise InputError(f"there is no rival {name!r}; choose one of {', '.join(RIVALS)}.")
    return RIVALS[name]
