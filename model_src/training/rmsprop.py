"""Centred RMSprop as TensorFlow computes it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class CentredRMSprop(torch.optim.Optimizer):
    """RMSprop that divides by the standard deviation of the gradient.

    v <- rho v + (1 - rho) g^2;  m <- rho m + (1 - rho) g;  b <- momentum b + lr g / sqrt(v - m^2 + eps);  w <- w - b.

    PyTorch's own has eps outside the root, and rounding can make v - m^2 negative: weights whose gradient does not
    change, such as those of a dead unit under weight decay, become NaN. TensorFlow's form stays finite.

    Args:
        params: Tensors, or groups of them with their own options.
        lr: Learning rate.
        rho: Share of the old averages that is kept.
        momentum: Share of the last step that is repeated.
        eps: Keeps the root away from zero.
        weight_decay: This times the weight is added to its gradient (twice the factor of an L2 penalty).
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        rho: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ):
        options = {"lr": lr, "rho": rho, "momentum": momentum, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # it calls no closure
        """Change every parameter that has a gradient; `closure` is not used."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._step_group(group, weights)

    def _step_group(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {key: torch.zeros_like(weight) for key in ("squares", "means", "steps")}
        squares, means, steps = (
            [self.state[weight][key] for weight in weights] for key in ("squares", "means", "steps")
        )
        gradients: list[Tensor] | tuple[Tensor, ...] = [weight.grad for weight in weights if weight.grad is not None]
        if group["weight_decay"]:
            gradients = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - group["rho"])
        torch._foreach_lerp_(means, gradients, 1 - group["rho"])
        variances = torch._foreach_sub(squares, torch._foreach_mul(means, means))
        torch._foreach_clamp_min_(variances, 0.0)
        torch._foreach_add_(variances, group["eps"])
        torch._foreach_sqrt_(variances)
        torch._foreach_mul_(steps, group["momentum"])
        torch._foreach_addcdiv_(steps, gradients, variances, group["lr"])
        torch._foreach_sub_(weights, steps)
