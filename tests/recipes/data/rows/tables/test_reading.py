"""The check of all rows: one pass, invalid rows in their order, repeated ids, and the result of an earlier process."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.data.formats.llava import read_llava
from inlay.recipes.data.formats.pairs import read_pairs
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.checks.media_check import MediaCheck
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, read_each
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables import reading
from inlay.recipes.settings.run import DataSettings


def dialogue(number: Any, image: str = "1.png", said: Any = "a disc") -> dict[str, Any]:
    turns = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": said}]
    return {"id": number, "image": image, "conversations": turns}


def described_row(item: dict[str, Any], where: str) -> Sample:
    if "text" not in item:
        raise DataError(f"{where}, text: missing")
    return described(str(item.get("id", where)), Path("a.png"), "", item["text"], where)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")

    def make(*rows: Any) -> Path:
        path = tmp_path / "train.json"
        path.write_text(json.dumps(rows))
        return path

    return make


def load(path: Path, **options: Any) -> tuple[list[str], list[str]]:
    """Ids, and the lines that are shown after all rows are known."""
    shown: list[str] = []
    samples = load_data(DataSettings(train=path, **options), show=shown.append)["train"]
    return [sample.id for sample in samples], [line for line in shown if not line.startswith("the first invalid row")]


def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that are checked from now on."""
    found: list[str] = []
    whole = reading._checked

    def counted(table: Any, *others: Any) -> Any:
        found.append(table.name)
        return whole(table, *others)

    monkeypatch.setattr(reading, "_checked", counted)
    return found


def test_a_second_reading_finds_rows_offenders_and_notes_of_the_first(
    write: Any, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    late = dialogue(4)
    late["conversations"].insert(0, {"from": "gpt", "value": "Hello."})
    path = write(dialogue(1), dialogue(2, image="gone.png"), dialogue(1), dialogue(3, said=7), late)
    first = load(path, invalid="skip")
    assert first[0] == ["1", "1#2", "4"]
    assert len(list(cache.iterdir())) == 1
    checked = passes(monkeypatch)
    assert load(path, invalid="skip") == first
    assert checked == []
    with pytest.raises(DataError, match=r"^2 row\(s\) of the data cannot be used.*\n.*gone\.png.*\n.*item 3"):
        load(path)


def test_a_changed_file_is_checked_again(write: Any, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    path = write(dialogue(1))
    load(path)
    status, checked = path.stat(), passes(monkeypatch)
    path.write_text(path.read_text().replace('"id": 1', '"id": 2'))
    time.sleep(0.05)  # longer than a tick of the file system's clock
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time of change
    assert load(path)[0] == ["2"]
    assert checked == [str(path)]
    assert len(list(cache.iterdir())) == 1


def test_a_picture_that_disappears_is_seen(write: Any, tmp_path: Path) -> None:
    path = write(dialogue(1))
    load(path)
    time.sleep(0.05)
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match="no such file"):
        load(path)


def test_other_options_of_a_reader_have_facts_of_their_own(write: Any, tmp_path: Path, cache: Path) -> None:
    path = write({"image": "1.png", "text": "A disc."})
    asked = [read_pairs(path, tmp_path, asked=words)[0].messages[0].text for words in ("", "What?", "")]
    assert asked == ["", "What?", ""]
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_entry_costs_time_alone(write: Any, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    path = write(dialogue(1), dialogue(2))
    load(path)
    (entry,) = cache.iterdir()
    (entry / "row.npy").write_bytes(b"\x93NUMPY\x01\x00")
    checked = passes(monkeypatch)
    assert load(path)[0] == ["1", "2"]
    assert checked == [str(path)]


def test_a_cache_that_cannot_be_written_costs_time_alone(
    write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "file"))
    path, checked = write(dialogue(1)), passes(monkeypatch)
    assert load(path)[0] == load(path)[0] == ["1"]
    assert len(checked) == 2


def test_a_process_that_is_killed_while_it_writes_leaves_no_entry(write: Any, tmp_path: Path, cache: Path) -> None:
    path = write(dialogue(1))
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from inlay.recipes.data.rows.tables import reading, store\n"
        "from inlay.recipes.data.formats.llava import read_llava\n"
        "reading.KEPT_SECONDS = 0\n"
        "store.FileNames.copy_to = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "read_llava(Path(sys.argv[1]), Path(sys.argv[1]).parent)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [entry.name[:5] for entry in cache.iterdir()] == [".new-"]
    assert read_llava(path, tmp_path)[0].id == "1"
    assert sorted(entry.name[:5] == ".new-" for entry in cache.iterdir()) == [False, True]


def test_what_a_killed_process_left_is_removed_after_a_day(write: Any, tmp_path: Path, cache: Path) -> None:
    (cache / ".new-old").mkdir(parents=True)
    os.utime(cache / ".new-old", (0, 0))
    read_llava(write(dialogue(1)), tmp_path)
    assert not (cache / ".new-old").exists()


def test_quick_checks_are_not_kept(write: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    monkeypatch.setattr(reading, "KEPT_SECONDS", 60.0)
    read_llava(write(dialogue(1)), tmp_path)
    assert not cache.exists()


def test_readers_of_unknown_options_are_not_kept(write: Any, cache: Path) -> None:
    path = write({"id": 1, "text": "a"})
    read_each(path, partial(lambda item, where, other: described_row(item, where), other=object()))
    assert not cache.exists()
    read_each(path, described_row)
    assert cache.exists()


def test_offenders_of_all_kinds_come_in_the_order_of_the_file(write: Any) -> None:
    rows = [{"id": 1, "text": "a"}, {"id": 2}, {"id": 1, "text": "b"}, 7, {"id": 1, "text": "c"}]
    path, offenders = write(*rows), Offenders(collect=True)
    assert [sample.id for sample in read_each(path, described_row, offenders)] == ["1"]
    assert [item.reason.removeprefix(f"{path}, ") for item in offenders.found] == [
        "item 1, text: missing",
        f"item 2, id: '1' is also the id of {path}, item 0",
        "item 3: expected an object, got 7",
        f"item 4, id: '1' is also the id of {path}, item 0",
    ]


def test_without_a_list_of_offenders_the_first_one_is_raised(write: Any) -> None:
    path = write({"id": 1, "text": "a"}, {"id": 1, "text": "b"}, {"id": 2, "text": "c"})
    with pytest.raises(DataError, match=r"item 1, id: '1' is also the id of .*item 0"):
        read_each(path, described_row)
    with pytest.raises(DataError, match=r"item 0, text: missing"):
        read_each(write({"id": 1}, {"id": 2}), described_row)


def test_repeated_ids_are_numbered_as_they_come(write: Any, tmp_path: Path) -> None:
    path = write(*[dialogue(name) for name in ("a", "b", "a", "c", "a", "b")])
    assert [sample.id for sample in read_llava(path, tmp_path)] == ["a", "b", "a#2", "c", "a#3", "b#2"]


def test_each_row_is_converted_once_for_rows_and_media(write: Any, tmp_path: Path) -> None:
    converted: list[str] = []

    def read(item: dict[str, Any], where: str) -> Sample:
        converted.append(where)
        return described_row(item, where)

    path = write(*[{"id": number, "text": "a"} for number in range(600)])
    offenders = Offenders(collect=True, media=MediaCheck(tmp_path))
    assert len(read_each(path, read, offenders)) == 0
    assert len(converted) == len(offenders.found) == 600


def test_notes_are_not_counted_again_when_a_row_is_used(write: Any, tmp_path: Path) -> None:
    item, offenders = dialogue(1), Offenders()
    item["conversations"].insert(0, {"from": "gpt", "value": "Hello."})
    samples = read_llava(write(item), tmp_path, offenders=offenders)
    for _ in range(3):
        list(samples)
    assert offenders.lines()[0].startswith("1 row(s) begin with an answer")


def test_samples_go_to_another_process(write: Any, tmp_path: Path) -> None:
    samples = read_llava(write(dialogue(1), dialogue(2)), tmp_path)
    copy = pickle.loads(pickle.dumps(samples))
    assert copy == list(samples)
