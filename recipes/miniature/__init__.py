"""The miniature: a small, complete world with data, judges and pretrained tiny backbones, shipped with the package.

`world`: scenes of coloured shapes and handwritten digits. `media`: single drawings, sounds and clips. `datasets` writes
training data of both, `judges` score captions and generated media. The backbones are folders in the standard layouts of
transformers and diffusers, found by `backbone_path`.
"""

from __future__ import annotations

from inlay.recipes.miniature.shipped_backbones import BackboneName, MiniatureError, backbone_path

__all__ = ["BackboneName", "MiniatureError", "backbone_path"]
