"""Faults of doing something again or elsewhere: numbers 08, 36, 39 and 45."""

from pathlib import Path

import pytest
import torch
import trimesh

from tests.fakes import generator, tiny_codebook, tiny_encoder
from tests.reliability import bitwise
from weightgpt.errors import InputError
from weightgpt.io import atomic_write, write_json
from weightgpt.quantizers.rvq_autoencoder import RVQAutoencoder
from weightgpt.shapes import meshes


def test_fault_08_temporary_files_lie_beside_their_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A rename never crosses file systems then; the folder of TMPDIR need not even exist."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    with atomic_write(tmp_path / "a" / "b.json") as draft:
        assert draft.parent == tmp_path / "a"
        draft.write_text("{}")
    write_json(tmp_path / "a" / "c.json", [1])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b.json", "c.json"]


def test_fault_36_a_mesh_that_vanishes_after_it_was_listed_is_refused_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a", "b", "c"):
        trimesh.creation.box((1, 1, 1)).export(tmp_path / f"{name}.ply")
    load = meshes.load_shape

    def vanish(path: Path, *arguments: object, **options: object) -> object:
        if Path(path).stem == "b":
            Path(path).unlink()
        return load(path, *arguments, **options)

    monkeypatch.setattr(meshes, "load_shape", vanish)
    shapes = meshes.load_shapes(tmp_path)
    assert [shape.name for shape in shapes] == ["a", "c"]
    assert [refusal.path.name for refusal in shapes.refused] == ["b.ply"]
    with pytest.raises(InputError, match=r"b\.ply"):
        load(tmp_path / "b.ply")


def test_fault_39_the_same_fit_gives_the_same_bits():
    first = bitwise.fit(range(3), batch_size=2)
    assert torch.isfinite(first).all()
    assert first.numpy().tobytes() == bitwise.fit(range(3), batch_size=2).numpy().tobytes()


def test_fault_45_codes_of_an_encoded_field_come_back_from_the_decoded_field():
    """Codes that an encoder has written; some of an untrained codebook lie nearer to others."""
    codebook = tiny_codebook()
    quantizer = RVQAutoencoder(codebook, tiny_encoder(codebook))
    written = quantizer.encode(quantizer.decode(torch.randint(8, (64, 3, 2), generator=generator(0))))
    assert len(written.unique(dim=0)) > 30
    again = quantizer.encode(quantizer.decode(written))
    assert (again == written).all((1, 2)).float().mean() > 0.95
