"""The program that kills runs, on two kills; `make soak` makes two hundred."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability.resumption import Disturbed, last_line, problems, summary
from weightgpt.io import read_json


def test_counts_of_disturbed_runs_by_hand():
    good = Disturbed("gpt", True, [], [], [], [], [])
    bad = Disturbed("gpt", False, ["a", "b"], ["c", "d"], [], ["e"], [], "ValueError: no")
    result = summary([good, bad, good])
    assert result == {
        "runs": 3,
        "by_stage": {"gpt": 3},
        "not_resumed": 1,
        "unreadable_files": 2,
        "finished_stages_lost": 1,
        "different_files": 0,
        "temporary_files": 1,
        "other_files": 0,
        "examples": [
            "gpt: lost: c",
            "gpt: not resumed: ValueError: no",
            "gpt: temporary: e",
            "gpt: unreadable: a",
        ],
    }
    assert problems({"kills": result, "seconds": 4}) == 5
    assert problems({"kills": summary([good])}) == 0


def test_the_line_of_an_error_is_found_below_a_progress_bar():
    text = "Traceback\na.b.SomeError: cannot read /tmp/x/000/run/gpt/a (os error 27)\n\n 33%|███ | 3/9\n"
    assert last_line(text) == "a.b.SomeError: cannot read run/gpt/a (os error 27)"
    assert last_line("one\ntwo\n\n") == "two"
    assert last_line("") == ""


@pytest.mark.soak
def test_fault_01_killed_fits_and_runs_end_with_the_bytes_of_undisturbed_ones(tmp_path: Path):
    output = tmp_path / "kills.json"
    options = [
        "--kills",
        "2",
        "--fits",
        "3",
        "--terminations",
        "0",
        "--pairs",
        "0",
        "--no-obstacles",
        "--output",
        str(output),
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "tests.reliability.kills", *options], cwd=root, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    result = read_json(output)
    assert (result["kills"]["runs"], result["problems"]) == (2, 0)
    assert result["fits"]["runs"] == 3
    assert result["files_compared"] >= 35
