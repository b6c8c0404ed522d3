"""Which model card a bundle gets: a new one, or the one that somebody has edited.

A generated card ends with a mark that holds the hash of the text above it. Where text and mark agree, nobody has
touched the card and it is made anew; where they do not, or there is no mark, it is somebody's own and is kept.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, TypeAlias

from inlay.hub.errors import BundleError
from inlay.hub.format.card import render_card
from inlay.hub.format.manifest import Manifest

__all__ = ["CardChoice", "choose_card", "is_edited", "make_card"]

CardChoice: TypeAlias = Literal["made", "local", "remote"]
"""Made from the manifest; the one in the folder, edited by hand; the one on the hub, edited by hand."""

_MARK = re.compile(rb"\n<!-- made by inlay ([0-9a-f]{16}); a card that you edit is kept -->\n\Z")


def make_card(manifest: Manifest, repo_id: str | None = None) -> bytes:
    """The generated card, with its mark."""
    text = render_card(manifest, repo_id).encode("utf-8")
    return text + f"\n<!-- made by inlay {_digest(text)}; a card that you edit is kept -->\n".encode()


def is_edited(card: bytes, manifest: bytes | None = None) -> bool:
    """Whether somebody has changed a card since it was made.

    Args:
        card: the file.
        manifest: the ``inlay.json`` beside it: cards that were made before there was a mark are recognised by it.
    """
    unified = card.replace(b"\r\n", b"\n")
    if match := _MARK.search(unified):
        return match.group(1).decode() != _digest(unified[: match.start()])
    try:
        return manifest is None or unified != render_card(Manifest.from_json(manifest)).encode("utf-8")
    except BundleError:
        return True


def choose_card(
    manifest: Manifest,
    repo_id: str,
    local: bytes | None,
    remote: bytes | None,
    remote_manifest: bytes | None,
    *,
    renew: bool = False,
) -> tuple[CardChoice, bytes]:
    """The card to send: an edited one before a generated one, and the one in the folder before the one on the hub.

    Args:
        manifest: of the bundle that is sent.
        repo_id: where to.
        local: the card in its folder.
        remote: the card on the hub.
        remote_manifest: the ``inlay.json`` on the hub.
        renew: make a new one in any case.
    """
    if not renew:
        if local is not None and is_edited(local, manifest.to_json()):
            return "local", local
        if remote and remote_manifest is not None and is_edited(remote, remote_manifest):
            return "remote", remote
    return "made", make_card(manifest, repo_id)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
