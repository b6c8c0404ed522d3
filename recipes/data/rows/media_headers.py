"""Checks that a medium can be read, by its first bytes, its header and its end, without decoding pixels.

Only a picture that seems truncated is decoded as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inlay.adapters.media.budget import BUDGET
from inlay.adapters.media.features import feature_tensor
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.hub.safety.text import shown

__all__ = ["header_problem"]

_TAIL = 1 << 16


def header_problem(modality: Modality, path: Path) -> str:
    """Why a file cannot be read; empty if no fault was found.

    Args:
        modality: the expected modality.
        path: a file that exists and is not empty.
    """
    try:
        with path.open("rb") as file:
            return _CHECKS[modality](file, path)
    except InlayError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _image(file: BinaryIO, path: Path) -> str:
    head = file.read(16)
    size, whole = os.fstat(file.fileno()).st_size, True
    reader: type[ImageFile]
    if head.startswith(b"\xff\xd8\xff"):
        reader, whole = JpegImageFile, _has(file, b"\xff\xd9", max(0, size - _TAIL))
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        reader, whole = PngImageFile, _has(file, b"IEND", max(0, size - _TAIL))
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        reader, whole = WebPImageFile, int.from_bytes(head[4:8], "little") + 8 <= size
    else:
        return f"expected a JPEG, PNG or WebP file, got one that starts with {shown(head[:8])}"
    if not whole:
        load_image(path)  # raises an error if the file is damaged
        return ""
    file.seek(0)
    try:
        found = reader(file).size
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged header.
        return f"the header is damaged: {error}"
    BUDGET.check_picture(found, str(path))
    return ""


def _has(file: BinaryIO, mark: bytes, start: int) -> bool:
    """Whether a byte string occurs after a position."""
    file.seek(start)
    return mark in file.read()


def _audio(file: BinaryIO, path: Path) -> str:
    head = file.read(12)
    known = (
        (head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE")
        or head[:4] in (b"fLaC", b"OggS")
        or head[:3] == b"ID3"
        or (head[0] == 0xFF and len(head) > 1 and head[1] & 0xE6 == 0xE2)
    )
    if not known:
        return f"expected a WAV, FLAC, Ogg or MP3 file, got one that starts with {shown(head[:8])}"
    try:
        import soundfile
    except ImportError:
        return "reading sounds needs soundfile: pip install 'inlay[audio]'"
    try:
        found = soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError) as error:
        return f"the header is damaged: {error}"
    if found.frames < 1:
        return "the sound has no samples"
    BUDGET.check_seconds(found.frames / found.samplerate, str(path), "sound")
    return ""


def _video(file: BinaryIO, path: Path) -> str:
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
        with av.open(file, "r", format=container, metadata_errors="replace") as opened:
            if not opened.streams.video:
                return "the file has no video stream"
    except Exception as error:  # PyAV also raises errors of decoding metadata.
        return f"the header is damaged: {error}"
    return ""


def _features(file: BinaryIO, path: Path) -> str:
    feature_tensor(file, str(path))
    return ""


_CHECKS: dict[Modality, Callable[[BinaryIO, Path], str]] = {
    "image": _image,
    "audio": _audio,
    "video": _video,
    "features": _features,
}
