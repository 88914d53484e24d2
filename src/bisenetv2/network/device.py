"""Where and in which precision a run computes."""

from __future__ import annotations

from typing import Literal

import torch

from bisenetv2.errors import UserError


def choose_device(name: str = "auto") -> torch.device:
    """Returns the named device, or the best one there is: CUDA, then MPS, then the CPU.

    Raises:
        UserError: If there is no such device.
    """
    if name != "auto":
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:  # PyTorch raises either, as built
            raise UserError(
                f"device {name!r} cannot be used: take auto, cpu, or cuda or mps where there is one"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def computes_bfloat16(
    device: torch.device, precision: Literal["auto", "float32", "bfloat16"]
) -> bool:
    """Tells whether to autocast to bfloat16; `auto` asks the hardware."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without the instructions bfloat16 is emulated, slower than float32. No public call tells yet.
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and probe is not None and bool(probe())
