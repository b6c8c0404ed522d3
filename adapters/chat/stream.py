"""The text of an answer while it is generated, without signal tokens and flags, up to the stop text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    llm: LanguageModel,
    layout: Layout,
    stop: Sequence[str],
    on_text: Callable[[str], None],
    rows: int,
    options: Mapping[str, Any],
) -> TextStream:
    """Create a streamer for a call of transformers' ``generate`` with these options.

    Args:
        llm: with the adapter attached.
        layout: the layout of the answer.
        stop: texts that end the answer.
        on_text: called with every new piece of text.
        rows: number of conversations in the call.
        options: the options of the call.

    Raises:
        ReplyError: several conversations, or beam search, which chooses the answer only at the end.
    """
    if rows != 1 or int(options.get("num_beams") or 1) != 1:
        raise ReplyError(
            f"on_text: expected one conversation without beam search, got {rows} conversations and num_beams="
            f"{options.get('num_beams') or 1}; leave on_text out"
        )
    return (MetaStream if layout.meta else TextStream)(llm, layout, stop, on_text)


class TextStream(BaseStreamer):
    """Passes the text of one answer on as it is generated.

    Args:
        llm: with the adapter attached.
        layout: the layout of the answer.
        stop: texts that end the answer.
        on_text: called with every new piece of text.
    """

    def __init__(self, llm: LanguageModel, layout: Layout, stop: Sequence[str], on_text: Callable[[str], None]) -> None:
        self.llm, self.layout, self.stop, self.on_text = llm, layout, tuple(stop), on_text
        self.ids: list[int] = []
        self.sent = ""
        self.raised: Exception | None = None
        """The exception that ``on_text`` raised; it is passed on to the caller unchanged."""

    def put(self, value: Tensor) -> None:
        """Receive new ids: first the prompt (empty, since the model is given embeddings), then one id at a time."""
        self.ids += value.flatten().tolist()
        text = self.text()
        # An incomplete character, or a possible beginning of a stop text, is held back until the next ids.
        held = max((n for mark in self.stop for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
        self._send(text[: len(text) - held].removesuffix("\ufffd"))

    def end(self) -> None:
        """Pass on the rest: the answer is complete."""
        self._send(self.text(whole=True))

    def text(self, *, whole: bool = False) -> str:
        """The text so far; ``whole`` if the answer is complete."""
        del whole  # later ids do not change the text before them
        text: str = self.llm.tokenizer.decode(self.ids, skip_special_tokens=True)
        for mark in self.stop:
            text = text.split(mark, 1)[0]
        return text.lstrip()

    def _send(self, text: str) -> None:
        if len(text) > len(self.sent) and text.startswith(self.sent):
            try:
                self.on_text(text[len(self.sent) :])
            except Exception as error:
                self.raised = error
                raise
            self.sent = text


class MetaStream(TextStream):
    """Streams the prompt of a meta response, if it is also an answer in words and not only a caption for a generator.

    Before ``Prompt:``, the generated text may still be flags and labels, so nothing is passed on; an answer without a
    prompt is passed on at its end. If media are named after the prompt, text was passed on that is not in the reply;
    the reply is authoritative.
    """

    def text(self, *, whole: bool = False) -> str:
        """The prompt so far."""
        text = spelled(self.ids, self.llm)
        return self.layout.read(text).text if whole or has_prompt(text) else ""
