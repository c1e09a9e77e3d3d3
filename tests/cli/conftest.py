"""The folder that the commands run in."""

from pathlib import Path

import pytest
import torch
import trimesh

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.fields.storage import ShapeMetadata, save_fields
from weightgpt.model import WeightGPT
from weightgpt.tokens.storage import Tokens, save_tokens


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, meshes, and the fields and tokens of tiny shapes."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(folder / "model")
    (folder / "meshes" / "chair").mkdir(parents=True)
    box = trimesh.creation.box((2.0, 1.0, 1.0))
    box.apply_translation((5.0, 6.0, 7.0))
    box.export(folder / "meshes" / "chair" / "one.glb")
    trimesh.creation.icosphere(subdivisions=2).export(folder / "meshes" / "ball.stl")
    (folder / "meshes" / "broken.stl").write_text("not a mesh")
    codes = torch.tensor([[[2, 1], [3, 4], [2, 5]], [[7, 6], [5, 4], [3, 2]]])
    ids = tokenizer.vocabulary.ids(codes, ["chair", "none"])
    metadata = ShapeMetadata(
        ("a", "../../b"),
        ("chair", "sofa"),
        torch.tensor([[1.0, 2.0, 3.0]] * 2).double(),
        torch.tensor([10.0, 1.0]).double(),
    )
    save_fields(folder / "fields.safetensors", tokenizer.batch_decode(ids), metadata)
    save_tokens(folder / "tokens.json", Tokens(ids, tokenizer.quantizer.fingerprint, metadata))
    return folder


@pytest.fixture(autouse=True)
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
