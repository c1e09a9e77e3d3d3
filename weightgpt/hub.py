"""The Hugging Face Hub: where files are pulled from, and how objects are pushed.

Only the files that an object names are downloaded, and only those that it writes itself are uploaded. None of them can
run code.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from weightgpt.errors import InputError


def local_folder(
    folder_or_repo_id: Path | str, files: Sequence[str], revision: str | None = None, token: str | None = None
) -> Path:
    """The folder that holds `files`: the given one, without any network, or else a snapshot from the Hub.

    Args:
        folder_or_repo_id: a folder if there is one of that name, otherwise "owner/name" on the Hub.
        files: paths inside the repository that are downloaded; patterns such as "codebook/*" are allowed.
        revision: branch, tag or commit on the Hub.
        token: access token of the Hub; the one of `huggingface-cli login` when None.

    Raises:
        InputError: there is no such folder or repository, or the Hub does not answer.
    """
    local = Path(folder_or_repo_id)
    if local.is_dir():
        return local
    repo_id = str(folder_or_repo_id)
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(files), token=token))
    except HFValidationError as error:
        raise InputError(f"{repo_id} is neither a folder nor the name of a repository; give one.") from error
    except RevisionNotFoundError as error:
        raise InputError(f"{repo_id} has no revision {revision}; give one of its branches, tags or commits.") from error
    except (EntryNotFoundError, OSError) as error:  # every failure of the Hub, and of the way to it, is an OSError
        unknown = isinstance(error, RepositoryNotFoundError)
        reason = (
            "no repository that you may read; check its name" if unknown else "the Hub does not answer; try again later"
        )
        raise InputError(f"{repo_id} is no folder here and {reason}.") from error


class HubObject(ABC):
    """Something that is saved to a folder and pushed to the Hub."""

    @abstractmethod
    def save_pretrained(self, folder: Path | str) -> None:
        """Write the files of the object to `folder`."""

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, token: str | None = None, commit_message: str | None = None
    ) -> str:
        """Upload what `save_pretrained` writes, and nothing else; the repository is created if it does not exist.

        Args:
            repo_id: "owner/name".
            private: whether a new repository is private.
            token: access token of the Hub; the one of `huggingface-cli login` when None.
            commit_message: of the upload.

        Returns:
            The address of the repository.

        Raises:
            InputError: the name is not allowed, or the Hub refuses.
        """
        with TemporaryDirectory() as folder:
            self._write_for_hub(Path(folder), repo_id)
            api = HfApi(token=token)
            try:
                address = api.create_repo(repo_id, private=private, exist_ok=True)
                api.upload_folder(
                    repo_id=address.repo_id,
                    folder_path=folder,
                    commit_message=commit_message or f"Upload {type(self).__name__}",
                )
            except (OSError, HFValidationError) as error:  # every failure of the Hub, and of the way to it
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"cannot push to {repo_id} ({reason}); check its name, your token and the network."
                ) from error
        return str(address)

    def _write_for_hub(self, folder: Path, repo_id: str) -> None:
        """Write what is uploaded; a subclass may add a model card that names `repo_id`."""
        self.save_pretrained(folder)
