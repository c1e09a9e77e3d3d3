"""Files of fields are read back equal, and a file that is not exactly of the format is refused."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fakes import sphere_shape, tiny_config
from weightgpt.errors import InputError
from weightgpt.fields.field import Fields
from weightgpt.fields.storage import ShapeMetadata, load_fields, save_fields
from weightgpt.io import check_format, write_tensors

FLAT = torch.linspace(-1, 1, 2 * tiny_config().parameters).reshape(2, -1)
METADATA = ShapeMetadata(("a", "ü"), ("chair", "none"), torch.rand(2, 3).double(), torch.tensor([0.5, 2.0]).double())


def saved(folder: Path) -> Path:
    path = folder / "fields.safetensors"
    save_fields(path, Fields(tiny_config(), FLAT), METADATA)
    return path


def changed(folder: Path, tensors: dict[str, torch.Tensor | None] | None = None, **header: Any) -> Path:
    """A file of fields with other tensors or other entries of the header; None removes one."""
    values = {"flat": FLAT, "center": METADATA.center, "scale": METADATA.scale, **(tensors or {})}
    entries = {"format": "weightgpt.fields", "version": 1, "field_config": tiny_config().to_dict()}
    entries |= {"names": ["a", "b"], "labels": ["chair", "none"], **header}
    text = json.dumps({name: value for name, value in entries.items() if value is not None})
    path = folder / "changed.safetensors"
    write_tensors(path, {name: value for name, value in values.items() if value is not None}, {"weightgpt": text})
    return path


def test_fields_and_metadata_are_read_back(tmp_path):
    fields, metadata = load_fields(saved(tmp_path))
    assert fields.config == tiny_config()
    assert torch.equal(fields.flat, FLAT)
    assert (metadata.names, metadata.labels) == (METADATA.names, METADATA.labels)
    assert torch.equal(metadata.center, METADATA.center)
    assert torch.equal(metadata.scale, METADATA.scale)


def test_the_file_without_a_change_is_accepted(tmp_path):
    assert torch.equal(load_fields(changed(tmp_path))[0].flat, FLAT)


def test_fields_without_metadata_have_numbers_as_names(tmp_path):
    save_fields(tmp_path / "a.safetensors", Fields(tiny_config(), FLAT))
    metadata = load_fields(tmp_path / "a.safetensors")[1]
    assert (metadata.names, metadata.labels) == (("0000", "0001"), ("none", "none"))


def test_double_precision_is_written_as_single(tmp_path):
    save_fields(tmp_path / "a.safetensors", Fields(tiny_config(), FLAT.double()), METADATA)
    assert load_fields(tmp_path / "a.safetensors")[0].flat.dtype == torch.float32


def test_metadata_of_shapes_have_their_transform():
    metadata = ShapeMetadata.of_shapes([sphere_shape(0.5, dimension=2, label="round")])
    assert (metadata.names, metadata.labels) == (("sphere-0.5",), ("round",))
    assert torch.equal(metadata.center, torch.zeros(1, 2).double())
    assert torch.equal(metadata.scale, torch.ones(1).double())


@pytest.mark.parametrize(
    ("tensors", "fragment"),
    [
        ({"flat": FLAT[:1]}, r"tensor 'center' .* is F64 \(2, 3\), not F64 \(1, 3\)"),
        ({"flat": FLAT[:0]}, r"tensor 'flat' .* is F32 \(0, 109\), not F32 \(B, 109\)"),
        ({"flat": FLAT[:, :-1].contiguous()}, r"tensor 'flat' .* is F32 \(2, 108\), not F32 \(2, 109\)"),
        ({"flat": FLAT[0]}, r"tensor 'flat' .* is F32 \(109\), not F32 \(B, 109\)"),
        ({"flat": torch.stack([FLAT[0], FLAT[1] * torch.nan])}, "tensor 'flat' .* NaN or infinite values in row 1"),
        ({"flat": FLAT.half()}, r"tensor 'flat' .* is F16 \(2, 109\), not F32 \(B, 109\)"),
        ({"flat": FLAT.long()}, "tensor 'flat' .* is I64"),
        ({"center": METADATA.center.float()}, "tensor 'center' .* is F32"),
        ({"center": METADATA.center[:1]}, "tensor 'center' .* is F64"),
        ({"center": METADATA.center[:, :2].contiguous()}, "tensor 'center' .* is F64"),
        ({"scale": METADATA.scale[:1]}, "tensor 'scale' .* is F64"),
        ({"scale": -METADATA.scale}, "a scale is not positive"),
        ({"scale": METADATA.scale * 1e-301}, "a scale is below 1e-30"),
        ({"center": METADATA.center * 1e301}, "a center or a scale is beyond"),
        ({"scale": None}, "lacks tensor 'scale'"),
        ({"flat": None}, "lacks tensor 'flat'"),
        ({"more": FLAT.clone()}, "has a tensor 'more' that does not belong there"),
    ],
)
def test_tensors_of_wrong_counts_or_dtypes_are_refused(tmp_path, tensors, fragment):
    with pytest.raises(InputError, match=fragment) as refusal:
        load_fields(changed(tmp_path, tensors))
    assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize(
    ("header", "fragment"),
    [
        ({"format": "weightgpt.tokens"}, "is weightgpt.tokens, not weightgpt.fields"),
        ({"format": None}, "of an unknown format, not weightgpt.fields"),
        ({"version": 0}, "is of version 0, this library reads version 1"),
        ({"version": 2}, "is of version 2, this library reads version 1"),
        ({"version": "1"}, "is of version 1, this library reads version 1"),
        ({"version": None}, "is of version None"),
        ({"names": ["a"]}, "1 names need as many labels"),
        ({"names": ["a", 2]}, "not lists of text"),
        ({"labels": "ab"}, "not lists of text"),
        ({"labels": None}, "not lists of text"),
        ({"labels": ["chair", "x" * 1001]}, "a name or a label has more than 1000 characters"),
        ({"field_config": {"width": 3}}, "unknown keys"),
        ({"field_config": []}, "a field configuration is a list, not an object"),
        ({"field_config": {"hidden": [10**9]}}, "give 64, 65536 and 64 at most"),
        ({"field_config": {"hidden": [8] * 10**5}}, "give 64, 65536 and 64 at most"),
        ({"field_config": {"num_frequencies": 10**9}}, "give 64, 65536 and 64 at most"),
    ],
)
def test_headers_of_other_formats_versions_or_counts_are_refused(tmp_path, header, fragment):
    with pytest.raises(InputError, match=fragment):
        load_fields(changed(tmp_path, **header))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "3"])
def test_a_header_that_is_no_json_object_is_refused(tmp_path, text):
    write_tensors(tmp_path / "a.safetensors", {"flat": FLAT}, {"weightgpt": text})
    with pytest.raises(InputError, match="of an unknown format"):
        load_fields(tmp_path / "a.safetensors")


@pytest.mark.parametrize("size", [2**63, 2**40, 100_000_001])
def test_a_header_of_huge_size_is_refused(tmp_path, size):
    path = saved(tmp_path)
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_fields(path)


def test_a_file_of_the_other_byte_order_is_refused(tmp_path):
    path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[7::-1] + content[8:])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_fields(path)


def test_fields_with_metadata_of_another_count_are_not_written(tmp_path):
    with pytest.raises(InputError, match="1 shapes have 2 names; give one name for each shape"):
        save_fields(tmp_path / "a.safetensors", Fields(tiny_config(), FLAT[:1]), METADATA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("header", [None, [], {}, {"format": "a"}, {"format": "a", "version": 2}])
def test_a_format_is_accepted_only_with_its_version(header):
    with pytest.raises(InputError, match=r"file\.json is "):
        check_format("file.json", header, "a", 1)
    check_format("file.json", {"format": "a", "version": 1}, "a", 1)
