"""The registry of encoders: modality and ``model_type`` of config.json -> the class that loads the encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.adapters.parts.registration import same_definition

__all__ = ["ENCODERS", "EncoderFamily", "register_encoder"]


@dataclass(frozen=True, kw_only=True)
class EncoderFamily:
    """The entry of one model type: the encoder class, and how it is loaded."""

    encoder_class: type[nn.Module]
    """The class, see :class:`inlay.adapters.encoders.Encoder`."""
    model_class: Any = None
    """A model class of transformers with the weights, or None if ``load`` reads them."""
    key_mapping: Mapping[str, str] = field(default_factory=dict)
    """Regular expression -> replacement for tensor names, where the weights are part of a larger model."""
    load: Callable[..., Any] | None = None
    """``load(source, *, dtype, revision, local_files_only, name, **feature_options)`` -> the encoder."""

    @property
    def loader(self) -> Callable[..., Any]:
        """The function or class whose keyword-only arguments are the feature options."""
        return self.encoder_class if self.load is None else self.load


ENCODERS: dict[tuple[Modality, str], EncoderFamily] = {}
"""(modality, ``model_type``) -> how it is loaded."""


def register_encoder(
    model_type: str,
    encoder_class: type[nn.Module],
    *,
    modality: Modality,
    model_class: Any = None,
    key_mapping: Mapping[str, str] | None = None,
    load: Callable[..., Any] | None = None,
) -> None:
    """Register an encoder, so that :meth:`Backbone.from_pretrained` and the recipes can load it.

    There are two ways to load one. With ``model_class``, a model class of transformers, the weights and the image
    processor or feature extractor are read as for the built-in encoders, and the encoder is built as
    ``encoder_class(model, processor, source=..., revision=..., **feature_options)``. Without it,
    ``encoder_class.from_pretrained(source, dtype=..., revision=..., local_files_only=..., name=...,
    **feature_options)`` does everything; ``load`` replaces that method. See the page
    "Your own encoder" of the documentation.

    Args:
        model_type: the value in config.json.
        encoder_class: an ``nn.Module`` class that implements :class:`inlay.adapters.encoders.Encoder`. Its keyword-only
            arguments are its feature options.
        modality: ``"image"``, ``"audio"`` or ``"video"``. An image encoder also encodes video frames, see
            :class:`inlay.adapters.encoders.FrameEncoder`.
        model_class: a model class of transformers.
        key_mapping: regular expression -> replacement for tensor names, where the weights are part of a larger model.
        load: replaces ``encoder_class.from_pretrained``.

    Raises:
        EncoderError: an argument is not as described, or another encoder has this model type and modality.
            Registering the same class again is allowed.
    """
    if not isinstance(model_type, str) or not model_type:
        raise EncoderError(f"model_type: expected the non-empty string of config.json, got {model_type!r}")
    if modality not in GENERATED:
        raise EncoderError(f"{model_type}: modality: expected one of {', '.join(GENERATED)}, got {modality!r}")
    if not isinstance(encoder_class, type) or not issubclass(encoder_class, nn.Module):
        raise EncoderError(f"{model_type}: encoder_class: expected a subclass of nn.Module, got {encoder_class!r}")
    name = encoder_class.__name__
    lacking = [method for method in ("preprocess", "encode") if not callable(getattr(encoder_class, method, None))]
    if lacking:
        raise EncoderError(
            f"{model_type}: {name} has no method {', '.join(lacking)}, see inlay.adapters.encoders.Encoder"
        )
    if model_class is not None and (load is not None or not callable(getattr(model_class, "from_pretrained", None))):
        raise EncoderError(f"{model_type}: model_class: expected a model class of transformers without `load`")
    if model_class is None:
        load = load or getattr(encoder_class, "from_pretrained", None)
        if not callable(load):
            raise EncoderError(
                f"{model_type}: expected `model_class`, `load`, or a class method {name}.from_pretrained(source, ...)"
            )
    family = EncoderFamily(
        encoder_class=encoder_class, model_class=model_class, key_mapping=dict(key_mapping or {}), load=load
    )
    known = ENCODERS.get((modality, model_type))
    if known is not None and not same_definition(known.encoder_class, encoder_class):
        raise EncoderError(
            f"{model_type}: {known.encoder_class.__name__} is already registered for {modality}; choose another "
            "model_type for your config.json"
        )
    ENCODERS[modality, model_type] = family
