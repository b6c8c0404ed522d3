"""Which conversations the LLM reads for one preference row, and rows that are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.objectives.preference.pairs import encode_pair

LAYOUT = Layout(template="vicuna_v1")
PAIR = ("chosen", "rejected")


def test_both_answers_share_one_row(model: Any, pairs: Any) -> None:
    found = encode_pair(model, pairs[0], LAYOUT, PAIR)
    assert len(found.rows) == 1
    assert found.streams == PAIR


def test_the_tokens_are_those_of_the_answers_with_their_end(model: Any, pairs: Any) -> None:
    llm = model.backbone.llm
    answers = encode_pair(model, pairs[0], LAYOUT, PAIR).answers
    plain = encode_pair(model, pairs[0], LAYOUT, PAIR, join=False).answers
    for name, text in (("chosen", "a small blue star."), ("rejected", "a cat.")):
        assert llm.tokenizer.decode(answers[name].tolist(), skip_special_tokens=True).strip() == text
        assert int(answers[name][-1]) == llm.tokenizer.eos_token_id
        assert answers[name].tolist() == plain[name].tolist()


def test_rejected_media_make_a_row_of_their_own(model: Any, pairs: Any) -> None:
    row = replace(pairs[0], rejected=(*pairs[1].rejected[:-1], pairs[0].messages[-1]))
    found = encode_pair(model, row, LAYOUT, PAIR)
    assert found.streams == ("rejected", "chosen")
    assert [len(own.media) for own in found.rows] == [1, 1]


def test_the_similar_picture_has_both_answers(model: Any, with_second: Any) -> None:
    streams = (*PAIR, "second_answer", "chosen_other_image", "second_answer_other_image")
    found = encode_pair(model, with_second[0], LAYOUT, streams)
    assert [len(row.branches) - 1 for row in found.rows] == [3, 2]
    assert set(found.streams) == set(streams)


def test_equal_answers_are_refused(model: Any, pairs: Any) -> None:
    with pytest.raises(DataError, match=r"item 0: chosen and rejected are the same tokens"):
        encode_pair(model, replace(pairs[0], rejected=pairs[0].messages), LAYOUT, PAIR)


def test_a_plain_conversation_is_no_pair(model: Any, pairs: Any) -> None:
    with pytest.raises(DataError, match="expected a pair"):
        encode_pair(model, replace(pairs[0], rejected=()), LAYOUT, PAIR)


def test_a_loss_on_two_media_needs_one(model: Any, pairs: Any) -> None:
    asked = (Message("user", (TextPart("what?"),)),)
    row = replace(pairs[0], messages=(*asked, pairs[0].messages[-1]), rejected=(*asked, pairs[0].rejected[-1]))
    with pytest.raises(DataError, match="compares two media"):
        encode_pair(model, row, LAYOUT, (*PAIR, "chosen_other_image"), other=lambda part: part)


def test_single_answers_and_pairs_are_not_mixed(model: Any, pairs: Any, labelled: Any) -> None:
    with pytest.raises(DataError, match="use loss kto"):
        encode_pair(model, labelled[0], LAYOUT, PAIR)
    with pytest.raises(DataError, match="got a pair"):
        encode_pair(model, pairs[0], LAYOUT, ("answer",))


def test_earlier_answers_are_part_of_the_prompt(model: Any, pairs: Any) -> None:
    more = Message("user", (TextPart("sure?"),))
    first = pairs[0]
    before = (*first.messages, more)
    row = replace(first, messages=(*before, first.messages[-1]), rejected=(*before, first.rejected[-1]))
    short, long = (encode_pair(model, own, LAYOUT, PAIR).answers for own in (first, row))
    assert {name: len(ids) for name, ids in short.items()} == {name: len(ids) for name, ids in long.items()}


def test_another_medium_makes_a_second_row(model: Any, pairs: Any, image_of: Any) -> None:
    found = encode_pair(
        model,
        pairs[0],
        LAYOUT,
        (*PAIR, "chosen_other_image"),
        other=lambda part: MediaPart(part.modality, image_of(9)),
    )
    assert len(found.rows) == 2
    assert found.answers["chosen"].tolist() == found.answers["chosen_other_image"].tolist()


def test_answers_that_together_exceed_the_context_are_two_rows(model: Any, pairs: Any) -> None:
    """Each of them fits; one row with both would be refused by the LLM."""
    context = model.backbone.llm.context
    long = [
        (*own[:-1], Message("assistant", (TextPart(" ".join([word] * (context // 5))),)))
        for own, word in ((pairs[0].messages, "red"), (pairs[0].rejected, "one"))
    ]
    row = encode_pair(model, replace(pairs[0], messages=long[0], rejected=long[1]), LAYOUT, PAIR)
    assert len(row.rows) == 2
    assert max(len(own.ids) for own in row.rows) <= context < sum(len(own) for own in row.answers.values())
    assert model.log_probs(model.collate(row.rows)).sequences == 2
