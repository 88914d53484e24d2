"""Where and in which precision a run computes."""

from __future__ import annotations

from typing import Literal

import torch


def choose_device(name: str = "auto") -> torch.device:
    """Returns the named device, or the best one there is: CUDA, then MPS, then the CPU."""
    if name != "auto":
        return torch.device(name)
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
