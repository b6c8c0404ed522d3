"""Braces, beside the shell where there is one."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from inlay.recipes.data import DataError
from inlay.recipes.data.streaming.braces import expand_braces

WORDS = ["a", "a{1..3}", "s-{000..012}.tar", "{a,b}-{08..11}", "{x,}y", "{9..11}{,z}", "{5..5}", "a{00..1}", "{1..010}"]


@pytest.mark.parametrize("word", WORDS)
def test_words_stand_for_what_a_shell_makes_of_them(word: str) -> None:
    shell = shutil.which("bash") or pytest.skip("there is no bash to compare with")
    printed = subprocess.run([shell, "-c", f"printf '%s\\n' {word}"], capture_output=True, text=True, check=True).stdout
    assert expand_braces(word) == printed.splitlines()


def test_the_last_braces_change_fastest() -> None:
    assert expand_braces("{a,b}{1..2}") == ["a1", "a2", "b1", "b2"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("a{1..2", "expected balanced braces"),
        ("a}1", "expected balanced braces"),
        ("{a,{b,c}}", "that are not nested"),
        ("{a}", "expected a range"),
        ("{}", "expected a range"),
        ("{1..x}", "expected a range"),
        ("{3..1}", "an ascending range"),
        ("{0..99999999999}", "an ascending range of at most"),
        ("{1..2000}" * 2, "more than 1,000,000 names"),
        ("{0..9}" * 300, "more than 1,000,000 names"),
    ],
)
def test_what_stands_for_nothing_or_too_much_is_an_error(word: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        expand_braces(word)
