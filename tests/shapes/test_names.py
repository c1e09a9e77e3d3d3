"""Names of files become names that can be printed, written and told apart."""

import os
from pathlib import Path

import pytest
import trimesh

from weightgpt.shapes.meshes import load_shapes
from weightgpt.shapes.names import MAX_BYTES, distinct_name, printable_name, similar_classes


@pytest.mark.parametrize(
    "text", ["\udcff\udcfe", "x" * 300, "ü" * 200, "a\u202eb", "a\x1b[31m", "a\nb", "", "e\u0301", "\u2028"]
)
def test_fault_27_any_name_becomes_printable_and_short(text):
    name = printable_name(text)
    assert name.isprintable()
    assert 1 <= len(name.encode()) <= MAX_BYTES
    assert printable_name(name) == name


def test_fault_27_long_names_with_one_beginning_stay_distinct():
    assert printable_name("x" * 300) != printable_name("x" * 301)


def test_fault_75_equal_names_get_the_next_free_number():
    taken: set[str] = set()
    given = ["chair", "chair", "chair-2", "chair", "y" * 100, "y" * 100]
    names = [distinct_name((name,), taken) for name in given]
    assert names[:4] == ["chair", "chair-2", "chair-2-2", "chair-3"]
    assert len(set(names)) == len(given)
    assert all(len(name.encode()) <= MAX_BYTES for name in names)
    assert distinct_name(("chair", "chair.obj"), taken) == "chair.obj"


def test_classes_that_only_look_equal_are_named():
    assert similar_classes(["chair", "mug", "mug"]) == []
    (sentence,) = similar_classes(["arm chair", "arm_chair", "Arm Chair", "mug"])
    assert sentence.startswith("classes 'Arm Chair' and 'arm chair' and 'arm_chair' look equal; give one name")


def test_folders_that_make_one_class_are_named(tmp_path):
    for folder in ("St\u00fchle", "Stu\u0308hle", "mug"):
        (tmp_path / folder).mkdir()
        trimesh.creation.box().export(tmp_path / folder / "a.obj")
    shapes = load_shapes(tmp_path)
    assert [shape.label for shape in shapes] == ["St\u00fchle", "St\u00fchle", "mug"]
    assert shapes.notes == ("2 folders make one class 'St\u00fchle'; rename them if they are different classes.",)


def test_letters_of_other_alphabets_look_equal():
    (sentence,) = similar_classes(["chair", "\u0441hair", "mug", "m\u00fcg"])
    assert sentence.startswith("classes 'chair' and '\u0441hair' look equal")
    assert similar_classes(["\u0441\u0442\u043e\u043b", "\u0441\u0442\u0443\u043b"]) == []


def test_fault_63_a_name_is_the_same_in_every_locale():
    in_locale_c = "St\u00fchle".encode().decode("ascii", errors="surrogateescape")
    assert printable_name(in_locale_c) == printable_name("St\u00fchle") == "St\u00fchle"


def save_box(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.box((1.0, 2.0, 1.0)).export(path, file_type="ply")


@pytest.mark.parametrize(
    "names",
    [
        ("a/b.ply", "a/b.obj.ply", "a-b.ply"),
        ("lamp/desk/01.ply", "lamp/desk-01.ply", "lamp-desk/01.ply"),
        ("a/b.PLY", "a/b.ply", "a-b.PLY", "a-b.ply", "a-b.ply.ply"),
    ],
)
def test_fault_75_and_case_32_no_file_is_lost_by_its_name(tmp_path, names):
    for name in names:
        save_box(tmp_path / name)
    shapes = load_shapes(tmp_path)
    assert len({shape.name for shape in shapes}) == len(shapes) == len(names)


def test_fault_27_files_and_classes_with_any_bytes_in_their_names_are_read(tmp_path):
    folder = bytes(tmp_path) + b"/\xff\xfe"
    Path(folder.decode(errors="surrogateescape")).mkdir()
    save_box(Path((folder + b"/\xe4.ply").decode(errors="surrogateescape")))
    save_box(tmp_path / ("c" * 200) / "one.ply")
    shapes = load_shapes(tmp_path)
    assert len(shapes) == 2
    for shape in shapes:
        assert shape.name.isprintable()
        assert shape.label.isprintable()
        assert max(len(shape.name.encode()), len(shape.label.encode())) <= MAX_BYTES


def test_a_linked_class_is_named_and_similar_classes_are_named(tmp_path):
    save_box(tmp_path / "in" / "Chair" / "1.ply")
    save_box(tmp_path / "in" / "chair" / "1.ply")
    save_box(tmp_path / "elsewhere" / "2.ply")
    (tmp_path / "in" / "mug").symlink_to(tmp_path / "elsewhere")
    shapes = load_shapes(tmp_path / "in")
    assert len(shapes) == 2
    (refusal,) = shapes.refused
    assert refusal.path == tmp_path / "in" / "mug"
    assert "is a link to a folder" in refusal.reason
    assert "'Chair' and 'chair' look equal" in shapes.notes[0]


def test_case_32_broken_links_pipes_and_closed_folders_are_named(tmp_path, monkeypatch):
    save_box(tmp_path / "mug" / "1.ply")
    save_box(tmp_path / "closed" / "1.ply")
    (tmp_path / "mug" / "2.ply").symlink_to(tmp_path / "nowhere.ply")
    os.mkfifo(tmp_path / "mug" / "3.ply")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    reasons = {refusal.path.name: refusal.reason for refusal in load_shapes(tmp_path).refused}
    assert set(reasons) == {"closed", "2.ply", "3.ply"}
    assert "is a link to a file that does not exist" in reasons["2.ply"]
    assert "is a folder that you may not read" in reasons["closed"]
