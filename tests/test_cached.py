"""Results that are computed once for each settings."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from weightgpt._programs import cached, cached_folder, settings_digest
from weightgpt.io import read_json


@dataclass(frozen=True)
class Settings:
    steps: int
    widths: tuple[int, ...]


def test_the_digest_depends_on_values_and_not_on_their_order_or_container():
    digest = settings_digest({"a": Settings(1, (2, 3)), "b": Path("x")})
    assert digest == settings_digest({"b": "x", "a": {"widths": [2, 3], "steps": 1}})
    assert digest != settings_digest({"a": Settings(2, (2, 3)), "b": Path("x")})
    assert len(digest) == 8


def test_what_is_no_setting_has_no_digest():
    with pytest.raises(TypeError, match="is no setting"):
        settings_digest({"a": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        settings_digest({"a": float("nan")})


def test_a_value_is_computed_once_for_each_settings(tmp_path):
    calls = []

    def value(steps: int) -> dict[str, int]:
        return cached(tmp_path / "rows", Settings(steps, ()), lambda: calls.append(steps) or {"iou": steps}, name="row")

    assert [value(1), value(2), value(1)] == [{"iou": 1}, {"iou": 2}, {"iou": 1}]
    assert calls == [1, 2]
    path = tmp_path / "rows" / f"row-{settings_digest(Settings(2, ()))}.json"
    assert read_json(path) == {"settings": {"steps": 2, "widths": []}, "value": {"iou": 2}}


def test_a_folder_is_written_once_and_whole_or_not_at_all(tmp_path):
    def write(draft: Path) -> None:
        (draft / "part.txt").write_text("done")

    def fail(draft: Path) -> None:
        write(draft)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_folder(tmp_path, {"steps": 1}, fail, name="codebook")
    assert list(tmp_path.iterdir()) == []
    folder = cached_folder(tmp_path, {"steps": 1}, write, name="codebook")
    assert folder == cached_folder(tmp_path, {"steps": 1}, fail, name="codebook")
    assert (folder / "part.txt").read_text() == "done"
    assert read_json(folder / "settings.json") == {"steps": 1}
