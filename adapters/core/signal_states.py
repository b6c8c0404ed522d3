"""States of signal tokens, the input of output projectors: hidden states plus input embeddings at their positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inlay.adapters.language.labels import pad
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.signal_tokens import Signals, gather, locate
from inlay.adapters.media.modality import Modality

__all__ = ["at_signals", "written_states"]


def at_signals(ids: Tensor, embeddings: Tensor, states: Tensor, signals: Signals) -> dict[Modality, Tensor]:
    """The input of output projectors: hidden states plus input embeddings at the positions of signal tokens.

    Args:
        ids: ``[B, T]``.
        embeddings: ``[B, T, width]``.
        states: ``[B, T, width]``, last hidden states.
        signals: the signal tokens of the attached adapter.

    Returns:
        Modality with signal tokens -> ``[n, signals, width]``, in reading order.

    Raises:
        SignalError: an incomplete group of signal tokens.
    """
    found = {}
    for modality, signal in signals.ids.items():
        places = locate(ids, signal)
        found[modality] = gather(states, places, len(signal)) + gather(embeddings, places, len(signal))
    return found


def written_states(
    llm: LanguageModel, embeddings: Tensor, mask: Tensor, written: Sequence[Sequence[int]], signals: Signals
) -> dict[Modality, Tensor]:
    """:func:`at_signals` of new tokens, by one more forward pass over prompt and new tokens, the last one included.

    The states then equal the input of the output projectors in training.

    Args:
        llm: the language model with the adapter attached.
        embeddings: ``[B, T, width]`` of the prompts, padded on the left.
        mask: ``[B, T]``.
        written: the new ids of each row.
        signals: the signal tokens of the attached adapter.
    """
    rows = [torch.tensor(row, device=mask.device, dtype=torch.long) for row in written]
    ids = pad(rows, llm.pad_id, "right")
    behind = pad([torch.ones_like(row, dtype=mask.dtype) for row in rows], 0, "right")
    new = llm.embed(ids)
    states = llm.states(torch.cat([embeddings, new], dim=1), torch.cat([mask, behind], dim=1))
    return at_signals(ids, new, states[:, embeddings.shape[1] :], signals)
