"""The wheel alone works: without the programs beside it, and without the extras."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import tiny_gpt, tiny_tokenizer
from weightgpt.model import WeightGPT

ROOT = Path(__file__).parents[1]
SCRIPT = """
import json, sys
absent = ["accelerate", "beartype", "diffusers", "matplotlib", "tensorboard", "tyro"]
absent += ["tokenization", "training", "studies", "benchmarks", "tests"]
sys.modules.update(dict.fromkeys(absent))  # a name that stands for None cannot be imported
import weightgpt as wg
from weightgpt.cli import main

def command(*arguments):
    try:
        main([*arguments])
    except SystemExit as end:
        assert not end.code, arguments

model = wg.WeightGPT.from_pretrained("model")
shapes = model.generate(n=3, seed=0)
wg.save_fields("fields.safetensors", shapes.fields, wg.ShapeMetadata.plain(["a", "b", "c"], shapes.labels))
command("sample", "model", "-n", "3", "-o", "samples", "--resolution", "24")
command("encode", "fields.safetensors", "--model", "model", "-o", "tokens.json")
command("evaluate", "fields.safetensors", "--train", "fields.safetensors", "--held-out", "fields.safetensors",
        "--resolution", "24", "--points", "64", "-o", "metrics.json")
print(json.dumps({"home": wg.__file__, "version": wg.__version__}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    # We build a copy, because a build leaves files in its folder.
    shutil.copytree(ROOT / "weightgpt", folder / "source" / "weightgpt")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "dist", folder / "source"], check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_alone_samples_encodes_and_evaluates(site: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    WeightGPT(tiny_gpt(tokenizer.vocabulary), tokenizer).save_pretrained(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert Path(result["home"]).is_relative_to(site)
    assert (tmp_path / "metrics.json").is_file()


@pytest.mark.slow
def test_the_wheel_holds_the_library_alone(site: Path) -> None:
    packages = {path.name for path in site.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}
    assert packages - {"bin"} == {"weightgpt"}
    assert (site / "weightgpt" / "metrics" / "point_features.safetensors").is_file()
    assert (site / "weightgpt" / "py.typed").is_file()
