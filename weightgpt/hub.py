"""The Hugging Face Hub: files are pulled from it, and objects are pushed to it.

Decisions:

- Only the files that an object names are downloaded, and only files that the object writes are uploaded. None of them
  can run code.
- A name that looks like a path is never looked up on the Hub: a slip in a path must not load a stranger's files.
- We do not use `huggingface_hub.ModelHubMixin`: it treats the `config.json` of a repository as constructor arguments
  and does not write files atomically. We would have to replace all of its methods but the short `push_to_hub`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from weightgpt.errors import InputError
from weightgpt.io import reading

_PATH = re.compile(r"(?:(?<=file://)|(?<![\w/.:<~-]))/[\w.-]+(?:/[\w.-]+)+")
"""An absolute path of two parts or more; no part of an address, of "and/or", or of a path within a repository."""
_COMMON = {"bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"}
"""Folders that are alike on all machines."""


def local_folder(
    path_or_repo: Path | str, files: Sequence[str], revision: str | None = None, token: str | None = None
) -> Path:
    """Return the folder that holds `files`: a local one without any network, or a snapshot from the Hub.

    Args:
        path_or_repo: a folder if there is one of that name, otherwise "owner/name" on the Hub. A `Path`, and a text
            whose first part exists here, is always a folder.
        files: paths inside the repository to download; patterns such as "codebook/*" are allowed.
        revision: branch, tag or commit on the Hub.
        token: access token of the Hub; the stored one when None.

    Raises:
        InputError: there is no such folder or repository, or the Hub does not answer.
    """
    repo_id = str(path_or_repo)
    with reading(path_or_repo, "folder"):
        if Path(path_or_repo).is_dir():
            return Path(path_or_repo)
    if isinstance(path_or_repo, Path) or _is_path(repo_id):
        raise InputError(
            f"{repo_id} is neither a folder nor a name on the Hub; give the path of a folder, or owner/name."
        )
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(files), token=token))
    except HFValidationError as error:
        raise InputError(
            f"{repo_id} is neither a folder nor a name on the Hub; give the path of a folder, or owner/name."
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{repo_id} has no revision {revision}; give one of its branches, tags or commits.") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{repo_id} is no folder here and no repository that you may read; check its name.") from error
    except (EntryNotFoundError, OSError) as error:  # every failure of the Hub or of the network is an OSError
        raise InputError(f"{repo_id} is no folder here and the Hub does not answer; try again later.") from error


class HubObject(ABC):
    """An object that is saved to a folder and pushed to the Hub."""

    hub_files: ClassVar[tuple[str, ...]]
    """The files that are uploaded, as paths within the repository; no other file is."""

    @abstractmethod
    def save_pretrained(self, folder: Path | str) -> None:
        """Write the files of the object.

        Args:
            folder: where to write; it is created if it does not exist.
        """

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, token: str | None = None, commit_message: str | None = None
    ) -> str:
        """Upload the files of the object, and nothing else; the repository is created if it does not exist.

        Args:
            repo_id: "owner/name".
            private: whether a new repository is private.
            token: access token of the Hub; the stored one when None.
            commit_message: message of the commit; it names the class of the object when None.

        Returns:
            The address of the repository.

        Raises:
            InputError: the name is not allowed, or the Hub refuses.
        """
        with TemporaryDirectory() as folder:
            self._write_for_hub(Path(folder), repo_id)
            _check_no_paths(Path(folder), self.hub_files)
            api = HfApi(token=token)
            try:
                address = api.create_repo(repo_id, private=private, exist_ok=True)
                api.upload_folder(
                    repo_id=address.repo_id,
                    folder_path=folder,
                    allow_patterns=list(self.hub_files),
                    commit_message=commit_message or f"Upload {type(self).__name__}",
                )
            except (OSError, HFValidationError) as error:  # every failure of the Hub or of the network
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"cannot push to {repo_id} ({reason}); check its name, your token and the network."
                ) from error
        return str(address)

    def _write_for_hub(self, folder: Path, repo_id: str) -> None:
        """Write the files to upload; a subclass may add a model card that names `repo_id`."""
        self.save_pretrained(folder)


def _is_path(name: str) -> bool:
    """Whether a text is a path on this machine rather than owner/name on the Hub."""
    parts = name.split("/")
    return len(parts) != 2 or "\\" in name or parts[0] in ("", ".", "..", "~") or Path(parts[0]).exists()


def _check_no_paths(folder: Path, names: Sequence[str]) -> None:
    """Refuse files to upload that name the home or the current folder of the user, or another path of this machine."""
    own = sorted(f"{path}/" for path in (Path.home(), Path.cwd()) if len(path.parts) > 2)
    for path in (folder / name for name in names if not name.endswith(".safetensors")):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = [name for name in own if name in text] or [name for name in _PATH.findall(text) if _is_private(name)]
        if found:
            raise InputError(f"{path.name} names a path of this machine, {found[0]}; remove it before you push.")


def _is_private(name: str) -> bool:
    """Whether the first two parts of an absolute path are on this machine, but not on all machines."""
    parts = Path(name).parts
    try:
        return len(parts) > 2 and parts[1] not in _COMMON and Path(*parts[:3]).exists()
    except OSError:  # too long for a path, or no right to look
        return False
