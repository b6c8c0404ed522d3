"""Pictures from files nobody vouched for: one call that gives an RGB picture or a clear error.

Only JPEG, PNG and WebP are decoded, chosen by the first bytes and not by the file's name, so that none of Pillow's
other readers ever sees a byte. The size in the header is checked before any pixel is decoded, no setting of Pillow is
changed, and no source is fetched from a network.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inlay.adapters.media.geometry import Geometry, fit
from inlay.adapters.media.untrusted import MediaError, opened, path_inside
from inlay.hub.safety.text import shown

__all__ = ["MAX_PIXELS", "MAX_SIDE", "Geometry", "MediaError", "fit", "load_image", "load_image_bytes", "path_inside"]

MAX_PIXELS = 89_478_485
"""Pixels of the largest picture that is decoded: a quarter of a GiB as 24-bit RGB, Pillow's own limit."""
MAX_SIDE = 65_535
"""Longest side, JPEG's own limit."""

_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of EXIF's orientation tag."""


def load_image(
    source: str | Path | Image.Image, *, root: Path | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Read a picture as RGB, upright, the first frame if it moves.

    Grey, palette, 16-bit (by its upper byte) and CMYK pictures become RGB; transparency is laid on white; EXIF rotation
    is undone, and an EXIF block that cannot be read is passed over as image viewers do.

    Args:
        source: a path, or a picture in memory (converted in the same way).
        root: folder that a path must stay in, symbolic links followed; a relative path is taken from there.
        max_pixels: largest width x height that is decoded.

    Raises:
        MediaError: missing, empty, truncated, too large, not JPEG/PNG/WebP, outside of `root`, or a URL.

    Example:
        >>> load_image(Image.new("LA", (4, 3), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if isinstance(source, Image.Image):
        name = "the picture in memory"
        _check_size(source.size, name, max_pixels)
        return _decode(source, name)
    if not isinstance(source, str | Path):
        raise MediaError(f"expected a path or a PIL.Image.Image, got {type(source).__name__}")
    with opened(source, root) as (file, name):
        return _decode(_open(file, name, max_pixels), name)


def load_image_bytes(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a picture out of memory, such as a member of an archive, as :func:`load_image` reads a file.

    Args:
        data: a whole JPEG, PNG or WebP file.
        name: what to call it in an error.
        max_pixels: largest width x height that is decoded.

    Raises:
        MediaError: empty, truncated, too large, or not JPEG/PNG/WebP.
    """
    return _decode(_open(BytesIO(data), name, max_pixels), name)


def _open(file: IO[bytes], name: str, max_pixels: int) -> ImageFile:
    """Read the header with the one reader that the first bytes ask for."""
    head = file.read(30)
    file.seek(0)
    if not head:
        raise MediaError(f"{name}: the file is empty")
    reader: type[ImageFile]
    if head.startswith(b"\xff\xd8\xff"):
        reader = JpegImageFile
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        reader = PngImageFile
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        reader = WebPImageFile
        # libwebp makes room for the canvas as soon as it is opened, so the size must be known before.
        _check_size(_webp_canvas(head), name, max_pixels)
    else:
        raise MediaError(f"{name}: expected a JPEG, PNG or WebP file, got one that starts with {shown(head[:8])}")
    try:
        image = reader(file)
    except Exception as error:
        raise MediaError(f"{name}: the header is damaged: {error}") from error
    _check_size(image.size, name, max_pixels)
    return image


def _webp_canvas(head: bytes) -> tuple[int, int]:
    """Width and height out of the first 30 bytes (RFC 9649, sections 2.5 to 2.7)."""
    head = head.ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels or max(size) > MAX_SIDE:
        raise MediaError(
            f"{name}: {width} x {height} pixels are too many: at most {max_pixels:,} pixels and {MAX_SIDE:,} on a "
            "side; make the picture smaller"
        )
    if min(size) < 1:
        raise MediaError(f"{name}: expected at least one pixel, got {width} x {height}")


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Decode the pixels; Pillow's readers raise nearly anything on a damaged file."""
    try:
        image.load()
    except Exception as error:
        raise MediaError(f"{name}: the picture is damaged or cut off: {error}") from error
    turn = _TURNS.get(_orientation(image))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode not in _PLAIN_MODES:
        raise MediaError(f"{name}: expected 8 or 16 bits a channel, got a picture of mode {image.mode!r}")
    if image.has_transparency_data:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
