"""Runs a network with PyTorch. The one file of this room that imports torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from bisenetv2.inference.engines import Frames, Logits, memory_errors
from bisenetv2.labels import Mask
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import load_checkpoint
from bisenetv2.network.device import choose_device
from bisenetv2.network.frames import FrameNetwork

RECORDINGS = 8
"""Most sizes whose CUDA graphs are kept."""


class TorchEngine:
    """Runs a checkpoint, or a network that exists already, in FP32."""

    name = "torch"

    def __init__(
        self,
        network: str | Path | FrameNetwork | BiSeNetV2,
        threads: int | None = None,
        device: str = "auto",
    ) -> None:
        """Loads a checkpoint or takes a network as it stands.

        Args:
            network: Checkpoint (`.safetensors`), `FrameNetwork` or `BiSeNetV2`. A network given as
                a module is shared, not copied: it may go on training between calls, and keeps its
                device unless one is named.
            threads: CPU threads to compute with; `None`: as many as PyTorch is set to.
            device: A PyTorch device such as `cpu` or `cuda:0`; `auto` takes CUDA or MPS for a
                checkpoint where there is any, else the CPU.

        Raises:
            UserError: If the checkpoint or the device cannot be used.
        """
        self._threads = threads
        if isinstance(network, str | Path):
            self._network, _ = load_checkpoint(network)
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._network.to(choose_device(device))
        else:
            self._network = FrameNetwork(network) if isinstance(network, BiSeNetV2) else network
            if device != "auto":
                self._network.to(choose_device(device))

    def logits(self, frames: Frames) -> Logits:
        """Computes logits; see `Engine.logits`."""
        device = next(self._network.parameters()).device
        with (
            memory_errors(frames.shape[1:3]),
            torch.inference_mode(),
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
            _evaluating(self._network),
            _computing_with(self._threads),
        ):
            # A copy: PyTorch takes neither read-only nor mirrored arrays as they are.
            batch = torch.from_numpy(np.array(frames, order="C")).to(device)  # N, H, W, 3
            logits: torch.Tensor = self._network(batch)  # N, C, H/8, W/8
            return np.ascontiguousarray(logits.float().cpu().numpy())


class CudaEngine:
    """Runs a checkpoint on an NVIDIA GPU in half precision, and finds the masks there too.

    The launches of a network this small cost more than its arithmetic, so they are recorded once
    for each size, as a CUDA graph, and replayed as one. Logits never leave the GPU for a mask.
    """

    name = "torch"

    def __init__(self, checkpoint: str | Path, device: str = "cuda") -> None:
        """Loads a checkpoint.

        Args:
            checkpoint: Checkpoint (`.safetensors`).
            device: A PyTorch device; on one that is not CUDA nothing is recorded.

        Raises:
            UserError: If the checkpoint cannot be used.
        """
        network, _ = load_checkpoint(checkpoint)
        network = FrameNetwork(network.network.without_boosters(), network.normalization)
        self._device = torch.device(device)
        self._precision = torch.float16 if self._device.type == "cuda" else torch.float32
        self._normalize = network.normalization.to(self._device)
        self._network = network.network.eval().to(self._device, self._precision)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._recorded: OrderedDict[Any, _Recording] = OrderedDict()

    def logits(self, frames: Frames) -> Logits:
        """Computes logits; see `Engine.logits`."""
        return np.ascontiguousarray(self._run(frames, None))

    def masks(self, frames: Frames, size: tuple[int, int]) -> Mask:
        """Computes masks; see `DeviceDecoder.masks`."""
        masks: Mask = self._run(frames, size)
        return masks

    def _run(self, frames: Frames, size: tuple[int, int] | None) -> npt.NDArray[Any]:
        batch = torch.from_numpy(np.array(frames, order="C"))  # N, H, W, 3
        with memory_errors(frames.shape[1:3]), torch.inference_mode():
            if self._device.type != "cuda":
                return self._compute(batch, size).numpy()
            with torch.cuda.device(self._device):
                return self._replay(batch, size).cpu().numpy()

    def _replay(self, batch: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
        key = batch.shape, size
        if key not in self._recorded:
            self._recorded[key] = _Recording(
                batch.to(self._device), lambda x: self._compute(x, size)
            )
            while len(self._recorded) > RECORDINGS:  # each holds memory on the GPU
                self._recorded.popitem(last=False)
        return self._recorded[key].replay(batch)

    def _compute(self, batch: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
        images = self._normalize(batch).to(self._precision)  # N, 3, H, W
        logits = self._network(images).float()  # N, C, H/8, W/8
        if size is None:
            return cast(torch.Tensor, logits)
        return F.interpolate(logits, size, mode="bilinear").argmax(1).to(torch.uint8)  # N, H, W


class _Recording:
    """A computation on the GPU, recorded for one size of its input."""

    def __init__(
        self, example: torch.Tensor, compute: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        self._input = example.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # libraries choose their kernels and allocate in the first runs
                compute(self._input)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=aside):
            self._output = compute(self._input)

    def replay(self, batch: torch.Tensor) -> torch.Tensor:
        """Runs it on another input; the result is overwritten by the next run."""
        self._input.copy_(batch)
        self._graph.replay()
        return self._output


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode and leaves each part of it as it was."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def _computing_with(threads: int | None) -> Iterator[None]:
    """Sets PyTorch's number of threads, which is global, for the length of a call."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
