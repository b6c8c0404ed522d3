"""Layout: how a conversation becomes one sequence of text and media slots, and which text is trained on.

Every template returns *segments*; nothing is tokenised here, so that the label mask can follow from the segments' own
offsets instead of from counting the tokens of a second tokenisation (the off-by-one that silently masks whole samples).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from inlay.adapters.conversation.messages import Message, made_of
from inlay.adapters.conversation.meta_response import MetaResponse, parse_meta_response
from inlay.adapters.conversation.phrasing import after_last, cut_at
from inlay.adapters.conversation.segments import (
    HOLE,
    Bos,
    LayoutError,
    Media,
    Segment,
    Style,
    Template,
    Text,
    answer,
    instruction,
    media_in,
)
from inlay.adapters.conversation.templates.any_to_any import ANY_TEMPLATES
from inlay.adapters.conversation.templates.blip import BLIP_TEMPLATES
from inlay.adapters.media.image import Geometry
from inlay.adapters.media.modality import Modality

__all__ = ["TEMPLATES", "VICUNA_SYSTEM", "Bos", "Layout", "LayoutError", "Media", "Segment", "Text", "segments"]

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The layout's choices, stored in the bundle."""

    template: str
    """A key of :data:`TEMPLATES`."""
    system: str = ""
    """System sentence for conversations that bring none; empty for none."""
    geometry: Mapping[Modality, Geometry] = field(default_factory=lambda: {"image": "crop"})
    """How a picture becomes a square."""
    stop: tuple[str, ...] = ()
    """Texts that end a generated answer, beside the EOS token."""
    bos: Bos = "first"
    """Where BOS stands, if the tokenizer has one."""
    prompt: str = HOLE
    """What becomes of the user's words, such as ``Question: {} Short answer:``; without ``{}`` they are left out."""

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise LayoutError(f"template: expected one of {', '.join(TEMPLATES)}, got {self.template!r}")
        if self.bos not in get_args(Bos):
            raise LayoutError(f"bos: expected one of {', '.join(get_args(Bos))}, got {self.bos!r}")

    @classmethod
    def published(cls, template: str, **fields: Any) -> Layout:
        r"""A layout with the place of BOS and the stop texts that the template's own system was published with.

        Example:
            >>> layout = Layout.published("blip2", prompt="Question: {} Short answer:")
            >>> layout.bos, layout.stop
            ('after_media', ('\n',))
        """
        chosen = TEMPLATES.get(template)
        known = {} if chosen is None else {"bos": chosen.bos, "stop": chosen.stop}
        return cls(template=template, **(known | fields))

    def geometry_for(self, modality: Modality) -> Geometry:
        """How media of a modality become squares; the frames of a clip as pictures do, unless it is said otherwise.

        Example:
            >>> Layout(template="plain", geometry={"image": "pad"}).geometry_for("video")
            'pad'
        """
        return self.geometry.get(modality, self.geometry.get("image", "crop"))

    @property
    def meta(self) -> bool:
        """Whether answers are meta responses, which stock generators read."""
        return TEMPLATES[self.template].meta

    def reply(self, text: str) -> str:
        """The answer in a generated text: up to the first stop text, behind the last speaker's name, stripped.

        Example:
            >>> Layout.published("minigpt4").reply(" two cats### Human: and dogs?")
            'two cats'
            >>> Layout.published("minigpt4").reply("Human: what? Assistant: two cats")
            'two cats'
        """
        return self.read(text).text

    def read(self, text: str) -> MetaResponse:
        """The answer in a generated text, and what it asks stock generators to make; most templates ask for nothing.

        Args:
            text: with the flags of the meta response, where the template has such.

        Example:
            >>> Layout.published("modaverse").read("Modality: [AUDIO] Prompt: rain ###").media
            ('audio',)
        """
        chosen = TEMPLATES[self.template]
        if chosen.meta:
            return parse_meta_response(text)
        return MetaResponse(after_last(cut_at(text, self.stop), chosen.speaker).strip())


def segments(layout: Layout, messages: Sequence[Message], tokenizer: Any, *, generation: bool = False) -> list[Segment]:
    """Lay a conversation out.

    Args:
        layout: the choices.
        messages: canonical messages.
        tokenizer: for its EOS token and its chat template.
        generation: end where the assistant has to begin; the last message must then be the user's.

    Raises:
        LayoutError: turns in the wrong order, an empty answer, media in the wrong turn.
    """
    _check_turns(messages, generation=generation)
    return TEMPLATES[layout.template].lay(layout, messages, tokenizer, generation)


def _check_turns(messages: Sequence[Message], *, generation: bool) -> None:
    turns = [message for message in messages if message.role != "system"]
    for index, message in enumerate(turns):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            raise LayoutError(
                f"turn {index}: expected the {expected}, got {message.role} (user and assistant alternate)"
            )
        if message.role == "assistant" and not message.text.strip() and not made_of([message]):
            raise LayoutError(f"turn {index}: the assistant's answer is empty; give it text or leave the turn out")
    if any(message.role == "system" for message in messages[1:]):
        raise LayoutError("a system message is only allowed in front")
    if not turns:
        raise LayoutError("expected at least one user turn, got none")
    if generation != (turns[-1].role == "user"):
        wanted = "the user's question" if generation else "an assistant's answer"
        raise LayoutError(f"expected {wanted} as the last turn, got one of the {turns[-1].role}")


def _system(layout: Style, messages: Sequence[Message]) -> str:
    return messages[0].text if messages and messages[0].role == "system" else layout.system


def plain(layout: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    """LLaVA's stage 1: the media, the caption, a newline. The question is left out on purpose.

    Liu et al., 2023, https://arxiv.org/abs/2304.08485. Trained behind a question, the projector becomes another one.
    """
    laid: list[Segment] = []
    for message in messages:
        if message.role == "user":
            laid += media_in(message)
        elif message.role == "assistant":
            laid += [*answer(message, space=False), Text("\n", trained=True)]
    return laid


def vicuna_v1(layout: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    r"""Vicuna 1.1 and later, as LLaVA 1.5 uses it.

    ``{system} USER: <image>\n{question} ASSISTANT: {answer}</s>USER: ...``: one space after a question, none between
    ``</s>`` and the next ``USER``; media stand in front of the turn that has them; the loss covers ``{answer}</s>``.
    """
    system = _system(layout, messages)
    laid: list[Segment] = [Text(system, literal=False), Text(" ")] if system else []
    for message in messages:
        if message.role == "user":
            laid.append(Text("USER: "))
            for media in media_in(message):
                laid += [media, Text("\n")]
            laid += [Text(instruction(layout, message), literal=False), Text(" ASSISTANT:")]
        elif message.role == "assistant":
            laid += [*answer(message), Text(tokenizer.eos_token, trained=True)]
    return laid


_OPEN, _CLOSE = "\ue000", "\ue001"
_HOLE = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


def chat(layout: Style, messages: Sequence[Message], tokenizer: Any, generation: bool) -> list[Segment]:
    """The LLM's own chat template, rendered around numbered holes, so that no content passes through the template.

    The loss covers what follows the generation prompt: the answer and the template's text up to its next special token.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise LayoutError(
            "template 'chat': this tokenizer has no chat template; choose 'vicuna_v1' or another template"
        )
    turns = list(messages)
    if layout.system and turns[0].role != "system":
        turns.insert(0, Message("system", ()))
    holes = [{"role": turn.role, "content": f"{_OPEN}{index}{_CLOSE}"} for index, turn in enumerate(turns)]
    rendered: str = tokenizer.apply_chat_template(holes, tokenize=False, add_generation_prompt=generation)
    if [int(hole[1]) for hole in _HOLE.finditer(rendered)] != list(range(len(turns))):
        raise LayoutError(
            "template 'chat': this tokenizer's chat template drops or repeats turns; use another template"
        )
    starts = _answer_starts(rendered, holes, tokenizer)
    laid: list[Segment] = []
    cursor, trained = 0, False
    for hole in _HOLE.finditer(rendered):
        index = int(hole[1])
        laid += _literal(rendered[cursor : hole.start()], cursor, starts.get(index), trained, tokenizer)
        trained = turns[index].role == "assistant"
        text = layout.system if turns[index].role == "system" and not turns[index].content else None
        laid += [Text(text, literal=False)] if text is not None else _content(layout, turns[index], trained)
        cursor = hole.end()
    laid += _literal(rendered[cursor:], cursor, None, trained, tokenizer)
    return [segment for segment in laid if not isinstance(segment, Text) or segment.text]


def _answer_starts(rendered: str, holes: list[dict[str, str]], tokenizer: Any) -> dict[int, int]:
    """Where each assistant turn starts to be the model's own: right behind the prompt that asks for it."""
    starts = {}
    for index, hole in enumerate(holes):
        if hole["role"] == "assistant":
            prompt = tokenizer.apply_chat_template(holes[:index], tokenize=False, add_generation_prompt=True)
            position = rendered.index(hole["content"])
            starts[index] = len(prompt) if rendered.startswith(prompt) and len(prompt) <= position else position
    return starts


def _content(layout: Style, message: Message, trained: bool) -> list[Segment]:
    laid: list[Segment] = []
    for media in media_in(message):
        laid += [media, Text("\n")]
    if message.role == "assistant":
        return [*laid, *answer(message, space=False)]
    text = instruction(layout, message) if message.role == "user" else message.text
    return [*laid, Text(text, trained=trained, literal=False)]


def _literal(text: str, offset: int, start: int | None, after_answer: bool, tokenizer: Any) -> list[Segment]:
    """Split template text: the tail of the answer before it (trained), the middle, the head of the next (trained)."""
    tail = 0
    if after_answer:
        ends = [
            match.end()
            for token in tokenizer.get_added_vocab()
            for match in [re.search(re.escape(token), text)]
            if match
        ]
        if not ends:
            raise LayoutError(
                "template 'chat': this chat template ends an answer without a special token, so where generation "
                "should stop is unknown; use another template"
            )
        tail = min(ends)
    head = len(text) if start is None else max(tail, start - offset)
    return [Text(text[:tail], trained=True), Text(text[tail:head]), Text(text[head:], trained=True)]


TEMPLATES: dict[str, Template] = {
    "plain": Template(plain, stop=("\n",)),
    "vicuna_v1": Template(vicuna_v1),
    "chat": Template(chat),
    **BLIP_TEMPLATES,
    **ANY_TEMPLATES,
}
"""The layouts by name."""
