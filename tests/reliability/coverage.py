"""Which tests cover which fault: found by the names of the tests."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from tests.reliability.faults import Fault

TESTS = Path(__file__).parents[1]
NAME = re.compile(r"test_(fault|case)_(\d\d[a-z]?)_\w+")


def names_by_number(kind: str, folder: Path) -> dict[str, list[str]]:
    """The tests of each number, as `path::name`, in the order of the paths.

    Args:
        kind: "fault" or "case".
        folder: the folder of the tests.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (match := NAME.fullmatch(node.name)) and match[1] == kind:
                found.setdefault(match[2], []).append(f"{path.relative_to(folder.parent)}::{node.name}")
    return found


def without_test(faults: Mapping[str, Fault], tests: Mapping[str, list[str]]) -> list[str]:
    """The numbers that have neither a test nor a reason.

    Args:
        faults: the faults by number.
        tests: the tests by number.
    """
    return [number for number, fault in faults.items() if number not in tests and not fault.reason]
