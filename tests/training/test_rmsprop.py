import math

import pytest

torch = pytest.importorskip("torch")

from model_src.training.rmsprop import CentredRMSprop  # noqa: E402


def test_three_steps_by_hand():
    weight = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = CentredRMSprop([weight], lr=0.01, weight_decay=0.5)
    w, squares, mean, step = 2.0, 0.0, 0.0, 0.0
    for gradient in (1.0, -3.0, 0.5):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        g = gradient + 0.5 * w
        squares, mean = 0.9 * squares + 0.1 * g * g, 0.9 * mean + 0.1 * g
        step = 0.9 * step + 0.01 * g / math.sqrt(squares - mean * mean + 1e-7)
        w -= step
        assert weight.item() == pytest.approx(w, rel=1e-12)


def test_a_gradient_that_never_changes_keeps_the_weights_finite():
    weight = torch.nn.Parameter(torch.zeros(1000))
    optimiser = CentredRMSprop([weight])
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for _ in range(300):
        weight.grad = gradient.clone()
        optimiser.step()
    assert weight.isfinite().all()


def test_weights_without_gradient_stay():
    used, unused = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimiser = CentredRMSprop([used, unused])
    used.grad = torch.ones(1)
    optimiser.step()
    assert used.item() < 1
    assert unused.item() == 1
