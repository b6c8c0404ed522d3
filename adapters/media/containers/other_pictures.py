"""Less common picture formats: GIF (its first frame), BMP, TIFF, AVIF and HEIC, each chosen by its first bytes.

Each is read by one explicitly chosen reader of Pillow; HEIC by pillow-heif, if it is installed. Only headers are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

from PIL import features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from inlay.adapters.media.budget import Budget
from inlay.adapters.media.containers.exif import orientation
from inlay.adapters.media.containers.gif import check_gif
from inlay.adapters.media.errors import MediaError

__all__ = ["PICTURE_FORMATS", "Opened", "other_picture", "read_header"]

PICTURE_FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
"""All formats of pictures, for errors."""

_DECODER_BYTES, _CAMERA_BYTES = 12, 4
"""Bytes per pixel, in addition to Pillow's picture, while AVIF or HEIC is decoded: planes of up to 16 bits and the
library's RGBA; and for 8 bits in 4:2:0 without alpha, as in HEIC from cameras (measured)."""
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


@dataclass(frozen=True)
class Opened:
    """A picture whose header was read."""

    image: ImageFile
    turn: int = 1
    """EXIF orientation that is still to be undone."""
    extra: int = 0
    """Bytes per pixel that the decoder needs in addition to Pillow's own picture."""


_Opener: TypeAlias = Callable[[BinaryIO, str, Budget], Opened]


def other_picture(head: bytes) -> _Opener | None:
    """The function that opens a picture with these first bytes (at least 16); None for an unknown format."""
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _gif
    if head[:2] == b"BM":
        return _bmp
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return _avif
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _heic
    return None


def read_header(reader: Callable[[Any], Any], file: Any, name: str, budget: Budget) -> ImageFile:
    """Open a picture with one of Pillow's readers and compare its size with the budget.

    Raises:
        MediaError: a damaged header, or too many pixels.
    """
    try:
        image: ImageFile = reader(file)
    except Exception as error:
        raise MediaError(f"{name}: the header is damaged: {error}") from error
    budget.check_picture(image.size, name)
    return image


def _gif(file: BinaryIO, name: str, budget: Budget) -> Opened:
    budget.check_picture(check_gif(file, name), name)
    return Opened(read_header(GifImageFile, file, name, budget), extra=4)


def _bmp(file: BinaryIO, name: str, budget: Budget) -> Opened:
    return Opened(read_header(BmpImageFile, file, name, budget))


def _tiff(file: BinaryIO, name: str, budget: Budget) -> Opened:
    """Pillow undoes a TIFF's own orientation. A tile or a strip is decoded as a whole, so its size is checked too."""
    image: Any = read_header(TiffImageFile, file, name, budget)
    tags = image.tag_v2
    tile = (tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0))
    if not all(isinstance(side, int) for side in tile):
        raise MediaError(f"{name}: the header is damaged: tiles of {tile}")
    budget.check_picture((max(1, tile[0]), max(1, tile[1])), f"{name}, tile")
    return Opened(image, extra=4)


def _avif(file: BinaryIO, name: str, budget: Budget) -> Opened:
    if not features.check("avif"):
        raise MediaError(f"{name}: this build of Pillow does not support AVIF; install a wheel of Pillow from PyPI")
    from PIL.AvifImagePlugin import AvifImageFile

    image = read_header(AvifImageFile, file, name, budget)
    return Opened(image, orientation(image.info.get("exif", b"")), _DECODER_BYTES)


def _heic(file: BinaryIO, name: str, budget: Budget) -> Opened:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise MediaError(
            f"{name}: reading HEIC needs pillow-heif: pip install pillow-heif, or save the picture as JPEG"
        ) from None
    # libheif applies the orientation itself.
    image = read_header(HeifImageFile, file, name, budget)
    plain = (image.mode, image.info.get("bit_depth"), image.info.get("chroma")) == ("RGB", 8, 420)
    return Opened(image, extra=_CAMERA_BYTES if plain else _DECODER_BYTES)
