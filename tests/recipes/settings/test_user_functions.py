"""Errors in functions of the user's own: metrics, rewards, formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.conversation.messages import parse_messages
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.formats.registry import FORMATS, register_format
from inlay.recipes.data.rows.sample import DataError, Question, Sample, questions_of
from inlay.recipes.evaluation.errors import MetricError
from inlay.recipes.evaluation.metric_registry import METRICS, register_metric
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.rewards.registry import RewardError
from inlay.recipes.rewards.scoring import scorer_of
from inlay.recipes.settings.user_functions import UserFunctionError, real_number

HERE = __file__


def failing(*_: Any, **__: Any) -> Any:
    """Fails as a function with an error does."""
    return {}["missing"]


@pytest.fixture
def sample() -> Sample:
    turns = [{"role": "user", "content": "which colour?"}, {"role": "assistant", "content": "red"}]
    return Sample("7", parse_messages(turns), "train.json, item 3")


@pytest.fixture
def question(sample: Sample) -> Question:
    return questions_of(sample)[0]


@pytest.fixture
def metric_of() -> Iterator[Callable[..., Any]]:
    """Registers a metric with these functions."""

    def make(**functions: Any) -> Any:
        register_metric("mine", **functions)
        return METRICS["mine"]

    yield make
    METRICS.pop("mine", None)


def test_a_score_that_fails_is_named_with_question_answer_and_line(metric_of: Any, question: Question) -> None:
    with pytest.raises(MetricError) as told:
        metric_of(score=failing).compute(["blue"], [question])
    assert str(told.value).startswith(
        "metric mine: failing failed for answer 'blue' to the question 'which colour?', number 1 of the questions: "
        f"KeyError: 'missing' ({HERE}, line "
    )
    assert isinstance(told.value.__cause__, KeyError)


@pytest.mark.parametrize("value", ["red", math.nan, None])
def test_a_score_that_is_no_number_is_an_error(metric_of: Any, question: Question, value: Any) -> None:
    with pytest.raises(MetricError, match=r"mine: .* expected a finite number, got "):
        metric_of(score=lambda *_: value).compute(["blue"], [question])


def test_a_score_as_a_tensor_is_a_number(metric_of: Any, question: Question) -> None:
    assert metric_of(score=lambda *_: torch.tensor(0.5)).compute(["blue"], [question]) == {"overall": 0.5}


def test_figures_that_fail_are_named(metric_of: Any, question: Question) -> None:
    with pytest.raises(MetricError, match=r"metric mine: failing failed for 1 answers: KeyError"):
        metric_of(figures=failing, main="f1").compute(["blue"], [question])


def test_figures_without_the_main_one_are_an_error(metric_of: Any, question: Question) -> None:
    with pytest.raises(MetricError, match=r"expected figures by name from .*, with 'f1' \(main=...\), got \{'f2': 1"):
        metric_of(figures=lambda *_: {"f2": 1.0}, main="f1").compute(["blue"], [question])


def test_a_problem_that_fails_is_named_with_the_question(metric_of: Any, question: Question) -> None:
    metric_of(score=lambda *_: 1.0, problem=failing)
    with pytest.raises(UserFunctionError, match=r"metric mine: failing failed for the question 'which colour\?': Key"):
        choose_metric("mine", [question])


def test_a_choice_that_fails_is_named(metric_of: Any, question: Question) -> None:
    metric_of(score=lambda *_: 1.0, fits=failing)
    with pytest.raises(UserFunctionError, match=r"metric mine: failing failed: KeyError"):
        choose_metric("auto", [question])


def test_a_reward_that_fails_is_named_with_row_answer_and_line(sample: Sample, question: Question) -> None:
    with pytest.raises(RewardError) as told:
        scorer_of(function=failing)(question, "blue", sample)
    assert f"failing failed for train.json, item 3 (id 7), answer 'blue': KeyError: 'missing' ({HERE}, line" in str(
        told.value
    )


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "rows.json"
    path.write_text('[{"text": "a star"}]')
    yield path
    FORMATS.pop("mine", None)


def test_a_format_that_fails_in_a_row_is_named_with_file_and_row(path: Path) -> None:
    def read(path: Path, images: Any, *, offenders: Any) -> list[Sample]:
        with offenders.row(f"{path.name}, item 0"):
            failing()
        return []

    register_format("mine", read, recognise=lambda *_: True)
    with pytest.raises(UserFunctionError, match=r"format mine: .*read failed for .*rows.json, rows.json, item 0: Key"):
        read_samples(path)


def test_a_format_that_fails_to_recognise_is_named_with_the_file(path: Path) -> None:
    register_format("mine", lambda path, images, *, offenders: [], recognise=failing)
    with pytest.raises(UserFunctionError, match=r"format mine: failing failed for .*rows.json: KeyError"):
        read_samples(path)


def test_an_error_about_the_data_is_not_changed(path: Path) -> None:
    def read(path: Path, images: Any, *, offenders: Any) -> list[Sample]:
        raise DataError("rows.json, item 0: expected a picture")

    register_format("mine", read, recognise=lambda *_: True)
    with pytest.raises(DataError, match=r"^rows\.json, item 0: expected a picture$"):
        read_samples(path)


def test_registering_the_same_function_again_is_allowed(path: Path) -> None:
    def read(path: Path, images: Any, *, offenders: Any) -> list[Sample]:
        return []

    register_format("mine", read, recognise=lambda *_: True)
    register_format("mine", read, recognise=lambda *_: True)


def test_a_number_of_a_users_function_is_finite() -> None:
    assert real_number(True, "metric mine", failing, "row 1") == 1.0
    with pytest.raises(UserFunctionError, match="expected a finite number, got inf"):
        real_number(math.inf, "metric mine", failing, "row 1")
