"""What a stage learns from: turns apart, phrasing, answers and cuts that are functions of seed and step."""

from __future__ import annotations

from typing import Any

import pytest
from stages import stage_from

from inlay.adapters.conversation.messages import MediaPart, TextPart, media_of, parse_messages
from inlay.recipes.data.preparation.instruction_templates import CAPTION, DESCRIBE, QUESTION
from inlay.recipes.data.preparation.stage_samples import apart, expanded, phrased, varied
from inlay.recipes.data.rows.records import described
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

PICTURE = MediaPart("image", "1.png")


def stage(**changes: Any) -> Stage:
    fields = {"data": "train", "template": "blip2", "geometry": "squash", "lr": {"inputs.image": 1.0}, "batch_size": 2}
    return stage_from(**fields | changes)


def dialogue() -> Sample:
    raw = [
        {"role": "user", "content": [PICTURE, "What COLOUR (is it)?"]},
        {"role": "assistant", "content": "Dark Red"},
        {"role": "user", "content": "Shape?"},
        {"role": "assistant", "content": "Disc"},
    ]
    return Sample("7", parse_messages(raw), "", ("colour", "shape"), (("red",), ("disc", "circle")))


def texts(sample: Sample) -> list[str]:
    return [message.text for message in sample.messages]


def test_each_question_gets_the_picture_and_what_belongs_to_it() -> None:
    rows = apart(dialogue())
    assert [texts(row) for row in rows] == [["What COLOUR (is it)?", "Dark Red"], ["Shape?", "Disc"]]
    assert all(media_of(row.messages) == (PICTURE,) for row in rows)
    assert [(row.kinds, row.answers) for row in rows] == [
        (("colour",), (("red",),)),
        (("shape",), (("disc", "circle"),)),
    ]
    assert [row.id for row in expanded([dialogue()], stage())] == ["7"]


def test_samples_are_changed_when_they_are_used_and_as_a_list_of_them_is() -> None:
    used: list[int] = []

    class Rows(list[Sample]):
        def __getitem__(self, place: Any) -> Any:
            used.append(place)
            return super().__getitem__(place)

    own = stage(turns="apart", phrasing="blip")
    rows = expanded(Rows([dialogue(), dialogue()]), own)
    assert len(rows) == 4
    assert used == []
    assert rows[2] == phrased(apart(dialogue())[0], own)
    assert used == [1]
    assert list(rows) == [phrased(part, own) for _ in range(2) for part in apart(dialogue())]


def test_questions_are_phrased_and_their_answers_are_not() -> None:
    assert texts(phrased(dialogue(), stage(phrasing="blip")))[:2] == ["what colour is it?", "Dark Red"]
    caption = described("1", "1.png", "", "A Disc. On a table!", "")
    assert texts(phrased(caption, stage(phrasing="blip", data="align"))) == ["", "a disc on a table"]


def test_cut_caption_is_whole_again_and_leaves_something_to_write() -> None:
    caption = described("1", "1.png", "describe it", "a large red disc", "")
    cuts = {tuple(texts(varied(caption, stage(split="random"), seed=0, number=number))) for number in range(60)}
    assert {" ".join(part for part in cut if part) for cut in cuts} == {"a large red disc"}
    assert {len(cut[0].split()) for cut in cuts} == {0, 1, 2, 3}


def test_cut_depends_on_seed_and_batch_alone() -> None:
    caption = described("1", "1.png", "", "a large red disc on a table", "")
    chosen = stage(split="random")
    first = [varied(caption, chosen, seed=1, number=number) for number in range(20)]
    assert first == [varied(caption, chosen, seed=1, number=number) for number in range(20)]
    assert first != [varied(caption, chosen, seed=2, number=number) for number in range(20)]


def test_sampled_answers_are_learnt_as_often_as_they_were_given() -> None:
    sample = described("1", "1.png", "how many?", "two", "", answers=("two",) * 3 + ("three", ""))
    said = [varied(sample, stage(answers="sampled"), seed=0, number=n).messages[-1].text for n in range(400)]
    assert set(said) == {"two", "three"}
    assert said.count("two") / 400 == pytest.approx(0.75, abs=0.08)
    assert varied(sample, stage(), seed=0, number=3) is sample


def test_words_are_put_around_questions_and_in_front_of_captions() -> None:
    question = described("1", "1.png", "how many?", "two", "", kinds=("number",))
    asked = {varied(question, stage(templates="instruct"), seed=0, number=n).messages[0].text for n in range(60)}
    assert len(asked) > 4
    assert all("how many?" in text for text in asked)
    caption = described("2", "1.png", "", "a disc", "")
    assert varied(caption, stage(templates="instruct"), seed=0, number=0).messages[0].text in CAPTION
    assert varied(caption, stage(templates="describe"), seed=0, number=0).messages[0].text in DESCRIBE


def test_all_questions_of_a_dialogue_get_one_template_behind_the_picture() -> None:
    sample = dialogue()
    first, _, second, _ = varied(sample, stage(templates="instruct"), seed=0, number=1).messages
    (template,) = (one for one in QUESTION if one.format("Shape?") == second.text)
    assert template != "{}"
    assert first.content == (PICTURE, TextPart(template.format("What COLOUR (is it)?")))


@pytest.mark.parametrize("kinds", [("instruction",), ()])
def test_what_is_not_known_to_be_a_question_keeps_its_words(kinds: tuple[str, ...]) -> None:
    sample = described("1", "1.png", "Describe the picture.", "a disc", "", kinds=kinds)
    assert varied(sample, stage(templates="instruct"), seed=0, number=0) == sample


def test_cut_without_a_place_for_its_beginning_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"expected \{\} in the prompt"):
        stage(split="random", prompt="")


def test_several_data_sets_are_drawn_by_square_roots_and_go_on_where_they_stopped() -> None:
    seen: list[tuple[int, int]] = []

    def read(number: int, index: int) -> int:
        seen.append((number, index))
        return index

    data = StepData([100, 10_000], read, list, stage(batch_size=10, epochs=1.0, max_steps=200), seed=3)
    whole = [part.batch for part in data.train_dataloader()]
    assert len(whole) == 200
    small = sum(index < 100 for batch in whole for index in batch) / 2000
    assert small == pytest.approx(10 / 110, abs=0.03)

    class Stopped:
        global_step = 150

    stopped: Any = Stopped()
    data.trainer = stopped
    seen.clear()
    assert [part.batch for part in data.train_dataloader()] == whole[150:]
    assert seen[0][0] == 150
