"""The errors of reading media are errors of the package."""

from __future__ import annotations

from inlay.adapters.media import image, untrusted
from inlay.adapters.media.errors import MediaError, TooLargeError
from inlay.hub.errors import InlayError


def test_every_error_of_a_medium_is_one_of_the_package() -> None:
    assert issubclass(TooLargeError, MediaError)
    assert issubclass(MediaError, InlayError)


def test_the_error_keeps_its_earlier_names() -> None:
    assert image.MediaError is untrusted.MediaError is MediaError
