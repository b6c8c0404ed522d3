"""Words of an answer while it is written: no signal tokens, no flags, nothing from the stop text on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from inlay.adapters.chat.meta_dispatch import spelled
from inlay.adapters.chat.reply import ReplyError
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.meta_response import has_prompt
from inlay.adapters.language.model import LanguageModel

__all__ = ["MetaStream", "TextStream", "text_stream"]


def text_stream(
    llm: LanguageModel, layout: Layout, on_text: Callable[[str], None], rows: int, options: Mapping[str, Any]
) -> TextStream:
    """A stream for a call of transformers' ``generate`` with these options.

    Args:
        llm: with the adapter attached.
        layout: whose answers are written.
        on_text: gets every new piece of text.
        rows: conversations of the call.
        options: of the call.

    Raises:
        ReplyError: several conversations, or beams, of which none is the answer before the end.
    """
    if rows != 1 or int(options.get("num_beams") or 1) != 1:
        raise ReplyError(
            f"words can be streamed of one conversation without beams, got {rows} conversations and num_beams="
            f"{options.get('num_beams') or 1}; leave on_text out"
        )
    return (MetaStream if layout.meta else TextStream)(llm, layout, on_text)


class TextStream(BaseStreamer):
    """Hands on the words of one answer as they are written.

    Args:
        llm: with the adapter attached.
        layout: its stop texts end the answer.
        on_text: gets every new piece of text.
    """

    def __init__(self, llm: LanguageModel, layout: Layout, on_text: Callable[[str], None]) -> None:
        self.llm, self.layout, self.on_text = llm, layout, on_text
        self.ids: list[int] = []
        self.sent = ""

    def put(self, value: Tensor) -> None:
        """New ids: the prompt first, which is empty where a model is given embeddings, then one at a time."""
        self.ids += value.flatten().tolist()
        text = self.text()
        # Half a character, and what may be the beginning of a stop text, wait for what follows.
        held = max((n for mark in self.layout.stop for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
        self._send(text[: len(text) - held].removesuffix("\ufffd"))

    def end(self) -> None:
        """Nothing follows."""
        self._send(self.text(whole=True))

    def text(self, *, whole: bool = False) -> str:
        """The words so far; ``whole`` where nothing follows."""
        del whole  # what comes later changes nothing before it
        text: str = self.llm.tokenizer.decode(self.ids, skip_special_tokens=True)
        for mark in self.layout.stop:
            text = text.split(mark, 1)[0]
        return text.lstrip()

    def _send(self, text: str) -> None:
        if len(text) > len(self.sent) and text.startswith(self.sent):
            self.on_text(text[len(self.sent) :])
            self.sent = text


class MetaStream(TextStream):
    """The same of a meta response: its prompt, where that is said and not only made into media.

    Until ``Prompt:`` has come, what is written may still be flags and labels. An answer without one is known at its
    end; one that names media behind its prompt was said too early, and the reply has the last word.
    """

    def text(self, *, whole: bool = False) -> str:
        """The prompt so far."""
        text = spelled(self.ids, self.llm)
        return self.layout.read(text).text if whole or has_prompt(text) else ""
