"""A corpus on disk: read as it was written, or refused in one sentence."""

import shutil

import pytest
import torch
from datasets import Dataset

from training.data.corpus import check_sequences, column_tensor, load_corpus, save_corpus, sequence_dataset
from training.resume.digests import CHECKSUMS
from weightgpt.errors import InputError
from weightgpt.tokens.vocabulary import Vocabulary


@pytest.fixture
def corpus(finished, tmp_path):
    """A copy of the corpus of the finished run."""
    shutil.copytree(finished / "corpus", tmp_path / "corpus")
    return tmp_path / "corpus"


def test_a_corpus_is_read_as_it_was_written(corpus, tmp_path):
    rows = load_corpus(corpus)
    save_corpus(rows, tmp_path / "again")
    assert load_corpus(tmp_path / "again").to_dict() == rows.to_dict()


@pytest.mark.parametrize("has_checksums", [True, False])
@pytest.mark.parametrize("name", ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"])
def test_fault_13_a_file_that_is_cut_is_refused(corpus, name, has_checksums):
    if not has_checksums:
        (corpus / CHECKSUMS).unlink()
    data = (corpus / name).read_bytes()
    # Without checksums the last bytes do not count: they only say that nothing follows.
    for size in (0, 8, len(data) // 2, *([len(data) - 8] if has_checksums else [])):
        (corpus / name).write_bytes(data[:size])
        with pytest.raises(InputError):
            load_corpus(corpus)


def test_fault_14_a_flipped_bit_is_found(corpus):
    path = corpus / "data-00000-of-00001.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="arrow is missing or has changed; make the corpus again"):
        load_corpus(corpus)


@pytest.mark.parametrize("content", ["[]", "{", '{"../x": {"bytes": 1, "sha256": ""}}'])
def test_broken_checksums_are_one_sentence(corpus, content):
    (corpus / CHECKSUMS).write_text(content)
    with pytest.raises(InputError, match=CHECKSUMS):
        load_corpus(corpus)


def test_fault_14_a_folder_of_datasets_without_checksums_is_read_with_a_word(corpus, tmp_path, capsys):
    rows = load_corpus(corpus)
    assert capsys.readouterr().err == ""
    rows.save_to_disk(str(tmp_path / "mine"))
    capsys.readouterr()
    assert load_corpus(tmp_path / "mine").to_dict() == rows.to_dict()
    assert f"mine has no {CHECKSUMS}, so it is read without a check for changed files." in capsys.readouterr().err


@pytest.mark.parametrize("column", [[[1, 2], [3]], [["a", "b"], ["c", "d"]], [1, 2], ["a", "b"]])
def test_fault_51_a_column_of_other_rows_is_refused(column):
    with pytest.raises(InputError, match="the column input_ids does not have rows of numbers of one length"):
        column_tensor(Dataset.from_dict({"input_ids": column}), "input_ids")


def test_fault_51_sequences_of_another_tokenizer_are_refused(tmp_path):
    vocabulary = Vocabulary.create(3, 2, 16, ["chair"])
    ids = vocabulary.ids(torch.zeros(4, 3, 2, dtype=torch.long), ["chair"] * 4)
    check_sequences(sequence_dataset(ids), vocabulary, tmp_path)
    for other in (ids + 1000, ids.flip(1), ids[:, 1:]):
        with pytest.raises(InputError, match="is not of this tokenizer: sequence"):
            check_sequences(sequence_dataset(other), vocabulary, tmp_path)
