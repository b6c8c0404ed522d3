"""Replies to a batch of conversations: lay out, generate, compute signal states of the new tokens, generate media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.kv_cache import PrefixCache
from inlay.adapters.chat.meta_dispatch import dispatch
from inlay.adapters.chat.reply import Reply, ReplyError, assemble, read
from inlay.adapters.chat.stream import text_stream
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.conversation.segments import LayoutError
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.model_core import ModelCore
from inlay.adapters.core.parts import AdapterParts
from inlay.adapters.core.signal_states import written_states
from inlay.adapters.generators import GeneratorError, Made
from inlay.adapters.language.generation.generate import Generation
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.media.modality import GENERATED, Modality

__all__ = ["check_media_options", "encode_all", "replies", "replies_of"]


def encode_all(
    core: ModelCore[Any], conversations: Sequence[Sequence[Message]], layout: Layout, names: Sequence[str]
) -> list[Encoded]:
    """Encode every conversation up to the point where the answer begins."""
    labels = list(names) or [""] * len(conversations)
    if len(labels) != len(conversations):
        raise LayoutError(f"names: expected one for each of {len(conversations)} conversations, got {len(labels)}")
    return [
        core.encode(messages, layout=layout, generation=True, name=name)
        for messages, name in zip(conversations, labels, strict=True)
    ]


@torch.no_grad()
def replies(
    core: ModelCore[Any],
    conversations: Sequence[Sequence[Message]],
    *,
    layout: Layout | None,
    features: Callable[[MediaPart], Tensor] | None,
    names: Sequence[str],
    media: Mapping[Modality, Mapping[str, Any]] | None,
    on_text: Callable[[str], None] | None,
    prefixes: PrefixCache | None,
    options: dict[str, Any],
) -> list[Reply]:
    """See :meth:`inlay.adapters.model.MultimodalModel.replies`."""
    adapter, backbone = core.adapter, core.backbone
    check_media_options(media or {}, backbone)
    options["num_return_sequences"] = count = options.get("num_return_sequences") or 1  # not the config's value
    if count != 1:
        raise ReplyError(
            f"num_return_sequences: expected 1, since a conversation has one reply, got {count}; give the conversation "
            "several times with do_sample=True, or call answer for texts alone"
        )
    if not conversations:
        return []
    chosen, llm = layout or adapter.layout, backbone.llm
    rows = encode_all(core, conversations, chosen, names)
    if on_text is not None:
        options["streamer"] = text_stream(llm, chosen, core.turn_end(chosen).texts, on_text, len(rows), options)
    end = core.turn_end(chosen)
    if prefixes is not None and features is None and prefixes.takes(core, rows, options):
        written = prefixes.write(core, rows[0], chosen, **options)
        prompt = None
    else:
        batch = core.collate(rows, layout=chosen, generation=True, features=features).to(backbone.device)
        embeddings, mask = core.embeddings(batch), batch.mask
        written = core.write(embeddings, mask, end=end, **options)
        prompt = embeddings, mask
    return replies_of(core, written, prompt, chosen, media or {})


@torch.no_grad()
def replies_of(
    core: ModelCore[Any],
    written: Generation,
    prompt: tuple[Tensor, Tensor] | None,
    layout: Layout,
    media: Mapping[Modality, Mapping[str, Any]],
    stop: Sequence[str] = (),
) -> list[Reply]:
    """Build replies from generated tokens, with the media that they request.

    Args:
        core: a model with the adapter that generated them.
        written: the new token ids of each row.
        prompt: embeddings ``[B, T, width]`` and mask ``[B, T]`` of the rows; None if answers cannot request media.
        layout: the layout of the answers.
        media: how each modality is generated, see :meth:`inlay.adapters.model.MultimodalModel.replies`.
        stop: texts that end an answer, in addition to those of the layout.
    """
    adapter, backbone = core.adapter, core.backbone
    llm, signals = backbone.llm, adapter.signals
    if layout.meta:
        return dispatch(written, layout, backbone, media)
    stops = (*core.turn_end(layout).texts, *stop)
    runs = [read(row, llm, layout, signals, stops) for row in written.rows]
    asked = [modality for modality in signals.ids if any(modality in row for row in runs)]
    missing = {name: why for name in asked if (why := _why_missing(name, adapter, backbone)) is not None}
    made: dict[Modality, list[Made]] = {}
    if len(missing) < len(asked) and prompt is not None:
        states = written_states(llm, *prompt, written.rows, signals)
        made = {name: core.make(name, states[name], **media.get(name, {})) for name in asked if name not in missing}
    return assemble(runs, made, missing, [len(row) for row in written.rows], written.finish)


def check_media_options(media: Mapping[Modality, Mapping[str, Any]], backbone: Backbone) -> None:
    """Check that every option of generation reaches a generator.

    Args:
        media: modality -> options of its generator's ``generate``.
        backbone: the backbone with the generators; options for a generator that it lacks are not checked.

    Raises:
        GeneratorError: an unknown modality, or an option that its generator does not have.
    """
    for modality, options in media.items():
        if modality not in GENERATED:
            raise GeneratorError(f"media: expected {', '.join(GENERATED)}, got {modality!r}")
        if modality not in backbone.generators:
            continue
        accepted = signature(backbone.generator(modality).generate).parameters
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in accepted.values()):
            continue
        known = [name for name, parameter in accepted.items() if parameter.kind is Parameter.KEYWORD_ONLY]
        if unknown := sorted(set(options) - set(known)):
            raise GeneratorError(f"media: {modality}: expected {', '.join(known)}, got {', '.join(unknown)}")


def _why_missing(modality: Modality, adapter: AdapterParts, backbone: Backbone) -> str | None:
    """The reason why media of a modality cannot be generated; None if they can."""
    if modality not in adapter.outputs:
        return f"{modality}: this adapter has signal tokens and no output projector for it"
    try:
        backbone.generator(modality)
    except BackboneError as error:
        return str(error)
    return None
