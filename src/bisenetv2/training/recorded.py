"""A step's forward and backward pass as a CUDA graph.

The launches of a network this small cost a GPU more time than its arithmetic. They are recorded
once for each kind of batch and replayed as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Pass = Callable[[Tensor, Tensor, int], Tensor]
"""From images, masks and the number of the first sample to a loss, gradients left behind."""

_WARM_UP = 3
"""Passes before the recorded one: libraries choose their kernels and allocate in the first."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    images: Tensor
    masks: Tensor
    loss: Tensor
    gradients: list[Tensor | None]


class RecordedPass:
    """Replays what a pass launched when it first saw such a batch.

    A pass must ask the device nothing, and its shapes must follow from those of its inputs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = list(model.parameters())
        self._buffers = list(model.buffers())
        self._shape = torch.Size()
        self._recordings: dict[int, _Recording] = {}

    def __call__(self, compute: Pass, images: Tensor, masks: Tensor, first: int) -> Tensor:
        """Runs a pass; the parameters have its gradients afterwards.

        Args:
            compute: The pass, the same one at every call.
            images: `uint8` B, H, W, 3 on the GPU.
            masks: `uint8` B, H, W there.
            first: Number of the first sample; the loss asks only whether it is odd.

        Returns:
            The loss, a scalar of the caller's own.
        """
        if images.shape != self._shape:  # stages of a run do not come back, and a recording
            self._recordings.clear()  # holds all the memory of its pass
            self._shape = images.shape
        with torch.cuda.device(images.device):
            if first % 2 not in self._recordings:
                self._recordings[first % 2] = self._record(compute, images, masks, first)
            recording = self._recordings[first % 2]
            recording.images.copy_(images)
            recording.masks.copy_(masks)
            recording.graph.replay()
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.loss.clone()

    def _record(self, compute: Pass, images: Tensor, masks: Tensor, first: int) -> _Recording:
        images, masks = images.clone(), masks.clone()
        before = [buffer.clone() for buffer in self._buffers]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._forget_gradients()
                compute(images, masks, first)
        torch.cuda.current_stream().wait_stream(aside)
        self._forget_gradients()  # so that the recorded pass writes them instead of adding to them
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            loss = compute(images, masks, first)
        with torch.no_grad():
            for buffer, value in zip(self._buffers, before, strict=True):
                buffer.copy_(value)  # BN's statistics have seen the warm-up
        gradients = [parameter.grad for parameter in self._parameters]
        return _Recording(graph, images, masks, loss, gradients)

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
