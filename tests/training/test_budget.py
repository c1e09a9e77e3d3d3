"""Training keeps to its budget of operations, and operations are counted as by hand."""

import pytest
import torch
from torch import nn

from training.baselines.budget import OptimizerConfig, count_flops, shuffled_rows, train_steps, train_to_budget
from weightgpt.errors import InputError


def test_a_linear_layer_and_attention_are_counted_as_by_hand():
    layer, x = nn.Linear(8, 4), torch.randn(5, 8)
    assert count_flops(lambda: layer(x)) == 2 * 5 * 8 * 4
    q = torch.randn(1, 2, 6, 8)
    assert count_flops(lambda: nn.functional.scaled_dot_product_attention(q, q, q)) == 2 * (2 * 2 * 6 * 6 * 8)


def test_counting_leaves_the_fused_layers_of_torch_switched_on():
    with pytest.raises(ZeroDivisionError):
        count_flops(lambda: 1 / 0)
    assert torch.backends.mha.get_fastpath_enabled()


def test_training_does_as_many_steps_as_the_budget_pays_for():
    model, batches = nn.Linear(1, 1), []

    def loss(rows, noise):
        batches.append(rows)
        return model(rows[:, None].float()).square().mean()

    run = train_to_budget(model, loss, 8, OptimizerConfig(batch_size=4), 1200, 0, False)
    step_flops = 2 * 4 + 2 * 4  # forward, and the gradient of the weight
    assert (run.steps, run.flops) == (1200 // step_flops, 1200 // step_flops * step_flops)
    assert len(batches) == 1 + run.steps  # the first one is the step that is counted
    assert not model.training


def test_a_budget_below_one_step_is_refused():
    model = nn.Linear(1, 1)
    with pytest.raises(InputError, match="one step costs 16 operations, the budget is 15; give a larger budget"):
        train_to_budget(
            model, lambda rows, noise: model(rows[:, None].float()).mean(), 4, OptimizerConfig(), 15, 0, False
        )


def test_every_pass_over_the_rows_sees_each_row_once_in_another_order():
    rows = shuffled_rows(8, 4, torch.Generator().manual_seed(0))
    passes = [torch.cat([next(rows), next(rows)]).tolist() for _ in range(3)]
    assert all(sorted(one) == list(range(8)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_the_learning_rate_rises_for_three_percent_of_the_steps_and_falls_to_zero(monkeypatch: pytest.MonkeyPatch):
    model, rates = nn.Linear(1, 1), []
    step = torch.optim.AdamW.step

    def record(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    train_steps(model, lambda: model(torch.ones(1, 1)).sum(), 200, 1.0, OptimizerConfig(learning_rate=0.5))
    assert rates[:6] == pytest.approx([0.5 * (i + 0.5) / 6 for i in range(6)])
    assert rates.index(max(rates)) == 6
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[-1] < 1e-3
    assert (rates[102] + rates[103]) / 2 == pytest.approx(0.25, abs=1e-4)  # the middle of the cosine


def test_training_stops_at_a_loss_that_is_not_finite():
    model, values = nn.Linear(1, 1), iter([1.0, 1.0, float("nan"), 1.0])
    before = [parameter.clone() for parameter in model.parameters()]
    run = train_steps(model, lambda: model(torch.ones(1, 1)).sum() * next(values), 4, 10.0, OptimizerConfig())
    assert (run.steps, run.flops) == (2, 20.0)
    assert [step for step, _ in run.history] == [1, 2]
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not torch.equal(before[0], next(model.parameters()))


def test_the_moving_average_lags_behind_the_last_weights():
    def final_weight(ema_fraction: float) -> float:
        torch.manual_seed(0)
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        options = OptimizerConfig(batch_size=1, learning_rate=0.1, weight_decay=0.0, ema_fraction=ema_fraction)
        train_to_budget(model, lambda rows, noise: -model(torch.ones(1, 1)).sum(), 1, options, 400, 0, False)
        return model.weight.item()

    assert 0 < final_weight(0.5) < 0.9 * final_weight(0.0)
