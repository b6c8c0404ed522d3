"""The limit of new tokens follows the reference answers."""

from __future__ import annotations

from typing import Any

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.answering import Answered
from inlay.recipes.evaluation.metrics import choose_metric
from inlay.recipes.evaluation.scores import cut_line
from inlay.recipes.evaluation.token_limit import FREE_TEXT, MARGIN, longest_answer, token_limit


def question(*answers: str) -> Question:
    return Question((Message("user", (TextPart("a?"),)),), answers[0], answers, "")


def tokenizer(texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
    return {"input_ids": [[0] * len(text.split()) for text in texts]}


VQA = choose_metric("vqa", ())


def test_short_answers_keep_the_metric_s_own_limit() -> None:
    assert token_limit(VQA, [question("two cats")], tokenizer) == 16
    assert token_limit(choose_metric("captions", ()), [question("two cats")], tokenizer) == 50
    assert token_limit(None, [question("two cats")], tokenizer) == FREE_TEXT == 128


def test_the_longest_reference_of_any_person_and_a_margin_raise_it() -> None:
    rows = [question("two cats", "word " * 300), question("red")]
    assert longest_answer(rows, tokenizer) == 300
    assert token_limit(VQA, rows, tokenizer) == token_limit(None, rows, tokenizer) == 300 + MARGIN


def test_one_endless_reference_does_not_take_all_memory() -> None:
    assert token_limit(None, [question("word " * 5000)], tokenizer) == 1024


def test_without_questions_the_metric_decides() -> None:
    assert token_limit(VQA, [], tokenizer) == 16


def test_a_line_says_how_many_answers_were_cut() -> None:
    rows = [Answered(question("a"), "b", "1", "length"), Answered(question("a"), "b", "2")]
    assert cut_line(rows, 16) == "1 of 2 answers reached the limit of 16 tokens; raise it with --max_new_tokens"
    assert cut_line(rows[1:], 16) == ""
