"""What every `python -m …` shares: options from a dataclass, exit codes, one-sentence errors.

The wheel ships this module for the programs beside it; `weightgpt` itself does not use it.
"""

import io
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from typing import TypeVar

from weightgpt.errors import InputError

Config = TypeVar("Config")


def cli_main(main: Callable[[], None]) -> Callable[[], int]:
    """Wrap a `main` so that it returns an exit code: 0, 2 for an InputError, 130 for Ctrl-C.

    A bug keeps its traceback. Programs write whole files or none, so the same command can be given again.

    Args:
        main: the work of a program.
    """

    @wraps(main)
    def exit_code() -> int:
        try:
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted; run the same command again to continue.", file=sys.stderr)
            return 130
        return 0

    return exit_code


def command_line(module: str) -> str:
    """The command that runs this program, for the pages that show its figures.

    Args:
        module: the name of the program, such as `training.pipeline`.
    """
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


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
        summaries: a sentence about each preset, for the help text; by default that of the dataclass.

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
    """What an error message of tyro says between its title and its hints."""
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line).strip(" │") for line in message.splitlines()]
    rulers = [i for i, line in enumerate(lines) if line and set(line) <= set("-─")]
    body = lines[rulers[0] + 1 : rulers[1]] if len(rulers) > 1 else lines
    return " ".join(" ".join(body).split()).rstrip(".:")
