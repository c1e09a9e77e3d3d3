"""Corpora of signed distances in small Parquet files: a whole run, columns, splits, and rows that are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fakes import box_shape
from tests.reliability.tiny_run import CONFIG
from tests.shapes.test_sampled import samples_of
from training import pipeline
from training.data.distance_tables import load_distance_table
from training.run import Run
from training.splits import load_split
from weightgpt.errors import InputError
from weightgpt.shapes.sampled import SampledSdf

PARTS = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2


def rows_of(count: int = 12, flat: bool = False) -> list[dict]:
    rows = []
    for i in range(count):
        points, sdf = samples_of(box_shape((1.0, 0.5 + 0.1 * i, 0.8)), count=1200, scale=2.0)
        rows.append(
            {"id": f"box {i}", "points": points.ravel() if flat else points.tolist(), "sdf": sdf, "label": "box"}
        )
    return rows


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def config(path: Path):
    return replace(CONFIG, corpus=str(path), num_extra_shapes=4, augmentations=1)


@pytest.mark.slow
def test_a_run_learns_from_a_table_and_is_measured_at_held_out_samples(tmp_path, capsys):
    path = write(
        tmp_path / "corpus.parquet", [row | {"split": part} for row, part in zip(rows_of(), PARTS, strict=True)]
    )
    figures = pipeline.run_pipeline(config(path), tmp_path / "run")
    assert figures["shapes"] == {"train": 16, "validation": 2, "test": 2}
    assert 0 < figures["iou_plain_fit"] <= 1
    assert (tmp_path / "run" / "report.html").is_file()
    moved = path.rename(tmp_path / "moved.parquet")
    with Run(config(moved), tmp_path / "run").session():
        pass
    assert "resuming with other settings (corpus)" in capsys.readouterr().err
    write(moved, rows_of(11))
    with pytest.raises(InputError, match="file 0 has changed"), Run(config(moved), tmp_path / "run").session():
        pass


def test_a_folder_of_files_with_flat_points_and_no_split_is_split_here(tmp_path, capsys):
    rows = rows_of(flat=True)
    for number in range(3):
        write(tmp_path / "corpus.parquet" / f"{number}.parquet", rows[4 * number : 4 * number + 4])
    split, refusals = load_split(config(tmp_path / "corpus.parquet"))
    assert refusals == []
    assert (len(split.train), len(split.validation), len(split.test), len(split.extra)) == (20, 1, 1, 4)
    assert {shape.label for shape in split.all} == {"box"}
    assert [isinstance(shape.sdf, SampledSdf) for shape in split.train] == [True] * 10 + [False] * 10
    assert "12 shapes, 0 rows refused" in capsys.readouterr().err


def test_other_names_of_columns_are_found_and_equal_ids_get_numbers(tmp_path):
    rows = [{"shape_id": 7, "xyz": row["points"], "distances": row["sdf"]} for row in rows_of(3)]
    table = load_distance_table(write(tmp_path / "a.parquet", rows), seed=0)
    assert [(shape.name, shape.label) for shape in table.given.shapes] == [
        ("7", "none"),
        ("7-2", "none"),
        ("7-3", "none"),
    ]


def nan_row(row: dict) -> dict:
    sdf = row["sdf"].copy()
    sdf[3] = np.nan
    return row | {"sdf": sdf}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (nan_row, "shape 'box 1' has NaN or infinite values"),
        (
            lambda row: row | {"sdf": row["sdf"][:-1]},
            r"there are points \(1200, 3\) for 1199 distances; give three numbers",
        ),
        (lambda row: row | {"points": [point[:2] for point in row["points"]]}, r"there are points \(1200, 2\)"),
        (lambda row: row | {"points": [*row["points"][:-1], [1.0]]}, "the points are object"),
        (lambda row: row | {"points": row["points"][:9], "sdf": row["sdf"][:9]}, "256 or more"),
        (lambda row: row | {"points": None}, "the points are object"),
    ],
)
def test_a_row_that_is_no_shape_is_refused_by_its_number(tmp_path, capsys, change, reason):
    rows = rows_of()
    rows[1] = change(rows[1])
    split, refusals = load_split(config(write(tmp_path / "a.parquet", rows)))
    assert len(split.validation) == 1
    (refusal,) = refusals
    assert refusal.reason.startswith(f"row 1 of {tmp_path / 'a.parquet'}: ")
    with pytest.raises(InputError, match=reason):
        raise InputError(refusal.reason)
    assert "11 shapes, 1 rows refused" in capsys.readouterr().err


def test_a_table_without_columns_rows_or_content_is_refused(tmp_path, capfd):
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match="has no Parquet file"):
        load_split(config(path))
    write(path, [{"id": 1, "points": [[0.0, 0.0, 0.0]]}])
    with pytest.raises(
        InputError, match="has the columns id, points and none for the distances of a shape; give a column"
    ):
        load_split(config(path))
    write(path, [{"id": 1, "points": [[0.0, 0.0, 0.0]], "sdf": [1.0]}])
    with pytest.raises(InputError, match="no row that can be read as a shape; the first of its 1 rows: row 0 of"):
        load_split(config(path))
    write(path, [row | {"split": "train"} for row in rows_of(3)])
    with pytest.raises(InputError, match="has no shapes for test"):
        load_split(config(path))
    path.write_bytes(b"PAR1 nothing")
    capfd.readouterr()
    with pytest.raises(InputError, match="is not a whole Parquet file of distances"):
        load_split(config(path))
    assert capfd.readouterr().err == ""


def test_rows_beyond_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("training.data.distance_tables.memory_limit", lambda: 2e6)
    with pytest.raises(InputError, match=r"more shapes than the memory can hold \(1\); give fewer rows"):
        load_split(config(write(tmp_path / "a.parquet", rows_of(4))))
