"""Loading one medium in the form that the encoder of its modality takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from PIL import Image

from inlay.adapters.media.audio import Sound, load_audio
from inlay.adapters.media.features import Features, load_features
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.video import Picks, Video, load_video

__all__ = ["LOADERS", "Loaded", "Medium", "load_medium"]

Medium: TypeAlias = Image.Image | Sound | Video
Loaded: TypeAlias = Medium | Features

LOADERS: Mapping[Modality, Callable[[Any], Loaded]] = {
    "image": load_image,
    "audio": load_audio,
    "video": load_video,
    "features": load_features,
}
"""Modality -> function that reads a path or an object in memory."""


def load_medium(modality: Modality, source: Any, picks: Picks | None = None) -> Loaded:
    """Load a picture, a :class:`Sound`, a :class:`Video`, or :class:`Features`.

    Args:
        modality: the modality of the medium.
        source: a path, the bytes of an encoded file, or an object in memory.
        picks: the frames of a clip that will be read, see :func:`load_video`; other media have none.

    Raises:
        MediaError: it cannot be read; names the file and the reason.

    Example:
        >>> load_medium("image", Image.new("L", (2, 2))).mode
        'RGB'
    """
    return load_video(source, picks=picks) if modality == "video" else LOADERS[modality](source)
