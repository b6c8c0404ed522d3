"""Loading the backbone of a run or an adapter: one model per port, given by its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.ports import PRECISION, PROMPT_PORT, generator_port
from inlay.adapters.encoders import QFORMER_FAMILY, Encoder, ImageEncoder, QFormerEncoder, VisionEncoder
from inlay.adapters.encoders.precomputed import precomputed_as
from inlay.adapters.generators import Generator
from inlay.adapters.inputs import QFormerProjector
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.prompt_tokenizer import PromptTokenizer
from inlay.adapters.loading.dtype import chosen_dtype
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.several import load_encoders, recorded_options
from inlay.adapters.loading.files.checkpoint import only_safetensors
from inlay.adapters.loading.language import load_language, load_prompt_tokenizer
from inlay.adapters.loading.pretrained import BackboneError, given, loading
from inlay.adapters.loading.released.weights_file import kind_of
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.hub.format.manifest import PortSpec
from inlay.recipes.settings.default_models import MINIATURE, MINIATURE_GENERATORS, SAME, Sources, miniature_path

if TYPE_CHECKING:
    from inlay.recipes.settings.run import BackboneSettings

__all__ = [
    "MINIATURE",
    "backbone_for",
    "backbone_from",
    "chosen_sources",
    "load_backbone",
    "miniature_backbone",
]


GENERATORS = tuple(f"generate_{modality}" for modality in GENERATED)
FURTHER = ("audio", "video", *GENERATORS)
PORTS = ("llm", "image", "prompt", *FURTHER)
"""Settings that name a frozen model."""


def miniature_backbone(sources: Sources | None = None) -> Backbone:
    """The embedded models in float32; LLaMA and CLIP by default.

    Example:
        >>> backbone = miniature_backbone()
        >>> backbone.llm.family, backbone.encoder("image").family
        ('llama', 'clip_vision_model')
    """
    return load_backbone(sources or Sources())


def backbone_for(
    adapter: Adapter,
    settings: BackboneSettings | None = None,
    *,
    language: Callable[..., LanguageModel] = load_language,
) -> Backbone:
    """Load the backbone that an adapter was trained on: the miniature, the Hub's cache or the Hub.

    Args:
        adapter: its interface names the sources, the layer and the class-token rule.
        settings: overrides of sources, data type and quantisation.
        language: loads the language model, with the arguments of :func:`load_language`.

    Raises:
        BackboneError: a source cannot be loaded.
    """
    ports: Mapping[str, PortSpec] = adapter.interface
    named = {name: port.source for name, port in ports.items() if port.source}
    image, audio, prompt = ports.get("image"), ports.get("audio"), ports.get(PROMPT_PORT)
    chosen = _chosen(ports)
    qformer = (settings.qformer if settings else None) or None
    if qformer is None and image is not None and image.family == QFORMER_FAMILY:
        qformer = f"{MINIATURE}qformer" if str(image.source).startswith(MINIATURE) else SAME
    asked = {name: getattr(settings, name) for name in PORTS} if settings else dict.fromkeys(PORTS)
    own = any(asked.values())
    stock = (
        MINIATURE_GENERATORS if adapter.layout.meta and not own and named.get("llm", "").startswith(MINIATURE) else {}
    )
    return load_backbone(
        Sources(
            llm=(settings.llm if settings else None) or named.get("llm", ""),
            image=(settings.image if settings else None) or named.get("image", ""),
            prompt=((settings.prompt if settings else None) or named.get(PROMPT_PORT)) if prompt else None,
            qformer=qformer,
            audio=(asked["audio"] or named.get("audio")) if audio else None,
            video=(asked["video"] or named.get("video")) if "video" in ports else None,
            features=((settings.features if settings else None) or _sizes(ports["features"]))
            if "features" in ports
            else None,
            audio_scale=chosen["scale"],
            clips_reach_end=chosen["reach_end"],
            **{
                name: asked[name] or named.get(generator_port(name.removeprefix("generate_"))) or stock.get(name)
                for name in GENERATORS
            },
        ),
        dtype=_dtype(settings),
        rule=chosen["rule"],
        recorded=ports,
        revisions={
            name: port.revision for name, port in ports.items() if port.revision and not asked.get(_field_of(name))
        },
        # As in training, unless the user overrides it.
        quantise=(settings.quantise if settings else None) or _recorded(ports.get("llm")),
        safetensors_only=settings is not None and settings.safetensors_only,
        names=settings.ids if settings else None,
        language=language,
    )


def _sizes(port: PortSpec) -> str:
    """The sizes of features that an adapter was trained on, in the form for ``--backbone.features``."""
    return str(precomputed_as(port).sizes)


def _field_of(port: str) -> str:
    """The field of the settings that names the model of a port."""
    return port.replace(generator_port(""), "generate_")


def _chosen(ports: Mapping[str, PortSpec]) -> dict[str, Any]:
    """Layer and class-token rule of the image encoder, and ImageBind's factor on sounds and sampling of clips."""
    image, audio, video = ports.get("image"), ports.get("audio"), ports.get("video")
    rule = {} if image is None else {key: image.settings.get(key) for key in ("layer", "class_token")}
    scale = None if audio is None else audio.settings.get("scale")
    joint = next((port for port in (audio, video) if port is not None and port.family == "imagebind"), None)
    return {
        "rule": {key: value for key, value in rule.items() if value is not None},
        "scale": None if scale is None else scale != 1.0,
        "reach_end": None if joint is None else joint.settings.get("reach_end", True),
    }


def backbone_from(
    settings: BackboneSettings,
    sources: Sources | None = None,
    device: torch.device | None = None,
) -> Backbone:
    """Load the backbone of a training run, on the CPU.

    Args:
        settings: the user's choices.
        sources: the system's defaults.
        device: training device, which decides ``dtype: auto``.
    """
    rule = {"layer": settings.layer, "class_token": settings.class_token}
    return load_backbone(
        chosen_sources(settings, sources or Sources()),
        dtype=_dtype(settings, device),
        rule={key: value for key, value in rule.items() if value is not None},
        quantise=settings.quantise,
        safetensors_only=settings.safetensors_only,
        names=settings.ids,
    )


def _recorded(port: PortSpec | None) -> str | None:
    """Quantisation of the LLM recorded in a bundle; None for none."""
    held = None if port is None else port.settings.get(PRECISION)
    return None if held is None else str(held)


def chosen_sources(settings: BackboneSettings, own: Sources) -> Sources:
    """The user's sources, with the system's defaults for the others.

    Raises:
        MiniatureError: unknown miniature model; checked without loading anything.
    """
    # The miniature's encoders and generators do not fit another LLM.
    further = {
        name: source
        for name in FURTHER
        if (source := getattr(own, name)) and (settings.llm is None or not source.startswith(MINIATURE))
    }
    chosen = Sources(
        llm=settings.llm or own.llm,
        # With precomputed features alone, the system's image encoder is not needed.
        image=settings.image or ("" if settings.features else own.image),
        features=settings.features or own.features,
        prompt=settings.prompt or own.prompt,
        qformer=settings.qformer or (None if settings.features and not settings.image else own.qformer),
        audio_scale=own.audio_scale,
        clips_reach_end=own.clips_reach_end,
        **{name: getattr(settings, name) or further.get(name) for name in FURTHER},
    )
    for source in (chosen.qformer, *(getattr(chosen, name) for name in PORTS)):
        if source is not None and source.startswith(MINIATURE):
            miniature_path(source)
    return chosen


def load_backbone(
    sources: Sources,
    *,
    dtype: str = "float32",
    rule: Mapping[str, Any] | None = None,
    recorded: Mapping[str, PortSpec] | None = None,
    revisions: Mapping[str, str] | None = None,
    quantise: str | None = None,
    safetensors_only: bool = False,
    names: Mapping[str, str] | None = None,
    language: Callable[..., LanguageModel] = load_language,
) -> Backbone:
    """Load the model of every port.

    Args:
        sources: one per port; miniature models are always float32.
        dtype: data type of all other models.
        rule: layer and class token of the image encoder.
        recorded: ports of a bundle; encoders get the options that are recorded there, such as image size and frames.
        revisions: port -> commit, branch or tag.
        quantise: ``nf4`` or ``int8`` for the LLM.
        safetensors_only: refuse pickled weights.
        names: field of the sources -> Hub id of the model whose local copy it is, for bundles.
        language: as in :func:`backbone_for`.

    Raises:
        BackboneError: a source cannot be loaded, or a bundle has no Q-Former.
        MiniatureError: unknown miniature model.
    """
    held, ids = dict(revisions or {}), names or {}
    with only_safetensors(safetensors_only):
        llm = language(**_asked(sources.llm, dtype, held.get("llm"), ids.get("llm")), quantise=quantise)
        prompter = _prompter(sources.prompt, held.get(PROMPT_PORT), ids.get("prompt")) if sources.prompt else None
        encoders = _encoders(sources, dtype, rule or {}, held, ids, recorded or {})
        if sources.features:
            encoders["features"] = precomputed_as(sources.features)
        return Backbone(llm, encoders, prompter, _generators(sources, dtype, held, ids))


def _encoders(
    sources: Sources,
    dtype: str,
    rule: Mapping[str, Any],
    revisions: Mapping[str, str],
    ids: Mapping[str, str],
    recorded: Mapping[str, PortSpec],
) -> dict[Modality, Encoder]:
    """Encoders of all modalities with a source; a shared ImageBind is loaded once."""
    named: dict[Modality, str | None] = {"image": sources.image, "audio": sources.audio, "video": sources.video}
    found: dict[Modality, Encoder] = {}
    if sources.qformer is not None:
        found["image"] = _encoder(sources, dtype, rule, revisions.get("image"), ids.get("image"))
        del named["image"]
    rules: dict[Modality, Mapping[str, Any]] = {
        modality: recorded_options(modality, _place(source), recorded[modality], revision=revisions.get(modality))
        for modality, source in named.items()
        if source and modality in recorded
    }
    if rule:
        rules["image"] = {**rules.get("image", {}), **rule}
    ends: dict[str, Any] = {} if sources.clips_reach_end is None else {"reach_end": sources.clips_reach_end}
    scale: dict[str, Any] = {} if sources.audio_scale is None else {"scaled": sources.audio_scale}
    joint: dict[Modality, dict[str, Any]] = {"audio": {**scale, **ends}, "video": ends}
    rules |= {
        modality: options
        for modality, options in joint.items()
        if options and (source := named[modality]) and _is_imagebind(source, modality, revisions.get(modality))
    }
    for ours in (True, False):
        own = {name: source for name, source in named.items() if source and source.startswith(MINIATURE) == ours}
        found |= load_encoders(
            {name: miniature_path(source) if ours else source for name, source in own.items()},
            revisions={} if ours else revisions,
            dtype=torch.float32 if ours else chosen_dtype(dtype),
            feature_options=rules,
            names=own if ours else {name: ids[name] for name in own if name in ids},
        )
    return found


def _place(source: str) -> str | Path:
    return miniature_path(source) if source.startswith(MINIATURE) else source


def _is_imagebind(source: str, modality: Modality, revision: str | None) -> bool:
    """Whether an audio or video encoder is an ImageBind, which has options of its own."""
    place = _place(source)
    with loading(place, f"{modality} encoder"):
        return kind_of(place, given(revision=revision)) == "imagebind"


def _generators(
    sources: Sources, dtype: str, revisions: Mapping[str, str], ids: Mapping[str, str]
) -> dict[Modality, Generator]:
    """Generators of all modalities with a source."""
    from inlay.adapters.loading.generators import load_generator

    found: dict[Modality, Generator] = {}
    for modality in GENERATED:
        field = f"generate_{modality}"
        if source := getattr(sources, field):
            revision = revisions.get(generator_port(modality))
            found[modality] = load_generator(**_asked(source, dtype, revision, ids.get(field)))
    return found


def _encoder(
    sources: Sources, dtype: str, rule: Mapping[str, Any], revision: str | None, name: str | None
) -> ImageEncoder:
    """The image encoder, followed by a frozen Q-Former."""
    asked = _asked(sources.image, dtype, revision, name)
    if sources.qformer == SAME:
        return load_image_encoder(**asked, feature_options=rule, qformer=True)
    encoder = load_image_encoder(**asked, feature_options=rule)
    if not isinstance(encoder, VisionEncoder):
        raise BackboneError(f"{sources.image}: expected a vision encoder for the Q-Former to read")
    former = str(sources.qformer)
    trained = Adapter.from_pretrained(miniature_path(former) if former.startswith(MINIATURE) else former)
    projector = dict(trained.inputs.items()).get("image")
    if not isinstance(projector, QFormerProjector):
        kinds = ", ".join(f"{part.name} ({part.kind})" for part in trained.parts()) or "nothing"
        raise BackboneError(f"{former}: expected a bundle with a Q-Former (kind 'qformer') for images, got {kinds}")
    return QFormerEncoder(encoder, projector.qformer)


def _prompter(source: str, revision: str | None, name: str | None) -> PromptTokenizer:
    asked = _asked(source, "", revision, name)
    del asked["dtype"]
    return load_prompt_tokenizer(**asked)


def _asked(source: str, dtype: str, revision: str | None, name: str | None) -> dict[str, Any]:
    """Arguments of a loader; ``name`` is the Hub id of a local copy."""
    if source.startswith(MINIATURE):
        return {"source": miniature_path(source), "dtype": torch.float32, "name": source}
    return {"source": source, "dtype": chosen_dtype(dtype) if dtype else None, "revision": revision, "name": name}


def _dtype(settings: BackboneSettings | None, device: torch.device | None = None) -> str:
    """Resolve ``auto``: bfloat16 on a GPU that supports it, float32 otherwise."""
    if settings is not None and settings.dtype != "auto":
        return settings.dtype
    return "bfloat16" if chosen_dtype("auto", device) == torch.bfloat16 else "float32"
