"""Lengths, documentation and names of the sources: read from the source, nothing is run."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.sources import SOURCES, TREES, read_sources

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 45
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

OLD_WORDS = {
    *("rival", "verdict", "judge", "judged", "judgement", "guard", "redraw", "redrawn", "gather", "stranger"),
    *("told", "kept", "asked", "mixer", "catalogue", "quantiser", "ground", "familiar", "hoped", "bundle"),
}
"""Words that names must not contain, with or without a plural s. The glossary has the words of today."""
OLD_NAMES = {"even_numbers", "EvenNumbers", "roundtrip_over_fit", "redrawn_codes"}
"""Whole names that must not come back."""


def public_nodes(tree: ast.Module) -> list[ast.AST]:
    """The module, its public classes and functions, and their public methods."""
    nodes: list[ast.AST] = [tree]
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            members = node.body if isinstance(node, ast.ClassDef) else []
            nodes += [node, *(m for m in members if isinstance(m, DEFINITIONS) and not m.name.startswith("_"))]
    return nodes


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring."""
    first = function.body[0]
    documentation = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - documentation


def parameters(function: ast.FunctionDef) -> list[str]:
    """The names of the parameters of a function or method."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [argument.arg for argument in (*plain, *starred) if argument.arg not in ("self", "cls")]


def documented(docstring: str) -> set[str]:
    """The parameters in the section `Args:` of a docstring."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE)
    return set(re.findall(r"^    \*{0,2}(\w+):", section[1], re.MULTILINE)) if section else set()


def has_typer_help(function: ast.FunctionDef) -> bool:
    """Whether a function is a command of the command line, which documents options where they are declared."""
    return any(ast.unparse(decorator) == "app.command()" for decorator in function.decorator_list)


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Each public function with two parameters or more that does not document all of them."""
    for node in public_nodes(tree):
        if isinstance(node, ast.FunctionDef) and len(parameters(node)) >= 2 and not has_typer_help(node):
            absent = set(parameters(node)) - documented(ast.get_docstring(node) or "")
            if absent and "overload" not in map(ast.unparse, node.decorator_list):
                yield f"{node.name}: {sorted(absent)}"


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Names of functions, classes, parameters, variables and fields, and the string keys of dictionaries."""
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            yield str(node.slice.value)


def old_words(name: str) -> set[str]:
    """The old words that a name contains; parts of a name are separated by underscores, dashes or capital letters."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    singular = {word.removesuffix("s") for word in words}
    return ((words | singular) & OLD_WORDS) | ({name} & OLD_NAMES)


def test_everything_public_is_documented():
    bare = [
        f"{module}: {getattr(node, 'name', 'module')}"
        for module, tree in TREES.items()
        if SOURCES[module].strip()
        for node in public_nodes(tree)
        if not ast.get_docstring(node)
    ]
    assert bare == []


def test_public_functions_of_the_library_document_all_parameters():
    modules = {module: list(undocumented(tree)) for module, tree in TREES.items() if module.startswith("weightgpt.")}
    assert {module: functions for module, functions in modules.items() if functions} == {}


def test_a_parameter_without_documentation_is_reported():
    source = 'def f(a, *b, c=1):\n    """Summary.\n\n    Args:\n        a: x.\n        *b: y.\n    """'
    assert list(undocumented(ast.parse(source))) == ["f: ['c']"]


def test_files_and_functions_are_short():
    long = [module for module, source in SOURCES.items() if len(source.splitlines()) > MAX_FILE_LINES]
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and code_lines(node) > MAX_FUNCTION_LINES:
                long.append(f"{module}.{node.name}")
    assert long == []


def test_no_name_contains_an_old_word():
    trees = TREES | {module: ast.parse(source) for module, source in read_sources("tests").items()}
    names = {
        f"{module}: {name}"
        for module, tree in trees.items()
        if module != "tests.test_style"
        for name in defined_names(tree)
        if len(name) < 120 and old_words(name)
    }
    assert sorted(names) == []


@pytest.mark.parametrize("name", ["judge", "Judges", "LoopQuantiser", "redrawn_codes", "kept-rows", "even_numbers"])
def test_an_old_word_is_reported(name):
    assert old_words(name)
    assert name in set(defined_names(ast.parse(f"values = {{{name!r}: 1}}")))
