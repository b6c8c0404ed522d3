"""Stored answers: whole blocks are kept, torn lines are not, other settings are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.evaluation.benchmarks import answer_store
from inlay.recipes.evaluation.benchmarks.answer_store import AnswerStore, StoredAnswer
from inlay.recipes.evaluation.errors import BenchmarkError

NAMES = [str(number) for number in range(5)]
ROWS = [StoredAnswer(name, f"answer\n{name} é", "stop") for name in NAMES]


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_store, "BLOCK", 2)


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    store = AnswerStore(tmp_path / "a" / "b")
    with store.opened({"bundle": "x"}):
        return store


def test_answers_are_read_again(store: AnswerStore) -> None:
    assert store.load("adapter", NAMES) == []
    store.append("adapter", ROWS[:2])
    store.append("adapter", ROWS[2:])
    assert store.load("adapter", NAMES) == ROWS
    assert len((store.folder / "adapter.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize("kept", [1, 30, -1, -20])
def test_a_torn_file_keeps_its_whole_blocks(store: AnswerStore, kept: int) -> None:
    store.append("adapter", ROWS)
    path = store.folder / "adapter.jsonl"
    path.write_bytes(path.read_bytes()[:kept])
    lines = path.read_bytes().count(b"\n")
    assert store.load("adapter", NAMES) == ROWS[: lines // 2 * 2]
    assert path.read_bytes().count(b"\n") == lines // 2 * 2
    store.append("adapter", ROWS[lines // 2 * 2 :])
    assert store.load("adapter", NAMES) == ROWS


def test_answers_to_other_questions_are_refused(store: AnswerStore) -> None:
    store.append("adapter", ROWS)
    with pytest.raises(BenchmarkError, match="expected the answers to the first 5 questions"):
        store.load("adapter", ["9", *NAMES])


def test_other_settings_are_refused_by_name(store: AnswerStore) -> None:
    with store.opened({"bundle": "x"}):
        pass
    with pytest.raises(BenchmarkError, match=r"other settings \(bundle\)"), store.opened({"bundle": "y"}):
        pass


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    with pytest.raises(BenchmarkError, match=r"it has photo\.png"), AnswerStore(tmp_path).opened({}):
        pass


def test_one_process_at_a_time(store: AnswerStore) -> None:
    facts = {"bundle": "x"}
    with store.opened(facts), pytest.raises(BenchmarkError, match="another evaluation"), store.opened(facts):
        pass
