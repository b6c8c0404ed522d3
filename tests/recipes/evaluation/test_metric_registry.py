"""The metric that fits a file of questions, chosen from the questions themselves, and metrics of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.parts.registration import RegistrationError
from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.answering import Answered
from inlay.recipes.evaluation.metrics import MetricError, choose_metric, register_metric
from inlay.recipes.evaluation.scores import as_figures, no_metric_line, score, table

LONG = "Two cats sleep on a red sofa in front of a window, and a dog looks at them."


def question(text: str, *answers: str, kind: str = "") -> Question:
    words = (TextPart(text),) if text else ()
    return Question((Message("user", (MediaPart("image", "1.png"), *words)),), answers[0], tuple(answers), kind)


def name_of(questions: Sequence[Question], candidates: Sequence[str] = ()) -> str | None:
    metric = choose_metric("auto", questions, candidates)
    return metric.name if metric is not None else None


def test_several_human_answers_are_vqa() -> None:
    assert name_of([question("which colour?", *["red"] * 9, "dark red")] * 3) == "vqa"


def test_yes_and_no_with_ten_human_answers_are_vqa() -> None:
    assert name_of([question("is it red?", *["yes"] * 9, "no"), question("is it?", *["no"] * 8, "yes", "yes")]) == "vqa"


def test_one_short_answer_is_exact_match() -> None:
    assert name_of([question("which colour?", "red"), question("how many?", "2")]) == "exact"


def test_yes_and_no_are_pope() -> None:
    assert name_of([question("is there a cat?", "yes"), question("a dog?", "No.")]) == "pope"


def test_media_without_a_question_are_captions() -> None:
    assert name_of([question("", LONG)]) == "captions"


def test_several_long_references_to_one_instruction_are_captions() -> None:
    assert (
        name_of([question("Describe the image briefly.", LONG, f"{LONG} Or so.", "A room with two cats in it.")])
        == "captions"
    )


def test_options_in_the_question_are_multiple_choice() -> None:
    assert name_of([question("Which?\nA. red\nB. blue\nAnswer with the letter.", "B")] * 2) == "choice"


def test_references_among_the_ranked_answers_are_multiple_choice() -> None:
    assert name_of([question("which colour?", "red")], ["red", "blue"]) == "choice"


def test_free_text_has_no_metric() -> None:
    assert name_of([question("What do you see?", LONG), question("which colour?", "red")]) is None
    assert "no metric fits" in no_metric_line("auto", "answers.jsonl")


def test_a_few_odd_rows_do_not_change_the_metric() -> None:
    assert name_of([question("which?", "red")] * 40 + [question("why?", LONG)]) == "exact"


def test_a_metric_by_name_goes_before_the_data() -> None:
    free = [question("What do you see?", LONG)]
    assert choose_metric("none", free) is None
    for name in ("vqa", "exact", "captions"):
        metric = choose_metric(name, free)
        assert metric is not None
        assert metric.name == name


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        (
            "taste",
            question("a?", "b"),
            "metric: expected one of auto, .* none, got 'taste'; for one of your",
        ),
        ("pope", question("which colour?", "red"), "yes or no for POPE, got 'red', in 'which colour\\?'"),
        ("choice", question("which colour?", "red"), "expected options such as 'A. red'"),
        ("choice", question("which?\nA. red\nB. blue", "green"), "one of the options as the reference, got 'green'"),
    ],
)
def test_a_metric_that_cannot_score_a_question_is_refused_before_the_answers(
    name: str, asked: Question, told: str
) -> None:
    with pytest.raises(MetricError, match=told):
        choose_metric(name, [question("is it?\nA. a\nB. b", "yes") if name == "pope" else asked, asked])


def contains(said: str, asked: Question) -> float:
    return float(asked.reference in said)


def test_a_metric_of_ones_own_is_chosen_by_name_and_where_it_fits(own_registrations: None) -> None:
    rows: list[Any] = [
        Answered(question("which?", "red", kind="colour"), "It is red."),
        Answered(question("which?", "two", kind="count"), "three"),
    ]
    asked = [row.question for row in rows]
    register_metric("contains", score=contains, title="answers with the reference in {}", tokens=40)
    assert name_of(asked) == "exact"
    metric = choose_metric("contains", asked)
    assert metric is not None
    scores = score(metric, rows)
    assert (scores.overall, scores.by_type, metric.tokens) == (0.5, {"colour": 1.0, "count": 0.0}, 40)
    assert table(metric, {"adapter": scores}, "my.json").startswith("answers with the reference in my.json\n")
    register_metric("contains", score=contains, fits=lambda questions, candidates: True)
    assert name_of(asked) == "contains"
    with pytest.raises(MetricError, match="metric contains: another metric has this name"):
        register_metric("contains", score=lambda said, question: 1.0)
    assert name_of(asked) == "contains"


def test_a_metric_over_all_answers_has_figures_and_a_main_one(own_registrations: None) -> None:
    def figures(said: Sequence[str], asked: Sequence[Question]) -> dict[str, float]:
        return {"words": float(sum(len(text.split()) for text in said)), "answers": float(len(asked))}

    register_metric("sizes", figures=figures, main="words")
    metric = choose_metric("sizes", [])
    assert metric is not None
    scores = score(metric, [Answered(question("a?", "b"), "one two"), Answered(question("a?", "b"), "three")])
    assert scores.overall == 3
    assert as_figures(scores) == {"words": 3.0, "answers": 2.0}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vqa", {"score": contains}),
        ("auto", {"score": contains}),
        ("a b", {"score": contains}),
        ("mine", {}),
        ("mine", {"score": contains, "figures": lambda *_: {}}),
        ("mine", {"score": contains, "tokens": 0}),
    ],
)
def test_what_is_no_metric_is_refused(own_registrations: None, name: str, fields: dict[str, Any]) -> None:
    choose_metric("auto", [])
    with pytest.raises(MetricError, match="metric"):
        register_metric(name, **fields)


@pytest.mark.parametrize("fields", [{"score": lambda: 1.0}, {"figures": lambda said: {}}, {"fits": lambda: True}])
@pytest.mark.usefixtures("own_registrations")
def test_a_function_of_other_arguments_is_refused(fields: dict[str, Any]) -> None:
    whole = {"score": contains} | fields if "figures" not in fields else fields
    with pytest.raises(RegistrationError, match=r"metric mine: .*expected a function of"):
        register_metric("mine", **whole)
