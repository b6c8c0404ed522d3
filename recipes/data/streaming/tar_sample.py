"""Converts a group of tar members to a sample: one picture, and a caption from ``txt`` or ``json``."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from inlay.adapters.media.image import MediaError, load_image_bytes
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import decode, parse
from inlay.recipes.data.rows.records import described, filled
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.streaming.tar_groups import Group

__all__ = ["EXTENSIONS", "PICTURES", "BrokenSample", "sample_of"]

Reason: TypeAlias = Literal["member", "picture", "caption"]

PICTURES = ("jpg", "jpeg", "png", "webp")
EXTENSIONS = (*PICTURES, "txt", "json")
"""The members that are read."""


class BrokenSample(DataError):
    """One sample of a shard cannot be used.

    Args:
        reason: the kind of fault: duplicate members, the picture, or the caption.
        text: shard, sample and fault.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        self.reason: Reason = reason
        super().__init__(text)


def sample_of(group: Group, asked: str = "", *, decoded: bool = True) -> Sample:
    """The sample of one group.

    Args:
        group: the members.
        asked: text of the user's turn beside the picture; empty for none.
        decoded: whether to decode the picture; if not, the sample has no picture, and all else is checked.

    Raises:
        BrokenSample: duplicate members, no picture, several, or one that cannot be decoded, no caption.
    """
    if twice := [extension for extension in group.others if extension in group.parts]:
        raise BrokenSample("member", f"{group.where}: expected one member called {twice[0]}, got more")
    pictures = [extension for extension in PICTURES if extension in group.parts]
    if len(pictures) != 1:
        raise BrokenSample(
            "picture",
            f"{group.where}: expected one of {', '.join(PICTURES)}, got {shown([*group.parts, *group.others])}",
        )
    caption = _caption(group)
    picture: Any = None
    if decoded:
        try:
            picture = load_image_bytes(group.parts[pictures[0]], f"{group.where}, {pictures[0]}")
        except MediaError as error:
            raise BrokenSample("picture", str(error)) from error
    return described(group.where, picture, asked, caption, group.where)


def _caption(group: Group) -> str:
    try:
        if "txt" in group.parts:
            return filled({"txt": decode(group.parts["txt"], f"{group.where}, txt")}, "txt", group.where)
        if "json" in group.parts:
            where = f"{group.where}, json"
            item = parse(decode(group.parts["json"], where), where)
            if not isinstance(item, dict):
                raise DataError(f"{where}: expected an object with a caption, got {shown(item)}")
            return filled(item, "caption", where)
    except DataError as error:
        raise BrokenSample("caption", str(error)) from None
    got = shown([*group.parts, *group.others])
    raise BrokenSample("caption", f"{group.where}: expected a caption, txt or json, got {got}")
