"""The configuration of ImageBind; the defaults are the released model, imagebind_huge."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from inlay.adapters.encoders.protocol import EncoderError
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
    """Sizes of the transformer of one branch."""

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
    """The branch of images and videos: an image is a clip of equal frames."""

    width: Size = 1280
    blocks: Depth = 32
    heads: Heads = 16
    image_size: Size = 224
    """Side of the square, in pixels."""
    patch: Size = 14
    """Side of a patch, in pixels."""
    frames: Size = 2
    """Frames of one clip; a patch covers all of them."""
    clips: Size = 5
    """Clips per video."""
    crops: Size = 3
    """Square crops of each clip: 3 (left or top, middle, right or bottom) or 1 (middle)."""
    clip_seconds: Seconds = 2.0
    """Length of a clip, in seconds."""

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
    """CLIP's text tower, with CLIP's tokenizer."""

    width: Size = 1024
    blocks: Depth = 24
    heads: Heads = 16
    context: Size = 77
    """Tokens of a text, padded with zeros."""
    vocabulary: Size = 49408
    """Token ids; the highest id of a text marks its end."""


@dataclass(frozen=True, kw_only=True)
class AudioConfig(_Trunk):
    """Mel spectrograms as images with one channel."""

    width: Size = 768
    blocks: Depth = 12
    heads: Heads = 12
    bands: Size = 128
    """Bands of the filter bank."""
    frames: Size = 204
    """Frames of one clip, 10 ms apart; padded with zeros."""
    kernel: Size = 16
    """Side of a patch."""
    stride: Size = 10
    """Distance between patches, which overlap."""
    scale: Scale = 20.0
    """Factor of the normalised vector."""
    rate: Size = 16_000
    """Samples per second, in Hz."""
    clips: Size = 3
    """Clips per sound."""
    clip_seconds: Seconds = 2.0
    """Length of a clip, in seconds."""
    mean: Annotated[float, Between(-1e3, 1e3)] = -4.268
    """Mean of the log-mel values."""
    deviation: Annotated[float, Between(1e-3, 1e3)] = 9.138
    """Standard deviation of the log-mel values."""

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
    """Depth maps or thermal images, with one channel."""

    width: Size = 768
    blocks: Depth = 12
    heads: Heads = 12
    image_size: Size = 224
    """Side of the square, in pixels."""
    patch: Size = 16
    """Side of a patch, in pixels."""
    scale: Scale = 10.0
    """Factor of the normalised vector."""

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
    """Three axes of each sensor."""
    samples: Size = 2000
    """Samples of each channel."""
    kernel: Size = 8
    """Samples of each channel in one token."""
    scale: Scale = 5.0
    """Factor of the normalised vector."""

    @property
    def tokens(self) -> int:
        """Tokens of a recording."""
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
"""Branch -> its configuration class."""


@dataclass(frozen=True, kw_only=True)
class ImageBindConfig:
    """The branches of a model and the width of their shared space."""

    width_out: Size = 1024
    """Values per vector of the shared space."""
    vision: VisionConfig | None = None
    """Images and videos."""
    text: TextConfig | None = None
    """Texts."""
    audio: AudioConfig | None = None
    """Sounds."""
    depth: MapConfig | None = None
    """Depth maps (disparity)."""
    thermal: MapConfig | None = None
    """Thermal images."""
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
        """The branches of this model."""
        found: dict[Branch, BranchConfig] = {}
        for name in BRANCHES:
            sizes: BranchConfig | None = getattr(self, name)
            if sizes is not None:
                found[name] = sizes
        return found

    def only(self, branches: Iterable[str]) -> ImageBindConfig:
        """A copy with only these branches.

        Raises:
            EncoderError: the model lacks one of them.
        """
        wanted = set(branches)
        if missing := wanted - set(self.branches):
            there = ", ".join(self.branches) or "none"
            raise EncoderError(f"this ImageBind has no branch {', '.join(sorted(missing))}; it has {there}")
        left_out: dict[str, Any] = {name: None for name in BRANCHES if name not in wanted}
        return dataclasses.replace(self, **left_out)

    def to_json(self) -> dict[str, Any]:
        """JSON values for config.json."""
        sizes = {str(name): dataclasses.asdict(branch) for name, branch in self.branches.items()}
        return {"model_type": "imagebind", "width_out": self.width_out, **sizes}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ImageBindConfig:
        """From JSON values, all of which are checked.

        Raises:
            EncoderError: an unknown field, or a value out of bounds.
        """
        kept = {key: value for key, value in values.items() if key not in ("model_type", "width_out")}
        if unknown := set(kept) - set(BRANCHES):
            raise EncoderError(
                f"config.json of an ImageBind has no field {', '.join(sorted(unknown))}; it has {', '.join(BRANCHES)}"
            )
        try:
            sizes: dict[str, Any] = {name: kind(**kept[name]) for name, kind in BRANCHES.items() if name in kept}
            return cls(width_out=values.get("width_out", 1024), **sizes)
        except (ConfigError, TypeError) as error:
            raise EncoderError(f"config.json of an ImageBind: {error}") from error
