from .errors import InputError as InputError
from .fields.config import FieldConfig as FieldConfig
from .fields.field import Field as Field
from .fields.field import Fields as Fields
from .fields.fitting import FitConfig as FitConfig
from .fields.fitting import fit_fields as fit_fields
from .fields.storage import ShapeMetadata as ShapeMetadata
from .fields.storage import load_fields as load_fields
from .fields.storage import save_fields as save_fields
from .metrics.evaluation import evaluate as evaluate
from .model import WeightGPT as WeightGPT
from .quantizers.auto import AutoQuantizer as AutoQuantizer
from .quantizers.base import EncodeConfig as EncodeConfig
from .quantizers.base import Quantizer as Quantizer
from .quantizers.codebook import Codebook as Codebook
from .shapes.families import draw_shapes as draw_shapes
from .shapes.meshes import load_shape as load_shape
from .shapes.meshes import load_shapes as load_shapes
from .shapes.shape import Shape as Shape
from .tokens.collator import WeightDataCollator as WeightDataCollator
from .tokens.generated import GeneratedShape as GeneratedShape
from .tokens.generated import GeneratedShapes as GeneratedShapes
from .tokens.generation import Grammar as Grammar
from .tokens.generation import generation_config as generation_config
from .tokens.tokenizer import WeightTokenizer as WeightTokenizer

__version__: str
