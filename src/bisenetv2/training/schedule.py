"""The learning rate over the iterations."""

from __future__ import annotations


def rate_factor(
    step: int, total: int, *, warmup: int = 0, hold: float = 0.0, power: float = 0.9
) -> float:
    """Returns the factor of the peak rate at a step.

    The paper's poly rule, `(1 - step / total) ** power`, that may begin after a linear warm-up and
    a time at the peak. `hold=1` is a constant-rate trunk from which cool-downs branch off.

    Args:
        step: Step about to be taken, 0 to total - 1.
        total: Steps of the whole run.
        warmup: Steps of linear rise from 0 (paper: none mentioned), by which poly has begun to
            fall if `hold` does not reach as far.
        hold: Share of the run before the rate falls from its peak, 0 to 1.
        power: Exponent of the fall.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    held = hold * total
    if step < held or held >= total:
        return 1.0
    return float((1 - (step - held) / (total - held)) ** power)
