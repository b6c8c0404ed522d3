"""Layout: how a conversation becomes one sequence of text and media slots, and which text the loss covers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from inlay.adapters.conversation.messages import Message
from inlay.adapters.conversation.meta_response import MetaResponse, parse_meta_response
from inlay.adapters.conversation.segments import HOLE, Bos, LayoutError, LayoutWarning, Media, Segment, Text
from inlay.adapters.conversation.template import Dialogue
from inlay.adapters.conversation.templates.chat_template import DEFAULT_DATE
from inlay.adapters.conversation.templates.registry import template_named
from inlay.adapters.conversation.turns import check_turns
from inlay.adapters.media.geometry import Geometry
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.adapters.media.tiling.grid import Tiling, TilingError
from inlay.adapters.media.tiling.registry import tiling_of
from inlay.hub.format.manifest import LayoutSpec

__all__ = ["Bos", "Layout", "LayoutError", "LayoutWarning", "Media", "Segment", "Text", "cut_at", "segments"]


_warned: set[tuple[str, str]] = set()
"""Layout and reason of the warnings that this process has given."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The settings of a layout, stored in the bundle and checked by its schema.

    Raises:
        LayoutError: an unknown template, or a value that a bundle cannot store.
    """

    template: str
    """Name of a template, see :mod:`inlay.adapters.conversation.templates.registry`."""
    system: str = ""
    """System text for conversations without a system message; may be empty."""
    geometry: Mapping[Modality, Geometry] = field(default_factory=lambda: {"image": "crop"})
    """Modality -> how pictures, and the frames of clips, are resized to squares."""
    tiling: str | None = None
    """The rule that cuts a picture into several squares, in the notation of
        :func:`inlay.adapters.media.tiling.registry.tiling_of`; None for one square by ``geometry``."""
    stop: tuple[str, ...] = ()
    """Texts that end a generated answer, besides the template's own end and the EOS token."""
    bos: Bos = "first"
    """Position of BOS, if the tokenizer has one."""
    prompt: str = HOLE
    """Text around the user's words, such as ``Question: {} Short answer:``; without ``{}`` it replaces them."""
    date: str | None = None
    """The day that is passed to a chat template with a date, ``YYYY-MM-DD``; None for a default, see :meth:`dated`."""
    arguments: Mapping[str, bool | int | float | str | None] = field(default_factory=dict)
    """Further variables of the LLM's chat template, such as ``{"enable_thinking": False}``; for template ``chat``."""

    def __post_init__(self) -> None:
        template_named(self.template)
        if self.tiling is not None:
            # Written with all settings, so that a stored layout does not depend on the defaults of a version.
            object.__setattr__(self, "tiling", _tiling(self.tiling).text)
        if isinstance(self.stop, list):
            object.__setattr__(self, "stop", tuple(self.stop))
        if isinstance(self.stop, str):
            raise LayoutError(f"stop: expected a tuple of texts, got one text; write stop=({self.stop!r},)")
        if self.system is None:
            raise LayoutError("system: expected text, got None; leave it out, or give an empty text")
        if self.arguments and not template_named(self.template).arguments:
            raise LayoutError(
                f"arguments: template {self.template!r} takes none, got {', '.join(map(str, self.arguments))}; only "
                "the LLM's own chat template ('chat') does"
            )
        _ = self.spec
        for modality in self.geometry:
            _one_of("geometry", modality, GENERATED)

    @classmethod
    def published(cls, template: str, **fields: Any) -> Layout:
        r"""A layout with the position of BOS and the stop texts that the template was published with.

        Example:
            >>> layout = Layout.published("blip2", prompt="Question: {} Short answer:")
            >>> layout.bos, layout.stop
            ('after_media', ('\n',))
        """
        chosen = template_named(template)
        return cls(template=template, **({"bos": chosen.bos, "stop": chosen.stop} | fields))

    @property
    def spec(self) -> LayoutSpec:
        """The layout as a bundle's manifest stores it.

        Raises:
            LayoutError: a value that the manifest refuses.
        """
        geometry = dict(self.geometry) if isinstance(self.geometry, Mapping) else self.geometry
        values: dict[str, Any] = {name: getattr(self, name) for name in ("template", "system", "stop", "bos", "prompt")}
        try:
            held = dict(self.arguments) if isinstance(self.arguments, Mapping) else self.arguments
            later: dict[str, Any] = {"date": self.date, "arguments": held, "tiling": self.tiling}
            return LayoutSpec(**values, geometry=geometry, **later)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            reason = str(first["msg"]).removeprefix("Value error, ")
            raise LayoutError(f"{place}: {reason}, got {_short(first['input'])}") from None

    @property
    def meta(self) -> bool:
        """Whether answers are meta responses for stock generators."""
        return template_named(self.template).meta

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end a generated answer: the layout's own and the template's."""
        return tuple(dict.fromkeys((*self.stop, *template_named(self.template).stop)))

    def geometry_for(self, modality: Modality) -> Geometry:
        """How media of a modality are resized to squares; frames of a clip like pictures unless set otherwise.

        Example:
            >>> Layout(template="plain", geometry={"image": "pad"}).geometry_for("video")
            'pad'
        """
        return self.geometry.get(modality, self.geometry.get("image", "crop"))

    def tiling_for(self, modality: Modality) -> Tiling | None:
        """The rule that tiles media of a modality; None if each is one square. Frames of clips are never tiled."""
        return tiling_of(self.tiling) if self.tiling is not None and modality == "image" else None

    def dated(self, tokenizer: Any) -> Layout:
        """The layout with an explicit date, if this tokenizer's chat template writes one; otherwise the same layout.

        A bundle stores the date, so that its prompts stay the same on every day and in every version of inlay.
        """
        writes = template_named(self.template).dated
        return replace(self, date=DEFAULT_DATE) if self.date is None and writes and writes(tokenizer) else self

    def reply(self, text: str) -> str:
        """The answer in a generated text: after the last speaker's name, up to the first stop text, stripped.

        Example:
            >>> Layout.published("minigpt4").reply(" two cats### Human: and dogs?")
            'two cats'
            >>> Layout.published("minigpt4").reply("Human: what? Assistant: two cats")
            'two cats'
        """
        return self.read(text).text

    def read(self, text: str) -> MetaResponse:
        """The answer in a generated text, and the media that it requests from stock generators, if any.

        Args:
            text: the generated text, with the flags of a meta response if the template has them.

        Example:
            >>> Layout.published("modaverse").read("Modality: [AUDIO] Prompt: rain ###").media
            ('audio',)
        """
        if self.meta:
            return parse_meta_response(text)
        speaker = template_named(self.template).speaker
        words = cut_at(text, self.stops)
        return MetaResponse((words.rpartition(speaker)[2] if speaker else words).strip())


def segments(layout: Layout, messages: Sequence[Message], tokenizer: Any, *, generation: bool = False) -> list[Segment]:
    """Lay a conversation out.

    Args:
        layout: the layout.
        messages: canonical messages.
        tokenizer: the LLM's tokenizer, with its special tokens and chat template.
        generation: end where the answer of the assistant begins; the last message must then be the user's.

    Raises:
        LayoutError: turns in the wrong order, media in the wrong turn, or a tokenizer that the template cannot use.
    """
    turns = check_turns(messages, generation=generation)
    dialogue = Dialogue(
        turns=turns,
        tokenizer=tokenizer,
        system=messages[0].text if messages[0].role == "system" else layout.system,
        prompt=layout.prompt,
        date=layout.date,
        arguments=layout.arguments,
        generation=generation,
    )
    laid = template_named(layout.template).lay(dialogue)
    for reason in dialogue.notes:
        _warn_once(layout, reason)
    return laid


def cut_at(text: str, marks: Iterable[str]) -> str:
    """The text up to the first of the marks, or all of it.

    Example:
        >>> cut_at("two cats###Human: and", ["###", "</s>"])
        'two cats'
    """
    for mark in marks:
        text = text.split(mark, 1)[0]
    return text


def _warn_once(layout: Layout, reason: str) -> None:
    key = (repr(layout), reason)
    if key not in _warned:
        _warned.add(key)
        warnings.warn(reason, LayoutWarning, stacklevel=4)


def _tiling(text: str) -> Tiling:
    try:
        return tiling_of(text)
    except TilingError as error:
        raise LayoutError(str(error)) from None


def _one_of(field: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise LayoutError(f"{field}: expected one of {', '.join(known)}, got {_short(value)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
