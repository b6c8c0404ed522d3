"""Settings that a manifest cannot hold are named before anything is saved."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from inlay.adapters.parts.stored_config import not_storable


@dataclass(frozen=True)
class Config:
    names: tuple[str, ...] = ()
    rate: float = 0.5


def test_what_a_manifest_holds_is_no_problem() -> None:
    assert not_storable("own", Config(("a",) * 256)) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(("a",) * 257), "names: expected at most 256 items, got 257"),
        (Config(("a\x00",)), "names: expected plain text"),
        (Config(rate=float("inf")), "rate: expected a finite number"),
    ],
)
def test_the_first_problem_is_named(config: Config, said: str) -> None:
    assert str(not_storable("own", config)).startswith(said)
