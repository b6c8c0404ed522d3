"""What ``attach`` returns: backbone and adapter together, to train, to ask, to chat with.

Data flows one way: messages -> media -> encoder -> features -> input projector -> splice -> LLM -> loss | text |
states of signal tokens -> output projector -> generator -> media.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor

from inlay.adapters.attachable import Attachable
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.kv_cache import PrefixCache
from inlay.adapters.chat.making import at_signals
from inlay.adapters.chat.per_row_adapters import answer_mixed
from inlay.adapters.chat.reply import Reply
from inlay.adapters.chat.replying import encode_all, replies
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, parse_messages
from inlay.adapters.core import splice
from inlay.adapters.core.batch import Batch, collate
from inlay.adapters.core.encode import Encoded, encode
from inlay.adapters.core.prompts import Prompts, Reader, collate_prompts
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.generators import Made
from inlay.adapters.language.frozen_prefix import constant_of
from inlay.adapters.llm_parts.signal_grammar import SignalGrammar, completed
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality

__all__ = ["MultimodalModel", "Output", "Reply"]


A = TypeVar("A", bound=Attachable)
B = TypeVar("B", bound=Attachable)


@dataclass(frozen=True)
class Output:
    """What one forward pass gives."""

    loss: Tensor | None
    """Mean cross-entropy over the labelled tokens; None where there are none."""
    logits: Tensor | None
    """``[rows, vocabulary]`` for the labelled positions, or ``[B, T, vocabulary]`` for all (of the target's side where
    the LLM is an encoder-decoder); None where the loss was asked for alone."""
    targets: Tensor | None = None
    """``[rows]``: the labelled tokens, beside ``logits``."""
    signal_states: Mapping[Modality, Tensor] | None = None
    """Where asked for: see :meth:`MultimodalModel.signal_states`."""


class MultimodalModel(Generic[A]):
    """Backbone plus attached adapter. Get one from :meth:`Adapter.attach`.

    Args:
        backbone: the frozen models.
        adapter: the attached adapter.
    """

    def __init__(self, backbone: Backbone, adapter: A) -> None:
        self.backbone, self.adapter = backbone, adapter
        self.prefixes: PrefixCache | None = None
        """What was read before is not read again by :meth:`chat`, where this is given."""

    def with_adapter(self, adapter: B) -> MultimodalModel[B]:
        """The same backbone, looked at with an adapter that is not attached."""
        return MultimodalModel(self.backbone, adapter)

    @property
    def tokens(self) -> dict[Modality, int]:
        """LLM positions per medium of each modality."""
        return {
            name: self.adapter.projector(name).tokens(self.backbone.encoder(name).tokens) for name in self.modalities
        }

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What this model can take in, beside text."""
        return tuple(self.adapter.inputs)  # type: ignore[arg-type]  # keys of a ModuleDict are plain strings

    @property
    def makes(self) -> tuple[Modality, ...]:
        """What this adapter makes beside text, whether or not the backbone has the generators."""
        return tuple(self.adapter.outputs)  # type: ignore[arg-type]  # as above

    @property
    def readers(self) -> dict[Modality, Reader]:
        """How the words of a medium's turn become ids, for each projector that reads them."""
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
        """One conversation as ids, with the adapter's layout or another."""
        chosen = layout or self.adapter.layout
        return encode(
            messages,
            chosen,
            self.backbone.llm,
            self.tokens,
            readers=self.readers,
            signals=self.adapter.signals,
            generation=generation,
            name=name,
        )

    def collate(
        self,
        rows: Sequence[Encoded],
        *,
        layout: Layout | None = None,
        generation: bool = False,
        features: Callable[[MediaPart], Tensor] | None = None,
    ) -> Batch:
        """Pad rows and load their media.

        Args:
            rows: encoded conversations.
            layout: whose geometry to use.
            generation: pad on the left.
            features: gives the frozen features ``[tokens, width]`` of a medium, if they are cached.
        """
        batch = collate(rows, self.backbone.llm.pad_id, "left" if generation else "right")
        media = [part for row in rows for part in row.media]
        chosen = layout or self.adapter.layout
        inputs: dict[Modality, Inputs] = {}
        cached: dict[Modality, Tensor] = {}
        prompts: dict[Modality, Prompts] = {}
        for modality in self.modalities:
            parts = [part for part in media if part.modality == modality]
            if self.adapter.reads_prompt(modality):
                read = [ids for row in rows for ids in row.prompts[modality]]
                prompts[modality] = collate_prompts(read, self.backbone.prompter().pad_id)
            if parts and features is not None:
                cached[modality] = torch.stack([features(part) for part in parts])
            elif parts:
                loaded = [load_medium(part.modality, part.source) for part in parts]
                inputs[modality] = self.backbone.encoder(modality).preprocess(loaded, chosen.geometry_for(modality))
        return replace(batch, inputs=inputs, features=cached, prompts=prompts)

    def batch(self, conversations: Sequence[Sequence[Message]], *, generation: bool = False) -> Batch:
        """Conversations to one batch, in one step."""
        rows = [self.encode(messages, generation=generation) for messages in conversations]
        return self.collate(rows, generation=generation)

    def embeddings(self, batch: Batch) -> Tensor:
        """The LLM's input ``[B, T, width]``: token embeddings with projected features in their slots."""
        embeddings = self.backbone.llm.embed(batch.ids)
        projected = {
            name: self.adapter.project(name, self._features(name, batch), batch.prompts.get(name)).to(embeddings.dtype)
            for name in self.modalities
        }
        if batch.order:
            embeddings = splice.insert(embeddings, batch.slots, splice.in_order(projected, batch.order), batch.names)
        # A batch without media still touches every projector, so that all ranks of a distributed run have one graph.
        for name in set(projected) - set(batch.order):
            embeddings = embeddings + projected[name].sum() * 0
        return embeddings

    def _features(self, modality: Modality, batch: Batch) -> Tensor:
        if modality in batch.features:
            return batch.features[modality]
        encoder = self.backbone.encoder(modality)
        if modality in batch.inputs:
            return encoder.encode(batch.inputs[modality])
        return torch.zeros(0, encoder.tokens, encoder.width, device=batch.ids.device)

    def __call__(
        self, batch: Batch, *, logits: Literal["none", "labelled", "all"] = "labelled", states: bool = False
    ) -> Output:
        """One forward pass.

        Args:
            batch: on the backbone's device or another; it is moved.
            logits: only the labelled rows go through the LM head, or all; with ``none`` the loss comes alone, faster
                and in less memory, and is the same.
            states: give the states of signal tokens too, of the same pass.
        """
        batch = batch.to(self.backbone.device)
        return self.predict(self.embeddings(batch), batch, logits=logits, states=states)

    def predict(
        self,
        embeddings: Tensor,
        batch: Batch,
        *,
        logits: Literal["none", "labelled", "all"] = "labelled",
        states: bool = False,
    ) -> Output:
        """What the LLM makes of embeddings, whoever filled their slots: the projector, or a teacher in its place.

        Args:
            embeddings: ``[B, T, width]``, of the batch.
            batch: its mask, labels and target; on the device of the embeddings.
            logits: as for a whole forward pass.
            states: as for a whole forward pass.
        """
        llm = self.backbone.llm
        rows, targets = llm.supervised(batch.labels, batch.target)
        whole, alone = logits == "all", logits == "none" and len(targets) > 0
        kept = None if whole else rows
        loss = scores = signal_states = hidden = None
        if alone and states:
            loss, hidden = llm.loss_and_states(embeddings, batch.mask, rows, targets, batch.target)
        elif alone:
            constant = constant_of(batch.beginning, self.adapter.lora, self.adapter.tokens)
            loss = llm.loss(embeddings, batch.mask, rows, targets, batch.target, constant=constant)
        elif states:
            scores, hidden = llm.logits_and_states(embeddings, batch.mask, kept, batch.target)
        else:
            scores = llm.logits(embeddings, batch.mask, kept, batch.target)
        if scores is not None and len(targets):
            loss = torch.nn.functional.cross_entropy((scores[rows] if whole else scores).float(), targets)
        if hidden is not None:
            signal_states = at_signals(batch.ids, embeddings, hidden, self.adapter.signals)
        return Output(loss, scores, targets, signal_states)

    def signal_states(self, batch: Batch) -> dict[Modality, Tensor]:
        """What output projectors read; the LM head is not run.

        Returns:
            For every modality with signal tokens ``[n, signals, width]``, ``n`` media in the order of ``batch.made``:
            the last hidden state of each signal token plus its input embedding, where it is read.

        Raises:
            SignalError: a group of signal tokens that is not whole.
        """
        batch = batch.to(self.backbone.device)
        embeddings = self.embeddings(batch)
        states = self.backbone.llm.states(embeddings, batch.mask)
        return at_signals(batch.ids, embeddings, states, self.adapter.signals)

    @torch.no_grad()
    def generate(self, batch: Batch, *, stop: Sequence[str] = (), **options: Any) -> list[list[int]]:
        """New token ids for each row of a left-padded batch; greedy unless the options say otherwise.

        Signal tokens come in whole groups; of a group that ``max_new_tokens`` cut off the rest is added.
        """
        batch = batch.to(self.backbone.device)
        return self.write(self.embeddings(batch), batch.mask, stop=stop, **options)

    def write(self, embeddings: Tensor, mask: Tensor, *, stop: Sequence[str], **options: Any) -> list[list[int]]:
        """As :meth:`generate`, from embeddings ``[B, T, width]`` and their mask."""
        signals = self.adapter.signals
        options = {"max_new_tokens": 64, "do_sample": False} | options
        if signals.ids:
            options["logits_processor"] = [SignalGrammar(signals), *options.get("logits_processor", ())]
        written = self.backbone.llm.generate(embeddings, mask, stop=stop, **options)
        return [completed(row, signals) for row in written]

    def replies(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        layout: Layout | None = None,
        features: Callable[[MediaPart], Tensor] | None = None,
        names: Sequence[str] = (),
        media: Mapping[Modality, Mapping[str, Any]] | None = None,
        on_text: Callable[[str], None] | None = None,
        **options: Any,
    ) -> list[Reply]:
        """Answers in words and media to many conversations in one batch.

        Every token that was written is read once more, the last signal token too, so that its state exists; what the
        output projectors see is then what they see in training.

        Args:
            conversations: each ends with the user's turn; media that the model made earlier may stand in its turns.
            layout: another than the adapter's.
            features: gives the frozen features of a medium, if they are cached.
            names: of the conversations, for errors.
            media: how each modality is generated: ``{"image": {"steps": 20, "guidance_scale": 7.5, "seed": 0}}``, see
                :meth:`inlay.adapters.generators.Generator.generate`.
            on_text: gets the words while they are written; for one conversation, without beams.
            options: of transformers' ``generate``.

        Raises:
            InlayError: a conversation, medium, text or option that cannot be used; the text says why.
        """
        return replies(
            self,
            conversations,
            layout=layout,
            features=features,
            names=names,
            media=media,
            on_text=on_text,
            prefixes=self.prefixes,
            options=options,
        )

    @torch.no_grad()
    def make(self, modality: Modality, states: Tensor, **options: Any) -> list[Made]:
        """Media from states of signal tokens ``[n, signals, width]``; options are the generator's."""
        return self.backbone.generator(modality).generate(self.adapter.condition(modality, states), **options)

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        layout: Layout | None = None,
        features: Callable[[MediaPart], Tensor] | None = None,
        names: Sequence[str] = (),
        adapters: Sequence[Attachable] | None = None,
        **options: Any,
    ) -> list[str]:
        """Texts for many conversations in one batch; see :meth:`generate` for the options.

        With ``adapters``, one a conversation, each is answered by its own: :mod:`inlay.adapters.chat.per_row_adapters`.
        """
        if adapters is not None:
            own = {"layout": layout, "features": features, "names": names}
            return answer_mixed(self, conversations, adapters, **own, **options)
        chosen = layout or self.adapter.layout
        rows = encode_all(self, conversations, chosen, names)
        batch = self.collate(rows, layout=chosen, generation=True, features=features)
        generated = self.generate(batch, stop=chosen.stop, **options)
        return [chosen.reply(self.backbone.llm.decode(ids, stop=chosen.stop)) for ids in generated]

    def chat(
        self,
        messages: Sequence[Mapping[str, Any] | Message],
        *,
        media: Mapping[Modality, Mapping[str, Any]] | None = None,
        on_text: Callable[[str], None] | None = None,
        **options: Any,
    ) -> Reply:
        """Answer a conversation that ends with the user's turn, in words and media.

        Args:
            messages: dictionaries as in transformers' chat templates, or canonical messages.
            media: how each modality is generated, see :meth:`replies`.
            on_text: gets the words while they are written.
            options: ``max_new_tokens``, ``do_sample``, ``num_beams``, ... as of transformers' ``generate``.

        Raises:
            InlayError: a conversation, picture or text that cannot be used; the text says why.
        """
        (reply,) = self.replies([parse_messages(messages)], media=media, on_text=on_text, **options)
        return reply

    def probe(self, conversation: Sequence[Message]) -> Tensor:
        """Logits ``[vocabulary]`` of the first token of an answer, in float32 on the CPU, without dropout."""
        with self._still():
            batch = self.batch([conversation], generation=True).to(self.backbone.device)
            return self.backbone.llm.logits(self.embeddings(batch), batch.mask)[0, -1].float().cpu()

    def probe_conditioning(self, conversation: Sequence[Message]) -> dict[Modality, Tensor]:
        """Conditioning ``[n, tokens, width]`` of the media that the assistant makes, without dropout."""
        with self._still():
            states = self.signal_states(self.batch([conversation]))
            return {name: self.adapter.condition(name, states[name]) for name in self.makes}

    @contextmanager
    def _still(self) -> Iterator[None]:
        was_training = self.adapter.training
        self.adapter.train(False)
        try:
            with torch.no_grad():
                yield
        finally:
            self.adapter.train(was_training)

    def swap(self, other: B, *, strict: bool = False) -> MultimodalModel[B]:
        """Answer with another adapter, in microseconds where :meth:`Adapter.replaced_by` can; if it fails, this stays.

        Args:
            other: not attached.
            strict: as for :meth:`Adapter.attach`.

        Returns:
            This same model, by its new type.
        """
        if not self.adapter.replaced_by(other, strict=strict):
            self.adapter.detach()
            try:
                other.attach(self.backbone, strict=strict)
            except BaseException:
                self.adapter.attach(self.backbone, verify=False)
                raise
        if self.prefixes is not None:
            self.prefixes.clear()
        swapped = cast("MultimodalModel[B]", self)
        swapped.adapter = other
        return swapped
