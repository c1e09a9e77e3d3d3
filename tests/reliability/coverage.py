"""Which tests cover which fault: found by the names of the tests."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from tests.reliability.faults import Fault

TESTS = Path(__file__).parents[1]
NAME = re.compile(r"test_((?:fault|case)_\d\d[a-z]?(?:_and_(?:(?:fault|case)_)?\d\d[a-z]?)*)_\w+")
"""Names such as `test_fault_07_…`, `test_fault_06_and_07_…` and `test_fault_16_and_case_37_…`."""


def names_by_number(kind: str, folder: Path) -> dict[str, list[str]]:
    """The tests of each number, as `path::name`, in the order of the paths.

    Args:
        kind: "fault" or "case".
        folder: the folder of the tests.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for number in _numbers(node.name, kind) if isinstance(node, ast.FunctionDef) else ():
                found.setdefault(number, []).append(f"{path.relative_to(folder.parent)}::{node.name}")
    return found


def _numbers(name: str, kind: str) -> list[str]:
    """The numbers in the name of a test."""
    match, numbers, current = NAME.fullmatch(name), [], ""
    for part in match[1].split("_and_") if match else ():
        *prefix, number = part.split("_")
        current = prefix[0] if prefix else current
        numbers += [number] if current == kind else []
    return numbers


def without_test(faults: Mapping[str, Fault], tests: Mapping[str, list[str]]) -> list[str]:
    """The numbers that have neither a test nor a reason.

    Args:
        faults: the faults by number.
        tests: the tests by number.
    """
    return [number for number, fault in faults.items() if number not in tests and not fault.reason]
