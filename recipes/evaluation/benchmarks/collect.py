"""Answering the items of a benchmark, and the same items blind, with a store that keeps finished answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from inlay.adapters.conversation.messages import media_of
from inlay.recipes.data.rows.sample import Question
from inlay.recipes.distributed.ranks import first, is_first
from inlay.recipes.evaluation.answering import Answered, Asked
from inlay.recipes.evaluation.benchmarks.answer_store import BLOCK, AnswerStore, StoredAnswer
from inlay.recipes.evaluation.benchmarks.blind_prompts import Prompt, with_other_media, without_media

__all__ = ["ADAPTER", "NO_MEDIUM", "OTHER_MEDIUM", "collect", "columns_of"]

_SECONDS = 10.0
"""Seconds between two lines of progress."""
ADAPTER, NO_MEDIUM, OTHER_MEDIUM = "adapter", "no medium", "other medium"


def columns_of(prompts: Sequence[Prompt]) -> dict[str, list[Prompt]]:
    """Column -> prompts: unchanged, without media, with other media (left out if there is only one medium)."""
    columns = {ADAPTER: list(prompts)}
    if any(media_of(prompt) for prompt in prompts):
        columns[NO_MEDIUM] = without_media(prompts)
        if (others := with_other_media(prompts)) is not None:
            columns[OTHER_MEDIUM] = others
    return columns


def collect(
    names: Sequence[str],
    columns: Mapping[str, Sequence[Prompt]],
    store: AnswerStore,
    answer: Callable[[list[Asked]], list[Answered]],
    say: Callable[[str], None],
) -> dict[str, list[StoredAnswer]]:
    """The answers by column, in the order of the names; questions with a stored answer are not asked again.

    Args:
        names: the names of the items.
        columns: column -> prompts, the adapter's first. A blind prompt that equals the adapter's, because there is no
            medium, is not asked; it has the adapter's answer.
        store: the store, with the same folder in every process; the first one writes.
        answer: function that answers questions; with several processes, all call it with the same questions.
        say: function that prints progress.
    """
    found: dict[str, list[StoredAnswer]] = {}
    for column, prompts in columns.items():
        asked = [
            (name, prompt)
            for name, prompt, own in zip(names, prompts, columns[ADAPTER], strict=True)
            if column == ADAPTER or prompt != own
        ]
        given = _column(asked, column, store, answer, say)
        blind = {row.name: row for row in given}
        found[column] = (
            given
            if column == ADAPTER
            else [blind.get(name, own) for name, own in zip(names, found[ADAPTER], strict=True)]
        )
    return found


def _column(
    asked: Sequence[tuple[str, Prompt]],
    column: str,
    store: AnswerStore,
    answer: Callable[[list[Asked]], list[Answered]],
    say: Callable[[str], None],
) -> list[StoredAnswer]:
    names = [name for name, _ in asked]
    given = first(lambda: store.load(column, names))
    if given and len(given) < len(asked):
        say(f"{column}: continuing after {len(given)} of {len(asked)} answers")
    told_at = time.monotonic()
    for start in range(len(given), len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        told = answer([(Question(prompt, "", (), ""), prompt, name) for name, prompt in block])
        rows = [StoredAnswer(item.name, item.said, item.finish_reason) for item in told]
        if is_first():
            store.append(column, rows)
        given += rows
        if len(given) == len(asked) or time.monotonic() - told_at > _SECONDS:
            say(f"{column}: {len(given)} of {len(asked)} answers")
            told_at = time.monotonic()
    return given
