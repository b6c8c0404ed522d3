"""The configuration of BEATs; the defaults are the released models of iteration 3."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.parts.fields import Between, ConfigError, Depth, Heads, Size, check_fields, check_heads

__all__ = ["BeatsConfig"]

_RELEASED = {
    "input_patch_size": "patch",
    "embed_dim": "patch_width",
    "encoder_embed_dim": "width",
    "encoder_layers": "layers",
    "encoder_attention_heads": "heads",
    "encoder_ffn_embed_dim": "ffn",
    "conv_pos": "position_kernel",
    "conv_pos_groups": "position_groups",
    "num_buckets": "buckets",
    "max_distance": "max_distance",
}
"""Name in the ``cfg`` of a released file -> field of :class:`BeatsConfig`."""
_EXPECTED = {
    "layer_norm_first": False,
    "deep_norm": True,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "conv_bias": False,
    "activation_fn": "gelu",
}
"""Values of all released models; others are another architecture with the same tensor shapes."""
_AUTHORS_DEFAULTS = {
    "layer_norm_first": False,
    "deep_norm": False,
    "relative_position_embedding": False,
    "gru_rel_pos": False,
    "conv_bias": False,
    "activation_fn": "gelu",
    "max_distance": 1280,
}
"""Defaults of the authors' code, where they differ from those of :class:`BeatsConfig`."""


@dataclass(frozen=True, kw_only=True)
class BeatsConfig:
    """Sizes of the spectrogram patches and of the transformer."""

    bands: Size = 128
    """Bands of the filter bank."""
    rate: Size = 16_000
    """Samples per second, in Hz."""
    patch: Size = 16
    """Side of a patch, in frames and in bands."""
    patch_width: Size = 512
    """Values per patch embedding."""
    width: Size = 768
    """Values per feature."""
    layers: Depth = 12
    """Layers."""
    heads: Heads = 12
    """Attention heads."""
    ffn: Size = 3072
    """Width of the feed-forward block."""
    position_kernel: Size = 128
    """Kernel size of the positional convolution, in tokens."""
    position_groups: Size = 16
    """Groups of the positional convolution."""
    buckets: Size = 320
    """Buckets of relative positions, both directions together."""
    max_distance: Size = 800
    """Relative positions from here on share one bucket."""
    classes: Annotated[int, Between(0, 1 << 20)] = 0
    """Classes of the classifier of a fine-tuned model, which is loaded but not used; 0 for none."""
    mean: Annotated[float, Between(-1e3, 1e3)] = 15.41663
    """Mean of the log-mel values of 16-bit samples."""
    deviation: Annotated[float, Between(1e-3, 1e3)] = 6.55582
    """Standard deviation of these values, which are divided by twice of it."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_heads(self.width, self.heads, "width")
        check_heads(self.width, self.position_groups, "width")
        check_heads(self.bands, self.patch, "bands")

    def tokens(self, frames: int) -> int:
        """Number of features for a number of filter bank frames; an incomplete patch is dropped.

        Example:
            >>> BeatsConfig().tokens(998)
            496
        """
        return frames // self.patch * (self.bands // self.patch)

    def to_json(self) -> dict[str, Any]:
        """JSON values for config.json."""
        return {"model_type": "beats", **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BeatsConfig:
        """From JSON values, all of which are checked.

        Raises:
            EncoderError: an unknown field, or a value out of bounds.
        """
        try:
            return cls(**{key: value for key, value in values.items() if key != "model_type"})
        except (ConfigError, TypeError) as error:
            raise EncoderError(f"config.json of a BEATs: {error}") from error

    @classmethod
    def from_released(cls, cfg: Mapping[str, Any]) -> BeatsConfig:
        """From the ``cfg`` of a released file.

        Raises:
            EncoderError: another architecture than the released models, or ``input_patch_size`` is missing.
        """
        cfg = {**_AUTHORS_DEFAULTS, **cfg}
        other = {name: cfg[name] for name, value in _EXPECTED.items() if cfg[name] != value}
        if other:
            raise EncoderError(f"this BEATs differs from the released models: expected {_EXPECTED}, got {other}")
        if "input_patch_size" not in cfg:
            raise EncoderError("the cfg of this BEATs has no input_patch_size")
        sizes = {ours: cfg[theirs] for theirs, ours in _RELEASED.items() if theirs in cfg}
        classes = cfg.get("predictor_class", 527) if cfg.get("finetuned_model") else 0
        return cls.from_json({**sizes, "classes": classes})
