"""What the demo shows: an attached adapter, example pictures, and the fixed table of addresses."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart
from inlay.adapters.media.image import load_image
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.rows.sample import questions_of
from inlay.recipes.demo.limits import Limits
from inlay.recipes.demo.question import Question
from inlay.recipes.media_files.save import encoded
from inlay.recipes.runs.folder import RunFolder

__all__ = ["Demonstration", "Example", "Served", "examples_of"]

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/script.js": ("script.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Served(NamedTuple):
    """The content of an address."""

    type: str
    body: bytes


@dataclass(frozen=True)
class Example:
    """An example picture."""

    png: bytes
    question: str
    """A question about it."""


@dataclass(frozen=True)
class Demonstration:
    """One adapter on one backbone; a request can choose neither."""

    model: AttachedModel
    title: str
    """Shown as text."""
    max_new_tokens: int = 64
    """Tokens of an answer where the request names no number."""
    limits: Limits = field(default_factory=Limits)
    examples: Sequence[Example] = ()
    media: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    """How each modality is generated."""

    def answer(self, question: Question, on_text: Callable[[str], None] | None = None) -> dict[str, object]:
        """Ask the model; the caller makes sure that only one thread does so at a time.

        Args:
            question: checked.
            on_text: called with each piece of text while it is generated.

        Returns:
            Plain values: ``text``, ``made`` (media as base64, with their types), ``missing``, ``tokens``.

        Raises:
            InlayError: pictures or a conversation that the model cannot take.
        """
        options = {"max_new_tokens": self.max_new_tokens} | question.options
        messages = question.messages(self.limits.pixels)
        reply = self.model.chat(messages, media=self.media, on_text=on_text, **options)
        return {
            "text": reply.text,
            "made": _made(reply),
            "missing": list(reply.missing),
            "tokens": reply.tokens,
            "max_new_tokens": options["max_new_tokens"],
        }

    def addresses(self) -> dict[str, Served]:
        """The table of addresses, read once: no request ever becomes a path."""
        page = files("inlay.recipes.demo") / "page"
        served = {at: Served(kind, (page / name).read_bytes()) for at, (name, kind) in _PAGE.items()}
        for number, example in enumerate(self.examples):
            served[f"/example/{number}"] = Served("image/png", example.png)
        facts = {
            "title": self.title,
            "examples": [example.question for example in self.examples],
            "max_new_tokens": self.max_new_tokens,
            "limits": {name: getattr(self.limits, name) for name in ("upload_bytes", "pictures", "new_tokens")},
        }
        return served | {"/about": Served("application/json", json.dumps(facts).encode())}


def examples_of(folder: Path, most: int = 6) -> list[Example]:
    """Held-out pictures of a run on the miniature's data, one for each kind of question.

    Args:
        folder: of a run; any other folder has no examples.
        most: the largest number of examples.
    """
    data = RunFolder(folder).data
    if not (data / "test.json").is_file() or not (data / "images").is_dir():
        return []
    chosen: dict[str, Example] = {}
    for sample in read_samples(data / "test.json", data / "images"):
        asked = questions_of(sample)[0]
        media = [part.source for message in asked.prompt for part in message.content if hasattr(part, "source")]
        if len(media) == 1 and asked.kind not in chosen:
            chosen[asked.kind] = Example(_png(media[0]), asked.prompt[-1].text.strip())
    return list(chosen.values())[:most]


def _made(reply: Reply) -> list[dict[str, str]]:
    """The generated media, as a page can show them."""
    made = []
    for part in reply.parts:
        if isinstance(part, MadePart) and part.source is not None:
            file = encoded(part.source)
            data = base64.b64encode(file.data).decode("ascii")
            made.append({"modality": part.modality, "caption": part.caption, "type": file.type, "data": data})
    return made


def _png(path: Path) -> bytes:
    buffer = io.BytesIO()
    load_image(path).save(buffer, "PNG")
    return buffer.getvalue()
