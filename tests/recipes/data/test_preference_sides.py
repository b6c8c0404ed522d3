"""Every check and count of a data set sees the media and texts of both sides of a pair, and of the similar medium."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stages import stage_from

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.media.sources import MediaBytes
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.held_out_split import hold_out, row_digest, split_places
from inlay.recipes.data.load import load_data
from inlay.recipes.data.preparation.reverse import reversed_pair
from inlay.recipes.data.preparation.stage_samples import apart, expanded, varied
from inlay.recipes.data.rows.sample import DataError, Sample, conversations_of, input_media
from inlay.recipes.data.rows.tables.facts import DESIRABLE, PAIR, UNDESIRABLE
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.token_budget import token_budget
from inlay.recipes.runs.digests import digest_of
from inlay.recipes.settings.run import DataSettings
from inlay.recipes.training.checks.data_report import set_facts


def turns(text: str, *pictures: Any, asked: str = "what?") -> tuple[Message, ...]:
    parts = (*(MediaPart("image", picture) for picture in pictures), TextPart(asked))
    return Message("user", parts), Message("assistant", (TextPart(text),))


def pair(number: int, *, rejected: int | None = None, similar: int | None = None) -> Sample:
    """A pair about the picture of a number; on the worse side, and beside it, those of others."""
    first, worse = (Path(f"{own}.png") for own in (number, number if rejected is None else rejected))
    beside = () if similar is None else turns("a dog", Path(f"{similar}.png"))
    return Sample(str(number), turns("a", first), f"a.json, item {number}", (), (), "", turns("b", worse), beside)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(*rows: dict[str, Any], suffix: str = "jsonl") -> Path:
        path = tmp_path / f"train.{suffix}"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    for number in range(3):
        Image.new("RGB", (4 + number, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return make


def swift(answer: str, **fields: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": "<image>what?"}, {"role": "assistant", "content": answer}]
    return {"messages": said, "images": ["0.png"], **fields}


def test_a_missing_medium_of_the_worse_side_is_an_invalid_row(write: Any) -> None:
    path = write(swift("a", rejected_response="b"), swift("a", rejected_images=["7.png"]))
    with pytest.raises(DataError, match=r"line 2: .*7\.png: no such file"):
        load_data(DataSettings(train=path))
    rows = load_data(DataSettings(train=path, invalid="skip"))["train"]
    assert [row.origin for row in rows] == [f"{path}, line 1"]


def test_a_missing_similar_medium_is_an_invalid_row(write: Any) -> None:
    row = {"question": "what?", "image_1": "0.png", "image_2": "7.png", "w": "a", "l": "b", "y2": "c"}
    with pytest.raises(DataError, match=r"line 1: .*7\.png: no such file"):
        load_data(DataSettings(train=write(row)))


def test_several_pairs_of_a_row_with_one_fault_are_one_invalid_row(write: Any) -> None:
    row = swift("a", rejected_response=["b", "c"]) | {"images": ["7.png"]}
    with pytest.raises(DataError, match=r"^1 row\(s\)"):
        load_data(DataSettings(train=write(row, swift("a", rejected_response="b"))))


def test_a_repeated_id_of_several_pairs_is_named_once(write: Any) -> None:
    row = swift("a", rejected_response=["b", "c"], id="7")
    with pytest.raises(DataError, match=r"line 2, id: '7/1' is also the id of .*line 1"):
        load_data(DataSettings(train=write(row, row)))


def test_facts_tell_kinds_lengths_and_media_of_the_longer_side(write: Any) -> None:
    two = {"role": "user", "content": "<image><image>what?"}
    path = write(
        swift("a", rejected_response="bbbbbbbb"),
        swift("aaaaaaaa", rejected_response="b"),
        swift("a", rejected_images=["0.png", "1.png"], rejected_messages=[two, {"role": "assistant", "content": "b"}]),
        swift("a", label=True),
        swift("a", label=False),
    )
    rows: Any = read_rows(path, path.parent)
    assert rows.column("preference").tolist() == [PAIR, PAIR, PAIR, DESIRABLE, UNDESIRABLE]
    assert rows.column("bytes").tolist() == [13, 13, 6, 6, 6]
    assert rows.column("input_image").tolist() == [1, 1, 2, 1, 1]
    assert lengths_of(rows).tolist() == lengths_of(list(rows)).tolist()


def test_facts_of_pairs_of_one_row_have_their_numbers(write: Any) -> None:
    path = write(swift("a", rejected_response=["b", "c", "d"]), swift("a", rejected_response="b"))
    rows: Any = read_rows(path, path.parent)
    assert rows.column("row").tolist() == [0, 0, 0, 1]
    assert rows.column("piece").tolist() == [0, 1, 2, 0]
    assert [row.rejected[-1].text for row in rows.take([2, 3, 0])] == ["d", "b", "b"]


@pytest.mark.parametrize("side", ["rejected", "similar"])
def test_no_medium_is_on_both_sides_of_the_split(side: str) -> None:
    rows = [pair(number, **{side: number + 1}) for number in range(0, 40, 2)]
    rows += [pair(number) for number in range(1, 41, 2)]
    held = set(split_places(rows, 0.3, 0))
    assert held
    names = [
        {part.source for n, row in enumerate(rows) if (n in held) is half for part in input_media(row)}
        for half in (True, False)
    ]
    assert not names[0] & names[1]


def test_other_files_lose_rows_whose_worse_side_shows_a_held_out_medium() -> None:
    rows = [pair(number) for number in range(10)]
    other = [pair(100 + number, rejected=number) for number in range(10)]
    divided, digests = hold_out({"train": rows, "mix 1": other}, 3, 0, lambda _: None)
    held = {row.id for row in divided["test"]}
    assert len(divided["mix 1"]) == 7
    assert not held & {str(Path(row.rejected[0].content[0].source).stem) for row in divided["mix 1"]}
    assert len(digests) == 3


def test_held_out_pairs_with_one_question_stay_pairs() -> None:
    rows = [replace(pair(0), id="x"), replace(pair(0), id="y", rejected=turns("c", Path("0.png")))]
    divided, _ = hold_out({"train": [*rows, *(pair(number) for number in range(1, 9))]}, 0.9, 1, lambda _: None)
    assert all(row.rejected and not row.answers for row in divided["test"])
    assert {"x", "y"} <= {row.id for row in [*divided["test"], *divided["train"]]}


@pytest.mark.parametrize(
    "change",
    [
        {"rejected": turns("c", Path("0.png"))},
        {"similar": turns("c", Path("1.png"))},
        {"rejected": (), "desirable": True},
        {"rejected": (), "desirable": False},
        {"rejected": ()},
    ],
)
@pytest.mark.parametrize("digest", [row_digest, lambda row: digest_of([row])])
def test_digests_tell_preferences_apart(change: dict[str, Any], digest: Callable[[Sample], Any]) -> None:
    changes: list[dict[str, Any]] = [{}, {"rejected": (), "desirable": not change.get("desirable", True)}]
    assert all(digest(replace(pair(0), **change)) != digest(replace(pair(0), **other)) for other in changes)


def test_the_digest_of_files_has_the_media_of_the_worse_side(write: Any) -> None:
    path = write(swift("a", rejected_images=["1.png"]))
    first = digest_of(list(read_rows(path, path.parent)))
    Image.new("RGB", (40, 40), "red").save(path.parent / "1.png")
    assert digest_of(list(read_rows(path, path.parent)))["sizes"] != first["sizes"]


def test_features_of_both_sides_are_cached(backbone_of: Any, write: Any) -> None:
    write()
    folder = write().parent
    row = Sample(
        "a",
        turns("a", folder / "0.png"),
        "",
        rejected=turns("a", folder / "1.png"),
        similar=turns("b", folder / "2.png"),
    )
    cache = FeatureCache(backbone_of(), "pad", show=lambda _: None)
    assert cache.fill([row])
    for number in range(3):
        assert cache(MediaPart("image", folder / f"{number}.png")).ndim == 2


def test_the_report_counts_the_media_of_both_sides(write: Any) -> None:
    path = write(swift("a", rejected_response="b"), swift("a", rejected_images=["1.png"]))
    facts = set_facts("train", read_rows(path, path.parent), DataSettings(train=path))
    assert facts.format == "swift_preference"
    assert facts.media == {"image": (3, 2)}
    assert facts.sizes == [(4, 4), (5, 4)]


def test_the_token_line_counts_the_media_of_the_worse_side(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    row = replace(pair(0), rejected=turns("b", Path("0.png"), Path("1.png")))
    layout = stage_from(data="train", template="vicuna_v1", geometry="pad", lr={"lora": 1e-3}, batch_size=1).layout
    assert "at most 2 in a row" in token_budget(model, layout, [row])


def test_templates_and_phrasing_change_both_sides_in_the_same_way() -> None:
    stage = stage_from(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"lora": 1e-3},
        batch_size=1,
        templates="instruct",
        phrasing="blip",
        answers="sampled",
        split="random",
        turns="apart",
    )
    [row] = expanded([replace(pair(0, similar=1), kinds=("colour",), answers=(("x", "y"),))], stage)
    asked: set[str] = set()
    for number in range(8):
        new = varied(row, stage, seed=0, number=number)
        [question] = {messages[0].text for messages in conversations_of(new)}
        asked.add(question)
        assert [messages[-1].text for messages in conversations_of(new)] == ["a", "b", "a dog"]
    assert len(asked) > 2


def test_preference_data_are_not_reversed() -> None:
    for row in (pair(0), replace(pair(0), rejected=(), desirable=False)):
        with pytest.raises(DataError, match=r"a\.json, item 0: preference data cannot be reversed"):
            reversed_pair(row)


def test_a_dialogue_of_preferences_is_not_split() -> None:
    long = replace(pair(0), messages=(*turns("x"), *turns("a")), rejected=(*turns("x"), *turns("b")))
    assert apart(long) == [long]
    assert len(apart(replace(long, rejected=()))) == 2


def test_media_that_both_sides_share_count_once() -> None:
    shared = MediaBytes(b"abc")
    row = replace(pair(0), messages=turns("a", shared), rejected=turns("b", MediaBytes(b"abc")))
    assert len(input_media(row)) == 1
    assert len(input_media(replace(row, rejected=turns("b", MediaBytes(b"abd"))))) == 2


def test_rows_with_the_same_encoded_medium_stay_together(write: Any) -> None:
    encoded = [base64.b64encode((write().parent / f"{number}.png").read_bytes()).decode() for number in range(3)]
    rows = [{"question": f"{n}?", "image": {"bytes": encoded[n % 3]}, "chosen": "a", "rejected": "b"} for n in range(9)]
    path = write(*rows)
    read = read_rows(path, path.parent)
    assert sorted(row % 3 for row in split_places(read, 3, 0)) in ([0] * 3, [1] * 3, [2] * 3)


def test_the_report_counts_an_encoded_medium_once(write: Any) -> None:
    encoded = base64.b64encode((write().parent / "0.png").read_bytes()).decode()
    path = write(
        *[{"question": f"{n}?", "image": {"bytes": encoded}, "chosen": "a", "rejected": "b"} for n in range(3)]
    )
    facts = set_facts("train", read_rows(path, path.parent), DataSettings(train=path))
    assert facts.media == {"image": (3, 1)}
