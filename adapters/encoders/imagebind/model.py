"""ImageBind (Girdhar et al., 2023, https://arxiv.org/abs/2305.05665): six kinds of data in one space.

Each branch cuts its input into tokens, prepends a class token (except text), adds positions, applies a pre-norm
transformer, and projects one token (the class token; for text the last token) to the shared width. The vector is
normalised to norm 1 and, except for images, multiplied by a constant. The clips of one medium are averaged after that.

Written from the paper and from the names and shapes in the released file, so that ``imagebind_huge.pth`` loads by name:
module names follow its tensor names. Attention is torch's; the branches other than images and text have one additional
learned key and value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inlay.adapters.encoders.imagebind.config import (
    AudioConfig,
    Branch,
    BranchConfig,
    ImageBindConfig,
    ImuConfig,
    TextConfig,
    VisionConfig,
)

__all__ = ["ImageBind"]

_EPS = 1e-6
_MAX_SCALE = 100.0
_TEXT_SCALE = 1 / 0.07


class _Repeat(nn.Module):
    """An image as a clip of equal frames: ``[n, 3, h, w]`` -> ``[n, 3, frames, h, w]``; a clip is returned as it is."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.unsqueeze(2).expand(-1, -1, self.frames, -1, -1) if pixels.ndim == 4 else pixels


class _Stem(nn.Module):
    """Patches -> tokens: a convolution without bias, and an optional norm."""

    def __init__(self, proj: nn.Module, norm_layer: nn.Module | None) -> None:
        super().__init__()
        self.proj, self.norm_layer = proj, norm_layer

    def forward(self, values: Tensor) -> Tensor:
        """``[n, channels, ...]`` -> ``[n, tokens, width]``."""
        tokens: Tensor = self.proj(values).flatten(2).transpose(1, 2)
        return tokens if self.norm_layer is None else self.norm_layer(tokens)


class _Positions(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, tokens, width) * width**-0.5)


class _Patches(nn.Module):
    """Class token and patches of images, clips, spectrograms and maps; ``stem`` is the name of the stem in the file."""

    def __init__(self, stem: str, module: _Stem, tokens: int, width: int) -> None:
        super().__init__()
        self.stem = stem
        self.add_module(stem, module)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.pos_embedding_helper = _Positions(tokens + 1, width)

    def forward(self, values: Tensor) -> Tensor:
        tokens = self.get_submodule(self.stem)(values)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return tokens + self.pos_embedding_helper.pos_embed


class _Motion(nn.Module):
    """Class token and tokens of a motion recording: ``[n, channels, samples]`` -> ``[n, tokens + 1, width]``."""

    def __init__(self, sizes: ImuConfig) -> None:
        super().__init__()
        self.kernel = sizes.kernel
        linear = nn.Linear(sizes.channels * sizes.kernel, sizes.width, bias=False)
        self.imu_stem = _Stem(linear, nn.LayerNorm(sizes.width))
        self.cls_token = nn.Parameter(torch.randn(1, 1, sizes.width) * sizes.width**-0.5)
        self.pos_embed = nn.Parameter(torch.randn(1, sizes.tokens + 1, sizes.width) * sizes.width**-0.5)

    def forward(self, values: Tensor) -> Tensor:
        pieces = values.unfold(-1, self.kernel, self.kernel).transpose(1, 2).flatten(2)
        stem = self.imu_stem
        tokens = cast(nn.LayerNorm, stem.norm_layer)(stem.proj(pieces))
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.pos_embed


class _Words(nn.Module):
    """Token ids ``[n, context]`` -> ``[n, context, width]``; attention is causal."""

    mask: Tensor

    def __init__(self, sizes: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.pos_embed = nn.Parameter(torch.randn(1, sizes.context, sizes.width) * 0.01)
        self.register_buffer("mask", torch.full((sizes.context, sizes.context), -math.inf).triu(1))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        return cast(Tensor, self.token_embedding(ids) + self.pos_embed)


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(x))))


class _Block(nn.Module):
    """``x + A(LN x)``, then ``x + MLP(LN x)``."""

    def __init__(self, width: int, heads: int, *, extra_key: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=extra_key, batch_first=True)
        self.norm_2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = _Mlp(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        normed = self.norm_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return cast(Tensor, x + self.mlp(self.norm_2(x)))


class _Trunk(nn.Module):
    def __init__(self, sizes: BranchConfig) -> None:
        super().__init__()
        vision, extra_key = isinstance(sizes, VisionConfig), not isinstance(sizes, VisionConfig | TextConfig)
        self.pre_transformer_layer = nn.Sequential(nn.LayerNorm(sizes.width, eps=_EPS) if vision else nn.Identity())
        self.blocks = nn.ModuleList(_Block(sizes.width, sizes.heads, extra_key=extra_key) for _ in range(sizes.blocks))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens


class _First(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


class _TextHead(nn.Module):
    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(width, eps=_EPS), nn.Linear(width, width_out, bias=False))


class _Normalize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


class _Scale(nn.Module):
    """Multiplication by a constant, stored as its logarithm; only the constant of text is trained."""

    log_logit_scale: Tensor

    def __init__(self, scale: float, *, trained: bool) -> None:
        super().__init__()
        value = torch.tensor(math.log(scale))
        if trained:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_logit_scale.exp().clamp(max=_MAX_SCALE)


class ImageBind(nn.Module):
    """The model. Backbones take it as :class:`ImageBindEncoder`.

    Args:
        config: branches and sizes.
    """

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        self.config = config
        branches = config.branches
        self.modality_preprocessors = nn.ModuleDict({name: _tokens(name, sizes) for name, sizes in branches.items()})
        self.modality_trunks = nn.ModuleDict({name: _Trunk(sizes) for name, sizes in branches.items()})
        self.modality_heads = nn.ModuleDict({name: _head(sizes, config.width_out) for name, sizes in branches.items()})
        self.modality_postprocessors = nn.ModuleDict({name: _ending(sizes) for name, sizes in branches.items()})

    def forward(self, inputs: Mapping[Branch, Tensor]) -> dict[Branch, Tensor]:
        """One vector per medium of each branch: ``{branch: [n, ...]}`` -> ``{branch: [n, width_out]}``."""
        return {branch: self.embed(branch, values) for branch, values in inputs.items()}

    def embed(self, branch: Branch, values: Tensor, *, scaled: bool = True, averaged: bool = True) -> Tensor:
        """Vectors of one branch.

        Args:
            branch: name of the branch.
            values: images ``[n, 3, size, size]`` or clips ``[n, clips, 3, frames, size, size]``, spectrograms
                ``[n, clips, 1, bands, frames]``, maps ``[n, 1, size, size]``, motion ``[n, channels, samples]``, or
                token ids ``[n, context]``.
            scaled: multiply by the branch's constant, as the authors' code does; otherwise vectors have norm 1.
            averaged: take the mean over the clips of a medium.

        Returns:
            ``[n, width_out]``, or ``[n, clips, width_out]`` if clips are not averaged.
        """
        clips = values.ndim >= 5
        items = len(values)
        embedded = self._one(branch, values.flatten(0, 1) if clips else values, scaled)
        if not clips:
            return embedded
        each = embedded.view(items, values.shape[1], -1)
        return each.mean(dim=1) if averaged else each

    def _one(self, branch: Branch, values: Tensor, scaled: bool) -> Tensor:
        tokens = self.modality_preprocessors[branch](values)
        trunk: Any = self.modality_trunks[branch]
        if branch == "text":
            mask = cast(_Words, self.modality_preprocessors[branch]).mask
            states = trunk(tokens, mask)[torch.arange(len(values), device=values.device), values.argmax(dim=-1)]
            vector = cast(_TextHead, self.modality_heads[branch]).proj(states)
        else:
            vector = self.modality_heads[branch](trunk(tokens))
        ending = self.modality_postprocessors[branch]
        return cast(Tensor, ending(vector) if scaled else F.normalize(vector, dim=-1))

    def branch(self, branch: Branch) -> nn.ModuleList:
        """The modules of one branch; the digest of their weights identifies it."""
        groups = (self.modality_preprocessors, self.modality_trunks, self.modality_heads)
        return nn.ModuleList(group[branch] for group in groups)


def _tokens(name: str, sizes: BranchConfig) -> nn.Module:
    if isinstance(sizes, TextConfig):
        return _Words(sizes)
    if isinstance(sizes, ImuConfig):
        return _Motion(sizes)
    if isinstance(sizes, VisionConfig):
        kernel = (sizes.frames, sizes.patch, sizes.patch)
        convolution = nn.Conv3d(3, sizes.width, kernel, stride=kernel, bias=False)
        stem = _Stem(nn.Sequential(_Repeat(sizes.frames), convolution), None)
        return _Patches("rgbt_stem", stem, sizes.tokens, sizes.width)
    side, stride = (sizes.kernel, sizes.stride) if isinstance(sizes, AudioConfig) else (sizes.patch, sizes.patch)
    stem = _Stem(nn.Conv2d(1, sizes.width, side, stride=stride, bias=False), nn.LayerNorm(sizes.width))
    return _Patches("depth_stem" if name == "depth" else "rgbt_stem", stem, sizes.tokens, sizes.width)


def _head(sizes: BranchConfig, width_out: int) -> nn.Module:
    if isinstance(sizes, TextConfig):
        return _TextHead(sizes.width, width_out)
    # The motion branch was trained with dropout, so its linear layer has another index in the file.
    dropout = [nn.Dropout(0.5)] if isinstance(sizes, ImuConfig) else []
    return nn.Sequential(
        nn.LayerNorm(sizes.width, eps=_EPS), _First(), *dropout, nn.Linear(sizes.width, width_out, bias=False)
    )


def _ending(sizes: BranchConfig) -> nn.Module:
    if isinstance(sizes, VisionConfig):
        return _Normalize()
    if isinstance(sizes, TextConfig):
        return nn.Sequential(_Normalize(), _Scale(_TEXT_SCALE, trained=True))
    return nn.Sequential(_Normalize(), _Scale(sizes.scale, trained=False))
