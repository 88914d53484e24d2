"""Faster weight gradients of 3×3 convolutions on CPUs with AVX2 and no more.

In FP32 and the layout channels_last, which is the faster one for everything else, oneDNN has no
AVX2 kernel for this gradient and falls back to a reference loop; for contiguous tensors it has one.
`benchmarks/training_speed.py` measures what the way round it is worth.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gains_by_contiguous_gradients() -> bool:
    """Tells whether this CPU lacks the kernel.

    By its kind, not by a measurement, so that runs repeat to the bit.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def take_contiguous_gradients(model: nn.Module) -> None:
    """Changes the kind of a model's dense 3×3 convolutions; all else of them stays.

    They have zero padding and dilation 1.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and module.kernel_size == (3, 3) and module.groups == 1:
            module.__class__ = ContiguousGradientConv2d


class ContiguousGradientConv2d(nn.Conv2d):
    """A convolution whose weight gradient is computed on contiguous copies, in training alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps B, C_in, H, W to B, C_out, H', W', as `nn.Conv2d` does."""
        if not (self.training and self.weight.requires_grad):
            return super().forward(x)
        out: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, self.stride, self.padding
        )
        return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias_sizes = None if bias is None else [weight.shape[0]]
        ctx.geometry = (list(stride), list(padding), [1, 1], False, [0, 0], 1)
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients  # B, C_out, H', W'
        x, weight = ctx.saved_tensors
        wants_input, has_bias = ctx.needs_input_grad[0], ctx.bias_sizes is not None
        backward = torch.ops.aten.convolution_backward
        of_input = None
        if wants_input:
            mask = [True, False, False]
            of_input = backward(gradient, x, weight, ctx.bias_sizes, *ctx.geometry, mask)[0]
        _, of_weight, of_bias = backward(
            gradient.contiguous(), x.contiguous(), weight.contiguous(), ctx.bias_sizes,
            *ctx.geometry, [False, True, has_bias],
        )  # fmt: skip
        return of_input, of_weight, of_bias, None, None
