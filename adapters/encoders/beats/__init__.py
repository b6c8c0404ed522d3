"""BEATs (Chen et al., 2022): features of any sound from patches of its spectrogram."""

from __future__ import annotations

from inlay.adapters.encoders.beats.config import BeatsConfig
from inlay.adapters.encoders.beats.encoder import BeatsEncoder
from inlay.adapters.encoders.beats.model import Beats

__all__ = ["Beats", "BeatsConfig", "BeatsEncoder"]
