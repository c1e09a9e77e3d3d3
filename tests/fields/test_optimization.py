"""The loss counts near errors, the learning rate warms up and falls, and a step moves every parameter group."""

import pytest
import torch

from weightgpt.fields.optimization import DEFAULT_TRUNCATION, cosine_rate, minimize, point_slices, truncated_loss


def test_the_rate_warms_up_to_one_and_ends_at_zero():
    rates = [cosine_rate(step, 400) for step in range(400)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0.99 < rates[peak] <= 1
    assert 0 < rates[-1] < 1e-3
    assert 0 < rates[0] < 0.1


@pytest.mark.parametrize(("total", "size"), [(100, 30), (30, 30), (20, 30)])
def test_slices_lie_within_the_points_and_have_the_largest_possible_size(total, size):
    for part in point_slices(total, size, 50, 0):
        assert 0 <= part.start < part.stop <= total
        assert part.stop - part.start == min(size, total)


def test_the_truncated_loss_ignores_the_size_of_large_distances():
    far, near = torch.tensor([[2.0, -3.0]]), torch.tensor([[0.1, -0.1]])
    assert truncated_loss(far, 2 * far).item() < 1e-6
    assert truncated_loss(near, 2 * near).item() > 0.1
    assert truncated_loss(near, near).item() == 0
    assert truncated_loss(far, -far).item() == pytest.approx(2)


def test_the_default_truncation_is_the_slope_of_the_loss_at_the_surface():
    small = torch.tensor([[1e-3]])
    assert truncated_loss(small, 0 * small).item() == pytest.approx(DEFAULT_TRUNCATION * 1e-3, rel=1e-3)


def test_squared_errors_weigh_few_large_errors_more_than_many_small_ones():
    zero = torch.zeros(1, 4)
    few, many = torch.tensor([[0.4, 0.0, 0.0, 0.0]]).atanh(), torch.full((1, 4), 0.1).atanh()
    for squared, expected in ((0.0, (0.1, 0.1)), (4.0, (0.1 + 4 * 0.04, 0.1 + 4 * 0.01))):
        for values, loss in zip((few, many), expected, strict=True):
            assert truncated_loss(values, zero, 1.0, squared).item() == pytest.approx(loss, rel=1e-5)


def test_steps_use_the_share_of_each_peak_rate():
    """Plain gradient descent on the sum, whose gradient is 1, moves each value by its current rate."""
    values = [torch.zeros(1, requires_grad=True) for _ in range(3)]
    groups = [{"params": [values[0]], "lr": 1.0}, {"params": [values[1]], "lr": 0.1}]
    optimizers = [torch.optim.SGD(groups), torch.optim.SGD([values[2]], lr=10.0)]
    for rate in (0.5, 1.0, 0.25):
        minimize(torch.stack(values).sum(), optimizers, rate)
    for value, peak in zip(values, (1.0, 0.1, 10.0), strict=True):
        assert value.item() == pytest.approx(-1.75 * peak)


def test_steps_are_those_of_a_loop_that_sets_the_rate_bit_for_bit():
    start, target = torch.randn(7, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 7)
    helper, by_hand = (start.clone().requires_grad_() for _ in range(2))
    optimizers = [torch.optim.Adam([value], lr=0.05, betas=(0.9, 0.95)) for value in (helper, by_hand)]
    for step in range(30):
        minimize((helper - target).square().sum(), optimizers[:1], cosine_rate(step, 30))
        optimizers[1].param_groups[0]["lr"] = 0.05 * cosine_rate(step, 30)
        optimizers[1].zero_grad()
        (by_hand - target).square().sum().backward()
        optimizers[1].step()
    assert torch.equal(helper, by_hand)


def test_long_gradients_are_scaled_to_the_largest_norm_and_short_ones_keep_their_bits():
    for max_norm, moved in ((1.0, 1.0), (5.0, 5.0), (100.0, 5.0), (None, 5.0)):
        value = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.SGD([value], lr=1.0)
        norm = minimize((value * torch.tensor([3.0, 4.0])).sum(), [optimizer], 1.0, max_norm=max_norm)
        assert value.norm().item() == pytest.approx(moved, rel=1e-5)
        assert norm == (None if max_norm is None else pytest.approx(5.0))
        if moved == 5.0 and max_norm != 5.0:
            assert value.tolist() == [-3.0, -4.0]
