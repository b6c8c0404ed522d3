"""Clips from files nobody vouched for: one call that gives RGB frames evenly spaced in time, or a clear error.

MP4/QuickTime, WebM/Matroska and GIF are read by PyAV. The demuxer is chosen by the first bytes and named to FFmpeg, so
that none of its others (playlists, lists of files, network streams) ever sees a byte; the codec must be one of a short
list; and the one file is all that can be opened.

**Which frames.** First the time stamps alone are read, without decoding. Of a clip of at most ``max_frames`` frames at
one pace all are kept. Else the time is divided into ``max_frames`` equal spans, and of each the frame is taken that is
on the screen in its middle; ``fps`` of the result says how long a span is. A clip longer than the cap is an error.

**How large.** All frames together have at most ``MAX_CLIP_PIXELS`` pixels; where they would have more, each is shrunk.
The size in the header is checked before the first picture is decoded.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from inlay.adapters.media.gif_file import check_blocks
from inlay.adapters.media.image import MAX_PIXELS
from inlay.adapters.media.mp4_tables import check_tables
from inlay.adapters.media.untrusted import MediaError, opened
from inlay.adapters.media.video import Video
from inlay.hub.safety.text import shown

__all__ = ["MAX_CLIP_PIXELS", "MAX_CLIP_SECONDS", "MAX_FRAMES", "VideoSource", "load_video"]

MAX_CLIP_SECONDS = 1800.0
"""Longest clip that is read: half an hour."""
MAX_FRAMES = 256
"""Frames that are kept of a clip, unless another number is asked for."""
MAX_CLIP_PIXELS = 1 << 25
"""Pixels of all kept frames together: 100 MB."""
_MAX_STAMPS = 1 << 18
_MAX_DECODED = 1 << 37
"""Pixels that are decoded on the way to the kept frames: half an hour of 1920 x 1080 at 30 frames a second."""
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "gif"})
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}

VideoSource: TypeAlias = str | Path | Video | tuple[Any, float]
"""A path, a clip in memory, or frames (pictures, or ``[n, height, width, 3]`` of 0..255) with their number a second."""


def load_video(
    source: VideoSource,
    *,
    root: Path | None = None,
    max_frames: int = MAX_FRAMES,
    max_seconds: float = MAX_CLIP_SECONDS,
) -> Video:
    """Read a clip as RGB frames, upright.

    Args:
        source: a path, or frames in memory (checked; none is left out).
        root: folder that a path must stay in, symbolic links followed; a relative path is taken from there.
        max_frames: most frames that are kept of a file.
        max_seconds: longest clip that is read.

    Raises:
        MediaError: missing, empty, damaged, too long, too large, not MP4/WebM/GIF, another codec, outside of `root`, a
            URL, no pictures; or a file, and PyAV is not installed.
    """
    if isinstance(source, Video):
        return _checked(source.frames, source.fps)
    if isinstance(source, tuple) and len(source) == 2:
        return _checked(_pictures(source[0]), source[1])
    if not isinstance(source, str | Path):
        raise MediaError(
            f"expected a path, a Video or a pair of frames and their number a second, got {type(source).__name__}"
        )
    with opened(source, root) as (file, name):
        demuxer = _demuxer(file, name)
        try:
            import av
        except ImportError as error:
            raise MediaError(f"{name}: reading clips needs PyAV: pip install 'inlay[video]'") from error
        if demuxer == "mov":
            check_tables(file, name)
        elif demuxer == "gif":
            check_blocks(file, name)
        try:
            return _read(av.open, file, name, demuxer, max_frames, max_seconds)
        except MediaError:
            raise
        except Exception as error:
            # Beside its own errors PyAV lets out those of decoding names and of numbers that cannot be.
            raise MediaError(f"{name}: the clip is damaged or cut off: {error}") from error


def spans(stamps: Sequence[float], end: float, count: int) -> list[int]:
    """For each of ``count`` equal spans from the first time stamp to ``end``, the frame on the screen in its middle.

    Args:
        stamps: when each frame appears, rising, in any unit.
        end: when the last frame disappears.
        count: how many.

    Returns:
        ``count`` indices, never falling.

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
    return Video(tuple(frame if frame.mode == "RGB" else frame.convert("RGB") for frame in frames), float(fps))


def _pictures(frames: Any) -> Sequence[Image.Image]:
    if isinstance(frames, Sequence) and all(isinstance(frame, Image.Image) for frame in frames):
        return frames
    pixels = np.asarray(frames)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3 or 0 in pixels.shape[1:3]:
        raise MediaError(
            f"the clip in memory: expected pictures, or uint8 of shape [n, height, width, 3], got {pixels.dtype} of "
            f"shape {list(pixels.shape)}"
        )
    return [Image.fromarray(frame) for frame in pixels]


def _demuxer(file: BinaryIO, name: str) -> str:
    head = file.read(12)
    file.seek(0)
    if not head:
        raise MediaError(f"{name}: the file is empty")
    if head[4:8] == b"ftyp":
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    raise MediaError(f"{name}: expected an MP4, WebM or GIF file, got one that starts with {shown(head[:8])}")


def _read(open_container: Any, file: BinaryIO, name: str, demuxer: str, max_frames: int, max_seconds: float) -> Video:
    options = {"format": demuxer, "io_open": _nothing_else, "metadata_errors": "replace"}
    with open_container(file, "r", **options) as container:
        stream = _stream(container, name)
        times, end = _stamps(container, stream, name, max_seconds)
        seconds = (end - times[0]) * float(stream.time_base)
        pixels, count = stream.width * stream.height, min(len(times), max_frames)
        if pixels * len(times) > _MAX_DECODED:
            raise MediaError(
                f"{name}: {len(times)} frames of {stream.width} x {stream.height} are too much; make the clip smaller"
            )
    file.seek(0)
    chosen = [times[index] for index in spans(times, end, count)]
    shrink = min(1.0, math.sqrt(MAX_CLIP_PIXELS / (pixels * count)))
    with open_container(file, "r", **options) as container:
        held = _decoded(container, _stream(container, name), set(chosen), shrink, name)
    lost = sorted(set(chosen) - set(held))
    if lost:
        raise MediaError(f"{name}: the clip is damaged or cut off: {len(lost)} of {len(set(chosen))} frames are lost")
    frames = tuple(held[stamp] for stamp in chosen)
    if len({frame.size for frame in frames}) > 1:
        raise MediaError(f"{name}: the pictures change their size within the clip")
    return Video(frames, count / seconds)


def _nothing_else(url: str, *_: Any) -> Any:
    """In place of FFmpeg's own way to open what a container refers to."""
    raise MediaError(f"a clip asks for another file, {shown(url)}; only the clip itself is read")


def _stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        raise MediaError(f"{name}: the file has no pictures")
    stream = container.streams.video[0]
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
    if codec not in _CODECS:
        raise MediaError(f"{name}: expected one of the codecs {', '.join(sorted(_CODECS))}, got {shown(codec)}")
    if stream.width < 1 or stream.height < 1 or stream.width * stream.height > MAX_PIXELS:
        raise MediaError(f"{name}: expected frames of 1 to {MAX_PIXELS:,} pixels, got {stream.width} x {stream.height}")
    return stream


def _stamps(container: Any, stream: Any, name: str, max_seconds: float) -> tuple[list[int], int]:
    """When each frame appears, rising, and when the last disappears, in the stream's time base; nothing is decoded."""
    shown_for: dict[int, int] = {}
    for packet in container.demux(stream):
        if packet.size and packet.pts is not None and not packet.is_discard:
            shown_for[packet.pts] = packet.duration or 0
        if len(shown_for) > _MAX_STAMPS:
            raise MediaError(f"{name}: more than {_MAX_STAMPS:,} frames are too many; cut the clip")
    if not shown_for:
        raise MediaError(f"{name}: the clip has no frames")
    times = sorted(shown_for)
    usual = (times[-1] - times[0]) // (len(times) - 1) if len(times) > 1 else round(1 / (25 * stream.time_base))
    end = times[-1] + max(1, shown_for[times[-1]] or usual)
    seconds = float((end - times[0]) * stream.time_base)
    if seconds > max_seconds:
        raise MediaError(f"{name}: {seconds:.1f} s are too long: at most {max_seconds:.0f} s; cut the clip")
    promised = _promised(container, stream)
    if promised > seconds * 1.1 + 1:
        raise MediaError(f"{name}: the clip is cut off: {promised:.1f} s were promised, {seconds:.1f} s came")
    return times, end


def _promised(container: Any, stream: Any) -> float:
    """How long the header says that the pictures last, in seconds; 0 where it speaks of the sound as well."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / 1_000_000 if len(container.streams) == 1 else 0.0


def _decoded(container: Any, stream: Any, wanted: set[int], shrink: float, name: str) -> dict[int, Image.Image]:
    held: dict[int, Image.Image] = {}
    for frame in container.decode(stream):
        if frame.width * frame.height > MAX_PIXELS:
            raise MediaError(f"{name}: {frame.width} x {frame.height} pixels are too many")
        if frame.pts in wanted and frame.pts not in held:
            image = frame.to_image()
            if shrink < 1:
                image = image.resize([max(1, int(side * shrink)) for side in image.size], Image.Resampling.BICUBIC)
            turn = _TURNS.get(frame.rotation % 360)
            held[frame.pts] = image if turn is None else image.transpose(turn)
        if len(held) == len(wanted):
            break
    return held
