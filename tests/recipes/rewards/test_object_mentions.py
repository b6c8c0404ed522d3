"""Object classes in texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.rewards.object_mentions import mentioned, read_classes
from inlay.recipes.rewards.registry import RewardError


def test_synonyms_plurals_and_phrases_are_classes(tmp_path: Path) -> None:
    (tmp_path / "objects.txt").write_text("person, man, woman\ndog, puppy\nhot dog\n\nbus\n")
    classes = read_classes(tmp_path / "objects.txt")
    text = "Two puppys, a MAN and  a hot\ndog on buses; hotdog, doghouse."
    assert mentioned(text, classes) == ["dog", "person", "hot dog", "bus"]


@pytest.mark.parametrize(("text", "told"), [("", "at least one class"), ("a, b\nc, b", "'b' is in 'a' and in 'c'")])
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "objects.txt").write_text(text)
    with pytest.raises(RewardError, match=told):
        read_classes(tmp_path / "objects.txt")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "objects.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(RewardError, match="expected a text file"):
        read_classes(tmp_path / "objects.txt")
