"""Memory of a training: what a CPU gives back and takes again at every step, and too little of it.

glibc maps every large tensor anew and unmaps it when it is freed, so that the kernel fills all of
a step's memory with zeros, page by page, at every step: on a small machine this can take longer
than the arithmetic. `benchmarks/training_speed.py` measures what keeping it is worth.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bisenetv2.errors import UserError
from bisenetv2.training.recipe import Recipe

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4

_OUT_OF_MEMORY = ("can't allocate memory", "you tried to allocate", "out of memory")
"""What PyTorch says where it has no type for it: on a CPU, on Windows, on MPS."""


def keep_freed_memory() -> None:
    """Has the process keep freed memory for its next allocations, where its C library is glibc.

    It holds for the whole process from here on, whose size then stays at its largest.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


@contextmanager
def enough_memory(recipe: Recipe, name: str, processes: int) -> Iterator[None]:
    """Says what to do where the device's memory does not hold a step.

    Args:
        recipe: Of the run.
        name: Its field that holds the number of frames of the step.
        processes: How many share the frames.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        lacking = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        if not lacking and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        batch, parts = getattr(recipe, name), 2 * recipe.accumulate
        shared = batch % (parts * processes) == 0 and batch // (parts * processes) >= 2
        raise UserError(
            f"{name} {batch}: a step of so many frames does not fit into the device's memory; "
            f"give a smaller --{name.replace('_', '-')}"
            + (f", or more parts, --accumulate {parts}" if shared else "")
        ) from error
