"""Where the rows of a comparison come from: codes, noise, baselines, and the number of sets."""

import dataclasses
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from tests.fakes import sphere_shape
from training.compare import noise, rows
from training.compare.config import CompareConfig
from training.compare.reference_sets import ReferenceSets, load_reference_sets
from training.presets import PipelineConfig
from weightgpt.errors import InputError
from weightgpt.io import write_json

COSTS = dict.fromkeys(rows.BASELINE_COSTS, 7)


def reference_sets(**values) -> ReferenceSets:
    """Reference sets with only some of their parts."""
    return ReferenceSets(**{**dict.fromkeys(field.name for field in fields(ReferenceSets)), **values})


def test_independent_codes_keep_the_class_and_the_position():
    ids = torch.tensor([[0, 10, 20], [0, 11, 21], [1, 12, 22], [1, 13, 23]])
    labels = ["a", "a", "b", "b"]
    codes = rows.draw_independent_codes(ids, labels, ["a", "b"] * 100, 0)
    for row in codes.tolist():
        same_class = ids[:2] if row[0] == 0 else ids[2:]
        assert all(value in same_class[:, position] for position, value in enumerate(row))
    mixed = {tuple(row) for row in codes.tolist()}
    assert {(0, 10, 21), (0, 11, 20), (1, 12, 23), (1, 13, 22)} <= mixed
    assert codes[:, 0].tolist() == [0, 1] * 100
    assert torch.equal(codes, rows.draw_independent_codes(ids, labels, ["a", "b"] * 100, 0))


def test_noise_is_in_standard_deviations_of_each_number():
    values = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 10.0])
    difference = noise.add_noise(values, 0.5, 0) - values
    assert difference.std(0).tolist() == pytest.approx([0.5, 5.0], rel=0.1)
    assert torch.equal(noise.add_noise(values, 0.0, 0), values)


@pytest.mark.parametrize(("share", "ratio", "passes"), [(0.05, 1.0, True), (0.06, 1.2, False), (0.0, 0.99, False)])
def test_the_memorization_check_needs_both_the_share_and_the_distance(share: float, ratio: float, passes: bool):
    assert noise.passes_memorization_check({"memorized_share": share, "nearest_train_ratio": ratio}) is passes


def test_the_best_amount_of_noise_has_the_lowest_1_nna_among_those_that_pass_the_memorization_check():
    def trial(amount: float, one_nna: float | None, ratio: float) -> dict:
        return {"amount": amount, "one_nna": one_nna, "memorized_share": 0.0, "nearest_train_ratio": ratio}

    sweep = [trial(0.1, 0.4, 0.5), trial(0.2, 0.6, 1.1), trial(0.4, 0.55, 1.2), trial(0.8, 0.9, 2.0)]
    assert noise.best_amount([*sweep, trial(1.0, None, 3.0)]) == 0.4
    assert noise.best_amount(sweep[:1] * 2 + [trial(1.5, 0.9, 0.9)]) == 1.5


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="has no model; give the folder of a finished run"):
        load_reference_sets(CompareConfig(run=tmp_path, output=tmp_path, set_size=4))


@pytest.mark.parametrize(("set_size", "num_sets", "advice"), [(1, 1, "give 2 or more"), (4, 0, "give 1 or more")])
def test_sets_that_cannot_be_compared_are_refused(set_size: int, num_sets: int, advice: str):
    with pytest.raises(InputError, match=advice):
        CompareConfig(run=Path(), output=Path(), set_size=set_size, num_sets=num_sets)


@pytest.mark.parametrize(
    ("corpus", "num_sets", "num_training"),
    [("six-families", 1, 3), ("six-families", 2, 6), ("six-families", 5, 6), ("meshes", 2, 3), ("meshes", 5, 3)],
)
def test_rows_of_training_shapes_have_no_more_sets_than_there_are_shapes(corpus, num_sets, num_training):
    config = dataclasses.replace(PipelineConfig(), corpus=corpus, augmentations=1)
    options = CompareConfig(run=Path(), output=Path(), num_sets=num_sets)
    sets = reference_sets(config=config, options=options, train=[sphere_shape(0.5)] * 8, set_size=3)
    assert (sets.num_training, sets.num_samples) == (num_training, 3 * num_sets)


def test_the_temperature_of_the_options_comes_before_that_of_the_run():
    config = dataclasses.replace(PipelineConfig(), temperature=1.1)
    options = CompareConfig(run=Path(), output=Path())
    assert reference_sets(config=config, options=options).temperature == 1.1
    assert reference_sets(config=config, options=dataclasses.replace(options, temperature=0.8)).temperature == 0.8


def test_trained_baselines_stand_between_the_reference_rows_and_ours(tmp_path: Path):
    for name in ("weight-diffusion", "meshgpt"):
        write_json(tmp_path / name / "cost.json", COSTS)
    (tmp_path / "unfinished").mkdir()
    names = [source.name for source in rows.row_sources(tmp_path)]
    assert names[-5:] == ["latent-noise", "meshgpt", "weight-diffusion", "ours-independent", "ours"]
    assert [source.name for source in rows.row_sources(None)] == list(rows.ROWS)


def test_a_baseline_without_fields_has_its_cost_and_its_loss_curves(tmp_path: Path):
    histories = {"autoencoder": [[1, 5.0], [2, 4.0]], "transformer": []}
    write_json(tmp_path / "cost.json", {**COSTS, "num_samples": 8, "watertight": 2, "histories": histories})
    source, sets = rows.BaselineRow("meshgpt", tmp_path), reference_sets()
    samples = source.samples(sets)
    assert samples.shapes is None
    assert samples.details == {"count": 8, "compared": 0, "open_share": 0.75, "loss_curves": histories}
    assert source.cost(sets) == COSTS


def test_a_baseline_with_neither_fields_nor_loss_curves_is_refused(tmp_path: Path):
    write_json(tmp_path / "cost.json", COSTS)
    with pytest.raises(InputError, match="neither fields nor loss curves; train the baseline again"):
        rows.BaselineRow("gan", tmp_path).samples(reference_sets())


@pytest.mark.parametrize(("num_plain_fits", "train_flops"), [(0, 107), (64, 7)])
def test_a_baseline_that_learned_our_fields_pays_for_our_tokenizer(tmp_path, monkeypatch, num_plain_fits, train_flops):
    monkeypatch.setattr(rows, "tokenizer_flops", lambda run, model: 100)
    write_json(tmp_path / "cost.json", {**COSTS, "num_plain_fits": num_plain_fits})
    (tmp_path / "fields.safetensors").touch()
    sets = reference_sets(options=CompareConfig(run=Path(), output=Path()))
    assert rows.BaselineRow("flow-matching", tmp_path).cost(sets) == {**COSTS, "train_flops": train_flops}
