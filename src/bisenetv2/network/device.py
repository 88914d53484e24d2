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
        refusal = UserError(
            f"device {name!r} cannot be used: take auto, cpu, or cuda or mps where there is one"
        )
        try:
            device = torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:  # PyTorch raises either, as built
            raise refusal from error
        if device.type not in ("cpu", "cuda", "mps"):
            raise refusal
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def set_threads(threads: int | None) -> None:
    """Sets the number of CPU threads; `None` leaves PyTorch's, one for each physical core.

    Raises:
        UserError: If it is less than 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise UserError(f"threads {threads}: expected 1 or more")
    torch.set_num_threads(threads)


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
