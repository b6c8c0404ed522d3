"""What is said of things made: choice of modality, the judge's share, and the references beside it."""

from __future__ import annotations

from typing import Any

import pytest
from senses_models import CodeBook, caption_in

from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.sample import Question
from inlay.recipes.evaluation.generation import (
    Answer,
    answer_with_media,
    generation_figures,
    generation_prompts,
    generation_rows,
    generation_table,
)

CAPTIONS = ("a red disc", "a blue ring", "a low beep")


def judge(caption: str, medium: Any) -> dict[str, bool] | None:
    return (
        None
        if caption == "unknown"
        else {"colour": caption_in(medium)[2:5] == caption[2:5], "right": caption_in(medium) == caption}
    )


def answer(wanted: list[tuple[Modality, str]], made: list[tuple[Modality, str | None]]) -> Answer:
    prompt = (Message("user", (TextPart("make it"),)),)
    question = Question(prompt, "Here.", ("Here.",), "", tuple(MadePart(name, text) for name, text in wanted))
    parts = tuple(
        MadePart(name, source=None if text is None else CodeBook(name, [text]).generate(_near(name, text))[0])
        for name, text in made
    )
    return Answer(question, Reply("Here.", parts=parts), "s0")


def _near(name: Modality, text: str) -> Any:
    return CodeBook(name, [text]).encode_text([text])


def test_choice_counts_what_was_made_and_nothing_else() -> None:
    answers = [
        answer([("image", "a red disc")], [("image", "a red disc")]),
        answer([("image", "a red disc")], [("audio", "a low beep")]),
        answer([("image", "a red disc")], [("image", None)]),
        answer([], []),
        answer([], [("image", "a red disc")]),
    ]
    figures = generation_figures(answers)
    assert figures["choice"] == 3 / 5
    assert figures["choice_by_type"] == {"image": 2 / 3, "text": 1 / 2}
    assert figures["made"] == {}


def test_shares_stand_between_two_references(llm_of: Any) -> None:
    answers = [
        answer([("image", "a red disc")], [("image", "a red disc")]),
        answer([("image", "a blue ring")], [("image", "a red disc")]),
        answer([("image", "unknown")], [("image", "a red disc")]),
        answer([("image", "a red disc")], []),
        answer([("audio", "a low beep")], [("audio", "a low beep")]),
    ]
    backbone = Backbone(llm_of("llama"), generators={"image": CodeBook("image", CAPTIONS)})
    own = generation_figures(answers, judge, backbone)["made"]
    assert set(own) == {"image"}  # there is no generator of sounds
    assert own["image"] == {"asked": 4, "colour": 1 / 3, "right": 1 / 3, "own_encoder": 1.0, "wrong_prompt": 0.0}
    assert generation_figures(answers, judge)["made"]["audio"] == {"asked": 1, "colour": 1.0, "right": 1.0}


def test_every_turn_is_asked_with_what_was_made_before(senses_of: Any) -> None:
    senses = senses_of()
    asked = generation_prompts(senses.samples)
    assert len(asked) == 12
    answers = answer_with_media(senses.model, asked, seed=3, max_new_tokens=6)
    assert [item.question for item in answers] == [question for question, _ in asked]
    rows = generation_rows(answers)
    assert rows[0]["wanted"] == [{"modality": "image", "caption": "a red disc"}]
    assert "modality chosen rightly" in generation_table(generation_figures(answers))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [("a large red circle", True), ("a small red circle", True), ("a large blue circle", False)],
)
def test_the_miniature_judges_shape_and_colour(caption: str, expected: bool) -> None:
    from random import Random

    from inlay.recipes.miniature.judges.generated_media import judge_generated
    from inlay.recipes.miniature.media.clips import draw_shape
    from inlay.recipes.miniature.media.specs import Drawing

    picture = draw_shape(Drawing("large", "red", "circle"), Random(0))
    assert judge_generated(caption, picture)["right"] is expected
    assert judge_generated("two slow high pure beeps", picture)["right"] is False
    assert judge_generated("a story", picture) is None
