"""Numbers of a caller: whole where they must be, also from numpy; True and 3.0 are no whole numbers."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import weightgpt as wg
from tests.fakes import tiny_codebook, tiny_gpt, tiny_tokenizer
from training.presets import PipelineConfig
from weightgpt.errors import InputError, check_at_least, check_seed, check_types, check_whole
from weightgpt.quantizers.chunking import ChunkLayout
from weightgpt.tokens.generation import SamplingConfig
from weightgpt.visual.meshing import sdf_grid
from weightgpt.visual.rendering import render, render_2d


def sphere(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=-1) - 0.7


def generate(**options: Any) -> list[int]:
    tokenizer = tiny_tokenizer()
    return wg.WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).generate(**options).ids.flatten().tolist()


SHAPES = wg.draw_shapes(2, seed=0)
CALLS: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "n": (2, lambda n: generate(n=n)),
    "seed": (2, lambda seed: generate(n=2, seed=seed)),
    "top_k": (2, lambda k: generate(n=2, top_k=k)),
    "batch_size": (2, lambda size: generate(n=2, batch_size=size)),
    "n of draw_shapes": (2, lambda n: [shape.name for shape in wg.draw_shapes(n, 0)]),
    "seed of draw_shapes": (2, lambda seed: wg.draw_shapes(1, seed)[0].sdf(torch.zeros(1, 3)).tolist()),
    "resolution": (8, lambda resolution: sdf_grid(sphere, resolution).tolist()),
    "size": (4, lambda size: render([sphere], size).tolist()),
    "size of a plane": (4, lambda size: render_2d(sphere, size).tolist()),
    "num_quantizers": (1, lambda levels: tiny_codebook().decode(torch.zeros(1, 3, 2).long(), levels).flat.tolist()),
    "neurons_per_chunk": (2, lambda neurons: ChunkLayout(wg.FieldConfig(), neurons).num_chunks),
    "num_points": (64, lambda points: wg.fit_fields(SHAPES, options=wg.FitConfig(steps=1), num_points=points).flat),
    "num_frequencies": (2, lambda number: wg.FieldConfig(num_frequencies=number).to_dict()),
    "a width of hidden": (2, lambda width: wg.FieldConfig(hidden=(width, 3)).to_dict()),
    "steps": (2, lambda steps: wg.FitConfig(steps=steps)),
    "steps of encoding": (2, lambda steps: wg.EncodeConfig(steps=steps)),
    "num_shapes": (2, lambda number: PipelineConfig(num_shapes=number).to_dict()),
    **{
        name: (4, lambda number, name=name: evaluated(**{name: number}))
        for name in ("count", "points", "emd", "seed of evaluate")
    },
}
"""Numbers that callers give: a small one, and a function that takes it."""


def evaluated(**options: Any) -> Any:
    options = {name.split()[0]: value for name, value in options.items()}
    shapes = [wg.draw_shapes(4, seed) for seed in range(3)]
    options = {"points": 64, "resolution": 16} | options
    return wg.evaluate(shapes[0], train=shapes[1], held_out=shapes[2], **options).rows


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [True, "float", "text", np.bool_(True), torch.tensor(2)])
def test_fault_53_what_is_no_whole_number_is_refused(name: str, wrong: Any):
    number, call = CALLS[name]
    value = {"float": float(number), "text": str(number)}[wrong] if isinstance(wrong, str) else wrong
    with pytest.raises(InputError, match=rf"^{name.split(' of ')[0]}.* is .*; give a whole number\.$"):
        call(value)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith(("count", "points", "emd"))])
def test_fault_53_integers_of_numpy_are_whole_numbers(name: str):
    number, call = CALLS[name]
    plain, numpy = call(number), call(np.int32(number))
    assert torch.equal(plain, numpy) if isinstance(plain, torch.Tensor) else plain == numpy
    if isinstance(plain, dict):
        json.dumps(numpy)


def test_fault_53_fields_of_a_configuration_have_their_types():
    for values in ({"temperature": True}, {"top_p": "1"}, {"temperature": None}, {"quasi_random": 1}):
        (name,) = values
        with pytest.raises(InputError, match=f"^{name} is .*; give "):
            SamplingConfig(**values)
    config = SamplingConfig(temperature=np.float32(0.5), top_p=1, seed=np.uint8(3))
    assert (type(config.temperature), config.temperature, type(config.seed)) == (float, 0.5, int)


def test_fault_53_the_settings_of_a_run_have_their_types():
    values = PipelineConfig().to_dict()
    wrong = ("num_shapes", True), ("num_samples", 3.0), ("seed", None), ("temperature", "1"), ("mirror_all_axes", 0)
    for name, value in wrong:
        with pytest.raises(InputError, match=f"{name} is {value!r}; give "):
            PipelineConfig.from_dict({**values, name: value})
    for part, name in (("gpt", "batch_size"), ("tokenizer", "num_points")):
        with pytest.raises(InputError, match=rf"{name} is 3\.0; give a whole number"):
            PipelineConfig.from_dict({**values, part: {**values[part], name: 3.0}})
    assert PipelineConfig.from_dict(values) == PipelineConfig()


def test_checks_of_ranges():
    assert check_whole("n", np.int64(3), 3, 3) == 3
    for value, advice in ((2, "give 3 or more"), (5, "give 4 or less")):
        with pytest.raises(InputError, match=f"n is {value}; {advice}"):
            check_whole("n", value, 3, 4)

    @dataclasses.dataclass
    class Config:
        seed: Any = 0
        widths: tuple[int, ...] = (1, 2)
        share: float | None = None

    for seed in (True, 1.0, -1, 2**31):
        with pytest.raises(InputError, match=r"seed is .*; give a whole number"):
            check_seed(Config(seed))
    check_types(Config("any", (1, 2)))
    with pytest.raises(InputError, match="share is nan; give 0 or more"):
        check_at_least(Config(share=float("nan")), 0, "share")
