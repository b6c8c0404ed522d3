"""Sizes of ImageBind; the defaults are those of the released model, imagebind_huge."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from inlay.adapters.encoders.vision import EncoderError
from inlay.adapters.parts.fields import Between, ConfigError, Depth, Heads, Queries, Size, check_fields, check_heads

__all__ = [
    "BRANCHES",
    "AudioConfig",
    "Branch",
    "BranchConfig",
    "ImageBindConfig",
    "ImuConfig",
    "MapConfig",
    "TextConfig",
    "VisionConfig",
]

Branch: TypeAlias = Literal["vision", "text", "audio", "depth", "thermal", "imu"]

Seconds: TypeAlias = Annotated[float, Between(0.01, 3600.0)]
Scale: TypeAlias = Annotated[float, Between(1.0, 100.0)]


@dataclass(frozen=True, kw_only=True)
class _Trunk:
    """Sizes of a branch's transformer."""

    width: Size
    """Values per token."""
    blocks: Depth
    """Layers."""
    heads: Heads
    """Attention heads."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_heads(self.width, self.heads, "width")


@dataclass(frozen=True, kw_only=True)
class VisionConfig(_Trunk):
    """Pictures and clips share one branch: a picture is a clip of equal frames."""

    width: Size = 1280
    blocks: Depth = 32
    heads: Heads = 16
    image_size: Size = 224
    """Side of the square, in pixels."""
    patch: Size = 14
    """Side of a patch, in pixels."""
    frames: Size = 2
    """Frames of one clip; all of them make one layer of patches."""
    clips: Size = 5
    """Clips that are taken of a video."""
    crops: Size = 3
    """Squares that are cut out of each clip: 3 (left or top, middle, right or bottom) or 1 (middle)."""
    clip_seconds: Seconds = 2.0
    """Length of a clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crops not in (1, 3):
            raise ConfigError(f"crops: expected 1 or 3, got {self.crops}")
        check_heads(self.image_size, self.patch, "image_size")

    @property
    def tokens(self) -> int:
        """Patches of a clip."""
        return (self.image_size // self.patch) ** 2


@dataclass(frozen=True, kw_only=True)
class TextConfig(_Trunk):
    """CLIP's text tower, with CLIP's tokens."""

    width: Size = 1024
    blocks: Depth = 24
    heads: Heads = 16
    context: Size = 77
    """Tokens of a text, filled up with zeros."""
    vocabulary: Size = 49408
    """Ids; the highest one in a text is its end."""


@dataclass(frozen=True, kw_only=True)
class AudioConfig(_Trunk):
    """Mel spectrograms as pictures of one colour."""

    width: Size = 768
    blocks: Depth = 12
    heads: Heads = 12
    bands: Size = 128
    """Bands of the filter bank."""
    frames: Size = 204
    """Frames of one clip, 10 ms apart; filled up with zeros."""
    kernel: Size = 16
    """Side of a patch."""
    stride: Size = 10
    """From one patch to the next, which overlap."""
    scale: Scale = 20.0
    """What the vector of length 1 is multiplied by."""
    rate: Size = 16_000
    """Samples per second, in Hz."""
    clips: Size = 3
    """Clips that are taken of a sound."""
    clip_seconds: Seconds = 2.0
    """Length of a clip."""
    mean: Annotated[float, Between(-1e3, 1e3)] = -4.268
    """Of the log-mel values."""
    deviation: Annotated[float, Between(1e-3, 1e3)] = 9.138
    """Of the log-mel values."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along the bands and along time."""
        return (self.bands - self.kernel) // self.stride + 1, (self.frames - self.kernel) // self.stride + 1

    @property
    def tokens(self) -> int:
        """Patches of a clip."""
        rows, columns = self.grid
        return rows * columns


@dataclass(frozen=True, kw_only=True)
class MapConfig(_Trunk):
    """Depth or heat as pictures of one colour."""

    width: Size = 768
    blocks: Depth = 12
    heads: Heads = 12
    image_size: Size = 224
    """Side of the square, in pixels."""
    patch: Size = 16
    """Side of a patch, in pixels."""
    scale: Scale = 10.0
    """What the vector of length 1 is multiplied by."""

    @property
    def tokens(self) -> int:
        """Patches of a map."""
        return (self.image_size // self.patch) ** 2


@dataclass(frozen=True, kw_only=True)
class ImuConfig(_Trunk):
    """Accelerometer and gyroscope, 5 s at 400 Hz."""

    width: Size = 512
    blocks: Depth = 6
    heads: Heads = 8
    channels: Queries = 6
    """Three axes of each."""
    samples: Size = 2000
    """Samples of each channel."""
    kernel: Size = 8
    """Samples of each channel in one token."""
    scale: Scale = 5.0
    """What the vector of length 1 is multiplied by."""

    @property
    def tokens(self) -> int:
        """Pieces of a recording."""
        return self.samples // self.kernel


BranchConfig: TypeAlias = VisionConfig | TextConfig | AudioConfig | MapConfig | ImuConfig

BRANCHES: Mapping[Branch, type[BranchConfig]] = {
    "vision": VisionConfig,
    "text": TextConfig,
    "audio": AudioConfig,
    "depth": MapConfig,
    "thermal": MapConfig,
    "imu": ImuConfig,
}
"""Branch -> the dataclass of its sizes."""


@dataclass(frozen=True, kw_only=True)
class ImageBindConfig:
    """Which branches there are, and the space that they share."""

    width_out: Size = 1024
    """Values of the shared vector."""
    vision: VisionConfig | None = None
    """Pictures and clips."""
    text: TextConfig | None = None
    """Texts."""
    audio: AudioConfig | None = None
    """Sounds."""
    depth: MapConfig | None = None
    """Depth maps (disparity)."""
    thermal: MapConfig | None = None
    """Thermal pictures."""
    imu: ImuConfig | None = None
    """Motion."""

    def __post_init__(self) -> None:
        width = self.width_out
        if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 1 << 20:
            raise ConfigError(f"width_out: expected an integer from 1 to {1 << 20}, got {width!r}")

    @classmethod
    def huge(cls) -> ImageBindConfig:
        """The released model, all six branches."""
        depth = MapConfig(width=384, heads=8, scale=5.0)
        return cls(
            vision=VisionConfig(),
            text=TextConfig(),
            audio=AudioConfig(),
            depth=depth,
            thermal=MapConfig(),
            imu=ImuConfig(),
        )

    @property
    def branches(self) -> dict[Branch, BranchConfig]:
        """Those that there are."""
        found: dict[Branch, BranchConfig] = {}
        for name in BRANCHES:
            sizes: BranchConfig | None = getattr(self, name)
            if sizes is not None:
                found[name] = sizes
        return found

    def only(self, branches: Iterable[str]) -> ImageBindConfig:
        """Without the other branches.

        Raises:
            EncoderError: one of them is not there.
        """
        wanted = set(branches)
        if missing := wanted - set(self.branches):
            there = ", ".join(self.branches) or "none"
            raise EncoderError(f"this ImageBind has no branch {', '.join(sorted(missing))}; it has {there}")
        left_out: dict[str, Any] = {name: None for name in BRANCHES if name not in wanted}
        return dataclasses.replace(self, **left_out)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as config.json holds them."""
        sizes = {str(name): dataclasses.asdict(branch) for name, branch in self.branches.items()}
        return {"model_type": "imagebind", "width_out": self.width_out, **sizes}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImageBindConfig:
        """From plain values; each is checked.

        Raises:
            EncoderError: an unknown field, or a value out of bounds.
        """
        kept = {key: value for key, value in values.items() if key not in ("model_type", "width_out")}
        if unknown := set(kept) - set(BRANCHES):
            raise EncoderError(f"ImageBind has no field {', '.join(sorted(unknown))} in its config.json")
        try:
            sizes: dict[str, Any] = {name: kind(**kept[name]) for name, kind in BRANCHES.items() if name in kept}
            return cls(width_out=values.get("width_out", 1024), **sizes)
        except (ConfigError, TypeError) as error:
            raise EncoderError(f"config.json of an ImageBind: {error}") from error
