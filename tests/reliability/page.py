"""Write the page of faults, tests and figures: `python -m tests.reliability.page --output docs/reliability.md`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.reliability.coverage import TESTS, names_by_number
from tests.reliability.faults import CASES, FAULTS, Fault
from weightgpt._programs import cli_main, parse
from weightgpt.formatting import format_number, markdown_table
from weightgpt.io import read_json, write_text

INTRODUCTION = """# Reliability

This page lists the faults that the library is tested against, and what long programs have counted.
`python -m tests.reliability.page --output docs/reliability.md` writes it. A test that covers fault NN is called
`test_fault_NN_…`, and one that covers case NN `test_case_NN_…`. They run in `make test`; those marked
`soak`, which take long, run in `make soak`."""

KILLS = {
    "kills": "killed by SIGKILL",
    "fits": "fits of fields killed by SIGKILL",
    "terminations": "ended by SIGTERM",
    "two_runs": "two runs at once in one folder",
    "disk_full": "disk full",
    "read_only": "output that cannot be written to",
}
"""What the parts of `runs/kills.json` measure."""
COUNTS = {
    "runs": "runs",
    "not_resumed": "not resumed",
    "unreadable_files": "unreadable files",
    "finished_stages_lost": "finished stages lost",
    "different_files": "different files",
    "temporary_files": "temporary files left",
    "other_files": "other files left",
}
"""Counts of a part of `runs/kills.json`, in the order of the columns."""

FUZZ = {
    "refused": "refused in a sentence",
    "accepted": "read",
    "other value": "other values read",
    "other error": "another error",
    "slow": "too slow",
    "memory": "too much memory",
    "outside": "acts outside",
    "crash": "crash",
}
"""Outcomes of `runs/fuzz.json`, in the order of the columns."""


@dataclass(frozen=True, kw_only=True)
class PageJob:
    """Write the page of faults, tests and figures."""

    output: Path = Path("docs/reliability.md")
    """The page."""
    runs: Path = Path("runs")
    """Folder of the figures: kills.json, soak.json, bitwise.json and fuzz.json, those that exist."""


def render_tables() -> str:
    """The tables of faults and cases with the names of their tests."""
    tests, parts = names_by_number("fault", TESTS), []
    for group, items in groupby(FAULTS.items(), key=lambda item: item[1].group):
        parts.append(f"## {group}\n\n{_table(dict(items), tests)}")
    cases = _table(CASES, names_by_number("case", TESTS))
    parts.append(f"## Mesh files and the Hub\n\n{cases}")
    return "\n\n".join(parts)


def _table(faults: Mapping[str, Fault], tests: Mapping[str, list[str]]) -> str:
    rows = []
    for number, fault in faults.items():
        covering = "<br>".join(f"`{name}`" for name in tests.get(number, []))
        rows.append((number, fault.description, covering or fault.reason or "no test"))
    return markdown_table(("number", "fault", "tests"), rows)


def render_page(runs: Path) -> str:
    """The page.

    Args:
        runs: folder of the figures.
    """
    parts = [INTRODUCTION, render_tables()]
    sections = {"kills": _kills, "soak": _soak, "bitwise": _bitwise, "fuzz": _fuzz}
    for name, render in sections.items():
        if (runs / f"{name}.json").is_file():
            parts.append(render(read_json(runs / f"{name}.json")))
    return "\n\n".join(parts) + "\n"


def _kills(result: dict[str, Any]) -> str:
    parts = {name: result[name] for name in KILLS if name in result}
    rows = [(KILLS[name], *(_count(part, key) for key in COUNTS), _ends(part)) for name, part in parts.items()]
    return f"""## Figures: runs that are killed

{_measured(result)} Each run is disturbed once, and then the same command is given again. Files are compared with those
of an undisturbed run: {result["files_compared"]} files byte by byte; {_listed(result["not_compared"])} show times and
are not compared.

{markdown_table(("", *COUNTS.values(), "how the runs ended"), rows)}"""


def _soak(result: dict[str, Any]) -> str:
    headers = ("", "number", "differing results", "MB at the start", "MB at the end", "seconds")
    keys = ("number", "different", "first_mb", "last_mb", "seconds")
    rows = [(row["name"], *(_count(row, key) for key in keys)) for row in result["rows"]]
    return f"""## Figures: long use

{_measured(result)} Memory is the resident memory of the process: at the start after a warm-up, at the end after the
last call.

{markdown_table(headers, rows)}"""


def _bitwise(result: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for part in result["different"].values() for name in part))
    rows = [
        (command, *(_share(part[name]) if name in part else "–" for name in names))
        for command, part in result["different"].items()
    ]
    return f"""## Figures: equal bits

{_measured(result)} The table counts the shapes whose result differs in any bit from that of the plain command.

{markdown_table(("", *names), rows)}"""


def _fuzz(result: dict[str, Any]) -> str:
    rows = [(name, *(_count(counts, key) for key in FUZZ)) for name, counts in result["outcomes"].items()]
    return f"""## Figures: files with random changes

Measured with `python -m tests.fuzz --files {result["files"]} --seed {result["seed"]}`. Each file is changed at random
and then read. Only the first two outcomes are right.

{markdown_table(("file", *FUZZ.values()), rows)}"""


def _measured(result: dict[str, Any]) -> str:
    version = f" by weightgpt {result['version']}" if "version" in result else ""
    return f"Measured{version} with `{result['command']}`."


def _count(part: dict[str, Any], key: str) -> str:
    return format_number(part.get(key))


def _share(counts: dict[str, int]) -> str:
    return f"{counts['different']} of {counts['results']}"


def _ends(part: dict[str, Any]) -> str:
    return ", ".join(f"{count} {end}" for end, count in part.get("ends", {}).items()) or "–"


def _listed(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


@cli_main
def main() -> None:
    """Write the page."""
    job = parse(PageJob, "tests.reliability.page")
    write_text(job.output, render_page(job.runs))


if __name__ == "__main__":
    sys.exit(main())
