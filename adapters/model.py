"""What ``attach`` returns: backbone and adapter together, to train, to ask, to chat with.

Data flows one way: messages -> media -> encoder -> features -> input projector -> splice -> LLM -> loss or text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from inlay.adapters import splice
from inlay.adapters.backbone import Backbone
from inlay.adapters.batch import Batch, Encoded, collate, encode
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.inputs import InputProjector
from inlay.adapters.layout import Layout
from inlay.adapters.medium import load_medium
from inlay.adapters.messages import MediaPart, Message, Modality, parse_messages
from inlay.adapters.prompt import Prompts, Reader, collate_prompts

__all__ = ["MultimodalModel", "Output", "Reply"]


class Attachable(Protocol):
    """What a model asks of its adapter; :class:`inlay.adapters.Adapter` is the one that does it."""

    layout: Layout
    inputs: nn.ModuleDict

    @property
    def training(self) -> bool:
        """Whether it trains."""
        ...

    def train(self, mode: bool = True) -> object:
        """Switch dropout on or off."""
        ...

    def projector(self, modality: str) -> InputProjector:
        """The input projector of a modality."""
        ...

    def reads_prompt(self, modality: str) -> bool:
        """Whether the input projector of a modality takes in the words of a medium's turn."""
        ...

    def project(self, modality: str, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Frozen features to LLM embeddings."""
        ...

    def attach(self, backbone: Backbone, *, strict: bool = False, verify: bool = True) -> MultimodalModel[Any]:
        """Plug into a backbone."""
        ...

    def detach(self) -> None:
        """Leave the backbone."""
        ...


A = TypeVar("A", bound=Attachable)
B = TypeVar("B", bound=Attachable)


@dataclass(frozen=True)
class Output:
    """What one forward pass gives."""

    loss: Tensor | None
    """Mean cross-entropy over the labelled tokens; None where there are none."""
    logits: Tensor
    """``[rows, vocabulary]`` for the labelled positions, or ``[B, T, vocabulary]`` for all (of the target's side where
    the LLM is an encoder-decoder)."""
    targets: Tensor | None = None
    """``[rows]``: the labelled tokens, beside ``logits``."""


@dataclass(frozen=True)
class Reply:
    """An answer."""

    text: str
    media: tuple[Any, ...] = ()
    """Images, audio, video that the model made, if it can."""
    tokens: int = 0
    """Tokens generated."""


class MultimodalModel(Generic[A]):
    """Backbone plus attached adapter. Get one from :meth:`Adapter.attach`.

    Args:
        backbone: the frozen models.
        adapter: the attached adapter.
    """

    def __init__(self, backbone: Backbone, adapter: A) -> None:
        self.backbone, self.adapter = backbone, adapter

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
        """One conversation as ids, with the adapter's layout or another; see :func:`inlay.adapters.batch.encode`."""
        chosen = layout or self.adapter.layout
        return encode(
            messages,
            chosen,
            self.backbone.llm,
            self.tokens,
            readers=self.readers,
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
                loaded = [load_medium(part) for part in parts]
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
            embeddings = splice.insert(embeddings, batch.slots, _in_order(projected, batch.order), batch.names)
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

    def __call__(self, batch: Batch, *, logits: Literal["labelled", "all"] = "labelled") -> Output:
        """One forward pass.

        Args:
            batch: on the backbone's device or another; it is moved.
            logits: only the labelled rows go through the LM head, or all.
        """
        batch = batch.to(self.backbone.device)
        return self.predict(self.embeddings(batch), batch, logits=logits)

    def predict(self, embeddings: Tensor, batch: Batch, *, logits: Literal["labelled", "all"] = "labelled") -> Output:
        """What the LLM makes of embeddings, whoever filled their slots: the projector, or a teacher in its place.

        Args:
            embeddings: ``[B, T, width]``, of the batch.
            batch: its mask, labels and target; on the device of the embeddings.
            logits: as for a whole forward pass.
        """
        llm = self.backbone.llm
        rows, targets = llm.supervised(batch.labels, batch.target)
        whole = logits == "all"
        scores = llm.logits(embeddings, batch.mask, None if whole else rows, batch.target)
        labelled = scores[rows] if whole else scores
        loss = torch.nn.functional.cross_entropy(labelled.float(), targets) if len(targets) else None
        return Output(loss, scores, targets)

    @torch.no_grad()
    def generate(self, batch: Batch, *, stop: Sequence[str] = (), **options: Any) -> list[list[int]]:
        """New token ids for each row of a left-padded batch; greedy unless the options say otherwise."""
        batch = batch.to(self.backbone.device)
        options = {"max_new_tokens": 64, "do_sample": False} | options
        return self.backbone.llm.generate(self.embeddings(batch), batch.mask, stop=stop, **options)

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        layout: Layout | None = None,
        features: Callable[[MediaPart], Tensor] | None = None,
        names: Sequence[str] = (),
        **options: Any,
    ) -> list[str]:
        """Texts for many conversations in one batch; see :meth:`generate` for the options."""
        chosen = layout or self.adapter.layout
        labels = list(names) or [""] * len(conversations)
        rows = [
            self.encode(messages, layout=chosen, generation=True, name=name)
            for messages, name in zip(conversations, labels, strict=True)
        ]
        batch = self.collate(rows, layout=chosen, generation=True, features=features)
        generated = self.generate(batch, stop=chosen.stop, **options)
        return [chosen.reply(self.backbone.llm.decode(ids, stop=chosen.stop)) for ids in generated]

    def chat(self, messages: Sequence[Mapping[str, Any] | Message], **options: Any) -> Reply:
        """Answer a conversation that ends with the user's turn.

        Args:
            messages: dictionaries as in transformers' chat templates, or canonical messages.
            options: ``max_new_tokens``, ``do_sample``, ``num_beams``, ... as of transformers' ``generate``.

        Raises:
            InlayError: a conversation, picture or text that cannot be used; the text says why.
        """
        conversation = parse_messages(messages)
        row = self.encode(conversation, generation=True)
        layout = self.adapter.layout
        generated = self.generate(self.collate([row], generation=True), stop=layout.stop, **options)[0]
        text = layout.reply(self.backbone.llm.decode(generated, stop=layout.stop))
        return Reply(text, tokens=len(generated))

    def probe(self, conversation: Sequence[Message]) -> Tensor:
        """Logits ``[vocabulary]`` of the first token of an answer, in float32 on the CPU, without dropout."""
        was_training = self.adapter.training
        self.adapter.train(False)
        try:
            with torch.no_grad():
                batch = self.batch([conversation], generation=True)
                return self(batch, logits="all").logits[0, -1].float().cpu()
        finally:
            self.adapter.train(was_training)

    def swap(self, other: B, *, strict: bool = False) -> MultimodalModel[B]:
        """Detach this adapter and attach another to the same backbone; if that fails, this one stays."""
        self.adapter.detach()
        try:
            return other.attach(self.backbone, strict=strict)
        except BaseException:
            self.adapter.attach(self.backbone, verify=False)
            raise


def _in_order(projected: Mapping[Modality, Tensor], order: Sequence[Modality]) -> Tensor:
    """Projected features of all media, in reading order: ``[N, width]``."""
    if len(set(order)) == 1:
        return projected[order[0]].flatten(0, 1)
    rows = {name: iter(tensor) for name, tensor in projected.items()}
    return torch.cat([next(rows[modality]) for modality in order])
