"""weightgpt: shapes become fields, fields become tokens, a GPT-2 learns the tokens, new tokens become new shapes."""

from weightgpt.codebook import Codebook as Codebook
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
from weightgpt.meshing import mesh_sdf as mesh_sdf
from weightgpt.rendering import render as render
from weightgpt.shapes import Shape as Shape
from weightgpt.shapes import load_folder as load_folder
from weightgpt.shapes import shape_from_file as shape_from_file
from weightgpt.tokenizer import WeightTokenizer as WeightTokenizer
from weightgpt.vocabulary import Vocabulary as Vocabulary

__version__ = "0.1.0"
