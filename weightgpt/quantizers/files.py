"""The files of a quantizer: their names, their folder, and the check of `config.json`.

Decisions:

- A folder has up to three files: `config.json` names the format and the sizes, `model.safetensors` has every tensor
  that decoding needs, `encoder.safetensors` has the tensors that only encoding needs.
- A folder on this machine and a repository on the Hub are read in the same way. No file can run code.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from weightgpt.errors import InputError
from weightgpt.hub import local_folder
from weightgpt.io import read_json

FILES = ("config.json", "model.safetensors", "encoder.safetensors")


def pretrained_folder(
    path_or_repo: Path | str, subfolder: str = "", revision: str | None = None, token: str | None = None
) -> Path:
    """The local folder of a quantizer; a quantizer on the Hub is downloaded first.

    Args:
        path_or_repo: a folder, or "owner/name" on the Hub.
        subfolder: folder inside `path_or_repo` that holds the files.
        revision: branch, tag or commit on the Hub.
        token: access token of the Hub; the stored one when None.

    Raises:
        InputError: there is no such folder or repository, or the Hub does not answer.
    """
    files = [f"{subfolder}/{name}" if subfolder else name for name in FILES]
    return local_folder(path_or_repo, files, revision, token) / subfolder


def read_config(folder: Path, formats: Collection[str], version: int) -> dict[str, Any]:
    """The `config.json` of a quantizer.

    Args:
        folder: the folder of the quantizer.
        formats: values of `format` that are allowed.
        version: the value of `version` that is allowed.

    Raises:
        InputError: the file is missing, is not JSON, or has another format or version.
    """
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict) or config.get("format") not in formats or config.get("version") != version:
        raise InputError(
            f"{path} is not of format {' or '.join(formats)}, version {version}; give the folder of such a quantizer."
        )
    return config
