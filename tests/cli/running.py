"""What the tests of commands share."""

import json

import pytest

from tests.fakes import command


def results(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """The one JSON object, and nothing else, that a command prints with --json."""
    assert command(*arguments, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)
