"""weightgpt: shapes become fields, fields become tokens, a GPT-2 learns the tokens, new tokens become new shapes.

Public names load their modules when they are first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightgpt.errors import InputError as InputError
    from weightgpt.fields.config import FieldConfig as FieldConfig
    from weightgpt.fields.field import Field as Field
    from weightgpt.fields.field import Fields as Fields
    from weightgpt.fields.fitting import FitConfig as FitConfig
    from weightgpt.fields.fitting import fit as fit
    from weightgpt.model import Bundle as Bundle
    from weightgpt.model import load_bundle as load_bundle
    from weightgpt.model import push_bundle as push_bundle
    from weightgpt.quantizers.auto import AutoQuantizer as AutoQuantizer
    from weightgpt.quantizers.base import EncodeConfig as EncodeConfig
    from weightgpt.quantizers.base import Quantizer as Quantizer
    from weightgpt.quantizers.codebook import Codebook as Codebook
    from weightgpt.shapes.families import draw_shapes as draw_shapes
    from weightgpt.shapes.meshes import load_shape as load_shape
    from weightgpt.shapes.meshes import load_shapes as load_shapes
    from weightgpt.shapes.shape import Shape as Shape
    from weightgpt.tokens.generation import Grammar as Grammar
    from weightgpt.tokens.generation import generation_config as generation_config
    from weightgpt.tokens.generation import sample_ids as sample_ids
    from weightgpt.tokens.tokenizer import WeightTokenizer as WeightTokenizer
    from weightgpt.tokens.vocabulary import Vocabulary as Vocabulary
    from weightgpt.visual.meshing import mesh_sdf as mesh_sdf
    from weightgpt.visual.rendering import render as render

__version__ = "0.2.0"

_HOMES = {
    "AutoQuantizer": "quantizers.auto",
    "Bundle": "model",
    "Codebook": "quantizers.codebook",
    "EncodeConfig": "quantizers.base",
    "Field": "fields.field",
    "FieldConfig": "fields.config",
    "Fields": "fields.field",
    "FitConfig": "fields.fitting",
    "Grammar": "tokens.generation",
    "InputError": "errors",
    "Quantizer": "quantizers.base",
    "Shape": "shapes.shape",
    "Vocabulary": "tokens.vocabulary",
    "WeightTokenizer": "tokens.tokenizer",
    "draw_shapes": "shapes.families",
    "fit": "fields.fitting",
    "generation_config": "tokens.generation",
    "load_bundle": "model",
    "load_shapes": "shapes.meshes",
    "mesh_sdf": "visual.meshing",
    "push_bundle": "model",
    "render": "visual.rendering",
    "sample_ids": "tokens.generation",
    "load_shape": "shapes.meshes",
}


def __getattr__(name: str) -> Any:
    """A public name, from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'weightgpt' has no attribute {name!r}")
    return getattr(import_module(f"weightgpt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """All public names."""
    return [*globals(), *_HOMES]
