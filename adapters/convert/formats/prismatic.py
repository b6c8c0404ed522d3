"""prismatic-vlms (Karamcheti et al., 2024, https://arxiv.org/abs/2402.07865): a run folder, or its ``.pt`` checkpoint.

``{"model": {"projector": ..., "llm_backbone": ...}}``; stage ``align`` trains the projector alone. ``config.json`` of
the run names the vision backbone, whose patches of the layer before the last are read, and the language model.
"""

from __future__ import annotations

from typing import Any

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.convert.imported import Imported, Models, part_tensors
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.source import ConvertError, Source
from inlay.hub.format.manifest import Geometry
from inlay.hub.safety.text import shown

__all__ = ["KEYS", "matches", "read"]

LATEST = "checkpoints/latest-checkpoint.pt"
KEYS = KeyTable(
    (
        ("projector.projector.{n}.{leaf}", "inputs.image.layers.{n}.{leaf}"),
        ("projector.projector.{leaf}", "inputs.image.layer.{leaf}"),
        ("llm_backbone.llm.{rest*}", "backbone.llm.{rest}"),
    ),
    ignored={"{rest*}.rotary_emb.inv_freq": "constants of the rotary embedding"},
)

_VISION = {
    "clip-vit-b": "openai/clip-vit-base-patch16",
    "clip-vit-l": "openai/clip-vit-large-patch14",
    "clip-vit-l-336px": "openai/clip-vit-large-patch14-336",
    "siglip-vit-b16-224px": "google/siglip-base-patch16-224",
    "siglip-vit-b16-256px": "google/siglip-base-patch16-256",
    "siglip-vit-b16-384px": "google/siglip-base-patch16-384",
    "siglip-vit-so400m": "google/siglip-so400m-patch14-224",
    "siglip-vit-so400m-384px": "google/siglip-so400m-patch14-384",
}
"""Vision backbones of timm -> Hub ids of the same models in transformers, with equal features."""
_LANGUAGE = {
    "vicuna-v15-7b": ("lmsys/vicuna-7b-v1.5", "prismatic"),
    "vicuna-v15-13b": ("lmsys/vicuna-13b-v1.5", "prismatic"),
    "llama2-7b-pure": ("meta-llama/Llama-2-7b-hf", "prismatic_pure"),
    "llama2-13b-pure": ("meta-llama/Llama-2-13b-hf", "prismatic_pure"),
    "mistral-v0.1-7b-pure": ("mistralai/Mistral-7B-v0.1", "prismatic_pure"),
}
"""Language model -> Hub id and template; there are no templates for the prompts of the others."""
_GEOMETRIES: dict[str, Geometry] = {"resize-naive": "squash", "resize-crop": "crop", "letterbox": "pad"}


def matches(source: Source) -> bool:
    """Whether a source is a run folder, or a ``.pt`` file inside one."""
    return "arch_specifier" in _settings(source) and _file(source) is not None


def read(source: Source, template: str | None) -> Imported:
    """Read a run folder or a checkpoint in it.

    Args:
        source: the file or folder.
        template: the template of the conversations; that of the language model if not given.

    Raises:
        ConvertError: a setting or a tensor that cannot be converted.
    """
    config, file = _settings(source), _file(source)
    if not config or file is None:
        raise ConvertError(f"{source}: expected a run folder with config.json and {LATEST}, or a checkpoint in one")
    kind = str(config.get("arch_specifier")).removeprefix("no-align+")
    if kind not in ("linear", "gelu-mlp"):
        raise ConvertError(
            f"{source}: arch_specifier: expected linear or gelu-mlp, got {shown(kind)}; the fused projector reads the "
            "concatenated features of two encoders, and an adapter has one encoder for each modality"
        )
    vision = config.get("vision_backbone_id")
    if vision not in _VISION:
        raise ConvertError(
            f"{source}: vision_backbone_id: expected one of {', '.join(_VISION)}, got {shown(vision)}; the others are "
            "two encoders together (dinosiglip, dinoclip), or have no counterpart in transformers with equal features"
        )
    resize = config.get("image_resize_strategy", "resize-naive")
    if resize not in _GEOMETRIES:
        raise ConvertError(f"{source}: image_resize_strategy: expected {', '.join(_GEOMETRIES)}, got {shown(resize)}")
    language, own = _LANGUAGE.get(str(config.get("llm_backbone_id")), (None, None))
    if (chosen := template or own) is None:
        raise ConvertError(
            f"{source}: llm_backbone_id: inlay does not have the prompt of {shown(config.get('llm_backbone_id'))}; "
            "name a template, such as --template prismatic (Vicuna) or prismatic_pure"
        )
    weights = file.weights
    renamed = KEYS.rename(weights, file)
    tensors, frozen = part_tensors(weights, renamed)
    first = "inputs.image.layer.weight" if kind == "linear" else "inputs.image.layers.0.weight"
    if first not in tensors or tensors[first].dim() != 2:
        held = ", ".join(sorted(tensors)) or "none"
        raise ConvertError(f"{file}: expected a projector of type {kind}, whose first matrix is missing; got {held}")
    width_out, width_in = tensors[first].shape
    sizes: dict[str, Any] = {"width_in": width_in, "width_out": width_out}
    return Imported(
        system="llava",
        layout=Layout.published(
            chosen, system=VICUNA_SYSTEM if chosen == "prismatic" else "", geometry={"image": _GEOMETRIES[resize]}
        ),
        models=Models(
            llm=language,
            image=_VISION[vision],
            image_options={"layer": -2, "class_token": "drop" if vision.startswith("clip") else "none"},
        ),
        inputs={"image": ("linear", sizes) if kind == "linear" else ("mlp", {**sizes, "depth": 2})},
        tensors=tensors,
        frozen=frozen,
        ignored=renamed.ignored,
    )


def _file(source: Source) -> Source | None:
    """The path of the checkpoint of a run."""
    if source.path.is_file():
        return source if source.path.suffix == ".pt" else None
    file = source.has(LATEST)
    return None if file is None else Source(file)


def _settings(source: Source) -> dict[str, Any]:
    """The model's settings in the ``config.json`` of the run; empty without one."""
    folders = [source.folder] if source.path.is_dir() else [source.folder, source.folder.parent]
    held: Any = next((found for folder in folders if (found := Source(folder).config.get("model"))), {})
    return held if isinstance(held, dict) else {}
