"""weightgpt: shapes become fields, fields become tokens, a GPT-2 learns the tokens, new tokens become new shapes.

Public names load their modules when they are first used, so that the command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightgpt.encoding import EncodeConfig as EncodeConfig
    from weightgpt.families import draw_shapes as draw_shapes
    from weightgpt.field import Field as Field
    from weightgpt.field import FieldConfig as FieldConfig
    from weightgpt.field import Fields as Fields
    from weightgpt.files import InputError as InputError
    from weightgpt.fitting import FitConfig as FitConfig
    from weightgpt.fitting import fit as fit
    from weightgpt.generation import Grammar as Grammar
    from weightgpt.generation import generation_config as generation_config
    from weightgpt.generation import sample_ids as sample_ids
    from weightgpt.hub import Bundle as Bundle
    from weightgpt.hub import load_bundle as load_bundle
    from weightgpt.hub import push_bundle as push_bundle
    from weightgpt.kinds import load_quantiser as load_quantiser
    from weightgpt.meshing import mesh_sdf as mesh_sdf
    from weightgpt.quantiser import Quantiser as Quantiser
    from weightgpt.rendering import render as render
    from weightgpt.shapes import Shape as Shape
    from weightgpt.shapes import load_folder as load_folder
    from weightgpt.shapes import shape_from_file as shape_from_file
    from weightgpt.tokenizer import WeightTokenizer as WeightTokenizer
    from weightgpt.vocabulary import Vocabulary as Vocabulary

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "hub",
    "EncodeConfig": "encoding",
    "Field": "field",
    "FieldConfig": "field",
    "Fields": "field",
    "FitConfig": "fitting",
    "Grammar": "generation",
    "InputError": "files",
    "Quantiser": "quantiser",
    "Shape": "shapes",
    "Vocabulary": "vocabulary",
    "WeightTokenizer": "tokenizer",
    "draw_shapes": "families",
    "fit": "fitting",
    "generation_config": "generation",
    "load_bundle": "hub",
    "load_folder": "shapes",
    "load_quantiser": "kinds",
    "mesh_sdf": "meshing",
    "push_bundle": "hub",
    "render": "rendering",
    "sample_ids": "generation",
    "shape_from_file": "shapes",
}


def __getattr__(name: str) -> Any:
    """A public name, from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'weightgpt' has no attribute {name!r}")
    return getattr(import_module(f"weightgpt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """All public names."""
    return [*globals(), *_HOMES]
