"""Places the media of a row at the markers ``<image>``, ``<audio>``, ``<video>``, ``<features>`` in the user's texts.

As in LLaVA (https://github.com/haotian-liu/LLaVA, ``preprocess_multimodal`` at c121f04) a medium moves to the front of
its turn; in the formats of ms-swift and LLaMA-Factory it stays where its marker is. A marker counts as text if the row
has no medium for it, as in LLaVA, whose loader handles markers only in rows with an image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from inlay.adapters.conversation.messages import Role
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError

__all__ = ["MARKERS", "Piece", "place"]

MARKERS: dict[Modality, str] = {"image": "<image>", "audio": "<audio>", "video": "<video>", "features": "<features>"}
_MARKER = re.compile("|".join(MARKERS.values()))
_AT_LINE_START = re.compile(r"(?:^|\n)\s*(?:<(?:image|audio|video|features)>\s*)*$")

Piece: TypeAlias = str | tuple[Modality, Any]
"""A text of a turn, or a medium: its modality and its source."""
_Spot = tuple[int, int, str]
"""Turn, position in its text, marker."""


def place(
    turns: Sequence[tuple[Role, str]],
    files: Mapping[Modality, Sequence[Any]],
    where: str,
    offenders: Offenders,
    *,
    inline: bool = False,
) -> list[list[Piece]]:
    """Assign the media of a row to its turns.

    Args:
        turns: role and text.
        files: modality -> sources of the row's media, in the order of their markers.
        where: the row's place, for errors.
        offenders: collects notes on media without a marker, and on markers that are text.
        inline: whether a medium stays at its marker; if not, it moves to the front of its turn.

    Returns:
        The pieces of every turn. Without any marker the media are placed in front of the first turn of the user.

    Raises:
        DataError: the number of files equals neither the number of all markers nor that of markers at line starts.
    """
    pieces: list[list[Piece]] = [[value] for _, value in turns]
    found = _spots(turns)
    if not found and not any(files.values()):
        return pieces
    held: dict[int, dict[int, tuple[Modality, Any, str]]] = {}
    front: list[tuple[Modality, Any]] = []
    clips = files.get("video") and not files.get("image") and MARKERS["video"] not in found
    for modality, names in files.items():
        # LLaVA-NeXT's marker of clips is <image>.
        marker = MARKERS["image" if clips and modality == "video" else modality]
        spots = found.get(marker, ())
        if not (names or spots) or (clips and modality == "image"):
            continue
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
            held.setdefault(turn, {})[start] = modality, name, marker
    first = next((number for number, (role, _) in enumerate(turns) if role == "user"), None)
    if front and first is None:
        raise DataError(f"{where}: expected a turn of the user for the media, got none")
    for turn, markers in held.items():
        pieces[turn] = _turn(turns[turn][1], markers, inline=inline)
    if front and first is not None:
        pieces[first] = [*front, *(piece.strip() if isinstance(piece, str) else piece for piece in pieces[first])]
        held.setdefault(first, {})
    for turn in held:
        pieces[turn] = [piece for piece in pieces[turn] if piece != ""] or [""]
    return pieces


def _spots(turns: Sequence[tuple[Role, str]]) -> dict[str, list[_Spot]]:
    """Marker -> its occurrences in the texts of the user."""
    spots: dict[str, list[_Spot]] = {}
    for number, (role, value) in enumerate(turns):
        if role == "user" and "<" in value:
            for found in _MARKER.finditer(value):
                spots.setdefault(found[0], []).append((number, found.start(), found[0]))
    return spots


def _chosen(turns: Sequence[tuple[Role, str]], spots: Sequence[_Spot], count: int) -> Sequence[_Spot] | None:
    """The occurrences that are markers; None if they are ambiguous."""
    if len(spots) == count:
        return spots
    at_start = [spot for spot in spots if _AT_LINE_START.search(turns[spot[0]][1][: spot[1]])]
    return at_start if len(at_start) == count else None


def _turn(value: str, markers: Mapping[int, tuple[Modality, Any, str]], *, inline: bool) -> list[Piece]:
    """The pieces of one turn with markers; the white space around a marker belongs to the template."""
    media: list[Piece] = []
    texts: list[str] = []
    cursor = 0
    for start in sorted(markers):
        modality, name, marker = markers[start]
        texts.append(value[cursor:start])
        media.append((modality, name))
        cursor = start + len(marker)
    texts.append(value[cursor:])
    if not inline:
        return [*media, "".join(texts).strip()]
    return [piece for pair in zip(texts, [*media, ""], strict=True) for piece in (str(pair[0]).strip(), pair[1])]
