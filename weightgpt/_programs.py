"""The shared parts of all `python -m …` programs: options from a dataclass, exit codes, errors, cached results.

Only the programs of the checkout use this module; the rest of the library does not.
"""

import dataclasses
import hashlib
import io
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from weightgpt.errors import InputError, sigterm_as_interrupt
from weightgpt.io import atomic_write, read_json, write_json

Config = TypeVar("Config")


def cli_main(main: Callable[[], None]) -> Callable[[], int]:
    """Wrap a `main` so that it returns an exit code: 0, 2 for an InputError, 130 for Ctrl-C, 143 for SIGTERM.

    A bug keeps its traceback. Programs write whole files or none, so the same command can be run again.

    Args:
        main: the work of a program.
    """

    @wraps(main)
    def exit_code() -> int:
        with sigterm_as_interrupt() as terminated:
            try:
                main()
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                print("interrupted; run the same command again to continue.", file=sys.stderr)
                return 143 if terminated.is_set() else 130
        return 0

    return exit_code


def command_line(module: str) -> str:
    """The command that runs this program, for the pages that show its figures.

    Args:
        module: the name of the program, such as `training.pipeline`.
    """
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def settings_digest(settings: Any) -> str:
    """8 hexadecimal digits that name settings; equal settings have equal digits, in every process.

    Args:
        settings: JSON values; dataclasses count as objects of their fields, tuples as lists, and paths as text.

    Examples:
        >>> settings_digest({"steps": 10, "seed": 0}) == settings_digest({"seed": 0, "steps": 10})
        True
    """
    return hashlib.sha256(_canonical_json(settings).encode()).hexdigest()[:8]


def cached(folder: Path | str, settings: Any, make: Callable[[], Any], *, name: str = "result") -> Any:
    """Compute a JSON value once: a second call with equal settings reads the file that the first call wrote.

    Args:
        folder: the folder of the files; it is created if needed.
        settings: everything that decides the value, as `settings_digest` takes it. The file shows these settings.
        make: computes the value.
        name: the first part of the file name, `NAME-DIGEST.json`.
    """
    path = Path(folder) / f"{name}-{settings_digest(settings)}.json"
    if not path.is_file():
        write_json(path, {"settings": json.loads(_canonical_json(settings)), "value": make()})
    return read_json(path)["value"]


def cached_folder(folder: Path | str, settings: Any, make: Callable[[Path], None], *, name: str) -> Path:
    """Write a folder of files once: a second call with equal settings returns the folder that the first call wrote.

    The folder gets its final name only after `make` has returned, so an interrupted call leaves nothing behind.

    Args:
        folder: the folder that holds the folders of all settings; it is created if needed.
        settings: everything that decides the files, as `settings_digest` takes it; `settings.json` shows them.
        make: a function of a path; it creates the files in that folder.
        name: the first part of the folder name, `NAME-DIGEST`.
    """
    path = Path(folder) / f"{name}-{settings_digest(settings)}"
    if not path.is_dir():
        with atomic_write(path) as draft:
            draft.mkdir(parents=True)
            make(draft)
            write_json(draft / "settings.json", json.loads(_canonical_json(settings)))
    return path


def _canonical_json(value: Any) -> str:
    def simplify(part: Any) -> Any:
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        if isinstance(part, Path):
            return str(part)
        raise TypeError(f"{part!r} is no setting: it is not a JSON value, a dataclass or a path.")

    return json.dumps(value, default=simplify, sort_keys=True, allow_nan=False)


def parse(
    config: type[Config] | Mapping[str, Config],
    module: str,
    arguments: Sequence[str] | None = None,
    *,
    summaries: Mapping[str, str] | None = None,
) -> Config:
    """Read a configuration from the command line; options and their help come from the fields and their docstrings.

    Args:
        config: a dataclass; or presets by name, each an object of one dataclass whose fields are the defaults. A preset
            is then the first argument of the command, and options override single fields.
        module: the name of the program, for its help text.
        arguments: the command line without the program; that of the process when None.
        summaries: a sentence about each preset, for the help text; the first line of the docstring by default.

    Raises:
        InputError: an option is unknown, missing, or has a value of another type.
        SystemExit: with code 0, after the help text was shown.
    """
    import tyro

    program, messages = f"python -m {module}", io.StringIO()
    try:
        with redirect_stdout(messages), redirect_stderr(messages):
            if isinstance(config, Mapping):
                sentences = {name: _first_line(preset) for name, preset in config.items()} | dict(summaries or {})
                described = {name: (sentences[name], preset) for name, preset in config.items()}
                return tyro.extras.overridable_config_cli(described, prog=program, args=arguments)
            return tyro.cli(config, prog=program, args=arguments, description=_first_line(config))
    except SystemExit as error:
        if error.code in (0, None):
            print(messages.getvalue())
            raise
        raise InputError(f"{_sentence(messages.getvalue())}; see {program} --help.") from None


def _first_line(described: object) -> str:
    return (described.__doc__ or "").partition("\n")[0]


def _sentence(message: str) -> str:
    """The text of an error message of tyro, without its title and its hints."""
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line).strip(" │") for line in message.splitlines()]
    rulers = [i for i, line in enumerate(lines) if line and set(line) <= set("-─")]
    body = lines[rulers[0] + 1 : rulers[1]] if len(rulers) > 1 else lines
    sentence = " ".join(" ".join(body).split()).rstrip(".:")
    return re.sub(r"^Error parsing [A-Za-z_]\S*: ", "", sentence)  # tyro names the dataclass, which users do not know
