"""Every baseline learns two kinds of fields, keeps to its budget and repeats itself."""

from dataclasses import replace

import pytest
import torch

from tests.fakes import generator
from training.baselines import denoiser, nef_gpt, regression
from training.baselines.budget import OptimizerConfig, count_flops
from training.baselines.field_sets import FieldSets
from training.baselines.registry import BASELINES, find_baseline
from weightgpt.errors import InputError
from weightgpt.fields.field import FieldConfig

CONFIG = FieldConfig(in_features=2, hidden=(4,), num_frequencies=0)
P = CONFIG.parameters


def clusters(seed: int = 0) -> tuple[FieldSets, torch.Tensor]:
    """64 fields close to either of two centers (2, P), with one class for each center."""
    shared_init, centers = torch.randn(P, generator=generator(1)), torch.randn(2, P, generator=generator(2))
    which = torch.arange(64) % 2
    train = shared_init + centers[which] + 0.02 * torch.randn(64, P, generator=generator(seed))
    return FieldSets(CONFIG, train, train[:8], tuple("ab"[i] for i in which), shared_init), shared_init + centers


SETS, CENTERS = clusters()
FAST = OptimizerConfig(batch_size=16, learning_rate=3e-3)
SMALL = {"layers": 2, "heads": 2, "width": 32}
SMOOTH = replace(FAST, ema_fraction=0.02)
TRAIN = {
    "regression-transformer": (regression.train_regression, regression.RegressionConfig(**SMALL, optimizer=FAST), 2e10),
    "weight-diffusion": (denoiser.train_diffusion, denoiser.DenoiserConfig(**SMALL, steps=100, optimizer=SMOOTH), 6e9),
    "flow-matching": (denoiser.train_flow, denoiser.DenoiserConfig(**SMALL, steps=25, optimizer=SMOOTH), 6e9),
    "nef-gpt": (nef_gpt.train_nef_gpt, nef_gpt.NefGptConfig(codebook_size=16, **SMALL, optimizer=FAST), 3e10),
}


def trained(name: str, share: float = 1.0):
    train, config, budget = TRAIN[name]
    return train(SETS, budget * share, 0, False, config)


def test_these_tests_cover_every_baseline_of_the_registry():
    assert {name: train for name, (train, _, _) in TRAIN.items()} == BASELINES
    assert all(find_baseline(name) is train for name, train in BASELINES.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAIN)
def test_samples_lie_near_both_clusters_and_have_the_class_of_their_cluster(name):
    baseline = trained(name)
    fields = baseline.sample(24, seed=3)
    distance = (fields.flat[:, None] - CENTERS).square().mean(-1).sqrt()
    apart = (CENTERS[0] - CENTERS[1]).square().mean().sqrt()
    assert distance.amin(1).median() < 0.15 * apart
    assert set(distance.argmin(1).tolist()) == {0, 1}
    labels = baseline.draw_labels(24, 3)
    without_classes = name in ("regression-transformer", "nef-gpt")
    assert labels == (["none"] * 24 if without_classes else ["ab"[i] for i in distance.argmin(1)])
    history = baseline.training.history
    assert history[-1][1] < 0.5 * history[0][1]
    assert history[-1][0] == baseline.training.steps


@pytest.mark.parametrize("name", TRAIN)
def test_a_baseline_spends_its_budget_and_no_more(name):
    budget = 0.1 * TRAIN[name][2]
    baseline = trained(name, 0.1)
    assert 0.8 * budget < baseline.training.flops <= budget
    assert 0 < baseline.sample_flops < budget
    assert baseline.size.bytes >= 4 * baseline.size.parameters > 0


@pytest.mark.parametrize("name", TRAIN)
def test_a_seed_repeats_the_training_and_the_samples(name):
    one, two = trained(name, 0.05), trained(name, 0.05)
    assert one.training.history == two.training.history
    assert torch.equal(one.sample(3, 7).flat, two.sample(3, 7).flat)
    assert not torch.equal(one.sample(3, 7).flat, one.sample(3, 8).flat)


def test_the_size_of_a_baseline_counts_all_that_sampling_needs():
    train, config, budget = TRAIN["nef-gpt"]
    baseline = train(SETS, 0.01 * budget, 0, False, config)
    model = nef_gpt._new_model(P, 16, config, 0)
    learned = sum(parameter.numel() for parameter in model.parameters()) + 16 + P  # the scalars, the shared field
    assert baseline.size.parameters == learned
    first_weights = 4 * len(SETS.train)  # stored by the regression transformer, but not learned
    regressor = trained("regression-transformer", 0.01)
    bare = regression.RegressionTransformer(P, TRAIN["regression-transformer"][1])
    assert regressor.size.parameters == sum(parameter.numel() for parameter in bare.parameters())
    buffers = sum(4 * tensor.numel() for tensor in bare.state_dict().values())
    assert regressor.size.bytes == buffers + first_weights


def test_a_free_run_equals_teacher_forcing_on_its_own_output():
    torch.manual_seed(0)
    model = regression.RegressionTransformer(20, regression.RegressionConfig(**SMALL)).eval()
    weights = regression.free_running(model, torch.randn(3, 2), 20)
    assert weights.shape == (3, 20)
    again = regression.teacher_forced(model, weights)
    torch.testing.assert_close(again[:, 1:], weights[:, 2:], atol=2e-2, rtol=2e-2)  # of bfloat16
    with pytest.raises(InputError, match="cannot start a sequence of 21"):
        regression.free_running(model, torch.randn(3, 2), 21)


def test_each_scalar_is_the_mean_of_the_values_that_are_nearest_to_it():
    values = torch.randn(5000, generator=generator(0))
    centers = nef_gpt.scalar_codebook(values, 8, 0)
    codes = nef_gpt.quantize(values, centers)
    assert torch.equal(codes, (values[:, None] - centers).abs().argmin(1))
    means = torch.stack([values[codes == i].mean() for i in range(8)])
    torch.testing.assert_close(means, centers, atol=0.05, rtol=0)


def test_restoring_undoes_standardizing_and_constant_weights_stay():
    train = SETS.train.clone()
    train[:, 5] = 0.25  # such as the weights of a dead neuron
    model = denoiser.Denoiser(replace(SETS, train=train), denoiser.DenoiserConfig(**SMALL))
    standard = model.standardize(train)
    torch.testing.assert_close(model.restore(standard), train)
    assert torch.equal(standard[:, 5], torch.zeros(64))
    torch.testing.assert_close(standard.std(0, unbiased=False)[6:], torch.ones(P - 6))


@torch.no_grad()
def test_a_forward_pass_counts_the_same_in_training_and_in_evaluation_mode():
    model = denoiser.Denoiser(SETS, denoiser.DenoiserConfig(**SMALL))
    inputs = (SETS.train[:1], torch.zeros(1), torch.zeros(1, dtype=torch.long))
    flops = count_flops(lambda: model(*inputs))
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim == 2]
    assert flops >= 2 * len(model.sizes) * sum(weight.numel() for weight in matrices)
    # In evaluation mode torch fuses whole layers, and its counter would count none of them.
    assert count_flops(lambda: model.eval()(*inputs)) == flops


def test_bad_input_is_refused_with_one_sentence():
    with pytest.raises(InputError, match="shape"):
        replace(SETS, train=SETS.train[:, :5])
    with pytest.raises(InputError, match="64 training fields have 1 labels; give one for each"):
        replace(SETS, labels=("a",))
    with pytest.raises(InputError, match="NaN"):
        replace(SETS, validation=SETS.validation * float("nan"))
    with pytest.raises(InputError, match="budget"):
        trained("flow-matching", 1e-9)
    with pytest.raises(InputError, match="give 1 or more"):
        trained("flow-matching", 0.01).sample(0, 0)
    with pytest.raises(InputError, match="no baseline 'gan'; choose one of regression-transformer"):
        find_baseline("gan")
    with pytest.raises(InputError, match="learns meshes"):
        find_baseline("meshgpt")
