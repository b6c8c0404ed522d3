"""A part of the training rows held out for evaluation (``--data.test_size``), where there is no test file.

Which rows these are depends on the seed and on the names of their media, not on the order of the file. Rows that show
one medium stay together, so that no picture is both trained on and asked about. A run records the digests of its
held-out rows; a later evaluation finds these very rows again, also if the file has grown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.media.sources import EncodedMedium
from inlay.recipes.data.rows.sample import DataError, Sample, input_media

__all__ = ["hold_out", "row_digest", "rows_again", "split_places"]


def hold_out(
    samples: Mapping[str, Sequence[Sample]], size: float, seed: int, show: Callable[[str], object]
) -> tuple[dict[str, Any], list[str]]:
    """Divide the training rows; other training sets lose the rows that show a held-out medium.

    Args:
        samples: the result of :func:`~inlay.recipes.data.load.load_data`, without ``test``.
        size: a fraction of the rows below 1, or a number of rows.
        seed: of the run.
        show: prints one line for the user.

    Returns:
        The samples with ``test``, and the digests of the held-out rows.

    Raises:
        DataError: the rows cannot be divided.
    """
    rows = samples["train"]
    origin = rows[0].origin.partition(", ")[0]
    places = split_places(rows, size, seed)
    held = [rows[place] for place in places]
    shown = {key for row in held for key in _keys(row)}
    kept: dict[int, Sequence[Sample]] = {}
    lost = 0
    for name, own in samples.items():
        if id(own) not in kept and not name.endswith("_test") and not name.startswith("make_test"):
            rest = [place for place in range(len(own)) if shown.isdisjoint(_keys(own[place]))]
            lost += 0 if own is rows else len(own) - len(rest)
            kept[id(own)] = _take(own, rest)
    if empty := [name for name, own in samples.items() if not kept.get(id(own), own)]:
        raise DataError(f"{', '.join(empty)}: no row is left beside the held-out ones; lower --data.test_size")
    others = f"; {lost} rows of other files that show one of their media are left out" if lost else ""
    show(f"{origin}: {len(held)} of {len(rows)} rows are held out (test_size {size:g}, seed {seed}){others}")
    divided = {name: kept.get(id(own), own) for name, own in samples.items()}
    return {**divided, "test": _merged(held)}, [row_digest(row) for row in held]


def split_places(rows: Sequence[Sample], size: float, seed: int) -> list[int]:
    """The places of the held-out rows, in the order of the file.

    Raises:
        DataError: fewer rows than asked for, or all rows show one medium.
    """
    count = round(size * len(rows)) if size < 1 else int(size)
    groups: list[list[int]] = sorted(_groups(rows), key=lambda group: (_order(rows, group, seed), group))
    if len(groups) < 2 or count >= len(rows):
        reason = "all rows show the same media" if len(groups) < 2 else f"there are only {len(rows)} rows"
        raise DataError(f"test_size: {size:g} cannot be held out: {reason}; give --data.test instead")
    chosen: list[int] = []
    for group in groups:
        if len(chosen) + len(group) <= max(1, count):
            chosen += group
    if not chosen:
        chosen = min(groups, key=len)
    return sorted(chosen)


def rows_again(rows: Sequence[Sample], digests: Sequence[str]) -> list[Sample]:
    """The held-out rows of a run, from its training rows.

    Raises:
        DataError: some of them are not in the file any more.
    """
    wanted = set(digests)
    found = [row for row in rows if row_digest(row) in wanted]
    if missing := wanted - {row_digest(row) for row in found}:
        raise DataError(
            f"{len(missing)} of {len(wanted)} rows that the run held out are no longer in its training file; restore "
            "the file, or give --data.test"
        )
    return _merged(found)


def row_digest(row: Sample) -> str:
    """Digest of a row's texts and of the names of its media; folders do not matter."""
    plain: list[Any] = [_turns(row.messages), row.answers]
    if row.rejected or row.desirable is not None:  # Other rows keep the digest that earlier versions recorded.
        plain += [_turns(row.rejected), _turns(row.similar), row.desirable]
    return _hash(plain)


def _turns(messages: Sequence[Message]) -> list[Any]:
    return [[message.role, [_plain(part) for part in message.content]] for message in messages]


def _plain(part: Any) -> list[str]:
    return [part.text] if isinstance(part, TextPart) else [part.modality, _name(getattr(part, "source", None))]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _name(source: Any) -> str:
    if isinstance(source, str | Path):
        return Path(source).name
    if isinstance(source, EncodedMedium):
        return str(source)
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else repr(source)


def _keys(row: Sample) -> frozenset[str]:
    """The media of a row, or its texts if it has none."""
    media = input_media(row)
    if not media:
        return frozenset({row_digest(row)})
    return frozenset(str(part.source) if isinstance(part.source, str | Path) else _name(part.source) for part in media)


def _groups(rows: Sequence[Sample]) -> list[list[int]]:
    """Places of the rows that are connected by common media."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parent.setdefault(key, key)) != key:
            parent[key] = key = parent[above]
        return key

    first: list[str] = []
    for row in rows:
        keys = sorted(_keys(row))
        first.append(keys[0])
        for key in keys[1:]:
            parent[root(key)] = root(keys[0])
    groups: dict[str, list[int]] = {}
    for place, key in enumerate(first):
        groups.setdefault(root(key), []).append(place)
    return list(groups.values())


def _order(rows: Sequence[Sample], group: Sequence[int], seed: int) -> str:
    """A number that looks random, from the seed and the names of a group's media or its texts."""
    names = {_name(part.source) for place in group for part in input_media(rows[place])}
    return _hash([seed, min(names or (row_digest(rows[place]) for place in group))])


def _take(rows: Sequence[Sample], places: Sequence[int]) -> Sequence[Sample]:
    take: Any = getattr(rows, "take", None)  # rows that are read from the file when they are needed
    chosen: Sequence[Sample] = take(places) if take is not None else [rows[place] for place in places]
    return chosen


def _merged(rows: Iterable[Sample]) -> list[Sample]:
    """Rows with one question on the same media and other answers (captions) as one row with all answers."""
    together: dict[Any, list[Sample]] = {}
    for number, row in enumerate(rows):
        preference = row.rejected or row.desirable is not None
        alone = len(row.messages) != 2 or row.answers or preference or any(part for part in _made(row.messages))
        key: Any = number if alone else (_keys(row), row.messages[0].text)
        together.setdefault(key, []).append(row)
    return [_with_answers(own) for own in together.values()]


def _with_answers(own: Sequence[Sample]) -> Sample:
    if len(own) == 1:
        return own[0]
    return replace(own[0], answers=(tuple(row.messages[-1].text for row in own),))


def _made(messages: Sequence[Message]) -> list[Any]:
    return [part for part in messages[-1].content if not isinstance(part, TextPart)]
