"""Several answers to each prompt of a batch from one prefill, whose KV cache is shared or repeated.

transformers' ``num_return_sequences`` computes every prompt once per answer. Here the prompts with their media are
computed once; after that a step computes one token of each answer, and finished answers are removed from the batch. If
the model allows it, the keys and values of a prompt are stored once, see
:mod:`inlay.adapters.language.generation.shared_prompts`; otherwise they are repeated for each answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessor

from inlay.adapters.language.generation.block_cache import repeat_cache, select_rows
from inlay.adapters.language.generation.policy import SamplingPolicy, Streams
from inlay.adapters.language.generation.shared_prompts import SharedPrompts, shared_prompts
from inlay.adapters.language.packing.packed_attention import refusal
from inlay.adapters.language.precision import computed_in
from inlay.adapters.language.wiring.decoder_only import DecoderOnly, takes
from inlay.adapters.language.wiring.protocol import Wiring

__all__ = ["Drawn", "Prefill", "draw_prefilled", "prefill_way"]

Prefill: TypeAlias = Literal["shared", "repeated"]
"""Whether the answers to a prompt share one copy of its keys and values, or have one copy each."""

_ALIVE = 0.75
"""Share of unfinished rows below which finished rows are removed."""
_LENGTHS = (5, 3)
_PROBED: WeakKeyDictionary[Any, dict[tuple[object, ...], Prefill | None]] = WeakKeyDictionary()
"""Model -> result of the probe by device, dtype and kind of attention."""


@dataclass(frozen=True)
class Drawn:
    """Tokens of all answers, the answers of one prompt one after the other."""

    rows: list[list[int]]
    """New ids of each answer; ids after its end are undefined."""
    log_probs: list[Tensor]
    """Log-probabilities ``[n]`` of each answer's ids in float32, at temperature 1 over the whole vocabulary."""


class _Reader:
    """A decoder with the KV cache of a batch, which advances by one position per row.

    Args:
        model: a model of transformers.
        embeddings: ``[B, T, width]``, padded on the left.
        mask: ``[B, T]``.
        repeats: answers per prompt.
        way: how the answers read the prompt's keys and values.
    """

    def __init__(self, model: Any, embeddings: Tensor, mask: Tensor, repeats: int, way: Prefill) -> None:
        self.model = model
        self.cache = DynamicCache(config=model.config)
        self.prompts: SharedPrompts | None = None
        self.options = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}
        self.counted = takes(model, "position_ids")
        positions = (mask.long().cumsum(dim=1) - 1).clamp_(min=0)
        self.logits = self._run(embeddings, mask, positions).repeat_interleave(repeats, dim=0)
        self.prompts = SharedPrompts.of(self.cache, mask, repeats) if way == "shared" else None
        if self.prompts is None:
            repeat_cache(self.cache, repeats)
        self.mask = mask.repeat_interleave(repeats, dim=0)
        self.place = positions[:, -1:].repeat_interleave(repeats, dim=0)

    def read(self, ids: Tensor) -> None:
        """Read one token ``[R]`` of each row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(ids), 1)], dim=1)
        self.place = self.place + 1
        embedded = self.model.get_input_embeddings()(ids)[:, None]
        self.logits = self._run(embedded, self.mask, self.place)

    def keep(self, rows: Tensor) -> None:
        """Keep only some rows ``[n]``."""
        select_rows(self.cache, rows)
        if self.prompts is not None:
            self.prompts.keep(rows)
        self.mask, self.place = self.mask[rows], self.place[rows]
        self.logits = self.logits[rows.to(self.logits.device)]

    def _run(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        known = {"position_ids": positions} if self.counted else {}
        read = (
            nullcontext({"attention_mask": mask}) if self.prompts is None else shared_prompts(self.model, self.prompts)
        )
        with read as arguments:
            output = self.model(
                inputs_embeds=embeddings,
                past_key_values=self.cache,
                use_cache=True,
                **arguments,
                **known,
                **self.options,
            )
        scores: Tensor = output.logits[:, -1].float()
        return scores


@torch.no_grad()
def draw_prefilled(
    model: Any,
    embeddings: Tensor,
    mask: Tensor,
    policy: SamplingPolicy,
    streams: Streams,
    *,
    count: int,
    limit: int,
    ends: Callable[[list[int]], bool],
    way: Prefill,
    grammar: LogitsProcessor | None = None,
) -> Drawn:
    """Draw answers to each prompt; the prompts are computed once.

    Args:
        model: a model with a :func:`prefill_way`.
        embeddings: ``[B, T, width]``, padded on the left.
        mask: ``[B, T]``.
        policy: the sampling policy.
        streams: random numbers of all ``B * count`` answers.
        count: answers per prompt.
        limit: largest number of new tokens.
        ends: function that tells whether the ids of an answer are complete.
        way: the model's :func:`prefill_way`.
        grammar: restricts the logits depending on the previous ids, such as the grammar of signal tokens.
    """
    reader = _Reader(model, embeddings, mask, count, way)
    rows: list[list[int]] = [[] for _ in range(len(mask) * count)]
    steps: list[tuple[Tensor, Tensor]] = []
    live = torch.arange(len(rows))
    written = torch.zeros(len(rows), 0, dtype=torch.long, device=mask.device)
    finished = torch.zeros(len(rows), dtype=torch.bool)
    for step in range(limit):
        scores = reader.logits if grammar is None else grammar(written, reader.logits)
        ids = policy.draw(scores, streams.at(step, live)).to(mask.device)
        chosen = reader.logits.gather(-1, ids[:, None].to(reader.logits.device))[:, 0] - reader.logits.logsumexp(dim=-1)
        steps.append((live, chosen.cpu()))
        for row, token in zip(live.tolist(), ids.tolist(), strict=True):
            rows[row].append(token)
            finished[row] = bool(finished[row]) or ends(rows[row])
        going = ~finished[live]
        if step + 1 == limit or not bool(going.any()):
            break
        if int(going.sum()) <= _ALIVE * len(live):
            kept = going.nonzero()[:, 0]
            live, kept = live[kept], kept.to(mask.device)
            ids, written = ids[kept], written[kept]
            reader.keep(kept)
        if grammar is not None:
            written = ids[:, None]  # a grammar depends on the last id only
        reader.read(ids)
    values = torch.zeros(len(rows), len(steps))
    for step, (numbers, chosen) in enumerate(steps):
        values[numbers, step] = chosen
    return Drawn(rows, [own[: len(ids)] for own, ids in zip(values, rows, strict=True)])


def prefill_way(model: Any, wiring: Wiring, dtype: torch.dtype) -> Prefill | None:
    """The fastest way with the same logits as whole rows, tested once per model, device, dtype and attention.

    Args:
        model: a language model of transformers with its adapter, in eval mode.
        wiring: the wiring of the model.
        dtype: the dtype of the embeddings.

    Returns:
        None if no way gives the same logits.
    """
    table = model.get_input_embeddings().weight
    if not isinstance(wiring, DecoderOnly) or table.is_meta:
        return None
    probe = table[:1].to(dtype)
    attention = model.config.get_text_config(decoder=True)._attn_implementation
    key = (table.device, dtype, computed_in(probe), attention)
    known = _PROBED.setdefault(model, {})
    if key not in known:
        ways: tuple[Prefill, ...] = ("repeated",) if refusal(model) else ("shared", "repeated")
        known[key] = next((way for way in ways if _equal(model, wiring, dtype, way)), None)
    return known[key]


@torch.no_grad()
def _equal(model: Any, wiring: Wiring, dtype: torch.dtype, way: Prefill) -> bool:
    """Compare two answers to each of two prompts with four plain rows, after one row was removed."""
    embed = model.get_input_embeddings()
    size, device = len(embed.weight), embed.weight.device
    longest = max(_LENGTHS)
    ids = (torch.arange(8 * longest, device=device) * max(1, size // (8 * longest))) % size
    mask = (torch.arange(longest) >= longest - torch.tensor(_LENGTHS)[:, None]).long().to(device)
    prompts, answers = embed(ids[: 2 * longest].view(2, longest)).to(dtype), ids[-8:].view(4, 2)
    try:
        whole = torch.cat([prompts.repeat_interleave(2, dim=0), embed(answers).to(dtype)], dim=1)
        more = torch.cat([mask.repeat_interleave(2, dim=0), mask.new_ones(4, 2)], dim=1)
        plain = wiring.run(model, whole, more, None, 0)[:, -3:].float()
        reader = _Reader(model, prompts, mask, 2, way)
        found, wanted = [reader.logits], [plain[:, 0]]
        reader.read(answers[:, 0])
        found, wanted = [*found, reader.logits], [*wanted, plain[:, 1]]
        kept = torch.tensor([0, 2, 3], device=device)
        reader.keep(kept)
        reader.read(answers[kept, 1])
        found, wanted = [*found, reader.logits], [*wanted, plain[kept, 2]]
    except Exception:  # any failure of a fast path means the plain path
        return False
    one, other = torch.cat(found), torch.cat(wanted)
    finite = other.isfinite()
    tolerance = max(1e-4, 4 * torch.finfo(computed_in(whole)).eps)
    return bool((one - other)[finite].abs().amax() <= tolerance * other[finite].abs().amax())
