"""Memory that a training on a CPU gives back and takes again at every step.

glibc maps every large tensor anew and unmaps it when it is freed, so that the kernel fills all of
a step's memory with zeros, page by page, at every step: on a small machine this can take longer
than the arithmetic. `benchmarks/training_speed.py` measures what keeping it is worth.
"""

from __future__ import annotations

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


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
