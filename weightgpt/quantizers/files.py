"""The files of a quantizer: their names, their folder, and the check of `config.json`.

Decisions:

- A folder has up to three files: `config.json` names the format and the sizes, `model.safetensors` has every tensor
  that decoding needs, `encoder.safetensors` has the tensors that only encoding needs.
- A folder on this machine and a repository on the Hub are read in the same way. No file can run code.
- `config.json` names the encoder, and `model.safetensors` names `config.json`. So files of two quantizers cannot be
  mixed. The sizes in `config.json` are compared with the headers of the tensors before anything is allocated.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor

from weightgpt.errors import InputError
from weightgpt.fields.config import FieldConfig
from weightgpt.hub import local_folder
from weightgpt.io import check_neighbors, neighbor_digests, read_json, write_json, write_tensors
from weightgpt.quantizers.codes import fingerprint

FILES = ("config.json", "model.safetensors", "encoder.safetensors")
ENCODER_KEY = "encoder_fingerprint"
"""The key of `config.json` with the fingerprint of the encoder."""
MAX_SIZE = 2**20
"""The largest width or count in a configuration."""


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
    if not isinstance(config, dict) or config.get("format") not in tuple(formats) or config.get("version") != version:
        raise InputError(
            f"{path} is not of format {' or '.join(formats)}, version {version}; give the folder of such a quantizer."
        )
    return config


def read_field_config(path: Path, config: dict[str, Any]) -> FieldConfig:
    """The architecture of the fields in a configuration that was read from a file.

    Args:
        path: the file, for the error.
        config: the configuration.

    Raises:
        InputError: there is none, or it is not allowed.
    """
    try:
        return FieldConfig.from_dict(config.get("field_config"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def whole_number(path: Path, values: dict[str, Any], name: str, most: int = MAX_SIZE) -> int:
    """A whole number of a configuration that was read from a file.

    Args:
        path: the file, for the error.
        values: the configuration.
        name: the key of the number.
        most: the largest number that is allowed; the smallest is 1.

    Raises:
        InputError: the configuration lacks the number, or it is not whole or not in range.
    """
    value = values.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise InputError(f"{name} of {path} is {value!r:.50}, not a whole number from 1 to {most}; make it again.")
    return value


def save_files(
    folder: Path | str, config: dict[str, Any], tensors: dict[str, Tensor], encoder: dict[str, Tensor] | None = None
) -> None:
    """Write the files of a quantizer; `config.json` names its encoder.

    Args:
        folder: where to write; it is created if it does not exist.
        config: the values of `config.json`.
        tensors: the tensors of `model.safetensors`.
        encoder: the tensors of `encoder.safetensors`; there is no such file when None.
    """
    folder = Path(folder)
    if encoder is not None:
        config = {**config, ENCODER_KEY: encoder_fingerprint(encoder)}
        write_tensors(folder / "encoder.safetensors", encoder)
    write_json(folder / "config.json", config)
    write_tensors(folder / "model.safetensors", tensors, neighbor_digests(folder, ("config.json",)))


def check_encoder(folder: Path, config: dict[str, Any], encoder: dict[str, Tensor]) -> None:
    """Refuse an encoder that `config.json` does not name, and a `config.json` that was changed.

    Args:
        folder: the folder of the quantizer.
        config: the content of `config.json`.
        encoder: the tensors of `encoder.safetensors`.

    Raises:
        InputError: a file belongs to another quantizer.
    """
    if config.get(ENCODER_KEY) != encoder_fingerprint(encoder):
        raise InputError(
            f"{folder / 'encoder.safetensors'} is not the encoder that config.json names; take all files from one"
            " folder."
        )
    check_config(folder)


def check_config(folder: Path) -> None:
    """Refuse a `config.json` that was changed after the tensors beside it were written.

    Args:
        folder: the folder of the quantizer.

    Raises:
        InputError: the two files do not belong together.
    """
    check_neighbors(folder / "model.safetensors", ("config.json",))


def encoder_fingerprint(encoder: dict[str, Tensor]) -> str:
    """16 hexadecimal digits that identify an encoder.

    Args:
        encoder: the tensors of `encoder.safetensors`.
    """
    return fingerprint({}, encoder)
