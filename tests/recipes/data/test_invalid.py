"""``--data.invalid``: all offenders of all files are named at once, or left out, for every format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.data.formats import llava, registry
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.offenders import SHOWN, Offender
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.settings.run import DataSettings

PICTURE = "1.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 4)).save(tmp_path / PICTURE)
    (tmp_path / "1.jpg").write_bytes((tmp_path / PICTURE).read_bytes())
    Image.new("RGB", (4, 4)).save(tmp_path / "ppm.png", format="ppm")
    return tmp_path


def dialogue(image: str = PICTURE, said: Any = "a disc") -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": said}]
    return {"image": image, "conversations": turns}


def messages(image: str = PICTURE, said: Any = "a disc") -> dict[str, Any]:
    asked = [{"type": "image", "path": image}, {"type": "text", "text": "what?"}]
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def coco(*files: str) -> dict[str, Any]:
    return {
        "images": [{"id": number, "file_name": file} for number, file in enumerate(files)],
        "annotations": [{"id": number, "image_id": number, "caption": "a disc"} for number in range(len(files) + 1)],
    }


FORMATS: dict[str, tuple[str, Any, int]] = {
    "llava": ("a.json", [dialogue(), dialogue(said=7), dialogue(image="ppm.png"), dialogue(image="gone.png")], 1),
    "messages": ("a.jsonl", [messages(), messages(said=7), messages(image="ppm.png"), "{"], 1),
    "pairs": (
        "a.jsonl",
        [{"image": PICTURE, "text": "a"}, {"image": PICTURE, "text": " "}, {"image": 3, "text": "b"}],
        1,
    ),
    "triples": (
        "a.json",
        [{"image": name, "text_input": "what?", "text_output": "a"} for name in (PICTURE, "ppm.png", "../1.png")],
        1,
    ),
    "pope": (
        "a.jsonl",
        [
            {"question_id": number, "image": name, "text": "a cat?", "label": label}
            for number, (name, label) in enumerate([(PICTURE, "no"), (PICTURE, "maybe"), ("ppm.png", "yes")])
        ],
        1,
    ),
    "coco": ("a.json", coco(PICTURE, "ppm.png"), 1),
    "filter_cap": ("a.json", {"annotations": [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": " "}]}, 1),
    "nextgpt_pairs": ("a.json", [{"image_name": name, "caption": "a"} for name in (PICTURE, "ppm.png")], 1),
    "nextgpt": (
        "a.json",
        [{"input_image": name, "conversations": dialogue()["conversations"]} for name in (PICTURE, "ppm.png", "gone")],
        1,
    ),
    "mosit": (
        "a.json",
        [
            {"image_list": [{"image_name": name, "caption": "x"}], "conversation": dialogue()["conversations"]}
            for name in (PICTURE, "ppm.png")
        ],
        1,
    ),
    "modaverse": (
        "a.json",
        [
            {"instruction": "what?", "media": {"image": PICTURE}, "meta_response": {"modality": kind, "prompt": "a"}}
            for kind in ("text", "smell")
        ],
        1,
    ),
}


def write(root: Path, name: str, value: Any) -> Path:
    path = root / name
    lines = (row if isinstance(row, str) else json.dumps(row) for row in value)
    path.write_text("\n".join(lines) if name.endswith(".jsonl") else json.dumps(value))
    return path


@pytest.mark.parametrize(("name", "value", "good"), FORMATS.values(), ids=FORMATS)
def test_skip_leaves_out_what_raise_names(root: Path, name: str, value: Any, good: int) -> None:
    path, report, left_out = write(root, name, value), root / "run" / "invalid.jsonl", list[Offender]()
    rows = load_data(DataSettings(train=path, invalid="skip"), report=report, left_out=left_out)
    assert len(rows["train"]) == good
    assert not report.exists()
    with pytest.raises(DataError, match=f"^{len(left_out)} row") as error:
        load_data(DataSettings(train=path), report=report)
    listed = [json.loads(line) for line in report.read_text().splitlines()]
    assert [(row["where"], row["reason"]) for row in listed] == [(item.where, item.reason) for item in left_out]
    assert all(item.where.startswith(str(path)) for item in left_out)
    assert str(report) in str(error.value)
    assert "--data.invalid skip" in str(error.value)


def test_vqa_is_skipped_row_by_row(root: Path) -> None:
    asked = [{"question_id": n, "image_id": 1, "question": "how many?"} for n in range(3)]
    notes = [
        {"question_id": n, "image_id": 1, "answer_type": "number", "multiple_choice_answer": "2", "answers": given}
        for n, given in enumerate([[{"answer": "2"}] * 10, [{"answer": "2"}], [{"answer": "2"}] * 10])
    ]
    files = write(root, "q.json", {"questions": asked}), write(root, "a.json", {"annotations": notes})
    (root / "1.jpg").unlink()
    (root / PICTURE).rename(root / "1.png")
    settings = DataSettings(train=files[0], annotations=files[1], invalid="skip")
    assert [row.id for row in load_data(settings)["train"]] == ["0", "2"]


def test_offenders_of_all_files_are_named_together_and_few_are_shown(root: Path) -> None:
    first = write(root, "a.json", [dialogue(said=7)] * 2 * SHOWN)
    second = write(root, "b.json", [dialogue(image="ppm.png")])
    with pytest.raises(DataError) as error:
        load_data(DataSettings(train=first, test=second), report=root / "invalid.jsonl")
    assert str(error.value).startswith(f"{2 * SHOWN + 1} row(s)")
    _, one, other = str(error.value).splitlines()
    assert f"({2 * SHOWN} such rows; next: item 1, item 2" in one
    assert "ppm.png" in other
    assert str(second) in (root / "invalid.jsonl").read_text()


def test_a_file_without_a_good_row_is_an_error_even_when_rows_are_skipped(root: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: no usable row is left"):
        load_data(DataSettings(train=write(root, "a.json", [dialogue(said=7)]), invalid="skip"))


def test_what_is_read_in_another_form_is_shown(root: Path) -> None:
    item = dialogue()
    item["conversations"] = [{"from": "gpt", "value": "Hello."}, *item["conversations"]]
    lines: list[str] = []
    load_data(DataSettings(train=write(root, "a.json", [item])), show=lines.append)
    assert "1 row(s) begin with an answer" in lines[0]


def test_links_out_of_the_folder_are_allowed_by_an_option(root: Path) -> None:
    (root / "project").mkdir()
    (root / "project" / "coco").symlink_to(root)
    path = write(root, "project/a.json", [dialogue(image=f"coco/{PICTURE}")])
    assert len(load_data(DataSettings(train=path, links=True))["train"]) == 1
    with pytest.raises(DataError, match="lies outside of the folder"):
        load_data(DataSettings(train=path))


def _lines(root: Path, broken: int, count: int) -> DataSettings:
    rows = [json.dumps(dialogue()) for _ in range(count)]
    rows[broken - 1] = '{"image": '
    (root / "a.jsonl").write_text("\n".join(rows))
    return DataSettings(train=root / "a.jsonl", images=root)


def test_a_broken_line_is_named_before_the_rows_after_it_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    own = llava.sample

    def sample(row: Any, *rest: Any, **options: Any) -> Any:
        events.append("row")
        return own(row, *rest, **options)

    monkeypatch.setitem(registry.FORMATS, "llava", replace(registry.FORMATS["llava"], sample=sample))
    monkeypatch.setitem(registry.FORMATS, "sharegpt", replace(registry.FORMATS["sharegpt"], sample=sample))
    with pytest.raises(DataError, match="line 7: not JSON"):
        load_data(_lines(root, 7, 20), show=events.append)
    told = [place for place, event in enumerate(events) if "line 7: not JSON" in event]
    assert len(told) == 1
    assert events[told[0] + 1 :].count("row") == 13


@pytest.mark.parametrize("end", [-1, -30])
def test_the_rows_of_an_incomplete_list_are_kept_with_skip(root: Path, end: int) -> None:
    text = json.dumps([dialogue(), dialogue(), dialogue()])
    (root / "a.json").write_text(text[:end])
    settings = DataSettings(train=root / "a.json", images=root)
    with pytest.raises(DataError, match=r"item \d: not JSON: the file ends inside of the list"):
        load_data(settings)
    left: list[Offender] = []
    rows = load_data(replace(settings, invalid="skip"), left_out=left)["train"]
    assert len(rows) == (3 if end == -1 else 2)
    assert [offender.where for offender in left] == [f"{root / 'a.json'}, item {len(rows)}"]


def test_missing_pictures_without_a_folder_of_pictures_are_answered_with_its_option(root: Path) -> None:
    file = root / "a.json"
    file.write_text(json.dumps([dialogue(image="gone.png")]))
    with pytest.raises(DataError, match=r"gone\.png: no such file\n.*give it with --data\.images"):
        load_data(DataSettings(train=file))
    with pytest.raises(DataError, match=r"gone\.png: no such file$"):
        load_data(DataSettings(train=file, images=root))
