"""Mutated files are refused in one sentence, or read as the same values. `make fuzz` reads many more, meshes too."""

from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.formats import Format, write_examples
from tests.fuzz.trial import OUTCOMES, run_trial

SEED, TRIALS, PARTS = 0, 2000, 4


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> list[Format]:
    return write_examples(tmp_path_factory.mktemp("examples"), meshes=False)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_files_are_refused_or_harmless(formats: list[Format], part: int, tmp_path: Path):
    trials = [run_trial(formats, SEED, index, tmp_path) for index in range(part, TRIALS, PARTS)]
    faults = [trial for trial in trials if trial[1] in OUTCOMES[2:]]
    assert faults == []
    counts = Counter(outcome for _, outcome, _ in trials)
    assert counts["refused"] > counts["accepted"] > 0


def test_a_fault_is_reported(formats: list[Format], tmp_path: Path):
    """A reader that fails, writes elsewhere or returns another value."""

    def fail(_: Path) -> None:
        raise KeyError("a fault of a library")

    def write(_: Path) -> None:
        (tmp_path / "elsewhere").write_text("x")

    readers = {"other error": fail, "outside": write, "other value": lambda _: 0}
    for outcome, read in readers.items():
        example = Format("example", formats[0].folder, formats[0].file, read, value=1)
        assert run_trial([example], 0, 0, tmp_path)[:2] == ("example", outcome)
