"""Loading an image encoder from a Hub id or a folder in the standard transformers layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoImageProcessor, Blip2VisionModelWithProjection

from inlay.adapters.encoders import EvaEncoder, ImageEncoder, QFormerEncoder
from inlay.adapters.inputs.qformer import QFormer
from inlay.adapters.loading.dtype import chosen_dtype, computable
from inlay.adapters.loading.encoders.families import load_registered
from inlay.adapters.loading.pretrained import (
    BackboneError,
    check_feature_options,
    commit_of,
    given,
    load_weights,
    loading,
    source_name,
)
from inlay.adapters.loading.released.imagebind import load_joint
from inlay.adapters.loading.released.weights_file import kind_of

__all__ = ["load_image_encoder"]


def load_image_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    feature_options: Mapping[str, Any] | None = None,
    qformer: bool = False,
    name: str | None = None,
) -> ImageEncoder:
    """Load an image encoder with its image processor.

    Only the vision tower of a larger model (BLIP-2, SigLIP, LLaVA) is read.

    Args:
        source: Hub id or folder of a registered family (CLIP, ViT, BLIP-2, InstructBLIP, ImageBind, and those of
            :func:`inlay.adapters.encoders.register_encoder`), of any other vision model of transformers
            (:class:`inlay.adapters.encoders.AnyVisionEncoder`), or ImageBind's released file.
        revision: commit, branch or tag.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoder is put; the CPU if not given.
        local_files_only: send no request to the Hub.
        feature_options: keyword arguments of the encoder, such as ``layer`` and ``class_token``.
        qformer: append BLIP-2's frozen Q-Former.
        name: the name that bundles store instead of a folder's.

    Raises:
        BackboneError: the files cannot be loaded, or the family is not supported.
    """
    chosen = dict(feature_options or {})
    with loading(source, "image encoder"):
        options = given(revision=revision, local_files_only=local_files_only)
        kind = kind_of(source, options)
        if qformer and kind != "blip-2":
            raise BackboneError(
                f"{source}: qformer=True takes vision tower and Q-Former of a whole BLIP-2 (model type 'blip-2'), this "
                f"is of type {kind!r}; build QFormerEncoder(encoder, qformer) yourself"
            )
        if qformer:
            return _with_qformer(source, chosen_dtype(dtype, device), device, options, chosen, name)
        if kind == "imagebind":
            joint = load_joint(
                source,
                ["image"],
                dtype=dtype,
                device=device,
                options=options,
                feature_options={"image": chosen},
                name=name,
            )
            return cast(ImageEncoder, joint["image"])
        return cast(
            ImageEncoder,
            load_registered(
                "image", kind, source, dtype=dtype, device=device, options=options, feature_options=chosen, name=name
            ),
        )


def _with_qformer(
    source: str | Path,
    dtype: Any,
    device: str | torch.device | None,
    options: Mapping[str, Any],
    chosen: Mapping[str, Any],
    name: str | None,
) -> ImageEncoder:
    """Load BLIP-2's vision tower and its Q-Former."""
    check_feature_options(EvaEncoder, chosen, source)
    # This class is BLIP-2 without the language model; its own head is not used and may be missing.
    model = load_weights(Blip2VisionModelWithProjection, source, dtype, options, unused="vision_projection.")
    load_processor: Any = AutoImageProcessor.from_pretrained
    processor = load_processor(source, trust_remote_code=False, backend="pil", **options)
    model = computable(model, dtype, device)
    encoder = EvaEncoder(
        model, processor, source=name or source_name(source), revision=commit_of(model, source), **chosen
    )
    joined = QFormerEncoder(encoder, QFormer.from_blip2(model))
    return joined if device is None else joined.to(device)
