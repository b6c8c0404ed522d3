"""The errors of reading media."""

from __future__ import annotations

from inlay.hub.errors import InlayError

__all__ = ["MediaError", "TooLargeError"]


class MediaError(InlayError):
    """A medium cannot be read or must not be read; the text names the file and the reason."""


class TooLargeError(MediaError):
    """A picture or a clip is beyond the limits of a :class:`~inlay.adapters.media.budget.Budget`."""
