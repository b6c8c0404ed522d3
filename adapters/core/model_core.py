"""The core of a model: backbone and adapter combined, from conversations to losses, states, token ids and media.

Data flow in one direction: messages -> media -> encoder -> features -> input projector -> splice -> LLM -> loss | text
| hidden states of signal tokens -> output projector -> generator -> media. Each arrow is one method here;
:mod:`inlay.adapters.chat` builds answers on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.conversation.turn_end import TurnEnd, turn_end
from inlay.adapters.core import splice
from inlay.adapters.core.attachment import exclusive
from inlay.adapters.core.batch import Batch, collate
from inlay.adapters.core.encode import Encoded, Limit, check_rows, encode
from inlay.adapters.core.parts import AdapterParts
from inlay.adapters.core.prompts import Prompts, Reader, collate_prompts
from inlay.adapters.core.results import Output, TokenLogProbs
from inlay.adapters.core.signal_states import at_signals
from inlay.adapters.core.tiles import Tiler, Tiles, per_tile, prepared
from inlay.adapters.encoders.protocol import Inputs, load_for
from inlay.adapters.generators import Made
from inlay.adapters.language.generation.generate import Generation
from inlay.adapters.language.occupancy import AttachError, occupancy_of
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.adapters.llm_parts.signal_grammar import SignalGrammar, completed
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.tiling.grid import Tiling

__all__ = ["ModelCore", "Output"]

A = TypeVar("A", bound=AdapterParts)
B = TypeVar("B", bound=AdapterParts)


class ModelCore(Generic[A]):
    """A backbone with an attached adapter.

    One model may be used from several threads: calls that use the language model wait for each other. After the adapter
    is detached, or another one takes its place, every method raises :class:`AttachError`.

    Args:
        backbone: the frozen models.
        adapter: the adapter whose parts are used.
        holder: the attached adapter, if it is another one (for rows of several adapters in one batch).
    """

    def __init__(self, backbone: Backbone, adapter: A, *, holder: AdapterParts | None = None) -> None:
        self.backbone, self.adapter = backbone, adapter
        self.holder: AdapterParts = holder or adapter
        self.attachment = self.holder.attachment
        self._tilers: dict[tuple[Tiling, int], Tiler] = {}
        self.limit = Limit()
        """The limit on training rows; it does not apply to generation."""

    def __getstate__(self) -> dict[str, Any]:
        raise AttachError(
            "a model is an adapter on a language model and cannot be copied or pickled; copy the adapter, and attach "
            "the copy to another backbone"
        )

    def with_adapter(self, adapter: B) -> ModelCore[B]:
        """A model on the same backbone with the projectors and layout of an adapter that is not attached."""
        return ModelCore(self.backbone, adapter, holder=self.holder)

    def require_attached(self) -> None:
        """Check that the adapter is still attached.

        Raises:
            AttachError: it is not attached.
        """
        self.attachment.require(self.holder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Reserve the language model for the calls inside the context; other threads wait.

        With gradient checkpointing, do not call ``backward()`` inside: on a GPU it runs in a thread of torch, which
        would wait for this one.

        Raises:
            AttachError: the adapter is no longer attached.
        """
        with occupancy_of(self.backbone.llm.model).call():
            self.require_attached()
            yield

    @property
    def tokens(self) -> dict[Modality, int]:
        """Modality -> LLM positions per medium, or per tile of a tiled picture."""
        return {
            name: self.adapter.projector(name).tokens(self.backbone.encoder(name).tokens) for name in self.modalities
        }

    def tilers(self, layout: Layout | None = None) -> dict[Modality, Tiler]:
        """Modality whose media a layout tiles -> the rule for its encoder and projector.

        Raises:
            TilingError: the encoder or the projector cannot be tiled.
        """
        chosen = layout or self.adapter.layout
        found: dict[Modality, Tiler] = {}
        for name in self.modalities:
            if (rule := chosen.tiling_for(name)) is not None:
                key = rule, self.tokens[name]  # a swap can replace the adapter and its projector
                if key not in self._tilers:
                    self._tilers[key] = Tiler.of(rule, self.backbone.encoder(name), self.tokens[name])
                found[name] = self._tilers[key]
        return found

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Input modalities other than text."""
        return tuple(self.adapter.inputs)  # type: ignore[arg-type]  # keys of a ModuleDict are plain strings

    @property
    def makes(self) -> tuple[Modality, ...]:
        """Output modalities other than text, whether or not the backbone has the generators."""
        return tuple(self.adapter.outputs)  # type: ignore[arg-type]  # as above

    @property
    def readers(self) -> dict[Modality, Reader]:
        """Modality whose projector reads the instruction -> function from the words of a medium's turn to ids."""
        reading = [name for name in self.modalities if self.adapter.reads_prompt(name)]
        return {name: partial(self._read, limit=self.adapter.projector(name).config.prompt_tokens) for name in reading}

    def _read(self, text: str, *, limit: int) -> Tensor:
        return self.backbone.prompter().encode(text, limit)

    def encode(
        self,
        messages: Sequence[Message],
        *,
        layout: Layout | None = None,
        generation: bool = False,
        name: str = "",
    ) -> Encoded:
        """Encode one conversation to ids, with the adapter's layout or another."""
        self.require_attached()
        chosen = layout or self.adapter.layout
        row = encode(
            messages,
            chosen,
            self.backbone.llm,
            self.tokens,
            tilers=self.tilers(chosen),
            readers=self.readers,
            signals=self.adapter.signals,
            generation=generation,
            name=name,
            limit=self.limit,
        )
        check_rows(row, self.backbone.llm)
        return row

    def collate(
        self,
        rows: Sequence[Encoded],
        *,
        layout: Layout | None = None,
        generation: bool = False,
        features: Callable[[MediaPart], Tensor] | None = None,
    ) -> Batch:
        """Pad rows and load their media; nothing is computed by a model.

        Args:
            rows: encoded conversations.
            layout: the layout whose geometry is used.
            generation: pad on the left.
            features: function from a medium to its frozen features ``[tokens, width]``, if they are cached; for a tiled
                medium ``[tiles, tokens, width]``.
        """
        self.require_attached()
        batch = collate(rows, self.backbone.llm.pad_id, "left" if generation else "right")
        placed = [pair for row in rows for pair in zip(row.media, row.grids, strict=True)]
        chosen = layout or self.adapter.layout
        inputs: dict[Modality, Inputs] = {}
        cached: dict[Modality, Tensor] = {}
        prompts: dict[Modality, Prompts] = {}
        tiles: dict[Modality, Tiles] = {}
        tilers = self.tilers(chosen)
        for modality in self.modalities:
            parts = [part for part, _ in placed if part.modality == modality]
            grids = [grid for part, grid in placed if part.modality == modality]
            tiler = tilers.get(modality) if parts else None
            if tiler is not None:
                tiles[modality] = Tiles(tiler.rule, tuple(grid for grid in grids if grid is not None))
            if self.adapter.reads_prompt(modality):
                read = [ids for row in rows for ids in row.prompts[modality]]
                prompts[modality] = collate_prompts(read, self.backbone.prompter().pad_id)
            if parts and features is not None:
                held = [features(part) for part in parts]
                cached[modality] = torch.stack(held) if tiler is None else torch.cat(held)
            elif parts:
                encoder = self.backbone.encoder(modality)
                loaded = [load_for(encoder, modality, part.source) for part in parts]
                inputs[modality] = prepared(encoder, loaded, chosen.geometry_for(modality), tiler, grids)
        batch = replace(batch, inputs=inputs, features=cached, prompts=prompts, tiles=tiles)
        return batch if generation else batch.planned(self._plan(batch))

    def _plan(self, batch: Batch) -> LossPlan:
        return self.backbone.llm.plan(batch.labels, batch.mask, batch.target, batch.branches)

    def batch(self, conversations: Sequence[Sequence[Message]], *, generation: bool = False) -> Batch:
        """Convert conversations to one batch: :meth:`encode`, then :meth:`collate`."""
        rows = [self.encode(messages, generation=generation) for messages in conversations]
        return self.collate(rows, generation=generation)

    @exclusive
    def embeddings(self, batch: Batch) -> Tensor:
        """The LLM's input ``[B, T, width]``: token embeddings with projected features in their slots."""
        embeddings = self.backbone.llm.embed(batch.ids)
        projected = {name: self._projected(name, batch, embeddings) for name in self.modalities}
        if batch.order:
            embeddings = splice.insert(embeddings, batch.slots, splice.in_order(projected, batch.order), batch.names)
        # Unused projectors stay in the graph with a zero contribution, so that all ranks of a distributed run agree.
        idle = [own for name, own in projected.items() if name not in batch.order and isinstance(own, Tensor)]
        if self.adapter.newline is not None and not any(tiles.rule.newline for tiles in batch.tiles.values()):
            idle.append(self.adapter.newline.row)
        for own in idle:
            embeddings = embeddings + own.to(embeddings).sum() * 0
        return embeddings

    def _projected(self, name: Modality, batch: Batch, like: Tensor) -> Tensor | list[Tensor]:
        """Embeddings of all media of a modality: ``[n, tokens, width]``, or one tensor for each tiled medium."""
        tiles, prompts = batch.tiles.get(name), batch.prompts.get(name)
        if tiles is not None:
            prompts = per_tile(prompts, tiles)
        projected = self.adapter.project(name, self._features(name, batch), prompts).to(like)
        return projected if tiles is None else self.adapter.sequences(projected, tiles)

    def _features(self, modality: Modality, batch: Batch) -> Tensor:
        if modality in batch.features:
            return batch.features[modality]
        encoder = self.backbone.encoder(modality)
        if modality in batch.inputs:
            return encoder.encode(batch.inputs[modality])
        return torch.zeros(0, encoder.tokens, encoder.width, device=batch.ids.device)

    @exclusive
    def __call__(
        self, batch: Batch, *, logits: Literal["none", "labelled", "all"] = "labelled", states: bool = False
    ) -> Output:
        """One forward pass.

        Args:
            batch: a batch on any device; it is moved to the backbone's.
            logits: compute logits of the labelled rows or of all; with ``none`` only the loss is computed, with the
                same value, faster and in less memory.
            states: also return the states of signal tokens, from the same pass.
        """
        batch = batch.to(self.backbone.device)
        return self.predict(self.embeddings(batch), batch, logits=logits, states=states)

    @exclusive
    def predict(
        self,
        embeddings: Tensor,
        batch: Batch,
        *,
        logits: Literal["none", "labelled", "all"] = "labelled",
        states: bool = False,
    ) -> Output:
        """The LLM's output for given embeddings, for instance those of a teacher instead of the projector.

        Args:
            embeddings: ``[B, T, width]``, the embeddings of the batch.
            batch: the batch, whose mask, labels and target are used, on the device of the embeddings.
            logits: as in :meth:`__call__`.
            states: as in :meth:`__call__`.
        """
        llm = self.backbone.llm
        plan = batch.plan or self._plan(batch)
        rows, targets = plan.rows, plan.targets
        whole, alone = logits == "all", logits == "none" and len(targets) > 0
        kept = None if whole else rows
        loss = scores = signal_states = hidden = None
        if alone and states:
            loss, hidden = llm.loss_and_states(embeddings, batch.mask, plan, batch.target)
        elif alone:
            loss = llm.loss(embeddings, batch.mask, plan, batch.target)
        elif states:
            scores, hidden = llm.logits_and_states(embeddings, batch.mask, kept, batch.target)
        else:
            scores = llm.logits(embeddings, batch.mask, kept, batch.target)
        if scores is not None and len(targets):
            loss = torch.nn.functional.cross_entropy((scores[rows] if whole else scores).float(), targets)
        if hidden is not None:
            signal_states = at_signals(batch.ids, embeddings, hidden, self.adapter.signals)
        return Output(loss, scores, targets, signal_states)

    @exclusive
    def reads_branches(self) -> bool:
        """Whether rows of a batch may have branches; see :mod:`inlay.adapters.core.branches`."""
        llm = self.backbone.llm
        return llm.reads_branches(llm.embed(torch.zeros(1, 1, dtype=torch.long, device=llm.device)))

    @exclusive
    def log_probs(self, batch: Batch) -> TokenLogProbs:
        """Log-probabilities of the labelled tokens, with gradients. Logits are computed in chunks where possible.

        Args:
            batch: conversations, or prompts with branches (:mod:`inlay.adapters.core.branches`).
        """
        batch = batch.to(self.backbone.device)
        plan = batch.plan or self._plan(batch)
        losses = self.backbone.llm.token_losses(self.embeddings(batch), batch.mask, plan, batch.target)
        return TokenLogProbs(-losses, plan.sequence, plan.sequences)

    @exclusive
    def signal_states(self, batch: Batch) -> dict[Modality, Tensor]:
        """The input of output projectors; the LM head is not run.

        Returns:
            Modality with signal tokens -> ``[n, signals, width]``, ``n`` media in the order of ``batch.made``: the last
                hidden state of each signal token plus its input embedding, at the position of the token.

        Raises:
            SignalError: an incomplete group of signal tokens.
        """
        batch = batch.to(self.backbone.device)
        embeddings = self.embeddings(batch)
        states = self.backbone.llm.states(embeddings, batch.mask)
        return at_signals(batch.ids, embeddings, states, self.adapter.signals)

    @exclusive
    @torch.no_grad()
    def generate(self, batch: Batch, *, layout: Layout | None = None, **options: Any) -> list[list[int]]:
        """Generate new token ids for each row of a left-padded batch, greedily by default.

        Signal tokens are generated in complete groups; a group that ``max_new_tokens`` cuts off is completed.

        Args:
            batch: a batch of conversations that end with the user's turn.
            layout: the layout whose turn ends and stop texts end a row; the adapter's if not given.
            options: the options of transformers' ``generate``; ``max_new_tokens`` is 512 if not given.
        """
        batch = batch.to(self.backbone.device)
        chosen = layout or self.adapter.layout
        return self.write(self.embeddings(batch), batch.mask, end=self.turn_end(chosen), **options).rows

    def turn_end(self, layout: Layout) -> TurnEnd:
        """The tokens and texts that end an answer in a layout."""
        return turn_end(layout, self.backbone.llm.tokenizer)

    @exclusive
    def write(self, embeddings: Tensor, mask: Tensor, *, end: TurnEnd | None, **options: Any) -> Generation:
        """:meth:`generate` from embeddings ``[B, T, width]`` and their mask, with the reason why each row ended.

        Without a turn end, only EOS ends a row.
        """
        signals, end = self.adapter.signals, end or TurnEnd((), ())
        options = {"do_sample": False} | options
        if signals.ids:
            options["logits_processor"] = [SignalGrammar(signals), *options.get("logits_processor", ())]
        written = self.backbone.llm.generate(embeddings, mask, stop=end.texts, stop_ids=end.ids, **options)
        return replace(written, rows=[completed(row, signals) for row in written.rows])

    @exclusive
    @torch.no_grad()
    def make(self, modality: Modality, states: Tensor, **options: Any) -> list[Made]:
        """Generate media from states of signal tokens ``[n, signals, width]``; options are the generator's."""
        return self.backbone.generator(modality).generate(self.adapter.condition(modality, states), **options)

    @exclusive
    def probe(self, conversation: Sequence[Message]) -> Tensor:
        """Logits ``[vocabulary]`` of the first token of an answer, in float32 on the CPU, without dropout."""
        with self.inference():
            batch = self.batch([conversation], generation=True).to(self.backbone.device)
            return self.backbone.llm.logits(self.embeddings(batch), batch.mask)[0, -1].float().cpu()

    @exclusive
    def probe_conditioning(self, conversation: Sequence[Message]) -> dict[Modality, Tensor]:
        """Conditioning ``[n, tokens, width]`` of the media in the assistant's turns, without dropout."""
        with self.inference():
            states = self.signal_states(self.batch([conversation]))
            return {name: self.adapter.condition(name, states[name]) for name in self.makes}

    @contextmanager
    def inference(self) -> Iterator[None]:
        """A context without dropout and gradients; the adapter's mode is restored afterwards."""
        was_training = self.adapter.training
        self.adapter.train(False)
        try:
            with torch.no_grad():
                yield
        finally:
            self.adapter.train(was_training)
