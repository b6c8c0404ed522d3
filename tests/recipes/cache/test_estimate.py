"""Break-even against a count of both ways, epoch by epoch."""

from __future__ import annotations

import math

import pytest

from inlay.recipes.cache.estimate import Estimate, Times


def estimate(visits: float, room: int = 10_000, **times: float) -> Estimate:
    chosen = {"compute": 1.0, "write": 0.5, "check": 0.25, "read": 0.125} | times
    return Estimate(count=100, bytes_each=64, room=room, visits=visits, times=Times(**chosen))


@pytest.mark.parametrize("compute", [0.2, 0.3, 1.0, 7.0])
def test_the_cache_is_ahead_from_the_first_epoch_at_which_it_has_cost_less(compute: float) -> None:
    found = estimate(1.0, compute=compute)
    times = found.times
    first = next(n for n in range(1, 1000) if n * compute >= compute + times.write + times.check + n * times.read)
    assert math.ceil(found.break_even) == first
    assert estimate(float(first), compute=compute).pays
    assert not estimate(float(first - 1), compute=compute).pays


def test_it_never_pays_where_reading_takes_longer_than_computing() -> None:
    found = estimate(1e9, compute=0.1)
    assert math.isinf(found.break_even)
    assert not found.pays
    assert "ahead never" in str(found)


def test_the_text_says_bytes_times_and_epochs() -> None:
    text = str(estimate(3.0, room=2_500_000))
    assert "100 to compute, 6.4 kB of 2.5 MB that may be written" in text
    assert "1000.0 ms to compute (100 s in all), 500.00 to write, 250.00 to check, 125.00 to read" in text
    assert "ahead from 2.0 epochs on, and this run reads each 3.0 times" in text


def test_room_is_counted_in_bytes_of_all() -> None:
    assert estimate(1.0, room=6400).fits
    assert not estimate(1.0, room=6399).fits
