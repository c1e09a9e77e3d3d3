"""A whole comparison of a small run, and its costs by hand."""

import shutil
from pathlib import Path

import pytest

from tests.fakes import tiny_codebook, tiny_encoder, tiny_gpt, tiny_tokenizer
from training.baselines import __main__ as baselines
from training.compare import __main__ as program
from training.compare import comparison, flops, page, rows
from weightgpt import __version__
from weightgpt.io import read_json, write_json

OPTIONS = "--run ../run --baselines ../baselines --set-size 3 --num-sets 2 --num-points 256 --emd 3 --output out"


def run_main(monkeypatch: pytest.MonkeyPatch, main, line: str) -> None:
    """Run a program and expect success."""
    monkeypatch.setattr("sys.argv", line.split())
    assert main() == 0


def test_decoding_costs_two_operations_for_each_weight_of_the_decoder_and_the_bases():
    tensors = tiny_codebook().decoder.tensors()
    weights = sum(
        tensors[name].numel() for name in ("latent_decoder.inner.weight", "latent_decoder.outer.weight", "basis")
    )
    assert flops.decode_flops(tiny_codebook()) == 2 * weights


def test_reading_a_shape_costs_two_operations_for_each_weight_of_the_layers_of_the_encoder():
    encoder = tiny_encoder(tiny_codebook())
    weights = sum(value.numel() for value in encoder.parameters() if value.ndim == 2)
    assert flops.encoder_flops(encoder) == 2 * weights


def test_a_training_step_of_a_gpt_costs_three_forward_passes_and_grows_with_the_batch():
    model = tiny_gpt(tiny_tokenizer().vocabulary)
    small, large = (flops.step_flops(model, batch_size, model.config.n_positions) for batch_size in (1, 4))
    assert large == 4 * small
    weights = sum(parameter.numel() for parameter in model.transformer.h.parameters() if parameter.ndim == 2)
    assert small > 6 * weights * model.config.n_positions * 0.9  # forward once, backward twice
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.fixture(scope="module")
def compared(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, two baselines, and the same comparison in the folders `one` and `two`."""
    root = tmp_path_factory.mktemp("compared")
    shutil.copytree(finished, root / "run")
    costs = dict.fromkeys(rows.BASELINE_COSTS, 7)
    costs |= {"num_samples": 8, "watertight": 2, "histories": {"autoencoder": [[1, 5.0], [2, 4.0]]}}
    write_json(root / "baselines" / "meshgpt" / "cost.json", costs)
    line = "baselines --run ../run --budget-flops 2e10 --num-samples 4 --baseline flow-matching"
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("one", "two"):
            (root / name).mkdir()
            monkeypatch.chdir(root / name)
            run_main(monkeypatch, baselines.main, f"{line} --output ../baselines/flow-matching")
            run_main(monkeypatch, program.main, f"compare {OPTIONS}")
            shutil.rmtree(root / "run" / "fits" / "compared-6")
    return root


@pytest.fixture
def measured(compared: Path) -> dict[str, dict]:
    """The rows of the comparison by name."""
    return {row["row"]: row for row in read_json(compared / "two" / "out" / page.DATA)["rows"]}


@pytest.mark.slow
def test_the_same_command_gives_the_same_files(compared: Path):
    one, two = ({path.name: path.read_bytes() for path in (compared / name).rglob("*.*")} for name in ("one", "two"))
    assert one == two
    assert {f"{name}.png" for name in rows.ROWS} <= set(one)


@pytest.mark.slow
def test_every_row_is_measured_in_sets_of_one_size(measured):
    assert list(measured) == [name for name in page.ORDER if name in measured]
    assert set(measured) == {*rows.ROWS, "flow-matching", "meshgpt"}
    sizes = {(row["set_size"], row["num_sets"], row["num_points"], row["held_out"]) for row in measured.values()}
    assert sizes == {(3, 2, 256, 6)}
    assert {row["version"] for row in measured.values()} == {__version__}
    # The held-out shapes are drawn anew for each set, so they cannot be paired.
    assert not any("paired_difference_interval" in row for row in measured.values())
    assert (measured["ours"]["count"], measured["ours"]["compared"]) == (6, 6)
    assert measured["flow-matching"]["count"] == 4
    assert measured["reference"]["emd_compared"] == 3


@pytest.mark.slow
def test_only_copies_have_a_recall_of_thin_parts_and_only_fields_have_metrics(measured):
    assert [name for name, row in measured.items() if row["thin_recall"] is not None] == ["plain-fit", "round-trip"]
    assert 0 < measured["round-trip"]["thin_recall"] <= 1
    assert [name for name, row in measured.items() if row["mmd"] is None] == ["meshgpt"]


@pytest.mark.slow
def test_training_shapes_fail_the_memorization_check(measured):
    assert measured["reference"]["memorized_share"] == 1
    assert measured["reference"]["nearest_train_ratio"] < 0.1


@pytest.mark.slow
def test_independent_and_quasi_random_samples_come_from_the_same_gpt_at_the_same_cost(measured):
    ours, independent = measured["ours"], measured["ours-independent"]
    assert ours["mmd"] != independent["mmd"]
    for key in ("gpt", "temperature", "top_p", *rows.BASELINE_COSTS):
        assert ours[key] == independent[key]
    assert ours["train_flops"] > 0
    assert measured["flow-matching"]["train_flops"] > 0


@pytest.mark.slow
def test_only_rows_with_other_settings_are_measured_again(compared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(compared / "two")
    names = []
    monkeypatch.setattr(comparison, "measure_row", lambda sets, source, picture: names.append(source.name) or {})
    monkeypatch.setattr(comparison, "write_page", lambda output: None)
    monkeypatch.setattr(comparison, "write_json", lambda path, value: None)
    run_main(monkeypatch, program.main, f"compare {OPTIONS}")
    assert names == []
    run_main(monkeypatch, program.main, f"compare {OPTIONS} --temperature 0.5")
    assert names == ["ours-independent", "ours"]
