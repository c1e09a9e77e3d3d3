"""What may import what, and what may never be called: read from the source, nothing is run."""

import ast

import pytest

from tests.sources import SOURCES, TREES
from tokenization import registry
from weightgpt.quantizers import auto as kinds

ORDER = [
    {"errors"},
    {"io", "formatting"},
    {"hub"},
    {"shapes"},
    {"visual"},
    {"fields"},
    {"quantizers", "metrics"},
    {"tokens"},
    {"card"},
    {"model"},
    {"cli_io"},
    {"cli_inputs"},
    {"cli", "_programs"},
    {"__init__", "__main__"},
]
"""The packages and modules of the library; each imports only itself and those of earlier sets."""

ONLY_IN = {
    "trimesh": {
        *(
            "weightgpt.visual.mesh_files",
            "weightgpt.visual.meshing",
            "weightgpt.fields.field",
            "weightgpt.tokens.generated",
            "weightgpt.metrics.pairwise",
        ),
        *("training.report.html", "training.baselines.low_poly", "training.baselines.meshgpt"),
    },
    "mapbox_earcut": {"weightgpt.shapes.readers.polygons"},
    "igl": {
        f"weightgpt.shapes.solids.{module}"
        for module in ("arrangement", "distances", "open_surfaces", "orientation", "welding", "winding")
    },
    "manifold3d": {"weightgpt.shapes.solids.fans", "weightgpt.shapes.solids.union"},
    "skimage": {"weightgpt.visual.meshing"},
    "huggingface_hub": {"weightgpt.hub", "weightgpt.card"},
    "vector_quantize_pytorch": {
        *("tokenization.weight_vq_learners", "tokenization.trainable_autoencoder"),
        "benchmarks.nearest_codes",
    },
    "typer": {"weightgpt.cli"},
    "diffusers": {"training.baselines.denoiser"},
    "meshgpt_pytorch": {"training.baselines.meshgpt"},
}
"""Dependencies that only some modules may import."""

LOADERS = {
    *("load_file", "safe_open", "json.load", "json.loads", "Image.open", "np.load", "np.loadtxt", "torch.load"),
    *("trimesh.load", "trimesh.load_mesh", "trimesh.load_scene", "load_from_disk", "Tokenizer.from_file"),
    *("AutoTokenizer.from_pretrained", "AutoConfig.from_pretrained", "GenerationConfig.from_pretrained"),
    *("GPT2LMHeadModel.from_pretrained", "GPT2Config.from_pretrained", "PreTrainedTokenizerFast.from_pretrained"),
}
"""Functions of other libraries that read files; their errors may be of any kind, so they are called in `reading`."""

LOADS_ELSEWHERE = {
    "weightgpt.io.json_files": "the strict parser of JSON, whose errors the callers name",
    "weightgpt.io.tensor_files": "the header of a file that was just written",
    "weightgpt.shapes.meshes": "the loaders of meshes, with an error for every fault",
    "weightgpt._programs": "JSON that was just written",
}
"""Modules that may call loaders outside of `reading`, and what they load."""

CODE_RUNNERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
"""Libraries whose files run code when they are opened."""


def imported(tree: ast.AST) -> set[str]:
    """Modules that a module imports, anywhere in it; `from a import b` counts as a.b where that is a module of ours."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {name if name in TREES else f"{node.module}" for name in full}
    return modules


def packages(module: str) -> set[str]:
    """The top-level packages that a module imports."""
    return {name.split(".")[0] for name in imported(TREES[module])}


def unsafe_code(source: str) -> list[str]:
    """Calls and imports that could run code from a file."""
    tree, faults = ast.parse(source), []
    unsafe_options = {"allow_pickle": True, "trust_remote_code": True, "weights_only": False}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in unsafe_options:
            harmless = isinstance(node.value, ast.Constant) and node.value.value is not unsafe_options[node.arg]
            faults += [] if harmless else [f"{node.arg}={ast.unparse(node.value)}"]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "eval", "exec"}:
            faults.append(ast.unparse(node.func))
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            faults += ["torch.load" for alias in node.names if alias.name == "load"]
    return faults + sorted({name.split(".")[0] for name in imported(tree)} & CODE_RUNNERS)


def loaders_outside_of_reading(source: str) -> list[str]:
    """Calls of loaders that are not inside of `with reading(...)`."""
    tree = ast.parse(source)
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any(ast.unparse(item.context_expr).startswith("reading(") for item in node.items)
    ]
    inside = {id(node) for block in blocks for node in ast.walk(block)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADERS]
    return sorted(ast.unparse(call.func) for call in calls if id(call) not in inside)


def part(module: str) -> str:
    """The package of the library that a module belongs to, or the module itself if it belongs to none."""
    return module.split(".")[1]


def imported_parts(module: str) -> set[str]:
    """The packages and single modules of the library that a module imports."""
    return {part(name) for name in imported(TREES[module]) if name.startswith("weightgpt.")}


LIBRARY = [name for name in TREES if name.startswith("weightgpt.")]


def test_the_order_names_every_package_once():
    assert sorted(name for step in ORDER for name in step) == sorted({part(module) for module in LIBRARY})


def test_every_package_imports_only_from_earlier_ones():
    rank = {name: number for number, step in enumerate(ORDER) for name in step}
    wrong = [
        f"{module} imports {other}"
        for module in LIBRARY
        for other in sorted(imported_parts(module) - {part(module)})
        if rank[other] >= rank[part(module)]
    ]
    assert wrong == []


def test_the_library_imports_none_of_the_programs():
    programs = {"tokenization", "training", "studies", "benchmarks", "examples", "tests"}
    assert {module: packages(module) & programs for module in LIBRARY if packages(module) & programs} == {}


@pytest.mark.parametrize(("package", "most"), [("weightgpt", 16), ("training", 14)])
def test_a_package_has_few_entries(package, most):
    """Modules and packages directly inside it, without those that every package has."""
    entries = {module.split(".")[1] for module in TREES if module.startswith(f"{package}.")}
    assert len(entries - {"__init__", "__main__"}) <= most


def test_tokenization_imports_no_training_and_only_the_pipeline_imports_both():
    for module in TREES:
        if module.startswith("tokenization."):
            assert "training" not in packages(module), module
    users = {module for module in TREES if "tokenization" in packages(module)}
    assert {module for module in users if not module.startswith(("tokenization.", "studies.", "benchmarks."))} <= {
        "training.pipeline",
        "training.presets",
    }


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_dependency_is_imported_only_where_it_is_needed(library):
    users = {module for module in TREES if library in packages(module)}
    assert users == ONLY_IN[library]


def test_only_the_registries_name_the_ways_to_quantize():
    """The name of a tokenizer, the format or the class of a quantizer elsewhere would be the start of a second way."""
    homes = {kind.__module__ for kind in kinds.QUANTIZERS.values()} | {
        "weightgpt.quantizers.codebook",
        "weightgpt.quantizers.auto",
    }
    classes = {kind.__name__ for kind in kinds.QUANTIZERS.values()}
    for module, tree in TREES.items():
        nodes = list(ast.walk(tree))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        may_name = module in {"tokenization.registry", "tokenization.presets"}
        assert may_name or not texts & set(registry.NAMES), module
        assert module in homes or not texts & set(kinds.QUANTIZERS), module
        checks = [call for call in nodes if isinstance(call, ast.Call) and ast.unparse(call.func) == "isinstance"]
        assert not {node.id for call in checks for node in ast.walk(call) if isinstance(node, ast.Name)} & classes, (
            module
        )


def test_no_source_can_run_the_code_of_a_file():
    assert {module: faults for module, source in SOURCES.items() if (faults := unsafe_code(source))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "f(trust_remote_code=flag)",
        "f(weights_only=False)",
        "eval(text)",
    ],
)
def test_unsafe_code_is_reported(source):
    assert len(unsafe_code(source)) == 1


def test_the_library_reads_files_by_other_libraries_only_in_reading():
    found = {module: calls for module in LIBRARY if (calls := loaders_outside_of_reading(SOURCES[module]))}
    readers = {module for module in found if module.startswith("weightgpt.shapes.readers.")}  # an error for every fault
    assert set(found) - readers <= set(LOADS_ELSEWHERE), found


def test_a_loader_outside_of_reading_is_reported():
    assert loaders_outside_of_reading("with reading(path):\n    load_file(path)") == []
    assert loaders_outside_of_reading("with open(path):\n    json.load(path)\ntrimesh.load(p)") == [
        "json.load",
        "trimesh.load",
    ]


def test_safe_code_is_not_reported():
    assert (
        unsafe_code("model.eval()\nf(weights_only=True, trust_remote_code=False)\nnp.load(path, allow_pickle=False)")
        == []
    )
