"""The judge of captions: a caption is right if it names exactly the things of the reference."""

from __future__ import annotations

from inlay.recipes.miniature.world.descriptions import read_caption

__all__ = ["caption_is_right"]


def caption_is_right(said: str, reference: str) -> bool:
    """Whether a caption names exactly the things of the reference, with size, colour, shape and place, in any order.

    If the reference names no thing, both texts must be equal.

    Example:
        >>> caption_is_right("there is a small red ring in the center.", "a small red ring in the center.")
        True
        >>> caption_is_right("a large red ring in the center.", "a small red ring in the center.")
        False
    """
    things = read_caption(reference)
    return read_caption(said) == things if things else said.strip() == reference.strip()
