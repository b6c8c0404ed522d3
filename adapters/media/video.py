"""Clips from untrusted files and from memory, as RGB frames evenly spaced in time.

MP4/QuickTime, WebM/Matroska and GIF are read by PyAV. The demuxer is chosen by the first bytes and passed to FFmpeg, so
that no other (playlists, lists of files, network streams) is used; only a short list of codecs is allowed; and no other
file can be opened.

**Which frames.** First the time stamps are read, without decoding. All frames are kept of a clip with at most
``Budget.frames`` frames at a constant rate. Otherwise the time is divided into that number of equal spans, and the
frame on screen at the middle of each span is kept; ``fps`` of the result is one frame per span. A clip longer than the
budget is an error. For an encoder that reads only a few frames (``picks``, indices in the whole clip at its own rate),
only these are kept.

**Size.** All kept frames together have at most ``Budget.clip_pixels`` pixels; larger ones are downscaled during the
conversion to RGB, so that no RGB picture of full size is created. With ``picks`` frames keep their size: ten may have
3.3 megapixels each. The size in the header and the pixels to decode are compared with the budget before decoding.

**Orientation.** Rotation and mirroring of the display matrix are applied, in all eight orientations.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from inlay.adapters.media.budget import BUDGET, LARGE, Budget
from inlay.adapters.media.containers.gif import check_gif
from inlay.adapters.media.containers.mp4 import check_mp4
from inlay.adapters.media.errors import MediaError, TooLargeError
from inlay.adapters.media.image import ORIENTATIONS, load_image, picture_of
from inlay.adapters.media.sources import EncodedMedium
from inlay.adapters.media.untrusted import opened
from inlay.hub.safety.text import shown

__all__ = ["Picks", "Video", "VideoSource", "load_video", "spans"]

_MAX_STAMPS = 1 << 18
"""Limit on the frames of a clip: half an hour at 145 per second."""
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "gif"})
_MATRIX_ORIENTATIONS = {
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""Signs of a, b, c, d of the display matrix (ISO 14496-12, 6.2.2) -> EXIF orientation."""


@dataclass(frozen=True, eq=False)
class Video:
    """Pictures in order of time, in memory."""

    frames: tuple[Image.Image, ...]
    """RGB, all of one size."""
    fps: float
    """Frames per second of the clip."""
    kept: tuple[int, ...] | None = None
    """Increasing indices of :attr:`frames` in the clip; None if all frames of the clip are kept."""
    total: int = 0
    """Number of frames of the clip; 0 if all are kept."""

    @property
    def count(self) -> int:
        """Number of frames of the clip, including those that were not kept."""
        return self.total or len(self.frames)

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.count / self.fps

    def frame(self, index: int) -> Image.Image:
        """A frame of the clip by its index.

        Raises:
            MediaError: this frame was not kept.
        """
        if self.kept is None:
            return self.frames[index]
        if index not in self.kept:
            raise MediaError(f"frame {index} of {self.count} was not kept; kept are {', '.join(map(str, self.kept))}")
        return self.frames[self.kept.index(index)]


VideoSource: TypeAlias = str | Path | bytes | EncodedMedium | Video | tuple[Any, float]
"""A path, the bytes of an encoded file, a clip in memory, or frames (pictures, or an array ``[n, height, width, 3]``)
and their number per second."""

Picks: TypeAlias = Callable[[int, float], Sequence[int]]
"""Number of frames of a clip and frames per second -> indices of the frames that an encoder reads."""


def load_video(
    source: VideoSource, *, root: Path | None = None, budget: Budget = BUDGET, picks: Picks | None = None
) -> Video:
    """Read a clip as RGB frames, upright.

    Args:
        source: a path, or frames in memory (checked, and all kept): pictures, or an array ``[n, height, width, 3]``
            or ``[n, height, width, 4]``, uint8 0..255 or floating point 0..1.
        root: folder that a path must stay in, symbolic links followed; a relative path starts there.
        budget: limits on the cost of reading, and on the frames that are kept of a file.
        picks: the frames that will be read; only these are kept of a file, unless they exceed ``budget.frames``.

    Raises:
        MediaError: missing, empty, damaged, too long, too large, not MP4/WebM/GIF, another codec, outside of `root`, a
            URL, no pictures; or the source is a file, and PyAV is not installed.
    """
    if isinstance(source, Video):
        return _checked(source.frames, source.fps)
    if isinstance(source, tuple) and len(source) == 2:
        return _checked(_pictures(source[0], budget), source[1])
    if not isinstance(source, str | Path | bytes | EncodedMedium):
        raise MediaError(
            f"expected a path, bytes, a Video or a pair of frames and their number per second, got "
            f"{type(source).__name__}"
        )
    with opened(source, root) as (file, name):
        try:
            return _clip(file, name, budget, picks)
        except TooLargeError:
            if not getattr(source, "downscale", False):
                raise
            file.seek(0)
            return _clip(file, name, LARGE, picks)


def _clip(file: BinaryIO, name: str, budget: Budget, picks: Picks | None) -> Video:
    demuxer = _demuxer(file, name, budget)
    try:
        import av
    except ImportError as error:
        raise MediaError(
            f"{name}: reading clips needs PyAV, which is not installed: pip install 'inlay[video]'"
        ) from error
    if demuxer == "mov":
        check_mp4(file, name)
    elif demuxer == "gif":
        _check_size(*check_gif(file, name), name, budget)
    try:
        return _read(av.open, file, name, demuxer, budget, picks)
    except MediaError:
        raise
    except Exception as error:
        # PyAV also raises UnicodeDecodeError for names and ValueError for invalid numbers.
        raise MediaError(f"{name}: the clip is damaged or cut off: {error}") from error


def spans(stamps: Sequence[float], end: float, count: int) -> list[int]:
    """The frame on screen at the middle of each of ``count`` equal spans from the first time stamp to ``end``.

    Args:
        stamps: start times of the frames, increasing, in any unit.
        end: end time of the last frame.
        count: number of spans.

    Returns:
        ``count`` indices in non-decreasing order.

    Example:
        >>> spans([0, 1, 2, 3, 4, 5, 6, 7], 8, 4)
        [1, 3, 5, 7]
        >>> spans([0, 1, 2], 3, 3)
        [0, 1, 2]
    """
    step = (end - stamps[0]) / count
    return [max(0, bisect_right(stamps, stamps[0] + (index + 0.5) * step) - 1) for index in range(count)]


def _checked(frames: Sequence[Image.Image], fps: float) -> Video:
    if not frames:
        raise MediaError("the clip in memory has no frames")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not math.isfinite(fps) or fps <= 0:
        raise MediaError(f"the clip in memory: expected the frames per second as a positive number, got {fps!r}")
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise MediaError(f"the clip in memory: expected frames of one size, got {sorted(sizes)}")
    return Video(tuple(frame if frame.mode == "RGB" else load_image(frame) for frame in frames), float(fps))


def _pictures(frames: Any, budget: Budget) -> Sequence[Image.Image]:
    if isinstance(frames, Sequence) and all(isinstance(frame, Image.Image) for frame in frames):
        return frames
    pixels = np.asarray(frames)
    if pixels.ndim != 4 or pixels.dtype.kind not in "fu":
        raise MediaError(
            f"the clip in memory: expected pictures, or an array of shape [n, height, width, 3], got {pixels.dtype} of "
            f"shape {list(pixels.shape)}"
        )
    return [picture_of(frame, f"frame {index} in memory", budget) for index, frame in enumerate(pixels)]


def _demuxer(file: BinaryIO, name: str, budget: Budget) -> str:
    budget.check_file(file, name)
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    raise MediaError(f"{name}: expected an MP4, WebM or GIF file, got one that starts with {shown(head[:8])}")


def _check_size(width: int, height: int, name: str, budget: Budget) -> None:
    if width < 1 or height < 1 or width * height > budget.frame_pixels:
        raise TooLargeError(f"{name}: expected frames of 1 to {budget.frame_pixels:,} pixels, got {width} x {height}")


def _read(open_container: Any, file: BinaryIO, name: str, demuxer: str, budget: Budget, picks: Picks | None) -> Video:
    # Opening a container decodes the first frames of all streams, so the limits are passed to FFmpeg too.
    limits = {"codec_whitelist": ",".join(sorted(_CODECS)), "max_pixels": str(budget.frame_pixels)}
    options = {"format": demuxer, "io_open": _nothing_else, "metadata_errors": "replace", "options": limits}
    with open_container(file, "r", **options) as container:
        stream = _stream(container, name, budget)
        times, end, compressed = _stamps(container, stream, name, budget)
        seconds = (end - times[0]) * float(stream.time_base)
        pixels = stream.width * stream.height
        size = f"{len(times):,} frames of {stream.width} x {stream.height}"
        budget.check_work(pixels * len(times), size, name, compressed=compressed)
    file.seek(0)
    total = len(times)
    kept = sorted(set(picks(total, total / seconds))) if picks is not None else None
    if kept is not None and len(kept) > budget.frames:
        kept = None
    if kept is None:
        total = min(total, budget.frames)
    every = spans(times, end, total)
    chosen = [times[every[index]] for index in (range(total) if kept is None else kept)]
    shrink = min(1.0, math.sqrt(budget.clip_pixels / (pixels * len(chosen))))
    with open_container(file, "r", **options) as container:
        held = _decoded(container, _stream(container, name, budget), set(chosen), shrink, name, budget)
    lost = sorted(set(chosen) - set(held))
    if lost:
        raise MediaError(f"{name}: the clip is damaged or cut off: {len(lost)} of {len(set(chosen))} frames are lost")
    frames = tuple(held[stamp] for stamp in chosen)
    if len({frame.size for frame in frames}) > 1:
        raise MediaError(f"{name}: the pictures change their size within the clip")
    return Video(frames, total / seconds) if kept is None else Video(frames, total / seconds, tuple(kept), total)


def _nothing_else(url: str, *_: Any) -> Any:
    """Replaces FFmpeg's opening of further files to which a container refers."""
    raise MediaError(f"the clip refers to another file, {shown(url)}; only the clip itself is read")


def _stream(container: Any, name: str, budget: Budget) -> Any:
    if not container.streams.video:
        raise MediaError(f"{name}: the file has no pictures")
    stream = container.streams.video[0]
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
    if codec not in _CODECS:
        raise MediaError(f"{name}: expected one of the codecs {', '.join(sorted(_CODECS))}, got {shown(codec)}")
    _check_size(stream.width, stream.height, name, budget)
    return stream


def _stamps(container: Any, stream: Any, name: str, budget: Budget) -> tuple[list[int], int, int]:
    """Start times of the frames, increasing, and the end time, in the stream's time base; nothing is decoded.

    The third value is the size of all compressed frames, in bytes.
    """
    durations: dict[int, int] = {}
    compressed = 0
    for packet in container.demux(stream):
        compressed += packet.size
        if packet.size and packet.pts is not None and not packet.is_discard:
            durations[packet.pts] = packet.duration or 0
        if len(durations) > _MAX_STAMPS:
            raise MediaError(f"{name}: more than {_MAX_STAMPS:,} frames are too many; cut the clip")
    if not durations:
        raise MediaError(f"{name}: the clip has no frames")
    times = sorted(durations)
    usual = (times[-1] - times[0]) // (len(times) - 1) if len(times) > 1 else round(1 / (25 * stream.time_base))
    end = times[-1] + max(1, durations[times[-1]] or usual)
    seconds = float((end - times[0]) * stream.time_base)
    budget.check_seconds(seconds, name, "clip")
    promised = _promised(container, stream)
    if promised > seconds * 1.1 + 1:
        raise MediaError(f"{name}: the clip is cut off: the header states {promised:.1f} s, got {seconds:.1f} s")
    return times, end, compressed


def _promised(container: Any, stream: Any) -> float:
    """Duration of the pictures according to the header, in seconds; 0 if it includes the sound."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1_000_000 if len(container.streams) == 1 else 0.0


def _decoded(
    container: Any, stream: Any, wanted: set[int], shrink: float, name: str, budget: Budget
) -> dict[int, Image.Image]:
    """Time stamp -> picture, for the wanted time stamps."""
    held: dict[int, Image.Image] = {}
    turn: Image.Transpose | None = None
    stream.codec_context.options = {"max_pixels": str(budget.frame_pixels)}
    for frame in container.decode(stream):
        _check_size(frame.width, frame.height, name, budget)
        if frame.pts in wanted and frame.pts not in held:
            image = frame.to_image(**(_shrunk(frame, shrink) if shrink < 1 else {}))
            # The matrix belongs to the track. Reading it from each frame would keep all frames in memory, because a
            # # frame and its side data refer to each other.
            turn = ORIENTATIONS.get(_orientation(frame)) if not held else turn
            held[frame.pts] = image if turn is None else image.transpose(turn)
        if len(held) == len(wanted):
            break
    return held


def _shrunk(frame: Any, shrink: float) -> dict[str, Any]:
    width, height = (max(1, int(side * shrink)) for side in (frame.width, frame.height))
    return {"width": width, "height": height, "interpolation": "BICUBIC"}


def _orientation(frame: Any) -> int:
    """EXIF orientation of a frame, from its display matrix; 1 without one, or if it is not a multiple of 90 degrees."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    return _MATRIX_ORIENTATIONS.get(signs, 1)
