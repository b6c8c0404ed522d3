"""Pictures from untrusted files and from memory, as RGB.

JPEG, PNG and WebP are decoded, and the formats of :mod:`~inlay.adapters.media.containers.other_pictures`. The format is
determined by the first bytes, not by the file's name, so that none of Pillow's other readers is used. Size, passes and
memory are compared with the :class:`Budget` before a pixel is decoded, and the decoder of the first three gets no
metadata. No setting of Pillow is changed, and nothing is fetched from a network.

Conversion to RGB:

- grey, palette, CMYK and YCbCr pictures by Pillow's ``convert``; 16-bit ones keep their upper byte;
- transparent pixels are composited on white;
- the EXIF orientation is undone; an unreadable EXIF block means upright, as in image viewers, and orientation in XMP is
ignored, as in browsers;
- of an animation the first frame, and of a TIFF the first page; colour profiles are not applied;
- any size from 1 x 1 on. An array of shape ``[3, 3]`` or ``[3, 3, 3]`` is a picture of 3 x 3: channels come last.
"""

from __future__ import annotations

import math
import struct
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inlay.adapters.media.budget import BUDGET, LARGE, REDUCED_PIXELS, Budget
from inlay.adapters.media.containers.exif import orientation
from inlay.adapters.media.containers.jpeg import Jpeg, read_jpeg
from inlay.adapters.media.containers.other_pictures import PICTURE_FORMATS, other_picture, read_header
from inlay.adapters.media.containers.png import read_png
from inlay.adapters.media.errors import MediaError, TooLargeError
from inlay.adapters.media.geometry import Geometry, fit
from inlay.adapters.media.sources import EncodedMedium, MediaBytes
from inlay.adapters.media.untrusted import opened, path_inside
from inlay.hub.safety.text import shown

__all__ = [
    "ORIENTATIONS",
    "Geometry",
    "ImageSource",
    "MediaError",
    "fit",
    "load_image",
    "load_image_bytes",
    "path_inside",
    "picture_of",
    "picture_size",
    "reduced",
]

ImageSource: TypeAlias = str | Path | bytes | EncodedMedium | Image.Image | NDArray[Any]
"""A path, the bytes of an encoded file, a picture in memory, or an array (see :func:`picture_of`)."""

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that makes the stored picture upright; 1 is upright."""

_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Mode -> bytes per pixel in Pillow's memory; 4 in all other modes."""
_WEBP_BYTES = 16
"""Bytes per pixel while a WebP is decoded: libwebp's two canvases, Pillow's bytes and its picture (measured)."""
_BAND = 1 << 20
"""Number of pixels that are converted at once."""


def load_image(source: ImageSource, *, root: Path | None = None, budget: Budget = BUDGET) -> Image.Image:
    """Read a picture as RGB, upright.

    Args:
        source: a path, the bytes of an encoded file, or a picture or an array in memory (converted in the same way). A
            :class:`~inlay.adapters.media.sources.DownscaledPath` beyond the budget is downscaled.
        root: folder that a path must stay in, symbolic links followed; a relative path starts there.
        budget: limits on the cost of reading.

    Raises:
        MediaError: missing, empty, truncated, too large, of an unknown format, outside of `root`, a URL, or an array
            that is not a picture.

    Example:
        >>> load_image(Image.new("LA", (4, 3), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
        >>> load_image(np.full((3, 4), 0.5)).getpixel((0, 0))
        (128, 128, 128)
    """
    name = "the picture in memory"
    if isinstance(source, np.ndarray):
        source = picture_of(source, name, budget)
    if isinstance(source, Image.Image):
        budget.check_picture(source.size, name)
        picture = _upright(_decoded(source, name), _orientation_in_memory(source))
        return picture.copy() if picture.im is source.im else picture
    if not isinstance(source, str | Path | bytes | EncodedMedium):
        raise MediaError(
            f"expected a path, bytes, a PIL.Image.Image or a NumPy array [height, width, 3], got "
            f"{type(source).__name__}"
        )
    with opened(source, root) as (file, name):
        try:
            return _read(file, name, budget)
        except TooLargeError:
            if not getattr(source, "downscale", False):
                raise
            file.seek(0)
            return reduced(_read(file, name, LARGE))


def reduced(picture: Image.Image) -> Image.Image:
    """Downscale a picture to at most ``REDUCED_PIXELS`` pixels, keeping the aspect ratio."""
    scale = math.sqrt(REDUCED_PIXELS / (picture.width * picture.height))
    if scale < 1:
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        picture.thumbnail(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return picture


def load_image_bytes(data: bytes, name: str, *, budget: Budget = BUDGET) -> Image.Image:
    """Read a picture from bytes, such as a member of an archive, as :func:`load_image` reads a file.

    Args:
        data: a whole JPEG, PNG or WebP file.
        name: its name in errors.
        budget: limits on the cost of reading.

    Raises:
        MediaError: empty, truncated, too large, or not JPEG/PNG/WebP.
    """
    with opened(MediaBytes(data, name)) as (file, _):
        return _read(file, name, budget, common=True)


def picture_of(array: NDArray[Any], name: str, budget: Budget = BUDGET) -> Image.Image:
    """Convert an array to a picture.

    Args:
        array: ``[height, width]`` (grey), ``[height, width, 3]`` (RGB) or ``[height, width, 4]`` (RGBA); uint8 0..255,
            or floating point 0..1.
        name: its name in errors.
        budget: limit on its size.

    Raises:
        MediaError: another shape or dtype, or values outside of 0..1.
    """
    pixels = np.asarray(array)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise MediaError(
            f"{name}: expected an array [height, width], [height, width, 3] or [height, width, 4], got shape "
            f"{list(pixels.shape)}; channels come last"
        )
    budget.check_picture((pixels.shape[1], pixels.shape[0]), name)
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise MediaError(f"{name}: expected floating point values from 0 to 1, or uint8 from 0 to 255")
        pixels = np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise MediaError(f"{name}: expected uint8 from 0 to 255 or floating point from 0 to 1, got {pixels.dtype}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def picture_size(source: ImageSource, *, budget: Budget = BUDGET) -> tuple[int, int]:
    """Width and height of the picture that :func:`load_image` returns; no pixel is decoded.

    Args:
        source: as in :func:`load_image`.
        budget: limits on the cost of reading.

    Raises:
        MediaError: as in :func:`load_image`, for errors that the header reveals.

    Example:
        >>> picture_size(Image.new("L", (4, 3)))
        (4, 3)
    """
    if isinstance(source, Image.Image):
        return _turned(source.size, _orientation_in_memory(source))
    if isinstance(source, str | Path | bytes | EncodedMedium):
        large = suppress(TooLargeError) if getattr(source, "downscale", False) else nullcontext()
        with large, opened(source, None) as (file, name):
            image, turn = _undecoded(file, name, budget)
            return _turned(image.size, turn)
    return load_image(source, budget=budget).size


def _read(file: BinaryIO, name: str, budget: Budget, *, common: bool = False) -> Image.Image:
    """Read with the decoder for these first bytes; with ``common`` only JPEG, PNG and WebP."""
    image, turn = _undecoded(file, name, budget, common=common)
    picture = _decoded(image, name)
    del image  # frees its pixels, and libwebp's, before the picture is rotated
    return _upright(picture, turn)


def _undecoded(file: BinaryIO, name: str, budget: Budget, *, common: bool = False) -> tuple[ImageFile, int]:
    """The reader for these first bytes, after reading the header, and the EXIF orientation."""
    size = budget.check_file(file, name)
    head = file.read(30)
    file.seek(0)
    if head.startswith(b"\xff\xd8\xff"):
        found = read_jpeg(file, name)
        turn, image = orientation(found.exif), read_header(JpegImageFile, found.pixels, name, budget)
        _reduce(image, found, turn != 1, name, budget)
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        png = read_png(file, name)
        turn, image = orientation(png.exif), read_header(PngImageFile, png.pixels, name, budget)
        budget.check_memory(image.width * image.height * _bytes(image, turn != 1), name)
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        # libwebp allocates the canvas when a file is opened, so the size must be checked before.
        width, height = _webp_canvas(head)
        budget.check_picture((width, height), name)
        budget.check_memory(size + _WEBP_BYTES * width * height, name)
        image = read_header(WebPImageFile, file, name, budget)
        turn = orientation(image.info.get("exif", b""))
    elif not common and (opener := other_picture(head)) is not None:
        other = opener(file, name, budget)
        turn, image = other.turn, other.image
        budget.check_memory(size + image.width * image.height * (_bytes(image, turn != 1) + other.extra), name)
    else:
        known = "JPEG, PNG or WebP" if common else PICTURE_FORMATS
        raise MediaError(f"{name}: expected a {known} file, got one that starts with {shown(head[:8])}")
    return image, turn


def _reduce(image: ImageFile, found: Jpeg, turned: bool, name: str, budget: Budget) -> None:
    """Choose the size at which a JPEG is decoded: the largest that fits into memory."""
    pixels = image.width * image.height
    budget.check_work(pixels * found.scans, f"{found.scans:,} scans of {image.width} x {image.height}", name)
    each = _bytes(image, turned) * pixels
    for scale in (1, 2, 4, 8):
        if found.coefficient_bytes + each / scale**2 <= budget.memory:
            break
    if scale > 1:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    budget.check_memory(found.coefficient_bytes + image.width * image.height * _bytes(image, turned), name)


def _bytes(image: Image.Image, turned: bool) -> int:
    """Peak bytes per pixel: as decoded, and once more as RGB if the picture is converted or rotated."""
    plain = image.mode == "RGB" and not image.has_transparency_data and not turned
    return _BYTES.get(image.mode, 4) + (0 if plain else 4)


def _webp_canvas(head: bytes) -> tuple[int, int]:
    """Width and height from the first 30 bytes (RFC 9649, sections 2.5 to 2.7)."""
    head = head.ljust(30, b"\0")
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _decoded(image: Image.Image, name: str) -> Image.Image:
    """RGB pixels as stored; Pillow's readers raise errors of many classes for a damaged file."""
    try:
        image.load()
    except Exception as error:
        raise MediaError(f"{name}: the picture is damaged or cut off: {error}") from error
    if image.mode not in _PLAIN_MODES and not image.mode.startswith("I;16"):
        raise MediaError(f"{name}: expected 8 or 16 bits a channel, got a picture of mode {image.mode!r}")
    if image.mode == "RGB" and not image.has_transparency_data:
        plain = image._new(image.im)
        plain.info = {}  # otherwise the orientation would be undone a second time
        return plain
    # Band by band, so that no intermediate picture of full size is needed.
    result = Image.new("RGB", image.size)
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        result.paste(_as_rgb(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return result


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def _upright(image: Image.Image, turn: int) -> Image.Image:
    return image if turn not in ORIENTATIONS else image.transpose(ORIENTATIONS[turn])


def _turned(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """The size of a picture after its orientation is undone; 5 to 8 exchange width and height."""
    return (size[1], size[0]) if turn in range(5, 9) else size


def _orientation_in_memory(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
