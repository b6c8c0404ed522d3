"""Batches of captioned pictures for a stage without a language model: features, and captions as BERT tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import MediaPart, media_of
from inlay.adapters.media.image import Geometry, load_image
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.sampling.step_counts import counts_of
from inlay.recipes.distributed.ranks import all_rows
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.qformer_contrastive.losses import matches
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

__all__ = ["CaptionBatch", "Captioned", "captioned", "check_pairs", "collate_captions", "owners_of"]


@dataclass(frozen=True, slots=True)
class Captioned:
    """One picture with one of its captions."""

    picture: MediaPart
    text: str
    name: str
    """The sample's id."""


def check_pairs(stage: Stage, captions: int) -> None:
    """Check that a micro-batch has at least two pairs, before the first step.

    Raises:
        RecipeError: one pair in a micro-batch, whose contrastive loss is 0.
    """
    pairs = stage.batch_size // stage.accumulate
    if min(pairs, captions) < 2:
        raise RecipeError(
            "qformer_contrastive: the contrastive loss compares pictures with other captions: expected at least two "
            f"pairs in a micro-batch, got {pairs} (batch_size {stage.batch_size}, accumulate {stage.accumulate}) of "
            f"{captions} in the data. Set batch_size to at least twice accumulate, and give at least two pairs"
        )


@dataclass(frozen=True)
class CaptionBatch:
    """``N`` pictures with a caption each."""

    ids: Tensor
    """``[N, L]``."""
    mask: Tensor
    """``[N, L]``; 1 where there is a token."""
    owners: Tensor
    """``[N]``, a number for each picture; equal pictures have the same number."""
    pixels: Tensor
    """``[N, 3, size, size]``, or empty if features are given."""
    features: Tensor | None
    """``[N, tokens, width]`` if cached."""
    names: tuple[str, ...]
    """Sample ids."""

    def to(self, device: torch.device) -> CaptionBatch:
        """The same batch on another device."""
        return replace(
            self,
            ids=self.ids.to(device),
            mask=self.mask.to(device),
            owners=self.owners.to(device),
            pixels=self.pixels.to(device),
            features=None if self.features is None else self.features.to(device),
        )

    def __len__(self) -> int:
        return len(self.ids)


def captioned(sample: Sample) -> Captioned:
    """The picture of a sample and its first answer.

    Raises:
        DataError: not exactly one picture.
    """
    media = media_of(sample.messages)
    if len(media) != 1 or media[0].modality != "image":
        raise DataError(f"{sample.origin}: expected one picture, got {len(media)} media")
    text = next(message.text for message in sample.messages if message.role == "assistant")
    return Captioned(media[0], text.strip(), sample.id)


def owners_of(rows: Sequence[Captioned]) -> dict[str, int]:
    """A number for each distinct picture, by its path (or identity in memory)."""
    return {key: number for number, key in enumerate(dict.fromkeys(_key(row.picture) for row in rows))}


def collate_captions(
    rows: Sequence[Captioned],
    *,
    tokens: CaptionTokens,
    backbone: Backbone,
    geometry: Geometry,
    owners: Mapping[str, int],
    features: FeatureCache | Callable[[MediaPart], Tensor] | None = None,
) -> CaptionBatch:
    """One batch.

    Args:
        rows: pictures with captions.
        tokens: tokenizer for captions.
        backbone: its encoder preprocesses the pixels.
        geometry: how pictures become square.
        owners: result of :func:`owners_of`; a streamed picture, which is not in it, is numbered by its sample.
        features: function that returns the cached features of a picture; None without a cache.
    """
    ids, mask = tokens([row.text for row in rows])
    pixels, held = torch.empty(0), None
    if features is not None:
        held = torch.stack([features(row.picture) for row in rows])
    else:
        pictures = [load_image(row.picture.source) for row in rows]
        pixels = backbone.encoder("image").preprocess(pictures, geometry)
    numbers = torch.tensor([owners.get(_key(row.picture), _number(row.name)) for row in rows])
    return CaptionBatch(ids, mask, numbers, pixels, held, tuple(row.name for row in rows))


def _number(name: str) -> int:
    """A number from a hash of the name, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def _key(picture: MediaPart) -> str:
    return str(picture.source) if not hasattr(picture.source, "tobytes") else f"object {id(picture.source)}"


@counts_of.register
def _counts(batch: CaptionBatch) -> dict[str, int]:
    """Numbers of samples, caption tokens, and matching pairs: one true and up to two false pairs per sample."""
    same = matches(batch.owners, batch.ids, all_rows(batch.owners), all_rows(batch.ids))
    false = int((~same.all(dim=1)).sum())
    return {"samples": len(batch), "tokens": int(batch.mask[:, 1:].sum()), "pairs": len(batch) + 2 * false}
