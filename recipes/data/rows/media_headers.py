"""Checks that a medium can be read, by its first bytes, its header and its end, without decoding pixels.

Only a picture that seems truncated, or of a less common format, is decoded as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inlay.adapters.media.budget import BUDGET, LARGE, Budget
from inlay.adapters.media.containers.other_pictures import PICTURE_FORMATS, other_picture
from inlay.adapters.media.features import feature_tensor
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import EncodedMedium
from inlay.adapters.media.untrusted import opened
from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown

__all__ = ["header_problem"]

_TAIL = 1 << 16
Source: TypeAlias = Path | EncodedMedium


def header_problem(modality: Modality, source: Source) -> str:
    """Why a medium cannot be read; empty if no fault was found.

    Args:
        modality: the expected modality.
        source: a file that exists and is not empty, or an encoded medium in memory or behind a URL.
    """
    budget = LARGE if getattr(source, "downscale", False) else BUDGET
    name = str(source) if isinstance(source, Path) else source.name
    try:
        with opened(source) as (file, _):
            return _CHECKS[modality](file, source, name, budget).removeprefix(f"{name}: ")
    except InlayError as error:
        return str(error).removeprefix(f"{name}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _image(file: BinaryIO, source: Source, name: str, budget: Budget) -> str:
    head = file.read(16)
    size, whole = file.seek(0, os.SEEK_END), True
    reader: Any
    if head.startswith(b"\xff\xd8\xff"):
        reader, whole = JpegImageFile, _has(file, b"\xff\xd9", max(0, size - _TAIL))
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        reader, whole = PngImageFile, _has(file, b"IEND", max(0, size - _TAIL))
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        reader, whole = WebPImageFile, int.from_bytes(head[4:8], "little") + 8 <= size
    elif other_picture(head) is not None:
        whole = False
    else:
        return f"expected a {PICTURE_FORMATS} file, got one that starts with {shown(head[:8])}"
    if not whole:
        load_image(source)  # raises an error if the file is damaged
        return ""
    file.seek(0)
    try:
        found = reader(file).size
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged header.
        return f"the header is damaged: {error}"
    budget.check_picture(found, name)
    return ""


def _has(file: BinaryIO, mark: bytes, start: int) -> bool:
    """Whether a byte string occurs after a position."""
    file.seek(start)
    return mark in file.read()


def _audio(file: BinaryIO, source: Source, name: str, budget: Budget) -> str:
    head = file.read(12)
    known = (
        (head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE")
        or head[:4] in (b"fLaC", b"OggS")
        or head[:3] == b"ID3"
        or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2)
    )
    if not known:
        return f"expected a WAV, FLAC, Ogg or MP3 file, got one that starts with {shown(head[:8])}"
    try:
        import soundfile
    except ImportError:
        return "reading sounds needs soundfile: pip install 'inlay[audio]'"
    file.seek(0)
    try:
        found = soundfile.info(file)
    except (soundfile.SoundFileError, RuntimeError) as error:
        return f"the header is damaged: {error}"
    if found.frames < 1:
        return "the sound has no samples"
    budget.check_seconds(found.frames / found.samplerate, name, "sound")
    return ""


def _video(file: BinaryIO, source: Source, name: str, budget: Budget) -> str:
    head = file.read(12)
    container = (
        "mov"
        if head[4:8] == b"ftyp"
        else "matroska"
        if head[:4] == b"\x1a\x45\xdf\xa3"
        else "gif"
        if head[:6] in (b"GIF87a", b"GIF89a")
        else ""
    )
    if not container:
        return f"expected an MP4, WebM or GIF file, got one that starts with {shown(head[:8])}"
    try:
        import av
    except ImportError:
        return "reading clips needs PyAV: pip install 'inlay[video]'"
    try:
        file.seek(0)
        with av.open(file, "r", format=container, metadata_errors="replace") as container_file:
            if not container_file.streams.video:
                return "the file has no video stream"
    except Exception as error:  # PyAV also raises errors of decoding metadata.
        return f"the header is damaged: {error}"
    return ""


def _features(file: BinaryIO, source: Source, name: str, budget: Budget) -> str:
    feature_tensor(file, name)
    return ""


_CHECKS: dict[Modality, Callable[[BinaryIO, Source, str, Budget], str]] = {
    "image": _image,
    "audio": _audio,
    "video": _video,
    "features": _features,
}
