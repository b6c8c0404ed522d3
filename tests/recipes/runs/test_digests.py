"""A run goes on with the data and the models that it began with: what is noticed, and what is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.cli import main
from inlay.recipes.data.formats.pairs import read_pairs
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.runs.digests import check_inputs
from inlay.recipes.settings.errors import SettingsError

Check = Callable[..., list[str]]


def sample(number: int, path: Path, said: str = "red") -> Sample:
    user = Message("user", (MediaPart("image", path), TextPart("what colour?")))
    return Sample(str(number), (user, Message("assistant", (TextPart(said),))), f"train.json, item {number}")


@pytest.fixture
def media(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 50)
        os.utime(path, (1_000_000, 1_000_000))
    return paths


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def run(rows: list[Sample], shards: tuple[Path, ...] = (), *, resume: bool = True) -> list[str]:
        shown: list[str] = []
        check_inputs(tmp_path / "digest.json", {"train": rows}, {"align": shards}, resume=resume, show=shown.append)
        return shown

    return run


def test_the_same_data_are_taken_up_without_a_word(media: list[Path], check: Check) -> None:
    rows = [sample(number, path) for number, path in enumerate(media)]
    assert check(rows, resume=False) == check(list(rows)) == []


def test_a_text_edited_in_place_names_the_file(media: list[Path], check: Check) -> None:
    check([sample(0, media[0])], resume=False)
    with pytest.raises(SettingsError, match=r"data: train\.json has changed .* the texts of its samples differ"):
        check([sample(0, media[0], "blue")])


def test_another_number_of_samples_is_named(media: list[Path], check: Check) -> None:
    check([sample(0, media[0]), sample(1, media[1])], resume=False)
    with pytest.raises(SettingsError, match=r"train\.json has changed .* 2 samples then, 1 now"):
        check([sample(0, media[0])])


def test_a_picture_of_another_size_is_named(media: list[Path], check: Check) -> None:
    rows = [sample(number, path) for number, path in enumerate(media)]
    check(rows, resume=False)
    media[1].write_bytes(bytes(60))
    later = (media[0].parent / "digest.json").stat().st_mtime + 10
    os.utime(media[1], (later, later))
    with pytest.raises(SettingsError, match=r"train\.json has changed .* media have another size \('1\.png'\)"):
        check(rows)


def test_copied_media_are_a_line_and_no_error(media: list[Path], check: Check) -> None:
    rows = [sample(number, path) for number, path in enumerate(media)]
    check(rows, resume=False)
    os.utime(media[2], (2_000_000, 2_000_000))
    (line,) = check(rows)
    assert "media have other modification times and the same sizes (none newer than the run)" in line


def test_a_shard_of_another_size_is_named(media: list[Path], check: Check) -> None:
    rows = [sample(0, media[0])]
    shard = media[0].parent / "000.tar"
    shard.write_bytes(bytes(1024))
    check(rows, (shard,), resume=False)
    assert check(rows, (shard,)) == []
    shard.write_bytes(bytes(2048))
    with pytest.raises(SettingsError, match=r"data: 000\.tar has changed"):
        check(rows, (shard,))


def test_a_model_with_other_weights_is_named(media: list[Path], tmp_path: Path) -> None:
    def check(**models: str) -> None:
        rows = {"train": [sample(0, media[0])]}
        check_inputs(tmp_path / "digest.json", rows, {}, models, resume=True, show=lambda _: None)

    check(llm="a", image="b")
    check(llm="a", image="b")
    with pytest.raises(SettingsError, match="model of the port image has other weights than when the run began"):
        check(llm="a", image="c")


def test_a_run_of_an_earlier_version_gets_its_digests_when_it_goes_on(media: list[Path], check: Check) -> None:
    rows = [sample(0, media[0])]
    assert check(rows) == []
    with pytest.raises(SettingsError, match="texts"):
        check([sample(0, media[0], "blue")])


@pytest.fixture
def table(media: list[Path], tmp_path: Path) -> Path:
    rows = [{"id": str(number), "image": path.name, "text": "red"} for number, path in enumerate(media)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    return tmp_path / "pairs.json"


def test_the_same_file_is_taken_up_without_converting_a_row(
    table: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(read_pairs(table, table.parent), resume=False)
    rows = read_pairs(table, table.parent)
    monkeypatch.setattr(type(rows), "_converted", None)
    assert check(rows) == []


def test_an_edited_file_is_named(table: Path, check: Check) -> None:
    check(read_pairs(table, table.parent), resume=False)
    table.write_text(table.read_text().replace("red", "blue"))
    with pytest.raises(SettingsError, match=r"pairs\.json has changed since the run began: the file differs"):
        check(read_pairs(table, table.parent))


def test_media_of_a_file_are_compared_by_their_sizes(table: Path, media: list[Path], check: Check) -> None:
    check(read_pairs(table, table.parent), resume=False)
    os.utime(media[2], (2_000_000, 2_000_000))
    (line,) = check(read_pairs(table, table.parent))
    assert "media have other modification times and the same sizes" in line
    media[1].write_bytes(bytes(60))
    with pytest.raises(SettingsError, match=r"media have another size \('1\.png'\)"):
        check(read_pairs(table, table.parent))


def test_a_file_is_compared_with_the_digest_of_its_texts_from_an_earlier_version(table: Path, check: Check) -> None:
    check(list(read_pairs(table, table.parent)), resume=False)
    assert check(read_pairs(table, table.parent)) == []
    table.write_text(table.read_text().replace("red", "blue"))
    with pytest.raises(SettingsError, match="the texts of its samples differ"):
        check(read_pairs(table, table.parent))


def test_a_run_on_edited_data_does_not_go_on(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(folders["data"], tmp_path / "data")
    arguments = ["train", "llava", f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]
    arguments += [f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}", "--evaluate=false"]
    arguments += ["--stages.instruct.max_steps=1", "--stages.instruct.batch_size=2", "--stages.instruct.accumulate=1"]
    arguments += ["--order=instruct", f"--output={tmp_path / 'run'}", "--accelerator=cpu"]
    assert main(arguments) == 0
    (tmp_path / "run" / "metrics.json").unlink()  # as if it had been interrupted
    rows: Any = json.loads((data / "train.json").read_text())
    rows[3]["conversations"][1]["value"] += " indeed"
    (data / "train.json").write_text(json.dumps(rows))
    capsys.readouterr()
    assert main([*arguments, "--resume=true"]) == 2
    said = capsys.readouterr().err
    assert f"data: {data / 'train.json'} has changed since the run began" in said
    assert len(said.splitlines()) == 1
