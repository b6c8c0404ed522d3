"""From what a model has written to media: the states of written tokens, and what a backbone lacks for a modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, get_args

import torch
from torch import Tensor

from inlay.adapters.attachable import Attachable
from inlay.adapters.backbone import Backbone, BackboneError
from inlay.adapters.generators import GeneratorError
from inlay.adapters.language.labels import pad
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_tokens import Signals, gather, locate
from inlay.adapters.media.modality import Modality

__all__ = ["at_signals", "check_media", "lacking", "written_states"]


def check_media(media: Mapping[Modality, Mapping[str, Any]], backbone: Backbone) -> None:
    """See that every option of generation has somewhere to go.

    Args:
        media: modality -> options of its generator's ``generate``.
        backbone: whose generators; options of one that it lacks are not looked at.

    Raises:
        GeneratorError: a name that is no modality, or an option that its generator does not have.
    """
    for modality, options in media.items():
        if modality not in get_args(Modality):
            raise GeneratorError(f"media: expected {', '.join(get_args(Modality))}, got {modality!r}")
        if modality not in backbone.generators:
            continue
        taken = signature(backbone.generator(modality).generate).parameters
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values()):
            continue
        known = [name for name, parameter in taken.items() if parameter.kind is Parameter.KEYWORD_ONLY]
        if unknown := sorted(set(options) - set(known)):
            raise GeneratorError(f"media: {modality}: expected {', '.join(known)}, got {', '.join(unknown)}")


def at_signals(ids: Tensor, embeddings: Tensor, states: Tensor, signals: Signals) -> dict[Modality, Tensor]:
    """What output projectors read: hidden states plus input embeddings, where signal tokens are the input.

    Args:
        ids: ``[B, T]``.
        embeddings: ``[B, T, width]``.
        states: ``[B, T, width]``, last hidden states.
        signals: of the attached adapter.

    Returns:
        For each modality with signal tokens ``[n, signals, width]``, in reading order.

    Raises:
        SignalError: a group of signal tokens that is not whole.
    """
    found = {}
    for modality, signal in signals.ids.items():
        places = locate(ids, signal)
        found[modality] = gather(states, places, len(signal)) + gather(embeddings, places, len(signal))
    return found


def written_states(
    llm: LanguageModel, embeddings: Tensor, mask: Tensor, written: Sequence[Sequence[int]], signals: Signals
) -> dict[Modality, Tensor]:
    """:func:`at_signals` of new tokens: every one is read once more behind its prompt, the last one too.

    Args:
        llm: with the adapter attached.
        embeddings: ``[B, T, width]`` of the prompts, padded on the left.
        mask: ``[B, T]``.
        written: new ids of each row.
        signals: of the attached adapter.
    """
    rows = [torch.tensor(row, device=mask.device, dtype=torch.long) for row in written]
    ids = pad(rows, llm.pad_id, "right")
    behind = pad([torch.ones_like(row, dtype=mask.dtype) for row in rows], 0, "right")
    new = llm.embed(ids)
    states = llm.states(torch.cat([embeddings, new], dim=1), torch.cat([mask, behind], dim=1))
    return at_signals(ids, new, states[:, embeddings.shape[1] :], signals)


def lacking(modality: Modality, adapter: Attachable, backbone: Backbone) -> str | None:
    """Why media of a modality cannot be made; None if they can."""
    if modality not in adapter.outputs:
        return f"{modality}: this adapter has signal tokens and no output projector for it"
    try:
        backbone.generator(modality)
    except BackboneError as error:
        return str(error)
    return None
