"""What is wrong with a data set: files, sizes, values, classes, duplicates."""

from bisenetv2.data.check.run import (
    SAMPLES,
    Report,
    Statistics,
    check,
    class_weights,
    quick_check,
    suggest_crop,
)

__all__ = [
    "SAMPLES",
    "Report",
    "Statistics",
    "check",
    "class_weights",
    "quick_check",
    "suggest_crop",
]
