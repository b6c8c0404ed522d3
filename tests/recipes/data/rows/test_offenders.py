"""Errors of many rows: one line a cause."""

from __future__ import annotations

import pytest

from inlay.recipes.data.rows.offenders import SHOWN, Offender, by_cause, settle
from inlay.recipes.data.rows.sample import DataError


def offenders(reason: str, *rows: int, file: str = "train.json") -> list[Offender]:
    """Rows with a reason in which ``{}`` is the number of the row."""
    return [Offender(f"{file}, item {n}", f"{file}, item {n}: {reason.format(n)}") for n in rows]


def test_rows_with_one_cause_are_one_line_with_their_number_and_first_places() -> None:
    found = offenders("expected the field conversations, got image; a long advice", *range(12))
    with pytest.raises(DataError) as told:
        settle(found, "raise", report=None, show=None)
    head, *lines = str(told.value).splitlines()
    assert head.startswith("12 row(s)")
    assert lines == [
        "  train.json, item 0: expected the field conversations, got image; a long advice "
        "(12 such rows; next: item 1, item 2, item 3, item 4, ...)"
    ]


@pytest.mark.parametrize(
    "reason",
    ["/data/{0}.png: no such file", "has {0} tokens, more than 512", "got the role 'user{0}'", "{0}.png: empty"],
)
def test_paths_numbers_and_quoted_texts_do_not_make_another_cause(reason: str) -> None:
    (line,) = by_cause(offenders(reason, 3, 17))
    assert line == f"train.json, item 3: {reason.format(3)} (2 such rows; next: item 17)"


def test_other_causes_have_their_own_lines_and_the_rest_is_counted() -> None:
    words = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta")
    found = [item for number, word in enumerate(words) for item in offenders(f"no {word}", number)]
    lines = by_cause(found)
    assert lines == [f"train.json, item {n}: no {words[n]}" for n in range(SHOWN)] + ["and 2 other cause(s)"]


def test_rows_of_another_file_are_named_with_it() -> None:
    (line,) = by_cause([*offenders("empty", 1), *offenders("empty", 7, file="test.json")])
    assert line.endswith("(2 such rows; next: test.json, item 7)")
