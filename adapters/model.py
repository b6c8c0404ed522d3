"""The model that :meth:`Adapter.attach` returns: the core with methods for answers in text and media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.kv_cache import PrefixCache
from inlay.adapters.chat.per_row_adapters import answer_mixed
from inlay.adapters.chat.replies import encode_all, replies
from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, parse_messages
from inlay.adapters.core import attach
from inlay.adapters.core.attachment import exclusive
from inlay.adapters.core.model_core import ModelCore, Output
from inlay.adapters.core.parts import AdapterParts
from inlay.adapters.language.occupancy import AttachError
from inlay.adapters.media.modality import Modality

__all__ = ["MultimodalModel", "Output", "Reply"]

A = TypeVar("A", bound=AdapterParts)
B = TypeVar("B", bound=AdapterParts)


class MultimodalModel(ModelCore[A]):
    """A backbone with an attached adapter, for training, evaluation and chat; returned by :meth:`Adapter.attach`.

    Args:
        backbone: the frozen models.
        adapter: the attached adapter.

    Raises:
        AttachError: the adapter is not attached.
    """

    def __init__(self, backbone: Backbone, adapter: A) -> None:
        super().__init__(backbone, adapter)
        self.prefixes: PrefixCache | None = None
        """If set, :meth:`chat` reuses the keys and values of the beginning of a conversation."""

    def __repr__(self) -> str:
        """The names of adapter and LLM."""
        try:
            self.require_attached()
            state = ""
        except AttachError:
            state = ", detached"
        return f"{type(self).__name__}({self.adapter.name!r} on {self.backbone.llm.family}{state})"

    @exclusive
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
        """Answer several conversations in one batch, in text and media.

        Args:
            conversations: each ends with the user's turn; the assistant's turns may contain media from earlier replies.
            layout: replaces the adapter's layout.
            features: function from a medium to its frozen features, if they are cached.
            names: the names of the conversations, for errors.
            media: how each modality is generated: ``{"image": {"steps": 20, "guidance_scale": 7.5, "seed": 0}}``, see
                :meth:`inlay.adapters.generators.Generator.generate`.
            on_text: called with each new piece of text; for one conversation without beam search. It must not use the
                model.
            options: the options of transformers' ``generate``; ``max_new_tokens`` is 512 if not given.

        Raises:
            InlayError: a conversation, medium, text or option cannot be used; the message gives the reason.
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

    @exclusive
    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        layout: Layout | None = None,
        features: Callable[[MediaPart], Tensor] | None = None,
        names: Sequence[str] = (),
        adapters: Sequence[AdapterParts] | None = None,
        **options: Any,
    ) -> list[str]:
        """Answer several conversations in one batch, in text; see :meth:`generate` for the options.

        With ``num_return_sequences`` the texts of one conversation are consecutive.

        With ``adapters``, one per conversation, each conversation is answered with its own adapter, see
                :mod:`inlay.adapters.chat.per_row_adapters`.
        """
        if adapters is not None:
            own = {"layout": layout, "features": features, "names": names}
            return answer_mixed(self, conversations, adapters, **own, **options)
        if not conversations:
            return []
        chosen = layout or self.adapter.layout
        rows = encode_all(self, conversations, chosen, names)
        batch = self.collate(rows, layout=chosen, generation=True, features=features)
        stop = self.turn_end(chosen).texts
        written = self.generate(batch, layout=chosen, **options)
        return [chosen.reply(self.backbone.llm.decode(ids, stop=stop)) for ids in written]

    def chat(
        self,
        messages: Sequence[Mapping[str, Any] | Message],
        *,
        media: Mapping[Modality, Mapping[str, Any]] | None = None,
        on_text: Callable[[str], None] | None = None,
        **options: Any,
    ) -> Reply:
        """Answer a conversation that ends with the user's turn, in text and media.

        Args:
            messages: dictionaries as in transformers' chat templates, or canonical messages.
            media: how each modality is generated, see :meth:`replies`.
            on_text: called with each new piece of text; it must not use the model.
            options: ``max_new_tokens`` (512 if not given), ``do_sample``, ``num_beams`` and other options of
                transformers' ``generate``.

        Raises:
            InlayError: a conversation, medium or text cannot be used; the message gives the reason.
        """
        (reply,) = self.replies([parse_messages(messages)], media=media, on_text=on_text, **options)
        return reply

    def swap(self, other: B, *, strict: bool = False) -> MultimodalModel[B]:
        """Replace the adapter by another one, in microseconds for equal shapes; on an error the present one stays.

        Args:
            other: an adapter that is not attached.
            strict: as in :meth:`Adapter.attach`.

        Returns:
            This model, typed by the new adapter.
        """
        with attach.changing(self.backbone, "swap"):
            self.require_attached()
            try:
                attach.swap(self.adapter, other, strict=strict)
            finally:  # this model uses the adapter that is attached now
                candidates: tuple[Any, ...] = (other, self.adapter)
                for holder in candidates:
                    if holder._attachment is not None and holder._attachment.backbone is self.backbone:
                        self.adapter, self.holder, self.attachment = holder, holder, holder._attachment
                        break
                if self.prefixes is not None:
                    self.prefixes.clear()
            return cast("MultimodalModel[B]", self)
