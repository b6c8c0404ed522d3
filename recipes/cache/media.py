"""By what name a medium goes in a cache: the digest of its bytes."""

from __future__ import annotations

from pathlib import Path

from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.image import MediaError
from inlay.recipes.cache.store import CacheStore

__all__ = ["check_same", "media_key"]


def media_key(store: CacheStore, part: MediaPart) -> str:
    """64 hex digits; a file is read once in the life of a store.

    Raises:
        MediaError: it cannot be read.
    """
    if not isinstance(part.source, (str, Path)):
        return media_digest(part.modality, part.source).hex()
    place = (str(part.modality), Path(part.source))
    if place not in store.media:
        store.media[place] = media_digest(part.modality, part.source).hex()
    return store.media[place]


def check_same(part: MediaPart, key: str) -> None:
    """See that a file was not replaced between its digest and its decoding: its features would go by a false name.

    Raises:
        MediaError: it was.
    """
    if media_digest(part.modality, part.source).hex() != key:
        raise MediaError(f"{part.source}: changed while it was read; start again when nobody writes it")
