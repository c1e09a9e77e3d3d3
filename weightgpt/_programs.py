"""What every `python -m …` does around its work: mistakes in one sentence, Ctrl-C in one line, its own command told."""

import shlex
import sys
from collections.abc import Callable
from functools import wraps

from weightgpt.errors import InputError


def cli_main(main: Callable[[], None]) -> Callable[[], int]:
    """A `main` that returns an exit code: 0, 2 for a mistake of the caller, 130 for Ctrl-C. A bug keeps its traceback.

    What programs make is whole or absent, so that the same command can always be given again.
    """

    @wraps(main)
    def coded() -> int:
        try:
            main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here.", file=sys.stderr)
            return 130
        return 0

    return coded


def command_line(module: str) -> str:
    """The command that runs this program, as it stands beside the figures that it writes."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])
