"""Choosing the model card of a bundle: a generated one, or one that was edited by hand.

A generated card ends with a comment that contains the hash of the text above it. If text and hash agree, the card was
not edited and is generated again; if they differ, or there is no such comment, the card is kept.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, TypeAlias

from inlay.hub.errors import BundleError
from inlay.hub.format.card import render_card
from inlay.hub.format.manifest import Manifest

__all__ = ["CardChoice", "choose_card", "is_edited", "make_card"]

CardChoice: TypeAlias = Literal["generated", "local", "remote"]
"""Generated from the manifest; edited by hand in the folder; edited by hand on the hub."""

_MARK = re.compile(rb"\n<!-- made by inlay ([0-9a-f]{16}); a card that you edit is kept -->\n\Z")


def make_card(manifest: Manifest, repo_id: str | None = None) -> bytes:
    """Generate a card, with the comment at its end."""
    text = render_card(manifest, repo_id).encode("utf-8")
    return text + f"\n<!-- made by inlay {_digest(text)}; a card that you edit is kept -->\n".encode()


def is_edited(card: bytes, manifest: bytes | None = None) -> bool:
    """Whether a card was changed after it was generated.

    Args:
        card: the content of the file.
        manifest: the ``inlay.json`` of the same bundle, to recognise generated cards of versions without the comment.
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
    """Choose the card to send: an edited card has priority, the one in the folder before the one on the hub.

    Args:
        manifest: the manifest of the bundle that is sent.
        repo_id: the target repository.
        local: the card in the folder, if there is one.
        remote: the card on the hub, if there is one.
        remote_manifest: the ``inlay.json`` on the hub, if there is one.
        renew: always generate a new card; an edited one is replaced.
    """
    if not renew:
        if local is not None and is_edited(local, manifest.to_json()):
            return "local", local
        if remote and remote_manifest is not None and is_edited(remote, remote_manifest):
            return "remote", remote
    return "generated", make_card(manifest, repo_id)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]
