"""The sources of the library and the programs, for tests that read them without running them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("weightgpt", "tokenization", "training", "studies", "benchmarks", "examples")


def read_sources(*folders: str) -> dict[str, str]:
    """The text of each Python file in some folders, by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


SOURCES = read_sources(*PACKAGES)
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
