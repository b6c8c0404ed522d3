"""Finished batches survive a kill; items of other settings are not mixed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.preference_pairs.progress import Progress
from inlay.recipes.settings.errors import SettingsError


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "pairs.jsonl"


def begin(output: Path, seed: int = 0, size: int = 4, **options: Any) -> Progress:
    return Progress(output, {"seed": seed, "top_k": None}, {"batch_size": size}, **options)


def part(output: Path) -> Path:
    return output.with_name("pairs.jsonl.part")


def test_items_and_free_settings_of_an_earlier_start_are_found(output: Path) -> None:
    with begin(output) as first:
        first.add([(3, {"row": "é"}), (1, {"row": None})])
    with begin(output, size=9) as second:
        assert second.items == {3: {"row": "é"}, 1: {"row": None}}
        assert second.free == {"batch_size": 4}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_a_kill_cut_off_is_dropped(output: Path, cut: int) -> None:
    with begin(output) as first:
        first.add([(0, "a")])
        whole = part(output).read_bytes()
        first.add([(1, "b"), (2, "c")])
    part(output).write_bytes(part(output).read_bytes()[:-cut])
    with begin(output) as second:
        assert second.items == {0: "a"}
        assert part(output).read_bytes() == whole
        second.add([(1, "b"), (2, "c")])
    with begin(output) as third:
        assert third.items == {0: "a", 1: "b", 2: "c"}


def test_a_head_that_a_kill_cut_off_begins_again(output: Path) -> None:
    part(output).write_bytes(b'{"settings": {"se')
    with begin(output) as progress:
        assert progress.items == {}


def test_other_settings_are_named(output: Path) -> None:
    with begin(output) as first:
        first.add([(0, "a")])
    with pytest.raises(SettingsError, match=r"other settings \(seed\); keep the settings"):
        begin(output, seed=1)
    with begin(output, seed=1, overwrite=True) as second:
        assert second.items == {}
    with begin(output, seed=1) as third:
        assert third.items == {}


def test_a_start_that_finished_no_batch_does_not_bind_the_settings(output: Path) -> None:
    begin(output).file.close()
    with begin(output, seed=1, size=9) as second:
        assert second.free == {"batch_size": 9}
    with begin(output, seed=1) as third:
        assert third.items == {}


def test_another_file_of_this_name_is_not_touched(output: Path) -> None:
    part(output).write_text('{"mine": 1}\n')
    with pytest.raises(SettingsError, match="expected an unfinished file"):
        begin(output)
    assert part(output).read_text() == '{"mine": 1}\n'


def test_two_processes_do_not_write_one_file(output: Path) -> None:
    with begin(output), pytest.raises(SettingsError, match="another process"):
        begin(output)


def test_a_finished_file_leaves_none_behind(output: Path) -> None:
    with begin(output) as progress:
        progress.finish()
    assert not part(output).exists()
