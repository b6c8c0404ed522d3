"""Loading the encoders of several modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from inlay.adapters.encoders import Encoder
from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.encoders.families import known_options
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.adapters.loading.pretrained import given, loading
from inlay.adapters.loading.released.imagebind import load_joint
from inlay.adapters.loading.released.weights_file import kind_of
from inlay.adapters.media.modality import Modality
from inlay.hub.format.manifest import PortSpec

__all__ = ["load_encoders", "recorded_options"]

_LOADERS: Mapping[Modality, Callable[..., Encoder]] = {
    "image": load_image_encoder,
    "audio": load_audio_encoder,
    "video": load_video_encoder,
}


def recorded_options(
    modality: Modality,
    source: str | Path,
    port: PortSpec,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
) -> dict[str, Any]:
    """The feature options (layer, image size, frames) with which the encoder of a source matches a bundle's port.

    Only the config of the source is read. ImageBind has no such options, because its port uses other names.

    Raises:
        BackboneError: there is no such folder or repository.
    """
    with loading(source, f"{modality} encoder"):
        options = given(revision=revision, local_files_only=local_files_only)
        if (kind := kind_of(source, options)) == "imagebind":
            return {}
        names = known_options(modality, kind, source, options)
        if names is None and modality == "video":
            names = ["frames", "pooling", *(known_options("image", kind, source, options) or ())]
    return {name: port.settings[name] for name in names or () if name in port.settings}


def load_encoders(
    sources: Mapping[Modality, str | Path],
    *,
    revisions: Mapping[str, str] | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | None = None,
    local_files_only: bool = False,
    feature_options: Mapping[Modality, Mapping[str, object]] | None = None,
    names: Mapping[Modality, str] | None = None,
) -> dict[Modality, Encoder]:
    """Load the encoders of several modalities. An ImageBind for several of them is loaded once and shared.

    Args:
        sources: modality -> Hub id, folder, or released file.
        revisions: modality -> commit, branch or tag.
        dtype: the dtype of the weights in memory; for ``"auto"`` see :func:`inlay.adapters.loading.dtype.chosen_dtype`.
        device: where the encoders are put; the CPU if not given.
        local_files_only: send no request to the Hub.
        feature_options: modality -> keyword arguments of its encoder.
        names: modality -> the name that bundles store instead of that of a folder.

    Raises:
        BackboneError: the files cannot be loaded, or a family is not supported.
    """
    pinned, chosen, named = revisions or {}, feature_options or {}, names or {}
    joint: dict[tuple[str, str | None], list[Modality]] = {}
    for modality, source in sources.items():
        with loading(source, f"{modality} encoder"):
            options = given(revision=pinned.get(modality), local_files_only=local_files_only)
            if kind_of(source, options) == "imagebind":
                joint.setdefault((str(source), pinned.get(modality)), []).append(modality)
    encoders: dict[Modality, Encoder] = {}
    for (place, revision), modalities in joint.items():
        with loading(place, "ImageBind"):
            encoders |= load_joint(
                place,
                modalities,
                dtype=dtype,
                device=device,
                options=given(revision=revision, local_files_only=local_files_only),
                feature_options=chosen,
                name=named.get(modalities[0]),
            )
    for modality, source in sources.items():
        if modality not in encoders:
            encoders[modality] = _LOADERS[modality](
                source,
                revision=pinned.get(modality),
                dtype=dtype,
                device=device,
                local_files_only=local_files_only,
                feature_options=chosen.get(modality),
                name=named.get(modality),
            )
    return {modality: encoders[modality] for modality in sources}
