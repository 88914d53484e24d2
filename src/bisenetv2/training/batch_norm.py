"""Batch normalisation with the statistics of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """Returns the model with BN over all processes; PyTorch's own serves GPUs alone."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # it holds nothing else
    return model


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BN whose statistics in training are those of the batches of all processes together.

    All processes have batches of one size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C, H, W to the same shape."""
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        wide = x.float()  # sums over half-precision values would lose them
        mean = _total(wide.sum((0, 2, 3))) / count  # C
        centred = wide - mean[:, None, None]
        variance = _total(centred.square().sum((0, 2, 3))) / count  # C
        self._follow(mean.detach(), variance.detach() * count / max(1, count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()  # C
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics towards those of a step."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            share = self.momentum
            if share is None:  # all batches count alike
                share = 1 / self.num_batches_tracked.item()
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance, share)


class _Total(torch.autograd.Function):
    """Sum over the processes, whose gradient is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.contiguous().clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


def _total(values: Tensor) -> Tensor:
    total: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return total
