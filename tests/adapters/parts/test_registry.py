"""Names of registered classes."""

from __future__ import annotations

import pytest

from inlay.adapters.parts.registry import RegistrationError, register


@pytest.mark.parametrize("name", [None, "", "a b", "../x", "-x", 3, "é"])
def test_a_name_that_a_bundle_cannot_store_is_refused(name: object) -> None:
    table: dict[str, object] = {}
    with pytest.raises(RegistrationError, match="pooling: expected a name of letters and digits"):
        register(table, name, object(), "pooling")
    assert not table


def test_a_taken_name_names_what_has_it() -> None:
    table = {"mean": min}
    register(table, "mean", min, "pooling")
    with pytest.raises(RegistrationError, match="pooling 'mean' is already registered as min; choose another name"):
        register(table, "mean", max, "pooling")
    assert table == {"mean": min}
