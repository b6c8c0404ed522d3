"""Names and weights of rewards, and functions of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from registries import forgotten

from inlay.adapters.parts.registration import RegistrationError
from inlay.recipes.rewards.registry import REWARDS, RewardError, register_reward, reward_names
from inlay.recipes.rewards.terms import RewardSettings, Term, parse_terms, user_function


def test_names_and_weights_are_read() -> None:
    assert parse_terms("objects, -0.5*length,my.module:score") == (
        Term("objects", 1.0),
        Term("length", -0.5),
        Term("my.module:score", 1.0),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vqaa", r"expected one of .*exact, length, objects, pope, vqa.*got 'vqaa'"),
        ("", "expected one of"),
        ("vqa,,exact", "expected one of"),
        ("x*vqa", "WEIGHT"),
        ("0*vqa", "other than 0"),
        ("nan*vqa", "WEIGHT"),
        ("inf*vqa", "WEIGHT"),
        ("vqa,2*vqa", "each reward once"),
    ],
)
def test_a_wrong_text_is_refused(text: str, told: str) -> None:
    with pytest.raises(RewardError, match=told):
        parse_terms(text)


@pytest.mark.parametrize("limits", [(3, 2), (-1, 5), (0, 0)])
def test_limits_of_words_are_checked(limits: tuple[int, int]) -> None:
    with pytest.raises(RewardError, match="min_words"):
        RewardSettings(min_words=limits[0], max_words=limits[1])


def test_a_missing_file_of_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="no such file"):
        RewardSettings(objects=tmp_path / "none.txt")


def test_a_registered_reward_is_known_by_its_name() -> None:
    with forgotten():
        register_reward("short", lambda question, answer, sample: -len(answer))
        assert "short" in reward_names()
        assert parse_terms("2*short") == (Term("short", 2.0),)
    assert "short" not in REWARDS


def test_a_built_in_name_is_taken() -> None:
    with pytest.raises(RewardError, match="'vqa' is built in"):
        register_reward("vqa", lambda question, answer, sample: 0.0)


def test_a_function_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_score_of_test.py").write_text("def score(question, answer, sample):\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    with forgotten():
        assert user_function("own_score_of_test:score")(None, "", None) == 3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module:score", "cannot be imported: ModuleNotFoundError"),
        ("json:no_such_function", "json has no function 'no_such_function'"),
        ("json:", "has no function ''"),
        (
            "own/short.py:score",
            r"got a file; for short\.py in the working directory: short",
        ),
    ],
)
def test_a_function_that_cannot_be_found_is_named(name: str, told: str) -> None:
    with pytest.raises(RewardError, match=told):
        user_function(name)


def test_a_reward_of_other_arguments_is_refused() -> None:
    score: Any = str.upper
    with pytest.raises(RegistrationError, match=r"reward 'short': score: expected a function of \(question, answer"):
        register_reward("short", score)


def test_a_function_of_other_arguments_is_refused_by_its_name() -> None:
    with pytest.raises(RegistrationError, match=r"reward json:loads: expected a function of \(question, answer"):
        user_function("json:loads")
