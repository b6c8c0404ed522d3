"""Places the media of a row at the markers ``<image>``, ``<audio>``, ``<video>``, ``<features>`` in the user's texts.

As in LLaVA (https://github.com/haotian-liu/LLaVA, ``preprocess_multimodal`` at c121f04) a medium moves to the front of
its turn. A marker counts as text if the row has no medium for it, as in LLaVA, whose loader handles markers only in
rows with an image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from inlay.adapters.conversation.messages import Role
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError

__all__ = ["MARKERS", "Placed", "place"]

MARKERS: dict[Modality, str] = {"image": "<image>", "audio": "<audio>", "video": "<video>", "features": "<features>"}
_AT_LINE_START = re.compile(r"(?:^|\n)\s*(?:<(?:image|audio|video|features)>\s*)*$")

Placed = tuple[list[tuple[Modality, str]], str]
"""The media of a turn (modality, file), and its text."""
_Spot = tuple[int, int, str]
"""Turn, position in its text, marker."""


def place(
    turns: Sequence[tuple[Role, str]], files: Mapping[Modality, Sequence[str]], where: str, offenders: Offenders
) -> list[Placed]:
    """Assign the files of a row to its turns.

    Args:
        turns: role and text.
        files: modality -> files, in the order of their markers.
        where: the row's place, for errors.
        offenders: collects notes on media without a marker, and on markers that are text.

    Returns:
        Media and text of every turn. Without any marker the media are placed in front of the first turn of the user.

    Raises:
        DataError: the number of files equals neither the number of all markers nor that of markers at line starts.
    """
    held: list[dict[int, tuple[Modality, str, str]]] = [{} for _ in turns]
    front: list[tuple[Modality, str]] = []
    marked: dict[Modality, str] = {modality: MARKERS[modality] for modality in files}
    if files.get("video") and not files.get("image") and not _spots(turns, MARKERS["video"]):
        marked["video"] = MARKERS["image"]  # LLaVA-NeXT's marker of clips
        marked.pop("image", None)
    for modality, marker in marked.items():
        names, spots = files[modality], _spots(turns, marker)
        if names and not spots:
            front += [(modality, name) for name in names]
            offenders.note(f"have {modality} files and no marker: they are placed in front of the first turn", where)
            continue
        chosen = _chosen(turns, spots, len(names))
        if chosen is None:
            advice = "write a marker for each" if len(spots) < len(names) else "name a file for every marker"
            raise DataError(
                f"{where}, {modality}: {len(names)} {modality}(s) for {len(spots)} marker(s) {marker}; " + advice
            )
        if len(chosen) < len(spots):
            offenders.note(f"have {marker} as a word: it is read as text", where)
        for (turn, start, _), name in zip(chosen, names, strict=True):
            held[turn][start] = modality, name, marker
    first = next((number for number, (role, _) in enumerate(turns) if role == "user"), None)
    if front and first is None:
        raise DataError(f"{where}: expected a turn of the user for the media, got none")
    return [_turn(value, held[number], front if number == first else []) for number, (_, value) in enumerate(turns)]


def _spots(turns: Sequence[tuple[Role, str]], marker: str) -> list[_Spot]:
    return [
        (number, found.start(), marker)
        for number, (role, value) in enumerate(turns)
        if role == "user" and marker in value
        for found in re.finditer(re.escape(marker), value)
    ]


def _chosen(turns: Sequence[tuple[Role, str]], spots: list[_Spot], count: int) -> list[_Spot] | None:
    """The occurrences that are markers; None if they are ambiguous."""
    if len(spots) == count:
        return spots
    at_start = [spot for spot in spots if _AT_LINE_START.search(turns[spot[0]][1][: spot[1]])]
    return at_start if len(at_start) == count else None


def _turn(
    value: str, markers: Mapping[int, tuple[Modality, str, str]], front: Sequence[tuple[Modality, str]]
) -> Placed:
    if not markers and not front:
        return [], value
    media, words, cursor = list(front), "", 0
    for start in sorted(markers):
        modality, name, marker = markers[start]
        media.append((modality, name))
        words += value[cursor:start]
        cursor = start + len(marker)
    return media, (words + value[cursor:]).strip()
