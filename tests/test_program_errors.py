"""A wrong command line of any program ends with one sentence and exit code 2, before any work."""

import importlib
from pathlib import Path

import pytest

PIPELINE = ("training.pipeline", "built-in", "--output", "out")
FILES = ("training.pipeline", "mesh-files", "--output", "out")
MEASURE = ("tokenization.measure.__main__", "built-in", "--output", "out")
BASELINE = ("training.baselines.__main__", "--run", "out", "--output", "out", "--baseline")
PRETRAIN = ("training.pretrain", "--dataset", "out", "--tokenizer", "out", "--output", "out")
COMPARE = ("training.compare.__main__", "--run", "out", "--output", "out")
SPEED = ("benchmarks.encoding_speed", "--output", "out")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ((*PIPELINE, "--shapes", "7"), "Unrecognized options: --shapes"),
        ((*PIPELINE, "--num-samples", "0"), "num_samples is 0; give 1 or more"),
        ((*PIPELINE, "--num-samples", "many"), "invalid"),
        ((*PIPELINE, "--temperature", "0"), "temperature is 0.0; give a number above 0"),
        ((*PIPELINE, "--top-p", "1.5"), "top_p is 1.5; give a share above 0"),
        ((*PIPELINE, "--seed", "-1"), "seed is -1; give a whole number from 0"),
        ((*PIPELINE, "--resolution", "4"), "resolution is 4; give 8 or more"),
        ((*PIPELINE, "--num-extra-shapes", "-5"), "num_extra_shapes is -5; give 0 or more"),
        ((*PIPELINE, "--gpt.dropout", "2"), "dropout is 2.0; give a share between 0 and 1"),
        ((*PIPELINE, "--gpt.lr-scheduler-type", "step"), "choose one of linear, cosine"),
        ((*PIPELINE, "--tokenizer.num-points", "0"), "num_points is 0; give 1 or more"),
        ((*PIPELINE, "--tokenizer.codebook.learning-rate", "nan"), "learning_rate is nan; give a number above 0"),
        ((*FILES, "--corpus", "nowhere"), "nowhere is not a folder"),
        ((*FILES, "--corpus", "."), "no mesh"),
        ((*FILES, "--held-out-fraction", "-0.1"), "give a share between 0 and 1"),
        ((*MEASURE, "--max-fit-steps", "0"), "max_fit_steps is 0; give 1 or more"),
        ((*MEASURE, "--resolution", "4"), "resolution is 4; give 8 or more"),
        ((*BASELINE, "gan"), "no baseline 'gan'"),
        ((*BASELINE, "nef-gpt", "--budget-flops", "0"), "budget_flops is 0.0; give a number above 0"),
        ((*BASELINE, "nef-gpt"), "out has no corpus"),
        (
            ("training.baselines.meshgpt", "--meshes", "out", "--output", "out", "--num-samples", "0"),
            "num_samples is 0",
        ),
        ((*PRETRAIN, "--epochs", "-1"), "epochs is -1.0; give a number above 0"),
        (PRETRAIN, "out holds no corpus"),
        ((*COMPARE, "--num-points", "0"), "num_points is 0; give 1 or more"),
        ((*COMPARE, "--emd", "1"), "emd is 1; give 0, or 2 shapes or more"),
        (COMPARE, "out has no model"),
        (("training.publish", "--page", "no.md", "--run", "out"), "metrics.json"),
        (("training.point_features", "--num-shapes", "0"), "num_shapes is 0; give 1 or more"),
        (("studies.pieces", "--num-seeds", "0"), "num_seeds is 0; give 1 or more"),
        (("studies.sweep.__main__", "--resolution", "4"), "resolution is 4; give 8 or more"),
        (("studies.sweep.__main__", "--codebook-steps", "0"), "codebook_steps is 0; give 1 or more"),
        (("studies.graph.__main__", "--family", "dragon"), "dragon"),
        (("studies.graph.__main__", "--graph-steps", "-1"), "graph_steps is -1; give 1 or more"),
        (("studies.symmetry.__main__", "quick", "--num-fits", "1"), "num_fits is 1; give 2 or more"),
        (("studies.symmetry.__main__", "quick", "--family", "dragon"), "dragon"),
        (("studies.digits.__main__", "quick", "--corpus", ".", "--output", "out"), "has 0 files"),
        (("studies.bits.__main__", "--seed", "-1"), "seed is -1"),
        (("studies.experiments.__main__", "--tokenizer", ".", "--axes", "luck"), "no axis 'luck'"),
        (("studies.experiments.__main__", "--tokenizer", ".", "--top-p", "0"), "top_p is 0.0"),
        (("studies.presentation.__main__", "--output", "out", "--tokenizer", "nowhere"), "nowhere"),
        ((*SPEED, "--turns", "0"), "turns is 0; give 1 or more"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_two(command, sentence, tmp_path: Path, monkeypatch, capsys):
    module, *arguments = command
    program = importlib.import_module(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [module, *arguments])
    assert program.main() == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert not any(tmp_path.rglob("*.safetensors"))
