"""Runs a network with PyTorch. The one file of this room that imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bisenetv2.errors import UserError
from bisenetv2.inference.engines import Frames, Logits
from bisenetv2.network.bisenetv2 import BiSeNetV2
from bisenetv2.network.checkpoint import load_checkpoint
from bisenetv2.network.frames import FrameNetwork


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
            device: A PyTorch device such as `cpu` or `cuda:0`; `auto` takes CUDA for a checkpoint
                where there is any, else the CPU.

        Raises:
            UserError: If the checkpoint or the device cannot be used.
        """
        self._threads = threads
        if isinstance(network, str | Path):
            self._network, _ = load_checkpoint(network)
            self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
        else:
            self._network = FrameNetwork(network) if isinstance(network, BiSeNetV2) else network
        if device != "auto":
            try:
                self._network.to(device)
            except (RuntimeError, AssertionError) as error:  # PyTorch raises either, as built
                raise UserError(f"device {device!r} cannot be used: take cpu or auto") from error

    def logits(self, frames: Frames) -> Logits:
        """Computes logits; see `Engine.logits`."""
        device = next(self._network.parameters()).device
        with (
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


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Puts a network into evaluation mode and leaves it as it was."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


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
