"""Spoiled mesh files are read or refused in one sentence, never anything else."""

import random
from pathlib import Path

import pytest

from tests.shapes.mesh_files import SQUARES, cube_glb, obj_text, off_text, ply_bytes, ply_head, stl_bytes, stl_text
from weightgpt.errors import InputError
from weightgpt.shapes.readers.reading import read_mesh_file

FILES: dict[str, bytes] = {
    "quads.obj": obj_text(SQUARES).encode(),
    "cube.off": off_text().encode(),
    "text.stl": f"solid a\n{stl_text()}endsolid a\n".encode(),
    "binary.stl": stl_bytes(),
    "text.ply": (ply_head("ascii") + off_text("")).encode(),
    "little.ply": ply_bytes("<"),
    "big.ply": ply_bytes(">"),
    "cube.glb": cube_glb(),
}
WORDS = [
    b"-1",
    b"0",
    b"nan",
    b"1e999",
    b"4294967295",
    b"99999999999999999999",
    b"[]",
    b"{}",
    b'"x"',
    b"null",
    b"\\\n",
    b"#",
]
MUTANTS = 40
"""Spoiled files of each kind; there are 320."""


def spoiled(data: bytes, draw: random.Random) -> bytes:
    """A copy of a file with one to three mistakes: bytes that change, go, repeat, or become another word."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice([1, 4, 40]))
        before, inside, after = data[:at], data[at:end], data[end:]
        new = [draw.randbytes(len(inside)), b"", inside * 2, draw.choice(WORDS)]
        data = before if draw.random() < 0.2 else before + draw.choice(new) + after
    return data


def refusal(path: Path) -> InputError | None:
    """The error of a file; None if it is read."""
    try:
        parts = read_mesh_file(path)
    except InputError as error:
        return error
    assert sum(len(part.faces) for part in parts) > 0
    return None


@pytest.mark.parametrize("name", FILES)
def test_fault_25_a_spoiled_file_is_read_or_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    draw, path = random.Random(name), tmp_path / name
    refusals = 0
    for _ in range(MUTANTS):
        path.write_bytes(spoiled(FILES[name], draw))
        error = refusal(path)
        if error:
            refusals += 1
            assert str(error).startswith(str(path))
            assert "\n" not in str(error)
            # An error of another type inside a decoder would be a rule that it does not check.
            assert error.__cause__ is None or isinstance(error.__cause__, InputError), repr(error.__cause__)
    assert refusals > 0


@pytest.mark.parametrize("name", FILES)
def test_the_files_that_are_spoiled_are_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert [len(part.faces) for part in read_mesh_file(tmp_path / name)] == [12]
