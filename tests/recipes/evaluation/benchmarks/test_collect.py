"""Collecting answers: blocks, resuming, blind columns, several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from two_processes import in_two

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, media_of
from inlay.recipes.evaluation.answering import Answered, Asked
from inlay.recipes.evaluation.batches import in_batches
from inlay.recipes.evaluation.benchmarks import answer_store
from inlay.recipes.evaluation.benchmarks import collect as module
from inlay.recipes.evaluation.benchmarks.answer_store import AnswerStore
from inlay.recipes.evaluation.benchmarks.collect import collect, columns_of

NAMES = [str(number) for number in range(7)]
PROMPTS = [
    (Message("user", (*([MediaPart("image", f"{n}.png")] if n != 3 else []), TextPart(f"{n}?"))),) for n in range(7)
]


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_store, "BLOCK", 3)
    monkeypatch.setattr(module, "BLOCK", 3)


def _said(prompt: Any) -> str:
    return " ".join(str(part.source) for part in media_of(prompt)) + prompt[0].text


def _answer(asked: list[Asked]) -> list[Answered]:
    return [Answered(question, _said(prompt), name) for question, prompt, name in asked]


def _run(folder: Path, answer: Callable[[list[Asked]], list[Answered]] = _answer) -> dict[str, list[str]]:
    store = AnswerStore(folder)
    with store.opened({}):
        found = collect(NAMES, columns_of(PROMPTS), store, answer, lambda _: None)
    return {column: [row.answer for row in rows] for column, rows in found.items()}


def test_every_column_has_all_answers_in_order(tmp_path: Path) -> None:
    found = _run(tmp_path / "a")
    assert found["adapter"] == [_said(prompt) for prompt in PROMPTS]
    assert found["no medium"] == [f"{n}?" for n in range(7)]
    assert found["other medium"][:4] == ["4.png0?", "5.png1?", "6.png2?", "3?"]


def test_a_question_without_a_medium_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(block: list[Asked]) -> list[Answered]:
        asked.extend(name for _, _, name in block)
        return _answer(block)

    _run(tmp_path / "a", answer)
    seen = [name for name in NAMES if name != "3"]
    assert sorted(asked) == sorted([*NAMES, *seen, *seen])


@pytest.mark.parametrize("calls", range(1, 7))
def test_a_stopped_evaluation_goes_on_with_the_same_blocks(tmp_path: Path, calls: int) -> None:
    blocks: list[list[str]] = []

    def stopping(block: list[Asked]) -> list[Answered]:
        if len(blocks) == calls:
            raise KeyboardInterrupt
        blocks.append([name for _, _, name in block])
        return _answer(block)

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "a", stopping)
    done = blocks.copy()
    calls = 99
    assert _run(tmp_path / "a", stopping) == _run(tmp_path / "b")
    assert blocks[: len(done)] == done
    whole: list[list[str]] = []
    _run(tmp_path / "c", lambda block: (whole.append([name for _, _, name in block]), _answer(block))[1])
    assert blocks == whole
    for column in ("adapter", "no_medium", "other_medium"):
        assert (tmp_path / "a" / f"{column}.jsonl").read_text() == (tmp_path / "b" / f"{column}.jsonl").read_text()


def test_two_processes_share_the_questions_and_one_writes(tmp_path: Path) -> None:
    def work() -> tuple[Any, int]:
        own: list[int] = []

        def answer(asked: list[Asked]) -> list[Answered]:
            def batch(numbers: Any, _: int) -> list[Answered]:
                own.extend(numbers)
                return _answer([asked[number] for number in numbers])

            return in_batches(range(len(asked)), 1, batch, shared=True)

        from contextlib import ExitStack

        from inlay.recipes.distributed.ranks import first

        store = AnswerStore(tmp_path / "two")
        with ExitStack() as stack:
            first(lambda: stack.enter_context(store.opened({})))
            found = collect(NAMES, columns_of(PROMPTS), store, answer, lambda _: None)
        return {column: [row.answer for row in rows] for column, rows in found.items()}, len(own)

    (one, count), (other, others) = in_two(work)
    assert one == other == _run(tmp_path / "one")
    assert min(count, others) > 0
    assert count + others == 7 + 6 + 6
    assert (tmp_path / "two" / "adapter.jsonl").read_text() == (tmp_path / "one" / "adapter.jsonl").read_text()
