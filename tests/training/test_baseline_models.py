"""Every rival learns two kinds of fields, keeps its budget, repeats itself, and tells what it cannot do."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.fakes import generator, tiny_config, tiny_tokenizer
from tokenization.presets import TokenizerConfig
from training.baselines import __main__ as cli_main
from training.baselines import denoiser, nef_gpt, regression
from training.baselines.common import FieldSets, OptimizerConfig, count_flops, train_to_budget
from training.baselines.registry import RIVALS, rival
from training.data.corpus import build_corpus, save_corpus
from training.presets import PipelineConfig
from training.run import Run
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig
from weightgpt.fields.fitting import FitConfig
from weightgpt.fields.storage import load_fields
from weightgpt.io import write_tensors

CONFIG = FieldConfig(in_features=2, hidden=(4,), num_frequencies=0)
P = CONFIG.parameters


def clusters(seed: int = 0) -> tuple[FieldSets, torch.Tensor]:
    """64 fields close to either of two centers (2, P), each center a class of its own."""
    shared_init, centers = torch.randn(P, generator=generator(1)), torch.randn(2, P, generator=generator(2))
    which = torch.arange(64) % 2
    train = shared_init + centers[which] + 0.02 * torch.randn(64, P, generator=generator(seed))
    return FieldSets(CONFIG, train, train[:8], tuple("ab"[i] for i in which), shared_init), shared_init + centers


SETS, CENTERS = clusters()
FAST = OptimizerConfig(batch=16, learning_rate=3e-3)
SMALL = {"layers": 2, "heads": 2, "width": 32}
SMOOTH = replace(FAST, average=0.02)
TRAIN = {
    "regression-transformer": (regression.train, regression.RegressionConfig(**SMALL, descent=FAST), 2e10),
    "weight-diffusion": (denoiser.train_diffusion, denoiser.DenoiserConfig(**SMALL, steps=100, descent=SMOOTH), 6e9),
    "flow-matching": (denoiser.train_flow, denoiser.DenoiserConfig(**SMALL, steps=25, descent=SMOOTH), 6e9),
    "nef-gpt": (nef_gpt.train, nef_gpt.NefGptConfig(codes=16, **SMALL, descent=FAST), 3e10),
}


def trained(name: str, share: float = 1.0):
    train, config, budget = TRAIN[name]
    return train(SETS, budget * share, 0, False, config)


def test_the_registry_knows_every_rival():
    assert {name: train for name, (train, _, _) in TRAIN.items()} == RIVALS


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAIN)
def test_samples_land_near_one_of_two_clusters_and_both_are_found(name):
    found = trained(name)
    fields = found.sample(24, seed=3)
    distance = (fields.flat[:, None] - CENTERS).square().mean(-1).sqrt()
    apart = (CENTERS[0] - CENTERS[1]).square().mean().sqrt()
    assert distance.amin(1).median() < 0.15 * apart
    assert set(distance.argmin(1).tolist()) == {0, 1}
    labels = found.label(24, 3)
    assert labels == ["none"] * 24 or labels == ["ab"[i] for i in distance.argmin(1)]
    assert found.history[-1][1] < 0.5 * found.history[0][1]
    assert found.history[-1][0] == found.steps


@pytest.mark.parametrize("name", TRAIN)
def test_budgets_are_kept_and_spent(name):
    budget = 0.1 * TRAIN[name][2]
    found = trained(name, 0.1)
    assert 0.8 * budget < found.train_flops <= budget
    assert 0 < found.sample_flops < budget
    assert found.bytes >= 4 * found.parameters > 0


@pytest.mark.parametrize("name", TRAIN)
def test_a_seed_repeats_the_training_and_the_samples(name):
    one, two = trained(name, 0.05), trained(name, 0.05)
    assert one.history == two.history
    assert torch.equal(one.sample(3, 7).flat, two.sample(3, 7).flat)
    assert not torch.equal(one.sample(3, 7).flat, one.sample(3, 8).flat)


def test_a_linear_layer_is_counted_by_hand():
    layer, x = nn.Linear(8, 4), torch.randn(5, 8)
    assert count_flops(lambda: layer(x)) == 2 * 5 * 8 * 4
    q = torch.randn(1, 2, 6, 8)
    assert count_flops(lambda: nn.functional.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 2 * 6 * 6 * 8)


def test_the_loop_descends_in_shuffled_passes():
    model, seen = nn.Linear(1, 1), []

    def loss(rows, noise):
        seen.append(rows)
        return model(rows[:, None].float()).square().mean()

    cost = train_to_budget(model, loss, 8, OptimizerConfig(batch=4), 1200, 0, False)
    step = 2 * 4 + 2 * 4  # forward, and the gradient of the weight
    assert (cost.steps, cost.flops) == (1200 // step, 1200 // step * step)
    assert sorted(torch.cat(seen[1:3]).tolist()) == list(range(8))


def test_free_running_is_teacher_forcing_on_its_own_words():
    torch.manual_seed(0)
    model = regression.RegressionTransformer(20, regression.RegressionConfig(**SMALL)).eval()
    weights = regression.free_running(model, torch.randn(3, 2), 20)
    assert weights.shape == (3, 20)
    again = regression.teacher_forced(model, weights)
    torch.testing.assert_close(again[:, 1:], weights[:, 2:], atol=2e-2, rtol=2e-2)  # of bfloat16
    with pytest.raises(InputError, match="cannot start a sequence of 21"):
        regression.free_running(model, torch.randn(3, 2), 21)


def test_scalars_are_means_of_what_is_nearest_to_them():
    values = torch.randn(5000, generator=generator(0))
    centers = nef_gpt.scalars(values, 8, 0)
    codes = nef_gpt.quantize(values, centers)
    assert torch.equal(codes, (values[:, None] - centers).abs().argmin(1))
    means = torch.stack([values[codes == i].mean() for i in range(8)])
    torch.testing.assert_close(means, centers, atol=0.05, rtol=0)


def test_standardized_weights_come_back_and_constant_ones_stay():
    train = SETS.train.clone()
    train[:, 5] = 0.25  # such as the weights of a dead neuron
    model = denoiser.Denoiser(replace(SETS, train=train), denoiser.DenoiserConfig(**SMALL))
    standard = model.standardize(train)
    torch.testing.assert_close(model.restore(standard), train)
    assert torch.equal(standard[:, 5], torch.zeros(64))
    torch.testing.assert_close(standard.std(0, unbiased=False)[6:], torch.ones(P - 6))


@torch.no_grad()
def test_a_pass_costs_as_much_for_sampling_as_for_learning():
    model = denoiser.Denoiser(SETS, denoiser.DenoiserConfig(**SMALL))
    one = (SETS.train[:1], torch.zeros(1), torch.zeros(1, dtype=torch.long))
    learning = count_flops(lambda: model(*one))
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim == 2]
    assert learning >= 2 * len(model.sizes) * sum(weight.numel() for weight in matrices)
    assert count_flops(lambda: model.eval()(*one)) == learning  # torch fuses whole layers here, and counts none of them
    assert torch.backends.mha.get_fastpath_enabled()


def test_bad_input_is_told_in_one_sentence():
    with pytest.raises(InputError, match="shape"):
        replace(SETS, train=SETS.train[:, :5])
    with pytest.raises(InputError, match="labels"):
        replace(SETS, labels=("a",))
    with pytest.raises(InputError, match="NaN"):
        replace(SETS, validation=SETS.validation * float("nan"))
    with pytest.raises(InputError, match="budget"):
        trained("flow-matching", 1e-9)
    with pytest.raises(InputError, match="ask for 1"):
        trained("flow-matching", 0.01).sample(0, 0)
    with pytest.raises(InputError, match="no rival 'gan'"):
        rival("gan")
    with pytest.raises(InputError, match="learns meshes"):
        rival("meshgpt")


def test_the_program_trains_once_and_refuses_other_settings(tmp_path, monkeypatch):
    run, output = tmp_path / "run", tmp_path / "flow"
    with pytest.raises(InputError, match="no corpus"):
        cli_main.field_sets(run, 0)
    splits, ids, none = ["train"] * 60 + ["validation"] * 4, torch.zeros(64, 5), [None] * 64
    save_corpus(
        build_corpus([f"s{i}" for i in range(64)], list(SETS.labels), splits, SETS.train, ids, none, none),
        run / "corpus",
    )
    Run(PipelineConfig(tokenizer=TokenizerConfig(field=CONFIG)), run).write_config()
    write_tensors(run / "fits" / "shared_init.safetensors", {"flat": SETS.shared_init})
    sets = cli_main.field_sets(run, 0)
    assert torch.equal(sets.train, SETS.train[:60])
    assert len(sets.validation) == 4
    cli_main.compare(run, "flow-matching", 0, 2e11, 6, 0, output, False)
    fields, metadata = load_fields(output / "fields.safetensors")
    assert len(fields) == 6
    assert set(metadata.labels) <= {"a", "b"}
    cost = json.loads((output / "cost.json").read_text())
    assert cost["train_flops"] <= 2e11
    monkeypatch.setitem(RIVALS, "flow-matching", None)  # would fail if it were trained again
    cli_main.compare(run, "flow-matching", 0, 2e11, 6, 0, output, False)
    with pytest.raises(InputError, match="seed differ"):
        cli_main.compare(run, "flow-matching", 0, 2e11, 6, 1, output, False)


def test_further_shapes_are_learnt_from_too_as_their_tokens_decode(tmp_path):
    tokenizer, labels = tiny_tokenizer(), ["chair", "table", "chair"]
    run, none = tmp_path / "run", [None] * 3
    codes = torch.randint(8, (3, 3, 2), generator=generator(0))
    ids, fields = tokenizer.vocabulary.ids(codes, labels), tokenizer.quantizer.decode(codes).flat
    tokenizer.quantizer.save_pretrained(run / "codebook")
    names, splits = ["a", "b", "c"], ["train", "train", "validation"]
    save_corpus(build_corpus(names, labels, splits, fields, ids, none, none), run / "corpus")
    Run(PipelineConfig(tokenizer=TokenizerConfig(field=tiny_config())), run).write_config()
    write_tensors(run / "fits" / "shared_init.safetensors", {"flat": fields[0]})
    assert torch.equal(cli_main.field_sets(run, 0).train, fields[:2])
    write_tensors(run / "extra_shapes.safetensors", {"input_ids": ids.flip(0).int(), "probe_sdf": torch.zeros(3, 8)})
    sets = cli_main.field_sets(run, 0)
    torch.testing.assert_close(sets.train, torch.cat([fields[:2], fields.flip(0)]))
    assert sets.labels == ("chair", "table", "chair", "table", "chair")


def test_plain_fits_are_made_of_the_first_training_shapes(tmp_path):
    splits, ids, none = ["train"] * 60 + ["validation"] * 4, torch.zeros(64, 5), [None] * 64
    save_corpus(
        build_corpus([f"s{i}" for i in range(64)], list(SETS.labels), splits, SETS.train, ids, none, none),
        tmp_path / "corpus",
    )
    tokenizer = TokenizerConfig(field=CONFIG, fit=FitConfig(steps=20, points_per_step=16))
    Run(PipelineConfig(tokenizer=tokenizer), tmp_path).write_config()
    write_tensors(tmp_path / "fits" / "shared_init.safetensors", {"flat": SETS.shared_init})
    points = torch.rand(64, CONFIG.in_features) * 2 - 1
    found = {"points": points, "train": points.norm(dim=1).expand(60, 64).half() - 0.5}
    write_tensors(tmp_path / "sdf_samples.safetensors", found | {"validation": found["train"][:4].float()})
    sets = cli_main.field_sets(tmp_path, 8)
    assert (len(sets.train), len(sets.validation)) == (8, 4)
    assert sets.labels == SETS.labels[:8]
    assert not torch.equal(sets.train, SETS.train[:8])
    assert torch.equal(cli_main.field_sets(tmp_path, 8).train, sets.train)
