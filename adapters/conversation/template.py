"""The interface of a template: a :class:`Dialogue` in, segments out, and the helpers that templates share.

A template produces text with slots for media; it does not tokenise. Labels are derived later from the character offsets
of the segments, so they cannot be misaligned with the tokens.
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
    """Messages of user and assistant alternately, the user first. The system message is in :attr:`system`."""
    tokenizer: Any
    """The LLM's tokenizer, with its special tokens and chat template."""
    system: str = ""
    """System text of the conversation, or that of the layout if the conversation has none."""
    prompt: str = HOLE
    """The layout's prompt: text around the user's words, which replace ``{}``."""
    date: str | None = None
    """The date for templates with a date, ``YYYY-MM-DD``; None for the default."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further variables of the tokenizer's chat template, such as ``enable_thinking``."""
    generation: bool = False
    """Whether the last turn is the user's and the template ends where the assistant's answer begins."""
    notes: list[str] = field(default_factory=list)
    """Reasons that the template appends when it changes the conversation; each becomes a warning."""

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
        """Whether the tokenizer puts a space before every string, as LLaMA's and T5's do."""
        return self.tokenizer.tokenize("x")[0][0] in ("\u2581", "\u0120")

    @property
    def gap(self) -> str:
        """The space at the end of a prompt whose answer is tokenised separately; empty if the answer begins with it.

        With LLaMA's tokenizer the authors' strings ``"Assistant: "`` and ``"two"`` are two tokens for a space,
        ``: ▁ ▁two``. Other tokenizers have one, as part of the word after it.
        """
        return " " if self.prefixes_space else ""

    def apart(self, text: str, *, trained: bool = False, literal: bool = False) -> Text:
        """Text that the authors' code tokenises separately; with other tokenizers it is joined by a space."""
        if self.prefixes_space:
            return Text(text, trained, literal, apart=True)
        return Text(f" {text}", trained, literal)

    def words(self, message: Message) -> str:
        """The words of a user's turn, inserted into the layout's prompt."""
        return instruction(self.prompt, message)

    def pieces(self, message: Message) -> list[Piece]:
        """Media and words of a user's turn in the order of the message, the words inserted into the layout's prompt.

        If all media precede the words, the result is every medium, then one string (possibly empty). Otherwise media
        stay between the words, whose outer spaces are removed, and media before the first word also precede the prompt.
        A prompt without exactly one ``{}`` has no place for media, so they are put before it.
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
    """A rule for laying out a conversation, with the defaults of the system that published it."""

    lay: Callable[[Dialogue], list[Segment]]
    """Dialogue -> segments. The loss is computed on the answers and on the text that ends each of them."""
    bos: Bos = "first"
    """Default position of BOS."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, besides EOS."""
    speaker: str = ""
    """Speaker name that models of this template may generate before their answer; it is removed from replies."""
    meta: bool = False
    """Whether an answer is a meta response, see :mod:`inlay.adapters.conversation.meta_response`."""
    bos_is_eos: bool = False
    """Whether BOS is ``</s>`` with tokenizers like LLaMA's, whose own BOS is ``<s>``."""
    dated: Callable[[Any], bool] | None = None
    """Tokenizer -> whether the laid-out text depends on :attr:`Dialogue.date`; None if it never does."""
    arguments: bool = False
    """Whether the laid-out text depends on :attr:`Dialogue.arguments`."""


def instruction(prompt: str, message: Message) -> str:
    """Insert the user's words into a layout's prompt; a prompt without ``{}`` replaces them.

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
    """Lay out the assistant's words and the text that ends them; the loss is computed on both.

    An empty answer is laid out as its end alone, without loss, because it contains nothing to train on.

    Args:
        message: the assistant's message, in which media have already been replaced by signal tokens.
        end: the text with which the template ends an answer.
        space: put a space first, as part of the answer.
        apart: tokenise the answer separately from the prompt; the tokenizer then puts the space first.

    Raises:
        LayoutError: the message has media, and the adapter has no signal tokens.
    """
    if made := made_of([message]):
        raise LayoutError(
            f"the assistant's turn has a medium of type {made[0].modality!r}, and this adapter has no signal tokens; "
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
