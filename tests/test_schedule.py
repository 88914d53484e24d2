"""The learning rate over the iterations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bisenetv2.training.schedule import rate_factor


@pytest.mark.parametrize("step", [0, 1, 137, 998, 999])
def test_by_default_it_is_the_poly_rule_of_the_paper(step: int) -> None:
    assert rate_factor(step, 1000) == pytest.approx((1 - step / 1000) ** 0.9)


def test_power_is_the_exponent_of_the_fall() -> None:
    assert rate_factor(75, 100, power=2) == pytest.approx(0.25**2)
    assert rate_factor(75, 100, power=0) == 1


def test_warmup_rises_in_equal_steps_and_never_starts_at_zero() -> None:
    factors = [rate_factor(step, 100, warmup=4, hold=1) for step in range(6)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])


def test_poly_counts_from_the_first_step_of_the_warmup() -> None:
    factors = [rate_factor(step, 100, warmup=10) for step in range(12)]
    assert max(factors) < 1
    assert factors[10] == pytest.approx(0.9**0.9)


def test_hold_keeps_the_peak_and_then_falls_over_the_rest() -> None:
    assert [rate_factor(step, 100, hold=0.6) for step in (0, 30, 59, 60)] == [1, 1, 1, 1]
    assert rate_factor(80, 100, hold=0.6) == pytest.approx(0.5**0.9)


@pytest.mark.parametrize("step", [0, 500, 999])
def test_hold_of_one_is_a_trunk_at_the_peak_rate(step: int) -> None:
    assert rate_factor(step, 1000, hold=1.0) == 1


@given(
    total=st.integers(1, 10_000),
    place=st.floats(0, 1, exclude_max=True),
    warmup=st.integers(0, 200),
    hold=st.floats(0, 1),
    power=st.floats(0.1, 4),
)
def test_every_step_of_every_schedule_moves_and_none_beyond_the_peak(
    total: int, place: float, warmup: int, hold: float, power: float
) -> None:
    step = int(place * total)
    assert 0 < rate_factor(step, total, warmup=warmup, hold=hold, power=power) <= 1


@given(total=st.integers(2, 200), hold=st.floats(0, 1), power=st.floats(0.1, 4))
def test_without_warmup_it_never_rises(total: int, hold: float, power: float) -> None:
    factors = [rate_factor(step, total, hold=hold, power=power) for step in range(total)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1
