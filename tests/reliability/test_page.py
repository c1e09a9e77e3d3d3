"""The page of faults: every number has a test or a reason, and the page is the one that the program writes."""

from pathlib import Path

import pytest

from tests.fuzz.trial import OUTCOMES
from tests.reliability.coverage import TESTS, names_by_number, without_test
from tests.reliability.faults import CASES, FAULTS, Fault
from tests.reliability.page import FUZZ, render_page, render_tables
from weightgpt.io import write_json

PAGE = TESTS.parent / "docs" / "reliability.md"


def test_every_fault_and_case_has_a_test_or_a_reason():
    assert without_test(FAULTS, names_by_number("fault", TESTS)) == []
    assert without_test(CASES, names_by_number("case", TESTS)) == []


def test_the_page_is_in_step_with_the_tests():
    assert render_tables() in PAGE.read_text(encoding="utf-8")


def test_no_test_has_a_number_that_the_list_does_not_have():
    assert names_by_number("fault", TESTS).keys() <= FAULTS.keys()
    assert names_by_number("case", TESTS).keys() <= CASES.keys()


def test_the_list_has_the_numbers_from_1_to_64_in_order():
    assert [number for number in FAULTS if number.isdigit()][:64] == [f"{number:02d}" for number in range(1, 65)]


def test_the_page_has_a_column_for_each_outcome_of_the_fuzz_test():
    assert tuple(FUZZ) == OUTCOMES


def test_tests_are_found_by_their_names(tmp_path: Path):
    (tmp_path / "tests" / "inner").mkdir(parents=True)
    source = (
        "def test_fault_07_a(): ...\ndef test_fault_02b_b(): ...\ndef test_case_07_c(): ...\ndef test_fault_7(): ...\n"
    )
    source += "def test_fault_06_and_07_d(): ...\ndef test_fault_03_and_case_05_and_06_e(): ...\n"
    (tmp_path / "tests" / "inner" / "test_x.py").write_text(source)
    (tmp_path / "tests" / "helpers.py").write_text("def test_fault_09_d(): ...")
    found = names_by_number("fault", tmp_path / "tests")
    assert found == {
        "02b": ["tests/inner/test_x.py::test_fault_02b_b"],
        "03": ["tests/inner/test_x.py::test_fault_03_and_case_05_and_06_e"],
        "06": ["tests/inner/test_x.py::test_fault_06_and_07_d"],
        "07": ["tests/inner/test_x.py::test_fault_07_a", "tests/inner/test_x.py::test_fault_06_and_07_d"],
    }
    assert list(names_by_number("case", tmp_path / "tests")) == ["07", "05", "06"]
    faults = {"07": Fault("a", "g"), "08": Fault("b", "g"), "09": Fault("c", "g", "It does not apply.")}
    assert without_test(faults, found) == ["08"]


def test_the_page_shows_the_figures_that_exist(tmp_path: Path):
    plain = render_page(tmp_path)
    assert "Figures" not in plain
    assert "The library starts no worker processes." in plain
    counts = {"runs": 8, "not_resumed": 2, "ends": {"refused": 8}}
    write_json(
        tmp_path / "kills.json", {"command": "python -m a", "files_compared": 9, "not_compared": [], "kills": counts}
    )
    outcomes = {"fields": dict.fromkeys(OUTCOMES, 0) | {"refused": 1234, "accepted": 5}}
    write_json(tmp_path / "fuzz.json", {"files": 20_000, "seed": 3, "outcomes": outcomes, "faults": []})
    different = {
        "fit": {"2 threads": {"results": 6, "different": 1}},
        "sample": {"batch size 7": {"results": 9, "different": 0}},
    }
    write_json(tmp_path / "bitwise.json", {"command": "python -m b", "different": different})
    row = {"name": "calls", "number": 500, "different": 0, "first_mb": 512, "last_mb": 513, "seconds": 7}
    write_json(tmp_path / "soak.json", {"command": "python -m c", "rows": [row]})
    lines = [line.replace(" ", "") for line in render_page(tmp_path).splitlines()]
    assert "|killedbySIGKILL|8|2|–|–|–|–|–|8refused|" in lines
    assert "|fields|1,234|5|0|0|0|0|0|0|" in lines
    assert "|fit|1of6|–|" in lines
    assert "|calls|500|0|512|513|7|" in lines


@pytest.mark.parametrize("number", FAULTS)
def test_a_description_is_one_sentence(number: str):
    assert FAULTS[number].description.endswith(".")
