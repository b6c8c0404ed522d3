"""A conversation with an attached model: its turns so far, and its loop in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.chat.reply import Reply
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part, TextPart
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.recipes.media_files.save import free_name, save_medium

__all__ = ["Conversation", "answer", "converse", "read_line"]

HELP = (
    "/image FILE  add a picture to the next question    /audio, /video, /features FILE  a sound, a clip, features    "
    "/reset  start over    /quit  leave    Ctrl-C  stop an answer"
)


class Conversation:
    """A conversation with its turns so far.

    Args:
        model: the attached model.
        max_new_tokens: maximum tokens of an answer.
        media: modality -> generation options, see :meth:`inlay.adapters.model.MultimodalModel.chat`.
        save: folder for generated media; without one they are only mentioned.
    """

    def __init__(
        self,
        model: AttachedModel,
        max_new_tokens: int,
        media: Mapping[Modality, Mapping[str, Any]] | None = None,
        save: Path | None = None,
    ) -> None:
        self.model, self.max_new_tokens = model, max_new_tokens
        self.media = dict(media or {})
        self.save = save
        self.turns: list[Message] = []
        self.shown: list[MediaPart] = []

    def show(self, path: Path, modality: Modality = "image") -> None:
        """Add a medium to the next question.

        Raises:
            MediaError: the file cannot be read; it is not added.
        """
        part = MediaPart(modality, path)
        load_medium(part.modality, part.source)
        self.shown.append(part)

    def ask(self, question: str, on_text: Callable[[str], None] | None = None) -> str:
        """Ask, and store question and answer; after an error or an interruption only the media are kept.

        Args:
            question: the user's question.
            on_text: receives the text while it is generated.

        Returns:
            Text and the files of generated media; without the text if ``on_text`` received all of it.
        """
        streamed_text: list[str] = []

        def receive(piece: str) -> None:
            streamed_text.append(piece)
            if on_text is not None:
                on_text(piece)

        turn = Message("user", (*self.shown, TextPart(question)))
        options: dict[str, Any] = {} if on_text is None else {"on_text": receive}
        reply = self.model.chat([*self.turns, turn], media=self.media, max_new_tokens=self.max_new_tokens, **options)
        said: tuple[Part, ...] = reply.parts or (TextPart(reply.text),)
        self.turns, self.shown = [*self.turns, turn, Message("assistant", said)], []
        # The streamed pieces may differ from the text of the whole reply, which is then printed again.
        return self._text_and_files(reply, words="".join(streamed_text).split() != reply.text.split())

    def _text_and_files(self, reply: Reply, *, words: bool) -> str:
        lines = []
        for part in reply.parts or (TextPart(reply.text),):
            if isinstance(part, TextPart):
                lines += [part.text] if words else []
            elif isinstance(part, MadePart) and part.source is not None:
                lines.append(self._kept(part))
        return "\n".join([*lines, *(f"({why})" for why in reply.missing)])

    def _kept(self, part: MadePart) -> str:
        if self.save is None:
            return f"({part.modality}; use --save DIR to keep it)"
        return f"({part.modality}: {save_medium(part.source, self.save, free_name(self.save, part.modality))})"

    def reset(self) -> None:
        """Remove all turns and media."""
        self.turns, self.shown = [], []


def read_line() -> str | None:
    """The next line of the terminal; None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def answer(talk: Conversation, question: str) -> None:
    """Print text immediately, even through a pipe, then generated media."""
    begun = False

    def show(piece: str) -> None:
        nonlocal begun
        begun = True
        print(piece, end="", flush=True)

    try:
        rest = talk.ask(question, show)
    finally:
        if begun:
            print(flush=True)
    if rest or not begun:
        print(rest, flush=True)


def converse(talk: Conversation, read: Callable[[], str | None] = read_line) -> int:
    """Answer line by line until the input ends; returns the exit status."""
    print(HELP, flush=True)
    while True:
        try:
            line = read()
            if line is None:
                break
            command, _, rest = line.strip().partition(" ")
            kind: Any = command.removeprefix("/")
            if command == "/quit":
                break
            if command == "/reset":
                talk.reset()
                print("(new conversation)")
            elif command.startswith("/") and kind in get_args(Modality):
                talk.show(Path(rest.strip()), kind)
                print(f"(added {Path(rest.strip()).name})")
            elif command.startswith("/"):
                print(HELP)
            elif line.strip():
                answer(talk, line.strip())
        except InlayError as error:
            print(f"! {error}", flush=True)
        except KeyboardInterrupt:
            print("\n(interrupted; the question was removed. /quit leaves)", flush=True)
    return 0
