"""The interface of a template: a :class:`Dialogue` in, segments out, and the helpers that templates share.

A template writes text and leaves slots for media; it does not tokenise. Labels follow later from the character offsets
of the segments, so they cannot shift against the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, made_of, media_of
from inlay.adapters.conversation.segments import HOLE, Bos, LayoutError, Segment, Text

__all__ = ["Dialogue", "Piece", "Template", "answer", "instruction", "is_empty", "media_lead"]

Piece: TypeAlias = MediaPart | str
"""One medium or one run of words of a user's turn."""


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """The input of a template: a checked conversation and the layout's choices."""

    turns: tuple[Message, ...]
    """User and assistant alternately, the user first. The system message is in :attr:`system`."""
    tokenizer: Any
    """For its special tokens and its chat template."""
    system: str = ""
    """System text of the conversation, or of the layout if the conversation has none."""
    prompt: str = HOLE
    """The layout's prompt: text around the user's words, which replace ``{}``."""
    date: str | None = None
    """Day for templates that write one, ``YYYY-MM-DD``; None for the default day."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further variables of the tokenizer's chat template, such as ``enable_thinking``."""
    generation: bool = False
    """Whether the last turn is the user's and the template ends where the assistant's answer begins."""
    notes: list[str] = field(default_factory=list)
    """A template appends a reason here when it changes the conversation; the user gets it as a warning."""

    @property
    def eos(self) -> str:
        """The tokenizer's EOS token.

        Raises:
            LayoutError: the tokenizer has none.
        """
        if not self.tokenizer.eos_token:
            raise LayoutError(
                "this template ends an answer with the EOS token, and the tokenizer has none; set tokenizer.eos_token, "
                "or choose a template that ends an answer with text, such as 'plain' or 'minigpt4'"
            )
        return str(self.tokenizer.eos_token)

    @cached_property
    def prefixes_space(self) -> bool:
        """Whether the tokenizer puts a space in front of every string, as LLaMA's and T5's do."""
        return self.tokenizer.tokenize("x")[0][0] in ("\u2581", "\u0120")

    @property
    def gap(self) -> str:
        """The space at the end of a prompt whose continuation is tokenised apart; none where the latter begins with it.

        With LLaMA's tokenizer the authors' strings ``"Assistant: "`` and ``"two"`` are two tokens for a space,
        ``: ▁ ▁two``. Another tokenizer has one, which belongs to the word behind it.
        """
        return " " if self.prefixes_space else ""

    def apart(self, text: str, *, trained: bool = False, literal: bool = False) -> Text:
        """Text that the authors' code tokenises apart from what precedes it; for other tokenizers, behind a space."""
        if self.prefixes_space:
            return Text(text, trained, literal, apart=True)
        return Text(f" {text}", trained, literal)

    def words(self, message: Message) -> str:
        """The words of a user's turn inside the layout's prompt."""
        return instruction(self.prompt, message)

    def pieces(self, message: Message) -> list[Piece]:
        """Media and words of a user's turn in the order of the message, the words inside the layout's prompt.

        If all media precede the words: every medium, then one string (which may be empty). Otherwise media stay between
        the words, whose outer spaces are removed, and media in front of the first word also precede the prompt. A
        prompt without exactly one ``{}`` cannot hold media, so they are put in front of it.
        """
        media = list(media_of([message]))
        if media_lead(message):
            return [*media, self.words(message)]
        if self.prompt.count(HOLE) != 1:
            self.notes.append("the layout's prompt has no single {} for words and media, so media precede the prompt")
            return [*media, self.words(message)]
        before, after = self.prompt.split(HOLE)
        pieces = _runs(message)
        first = next(index for index, piece in enumerate(pieces) if isinstance(piece, str))
        pieces[first] = f"{before}{pieces[first]}"
        if isinstance(pieces[-1], str):
            pieces[-1] += after
        elif after.strip():
            pieces.append(after.strip())
        return pieces


@dataclass(frozen=True, slots=True)
class Template:
    """A way to lay out a conversation, with the defaults of the system that published it."""

    lay: Callable[[Dialogue], list[Segment]]
    """Dialogue -> segments. The loss is computed on the answers and on the text that ends each of them."""
    bos: Bos = "first"
    """Default position of BOS."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, besides EOS."""
    speaker: str = ""
    """Speaker name that models of this template may write in front of their answer; it is removed from replies."""
    meta: bool = False
    """Whether an answer is a meta response, see :mod:`inlay.adapters.conversation.meta_response`."""
    bos_is_eos: bool = False
    """Whether BOS is ``</s>`` with tokenizers like LLaMA's, whose own BOS is ``<s>``."""
    dated: Callable[[Any], bool] | None = None
    """Tokenizer -> whether the laid-out text depends on :attr:`Dialogue.date`; None if it never does."""
    arguments: bool = False
    """Whether the laid-out text depends on :attr:`Dialogue.arguments`."""


def instruction(prompt: str, message: Message) -> str:
    """The user's words inside a layout's prompt; a prompt without ``{}`` replaces them.

    Example:
        >>> asked = Message("user", (TextPart("how many?"),))
        >>> instruction("Question: {} Short answer:", asked)
        'Question: how many? Short answer:'
        >>> instruction("a photo of", asked)
        'a photo of'
    """
    return prompt.replace(HOLE, message.text)


def media_lead(message: Message) -> bool:
    """Whether all media of a message precede its words."""
    words = False
    for part in message.content:
        if isinstance(part, MediaPart) and words:
            return False
        words = words or (isinstance(part, TextPart) and bool(part.text.strip()))
    return True


def is_empty(message: Message) -> bool:
    """Whether an assistant's turn has neither words nor media."""
    return not message.text.strip() and not made_of([message])


def answer(message: Message, end: str = "", *, space: bool = True, apart: bool = False) -> list[Segment]:
    """The assistant's words and the text that ends them; the loss is computed on both.

    An empty answer is laid out as its end alone, without loss: it is history, not something to learn.

    Args:
        message: the assistant's; media in it have been replaced by signal tokens before.
        end: the template's end of an answer.
        space: put a space in front, as part of the answer.
        apart: tokenise the answer apart from the prompt; the tokenizer puts the space in front.

    Raises:
        LayoutError: the message has media, and the adapter has no signal tokens.
    """
    if made := made_of([message]):
        raise LayoutError(
            f"the assistant makes a medium of type {made[0].modality!r}, and this adapter has no signal tokens; "
            "add token rows with signal tokens to the adapter, or remove the medium from the turn"
        )
    if is_empty(message):
        return [Text(end)]
    words = Text(message.text, trained=True, literal=False, apart=apart)
    return [Text(" " if space and not apart else "", trained=True), words, Text(end, trained=True)]


def _runs(message: Message) -> list[Piece]:
    """Media and runs of words; neighbouring text parts are joined, empty runs are left out."""
    runs: list[Piece] = []
    texts: list[TextPart] = []

    def close() -> None:
        if words := Message(message.role, tuple(texts)).text.strip():
            runs.append(words)
        texts.clear()

    for part in message.content:
        if isinstance(part, TextPart):
            texts.append(part)
        elif isinstance(part, MediaPart):
            close()
            runs.append(part)
    close()
    return runs
