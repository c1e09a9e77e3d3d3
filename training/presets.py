"""Named settings of the whole pipeline.

Each preset is a complete, frozen configuration. The pipeline, the tests and the documentation read these same objects;
the command line only overrides single fields.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, get_type_hints

from tokenization.presets import TOKENIZERS, TokenizerConfig
from tokenization.registry import VectorSizes, find_learner, probes
from training.pretrain import PretrainConfig
from weightgpt.errors import InputError, check_at_least, check_at_most, check_seed, check_share, check_types
from weightgpt.tokens.generation import SamplingConfig
from weightgpt.visual.meshing import MIN_RESOLUTION

BUILT_IN_CORPUS = "six-families"
"""The corpus that is drawn from the built-in families."""
COMPOSITIONS = "compositions"
"""The corpus that is drawn as free compositions of primitives."""
STREAM_CORPORA = (BUILT_IN_CORPUS, COMPOSITIONS)
"""The corpora that are drawn, without end; every other corpus is read from files."""
PARTNET_CORPORA = {
    "partnet-chairs": ("chair",),
    "partnet-tables": ("table",),
    "partnet-storage": ("storage",),
    "partnet": ("chair", "table", "storage"),
}
"""The corpora of PartNet's furniture as unions of boxes, and their classes."""
MAX_COUNT = 10**9
"""Most shapes and points."""
MAX_COPIES = 100_000
"""Most copies of a shape, and most samples, which are all rendered."""
MAX_RESOLUTION = 512
"""Most grid points along each axis."""

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """All settings of a run."""

    corpus: str = BUILT_IN_CORPUS
    """"six-families" for the built-in families; "compositions" for free compositions of primitives; "partnet-chairs",
    "partnet-tables", "partnet-storage" or "partnet" for furniture of boxes; a .parquet file, or a folder of them whose
    name ends in .parquet, for signed distances; or a folder of meshes whose sub-folders are the classes."""
    corpus_folder: str | None = None
    """The folder of chair.npz, table.npz and storage.npz, for the PartNet corpora alone."""
    num_shapes: int = 16_384
    """Drawn shapes to learn from; held-out shapes are drawn in addition."""
    num_held_out: int = 192
    """Held-out drawn shapes, half for validation and half for test."""
    held_out_fraction: float = 0.2
    """Share of the mesh files that is held out, half for validation and half for test. A corpus that comes with a split
    is split as it says."""
    thickness: float | None = None
    """Thickness of open surfaces of mesh files, in unit coordinates, such as 0.02. None drops open surfaces."""
    augmentations: int = 8
    """Stretched and mirrored copies of each training file; drawn shapes get no copies."""
    mirror_all_axes: bool = False
    """Whether copies are also turned, and mirrored in all axes instead of x alone. Use it for shapes that have no top
    and no front."""
    num_extra_shapes: int = 0
    """Extra shapes, from which only the GPT learns: new drawn shapes, or further copies of files."""
    latent_augmentations: int = 0
    """Noisy versions of each training shape that the GPT learns from: noise is added to the latents, and they are
    quantized again. With 0 the GPT learns from the codes without noise."""
    latent_noise: float = 0.5
    """Size of the noise, in standard deviations of each latent dimension over the training shapes."""
    num_eval_points: int = 16_384
    """Uniform points at which IoU is measured. Shapes of Parquet files are measured at held-out samples instead."""
    num_samples: int = 96
    """Shapes to generate."""
    temperature: float = 1.0
    """Sampling temperature; 1 is the distribution of the GPT, lower values prefer likelier codes."""
    top_p: float = 1.0
    """Share of the probability mass that is sampled from, the likeliest codes first."""
    resolution: int = 64
    """Grid points along each axis when shapes are meshed."""
    seed: int = 0
    """Seed of the shapes, the split, the codebook, the GPT and the samples."""
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    """How fields are fitted and become codes."""
    gpt: PretrainConfig = dataclasses.field(default_factory=PretrainConfig)
    """The GPT and how it is trained."""

    def __post_init__(self) -> None:
        check_types(self)
        check_seed(self)
        check_at_least(self, 1, "num_shapes", "num_held_out", "num_eval_points", "num_samples")
        check_at_least(self, 0, "augmentations", "num_extra_shapes", "latent_augmentations", "latent_noise")
        check_at_least(self, MIN_RESOLUTION, "resolution")
        check_at_most(self, MAX_COUNT, "num_shapes", "num_held_out", "num_extra_shapes", "num_eval_points")
        check_at_most(self, MAX_COPIES, "augmentations", "latent_augmentations", "num_samples")
        check_at_most(self, MAX_RESOLUTION, "resolution")
        check_share(self, "held_out_fraction")
        SamplingConfig(temperature=self.temperature, top_p=self.top_p)
        self._check_corpus()
        self._check_tokenizer()

    def _check_corpus(self) -> None:
        """Refuse a PartNet corpus without its folder, and a folder without such a corpus."""
        if bool(self.partnet_classes) != (self.corpus_folder is not None):
            names = ", ".join(PARTNET_CORPORA)
            raise InputError(
                f"corpus is {self.corpus!r} and corpus_folder is {self.corpus_folder!r}; give the folder of the .npz"
                f" files as corpus_folder for {names}, and for no other corpus."
            )

    def _check_tokenizer(self) -> None:
        """Refuse augmentations and extra shapes that the tokenizer cannot encode."""
        kind, learner = self.tokenizer.kind, find_learner(self.tokenizer.kind)
        probes(self.tokenizer)
        preset = "built-in-weight-vq" if self.is_stream else "mesh-files-weight-vq"
        if self.latent_augmentations and not learner.has_latents:
            raise InputError(
                f"latent_augmentations is {self.latent_augmentations}, but codes of a {kind!r} tokenizer have no"
                f" latents to add noise to; start from the preset {preset}, or set latent_augmentations to 0."
            )
        if self.num_extra_shapes and not learner.encodes_without_fits:
            raise InputError(
                f"num_extra_shapes is {self.num_extra_shapes}, but a {kind!r} tokenizer would need a plain fit of each"
                f" of them; start from the preset {preset}, or set num_extra_shapes to 0."
            )

    @property
    def is_built_in(self) -> bool:
        """Whether the shapes are drawn from the built-in families."""
        return self.corpus == BUILT_IN_CORPUS

    @property
    def vector_sizes(self) -> VectorSizes | None:
        """What the learner of the quantizer makes of plain fits; None if it learns from latents."""
        return find_learner(self.tokenizer.kind).vectors

    @property
    def is_stream(self) -> bool:
        """Whether the shapes are drawn, so that there are always new ones, instead of read from files."""
        return self.corpus in STREAM_CORPORA

    @property
    def is_table(self) -> bool:
        """Whether the shapes are read from Parquet files of signed distances."""
        return self.corpus.endswith(".parquet")

    @property
    def partnet_classes(self) -> tuple[str, ...]:
        """The classes of a PartNet corpus; none for another corpus."""
        return PARTNET_CORPORA.get(self.corpus, ())

    def num_latents(self, num_shapes: int) -> int | None:
        """Latents that the codebook is learned from; None for a quantizer of plain weights.

        Args:
            num_shapes: shapes that the codebook is learned from.
        """
        num_chunks = find_learner(self.tokenizer.kind).num_chunks
        return None if num_chunks is None else num_shapes * num_chunks(self.tokenizer)

    @property
    def num_shared_points(self) -> int:
        """Points at which all shapes are sampled for learning, with the probes of the encoder."""
        first = probes(self.tokenizer)
        return self.tokenizer.num_points + (0 if first is None else len(first))

    @property
    def codebook_settings(self) -> str:
        """The field of `tokenizer` with the sizes of the codebook, such as "codebook"."""
        learner = find_learner(self.tokenizer.kind)
        return "codebook" if learner.num_chunks is None else learner.settings[0]

    @property
    def codebook_size(self) -> int:
        """K, the codes of a level, for quantizers with latents."""
        return int(getattr(self.tokenizer, self.codebook_settings).codebook_size)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values; nested configurations are nested objects."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PipelineConfig":
        """The configuration of these values; the inverse of `to_dict`.

        Args:
            values: the JSON values.

        Raises:
            InputError: a field is missing, unknown or of another type, or the configuration is impossible.
        """
        return _from_dict(cls, values, "the configuration")


def _from_dict(kind: type[Config], values: Any, name: str) -> Config:
    """A dataclass from JSON values; `name` is the path of the fields so far, for error messages."""
    types = get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, Mapping) or values.keys() != names:
        differing = sorted(names ^ set(values)) if isinstance(values, Mapping) else [repr(values)]
        raise InputError(
            f"{name} does not have the fields of {kind.__name__} ({', '.join(differing)} differ); give the"
            " configuration of a run of this version."
        )
    fields = {
        key: _from_dict(types[key], value, f"{name}.{key}")
        if dataclasses.is_dataclass(types[key])
        else tuple(value)
        if isinstance(value, list)
        else value
        for key, value in values.items()
    }
    try:
        return kind(**fields)
    except TypeError as error:
        raise InputError(f"{name} has a value of another type ({error}); give the configuration of a run.") from error


BUILT_IN = PipelineConfig(
    tokenizer=TOKENIZERS["built-in"],
    # The codes of an extra shape cost one pass of the encoder. So a small GPT sees many shapes once instead of few
    # shapes often.
    num_extra_shapes=65_536,
    # Samples with unlikely codes are more often in several pieces.
    top_p=0.95,
    gpt=PretrainConfig(model_size="tiny", epochs=1.5, learning_rate=3e-3, lr_scheduler_type="linear"),
)
"""`make demo`: the six built-in families."""

MESH_FILES = PipelineConfig(
    corpus="meshes",
    tokenizer=TOKENIZERS["mesh-files"],
    # There are few files, and the GPT would memorize their sequences without noise.
    latent_augmentations=12,
    # At temperature 1 samples are a little nearer to training shapes than held-out shapes are.
    temperature=1.1,
    gpt=PretrainConfig(model_size="tiny", epochs=2.5, learning_rate=4e-3, lr_scheduler_type="linear"),
)
"""A folder of a few hundred mesh files."""

BUILT_IN_WEIGHT_VQ = dataclasses.replace(
    BUILT_IN,
    tokenizer=TOKENIZERS["built-in-weight-vq"],
    # Every shape needs a plain fit before it has codes, so the GPT learns from the corpus alone, for more epochs.
    num_extra_shapes=0,
    gpt=PretrainConfig(model_size="tiny", epochs=10.0, learning_rate=3e-3, lr_scheduler_type="linear"),
)
"""The built-in families with a quantizer of plain weights."""

MESH_FILES_WEIGHT_VQ = dataclasses.replace(
    MESH_FILES,
    tokenizer=TOKENIZERS["mesh-files-weight-vq"],
    # These codes have no latents to add noise to, so we use dropout instead.
    latent_augmentations=0,
    gpt=PretrainConfig(model_size="tiny", epochs=24.0, learning_rate=2e-3, dropout=0.1),
)
"""A folder of mesh files with a quantizer of plain weights."""

FREE_COMPOSITIONS = PipelineConfig(
    corpus=COMPOSITIONS,
    num_shapes=8192,
    tokenizer=TOKENIZERS["compositions"],
    num_extra_shapes=16_384,
    top_p=0.95,
    gpt=PretrainConfig(model_size="tiny", epochs=1.5, learning_rate=3e-3, lr_scheduler_type="linear"),
)
"""Free compositions of primitives, in chunks that act near one place each."""

PRESETS = {
    "built-in": BUILT_IN,
    "compositions": FREE_COMPOSITIONS,
    "mesh-files": MESH_FILES,
    "built-in-weight-vq": BUILT_IN_WEIGHT_VQ,
    "mesh-files-weight-vq": MESH_FILES_WEIGHT_VQ,
}
"""The presets by name, as the command line takes them."""

SUMMARIES = {
    "built-in": "The six built-in families; `make demo` runs this preset.",
    "compositions": "Free compositions of primitives, in chunks that act near one place each.",
    "mesh-files": "A folder of a few hundred mesh files; give it as --corpus.",
    "built-in-weight-vq": "The built-in families with a quantizer of plain weights.",
    "mesh-files-weight-vq": "A folder of mesh files with a quantizer of plain weights.",
}
"""A sentence about each preset, for the help of the command line."""
