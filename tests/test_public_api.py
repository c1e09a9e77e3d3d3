"""The public names, where they come from, their signatures, and what importing the package loads.

`GOLDEN=write python -m pytest tests/test_public_api.py` rewrites the committed list when a change is meant.
"""

import ast
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import weightgpt

ROOT = Path(__file__).parents[1]
STUB = ROOT / "weightgpt" / "__init__.pyi"
GOLDEN = Path(__file__).with_name("golden") / "public_api.txt"
HOMES = {
    alias.name: f"weightgpt.{node.module}"
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def signature(function: Callable[..., object]) -> str:
    """The parameters of a function with their defaults, without annotations."""
    plain = inspect.signature(function)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in plain.parameters.values()]
    return str(plain.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def lines_of(name: str) -> list[str]:
    """One line for a public name, and one for each public method that this package defines."""
    value = getattr(weightgpt, name)
    if inspect.isclass(value) and issubclass(value, Exception):
        return [name]
    lines = [f"{name}{signature(value)}"]
    for member in sorted(dir(value)) if inspect.isclass(value) else ():
        if member.startswith("_") and member not in ("__call__", "__getitem__", "__len__"):
            continue
        if isinstance(inspect.getattr_static(value, member), property):
            lines.append(f"{name}.{member}")
            continue
        method = getattr(value, member)
        if callable(method) and (getattr(method, "__module__", "") or "").startswith("weightgpt"):
            lines.append(f"{name}.{member}{signature(method)}")
    return lines


def test_public_signatures_are_the_committed_ones():
    text = "".join(f"{line}\n" for name in sorted(HOMES) for line in lines_of(name))
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_public_name_is_defined_in_the_module_that_the_stub_names(name: str):
    assert name in dir(weightgpt)
    home = import_module(HOMES[name])
    assert getattr(weightgpt, name) is getattr(home, name)
    assert name in {getattr(node, "name", None) for node in ast.parse(inspect.getsource(home)).body}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Bundle"):
        weightgpt.Bundle  # noqa: B018


def loaded_modules(code: str) -> set[str]:
    """The top-level packages that are loaded after `code` ran in a new Python."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", ["import weightgpt", "import weightgpt.cli", "from weightgpt import InputError"])
def test_importing_the_package_loads_neither_torch_nor_trimesh(code: str):
    heavy = {"torch", "trimesh", "transformers", "datasets", "numpy", "scipy", "skimage", "igl", "PIL"}
    assert loaded_modules(code) & heavy == set()


def test_a_name_loads_torch_when_it_is_used():
    assert "torch" in loaded_modules("import weightgpt\nweightgpt.Field")
