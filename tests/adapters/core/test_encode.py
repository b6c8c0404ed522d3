"""Tokenising, labels by offsets, slots."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import TooLongError
from inlay.adapters.core.encode import Limit, check_rows, encode
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.llm_parts.token_rows import TokenRows, TokensConfig

IMAGE = MediaPart("image", "x.png")
VICUNA = Layout(template="vicuna_v1")


def ask(question: str, answer: str | None, *media: MediaPart) -> tuple[Message, ...]:
    user = Message("user", (*media, TextPart(question)))
    return (user,) if answer is None else (user, Message("assistant", (TextPart(answer),)))


def labelled(row: Any, tokenizer: Any) -> str:
    return tokenizer.decode([int(i) for i in row.labels if i != IGNORE])


@pytest.mark.parametrize("family", ["llama", "opt", "qwen2", "qwen3"])
def test_labels_decode_to_the_answer_and_its_end(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    row = encode(ask("what colour?", "red"), VICUNA, llm, {})
    assert labelled(row, llm.tokenizer) == f" red{llm.tokenizer.eos_token}"


@pytest.mark.parametrize(("family", "has_bos"), [("llama", True), ("opt", True), ("qwen2", False), ("qwen3", False)])
def test_bos_is_first_only_where_the_tokenizer_has_one(llm_of: Any, family: str, has_bos: bool) -> None:
    llm = llm_of(family)
    row = encode(ask("what?", "red", IMAGE), Layout(template="plain"), llm, {"image": 3})
    assert (int(row.ids[0]) == llm.tokenizer.bos_token_id) is has_bos
    assert row.slots.tolist()[int(has_bos) : int(has_bos) + 3] == [True] * 3


def test_text_only_ids_equal_one_tokenisation_of_the_rendered_string(llm_of: Any) -> None:
    llm = llm_of("llama")
    row = encode(ask("how many squares are there?", "two"), VICUNA, llm, {})
    whole = llm.tokenizer("USER: how many squares are there? ASSISTANT: two</s>").input_ids
    assert row.ids.tolist() == whole


def test_chat_ids_equal_apply_chat_template(llm_of: Any) -> None:
    llm = llm_of("qwen2")
    row = encode(ask("how many squares?", "two"), Layout(template="chat"), llm, {})
    messages = [{"role": "user", "content": "how many squares?"}, {"role": "assistant", "content": "two"}]
    assert row.ids.tolist() == llm.tokenizer.apply_chat_template(messages)["input_ids"]


def test_special_tokens_that_people_write_stay_text(llm_of: Any) -> None:
    llm = llm_of("llama")
    row = encode(ask("what is </s> and <image>?", "an </s> end"), VICUNA, llm, {})
    ids = row.ids.tolist()
    assert ids.count(llm.tokenizer.eos_token_id) == 1
    assert llm.tokenizer.convert_tokens_to_ids("<image>") not in ids
    assert llm.tokenizer.decode(ids[1:]) == "USER: what is </s> and <image>? ASSISTANT: an </s> end</s>"
    assert labelled(row, llm.tokenizer) == " an </s> end</s>"


@pytest.mark.parametrize("answer", ["déjà vu", "日本語 🎈", "a\u200bb\u202e", " leading", "x" * 50])
def test_any_unicode_answer_is_labelled_whole(llm_of: Any, answer: str) -> None:
    llm = llm_of("llama")
    row = encode(ask("?", answer), VICUNA, llm, {})
    assert labelled(row, llm.tokenizer) == f" {answer}</s>"


def test_two_media_get_two_runs_of_slots_in_front_of_their_turn(llm_of: Any) -> None:
    row = encode(ask("same?", "no", IMAGE, IMAGE), VICUNA, llm_of("llama"), {"image": 4})
    runs = "".join("x" if slot else "." for slot in row.slots.tolist()).strip(".").split(".")
    assert [len(run) for run in runs if run] == [4, 4]
    assert row.media == (IMAGE, IMAGE)


def test_text_longer_than_the_context_is_refused_and_names_the_sample(llm_of: Any) -> None:
    with pytest.raises(LayoutError, match=r"card-7: \d+ positions \(4 of them media\).*context of 256"):
        encode(ask("why? " * 300, "no", IMAGE), VICUNA, llm_of("llama"), {"image": 4}, name="card-7")


def test_medium_without_encoder_is_refused(llm_of: Any) -> None:
    with pytest.raises(LayoutError, match="text only"):
        encode(ask("what?", "red", IMAGE), VICUNA, llm_of("llama"), {})


def test_a_sample_whose_every_answer_is_empty_has_nothing_to_train_on(llm_of: Any) -> None:
    for family in ("llama", "t5"):
        with pytest.raises(LayoutError, match="card-7: nothing to train on: every answer"):
            encode((*ask("what?", ""), *ask("sure?", " ")), VICUNA, llm_of(family), {}, name="card-7")


def test_a_sample_without_an_answer_is_a_sample_in_the_wrong_order(llm_of: Any) -> None:
    with pytest.raises(LayoutError, match="card-7: expected an assistant's answer as the last turn"):
        encode(ask("what?", None), VICUNA, llm_of("llama"), {}, name="card-7")


def test_an_empty_answer_in_the_middle_is_laid_out_without_labels(llm_of: Any) -> None:
    llm = llm_of("llama")
    row = encode((*ask("what?", ""), *ask("sure?", "yes")), VICUNA, llm, {})
    assert llm.tokenizer.decode(row.ids[1:]) == "USER: what? ASSISTANT:</s>USER: sure? ASSISTANT: yes</s>"
    assert labelled(row, llm.tokenizer) == " yes</s>"


@pytest.mark.parametrize(
    "template", ["plain", "vicuna_v1", "chat", "blip2", "instructblip", "minigpt4", "nextgpt", "modaverse"]
)
def test_a_chat_goes_on_after_an_empty_answer(llm_of: Any, template: str) -> None:
    llm = llm_of("llama")
    history = (Message("user", (IMAGE, TextPart("what?"))), Message("assistant", ()), *ask("sure?", None))
    row = encode(history, Layout.published(template), llm, {"image": 2}, generation=True)
    assert all(label == IGNORE for label in row.labels.tolist())
    assert template == "plain" or "sure?" in llm.tokenizer.decode(row.ids)


def test_media_between_words_are_between_their_tokens(llm_of: Any) -> None:
    llm = llm_of("llama")
    content = (TextPart("A:"), IMAGE, TextPart("B:"), IMAGE, TextPart("which?"))
    row = encode((Message("user", content),), VICUNA, llm, {"image": 2}, generation=True)
    marked = "".join(
        "#" if slot else llm.tokenizer.decode([token]) for token, slot in zip(row.ids, row.slots, strict=True)
    )
    assert marked == "<s>USER: A: ##\nB: ##\nwhich? ASSISTANT:"


LONG = "red and blue and green and white and black and grey"


def test_a_limit_below_the_context_is_an_error_that_names_it(llm_of: Any) -> None:
    with pytest.raises(TooLongError, match=r"more than the limit of 10; .*cutting is not enabled"):
        encode(ask("what colour?", LONG), VICUNA, llm_of("llama"), {}, limit=Limit(10))


def test_a_long_row_is_cut_at_its_end_and_learns_no_end_of_text(llm_of: Any) -> None:
    llm = llm_of("llama")
    whole = encode(ask("what colour?", LONG, IMAGE), VICUNA, llm, {"image": 3})
    most = len(whole.ids) - 4
    row = encode(ask("what colour?", LONG, IMAGE), VICUNA, llm, {"image": 3}, limit=Limit(most, cut=True))
    assert (row.ids.tolist(), row.labels.tolist()) == (whole.ids[:most].tolist(), whole.labels[:most].tolist())
    assert (row.cut, whole.cut, len(row.slots), row.media) == (4, 0, most, whole.media)
    assert llm.tokenizer.eos_token_id not in row.labels.tolist()


def test_a_row_is_cut_to_the_context_as_well(llm_of: Any) -> None:
    llm = llm_of("llama")
    row = encode(ask("what colour?", LONG * 200), VICUNA, llm, {}, limit=Limit(cut=True))
    assert len(row.ids) == llm.context


def test_media_are_never_cut(llm_of: Any) -> None:
    turns = (*ask("what colour?", "red"), *ask("and this?", LONG, IMAGE))
    with pytest.raises(TooLongError, match="its media or all answers are beyond it"):
        encode(turns, VICUNA, llm_of("llama"), {"image": 30}, limit=Limit(20, cut=True))


def test_a_row_whose_answers_would_all_be_cut_is_an_error(llm_of: Any) -> None:
    with pytest.raises(TooLongError, match="its media or all answers are beyond it"):
        encode(ask(LONG, "red"), VICUNA, llm_of("llama"), {}, limit=Limit(10, cut=True))


def test_generation_knows_no_limit_but_the_context(llm_of: Any) -> None:
    llm = llm_of("llama")
    row = encode(ask(LONG, None), VICUNA, llm, {}, generation=True, limit=Limit(10, cut=True))
    assert len(row.ids) > 10
    with pytest.raises(TooLongError, match="more than the context"):
        encode(ask(LONG * 200, None), VICUNA, llm, {}, generation=True, limit=Limit(10, cut=True))


def test_of_an_encoder_decoder_only_the_target_is_cut(llm_of: Any) -> None:
    llm = llm_of("t5")
    whole = encode(ask("what colour?", LONG), VICUNA, llm, {})
    assert whole.target is not None
    most = len(whole.target) - 3
    row = encode(ask("what colour?", LONG), VICUNA, llm, {}, limit=Limit(most, cut=True))
    assert row.target is not None
    assert (row.ids.tolist(), row.target.tolist()) == (whole.ids.tolist(), whole.target[:most].tolist())
    with pytest.raises(TooLongError):
        encode(ask(LONG, LONG), VICUNA, llm, {}, limit=Limit(8, cut=True))


@pytest.mark.parametrize(("family", "start"), [("llama", "bos_token_id"), ("qwen2", "eos_token_id")])
def test_a_prompt_without_text_or_medium_begins_with_one_token(llm_of: Any, family: str, start: str) -> None:
    llm = llm_of(family)
    row = encode(ask("what?", None), Layout(template="plain"), llm, {}, generation=True)
    assert row.ids.tolist() == [getattr(llm.tokenizer, start)]


def test_an_empty_prompt_is_refused_where_no_token_can_begin_it(llm_of: Any) -> None:
    llm = llm_of("qwen2")
    llm.tokenizer.eos_token = None
    with pytest.raises(LayoutError, match="neither BOS nor EOS"):
        encode(ask("what?", None), Layout(template="plain"), llm, {}, generation=True)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_token_without_a_row_in_the_embeddings_is_refused_by_name(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    llm.tokenizer.add_tokens([f"<new{i}>" for i in range(len(llm.tokenizer), llm.vocabulary + 1)])
    last = llm.tokenizer.convert_ids_to_tokens(llm.vocabulary)
    message = f"a: token '{last}' has the id {llm.vocabulary}, and the LLM embeds {llm.vocabulary} tokens"
    llm.tokenizer.add_special_tokens({"eos_token": last})
    row = encode(ask("what?", "red"), Layout(template="vicuna_v1"), llm, {}, name="a")
    with pytest.raises(LayoutError, match=message):
        check_rows(row, llm)


def test_a_token_that_the_adapter_embeds_is_not_refused(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.tokenizer.add_tokens([f"<pad{i}>" for i in range(len(llm.tokenizer), llm.vocabulary)])
    rows = TokenRows.for_language(llm, TokensConfig.numbered(llm.width, image=1))
    attached = rows.attach(llm)
    assert llm.without_row(list(attached.ids)) is None
    attached.undo.close()
    assert llm.without_row(list(attached.ids)) == attached.ids[0] >= llm.vocabulary
