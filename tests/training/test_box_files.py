"""PartNet corpora from tiny files of boxes: the given split, the card, resuming, and files that are refused."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tests.reliability.tiny_run import CONFIG
from tests.shapes.test_boxes import box
from training import pipeline
from training.data.box_files import load_box_shapes
from training.pipeline import read_job
from training.run import Run
from training.splits import load_split
from weightgpt.errors import InputError

PARTS = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2


def write_npz(folder, name="chair", parts=PARTS, **changes):
    """Stools of two boxes whose seats have different heights."""
    folder.mkdir(exist_ok=True)
    heights = np.linspace(0.2, 1.9, len(parts))
    corners = np.concatenate([[box((0, h, 0), (1, h, 1)), box((0, -0.5, 0), (0.2, 1, 0.2))] for h in heights])
    arrays = {
        "id": np.arange(100, 100 + len(parts), dtype=np.int32),
        "start": np.arange(0, 2 * len(parts) + 1, 2, dtype=np.int32),
        "corners": corners.astype(np.float32),
        "split": np.array(parts),
    }
    np.savez(folder / f"{name}.npz", **{key: value for key, value in (arrays | changes).items() if value is not None})
    return folder


def config(folder, corpus="partnet-chairs"):
    return replace(CONFIG, corpus=corpus, corpus_folder=str(folder), num_extra_shapes=4)


@pytest.mark.slow
def test_a_run_learns_from_the_given_split_and_its_card_has_the_terms_of_the_data(tmp_path, capsys):
    folder = write_npz(tmp_path / "boxes")
    figures = pipeline.run_pipeline(config(folder), tmp_path / "run")
    assert figures["shapes"] == {"train": 16, "validation": 2, "test": 2}
    assert (tmp_path / "run" / "report.html").is_file()
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "license: other" in card
    assert "ShapeAssembly (Jones et al. 2020" in card
    moved = folder.rename(tmp_path / "moved")
    with Run(config(moved), tmp_path / "run").session():
        pass
    assert "resuming with other settings (corpus_folder)" in capsys.readouterr().err
    write_npz(moved, parts=PARTS[::-1])
    with pytest.raises(InputError, match=r"chair\.npz has changed"), Run(config(moved), tmp_path / "run").session():
        pass


def test_the_three_classes_join_with_their_labels(tmp_path):
    for name in ("chair", "table", "storage"):
        write_npz(tmp_path, name)
    split, refusals = load_split(config(tmp_path, "partnet"))
    assert refusals == []
    assert {shape.label for shape in split.test} == {"chair", "table", "storage"}
    assert {shape.name for shape in split.validation} == {
        f"{name}-{number}" for name in ("chair", "table", "storage") for number in (108, 109)
    }
    assert (len(split.train), len(split.extra)) == (2 * 24, 4)


def test_near_duplicates_of_held_out_shapes_are_not_learned_from(tmp_path, capsys):
    corners = np.load(write_npz(tmp_path) / "chair.npz")["corners"]
    corners[0:2] = 1.001 * corners[20:22]  # the first training shape and the first test shape
    write_npz(tmp_path, corners=corners)
    split, _ = load_split(config(tmp_path))
    assert "chair-100" not in {shape.name for shape in split.train}
    assert "1 of them on both sides of the split; 1 training shapes are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": None}, "has no array 'split'"),
        ({"corners": np.zeros((24, 8, 3), np.int32)}, "the array 'corners' holds int32"),
        ({"corners": np.zeros((24, 8), np.float32)}, r"the array 'corners' has shape \(24, 8\) for 12 shapes"),
        ({"id": np.arange(5)}, r"the array 'start' has shape \(13,\) for 5 shapes"),
        ({"id": np.zeros(12, int)}, "has an id twice"),
        ({"start": np.arange(13)}, "'start' goes from 0 to 12 for 24 boxes"),
        ({"start": np.zeros(13, int)}, "'start' goes from 0 to 0"),
        ({"split": np.array(["train"] * 12)}, "has no shapes for test"),
        ({"split": np.array([*PARTS[:-1], "dev"])}, "has a split 'dev'"),
        ({"split": np.array(PARTS, dtype=object)}, "is not a whole .npz file of boxes"),
        ({"corners": np.zeros((24, 8, 3), np.float32)}, "box 0 of shape 'chair-100' has a side of length 0"),
    ],
)
def test_a_file_that_is_no_corpus_of_boxes_is_refused_in_one_sentence(tmp_path, changes, message):
    write_npz(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as raised:
        load_split(config(tmp_path))
    assert str(raised.value).count("\n") == 0


def test_a_missing_a_broken_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"chair\.npz does not exist"):
        load_split(config(tmp_path))
    (tmp_path / "chair.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"is not a whole \.npz file of boxes"):
        load_box_shapes(tmp_path / "chair.npz", "chair")
    monkeypatch.setattr("training.data.box_files.MAX_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "chair.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("corners.npy", bytes(2**21))
    with pytest.raises(InputError, match=r"unpacks to 2 MiB, more than the 1 MiB allowed"):
        load_box_shapes(tmp_path / "chair.npz", "chair")


def test_the_folder_is_for_these_corpora_alone():
    job = read_job(["mesh-files", "--output", "o", "--corpus", "partnet", "--corpus-folder", "boxes"])
    assert json.loads(json.dumps(job.config.to_dict()))["corpus_folder"] == "boxes"
    with pytest.raises(InputError, match=r"give the folder of the \.npz files as corpus_folder"):
        read_job(["mesh-files", "--output", "o", "--corpus", "partnet-chairs"])
    with pytest.raises(InputError, match="for no other corpus"):
        read_job(["mesh-files", "--output", "o", "--corpus", "my_meshes", "--corpus-folder", "boxes"])
