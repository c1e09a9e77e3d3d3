"""Every code block of README and docs runs: Python as it stands; commands on tiny data, or at least their options.

A block below a comment `<!-- not run: REASON -->` is skipped.
"""

import re
import runpy
import shlex
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import trimesh

from tests.fakes import command
from weightgpt import _programs

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "results" not in page.parts),
]
BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language, without those that are not run."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [code for skipped, name, code in found if name == language and not skipped]


def commands(page: Path) -> list[list[str]]:
    """The commands of a page, split into words; a comment after a command is dropped."""
    lines = [line for code in blocks(page, "sh") for line in code.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def desk(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny run in `runs/demo` and the meshes that the pages name."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(finished, folder / "runs" / "demo")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for label, mesh in (
        ("chair", trimesh.creation.box((1, 2, 1))),
        ("mug", trimesh.creation.icosphere(subdivisions=2)),
    ):
        (folder / "my_meshes" / label).mkdir(parents=True)
        for index in range(3):
            mesh.export(folder / "my_meshes" / label / f"{index}.glb")
    trimesh.creation.box((1, 2, 1)).export(folder / "my_chair.obj")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks share one namespace, as a reader would paste them one after the other."""
    monkeypatch.chdir(desk)
    namespace: dict[str, object] = {"__name__": "page"}
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), namespace)
    for words in commands(page):
        run(words, monkeypatch)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of `weightgpt`, parse the options of a program, look up a target of make."""
    if words[0] == "weightgpt":
        target = Path(words[words.index("-o") + 1]) if "-o" in words else Path("none")
        shutil.rmtree(target, ignore_errors=True)
        assert command(*words[1:]) == 0, shlex.join(words)
    elif words[:2] == ["python", "-m"]:
        parse_options(words[2], words[3:], monkeypatch)
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), shlex.join(words)
    elif words[:1] == ["python"] and words[1].startswith("examples/"):
        monkeypatch.setattr("sys.argv", [words[1], *words[2:], *(["2"] if "finetune" in words[1] else [])])
        runpy.run_path(words[1], run_name="__main__")
    else:
        assert words[:2] in (["pip", "install"], ["git", "clone"]), shlex.join(words)


def parse_options(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a program and stop it when its options were understood."""

    class ParsedError(Exception):
        pass

    parse = _programs.parse

    def parse_only(config: object, name: str, given: list[str] | None = None, **options: object) -> None:
        parse(config, name, arguments if given is None else given, **options)
        raise ParsedError

    with monkeypatch.context() as patch, pytest.raises(ParsedError), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy warns where another test imported the program
        patch.setattr(_programs, "parse", parse_only)
        patch.delitem(sys.modules, module, raising=False)  # Python warns where a program was imported before
        runpy.run_module(module, run_name="__main__", alter_sys=True)
