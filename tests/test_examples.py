"""The scripts in `examples` run as they are, the second one on the model that the first one wrote."""

import runpy
from pathlib import Path

import pytest
import torch
import trimesh
from safetensors.torch import load_file

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.model import WeightGPT

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", [script, *arguments])
    with torch.random.fork_rng():
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_a_model_is_fine_tuned_and_sampled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained("model")
    Path("meshes/chair").mkdir(parents=True)
    trimesh.creation.box((2, 1, 1)).export("meshes/chair/one.glb")
    trimesh.creation.icosphere(subdivisions=2).export("meshes/ball.stl")
    Path("meshes/broken.stl").write_text("not a mesh")
    run(monkeypatch, "finetune.py", "model", "meshes", "tuned", "3")
    assert "left out: meshes/broken.stl" in capsys.readouterr().out
    before, after = (load_file(f"{folder}/model.safetensors") for folder in ("model", "tuned"))
    assert not torch.equal(before["transformer.wte.weight"], after["transformer.wte.weight"])
    run(monkeypatch, "sample.py", "tuned", "new")
    assert capsys.readouterr().out.splitlines()[-1] == "7 table"
    expected = WeightGPT.from_pretrained("tuned").generate(n=8, seed=0)
    assert {path.stem for path in Path("new").glob("*.glb")} <= {f"{i}-{s.label}" for i, s in enumerate(expected)}
    assert list(Path("new").glob("*.glb"))
